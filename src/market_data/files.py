"""Reads candles and funding rates from files of many makers, and refuses what cannot be.

Understood are Binance's archive (CSV, or one CSV in a zip; header or none; milliseconds or microseconds), Binance's
REST klines as JSON, freqtrade's feather files, and parquet. A file is taken whole or not at all; nothing is mended.
``domain/candle_validation.py`` says what a table must be, for us and for the paper exchange alike.
"""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.domain import candle_validation
from src.domain.candle_validation import (
    ARCHIVE_ORDER,
    NEEDED,
    OF_FUNDING,
    OPTIONAL,
    Columns,
    finite,
    first_sentence,
    funding_of,
    milliseconds,
    places,
    read_text,
)
from src.domain.clock import utc_text
from src.domain.errors import DataRefused
from src.domain.market import INTERVAL_MS
from src.market_data.columns import COLUMNS, Candles, Floats, Stamps


class Funding(NamedTuple):
    """Funding rates as shares, by settlement instant; instants rise."""

    time_ms: Stamps
    rate: Floats

    @property
    def by_instant(self) -> dict[int, float]:
        """The rates by settlement instant."""
        return dict(zip(self.time_ms.tolist(), self.rate.tolist(), strict=True))


def symbol_of(path: Path) -> str:
    """Return the contract that a file's name begins with; raises ``DataRefused`` where it begins with none."""
    return candle_validation.symbol_of(path.name)


def read_candles(path: Path, volume_needed: bool = True) -> Candles:
    """Return the candles of a file of any known kind.

    Args:
        path: ``.csv``, ``.zip``, ``.json``, ``.feather`` or ``.parquet``.
        volume_needed: False for mark prices, which have none.

    Raises:
        DataRefused: missing, damaged, of wrong columns, unsorted, doubled, empty, or with an impossible row; one
            sentence says which.
    """
    needed = NEEDED if volume_needed else NEEDED[:-1]
    columns = _read(path, needed, OPTIONAL)
    given = {name: finite(path.name, name, values) for name, values in columns.items()}
    open_ms = milliseconds(path.name, given["open_time"])
    zeros = np.broadcast_to(np.zeros(1), (len(open_ms),))
    rest: Columns = {name: given.get(name, zeros) for name in (*NEEDED[1:], *OPTIONAL)}
    nothing = np.broadcast_to(np.zeros(1, np.int64), (len(open_ms),))
    trades = given["trades"].astype(np.int64) if "trades" in given else nothing
    candles = Candles(open_ms=open_ms, **{**rest, "trades": trades})
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
    return Funding(*funding_of(path.name, _read(path, OF_FUNDING, ())))


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
    columns = {column: getattr(candles, column) for column in COLUMNS}
    candle_validation.refuse_impossible(name, candles.open_ms, columns)


def _read(path: Path, needed: Sequence[str], optional: Sequence[str]) -> Columns:
    """Return the wanted columns of a file of any known kind by our names; at least one row."""
    if not path.is_file():
        raise DataRefused(f"{path}: {'that is no file' if path.exists() else 'no such file'}.")
    readers: dict[str, Callable[[Path, Sequence[str], Sequence[str]], Columns]] = {
        ".csv": _read_archive, ".zip": _read_archive, ".json": _read_json, ".feather": _read_arrow,
        ".parquet": _read_arrow,
    }  # fmt: skip
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataRefused(
            f"{path.name}: files of kind {path.suffix or 'none'} are not known, but {', '.join(readers)}."
        )
    try:
        columns = reader(path, needed, optional)
    except OSError as error:
        raise DataRefused(f"{path.name} cannot be read: {error.strerror or error}.") from error
    if not len(columns[needed[0]]):
        raise DataRefused(f"{path.name} is empty.")
    return columns


def _read_archive(path: Path, needed: Sequence[str], optional: Sequence[str]) -> Columns:
    with path.open("rb") as file:
        return read_text(path.name, file, needed, optional)


def _read_json(path: Path, needed: Sequence[str], optional: Sequence[str]) -> Columns:
    try:
        rows = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataRefused(f"{path.name} is no JSON: {first_sentence(error)}.") from error
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) >= 6 for row in rows):
        raise DataRefused(f"{path.name} is no list of klines, as the exchange's /klines answers.")
    width = min((len(row) for row in rows), default=len(ARCHIVE_ORDER))
    wanted = places(path.name, ARCHIVE_ORDER[:width], needed, optional)
    return {name: np.array([row[place] for row in rows]) for name, place in wanted.items()}


def _read_arrow(path: Path, needed: Sequence[str], optional: Sequence[str]) -> Columns:
    import pyarrow
    from pyarrow import feather, parquet

    try:
        if path.suffix.lower() == ".feather":
            table = feather.read_table(path, memory_map=False)
            wanted = places(path.name, table.column_names, needed, optional)
            return {name: _arrow_column(table.column(place)) for name, place in wanted.items()}
        # One column at a time, from the system's own memory, which gets it back: a year is 500,000 rows.
        pyarrow.set_memory_pool(pyarrow.system_memory_pool())
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            theirs = file.schema_arrow.names
            wanted = places(path.name, theirs, needed, optional)
            return {
                name: _arrow_column(file.read([theirs[place]], use_threads=False).column(0))
                for name, place in wanted.items()
            }
    except pyarrow.ArrowException as error:
        kind = path.suffix.lower().strip(".")
        raise DataRefused(f"{path.name} cannot be read as {kind}: {first_sentence(error)}.") from error


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
