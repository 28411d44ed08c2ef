"""Floor 3, adapters: reads candles and funding rates from files of many makers, and refuses what cannot be.

Understood are Binance's archive (CSV, or one CSV in a zip; header or none; milliseconds or microseconds), Binance's
REST klines as JSON, freqtrade's feather files, and parquet. A file is taken whole or not at all; nothing is mended.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.core.clock import utc_text
from src.core.errors import DataRefused
from src.core.market import INTERVAL_MS
from src.market_data.columns import Candles, Floats, Stamps

Columns = dict[str, NDArray[Any]]
_ARCHIVE_ORDER = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count", "taker_buy_volume",
    "taker_buy_quote_volume", "ignore",
)  # fmt: skip
_ALIASES = {
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
_PRICES = ("open", "high", "low", "close")
_NEEDED = ("open_time", *_PRICES, "volume")
_OPTIONAL = ("trades", "taker_buy_volume", "quote_volume")
_HOUR_MS = 3_600_000
_SECONDS_BELOW = 1e11
_MICROSECONDS_FROM = 1e14
_NANOSECONDS_FROM = 1e17


class Funding(NamedTuple):
    """Funding rates as shares, by settlement instant; instants rise."""

    time_ms: Stamps
    rate: Floats

    @property
    def by_instant(self) -> dict[int, float]:
        """The rates by settlement instant."""
        return dict(zip(self.time_ms.tolist(), self.rate.tolist(), strict=True))


def symbol_of(path: Path) -> str:
    """Return the contract that a file's name begins with: of ``BTCUSDT-1m-2024-01.zip`` or ``BTC_USDT_USDT-1m...``.

    Raises:
        DataRefused: the name begins with none.
    """
    found = re.match(r"([A-Z0-9]{2,12})_(USDT|USDC|BUSD)(?=[_\-.])|([A-Z0-9]{5,20})(?=[-_.])", path.name)
    if not found:
        raise DataRefused(f"{path.name}: the name must begin with the contract, as in BTCUSDT-1m-2024-01.zip.")
    return found.group(3) or found.group(1) + found.group(2)


def read_candles(path: Path, volume_needed: bool = True) -> Candles:
    """Return the candles of a file of any known kind.

    Args:
        path: ``.csv``, ``.zip``, ``.json``, ``.feather`` or ``.parquet``.
        volume_needed: False for mark prices, which have none.

    Raises:
        DataRefused: missing, damaged, of wrong columns, unsorted, doubled, empty, or with an impossible row; one
            sentence says which.
    """
    columns = _read(path)
    needed = _NEEDED if volume_needed else _NEEDED[:-1]
    lacking = [name for name in needed if name not in columns]
    if lacking:
        raise DataRefused(f"{path.name} has no column {lacking[0]}; it has {', '.join(list(columns)[:12])}.")
    count = len(columns["open_time"])
    if not count:
        raise DataRefused(f"{path.name} is empty.")
    given = {name: _numbers(path, name, columns[name]) for name in (*needed, *_OPTIONAL) if name in columns}
    zeros = np.broadcast_to(np.zeros(1), (count,))
    columns = {name: given.get(name, zeros) for name in (*_NEEDED, *_OPTIONAL)}
    open_ms = milliseconds(path, columns.pop("open_time"))
    nothing = np.broadcast_to(np.zeros(1, np.int64), (count,))
    trades = given["trades"].astype(np.int64) if "trades" in given else nothing
    candles = Candles(open_ms=open_ms, **{**columns, "trades": trades})
    refuse_impossible(path.name, candles)
    return candles


def read_in_order(paths: Sequence[Path]) -> list[tuple[Candles, int]]:
    """Return the candles of several files and their length in milliseconds, in time's order.

    Raises:
        DataRefused: as ``read_candles``; or two files hold the same stretch.
    """
    read = ((read_candles(path), path.name) for path in paths)
    parts = [(candles, interval_ms_of(candles, name)) for candles, name in read]
    parts.sort(key=lambda part: int(part[0].open_ms[0]))
    for (earlier, step), (later, _) in pairwise(parts):
        if later.open_ms[0] < earlier.open_ms[-1] + step:
            raise DataRefused(f"Two files both hold {utc_text(int(later.open_ms[0]))}; give each stretch once.")
    return parts


def read_funding(path: Path) -> Funding:
    """Return the funding rates of a file; instants are rounded to the hour (the archive's are some ms late).

    Raises:
        DataRefused: as ``read_candles``.
    """
    columns = _read(path)
    lacking = [name for name in ("funding_time", "funding_rate") if name not in columns]
    if lacking:
        raise DataRefused(f"{path.name} has no column {lacking[0]}; it has {', '.join(list(columns)[:12])}.")
    times = milliseconds(path, _numbers(path, "funding_time", columns["funding_time"]))
    rates = _numbers(path, "funding_rate", columns["funding_rate"])
    if not len(times):
        raise DataRefused(f"{path.name} is empty.")
    times = (times + _HOUR_MS // 2) // _HOUR_MS * _HOUR_MS
    _refuse_bad_order(path.name, times)
    if (np.abs(rates) > 0.1).any():
        raise DataRefused(f"{path.name}: a funding rate beyond 10 % cannot be; is it in percent?")
    return Funding(times, rates)


def interval_ms_of(candles: Candles, name: str = "The candles") -> int:
    """Return the candles' length: the most usual step.

    Raises:
        DataRefused: fewer than two, or a step that is no known interval; the sentence begins with ``name``.
    """
    steps = np.diff(candles.open_ms)
    if not len(steps):
        raise DataRefused(f"{name}: one candle alone does not tell how long it is; at least two are needed.")
    found = int(np.median(steps))
    if found not in INTERVAL_MS.values():
        raise DataRefused(f"{name}: the step is {found / 60_000:g} minutes, which is no known interval.")
    if (candles.open_ms % found).any():
        where = utc_text(int(candles.open_ms[np.argmax(candles.open_ms % found != 0)]))
        raise DataRefused(f"{name}: that of {where} does not begin on a full {interval_name(found)}, as all must.")
    return found


def interval_name(length_ms: int) -> str:
    """Return how the exchange calls candles of a known length: ``15m`` for 900,000 ms."""
    return next(name for name, length in INTERVAL_MS.items() if length == length_ms)


def refuse_impossible(name: str, candles: Candles) -> None:
    """Raise ``DataRefused`` for candles that cannot be: order, prices, negative amounts."""
    _refuse_bad_order(name, candles.open_ms)
    c = candles
    bad = (c.low <= 0) | (c.high < np.maximum(c.open, c.close)) | (c.low > np.minimum(c.open, c.close))
    bad |= (c.volume < 0) | (c.trades < 0) | (c.taker_buy_volume < 0) | (c.quote_volume < 0)
    if bad.any():
        where = utc_text(int(c.open_ms[np.argmax(bad)]))
        raise DataRefused(f"{name}: the candle of {where} is impossible (high, low, or a negative amount).")


def milliseconds(path: Path, stamps: NDArray[Any]) -> Stamps:
    """Return instants in milliseconds, whether the file counts milli-, micro- or nanoseconds."""
    whole = stamps.astype(np.int64)
    if whole.min(initial=1) <= 0:
        raise DataRefused(f"{path.name}: an instant is not after 1970.")
    if whole.max(initial=0) < _SECONDS_BELOW and len(whole):
        raise DataRefused(f"{path.name} counts seconds; known are milliseconds, microseconds and nanoseconds.")
    divisor = np.where(whole >= _NANOSECONDS_FROM, 1_000_000, np.where(whole >= _MICROSECONDS_FROM, 1_000, 1))
    return whole // divisor


def _refuse_bad_order(name: str, times: Stamps) -> None:
    steps = np.diff(times)
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 1
        fault = "stands twice" if steps[row - 1] == 0 else "is out of order"
        raise DataRefused(f"{name}: the row of {utc_text(int(times[row]))} {fault}.")


def _read(path: Path) -> Columns:
    if not path.is_file():
        raise DataRefused(f"{path}: {'that is no file' if path.exists() else 'no such file'}.")
    readers: dict[str, Callable[[Path], Columns]] = {
        ".csv": _read_csv, ".zip": _read_zip, ".json": _read_json, ".feather": _read_arrow, ".parquet": _read_arrow,
    }  # fmt: skip
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataRefused(
            f"{path.name}: files of kind {path.suffix or 'none'} are not known, but {', '.join(readers)}."
        )
    try:
        columns = reader(path)
    except OSError as error:
        raise DataRefused(f"{path.name} cannot be read: {error.strerror or error}.") from error
    return {_ALIASES.get(name, name): values for name, values in columns.items()}


def _read_csv(path: Path) -> Columns:
    return _parse(path, path.read_bytes())


def _read_zip(path: Path) -> Columns:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
            if len(names) != 1:
                raise DataRefused(f"{path.name} must hold one CSV file, it holds {len(names)}.")
            return _parse(path, archive.read(names[0]))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataRefused(f"{path.name} is a damaged zip: {_first_sentence(error)}.") from error


def _parse(path: Path, text: bytes) -> Columns:
    try:
        lines = text.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataRefused(f"{path.name} is no text.") from error
    if not lines[0].strip():
        raise DataRefused(f"{path.name} is empty.")
    names = tuple(name.strip() for name in lines[0].split(","))
    if names[0][:1].isdigit():  # the archive's older files have no header
        names = _ARCHIVE_ORDER[: len(names)]
    else:
        lines = lines[1:]
    rows = [line for line in lines if line.strip()]
    if not rows:
        raise DataRefused(f"{path.name} is empty.")
    known = [_ALIASES.get(name, name) for name in names]
    twice = next((name for name in known if name in _WANTED and known.count(name) > 1), None)
    if twice:
        raise DataRefused(f"{path.name} has the column {twice} more than once.")
    wanted = [place for place, name in enumerate(known) if name in _WANTED]
    if not wanted:
        return {name: np.empty(0) for name in names}
    try:
        table = np.loadtxt(rows, delimiter=",", usecols=wanted, ndmin=2, comments=None)
    except (ValueError, IndexError) as error:
        raise DataRefused(f"{path.name} is no table of numbers: {_first_sentence(error)}.") from error
    return {names[place]: table[:, column] for column, place in enumerate(wanted)}


_WANTED = frozenset((*_NEEDED, *_OPTIONAL, "funding_time", "funding_rate"))


def _read_json(path: Path) -> Columns:
    try:
        rows = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataRefused(f"{path.name} is no JSON: {_first_sentence(error)}.") from error
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) >= 6 for row in rows):
        raise DataRefused(f"{path.name} is no list of klines, as the exchange's /klines answers.")
    width = min((len(row) for row in rows), default=len(_ARCHIVE_ORDER))
    names = _ARCHIVE_ORDER[: min(width, len(_ARCHIVE_ORDER))]
    return {name: np.array([row[place] for row in rows]) for place, name in enumerate(names)}


def _read_arrow(path: Path) -> Columns:
    import pyarrow
    from pyarrow import feather, parquet

    try:
        if path.suffix.lower() == ".feather":
            table = feather.read_table(path, memory_map=False)
            return {name: _arrow_column(table.column(name)) for name in table.column_names if _kept(name)}
        # One column at a time, from the system's own memory, which gets it back: a year is 500,000 rows.
        pyarrow.set_memory_pool(pyarrow.system_memory_pool())
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            names = [name for name in file.schema_arrow.names if _kept(name)]
            columns = {name: _arrow_column(file.read([name], use_threads=False).column(0)) for name in names}
        return columns or {name: np.empty(0) for name in file.schema_arrow.names}
    except pyarrow.ArrowException as error:
        kind = path.suffix.lower().strip(".")
        raise DataRefused(f"{path.name} cannot be read as {kind}: {_first_sentence(error)}.") from error


def _first_sentence(error: Exception) -> str:
    """Return the first line of what a library says, without its full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")


def _kept(name: str) -> bool:
    return _ALIASES.get(name, name) in _WANTED


def _arrow_column(column: Any) -> NDArray[Any]:
    """Return a column as an array; by way of each piece's memory, since the library's own way imports pandas."""
    import pyarrow

    if pyarrow.types.is_timestamp(column.type):
        column = column.cast(pyarrow.timestamp("ms", column.type.tz)).cast(pyarrow.int64())
    number = pyarrow.types.is_integer(column.type) or pyarrow.types.is_floating(column.type)
    if not number or column.null_count:
        return np.array(column.to_pylist(), dtype=object)
    pieces = [np.from_dlpack(piece) for piece in column.chunks if len(piece)]
    return np.concatenate(pieces) if pieces else np.empty(0)


def _numbers(path: Path, name: str, values: Iterable[Any]) -> Floats:
    """Return a column as finite float64."""
    try:
        numbers = np.asarray(values).astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise DataRefused(f"{path.name}: column {name} holds what is no number.") from error
    if not np.isfinite(numbers).all():
        raise DataRefused(f"{path.name}: column {name} has a value that is missing or no number.")
    return numbers
