"""The registry of votes: each reads the indicators and says buy (1), sell (-1) or nothing (0).

Buying and selling are mirror images: turn the market upside down and every vote changes its sign. A new vote is one
function for its value, one for its reason, an entry in ``VOTES`` and a call in ``vote_values``; nothing else in the
suite counts or names votes by hand. The names go into the model file, so that an agent trained over other votes is
not used.
"""

from collections.abc import Callable
from typing import NamedTuple

from src.strategy.indicators import Indicators

VoteValues = tuple[int, ...]
"""One value for each vote, in the order of ``VOTES``."""


class VoteRule(NamedTuple):
    """One vote: its name in rule sets and records, its value (1, 0 or -1), and the figures behind it as text."""

    name: str
    value: Callable[[Indicators], int]
    reason: Callable[[Indicators], str]


def rsi_vote(i: Indicators) -> int:
    """Return 1 when oversold (RSI below 30), -1 when overbought (above 70). Compiles under numba."""
    return 1 if i.rsi < 30.0 else -1 if i.rsi > 70.0 else 0


def macd_vote(i: Indicators) -> int:
    """Return 1 when MACD line and histogram are above 0, -1 when both are below. Compiles under numba."""
    return 1 if i.macd_histogram > 0.0 and i.macd > 0.0 else -1 if i.macd_histogram < 0.0 and i.macd < 0.0 else 0


def ema_vote(i: Indicators) -> int:
    """Return 1 for close > EMA 9 > EMA 21 > EMA 50, -1 for the reverse order. Compiles under numba."""
    return 1 if i.close > i.ema_9 > i.ema_21 > i.ema_50 else -1 if i.close < i.ema_9 < i.ema_21 < i.ema_50 else 0


def bollinger_vote(i: Indicators) -> int:
    """Return 1 below the lower Bollinger band, -1 above the upper one. Compiles under numba."""
    return 1 if i.close < i.bollinger_lower else -1 if i.close > i.bollinger_upper else 0


def volume_vote(i: Indicators) -> int:
    """Return the side of the VWAP where the close lies when volume is twice its mean, else 0. Compiles under numba."""
    busy = i.volume > 2.0 * i.volume_mean
    return 0 if not busy else 1 if i.close > i.vwap else -1 if i.close < i.vwap else 0


def trend_vote(i: Indicators) -> int:
    """Return the direction of EMA 50 against EMA 200 when ADX is above 25, else 0. Compiles under numba."""
    trending = i.adx > 25.0
    return 0 if not trending else 1 if i.ema_50 > i.ema_200 else -1 if i.ema_50 < i.ema_200 else 0


VOTES = (
    VoteRule("rsi", rsi_vote, lambda i: f"RSI {i.rsi:.1f}"),
    VoteRule("macd", macd_vote, lambda i: f"MACD {i.macd:.6g}, histogram {i.macd_histogram:.6g}"),
    VoteRule("ema", ema_vote, lambda i: f"EMA 9 {i.ema_9:.6g}, 21 {i.ema_21:.6g}, 50 {i.ema_50:.6g}"),
    VoteRule(
        "bollinger",
        bollinger_vote,
        lambda i: f"close {i.close:.6g} in bands {i.bollinger_lower:.6g} to {i.bollinger_upper:.6g}",
    ),
    VoteRule(
        "volume",
        volume_vote,
        lambda i: f"volume {i.volume:.6g} against mean {i.volume_mean:.6g}, VWAP {i.vwap:.6g}",
    ),
    VoteRule("trend", trend_vote, lambda i: f"ADX {i.adx:.1f}, EMA 50 {i.ema_50:.6g}, 200 {i.ema_200:.6g}"),
)
VOTE_NAMES = tuple(rule.name for rule in VOTES)
MOST_VOTES = len(VOTES)
FIRST_VOTES = ("rsi", "macd", "ema", "bollinger", "volume", "trend")
"""The votes of model files that name none, which is how files were written before they named them."""


def vote_values(i: Indicators) -> VoteValues:
    """Return the value of each vote in the order of ``VOTES``; a NaN votes 0. Compiles under numba.

    The calls are written out because numba compiles calls by name; a test holds them against ``VOTES``.
    """
    return rsi_vote(i), macd_vote(i), ema_vote(i), bollinger_vote(i), volume_vote(i), trend_vote(i)


def votes_mask(counted: tuple[str, ...]) -> VoteValues:
    """Return 1 for each vote, in the order of ``VOTES``, whose name is among ``counted``, else 0."""
    return tuple(int(name in counted) for name in VOTE_NAMES)
