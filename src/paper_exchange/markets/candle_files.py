"""Reads recorded candles, funding rates and index values from files, and rejects invalid ones.

``domain/candle_reader.py`` knows the formats. Missing columns are derived: ``quote_volume``
is the volume times the mean of open, high, low and close; ``trades`` is one for each 1,800 of quote volume, at least 1
where anything was traded; ``taker_buy_volume`` is half of the volume, more or less up to 30 % of it as the candle
closed near its high or low.
"""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.domain.candle_columns import OF_INDEX, PRICES
from src.domain.candle_names import SeriesKind, facts_of
from src.domain.candle_reader import CandleFile, Told, read_candle_file, read_funding_file, whole_files
from src.domain.candle_sources import read_source
from src.domain.candle_validation import Columns, Floats, Stamps, finite, interval_name
from src.domain.clock import MINUTE_MS, SystemClock
from src.domain.errors import DataRefused

log = logging.getLogger(__name__)

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
    """Return the contract a file's name says: ``BTCUSDT`` of ``BTCUSDT-1m-2024-01.zip``; raises ``DataRefused``."""
    found = facts_of(path.name).symbol
    if not found:
        raise DataRefused(f"{path.name}: the name does not say the contract, as BTCUSDT-1m-2024-01.zip does.")
    return found


def holds_funding(path: Path) -> bool:
    """Return whether a file's name says that it holds funding rates."""
    return facts_of(path.name, _folders(path)).series is SeriesKind.FUNDING


def read_candles(path: Path) -> CandleColumns:
    """Return the one-minute candles of a file.

    Raises:
        DataRefused: no such file, not one-minute candles, wrong columns, or rows that cannot be; nothing is mended.
    """
    _refuse_other_interval(path)
    read = whole_files([_read(path)])[0]
    if read.series is SeriesKind.MARK:
        raise DataRefused(f"{path.name} holds mark prices; a replay needs prices that were traded.")
    if read.interval_ms != MINUTE_MS:
        raise DataRefused(f"{path.name} holds no 1m candles, and a replay needs 1m.")
    log.info("replay file: name=%s understood=%s", path.name, read.understood)
    return _completed(read.open_ms, read.columns)


def read_funding(path: Path) -> dict[int, float]:
    """Return the rates of a file by the instant they were settled at; raises ``DataRefused``."""
    _refuse_no_file(path)
    try:
        with path.open("rb") as file:
            settled, rates, _ = read_funding_file(path.name, file, Told(folders=_folders(path)))
    except OSError as error:
        raise DataRefused(f"{path.name} cannot be read: {error.strerror or error}.") from error
    return dict(zip(settled.tolist(), rates.tolist(), strict=True))


def read_index(path: Path) -> dict[int, int]:
    """Return the daily index values of a file by the day's first instant; raises ``DataRefused``."""
    _refuse_no_file(path)
    with path.open("rb") as file:
        columns = read_source(path.name, file, OF_INDEX, ()).columns
    values = finite(path.name, "value", columns["value"])
    if values.min() < 0 or values.max() > 100:
        raise DataRefused(f"{path.name}: an index value lies outside 0..100.")
    return {int(day): round(value) for day, value in zip(columns["day_time"], values, strict=True)}


def _read(path: Path) -> CandleFile:
    _refuse_no_file(path)
    try:
        with path.open("rb") as file:
            return read_candle_file(path.name, file, Told(folders=_folders(path)), SystemClock().now_ms())
    except OSError as error:
        raise DataRefused(f"{path.name} cannot be read: {error.strerror or error}.") from error


def _folders(path: Path) -> tuple[str, ...]:
    return path.absolute().parent.parts[-8:]


def _refuse_no_file(path: Path) -> None:
    if not path.is_file():
        raise DataRefused(f"{path}: no such file.")


def _refuse_other_interval(path: Path) -> None:
    said_ms = facts_of(path.name).interval_ms
    if said_ms not in (0, MINUTE_MS):
        raise DataRefused(f"{path.name} holds {interval_name(said_ms)} candles, but a replay needs 1m.")


def _completed(open_ms: Stamps, columns: Columns) -> CandleColumns:
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
