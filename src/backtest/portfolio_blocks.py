"""The minutes between two decisions as columns: lowest, highest and mark price of each pair."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.domain.clock import MINUTE_MS
from src.market_data.columns import Candles

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MinuteBlock:
    """The minutes of one stretch by their ends (``instants``); columns by symbol.

    ``low`` and ``high`` span the minute and the one before it, since mark price is a mean over 30 seconds. ``mark`` is
    the mark price at the end of each minute. In a gap the last close stands.
    """

    instants: NDArray[np.int64]
    low: Mapping[str, Floats]
    high: Mapping[str, Floats]
    mark: Mapping[str, Floats]

    def near_levels(self, levels: Mapping[str, float], amounts: Mapping[str, float], start: int) -> NDArray[np.bool_]:
        """Return for each minute from ``start`` on whether a price may come to a level that closes a position."""
        near = np.zeros(len(self.instants) - start, dtype=bool)
        for symbol, level in levels.items():
            slack = level * 1e-4  # prices come to the tick, levels need not
            if amounts.get(symbol, 0.0) >= 0.0:
                near |= self.low[symbol][start:] <= level + slack
            else:
                near |= self.high[symbol][start:] >= level - slack
        return near

    def worst(self, amounts: Mapping[str, float], cash: float, start: int) -> Floats:
        """Return for each minute from ``start`` on an equity that the account cannot fall below in it."""
        worth = np.full(len(self.instants) - start, cash)
        for symbol, amount in amounts.items():
            column = self.low if amount > 0.0 else self.high
            worth += amount * column[symbol][start:]
        return worth


def minute_block(candles: Mapping[str, Candles], from_ms: int, to_ms: int) -> MinuteBlock:
    """Return the minutes that end in ``from_ms < instant <= to_ms``."""
    instants = np.arange(from_ms + MINUTE_MS, to_ms + 1, MINUTE_MS, dtype=np.int64)
    columns = {symbol: _columns(each, from_ms - MINUTE_MS, to_ms) for symbol, each in candles.items()}
    low = {symbol: np.minimum(rows[0][:-1], rows[0][1:]) for symbol, rows in columns.items()}
    high = {symbol: np.maximum(rows[1][:-1], rows[1][1:]) for symbol, rows in columns.items()}
    return MinuteBlock(instants, low, high, {symbol: rows[2][1:] for symbol, rows in columns.items()})


def _columns(candles: Candles, from_ms: int, to_ms: int) -> tuple[Floats, Floats, Floats]:
    """Return low, high and closing mark price of each minute in ``from_ms <= open < to_ms``, gaps filled."""
    count = (to_ms - from_ms) // MINUTE_MS
    here = candles.between(from_ms, to_ms)
    if len(here) == count:
        return here.low, here.high, _closing_marks(here)
    low, high, mark = (np.full(count, np.nan) for _ in range(3))
    rows = (here.open_ms - from_ms) // MINUTE_MS
    low[rows], high[rows], mark[rows] = here.low, here.high, _closing_marks(here)
    close = np.full(count, np.nan)
    close[rows] = here.close
    stands = _filled(close, _close_before(candles, from_ms))
    missing = np.isnan(low)
    for column in (low, high, mark):
        column[missing] = stands[missing]
    return low, high, mark


def _filled(values: Floats, first: float) -> Floats:
    known = np.where(np.isnan(values), -1, np.arange(len(values)))
    last = np.maximum.accumulate(known)
    return np.where(last < 0, first, values[last])


def _close_before(candles: Candles, at_ms: int) -> float:
    place = int(np.searchsorted(candles.open_ms, at_ms)) - 1
    if place >= 0:
        return float(candles.close[place])
    return float(candles.open[0]) if len(candles) else float("nan")


def _closing_marks(candles: Candles) -> Floats:
    """Return the mean of the last price over the last 30 seconds of each minute, by the paper exchange's path."""
    rises = candles.close >= candles.open
    first = np.where(rises, candles.low, candles.high)
    second = np.where(rises, candles.high, candles.low)
    return (first + 2.0 * second + candles.close) / 4.0
