"""Candles of whole hours made of columns of minutes, for charts that reach back over months.

A thousand candles of eight hours hold 480,000 minutes; as columns they are read in milliseconds, as single candles in
seconds.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from src.domain.market import Candle

HOUR_MS = 3_600_000


@runtime_checkable
class HourlyMarket(Protocol):
    """A market that tells whole hours without a candle for each of their minutes."""

    @property
    def first_hour_ms(self) -> int:
        """The first hour that it can tell: at or before the first minute that it serves."""

    def hours(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Return the hours with ``start_ms <= open_ms < end_ms``, oldest first; an hour without a minute is left out.

        Both instants are whole hours.
        """


def hours_of(columns: tuple[NDArray[np.generic], ...], first: int, beyond: int) -> list[Candle]:
    """Return the hours made of the minutes ``first .. beyond - 1`` of columns in the order of ``Candle``."""
    if first >= beyond:
        return []
    opens_ms, opened, high, low, close, *sums = (column[first:beyond] for column in columns)
    hours = np.asarray(opens_ms, dtype=np.int64) // HOUR_MS
    starts = np.flatnonzero(np.append(True, np.diff(hours) > 0))
    ends = np.append(starts[1:], len(hours)) - 1
    rows = (
        (hours[starts] * HOUR_MS).tolist(),
        opened[starts].tolist(),
        np.maximum.reduceat(high, starts).tolist(),
        np.minimum.reduceat(low, starts).tolist(),
        close[ends].tolist(),
        *(_total(column, starts) for column in sums),
    )
    return [Candle(*row) for row in zip(*rows, strict=True)]


def _total(column: NDArray[np.generic], starts: NDArray[np.int64]) -> list[float]:
    total = np.add.reduceat(column, starts)
    return list((np.round(total, 8) if total.dtype.kind == "f" else total).tolist())
