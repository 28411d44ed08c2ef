"""Aggregates one-minute candles of a pair into candles of a longer interval."""

import logging
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Protocol

from src.domain.clock import MINUTE_MS
from src.domain.errors import ExchangeError
from src.domain.market import INTERVAL_MS, Candle

log = logging.getLogger(__name__)

History = Callable[[str, str, int], Sequence[Candle]]
_KEPT = 1_000


class DecisionCandles(Protocol):
    """What turns the closed minutes into the closed candles that signal and agent look at."""

    interval_ms: int

    def look(self, minutes: Sequence[Candle]) -> Sequence[Candle]:
        """Return the closed candles as of the end of the last of ``minutes``, oldest first."""


class CandleAggregator:
    """The newest closed candles of one pair and interval.

    History is asked for once, and again where minutes are missing that the feed no longer remembers (the bot was
    away); in between each candle is made of its minutes, as the exchange does it: a minute that the exchange never
    had is left out.

    Args:
        symbol: the pair.
        interval: longer than a minute, a key of ``INTERVAL_MS``.
        history: called as ``history(symbol, interval, count)``; closed candles, oldest first.
    """

    def __init__(self, symbol: str, interval: str, history: History) -> None:
        self._symbol = symbol
        self._interval = interval
        self._history = history
        self._candles: list[Candle] = []
        self.interval_ms = INTERVAL_MS[interval]

    def look(self, minutes: Sequence[Candle]) -> Sequence[Candle]:
        """Return the closed candles as of the end of the last of ``minutes``, oldest first.

        None at all while the exchange cannot be asked for those before: then the next look asks again.
        """
        if not minutes:
            return ()
        now_ms = minutes[-1].open_ms + MINUTE_MS
        if self._due_ms > now_ms:
            return self._candles
        if not self._candles or minutes[0].open_ms > self._candles[-1].open_ms + self.interval_ms:
            self._ask(now_ms)
        else:
            self._join(minutes, now_ms)
        return self._candles

    @property
    def _due_ms(self) -> int:
        """When the next candle closes; 0 before the first is known."""
        return self._candles[-1].open_ms + 2 * self.interval_ms if self._candles else 0

    def _ask(self, now_ms: int) -> None:
        try:
            known = self._history(self._symbol, self._interval, _KEPT)
        except ExchangeError as error:
            log.warning("no %s candles: symbol=%s reason=%s", self._interval, self._symbol, error)
            self._candles = []
            return
        self._candles = [each for each in known if each.open_ms + self.interval_ms <= now_ms]

    def _join(self, minutes: Sequence[Candle], now_ms: int) -> None:
        newest = self._candles[-1].open_ms + self.interval_ms
        while newest + self.interval_ms <= now_ms:
            first = bisect_left(minutes, newest, key=lambda each: each.open_ms)
            beyond = bisect_left(minutes, newest + self.interval_ms, key=lambda each: each.open_ms)
            if beyond > first:
                self._candles = [*self._candles[1 - _KEPT :], joined(newest, minutes[first:beyond])]
            newest += self.interval_ms


def remembered_once(history: History) -> History:
    """Return ``history`` with its first answer to each question kept for the second time it is asked.

    A first training and the first turn of a start look at the same thousand candles; what closes in between is made
    of its minutes.
    """
    kept: dict[tuple[str, str, int], Sequence[Candle]] = {}
    asked: set[tuple[str, str, int]] = set()

    def ask(symbol: str, interval: str, count: int) -> Sequence[Candle]:
        question = (symbol, interval, count)
        if question in kept:
            return kept.pop(question)
        answer = history(symbol, interval, count)
        if question not in asked:
            asked.add(question)
            kept[question] = answer
        return answer

    return ask


def joined(open_ms: int, minutes: Sequence[Candle]) -> Candle:
    """Return one candle that begins at ``open_ms``, made of ``minutes``: at least one, in order."""
    return Candle(
        open_ms,
        minutes[0].open,
        max(each.high for each in minutes),
        min(each.low for each in minutes),
        minutes[-1].close,
        round(sum(each.volume for each in minutes), 8),
        sum(each.trades for each in minutes),
        round(sum(each.taker_buy_volume for each in minutes), 8),
        round(sum(each.quote_volume for each in minutes), 8),
    )
