"""Floor 3, adapters: reads recorded candles, funding rates and index values from files, and refuses bad ones.

Understood are Binance's archive (CSV, or one CSV in a zip; with a header or without; milliseconds or
microseconds) and parquet with the same columns. What a file does not say is derived, always the same way:
``quote_volume`` is the volume times the mean of open, high, low and close; ``trades`` is one for each 1,800 of
quote volume, at least 1 where anything was traded; ``taker_buy_volume`` is half of the volume, more or less up to
30 % of it as the candle closed near its high or low.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.core.clock import MINUTE_MS, utc_text
from src.core.errors import DataRefused
from src.core.market import INTERVAL_MS

Floats = NDArray[np.float64]
Stamps = NDArray[np.int64]
Columns = dict[str, Floats]

_ARCHIVE_ORDER = ("open_time", "open", "high", "low", "close", "volume", "close_time", "quote", "trades", "taker")
_NEEDED = ("open_time", "open", "high", "low", "close", "volume")
_OPTIONAL = ("quote", "trades", "taker")
_ALIASES = {
    "quote_volume": "quote",
    "quote_asset_volume": "quote",
    "count": "trades",
    "number_of_trades": "trades",
    "taker_buy_volume": "taker",
    "taker_buy_base": "taker",
    "taker_buy_base_asset_volume": "taker",
    "calc_time": "funding_time",
    "last_funding_rate": "funding_rate",
}
_MICROSECONDS_FROM = 1e14
_HOUR_MS = 3_600_000
_USUAL_TRADE = 1_800.0
_TAKER_SWING = 0.30


class CandleColumns(NamedTuple):
    """The candles of one contract as columns of equal length; ``open_ms`` rises by whole minutes."""

    open_ms: Stamps
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    trades: Stamps
    taker_buy_volume: Floats
    quote_volume: Floats


def symbol_of(path: Path) -> str:
    """Return the contract a file's name begins with: ``BTCUSDT`` of ``BTCUSDT-1m-2024-01.zip``."""
    found = re.match(r"[A-Z0-9]{5,20}(?=[-_.])", path.name)
    if not found:
        raise DataRefused(f"{path.name}: the name must begin with the contract, as in BTCUSDT-1m-2024-01.zip")
    return found.group()


def read_candles(path: Path) -> CandleColumns:
    """Return the one-minute candles of a file.

    Raises:
        DataRefused: no such file, not one-minute candles, wrong columns, or rows that cannot be; nothing is mended.
    """
    _refuse_other_interval(path)
    columns = _read_columns(path, _NEEDED, _OPTIONAL)
    open_ms = _stamps(path, columns["open_time"])
    _refuse_bad_order(path, open_ms)
    _refuse_bad_rows(path, open_ms, columns)
    return _completed(open_ms, columns)


def read_funding(path: Path) -> dict[int, float]:
    """Return the rates of a file by the hour they were settled at; raises ``DataRefused``."""
    columns = _read_columns(path, ("funding_time", "funding_rate"), ())
    settled = _stamps(path, columns["funding_time"])
    hours = (settled + _HOUR_MS // 2) // _HOUR_MS * _HOUR_MS  # the archive's stamps are some milliseconds late
    return dict(zip(hours.tolist(), columns["funding_rate"].tolist(), strict=True))


def read_index(path: Path) -> dict[int, int]:
    """Return the daily index values of a file by the day's first instant; raises ``DataRefused``."""
    columns = _read_columns(path, ("day_time", "value"), ())
    values = columns["value"]
    if values.min() < 0 or values.max() > 100:
        raise DataRefused(f"{path.name}: an index value lies outside 0..100")
    return {int(day): round(value) for day, value in zip(_stamps(path, columns["day_time"]), values, strict=True)}


def _refuse_other_interval(path: Path) -> None:
    named = [part for part in re.split(r"[-_.]", path.name) if part in INTERVAL_MS and part != "1m"]
    if named:
        raise DataRefused(f"{path.name} holds {named[0]} candles, but a replay needs 1m")


def _read_columns(path: Path, needed: tuple[str, ...], optional: tuple[str, ...]) -> Columns:
    """Return the columns by our names as finite float64 of equal length, at least one row."""
    if not path.is_file():
        raise DataRefused(f"{path}: no such file")
    read = _read_parquet if path.suffix == ".parquet" else _read_text
    columns = read(path, needed, optional)
    if not len(columns[needed[0]]):
        raise DataRefused(f"{path.name} is empty")
    bad = [name for name, values in columns.items() if not np.isfinite(values).all()]
    if bad:
        raise DataRefused(f"{path.name}: column {bad[0]} has a value that is missing or no number")
    return columns


def _read_parquet(path: Path, needed: tuple[str, ...], optional: tuple[str, ...]) -> Columns:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            theirs = tuple(file.schema_arrow.names)
            ours = _placed(path, theirs, needed, optional)
            # One column at a time, and what pyarrow kept for itself given back: a year is 500,000 rows.
            columns = {
                name: _numbers(path, file.read(columns=[theirs[place]], use_threads=False).column(0))
                for name, place in ours.items()
            }
        pyarrow.default_memory_pool().release_unused()
        return columns
    except (pyarrow.ArrowException, OSError) as error:
        raise DataRefused(f"{path.name} cannot be read as parquet: {error}") from error


def _numbers(path: Path, column: Any) -> Floats:
    import pyarrow

    if pyarrow.types.is_timestamp(column.type):
        column = column.cast(pyarrow.timestamp("ms")).cast(pyarrow.int64())
    if not (pyarrow.types.is_integer(column.type) or pyarrow.types.is_floating(column.type)):
        raise DataRefused(f"{path.name}: a column is {column.type} where numbers are needed")
    return np.array(column.to_numpy(), dtype=np.float64)


def _read_text(path: Path, needed: tuple[str, ...], optional: tuple[str, ...]) -> Columns:
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive, archive.open(_only_member(path, archive)) as packed:
                return _parse(path, packed, needed, optional)
        with path.open("rb") as plain:
            return _parse(path, plain, needed, optional)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataRefused(f"{path.name} is a damaged zip: {error}") from error
    except OSError as error:
        raise DataRefused(f"{path.name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataRefused(f"{path.name} is no table of numbers: {str(error).splitlines()[0]}") from error


def _only_member(path: Path, archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
    if len(names) != 1:
        raise DataRefused(f"{path.name} must hold one CSV file, it holds {len(names)}")
    return names[0]


def _parse(path: Path, file: IO[bytes], needed: tuple[str, ...], optional: tuple[str, ...]) -> Columns:
    lines: Iterator[bytes] = iter(file)
    first_line = next(lines, b"")
    if not first_line.strip():
        raise DataRefused(f"{path.name} is empty")
    names = tuple(name.strip() for name in first_line.decode("utf-8-sig").split(","))
    if names[0][:1].isdigit():  # the archive's older files have no header
        names, lines = _ARCHIVE_ORDER[: len(names)], chain((first_line,), lines)
    places = _placed(path, names, needed, optional)
    first_row = next(lines, b"")
    if not first_row.strip():
        raise DataRefused(f"{path.name} is empty")
    order = tuple(places.values())
    rows = np.loadtxt(chain((first_row,), lines), delimiter=",", usecols=order, ndmin=2, comments=None)
    return {name: rows[:, column] for column, name in enumerate(places)}


def _placed(path: Path, names: tuple[str, ...], needed: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, int]:
    """Return where each column that we want stands in the file."""
    ours = {_ALIASES.get(name, name): place for place, name in enumerate(names)}
    missing = [name for name in needed if name not in ours]
    if missing:
        raise DataRefused(f"{path.name} has no column {missing[0]}, it has {', '.join(names[:12])}")
    return {name: ours[name] for name in (*needed, *optional) if name in ours}


def _stamps(path: Path, values: Floats) -> Stamps:
    """Return instants in milliseconds, whether the file counts milliseconds or microseconds."""
    stamps = values.astype(np.int64)
    if stamps.min() <= 0:
        raise DataRefused(f"{path.name}: an instant is not after 1970")
    return np.where(stamps >= _MICROSECONDS_FROM, stamps // 1000, stamps)


def _refuse_bad_order(path: Path, open_ms: Stamps) -> None:
    steps = np.diff(open_ms)
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 1
        fault = "twice" if steps[row - 1] == 0 else "out of order"
        raise DataRefused(f"{path.name}: the candle of {utc_text(int(open_ms[row]))} stands {fault}")
    if (open_ms % MINUTE_MS).any() or (len(steps) and np.median(steps) != MINUTE_MS):
        raise DataRefused(f"{path.name} holds no 1m candles, and a replay needs 1m")


def _refuse_bad_rows(path: Path, open_ms: Stamps, columns: Columns) -> None:
    opened, high, low, close = (columns[name] for name in ("open", "high", "low", "close"))
    bad = (low <= 0) | (high < np.maximum(opened, close)) | (low > np.minimum(opened, close))
    for name in ("volume", *(name for name in _OPTIONAL if name in columns)):
        bad |= columns[name] < 0
    if bad.any():
        where = utc_text(int(open_ms[np.argmax(bad)]))
        raise DataRefused(f"{path.name}: the candle of {where} is impossible (high, low, or a negative amount)")


def _completed(open_ms: Stamps, columns: Columns) -> CandleColumns:
    opened, high, low, close = (columns[name] for name in ("open", "high", "low", "close"))
    volume = columns["volume"]
    quote = columns.get("quote")
    if quote is None:
        quote = np.round(volume * (opened + high + low + close) / 4.0, 5)
    trades = columns.get("trades")
    if trades is None:
        trades = np.where(volume > 0, np.maximum(np.rint(quote / _USUAL_TRADE), 1.0), 0.0)
    taker = columns.get("taker")
    if taker is None:
        lean = (close - opened) / np.where(high > low, high - low, 1.0)
        taker = np.round(volume * (0.5 + _TAKER_SWING * lean), 3)
    return CandleColumns(open_ms, opened, high, low, close, volume, trades.astype(np.int64), taker, quote)
