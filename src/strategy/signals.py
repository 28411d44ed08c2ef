"""The signal: six named votes and what they add up to.

Each vote is 1 (buy), -1 (sell) or 0. Buying and selling are mirror images: turn the market upside down and every
vote changes its sign.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from src.strategy.indicators import Indicators

VOTE_NAMES = ("rsi", "macd", "ema", "bollinger", "volume", "trend")
Six = tuple[int, int, int, int, int, int]
LEAST_VOTES = 2
"""One vote alone is an opinion, not a signal: below this strength the side is HOLD."""


class SignalSide(StrEnum):
    """What the votes say together."""

    BUY = "BUY"
    SELL = "SELL"
    HOLD = "HOLD"

    @property
    def sign(self) -> int:
        """1 for BUY, -1 for SELL, 0 for HOLD."""
        return 1 if self is SignalSide.BUY else -1 if self is SignalSide.SELL else 0


class Vote(NamedTuple):
    """One indicator's vote (1, 0 or -1) and the figures that made it, for people."""

    name: str
    vote: int
    because: str


@dataclass(frozen=True, slots=True)
class Signal:
    """The market's say: ``strength`` votes agree on ``side``; for HOLD it is the larger camp's count."""

    side: SignalSide
    strength: int
    votes: tuple[Vote, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """Votes to buy and votes to sell."""
        return sum(vote.vote > 0 for vote in self.votes), sum(vote.vote < 0 for vote in self.votes)


SILENT = Signal(SignalSide.HOLD, 0, tuple(Vote(name, 0, "not enough candles yet") for name in VOTE_NAMES))
"""The signal of a market of which too little is known."""


def vote_values(indicators: Indicators) -> Six:
    """Return the votes of RSI, MACD, EMA alignment, Bollinger, volume and trend, each 1, 0 or -1.

    A NaN votes 0. Compiles under numba.
    """
    i = indicators
    rsi = 1 if i.rsi < 30.0 else -1 if i.rsi > 70.0 else 0
    macd = 1 if i.macd_histogram > 0.0 and i.macd > 0.0 else -1 if i.macd_histogram < 0.0 and i.macd < 0.0 else 0
    ema = 1 if i.close > i.ema_9 > i.ema_21 > i.ema_50 else -1 if i.close < i.ema_9 < i.ema_21 < i.ema_50 else 0
    bollinger = 1 if i.close < i.bollinger_lower else -1 if i.close > i.bollinger_upper else 0
    busy = i.volume > 2.0 * i.volume_mean
    volume = 0 if not busy else 1 if i.close > i.vwap else -1 if i.close < i.vwap else 0
    trending = i.adx > 25.0
    trend = 0 if not trending else 1 if i.ema_50 > i.ema_200 else -1 if i.ema_50 < i.ema_200 else 0
    return rsi, macd, ema, bollinger, volume, trend


def votes_mask(counted: tuple[str, ...]) -> Six:
    """Return 1 for each vote, in the order of ``VOTE_NAMES``, whose name is among ``counted``, else 0."""
    rsi, macd, ema, bollinger, volume, trend = (int(name in counted) for name in VOTE_NAMES)
    return rsi, macd, ema, bollinger, volume, trend


def counted_votes(votes: Six, mask: Six) -> Six:
    """Return the votes with those that do not count (``mask`` 0) set to 0. Compiles under numba."""
    return (
        votes[0] * mask[0],
        votes[1] * mask[1],
        votes[2] * mask[2],
        votes[3] * mask[3],
        votes[4] * mask[4],
        votes[5] * mask[5],
    )


def signal_code(votes: Six) -> tuple[int, int]:
    """Return sign (1 BUY, -1 SELL, 0 HOLD) and strength of six votes. Compiles under numba."""
    buys, sells = 0, 0
    for vote in votes:
        if vote > 0:
            buys += 1
        elif vote < 0:
            sells += 1
    strength = max(buys, sells)
    if buys == sells or strength < LEAST_VOTES:
        return 0, strength
    return (1, buys) if buys > sells else (-1, sells)


def generate_signal(indicators: Indicators, counted: tuple[str, ...] = VOTE_NAMES) -> Signal:
    """Return the signal of the votes named in ``counted``; HOLD of strength 0 while an indicator is not ready.

    Votes that do not count are 0, and their reason says what they would have been.
    """
    if any(math.isnan(value) for value in indicators):
        return SILENT
    mask = votes_mask(counted)
    given = vote_values(indicators)
    values = counted_votes(given, mask)
    sign, strength = signal_code(values)
    reasons = [
        because if counts else f"{because} (not counted: {vote:+d})"
        for because, counts, vote in zip(_reasons(indicators), mask, given, strict=True)
    ]
    votes = tuple(Vote(*row) for row in zip(VOTE_NAMES, values, reasons, strict=True))
    side = SignalSide.BUY if sign > 0 else SignalSide.SELL if sign < 0 else SignalSide.HOLD
    return Signal(side, strength, votes)


def _reasons(i: Indicators) -> tuple[str, ...]:
    return (
        f"RSI {i.rsi:.1f}",
        f"MACD {i.macd:.6g}, histogram {i.macd_histogram:.6g}",
        f"EMA 9 {i.ema_9:.6g}, 21 {i.ema_21:.6g}, 50 {i.ema_50:.6g}",
        f"close {i.close:.6g} in bands {i.bollinger_lower:.6g} to {i.bollinger_upper:.6g}",
        f"volume {i.volume:.6g} against mean {i.volume_mean:.6g}, VWAP {i.vwap:.6g}",
        f"ADX {i.adx:.1f}, EMA 50 {i.ema_50:.6g}, 200 {i.ema_200:.6g}",
    )
