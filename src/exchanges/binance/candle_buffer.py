"""One symbol's closed candles without gaps, from the stream and from REST."""

import threading
from collections import deque
from collections.abc import Iterable

from src.domain.market import Candle


class CandleBuffer:
    """The newest closed candles, contiguous except for gaps of the exchange itself; thread-safe.

    Candles after a gap wait until it is filled. Duplicates and late ones are ignored.

    Args:
        interval_ms: length of a candle.
        kept: how many are kept.
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
        """Opening time of the newest contiguous candle, None before the first."""
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
        """Add one streamed candle; return those that became contiguous, oldest first."""
        with self._lock:
            if self._joined and candle.open_ms <= self._joined[-1].open_ms:
                return []
            self._waiting[candle.open_ms] = candle
            if len(self._waiting) > self._kept:
                del self._waiting[min(self._waiting)]
            return self._join_waiting() if self._joined else []

    def fill(self, history: Iterable[Candle]) -> list[Candle]:
        """Add candles from REST, oldest first; return all that became contiguous, oldest first.

        A gap inside ``history`` is the exchange's own and stays.
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
        """Append the waiting candles that follow without a gap, and drop outdated ones."""
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
