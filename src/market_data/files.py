"""Reads candles and funding rates from disk; ``domain/candle_reader.py`` knows the formats."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from src.domain import candle_validation
from src.domain.candle_columns import NEEDED, OPTIONAL
from src.domain.candle_names import SeriesKind, facts_of
from src.domain.candle_reader import CandleFile, Told, read_candle_file, read_funding_file, whole_files
from src.domain.candle_validation import interval_name, length_of
from src.domain.clock import SystemClock, utc_text
from src.domain.errors import DataRefused
from src.market_data.columns import COLUMNS, Candles, Floats, Stamps

__all__ = ["Funding", "Read", "interval_ms_of", "interval_name", "read_candles", "read_file", "read_funding"]

_STORE: Final = "store"


class Funding(NamedTuple):
    """Funding rates as shares, by settlement instant; instants rise."""

    time_ms: Stamps
    rate: Floats
    symbol: str = ""

    @property
    def by_instant(self) -> dict[int, float]:
        """The rates by settlement instant."""
        return dict(zip(self.time_ms.tolist(), self.rate.tolist(), strict=True))


class Read(NamedTuple):
    """The candles of one file, and how it was read."""

    candles: Candles
    file: CandleFile


def symbol_of(path: Path) -> str:
    """Return the contract of a file's name; raises ``DataRefused`` if it has none."""
    found = facts_of(path.name).symbol
    if not found:
        raise DataRefused(
            f"{path.name}: the name does not say the contract, as BTCUSDT-1m-2024-01.zip does; give --symbol."
        )
    return found


def holds_funding(path: Path) -> bool:
    """Return whether a file's name or folder says that it holds funding rates."""
    return facts_of(path.name, _folders(path)).series is SeriesKind.FUNDING


def read_file(path: Path, told: Told | None = None) -> CandleFile:
    """Return the candles of a file of any supported format, and how it was read.

    Raises:
        DataRefused: missing, damaged, of wrong columns or instruments, unsorted, doubled, empty, or with an
            impossible row; one sentence says which.
    """
    told = told or Told()
    told = replace(told, folders=told.folders or _folders(path))
    _refuse_no_file(path)
    try:
        with path.open("rb") as file:
            return read_candle_file(path.name, file, told, SystemClock().now_ms())
    except OSError as error:
        raise DataRefused(f"{path.name} cannot be read: {error.strerror or error}.") from error


def read_candles(path: Path, series: SeriesKind | None = None, interval_ms: int = 0) -> Candles:
    """Return the closed candles of one file.

    Args:
        path: of any known kind.
        series: what it holds, where the name does not say it.
        interval_ms: the length of its candles, likewise.

    Raises:
        DataRefused: as ``read_file``.
    """
    own = (_STORE,) if series else ()  # the kind of a stored series comes from its file name, not its folder
    told = Told(series=series, interval_ms=interval_ms, folders=own)
    return candles_of(whole_files([read_file(path, told)])[0])


def candles_of(file: CandleFile) -> Candles:
    """Return a file's candles; columns that it does not have are 0."""
    count, given = len(file.open_ms), file.columns
    zeros = np.broadcast_to(np.zeros(1), (count,))
    rest = {name: given.get(name, zeros) for name in (*NEEDED[1:], *OPTIONAL)}
    nothing = np.broadcast_to(np.zeros(1, np.int64), (count,))
    trades = given["trades"].astype(np.int64) if "trades" in given else nothing
    return Candles(open_ms=file.open_ms, **{**rest, "trades": trades})


def read_in_order(paths: Sequence[Path], told: Told | None = None) -> list[Read]:
    """Return the candles of several files of one contract, in time's order.

    Raises:
        DataRefused: as ``read_file``; two files overlap, or have different contracts.
    """
    files = sorted(whole_files([read_file(path, told) for path in paths]), key=lambda each: int(each.open_ms[0]))
    named = {each.symbol: each.name for each in files if each.symbol}
    if len(named) > 1:
        several = ", ".join(f"{symbol} ({name})" for symbol, name in sorted(named.items()))
        raise DataRefused(f"The files hold different contracts: {several}; give those of one.")
    for earlier, later in pairwise(files):
        if later.open_ms[0] < earlier.open_ms[-1] + earlier.interval_ms:
            raise DataRefused(f"Two files both hold {utc_text(int(later.open_ms[0]))}; give each stretch once.")
    return [Read(candles_of(each), each) for each in files]


def read_funding(path: Path, told: Told | None = None) -> Funding:
    """Return the funding rates of a file; instants are rounded to the minute (recorded ones are some ms late).

    Raises:
        DataRefused: as ``read_file``.
    """
    _refuse_no_file(path)
    told = told or Told()
    try:
        with path.open("rb") as file:
            return Funding(*read_funding_file(path.name, file, Told(told.symbol, folders=_folders(path))))
    except OSError as error:
        raise DataRefused(f"{path.name} cannot be read: {error.strerror or error}.") from error


def interval_ms_of(candles: Candles, name: str = "The candles") -> int:
    """Return the candles' interval; raises ``DataRefused`` if it cannot be determined."""
    return length_of(name, candles.open_ms)


def refuse_impossible(name: str, candles: Candles) -> None:
    """Raise ``DataRefused`` for candles that cannot be: order, prices, negative amounts."""
    columns = {column: getattr(candles, column) for column in COLUMNS}
    candle_validation.refuse_impossible(name, candles.open_ms, columns)


def _folders(path: Path) -> tuple[str, ...]:
    return path.absolute().parent.parts[-8:]


def _refuse_no_file(path: Path) -> None:
    if not path.is_file():
        raise DataRefused(f"{path}: {'that is no file' if path.exists() else 'no such file'}.")
