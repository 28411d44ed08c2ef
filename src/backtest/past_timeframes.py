"""Past candles of the rules' timeframe, aggregated from one-minute candles as they become known."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.backtest.compiled import compiled
from src.backtest.pipeline import Pipeline, fold_block
from src.domain.clock import MINUTE_MS
from src.domain.market import INTERVAL_MS, Candle
from src.market_data.columns import Candles, CandleView
from src.strategy.higher_timeframes import fill_zones, in_force, joined_codes, known_zones
from src.strategy.q_state import TREND_ZONES, in_context
from src.strategy.votes import votes_mask

Array = NDArray[np.float64]
Stamps = NDArray[np.int64]


class LearningColumns(NamedTuple):
    """Per minute, of the decision candle in force at the turn after it: what is perceived, and what is learnt from.

    ``state`` is -1 and ``open_ms`` -1 while there is none; ``volatility`` is ATR as a share of the close.
    """

    side: NDArray[np.int8]
    strength: NDArray[np.int8]
    state: Stamps
    volatility: Array
    open_ms: Stamps
    close: Array


class PastCandleAggregator:
    """What the trader looks at in place of minutes: all longer candles closed by the last minute that it knows."""

    def __init__(self, minutes: Candles, interval_ms: int) -> None:
        self.interval_ms = interval_ms
        self.candles = longer(minutes, interval_ms)

    def look(self, minutes: Sequence[Candle]) -> Sequence[Candle]:
        """Return the closed candles as of the end of the last of ``minutes``, oldest first."""
        if not minutes:
            return ()
        return CandleView(self.candles, 0, int(self.in_force(np.array([minutes[-1].open_ms]))[0]) + 1)

    def in_force(self, open_ms: Stamps) -> NDArray[np.intp]:
        """Return the row of the last candle that is closed at the turn after each minute, -1 where there is none."""
        return in_force(self.candles.open_ms, self.interval_ms, open_ms + MINUTE_MS)

    def lessons(self, minutes: Candles, context: Stamps, votes: tuple[str, ...]) -> LearningColumns:
        """Return what is perceived after each minute; ``context`` is ``context_code`` at the turn after it."""
        slow, row = self.candles, self.in_force(minutes.open_ms)
        pipeline = Pipeline(slow, np.zeros(len(slow), np.int64), compiled(fold_block), votes_mask(votes))
        pipeline.reach(len(slow) - 1)
        seen, none = pipeline.seen, row < 0
        state = np.where(none, -1, seen.state[row])
        return LearningColumns(
            side=np.where(none, 0, seen.side[row]).astype(np.int8),
            strength=np.where(none, 0, seen.strength[row]).astype(np.int8),
            state=np.where(state < 0, -1, in_context(state, context)),
            volatility=np.where(none, np.nan, seen.volatility[row]),
            open_ms=np.where(none, -1, slow.open_ms[row]),
            close=np.where(none, np.nan, slow.close[row]),
        )


def trends_known(minutes: Candles, intervals: Sequence[str], at_ms: Stamps) -> Stamps:
    """Return ``trends_code`` of longer candles made of ``minutes``, as known at each instant."""
    known = []
    for interval in intervals:
        slow, length = longer(minutes, INTERVAL_MS[interval]), INTERVAL_MS[interval]
        zones = np.zeros(len(slow), np.int64)
        compiled(fill_zones)(slow.high, slow.low, slow.close, slow.volume, zones)
        known.append(known_zones(slow.open_ms, zones, length, at_ms))
    return joined_codes(known, len(at_ms))


class PastHigherTimeframeTrend:
    """The trends of longer candles after each minute, worked out at once."""

    def __init__(self, minutes: Candles, intervals: Sequence[str]) -> None:
        self._count = len(intervals)
        self.codes = trends_known(minutes, intervals, minutes.open_ms + MINUTE_MS)

    def look(self, minutes: Sequence[Candle]) -> tuple[int, ...]:
        """Return the zones as of the end of the last of ``minutes``, which begin with the first there is."""
        code = int(self.codes[len(minutes) - 1]) if minutes else 0
        return tuple(code // TREND_ZONES**place % TREND_ZONES for place in reversed(range(self._count)))


def longer(minutes: Candles, interval_ms: int) -> Candles:
    """Return the whole candles of ``interval_ms`` made of ``minutes``; a first or last one cut short is left out.

    Minutes that the market never had are left out of their candle, as the exchange does it; bits equal those of
    ``slow_candles.joined``.
    """
    opens = minutes.open_ms // interval_ms * interval_ms
    first = np.flatnonzero(np.append(True, np.diff(opens) != 0)) if len(minutes) else np.zeros(0, np.int64)
    beyond = np.append(first[1:], len(minutes))
    whole = opens[first] + interval_ms <= (minutes.open_ms[-1] + MINUTE_MS if len(minutes) else 0)
    whole[:1] &= minutes.open_ms[first[:1]] == opens[first[:1]]
    first, beyond = first[whole], beyond[whole]
    sums = compiled(sums_between)
    high = np.maximum.reduceat(minutes.high, first) if len(first) else np.zeros(0)
    low = np.minimum.reduceat(minutes.low, first) if len(first) else np.zeros(0)
    if len(first) and beyond[-1] < len(minutes):  # reduceat's last group runs to the end
        high[-1], low[-1] = minutes.high[first[-1] : beyond[-1]].max(), minutes.low[first[-1] : beyond[-1]].min()
    return Candles(
        opens[first],
        minutes.open[first],
        high,
        low,
        minutes.close[beyond - 1],
        _rounded(sums(minutes.volume, first, beyond)),
        sums(minutes.trades.astype(np.float64), first, beyond).astype(np.int64),
        _rounded(sums(minutes.taker_buy_volume, first, beyond)),
        _rounded(sums(minutes.quote_volume, first, beyond)),
    )


def sums_between(values: Array, first: Stamps, beyond: Stamps) -> Array:
    """Return the sums of ``values[first:beyond]``, added one after the other. Compiles under numba."""
    sums = np.zeros(len(first))
    for place in range(len(first)):
        for row in range(first[place], beyond[place]):
            sums[place] += values[row]
    return sums


def _rounded(values: Array) -> Array:
    return np.array([round(each, 8) for each in values.tolist()], dtype=np.float64)
