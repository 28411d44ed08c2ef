"""Data quality of stored candles: gaps, frozen stretches, sudden jumps."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.domain.clock import utc_text
from src.market_data.columns import Candles
from src.market_data.files import interval_ms_of

LEAST_FROZEN = 3
_JUMP_SHARE = 0.10


class Stretch(NamedTuple):
    """A number of candles from an instant on."""

    first_ms: int
    candles: int

    def __str__(self) -> str:
        return f"{utc_text(self.first_ms)[:16].replace('T', ' ')}: {self.candles:,}"


class Quality(NamedTuple):
    """What was found; ``gaps`` are missing candles, ``frozen`` at least three in a row without trade or move.

    ``jumps`` are candles that open 10 % away from the close before them.
    """

    candles: int
    interval_ms: int
    first_ms: int
    last_ms: int
    gaps: tuple[Stretch, ...]
    frozen: tuple[Stretch, ...]
    jumps: tuple[Stretch, ...]

    @property
    def missing(self) -> int:
        """How many candles are missing in all gaps."""
        return sum(gap.candles for gap in self.gaps)


def examine(candles: Candles, has_volume: bool = True, interval_ms: int = 0) -> Quality:
    """Return the doubtful parts of candles; mark prices have no volume, so there it is not doubtful.

    ``interval_ms`` is their length, 0 to take it from their steps.

    Raises:
        DataRefused: the step between them is no known interval.
    """
    step, times = interval_ms or interval_ms_of(candles), candles.open_ms
    breaks = np.flatnonzero(np.diff(times) != step)
    gaps = tuple(Stretch(int(times[at]) + step, int((times[at + 1] - times[at]) // step) - 1) for at in breaks)
    still = (candles.high == candles.low) & ((candles.volume == 0) | (not has_volume))
    moved = np.abs(candles.open[1:] / candles.close[:-1] - 1.0)
    jumps = tuple(Stretch(int(times[at + 1]), 1) for at in np.flatnonzero(moved > _JUMP_SHARE))
    return Quality(len(candles), step, int(times[0]), int(times[-1]), gaps, _runs(still, times), jumps)


def _runs(marked: NDArray[np.bool_], times: NDArray[np.int64]) -> tuple[Stretch, ...]:
    """Return the stretches of at least ``LEAST_FROZEN`` marked rows."""
    edges = np.diff(np.concatenate(([0], marked.astype(np.int8), [0])))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    long = ends - starts >= LEAST_FROZEN
    return tuple(Stretch(int(times[a]), int(b - a)) for a, b in zip(starts[long], ends[long], strict=True))
