"""One symbol's closed candles without gaps, from the stream and from REST."""

import threading
from collections import deque
from collections.abc import Iterable

from src.domain.market import Candle


class CandleBuffer:
    """The newest closed candles, contiguous but for holes the exchange itself has; safe in threads.

    Candles that come before an earlier one wait aside until the hole is filled. Duplicates and late ones do nothing.

    Args:
        interval_ms: length of a candle.
        kept: how many are remembered.
    """

    def __init__(self, interval_ms: int, kept: int) -> None:
        self._interval_ms = interval_ms
        self._lock = threading.Lock()
        self._joined: deque[Candle] = deque(maxlen=kept)
        self._waiting: dict[int, Candle] = {}
        self._kept = kept
        self._snapshot: tuple[Candle, ...] | None = ()

    @property
    def last_open_ms(self) -> int | None:
        """First instant of the newest joined candle, None before the first."""
        newest = self._joined
        return newest[-1].open_ms if newest else None

    @property
    def has_hole(self) -> bool:
        """Whether later candles wait for a missing one."""
        return bool(self._waiting)

    def all(self) -> tuple[Candle, ...]:
        """Return the candles, oldest first."""
        with self._lock:
            if self._snapshot is None:
                self._snapshot = tuple(self._joined)
            return self._snapshot

    def add(self, candle: Candle) -> list[Candle]:
        """Take in one streamed candle; return those that it joined to the series, oldest first."""
        with self._lock:
            if self._joined and candle.open_ms <= self._joined[-1].open_ms:
                return []
            self._waiting[candle.open_ms] = candle
            if len(self._waiting) > self._kept:
                del self._waiting[min(self._waiting)]
            return self._join_waiting() if self._joined else []

    def fill(self, history: Iterable[Candle]) -> list[Candle]:
        """Take in what REST says, oldest first; return all candles that joined, oldest first.

        A hole inside ``history`` is the exchange's own and stays.
        """
        with self._lock:
            joined = []
            for candle in history:
                if not self._joined or candle.open_ms > self._joined[-1].open_ms:
                    self._waiting.pop(candle.open_ms, None)
                    self._append(candle)
                    joined.append(candle)
            return joined + self._join_waiting() if self._joined else joined

    def _join_waiting(self) -> list[Candle]:
        """Join what follows without a hole, and drop what is overtaken."""
        joined = []
        while (following := self._waiting.pop(self._joined[-1].open_ms + self._interval_ms, None)) is not None:
            self._append(following)
            joined.append(following)
        if self._waiting:
            newest = self._joined[-1].open_ms
            self._waiting = {open_ms: each for open_ms, each in self._waiting.items() if open_ms > newest}
        return joined

    def _append(self, candle: Candle) -> None:
        self._joined.append(candle)
        self._snapshot = None
