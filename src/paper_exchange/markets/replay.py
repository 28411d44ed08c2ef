"""A market of recorded candles, one or several files per contract."""

import logging
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from src.domain.clock import DAY_MS, MINUTE_MS, utc_text
from src.domain.errors import DataRefused
from src.domain.funding import FundingRecord
from src.domain.market import Candle
from src.paper_exchange.markets.candle_files import (
    CandleColumns,
    holds_funding,
    read_candles,
    read_funding,
    read_index,
    symbol_of,
)
from src.paper_exchange.markets.whole_hours import hours_of

log = logging.getLogger(__name__)

_DAYS_KEPT = 24
_GAPS_NAMED = 20


class ReplayMarket:
    """Recorded candles; columns stay in memory (72 bytes a minute), and a few days of ready-made candles."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Read the files.

        Args:
            files: candles (``BTCUSDT-1m-2024-01.zip``; several files of one contract are joined in time), and if
                wanted ``BTCUSDT_um_funding_2024.parquet`` for real rates and ``fear_greed_daily.parquet``.

        Raises:
            DataRefused: no candles, a bad file, files that overlap, or contracts that share no minute.
        """
        self._funding: dict[str, FundingRecord] = {}
        self._index: dict[int, int] = {}
        parts: dict[str, list[CandleColumns]] = {}
        for path in files:
            if path.name.startswith("fear_greed"):
                self._index |= read_index(path)
            elif holds_funding(path):
                self.funding_record(symbol_of(path)).add(read_funding(path))
            else:
                parts.setdefault(symbol_of(path), []).append(read_candles(path))
        if not parts:
            raise DataRefused("a replay needs at least one file of candles, as in replay:BTCUSDT-1m-2024-01.zip")
        self._columns = {symbol: _joined(symbol, pieces) for symbol, pieces in parts.items()}
        self.symbols = tuple(self._columns)
        self.world = "replay"
        self.lag_ms = 0
        self.first_ms, self.end_ms = _shared_span(self._columns.values())
        self._day = lru_cache(maxsize=_DAYS_KEPT)(self._make_day)

    def candle(self, symbol: str, open_ms: int) -> Candle | None:
        """Return the candle of that minute, ``None`` in a gap or outside of the contract's files."""
        day, within_ms = divmod(open_ms, DAY_MS)
        minute, rest_ms = divmod(within_ms, MINUTE_MS)
        if rest_ms or symbol not in self._columns:
            return None
        return self._day(symbol, day)[minute]

    def candles(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Return the candles with ``start_ms <= open_ms < end_ms``, oldest first, gaps left out."""
        columns = self._columns.get(symbol)
        if columns is None:
            return []
        first, beyond = np.searchsorted(columns.open_ms, (start_ms, max(start_ms, end_ms)))
        return _candles(columns, int(first), int(beyond))

    @property
    def first_hour_ms(self) -> int:
        """The first hour served."""
        return self.first_ms

    def hours(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Return the whole hours with ``start_ms <= open_ms < end_ms``, oldest first."""
        columns = self._columns.get(symbol)
        if columns is None:
            return []
        first, beyond = np.searchsorted(columns.open_ms, (start_ms, max(start_ms, end_ms)))
        return hours_of(tuple(columns), int(first), int(beyond))

    def funding_rate(self, symbol: str, settle_ms: int) -> float:
        """Return the recorded rate of the interval that ends at ``settle_ms`` or holds it; 0.0001 where none is."""
        return self.funding_record(symbol).rate(settle_ms)

    def funding_record(self, symbol: str) -> FundingRecord:
        """Return the recorded settlements of a contract: their instants decide when funding is paid."""
        return self._funding.setdefault(symbol, FundingRecord())

    def fear_greed(self, day_ms: int) -> int | None:
        """Return the recorded index of that day; ``None`` if no file has it."""
        return self._index.get(day_ms // DAY_MS * DAY_MS)

    def close(self) -> None:
        """Drop the ready-made candles."""
        self._day.cache_clear()

    def _make_day(self, symbol: str, day: int) -> list[Candle | None]:
        minutes: list[Candle | None] = [None] * (DAY_MS // MINUTE_MS)
        for candle in self.candles(symbol, day * DAY_MS, (day + 1) * DAY_MS):
            minutes[candle.open_ms % DAY_MS // MINUTE_MS] = candle
        return minutes


def _candles(columns: CandleColumns, first: int, beyond: int) -> list[Candle]:
    return [Candle(*row) for row in zip(*(column[first:beyond].tolist() for column in columns), strict=True)]


def _joined(symbol: str, pieces: list[CandleColumns]) -> CandleColumns:
    """Return one contract's files as one, in time's order; names its gaps in the log."""
    pieces.sort(key=lambda piece: int(piece.open_ms[0]))
    for earlier, later in pairwise(pieces):
        if later.open_ms[0] <= earlier.open_ms[-1]:
            raise DataRefused(f"two files of {symbol} both hold {utc_text(int(later.open_ms[0]))}; leave one out")
    whole = pieces[0] if len(pieces) == 1 else CandleColumns(*map(np.concatenate, zip(*pieces, strict=True)))
    _name_gaps(symbol, whole)
    return whole


def _name_gaps(symbol: str, columns: CandleColumns) -> None:
    steps = np.diff(columns.open_ms)
    gaps = np.flatnonzero(steps != MINUTE_MS)
    for place in gaps[:_GAPS_NAMED]:
        missing = int(steps[place]) // MINUTE_MS - 1
        first = utc_text(int(columns.open_ms[place]) + MINUTE_MS)
        log.warning("gap in replay: symbol=%s first_missing=%s minutes=%d", symbol, first, missing)
    if len(gaps) > _GAPS_NAMED:
        log.warning("gaps in replay: symbol=%s more=%d", symbol, len(gaps) - _GAPS_NAMED)


def _shared_span(contracts: Iterable[CandleColumns]) -> tuple[int, int]:
    """Return the first minute that all contracts reach back to, and the first instant that one has not."""
    spans = [(int(columns.open_ms[0]), int(columns.open_ms[-1]) + MINUTE_MS) for columns in contracts]
    first_ms, end_ms = max(first for first, _ in spans), min(end for _, end in spans)
    if first_ms >= end_ms:
        raise DataRefused("the files of the replay share no minute")
    return first_ms, end_ms
