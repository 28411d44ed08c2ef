"""Chart files: timestamped names, written atomically, old ones pruned.

The drawing code (and its large libraries) is loaded with the first image. Processes that must stay small use a worker
process: see ``chart_worker.py``.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from src.charts.analysis_schema import ChartView, view_of
from src.charts.annotations import ChartAnnotations
from src.domain.clock import Clock, SystemClock, utc_text
from src.domain.errors import SuiteError
from src.domain.market import INTERVAL_MS, Candle

if TYPE_CHECKING:
    from src.charts.renderer import ChartLayout

FEWEST: Final = 30
_NAME: Final = re.compile(r"(?P<symbol>[A-Z0-9]+)_(?P<interval>\d+[mhd])_\d{8}T\d{9}Z\.png")
_LEFTOVER_MS: Final = 600_000


class ChartUnavailable(SuiteError):
    """The chart could not be drawn: too few candles, or the folder cannot be written."""


@dataclass(frozen=True, slots=True)
class ChartPicture:
    """A drawn chart: its file, and what it shows."""

    path: Path
    png: bytes
    view: ChartView


class ChartGenerator:
    """Draws charts into a folder and keeps the newest of each symbol.

    Args:
        folder: where pictures go; made when missing.
        keep: how many pictures of one symbol and interval are kept.
        layout: size, overlays and panels; 1200 by 900 pixels with everything by default.
        clock: of the time in the file names; the machine's when None.
    """

    def __init__(
        self,
        folder: str | Path = "charts",
        keep: int = 96,
        layout: "ChartLayout | None" = None,
        clock: Clock | None = None,
    ) -> None:
        if keep < 1:
            raise ValueError("keep must be at least 1")
        self._folder = Path(folder)
        self._keep = keep
        self._layout = layout
        self._clock = clock or SystemClock()

    def generate_chart(
        self,
        symbol: str,
        interval: str,
        candles: Sequence[Candle],
        marks: ChartAnnotations | None = None,
        seen: int = 120,
    ) -> ChartPicture:
        """Draw the last ``seen`` candles and return the picture.

        Args:
            symbol: the contract; stands in the name.
            interval: of the candles, such as 15m.
            candles: oldest first; all of them feed the indicators, so pass 1,000 if available.
            marks: entry, stop, target and trades to draw.
            seen: how many candles are shown.

        Raises:
            ChartUnavailable: fewer than 30 candles, an impossible candle, or no place to write.
        """
        if len(candles) < FEWEST:
            raise ChartUnavailable(f"{symbol} has {len(candles)} candles, a chart needs {FEWEST}: wait for more.")
        return self.draw(view_of(symbol, interval, candles, seen), marks)

    def draw(self, view: ChartView, marks: ChartAnnotations | None = None) -> ChartPicture:
        """Draw a view as it is and return the picture; raises as ``generate_chart`` does."""
        from src.charts.renderer import draw_chart  # a second and 90 MB, only where something is drawn

        if view.interval not in INTERVAL_MS or not re.fullmatch("[A-Z0-9]+", view.symbol):
            raise ChartUnavailable(f"{view.symbol} {view.interval} names no chart.")
        if not all(0.0 < each.low <= each.high < float("inf") for each in view.candles):
            raise ChartUnavailable(f"{view.symbol} has a candle without a price: no chart is drawn of it.")
        png = draw_chart(view, marks, self._layout)
        path = self._folder / f"{view.symbol}_{view.interval}_{_stamp(self._clock.now_ms())}.png"
        try:
            self._write(path, png)
            self.prune(view.symbol, view.interval)
        except OSError as error:
            raise ChartUnavailable(f"The chart {path.name} cannot be written: {error.strerror}.") from error
        return ChartPicture(path, png, view)

    def prune(self, symbol: str, interval: str) -> int:
        """Remove all but the newest pictures of one chart, and what a killed process left; return how many."""
        own = []
        removed = 0
        for path in self._folder.iterdir():
            named = _NAME.fullmatch(path.name)
            if named and (named["symbol"], named["interval"]) == (symbol, interval):
                own.append(path)
            elif path.suffix == ".part" and self._is_left_over(path):
                path.unlink(missing_ok=True)
                removed += 1
        for path in sorted(own)[: -self._keep]:
            path.unlink(missing_ok=True)
            removed += 1
        return removed

    def _write(self, path: Path, png: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            part.write_bytes(png)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    @staticmethod
    def _is_left_over(path: Path) -> bool:
        try:
            return SystemClock().now_ms() - path.stat().st_mtime_ns // 1_000_000 > _LEFTOVER_MS
        except FileNotFoundError:
            return False


def _stamp(now_ms: int) -> str:
    """Return an instant as it stands in a file's name; names sort by time: ``20261122T103015000Z``."""
    return re.sub(r"[-:.]", "", utc_text(now_ms))
