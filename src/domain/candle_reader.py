"""One reader for the files of candles and funding rates that people have, whoever made them.

The client's tools and the paper exchange hand it an open file with its name; ``docs/data-formats.md`` is its table.
Understood is said in one line; what is ambiguous is refused with what to add.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import IO, Final

import numpy as np

from src.domain.candle_columns import NEEDED, OF_FUNDING, OPTIONAL, PRICES
from src.domain.candle_names import NameFacts, SeriesKind, facts_of, symbol_in
from src.domain.candle_sources import Source, read_source
from src.domain.candle_validation import (
    Columns,
    Floats,
    Stamps,
    finite,
    funding_of,
    interval_name,
    length_of,
    refuse_impossible,
)
from src.domain.clock import utc_text
from src.domain.errors import DataRefused

_GAPS_NAMED: Final = 5
_MAKERS_OF_SPOT: Final = ("CryptoDataDownload", "Kaggle", "Yahoo", "HistData", "Kraken")


@dataclass(frozen=True, slots=True)
class Told:
    """What whoever hands a file over says of it; empty where it is to speak for itself."""

    symbol: str = ""
    series: SeriesKind | None = None
    interval_ms: int = 0
    utc_offset: str = ""
    folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class CandleFile:
    """Closed candles of one file with what was understood of it.

    ``columns`` holds ``open_time`` (UTC ms, rising), prices, ``volume`` (missing for mark prices) and of the optional
    ones what the file has. ``open_end`` says that the last candle may not have ended when the file was written.
    """

    name: str
    maker: str
    zone: str
    symbol: str
    series: SeriesKind
    interval_ms: int
    columns: Columns
    notes: tuple[str, ...] = ()
    open_end: bool = False

    @property
    def open_ms(self) -> Stamps:
        """The first instant of each candle."""
        return np.asarray(self.columns["open_time"])

    @property
    def understood(self) -> str:
        """What was understood, in one line."""
        contract = f"contract {self.symbol}" if self.symbol else "contract not named"
        kind = "" if self.series is SeriesKind.PERPETUAL else f", {self.series} prices"
        what = f"{self.maker}, {interval_name(self.interval_ms)}, {self.zone}, {len(self.open_ms):,} candles"
        return "; ".join((f"{what}, {contract}{kind}", *self.notes))

    def without_last(self, why: str) -> "CandleFile":
        """Return the same without its last candle."""
        shorter = {name: values[:-1] for name, values in self.columns.items()}
        if not len(shorter["open_time"]):
            raise DataRefused(f"{self.name} holds one candle, and it may not be finished ({why}).")
        return replace(self, columns=shorter, notes=(*self.notes, f"last candle left out: {why}"), open_end=False)


def read_candle_file(name: str, file: IO[bytes], told: Told, now_ms: int) -> CandleFile:
    """Return the candles of a file of any known kind.

    Args:
        name: the file's own name; its ending tells the kind, the rest may tell contract, series and interval.
        file: open for reading bytes.
        told: what is known besides.
        now_ms: candles that end after it are not finished.

    Raises:
        DataRefused: damaged, of other columns or instruments, unsorted, impossible or ambiguous; one sentence.
    """
    facts = facts_of(name, told.folders)
    needed = NEEDED[:-1] if SeriesKind.MARK in (facts.series, told.series) else NEEDED
    source = read_source(name, file, needed, OPTIONAL, told.utc_offset)
    facts = _with_inner_name(name, facts, source)
    columns, notes = _cleaned(name, source)
    series = _series_of(name, facts, source, told)
    if series is not SeriesKind.MARK:
        columns, notes = _with_volume(name, columns, notes)
    open_ms = columns["open_time"]
    refuse_impossible(name, open_ms, columns)
    interval_ms = length_of(name, open_ms, told.interval_ms or facts.interval_ms or _length_by_end(columns))
    columns.pop("close_time", None)
    columns.pop("ticks", None)
    made = CandleFile(
        name, source.maker or facts.maker or "CSV", source.zone, _symbol_of(name, facts, source, told), series,
        interval_ms, columns, (*notes, *_gap_notes(open_ms, interval_ms)), source.open_end,
    )  # fmt: skip
    return _without_unfinished(made, now_ms)


def read_funding_file(name: str, file: IO[bytes], told: Told) -> tuple[Stamps, Floats, str]:
    """Return settlements, their rates as shares, and the contract that the name says (or nothing).

    Raises:
        DataRefused: as ``read_candle_file``.
    """
    facts = facts_of(name, told.folders)
    by_freqtrade = facts.maker == "freqtrade"  # which keeps rates as the opening prices of candles
    needed = ("open_time", "open") if by_freqtrade else OF_FUNDING
    source = read_source(name, file, needed, ("symbol",), told.utc_offset)
    given = {ours: source.columns[theirs] for ours, theirs in zip(OF_FUNDING, needed, strict=True)}
    times, rates = funding_of(name, given)
    return times, rates, told.symbol or facts.symbol or symbol_in(source.symbol)


def whole_files(files: Sequence[CandleFile]) -> list[CandleFile]:
    """Return files without those last candles that may be unfinished.

    Where another of the files goes on right behind it, the last candle of an answer was finished.
    """
    begins = {(each.symbol, each.series, each.interval_ms, int(each.open_ms[0])) for each in files}
    whole = []
    for each in files:
        follower = (each.symbol, each.series, each.interval_ms, int(each.open_ms[-1]) + each.interval_ms)
        unfinished = each.open_end and follower not in begins
        why = "an answer of /klines ends with the one that is still open"
        whole.append(each.without_last(why) if unfinished else each)
    return whole


def _cleaned(name: str, source: Source) -> tuple[Columns, tuple[str, ...]]:
    """Return finite columns in the order of time, and what had to be done for it."""
    columns = {each: values for each, values in source.columns.items() if each != "open_time"}
    times = source.columns["open_time"]
    notes: tuple[str, ...] = ()
    empty = np.logical_and.reduce([_is_nan(columns[each]) for each in PRICES])
    dropped = source.empty_rows + int(empty.sum())
    if empty.any():
        times, columns = times[~empty], {each: values[~empty] for each, values in columns.items()}
    if not len(times):
        raise DataRefused(f"{name} is empty.")
    if len(times) > 1 and (np.diff(times) < 0).all():
        times, columns = times[::-1], {each: values[::-1] for each, values in columns.items()}
        notes = ("newest first, turned round",)
    if dropped:
        notes = (*notes, f"{dropped:,} rows without prices count as gaps")
    made: Columns = {each: finite(name, each, values) for each, values in columns.items()}
    return {"open_time": np.asarray(times), **made}, notes


def _is_nan(values: object) -> Floats:
    try:
        return np.isnan(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        return np.zeros(len(np.asarray(values)), dtype=bool)


def _with_volume(name: str, columns: Columns, notes: tuple[str, ...]) -> tuple[Columns, tuple[str, ...]]:
    """Return columns with a volume in base currency, worked out where a file tells another.

    Raises:
        DataRefused: no candle has any volume.
    """
    if "volume" not in columns and "quote_volume" in columns:
        mean = sum(columns[each] for each in PRICES) / 4.0
        columns, notes = {**columns, "volume": columns["quote_volume"] / mean}, (*notes, "volume worked out from quote")
    if not columns["volume"].any() and "ticks" in columns:
        columns, notes = {**columns, "volume": columns["ticks"]}, (*notes, "volume is the count of ticks")
    if len(columns["volume"]) > 1 and not columns["volume"].any():
        raise DataRefused(
            f"{name}: no candle has any volume, as in mark and index prices; if they are mark prices, say --kind mark."
        )
    return columns, notes


def _with_inner_name(name: str, facts: NameFacts, source: Source) -> NameFacts:
    """Return what the file's name says, and where that is nothing, what the names of the files packed in it say."""
    for inner_name in source.inner_names:
        inner = facts_of(inner_name)
        if facts.symbol and inner.symbol and inner.symbol != facts.symbol:
            raise DataRefused(f"{name} says {facts.symbol}, and {inner_name} in it {inner.symbol}.")
        facts = NameFacts(
            facts.symbol or inner.symbol, facts.series or inner.series, facts.interval_ms or inner.interval_ms,
            facts.maker or inner.maker,
        )  # fmt: skip
    return facts


def _series_of(name: str, facts: NameFacts, source: Source, told: Told) -> SeriesKind:
    """Return which series the candles belong to.

    Raises:
        DataRefused: name and command contradict each other.
    """
    if facts.series is SeriesKind.FUNDING:
        raise DataRefused(f"{name} holds funding rates, as its name says; take it in with --kind funding.")
    if told.series is not None:
        if facts.series is SeriesKind.MARK and told.series is not SeriesKind.MARK:
            raise DataRefused(f"{name} holds mark prices, as its name or folder says, and not {told.series} ones.")
        return told.series
    return facts.series or (SeriesKind.SPOT if source.maker in _MAKERS_OF_SPOT else SeriesKind.PERPETUAL)


def _symbol_of(name: str, facts: NameFacts, source: Source, told: Told) -> str:
    """Return the contract as told, else by the name, else by a column; empty where nobody says it.

    Raises:
        DataRefused: name and column contradict each other.
    """
    column = symbol_in(source.symbol)
    if column and facts.symbol and column != facts.symbol:
        raise DataRefused(f"{name} says {facts.symbol} in its name and {column} in its rows.")
    return told.symbol or facts.symbol or column


def _length_by_end(columns: Columns) -> int:
    """Return the length that closing instants say, 0 where there are none."""
    if "close_time" not in columns:
        return 0
    ends = columns["close_time"]
    scale = next((each for each in (1_000_000.0, 1_000.0, 1.0) if ends[0] / each > 1e11), 0.001)
    lengths = np.unique(np.rint(ends / scale).astype(np.int64) + 1 - columns["open_time"])
    return int(lengths[0]) if len(lengths) == 1 else 0


def _gap_notes(open_ms: Stamps, interval_ms: int) -> tuple[str, ...]:
    steps = np.diff(open_ms)
    gaps = np.flatnonzero(steps > interval_ms)
    if not len(gaps):
        return ()
    missing = int((steps[gaps] // interval_ms - 1).sum())
    first = ", ".join(utc_text(int(open_ms[at]) + interval_ms)[:16] for at in gaps[:_GAPS_NAMED])
    more = f" and {len(gaps) - _GAPS_NAMED:,} more" if len(gaps) > _GAPS_NAMED else ""
    return (f"{missing:,} candles missing in {len(gaps):,} gaps from {first}{more}",)


def _without_unfinished(made: CandleFile, now_ms: int) -> CandleFile:
    unfinished = int((made.open_ms + made.interval_ms > now_ms).sum())
    if not unfinished:
        return made
    if unfinished > 1:
        raise DataRefused(f"{made.name}: {unfinished:,} candles lie in the future; are its instants in another zone?")
    return made.without_last("it has not ended yet")
