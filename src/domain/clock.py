"""Time: the only module that reads the machine's clock.

Every process takes the time from the exchange: its clock may run faster than the wall (``PAPER_SPEED``), and
Binance refuses requests stamped more than a second ahead of its own.
"""

import threading
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

DAY_MS = 86_400_000
MINUTE_MS = 60_000


class Clock(Protocol):
    """What tells the time; instants are milliseconds since 1970 UTC."""

    def now_ms(self) -> int:
        """Return the present instant."""

    def wait(self, stop: threading.Event, duration_ms: float) -> bool:
        """Wait ``duration_ms`` of this clock's time or until ``stop`` is set; return whether it is set."""


class SystemClock:
    """The machine's clock, for what has no exchange to ask."""

    def now_ms(self) -> int:
        """Return the machine's UTC time in milliseconds."""
        return time.time_ns() // 1_000_000

    def wait(self, stop: threading.Event, duration_ms: float) -> bool:
        """Wait in real time; return whether ``stop`` is set."""
        return stop.wait(max(duration_ms, 0.0) / 1000.0)


class ExchangeClock:
    """The exchange's clock, carried on between two looks at it.

    ``follow`` sets it; between two calls it advances by the wall's monotonic time multiplied by ``speed``. Small
    corrections never turn it back; the first look (until then it shows the machine's time), and one that finds it
    more than a minute ahead, do.
    """

    def __init__(self, speed: float = 1.0) -> None:
        if not speed > 0:
            raise ValueError("speed must be above 0")
        self._lock = threading.Lock()
        self._speed = speed
        self._anchor_ms = float(time.time_ns() // 1_000_000)
        self._anchor_s = time.monotonic()
        self._last_ms = 0
        self._followed = False

    @property
    def speed(self) -> float:
        """Market seconds in one wall second."""
        return self._speed

    def follow(self, server_ms: int, round_trip_s: float = 0.0) -> None:
        """Take over the exchange's time as read from an answer that took ``round_trip_s`` wall seconds."""
        with self._lock:
            self._anchor_ms = server_ms + round_trip_s * 500.0 * self._speed
            self._anchor_s = time.monotonic()
            if not self._followed or self._last_ms - self._anchor_ms > MINUTE_MS * self._speed:
                self._last_ms = 0
            self._followed = True

    def at_least(self, instant_ms: int) -> None:
        """Take note of an event that the exchange stamped ``instant_ms``: its clock shows at least that."""
        if instant_ms > self.now_ms():
            with self._lock:
                self._anchor_ms = float(instant_ms)
                self._anchor_s = time.monotonic()

    def offset_ms(self) -> int:
        """Return by how much this clock is ahead of the machine's."""
        return self.now_ms() - time.time_ns() // 1_000_000

    def now_ms(self) -> int:
        """Return the exchange's time; equal or later than at any earlier call since the last correction."""
        with self._lock:
            passed_s = time.monotonic() - self._anchor_s
            self._last_ms = max(self._last_ms, int(self._anchor_ms + passed_s * 1000.0 * self._speed))
            return self._last_ms

    def wait(self, stop: threading.Event, duration_ms: float) -> bool:
        """Wait ``duration_ms`` of exchange time; return whether ``stop`` is set."""
        return stop.wait(max(duration_ms, 0.0) / 1000.0 / self._speed)


class ManualClock:
    """A clock that stands until it is told to go on: backtests and tests."""

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Return the instant last set."""
        return self._now_ms

    def advance_to(self, now_ms: int) -> None:
        """Go on to ``now_ms``; raises ``ValueError`` for an earlier instant."""
        if now_ms < self._now_ms:
            raise ValueError(f"time does not run backwards: {now_ms} after {self._now_ms}")
        self._now_ms = now_ms

    def wait(self, stop: threading.Event, duration_ms: float) -> bool:
        """Advance by ``duration_ms`` at once; return whether ``stop`` is set."""
        self._now_ms += int(max(duration_ms, 0.0))
        return stop.is_set()


def monotonic_s() -> float:
    """Return seconds of wall time for measuring durations; the zero point means nothing."""
    return time.monotonic()


def is_over(span_ms: float, since_ms: int, now_ms: int) -> bool:
    """Return whether ``span_ms`` have passed since an instant; True also where the clock came back to before it.

    The exchange's clock may jump forward and back: an instant that was kept while it was ahead proves nothing.
    """
    return not 0 <= now_ms - since_ms < span_ms


def utc_text(instant_ms: int) -> str:
    """Return ``instant_ms`` as ISO 8601 UTC text with milliseconds: ``2026-11-22T10:30:15.000Z``."""
    moment = datetime.fromtimestamp(instant_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{instant_ms % 1000:03d}Z"


def utc_day(instant_ms: int) -> str:
    """Return the UTC day of ``instant_ms``: ``2026-11-22``."""
    return _day_text(instant_ms // DAY_MS)


@lru_cache(maxsize=8)
def _day_text(day: int) -> str:
    return utc_text(day * DAY_MS)[:10]


def instant_of(text: str) -> int:
    """Return the milliseconds of an ISO 8601 instant; without a zone it is UTC.

    Raises:
        ValueError: the text is no instant.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
