"""Reads recorded candles, funding rates and index values from files, and rejects invalid ones.

Understood are Binance's archive (``domain/candle_validation.py``) and parquet with the same columns. What a file lacks
is derived, always the same way: ``quote_volume`` is the volume times the mean of open, high, low and close; ``trades``
is one for each 1,800 of quote volume, at least 1 where anything was traded; ``taker_buy_volume`` is half of the volume,
more or less up to 30 % of it as the candle closed near its high or low.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src.domain import candle_validation
from src.domain.candle_validation import (
    NEEDED,
    OF_FUNDING,
    OPTIONAL,
    PRICES,
    Floats,
    Stamps,
    finite,
    first_sentence,
    funding_of,
    milliseconds,
    places,
    read_text,
    refuse_impossible,
)
from src.domain.clock import MINUTE_MS
from src.domain.errors import DataRefused
from src.domain.market import INTERVAL_MS

Table = dict[str, Floats]

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
    return candle_validation.symbol_of(path.name)


def read_candles(path: Path) -> CandleColumns:
    """Return the one-minute candles of a file.

    Raises:
        DataRefused: no such file, not one-minute candles, wrong columns, or rows that cannot be; nothing is mended.
    """
    _refuse_other_interval(path)
    columns = _read(path, NEEDED, OPTIONAL)
    open_ms = milliseconds(path.name, columns["open_time"])
    refuse_impossible(path.name, open_ms, columns)
    steps = np.diff(open_ms)
    if (open_ms % MINUTE_MS).any() or (len(steps) and np.median(steps) != MINUTE_MS):
        raise DataRefused(f"{path.name} holds no 1m candles, and a replay needs 1m.")
    return _completed(open_ms, columns)


def read_funding(path: Path) -> dict[int, float]:
    """Return the rates of a file by the hour they were settled at; raises ``DataRefused``."""
    settled, rates = funding_of(path.name, _read(path, OF_FUNDING))
    return dict(zip(settled.tolist(), rates.tolist(), strict=True))


def read_index(path: Path) -> dict[int, int]:
    """Return the daily index values of a file by the day's first instant; raises ``DataRefused``."""
    columns = _read(path, ("day_time", "value"))
    values = columns["value"]
    if values.min() < 0 or values.max() > 100:
        raise DataRefused(f"{path.name}: an index value lies outside 0..100.")
    days = milliseconds(path.name, columns["day_time"])
    return {int(day): round(value) for day, value in zip(days, values, strict=True)}


def _refuse_other_interval(path: Path) -> None:
    named = [part for part in re.split(r"[-_.]", path.name) if part in INTERVAL_MS and part != "1m"]
    if named:
        raise DataRefused(f"{path.name} holds {named[0]} candles, but a replay needs 1m.")


def _read(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> Table:
    """Return the columns by our names as finite float64 of equal length, at least one row."""
    if not path.is_file():
        raise DataRefused(f"{path}: no such file.")
    read = _read_parquet if path.suffix == ".parquet" else _read_text
    columns = read(path, needed, optional)
    if not len(columns[needed[0]]):
        raise DataRefused(f"{path.name} is empty.")
    return {name: finite(path.name, name, values) for name, values in columns.items()}


def _read_text(path: Path, needed: Sequence[str], optional: Sequence[str]) -> Table:
    try:
        with path.open("rb") as file:
            return read_text(path.name, file, needed, optional)
    except OSError as error:
        raise DataRefused(f"{path.name} cannot be read: {error.strerror}.") from error


def _read_parquet(path: Path, needed: Sequence[str], optional: Sequence[str]) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            theirs = tuple(file.schema_arrow.names)
            # One column at a time, and what pyarrow kept for itself given back: a year is 500,000 rows.
            columns = {
                name: _numbers(path, file.read(columns=[theirs[place]], use_threads=False).column(0))
                for name, place in places(path.name, theirs, needed, optional).items()
            }
        pyarrow.default_memory_pool().release_unused()
        return columns
    except (pyarrow.ArrowException, OSError) as error:
        raise DataRefused(f"{path.name} cannot be read as parquet: {first_sentence(error)}.") from error


def _numbers(path: Path, column: Any) -> Floats:
    import pyarrow

    if pyarrow.types.is_timestamp(column.type):
        column = column.cast(pyarrow.timestamp("ms")).cast(pyarrow.int64())
    if not (pyarrow.types.is_integer(column.type) or pyarrow.types.is_floating(column.type)):
        raise DataRefused(f"{path.name}: a column is {column.type} where numbers are needed.")
    return np.array(column.to_numpy(), dtype=np.float64)


def _completed(open_ms: Stamps, columns: Table) -> CandleColumns:
    opened, high, low, close = (columns[name] for name in PRICES)
    volume = columns["volume"]
    quote = columns.get("quote_volume")
    if quote is None:
        quote = np.round(volume * (opened + high + low + close) / 4.0, 5)
    trades = columns.get("trades")
    if trades is None:
        trades = np.where(volume > 0, np.maximum(np.rint(quote / _USUAL_TRADE), 1.0), 0.0)
    taker = columns.get("taker_buy_volume")
    if taker is None:
        lean = (close - opened) / np.where(high > low, high - low, 1.0)
        taker = np.round(volume * (0.5 + _TAKER_SWING * lean), 3)
    return CandleColumns(open_ms, opened, high, low, close, volume, trades.astype(np.int64), taker, quote)
