"""The trend of higher timeframes as the agent perceives it; live, in backtests and in training."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from src.domain.market import INTERVAL_MS, Candle
from src.strategy.indicators import EMPTY, IndicatorFold, step
from src.strategy.q_state import TREND_ZONES, trend_zone
from src.strategy.timeframes import DecisionCandles

Floats = NDArray[np.float64]
Stamps = NDArray[np.int64]


class HigherTimeframeTrend:
    """The trends of one pair's longer candles, candle by candle as they close."""

    def __init__(self, candles: Sequence[DecisionCandles]) -> None:
        self._sources = [(each, IndicatorFold()) for each in candles]

    def look(self, minutes: Sequence[Candle]) -> tuple[int, ...]:
        """Return the zone of each trend (``rl_state.trend_zone``) as of the end of the last of ``minutes``."""
        zones = []
        for candles, fold in self._sources:
            indicators = fold.look(candles.look(minutes))
            zones.append(0 if indicators is None else trend_zone(indicators))
        return tuple(zones)


def fill_zones(high: Floats, low: Floats, close: Floats, volume: Floats, zones: Stamps) -> None:
    """Write the trend after each candle of a series. Compiles under numba."""
    state = EMPTY
    for row in range(len(close)):
        state, indicators = step(state, high[row], low[row], close[row], volume[row])
        zones[row] = trend_zone(indicators)


def in_force(open_ms: Stamps, interval_ms: int, at_ms: Stamps) -> NDArray[np.intp]:
    """Return the row of the last candle that is closed at each instant, -1 where there is none."""
    return np.searchsorted(open_ms + interval_ms, at_ms, side="right") - 1


def known_zones(open_ms: Stamps, zones: Stamps, interval_ms: int, at_ms: Stamps) -> Stamps:
    """Return the trend known at each instant: that of the last closed candle, 0 where there is none."""
    rows = in_force(open_ms, interval_ms, at_ms)
    return np.where(rows < 0, 0, np.append(zones, 0)[rows])


def taught_trends(longer: Sequence[Sequence[Candle]], intervals: Sequence[str], at_ms: Stamps) -> Stamps:
    """Return ``trends_code`` at each instant, from one list of closed candles for each of ``intervals``."""
    known = []
    for candles, interval in zip(longer, intervals, strict=True):
        zones = np.zeros(len(candles), np.int64)
        high, low, close, volume = (
            np.array([getattr(each, name) for each in candles]) for name in ("high", "low", "close", "volume")
        )
        fill_zones(high, low, close, volume, zones)
        opens = np.array([each.open_ms for each in candles], np.int64)
        known.append(known_zones(opens, zones, INTERVAL_MS[interval], at_ms))
    return joined_codes(known, len(at_ms))


def joined_codes(zones: Sequence[Stamps], count: int) -> Stamps:
    """Return ``trends_code`` of several columns of zones, 0 throughout where there are none."""
    code = np.zeros(count, np.int64)
    for each in zones:
        code = code * TREND_ZONES + each
    return code
