"""Floor 2, judgement: what the agent perceives: indicators, votes and context as one whole number.

Each feature is cut into a few zones; the state is the zones' numbers written one behind the other. Features and
edges go into the model file, and a file with others is refused: its table would be read in the wrong rows.
"""

import math
from typing import NamedTuple

from src.core.market import MarketContext
from src.indicators import Indicators


class Feature(NamedTuple):
    """One thing the agent perceives: its name, the edges between its zones, and how many zones there are."""

    name: str
    edges: tuple[float, ...]
    zones: int


RSI_EDGES = (35.0, 50.0, 65.0)
ZERO_EDGE = (0.0,)
BAND_EDGES = (0.2, 0.8)
VOLUME_EDGES = (1.5,)
ADX_EDGES = (25.0,)
ATR_EDGES = (0.0005, 0.0015)
NET_EDGES = (-1.5, 1.5)

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


def zone(value: float, edges: tuple[float, ...]) -> int:
    """Return how many of the rising ``edges`` lie at or below ``value``. Compiles under numba."""
    number = 0
    for edge in edges:
        if value >= edge:
            number += 1
    return number


def context_code(context: MarketContext | None) -> int:
    """Return the market regime as a number: 0 unknown, 1 risk_off, 2 risk_on."""
    regime = context.market_regime if context is not None else ""
    return {"risk_off": 1, "risk_on": 2}.get(regime, 0)


def encode(i: Indicators, votes: tuple[int, int, int, int, int, int], context: int) -> int:
    """Return the market state in ``0..STATES-1``, or -1 while an indicator is not ready. Compiles under numba.

    Args:
        i: the indicators after the last closed candle.
        votes: as ``signals.vote_values`` gives them.
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
    code = code * 3 + votes[2] + 1
    code = code * 3 + zone(place, BAND_EDGES)
    code = code * 2 + (1 if i.volume >= VOLUME_EDGES[0] * i.volume_mean else 0)
    code = code * 2 + zone(i.adx, ADX_EDGES)
    code = code * 3 + zone(i.atr / i.close, ATR_EDGES)
    code = code * 3 + context
    return code * 3 + zone(float(net), NET_EDGES)
