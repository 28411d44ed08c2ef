"""The local store of past market data: one parquet file per series, replaced atomically."""

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.domain.candle_names import SeriesKind
from src.domain.errors import DataRefused
from src.domain.market import INTERVAL_MS
from src.market_data.columns import COLUMNS, Candles
from src.market_data.files import Funding, read_candles, read_funding, refuse_impossible

_STORED = {"open_ms": "open_time"}
_OPTIONAL = ("trades", "taker_buy_volume", "quote_volume")
_MIDDLE = {SeriesKind.PERPETUAL: "", SeriesKind.SPOT: "-spot", SeriesKind.MARK: "-mark"}
_LEAST_DIFFERENT = 3
_NEAR_MS = 86_400_000
_LARGEST_STEP = 1.5


class Merged(NamedTuple):
    """The result of a merge: new rows, rows that replaced differing ones, and the total number."""

    added: int
    replaced: int
    total: int


class MarketStore:
    """Candles of the perpetual, of spot and of the mark price, and funding rates, by contract, in one folder.

    File names: ``BTCUSDT-1m.parquet``, ``BTCUSDT-spot-1m.parquet``, ``BTCUSDT-mark-1m.parquet``,
    ``BTCUSDT-funding.parquet``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def candle_path(self, symbol: str, interval: str, series: SeriesKind = SeriesKind.PERPETUAL) -> Path:
        """Return the path of the series, whether it exists or not."""
        return self.folder / f"{_checked(symbol)}{_MIDDLE[series]}-{interval}.parquet"

    def intervals(self, symbol: str, series: SeriesKind = SeriesKind.PERPETUAL) -> list[str]:
        """Return the lengths of candles that are stored of a contract, the shortest first."""
        return [each for each in INTERVAL_MS if self.candle_path(symbol, each, series).is_file()]

    def funding_path(self, symbol: str) -> Path:
        """Return where the funding rates are kept."""
        return self.folder / f"{_checked(symbol)}-funding.parquet"

    def candles(self, symbol: str, interval: str = "1m", series: SeriesKind = SeriesKind.PERPETUAL) -> Candles:
        """Return the stored candles.

        Raises:
            DataRefused: none are stored, or the file is damaged.
        """
        path = self.candle_path(symbol, interval, series)
        if not path.is_file():
            raise DataRefused(
                f"No {interval} candles of {symbol} are stored; fetch them with "
                f"python3 -m src.market_data download {symbol} {interval} --from YYYY-MM."
            )
        return read_candles(path, series, INTERVAL_MS[interval])

    def funding(self, symbol: str) -> dict[int, float]:
        """Return the stored funding rates by settlement instant; empty when none are stored."""
        path = self.funding_path(symbol)
        if not path.is_file():
            return {}
        return read_funding(path).by_instant

    def merge_candles(
        self, symbol: str, interval: str, new: Candles, series: SeriesKind = SeriesKind.PERPETUAL
    ) -> Merged:
        """Add candles to a series; where both have an instant the new one counts (archives are re-issued)."""
        path = self.candle_path(symbol, interval, series)
        whole, merged = new, Merged(len(new), 0, len(new))
        if path.is_file():
            whole, merged = _joined(self.candles(symbol, interval, series), new)
        refuse_impossible(path.name, whole)
        columns = {_STORED.get(name, name): getattr(whole, name) for name in COLUMNS}
        _write(path, {name: values for name, values in columns.items() if name not in _OPTIONAL or values.any()})
        return merged

    def merge_funding(self, symbol: str, new: Funding) -> Merged:
        """Add funding rates; where both have an instant the new one counts."""
        before = self.funding(symbol)
        fresh = new.by_instant
        replaced = sum(1 for time, rate in fresh.items() if time in before and before[time] != rate)
        whole = dict(sorted({**before, **fresh}.items()))
        times, rates = np.array(list(whole), np.int64), np.array(list(whole.values()), np.float64)
        _write(self.funding_path(symbol), {"funding_time": times, "funding_rate": rates})
        return Merged(len(whole) - len(before), replaced, len(whole))

    def mismatch(self, symbol: str, interval: str, new: Candles, series: SeriesKind = SeriesKind.PERPETUAL) -> str:
        """Return why new candles may belong to another market than the stored series, empty if they match.

        Re-issued archive files differ in a few candles. If most candles of the same times differ, or prices jump by
        half from the nearest stored ones, it is another instrument.
        """
        if not self.candle_path(symbol, interval, series).is_file():
            return ""
        before = self.candles(symbol, interval, series)
        known = np.isin(new.open_ms, before.open_ms)
        if known.any():
            old = np.searchsorted(before.open_ms, new.open_ms[known])
            differ = int((before.close[old] != new.close[known]).sum())
            common = int(known.sum())
            if differ >= _LEAST_DIFFERENT and differ > common / 2:
                return f"{differ:,} of {common:,} candles of the same instants close at another price"
            return ""
        place = min(int(np.searchsorted(before.open_ms, new.open_ms[0])), len(before) - 1)
        near = int(np.abs(before.open_ms[[max(place - 1, 0), place]] - new.open_ms[0]).min())
        ratio = float(new.open[0] / before.close[max(place - 1, 0)])
        far_off = near <= _NEAR_MS and not 1 / _LARGEST_STEP < ratio < _LARGEST_STEP
        return f"its prices are {ratio:.3g} times those stored just before" if far_off else ""

    def series(self) -> list[Path]:
        """Return the files of the store, by name."""
        return sorted(self.folder.glob("*.parquet"))


def _checked(symbol: str) -> str:
    if not re.fullmatch(r"[A-Z0-9]{5,20}", symbol):
        raise DataRefused(f"{symbol!r} is no name of a contract, such as BTCUSDT.")
    return symbol


def _joined(before: Candles, new: Candles) -> tuple[Candles, Merged]:
    both = np.concatenate((before.open_ms, new.open_ms))
    newest_first = np.concatenate((np.ones(len(before), np.int8), np.zeros(len(new), np.int8)))
    order = np.lexsort((newest_first, both))
    times = both[order]
    kept = order[np.append(True, np.diff(times) > 0)]
    columns = {name: np.concatenate((getattr(before, name), getattr(new, name)))[kept] for name in COLUMNS}
    whole = Candles(**columns)
    known = np.isin(new.open_ms, before.open_ms)
    old = np.searchsorted(before.open_ms, new.open_ms[known])
    differs = np.zeros(int(known.sum()), dtype=bool)
    for name in ("open", "high", "low", "close", "volume"):
        differs |= getattr(before, name)[old] != getattr(new, name)[known]
    return whole, Merged(int((~known).sum()), int(differs.sum()), len(whole))


def _write(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write a new file, flush it to disk, and replace the old one."""
    import pyarrow
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table({name: pyarrow.array(np.ascontiguousarray(values)) for name, values in columns.items()})
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            parquet.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
