"""Opens the kinds of files that tables come in: text, zip, gz, JSON, feather, parquet.

Packed files are unpacked within a limit: a small file may unpack to more than a disk holds.
"""

import gzip
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from src.domain.candle_columns import ARCHIVE_ORDER, places
from src.domain.candle_instants import counted, date_numbers, written
from src.domain.candle_text import read_table
from src.domain.candle_validation import Columns, first_sentence
from src.domain.errors import DataRefused

MOST_UNPACKED_BYTES: Final = 1 << 30
"""Some eighteen years of minutes as text; what unpacks to more is no table of candles."""
_PIECE: Final = 1 << 20
_TEXT_ENDINGS: Final = (".csv", ".txt", ".tsv")
_TIMES: Final = ("open_time", "funding_time", "day_time")
_REST_WIDTH: Final = 12
_KNOWN: Final = ".csv, .txt, .tsv, .zip, .gz, .json, .feather, .parquet"


class Source(NamedTuple):
    """The columns of a file by our names, instants in ms, and what its layout gives away.

    ``open_end``: the last row may have been written before its candle ended. ``inner_names``: of the files packed in
    it. ``empty_rows`` were rows without prices.
    """

    columns: Columns
    maker: str
    zone: str = "UTC"
    symbol: str = ""
    empty_rows: int = 0
    open_end: bool = False
    inner_names: tuple[str, ...] = ()


def read_source(
    name: str, file: IO[bytes], needed: Sequence[str], optional: Sequence[str], utc_offset: str = ""
) -> Source:
    """Return what a file holds.

    Args:
        name: its ending tells the kind.
        file: open for reading bytes.
        needed: our names of columns that must be there, the instants first.
        optional: of those that may be.
        utc_offset: what instants without a zone are ahead of UTC.

    Raises:
        DataRefused: unknown kind, damaged, too large, or not the table that is wanted.
    """
    lower = name.lower()
    if lower.endswith(".zip"):
        return _of_zip(name, file, needed, optional, utc_offset)
    if lower.endswith(".gz"):
        return _packed(name, "gz", lambda: _of_gz(name, file, needed, optional, utc_offset))
    if lower.endswith(".json"):
        return _of_json(name, _limited(name, file), needed, optional)
    if lower.endswith((".feather", ".parquet")):
        return _of_arrow(name, file, needed, optional, utc_offset)
    if lower.endswith(_TEXT_ENDINGS):
        return _of_text(name, file, needed, optional, utc_offset)
    ending = "." + lower.rpartition(".")[2] if "." in lower else "none"
    raise DataRefused(f"{name}: files of kind {ending} are not known, but {_KNOWN}.")


def _of_text(name: str, file: IO[bytes], needed: Sequence[str], optional: Sequence[str], utc_offset: str) -> Source:
    try:
        table = read_table(name, _lines(name, file), needed, optional, utc_offset)
    except UnicodeDecodeError as error:
        raise DataRefused(f"{name} is no text.") from error
    return Source(table.columns, table.maker or "CSV", table.zone, table.symbol, table.empty_rows)


def _lines(name: str, file: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a text in UTF-8 or, where its first bytes say so, UTF-16."""
    first = file.readline()
    if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        yield from (first + _limited(name, file)).decode("utf-16").splitlines()
        return
    yield first.decode("utf-8-sig")
    read = len(first)
    for line in file:
        read += len(line)
        if read > MOST_UNPACKED_BYTES:
            raise _too_large(name)
        yield line.decode("utf-8")


def _limited(name: str, file: IO[bytes]) -> bytes:
    """Return all of a file, within the limit."""
    pieces, read = [], 0
    while piece := file.read(_PIECE):
        pieces.append(piece)
        read += len(piece)
        if read > MOST_UNPACKED_BYTES:
            raise _too_large(name)
    return b"".join(pieces)


def _too_large(name: str) -> DataRefused:
    return DataRefused(f"{name} unpacks to more than {MOST_UNPACKED_BYTES >> 20:,} MiB; that is no table of candles.")


def _of_gz(name: str, file: IO[bytes], needed: Sequence[str], optional: Sequence[str], utc_offset: str) -> Source:
    inner = name[:-3]
    with gzip.open(file) as opened:
        unpacked = cast(IO[bytes], opened)
        source = read_source(inner if "." in inner else f"{inner}.csv", unpacked, needed, optional, utc_offset)
    return source._replace(inner_names=(inner,))


def _of_zip(name: str, file: IO[bytes], needed: Sequence[str], optional: Sequence[str], utc_offset: str) -> Source:
    """Return the tables of a zip as one: each of its files holds a stretch of the same series."""

    def read() -> Source:
        with zipfile.ZipFile(file) as archive:
            members = [each for each in archive.infolist() if _is_table(each.filename)]
            if not members:
                raise DataRefused(f"{name} holds no table, only {', '.join(archive.namelist()[:4]) or 'nothing'}.")
            if sum(each.file_size for each in members) > MOST_UNPACKED_BYTES:
                raise _too_large(name)
            parts = []
            for member in members:
                with archive.open(member) as packed:
                    inner = member.filename.rpartition("/")[2]
                    said = name if len(members) == 1 else f"{name} ({inner})"
                    part = _of_member(said, inner, packed, needed, optional, utc_offset)
                    parts.append(part._replace(inner_names=(inner,)))
        return _joined(name, parts)

    return _packed(name, "zip", read)


def _of_member(
    said: str, inner: str, file: IO[bytes], needed: Sequence[str], optional: Sequence[str], utc_offset: str
) -> Source:
    if inner.lower().endswith(".json"):
        return _of_json(said, _limited(said, file), needed, optional)
    return _of_text(said, file, needed, optional, utc_offset)


def _is_table(path: str) -> bool:
    """Return whether a file in a zip may be a table; systems put files of their own beside."""
    inner = path.rpartition("/")[2]
    return not path.startswith("__MACOSX/") and inner[:1] != "." and inner.lower().endswith((*_TEXT_ENDINGS, ".json"))


def _joined(name: str, parts: Sequence[Source]) -> Source:
    if len(parts) == 1:
        return parts[0]
    if any(part.columns.keys() != parts[0].columns.keys() for part in parts):
        raise DataRefused(f"{name} holds files of different columns; take them in one by one.")
    time_name = next(each for each in _TIMES if each in parts[0].columns)
    newest_first = all(
        len(each.columns[time_name]) > 1 and each.columns[time_name][0] > each.columns[time_name][-1] for each in parts
    )
    ordered = sorted(parts, key=lambda part: int(part.columns[time_name][0]), reverse=newest_first)
    columns = {each: np.concatenate([part.columns[each] for part in ordered]) for each in parts[0].columns}
    inner = tuple(each for part in parts for each in part.inner_names)
    return parts[0]._replace(columns=columns, inner_names=inner, empty_rows=sum(part.empty_rows for part in parts))


def _packed(name: str, kind: str, read: Callable[[], Source]) -> Source:
    try:
        return read()
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise DataRefused(f"{name} is a damaged {kind}: {first_sentence(error)}.") from error


def _of_json(name: str, body: bytes, needed: Sequence[str], optional: Sequence[str]) -> Source:
    try:
        rows = json.loads(body)
    except ValueError as error:
        raise DataRefused(f"{name} is no JSON: {first_sentence(error)}.") from error
    if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
        return _of_records(name, rows, needed, optional)
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) >= 6 for row in rows):
        raise DataRefused(f"{name} is no list of klines, as the exchange's /klines answers.")
    if not rows:
        raise DataRefused(f"{name} is empty.")
    width = min(len(row) for row in rows)
    wanted = places(name, ARCHIVE_ORDER[:width], needed, (*optional, "close_time"))
    columns = {each: _column(name, each, [row[place] for row in rows]) for each, place in wanted.items()}
    is_answer = width >= _REST_WIDTH
    maker = "REST klines" if is_answer else "freqtrade JSON"
    return Source(_with_instants(name, columns)[0], maker, open_end=is_answer)


def _of_records(name: str, rows: Sequence[dict[str, Any]], needed: Sequence[str], optional: Sequence[str]) -> Source:
    theirs = list(rows[0])
    wanted = places(name, theirs, needed, (*optional, "symbol"))
    symbol_at = wanted.pop("symbol", None)
    columns = {each: _column(name, each, [row.get(theirs[at]) for row in rows]) for each, at in wanted.items()}
    symbols = set() if symbol_at is None else {str(row.get(theirs[symbol_at])) for row in rows}
    if len(symbols) > 1:
        raise DataRefused(f"{name} holds several contracts; give each a file of its own.")
    made, zone = _with_instants(name, columns)
    return Source(made, "JSON records", zone, next(iter(symbols), ""))


def _column(name: str, column: str, values: Sequence[Any]) -> NDArray[Any]:
    if column in _TIMES and any(isinstance(each, str) and not each.strip().isdigit() for each in values):
        return np.array([str(each) for each in values], dtype=object)
    try:
        return np.array(["nan" if each is None else each for each in values], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataRefused(f"{name}: column {column} holds what is no number.") from error


def _with_instants(name: str, columns: Columns, utc_offset: str = "") -> tuple[Columns, str]:
    """Return columns with their instants in milliseconds, and the zone that they were told in."""
    time_name = next(each for each in _TIMES if each in columns)
    told = columns[time_name]
    if told.dtype.kind in "OU" and all(str(each).isdigit() for each in told):
        told = told.astype(np.int64)
    if told.dtype.kind in "OU":
        instants = written(name, [str(each) for each in told], range(1, len(told) + 1), utc_offset)
        return {**columns, time_name: instants.stamps}, instants.zone
    if told.dtype.kind == "f" and not np.isfinite(told).all():
        raise DataRefused(f"{name}: column {time_name} has a value that is missing or no number.")
    if date_numbers(told.astype(np.float64)):
        return {**columns, time_name: written(name, [str(int(each)) for each in told], range(len(told))).stamps}, "UTC"
    return {**columns, time_name: counted(name, told)}, "UTC"


def _of_arrow(name: str, file: IO[bytes], needed: Sequence[str], optional: Sequence[str], utc_offset: str) -> Source:
    import pyarrow
    from pyarrow import feather, parquet

    kind = name.lower().rpartition(".")[2]
    try:
        if kind == "feather":
            table = feather.read_table(file, memory_map=False)
            theirs, take = table.column_names, table.column
            columns = _arrow_columns(name, theirs, take, needed, optional)
        else:
            # One column at a time, from the system's own memory, which gets it back: a year is 500,000 rows.
            pyarrow.set_memory_pool(pyarrow.system_memory_pool())
            with parquet.ParquetFile(file, pre_buffer=False) as opened:
                theirs = opened.schema_arrow.names
                columns = _arrow_columns(
                    name,
                    theirs,
                    lambda place: opened.read([theirs[place]], use_threads=False).column(0),
                    needed,
                    optional,
                )
    except pyarrow.ArrowException as error:
        raise DataRefused(f"{name} cannot be read as {kind}: {first_sentence(error)}.") from error
    if not len(next(iter(columns.values()))):
        raise DataRefused(f"{name} is empty.")
    symbols = {str(each) for each in np.unique(columns.pop("symbol", np.array([], dtype=object)).astype(str))}
    if len(symbols) > 1:
        raise DataRefused(f"{name} holds several contracts; give each a file of its own.")
    made, zone = _with_instants(name, columns, utc_offset)
    return Source(made, f"{kind} file", zone, next(iter(symbols), ""))


def _arrow_columns(
    name: str, theirs: Sequence[str], take: Callable[[int], Any], needed: Sequence[str], optional: Sequence[str]
) -> Columns:
    wanted = places(name, theirs, needed, (*optional, "symbol"))
    return {each: _arrow_column(take(place)) for each, place in wanted.items()}


def _arrow_column(column: Any) -> NDArray[Any]:
    """Return a column as an array; by way of each piece's memory, since the library's own way imports pandas."""
    import pyarrow

    types = pyarrow.types
    if types.is_timestamp(column.type):
        column = column.cast(pyarrow.timestamp("ms", column.type.tz)).cast(pyarrow.int64())
    elif types.is_date(column.type):
        column = column.cast(pyarrow.timestamp("ms")).cast(pyarrow.int64())
    elif types.is_decimal(column.type):
        column = column.cast(pyarrow.float64())
    number = types.is_integer(column.type) or types.is_floating(column.type)
    if not number or column.null_count:
        return np.array(column.to_pylist(), dtype=object)
    pieces = [np.from_dlpack(piece) for piece in column.chunks if len(piece)]
    return np.concatenate(pieces) if pieces else np.empty(0)
