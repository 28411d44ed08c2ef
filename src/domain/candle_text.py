"""Takes tables of candles or rates out of text: separators, headers, numbers as people write them.

What comes out are columns by our names. Rows are read in blocks: a year of minutes is never in memory as text. What is
wrong is said with the number of the line, as an editor shows it.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.domain.candle_columns import ARCHIVE_ORDER, PRICES, ours_of, places
from src.domain.candle_instants import Instants, counted, date_numbers, written
from src.domain.errors import DataRefused

Columns = dict[str, NDArray[Any]]
_BLOCK: Final = 20_000
_MISSING: Final = {"", "nan", "null", "none", "na", "n/a", "-"}
_URL: Final = re.compile(r"\s*\"?(https?://|www\.)", re.IGNORECASE)
_SEPARATOR_HINT: Final = re.compile(r"sep=(.)\s*", re.IGNORECASE)
_GROUPED: Final = re.compile(r"[+-]?([1-9]\d{0,2}(,\d{3})+(\.\d+)?)")
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_ASIDE: Final = ("symbol", "time_of_day", "close_time", "ticks")
_LEAST_INSTANT: Final = 1e9
_TIMES: Final = ("open_time", "funding_time", "day_time")
_HIST_DATA: Final = re.compile(r"\d{8} \d{6}")
_DATE_ALONE: Final = re.compile(r"\d{4}[-./]?\d{2}[-./]?\d{2}")
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
HIST_DATA_OFFSET: Final = "-05:00"
"""HistData writes Eastern Standard Time all the year round."""


class TextTable(NamedTuple):
    """Columns by our names, the maker that the layout gives away (or nothing), the zone, and what is to be said."""

    columns: Columns
    maker: str
    zone: str
    symbol: str
    empty_rows: int


class _Layout(NamedTuple):
    """How the rows of a text are to be read: names of their columns (theirs), separator, and the maker."""

    theirs: tuple[str, ...]
    maker: str
    separator: str
    offset: str = ""


def read_table(
    name: str, lines: Iterator[str], needed: Sequence[str], optional: Sequence[str], local_offset: str = ""
) -> TextTable:
    """Return the wanted columns of a text.

    Args:
        name: of the file, for what is said.
        lines: of the text.
        needed: our names of columns that must be there.
        optional: of those that may be.
        local_offset: what instants without a zone are ahead of UTC, where the file does not say it.

    Raises:
        DataRefused: empty, no table of numbers, other columns, or ambiguous; one sentence says what to add.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    layout, rows = _layout_of(name, numbered)
    if layout.maker.startswith("MetaTrader") and not local_offset:
        raise DataRefused(
            f"{name} is an export of {layout.maker}, which writes the broker's time and not which one that is: say it "
            "with --utc-offset, for example --utc-offset +02:00."
        )
    needed = _without_volume(layout.theirs, needed)
    wanted = places(name, layout.theirs, needed, (*optional, *_ASIDE))
    blocks = _Blocks(name, wanted)
    while block := list(islice(rows, _BLOCK)):
        if not blocks.take_numbers(block, layout.separator):
            blocks.take(list(_cells(name, iter(block), layout.separator, len(layout.theirs))))
    return blocks.finished(layout, local_offset or layout.offset)


def _without_volume(theirs: Sequence[str], needed: Sequence[str]) -> Sequence[str]:
    """Return what is needed; where a table tells its volume in quote currency alone, that is enough."""
    ours = {ours_of(each) for each in theirs}
    return [each for each in needed if each != "volume" or each in ours or "quote_volume" not in ours]


def _cells(name: str, rows: Iterator[tuple[int, str]], separator: str, width: int) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of each row; a row that is cut off is refused."""
    for number, line in rows:
        cells = _split(name, number, line, separator)
        if len(cells) < width and not (len(cells) == width - 1 and line.rstrip().endswith(separator)):
            raise DataRefused(f"{name} is no table of numbers: line {number} has {len(cells)} cells of {width}.")
        yield number, cells


def _split(name: str, number: int, line: str, separator: str) -> list[str]:
    if '"' not in line:
        return line.rstrip("\r\n").split(separator)
    try:
        return next(csv.reader((line,), delimiter=separator, skipinitialspace=True), [])
    except csv.Error as error:
        raise DataRefused(f"{name}, line {number}: {error}.") from error


class _Blocks:
    """Collects the wanted columns block by block: numbers as numbers, instants as they are written."""

    def __init__(self, name: str, wanted: Mapping[str, int]) -> None:
        self._name = name
        self._wanted = dict(wanted)
        self._numbers: dict[str, list[NDArray[np.float64]]] = {each: [] for each in wanted}
        self._texts: list[str] = []
        self._lines: list[int] = []
        self._symbols: set[str] = set()
        self._empty = 0

    def take_numbers(self, block: Sequence[tuple[int, str]], separator: str) -> bool:
        """Take in a block of nothing but plain numbers, as nearly all are; return False where it is another."""
        if self._texts or {"symbol", "time_of_day"} & self._wanted.keys():
            return False
        columns = tuple(self._wanted.values())
        try:
            table = np.loadtxt(
                [line for _, line in block], delimiter=separator, usecols=columns, ndmin=2, comments=None
            )
        except (ValueError, IndexError):
            return False
        prices = [at for at, each in enumerate(self._wanted) if each in PRICES]
        kept = ~np.isnan(table[:, prices]).all(axis=1) if prices else np.ones(len(table), bool)
        self._empty += int((~kept).sum())
        for at, each in enumerate(self._wanted):
            self._numbers[each].append(table[kept, at])
        return True

    def take(self, block: Sequence[tuple[int, list[str]]]) -> None:
        """Take in one block of numbered rows."""
        wanted = {each: at for each, at in self._wanted.items() if each not in ("symbol", "time_of_day", *_TIMES)}
        plain = {each: [_plain(cells[at]) for _, cells in block] for each, at in wanted.items()}
        commas = [each for cells in plain.values() for each in cells if "," in each]
        comma_is = _comma_is(self._name, commas) if commas else ","
        columns = {
            each: _numbers_of(self._name, each, [cell.replace(",", comma_is) for cell in cells], block)
            for each, cells in plain.items()
        }
        prices = [columns[each] for each in PRICES if each in columns]
        kept = ~np.logical_and.reduce([np.isnan(each) for each in prices]) if prices else np.ones(len(block), bool)
        self._empty += int((~kept).sum())
        for each, values in columns.items():
            self._numbers[each].append(values[kept])
        self._take_instants([row for row, is_kept in zip(block, kept, strict=True) if is_kept])

    def _take_instants(self, rows: Sequence[tuple[int, list[str]]]) -> None:
        place = next(self._wanted[each] for each in _TIMES if each in self._wanted)
        clock, symbol = self._wanted.get("time_of_day"), self._wanted.get("symbol")
        if symbol is not None:
            self._symbols |= {cells[symbol].strip() for _, cells in rows}
        cells_of_time = [cells[place].strip() for _, cells in rows]
        time_name = next(each for each in _TIMES if each in self._wanted)
        if clock is None and not self._texts:
            try:
                self._numbers[time_name].append(np.array(cells_of_time, dtype=np.float64))
                self._lines += [number for number, _ in rows] if not self._lines else []
                return
            except ValueError:
                if self._numbers[time_name]:
                    raise _mixed(self._name, rows, cells_of_time) from None
        self._texts += (
            cells_of_time
            if clock is None
            else [f"{cell} {cells[clock].strip()}" for cell, (_, cells) in zip(cells_of_time, rows, strict=True)]
        )
        self._lines += [number for number, _ in rows]

    def finished(self, layout: _Layout, local_offset: str) -> TextTable:
        """Return the columns of all blocks."""
        time_name = next(each for each in _TIMES if each in self._wanted)
        counts = self._numbers.pop(time_name)
        if not counts and not self._texts:
            raise DataRefused(f"{self._name} is empty.")
        instants = _instants(self._name, counts, self._texts, self._lines, local_offset)
        columns: Columns = {time_name: instants.stamps}
        for each, parts in self._numbers.items():
            if parts:
                columns[each] = np.concatenate(parts)
        if len(self._symbols) > 1:
            several = ", ".join(sorted(self._symbols)[:4])
            raise DataRefused(f"{self._name} holds several contracts ({several}); give each a file of its own.")
        return TextTable(columns, layout.maker, instants.zone, next(iter(self._symbols), ""), self._empty)


def _mixed(name: str, rows: Sequence[tuple[int, list[str]]], cells: Sequence[str]) -> DataRefused:
    number, cell = next(
        ((row[0], text) for row, text in zip(rows, cells, strict=True) if not _is_number(text)), (0, "")
    )
    return DataRefused(f"{name} is no table of numbers: line {number} has {cell[:40]!r} where an instant is needed.")


def _instants(
    name: str, counts: Sequence[NDArray[np.float64]], texts: Sequence[str], lines: Sequence[int], local_offset: str
) -> Instants:
    if not texts:
        numbers = np.concatenate(counts)
        if not np.isfinite(numbers).all():
            raise DataRefused(f"{name}: an instant is missing.")
        if not date_numbers(numbers):
            return Instants(counted(name, numbers), "UTC")
        texts = [str(int(each)) for each in numbers]
        lines = range(1, len(texts) + 1)
    try:
        return written(name, texts, lines, local_offset)
    except ValueError as error:
        raise DataRefused(f"{name}: an instant cannot be ({error}).") from error


def _numbers_of(
    name: str, column: str, cells: Sequence[str], block: Sequence[tuple[int, list[str]]]
) -> NDArray[np.float64]:
    """Return cells as numbers, NaN where nothing stands."""
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        place = next(at for at, each in enumerate(cells) if not _is_number(each))
        line = block[place][0]
        raise DataRefused(
            f"{name} is no table of numbers: line {line} has {cells[place][:40]!r} in column {column}."
        ) from None


def _comma_is(name: str, texts: Sequence[str]) -> str:
    """Return what commas within numbers stand for: a decimal point, or nothing (they group thousands).

    Raises:
        DataRefused: both could be.
    """
    grouped = all(_GROUPED.fullmatch(each) for each in texts)
    decimal = all(_DECIMAL_COMMA.fullmatch(each) for each in texts)
    if grouped and decimal:
        raise DataRefused(
            f"{name}: {texts[0]!r} may be a thousand or a fraction; write numbers without separators of thousands."
        )
    return "" if grouped else "."


def _plain(cell: str) -> str:
    text = cell.strip().replace("\u00a0", "").replace("'", "")
    return "nan" if text.lower() in _MISSING else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _layout_of(name: str, rows: Iterator[tuple[int, str]]) -> tuple[_Layout, Iterator[tuple[int, str]]]:
    """Return the layout, and the rows behind the header."""
    hint, from_address = "", False
    for number, line in rows:
        told = _SEPARATOR_HINT.fullmatch(line)
        if told:
            hint = told[1]
        elif _URL.match(line):
            from_address = True
        else:
            first = (number, line)
            break
    else:
        raise DataRefused(f"{name} is empty.")
    separator = hint or next((each for each in "\t;|" if each in first[1]), ",")
    cells = [each.strip() for each in _split(name, *first, separator)]
    if cells[0][:1].isdigit():
        return _headerless(name, cells, separator), chain((first,), rows)
    maker = "CryptoDataDownload" if from_address else _maker_of(cells)
    return _Layout(tuple(_as_maker_means(maker, cells)), maker, separator), rows


def _headerless(name: str, cells: Sequence[str], separator: str) -> _Layout:
    """Return the layout of a text without a header, by the width and the looks of its first row."""
    width = len(cells)
    if _DATE_ALONE.fullmatch(cells[0]) and width > 1 and _CLOCK.fullmatch(cells[1]):
        return _Layout(("open_time", "time_of_day", *PRICES, "volume")[:width], "MetaTrader 4", separator)
    if _HIST_DATA.fullmatch(cells[0]):
        return _Layout(("open_time", *PRICES, "volume")[:width], "HistData", separator, HIST_DATA_OFFSET)
    if width <= 6 or _is_instant(cells[6]):
        return _Layout(ARCHIVE_ORDER[:width], "Binance archive" if width > 6 else "", separator)
    if width == 7:
        return _Layout(("open_time", *PRICES, "volume", "trades"), "Kraken", separator)
    if width == 8:
        return _Layout(("open_time", *PRICES, "weighted_price", "volume", "trades"), "Kraken", separator)
    raise DataRefused(f"{name} has {width} columns and no header; add a first line that names them.")


def _is_instant(cell: str) -> bool:
    return _is_number(cell) and float(cell) >= _LEAST_INSTANT


def _maker_of(cells: Sequence[str]) -> str:
    words = {each.strip("<>").lower() for each in cells}
    if {"tickvol", "spread"} <= words:
        return "MetaTrader 5"
    if "adj close" in words:
        return "Yahoo"
    if {"unix", "tradecount"} & words and any(each.startswith("volume ") for each in words):
        return "CryptoDataDownload"
    if {"timestamp", "weighted_price"} <= words:
        return "Kaggle"
    if "close_time" in {ours_of(each) for each in cells}:
        return "Binance archive"
    return "TradingView export" if list(map(str.lower, cells[:5])) == ["time", *PRICES] else ""


def _as_maker_means(maker: str, cells: Sequence[str]) -> Iterator[str]:
    """Yield the names of columns with what a maker means by them and others would read otherwise."""
    words = [each.strip("<> ").lower() for each in cells]
    counts = any(each in ("unix", "timestamp", "open_time") for each in words)
    clock = not counts and {"date", "time"} <= set(words)
    for word, theirs in zip(words, cells, strict=True):
        if counts and word in ("date", "datetime", "time"):
            yield "date_again"
        elif clock and word == "time":
            yield "time_of_day"
        elif maker == "Yahoo" and word == "volume":
            yield "quote_volume"  # of crypto it tells dollars
        else:
            yield "ticks" if word == "tickvol" else theirs
