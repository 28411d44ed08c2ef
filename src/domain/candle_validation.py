"""Checks of recorded candle and rate tables, and the messages for what is wrong with one.

Binance's archive comes as text, one CSV or one in a zip, with a header or without, in milliseconds or microseconds;
other makers call the same columns by other names. Whoever reads files hands over what is in them, by name: a table is
taken whole or refused in one sentence, and nothing is mended.
"""

import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from src.domain.clock import utc_text
from src.domain.errors import DataRefused

Floats = NDArray[np.float64]
Stamps = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]

ARCHIVE_ORDER: Final = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count", "taker_buy_volume",
    "taker_buy_quote_volume", "ignore",
)  # fmt: skip
PRICES: Final = ("open", "high", "low", "close")
NEEDED: Final = ("open_time", *PRICES, "volume")
OPTIONAL: Final = ("trades", "taker_buy_volume", "quote_volume")
OF_FUNDING: Final = ("funding_time", "funding_rate")
_ALIASES: Final = {
    "date": "open_time",
    "timestamp": "open_time",
    "quote_asset_volume": "quote_volume",
    "count": "trades",
    "number_of_trades": "trades",
    "taker_buy_base": "taker_buy_volume",
    "taker_buy_base_asset_volume": "taker_buy_volume",
    "calc_time": "funding_time",
    "last_funding_rate": "funding_rate",
}
_HOUR_MS: Final = 3_600_000
_SECONDS_BELOW: Final = 1e11
_MICROSECONDS_FROM: Final = 1e14
_NANOSECONDS_FROM: Final = 1e17
_NAMES_TOLD: Final = 12


def symbol_of(name: str) -> str:
    """Return the contract that a file's name begins with: of ``BTCUSDT-1m-2024-01.zip`` or ``BTC_USDT_USDT-1m...``.

    Raises:
        DataRefused: the name begins with none.
    """
    found = re.match(r"([A-Z0-9]{2,12})_(USDT|USDC|BUSD)(?=[_\-.])|([A-Z0-9]{5,20})(?=[-_.])", name)
    if not found:
        raise DataRefused(f"{name}: the name must begin with the contract, as in BTCUSDT-1m-2024-01.zip.")
    return found.group(3) or found.group(1) + found.group(2)


def places(name: str, theirs: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    """Return where each column stands that is wanted, under our name for it.

    Raises:
        DataRefused: one that is needed is missing, or one that is wanted stands there twice.
    """
    ours = [_ALIASES.get(each, each) for each in theirs]
    lacking = next((each for each in needed if each not in ours), None)
    if lacking:
        raise DataRefused(f"{name} has no column {lacking}; it has {', '.join(theirs[:_NAMES_TOLD])}.")
    wanted = [each for each in (*needed, *optional) if each in ours]
    twice = next((each for each in wanted if ours.count(each) > 1), None)
    if twice:
        raise DataRefused(f"{name} has the column {twice} more than once.")
    return {each: ours.index(each) for each in wanted}


def read_text(name: str, file: IO[bytes], needed: Sequence[str], optional: Sequence[str] = ()) -> Columns:
    """Return the wanted columns of a CSV, or of the only CSV in a zip, by our names; at least one row.

    Raises:
        DataRefused: damaged, empty, no table of numbers, or of other columns.
    """
    try:
        with _unpacked(name, file) as lines:
            return _parsed(name, lines, needed, optional)
    except UnicodeDecodeError as error:
        raise DataRefused(f"{name} is no text.") from error
    except (ValueError, IndexError) as error:
        raise DataRefused(f"{name} is no table of numbers: {first_sentence(error)}.") from error


@contextmanager
def _unpacked(name: str, file: IO[bytes]) -> Iterator[Iterator[bytes]]:
    """Lend the lines of a text, packed or not."""
    if not name.lower().endswith(".zip"):
        yield iter(file)
        return
    try:
        with zipfile.ZipFile(file) as archive:
            names = [each for each in archive.namelist() if each.lower().endswith(".csv")]
            if len(names) != 1:
                raise DataRefused(f"{name} must hold one CSV file, it holds {len(names)}.")
            with archive.open(names[0]) as packed:
                yield iter(packed)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # last: locked, unknown packing
        raise DataRefused(f"{name} is a damaged zip: {first_sentence(error)}.") from error


def _parsed(name: str, lines: Iterator[bytes], needed: Sequence[str], optional: Sequence[str]) -> Columns:
    heading = next(lines, b"")
    if not heading.strip():
        raise DataRefused(f"{name} is empty.")
    theirs = tuple(each.strip() for each in heading.decode("utf-8-sig").split(","))
    if theirs[0][:1].isdigit():  # the archive's older files have no header
        theirs, lines = ARCHIVE_ORDER[: len(theirs)], chain((heading,), lines)
    rows = (line for line in lines if line.strip())
    first = next(rows, None)
    if first is None:
        raise DataRefused(f"{name} is empty.")
    wanted = places(name, theirs, needed, optional)
    # Line by line: a year of minutes is never in memory as text.
    numbers = np.loadtxt(chain((first,), rows), delimiter=",", usecols=tuple(wanted.values()), ndmin=2, comments=None)
    return {each: numbers[:, column] for column, each in enumerate(wanted)}


def finite(name: str, column: str, values: Collection[Any] | NDArray[Any]) -> Floats:
    """Return a column as finite float64; raises ``DataRefused`` for anything else."""
    try:
        numbers = np.asarray(values).astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise DataRefused(f"{name}: column {column} holds what is no number.") from error
    if not np.isfinite(numbers).all():
        raise DataRefused(f"{name}: column {column} has a value that is missing or no number.")
    return numbers


def milliseconds(name: str, stamps: NDArray[Any]) -> Stamps:
    """Return instants in milliseconds, whether the file counts milli-, micro- or nanoseconds.

    Raises:
        DataRefused: an instant before 1970, or seconds.
    """
    whole = stamps.astype(np.int64)
    if whole.min(initial=1) <= 0:
        raise DataRefused(f"{name}: an instant is not after 1970.")
    if whole.max(initial=0) < _SECONDS_BELOW and len(whole):
        raise DataRefused(f"{name} counts seconds; known are milliseconds, microseconds and nanoseconds.")
    divisor = np.where(whole >= _NANOSECONDS_FROM, 1_000_000, np.where(whole >= _MICROSECONDS_FROM, 1_000, 1))
    return np.asarray((whole + divisor // 2) // divisor)  # float64 holds nanoseconds to 256 of them


def refuse_bad_order(name: str, times: Stamps) -> None:
    """Raise ``DataRefused`` unless instants rise."""
    steps = np.diff(times)
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 1
        fault = "stands twice" if steps[row - 1] == 0 else "is out of order"
        raise DataRefused(f"{name}: the row of {utc_text(int(times[row]))} {fault}.")


def refuse_impossible(name: str, open_ms: Stamps, columns: Mapping[str, NDArray[Any]]) -> None:
    """Raise ``DataRefused`` for candles that cannot be: order, prices, negative amounts."""
    refuse_bad_order(name, open_ms)
    opened, high, low, close = (columns[each] for each in PRICES)
    bad = (low <= 0) | (high < np.maximum(opened, close)) | (low > np.minimum(opened, close))
    for each in ("volume", *OPTIONAL):
        bad |= columns[each] < 0 if each in columns else False
    if bad.any():
        where = utc_text(int(open_ms[np.argmax(bad)]))
        raise DataRefused(f"{name}: the candle of {where} is impossible (high, low, or a negative amount).")


def funding_of(name: str, columns: Mapping[str, NDArray[Any]]) -> tuple[Stamps, Floats]:
    """Return settlements and their rates as shares; instants are rounded to the hour (the archive's are some ms late).

    Raises:
        DataRefused: instants that do not rise, or rates that are none.
    """
    times = milliseconds(name, finite(name, "funding_time", columns["funding_time"]))
    rates = finite(name, "funding_rate", columns["funding_rate"])
    times = (times + _HOUR_MS // 2) // _HOUR_MS * _HOUR_MS
    refuse_bad_order(name, times)
    if (np.abs(rates) > 0.1).any():
        raise DataRefused(f"{name}: a funding rate beyond 10 % cannot be; is it in percent?")
    return times, rates


def first_sentence(error: Exception) -> str:
    """Return the first line of what a library says, without its full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
