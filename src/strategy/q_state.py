"""The agent's state: indicators, votes and context encoded as one integer.

Each feature is cut into a few zones; the state is the zones' numbers written one behind the other. A set of rules may
add the trend of longer candles, one more digit each, in front. Features and edges go into the model file, and a file
with others is refused: its table would be read in the wrong rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.domain.market import MarketContext
from src.strategy.indicators import Indicators
from src.strategy.votes import VOTE_NAMES, VoteValues, ema_vote


class Feature(NamedTuple):
    """One thing the agent perceives: its name, the edges between its zones, and how many zones there are."""

    name: str
    edges: tuple[float, ...]
    zones: int


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the next turn needs to know of this one in order to learn from it."""

    state: int
    position_sign: int
    close: float
    open_ms: int


RSI_EDGES = (35.0, 50.0, 65.0)
ZERO_EDGE = (0.0,)
BAND_EDGES = (0.2, 0.8)
VOLUME_EDGES = (1.5,)
ADX_EDGES = (25.0,)
ATR_EDGES = (0.0005, 0.0015)
NET_EDGES = (-1.5, 1.5)
EMA_PLACE = VOTE_NAMES.index("ema")

FEATURES = (
    Feature("RSI", RSI_EDGES, 4),
    Feature("MACD line above 0, histogram above 0", ZERO_EDGE, 4),
    Feature("EMA 9, 21, 50 falling, mixed, rising", (), 3),
    Feature("place between the Bollinger bands", BAND_EDGES, 3),
    Feature("volume against its mean", VOLUME_EDGES, 2),
    Feature("ADX", ADX_EDGES, 2),
    Feature("ATR as share of the price", ATR_EDGES, 3),
    Feature("market regime unknown, risk_off, risk_on", (), 3),
    Feature("votes to buy less votes to sell", NET_EDGES, 3),
)
"""In the order in which ``encode`` writes them, most significant first."""
STATES = math.prod(feature.zones for feature in FEATURES)
"""Market states without the trend of longer candles."""
REGIMES = 3
TREND_ZONES = 4


def features_of(trend_intervals: Sequence[str]) -> tuple[Feature, ...]:
    """Return all features where the agent also perceives the trend of candles of ``trend_intervals``."""
    longer = (f"EMA 9, 21, 50 of {each} candles unknown, falling, mixed, rising" for each in trend_intervals)
    return (*(Feature(name, (), TREND_ZONES) for name in longer), *FEATURES)


def states_of(trend_intervals: Sequence[str]) -> int:
    """Return how many market states there are then."""
    return int(STATES * TREND_ZONES ** len(trend_intervals))


def zone(value: float, edges: tuple[float, ...]) -> int:
    """Return how many of the rising ``edges`` lie at or below ``value``. Compiles under numba."""
    number = 0
    for edge in edges:
        if value >= edge:
            number += 1
    return number


def context_code(context: MarketContext | None, trends: Sequence[int] = ()) -> int:
    """Return what is known beside the candle as a number: the market regime, and the trends of longer candles.

    The regime is 0 unknown, 1 risk_off, 2 risk_on; ``trends`` are zones as ``trend_zone`` gives them.
    """
    regime = context.market_regime if context is not None else ""
    return {"risk_off": 1, "risk_on": 2}.get(regime, 0) + REGIMES * trends_code(trends)


def trends_code(trends: Sequence[int]) -> int:
    """Return the zones of several longer trends as one number, the first most significant."""
    code = 0
    for each in trends:
        code = code * TREND_ZONES + each
    return code


def trend_zone(i: Indicators) -> int:
    """Return the trend after a longer candle: 0 unknown (too few candles), 1 falling, 2 mixed, 3 rising. Compiles."""
    return 0 if math.isnan(i.ema_50) else ema_vote(i) + 2


def encode(i: Indicators, votes: VoteValues, context: int) -> int:
    """Return the market state in ``0..states_of(...)-1``, or -1 while an indicator is not ready. Compiles under numba.

    Args:
        i: the indicators after the last closed candle.
        votes: as ``votes.vote_values`` gives them.
        context: as ``context_code`` gives it.
    """
    for value in i:
        if math.isnan(value):
            return -1
    width = i.bollinger_upper - i.bollinger_lower
    place = 0.5 if width <= 0.0 else (i.close - i.bollinger_lower) / width
    net = 0
    for vote in votes:
        net += vote
    code = zone(i.rsi, RSI_EDGES)
    code = code * 4 + 2 * zone(i.macd, ZERO_EDGE) + zone(i.macd_histogram, ZERO_EDGE)
    code = code * 3 + votes[EMA_PLACE] + 1
    code = code * 3 + zone(place, BAND_EDGES)
    code = code * 2 + (1 if i.volume >= VOLUME_EDGES[0] * i.volume_mean else 0)
    code = code * 2 + zone(i.adx, ADX_EDGES)
    code = code * 3 + zone(i.atr / i.close, ATR_EDGES)
    code = code * 3 + context % REGIMES
    return context // REGIMES * STATES + code * 3 + zone(float(net), NET_EDGES)


def in_context(state: NDArray[np.int64], context: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return states that were encoded with context 0 as they are in other ones."""
    return state + context // REGIMES * STATES + 3 * (context % REGIMES)
