"""Request rate limiter shared by all processes of one IP address.

The counts are in one small file that every process locks for microseconds. The exchange's own counters, sent with each
response, correct ours upwards; bans are recorded for all processes.
"""

import fcntl
import logging
import os
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from src.domain.clock import MINUTE_MS, Clock
from src.domain.errors import RateLimited

log = logging.getLogger(__name__)

TEN_SECONDS_MS = 10_000
_RECORD = struct.Struct("<8sqqqqqqq")
_MAGIC = b"budget01"
_USED_WEIGHT = "X-MBX-USED-WEIGHT-1M"
_ORDERS_10S = "X-MBX-ORDER-COUNT-10S"
_ORDERS_1M = "X-MBX-ORDER-COUNT-1M"


class Urgency(Enum):
    """The priority of a call; the value is the share of the exchange's limit that it may use."""

    ROUTINE = 0.80
    ENTRY = 0.85
    EXIT = 0.98


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The exchange's limits: request weight a minute and address, orders in 10 s and a minute and account."""

    weight_1m: int = 2_400
    orders_10s: int = 300
    orders_1m: int = 1_200

    def __post_init__(self) -> None:
        if min(self.weight_1m, self.orders_10s, self.orders_1m) < 1:
            raise ValueError("rate limits must be at least 1")


@dataclass(frozen=True, slots=True)
class UsedBudget:
    """The usage of the present windows, with their start times; nothing is sent before ``blocked_until_ms``."""

    minute_ms: int = 0
    weight: int = 0
    orders_1m: int = 0
    ten_ms: int = 0
    orders_10s: int = 0
    blocked_until_ms: int = 0

    def at(self, now_ms: int) -> "UsedBudget":
        """Return the same with expired windows reset.

        A record from the future comes from another market time (a restarted paper exchange) and counts nothing.
        """
        minute, ten = now_ms - now_ms % MINUTE_MS, now_ms - now_ms % TEN_SECONDS_MS
        rolled = UsedBudget() if self.minute_ms > minute + MINUTE_MS else self
        if minute != self.minute_ms:
            rolled = replace(rolled, minute_ms=minute, weight=0, orders_1m=0)
        return rolled if ten == self.ten_ms else replace(rolled, ten_ms=ten, orders_10s=0)


class SharedRateLimiter:
    """Grants calls before they are made; every method is safe between threads and processes.

    Args:
        path: the file shared by all processes of one address; its folder is made when missing.
        clock: the exchange's time, which its windows follow.
        speed: market seconds in one wall second (``retry_after_s`` is in wall seconds).
    """

    def __init__(self, path: Path, clock: Clock, speed: float = 1.0, limits: RateLimits | None = None) -> None:
        self._clock, self._speed = clock, speed
        self._limits = limits or RateLimits()
        self._lock = threading.Lock()
        self._memory = UsedBudget()  # used if the disk refuses
        self._file = _opened(path)

    @property
    def limits(self) -> RateLimits:
        """The limits counted against."""
        return self._limits

    def set_limits(self, limits: RateLimits) -> None:
        """Take over the limits the exchange states."""
        self._limits = limits

    def used(self) -> UsedBudget:
        """Return what the present windows have used."""
        with self._record() as used:
            return used.at(self._clock.now_ms())

    def take(self, weight: int, orders: int, urgency: Urgency) -> None:
        """Count a call, or refuse it.

        Raises:
            RateLimited: the call would exceed its share of the limit, or a ban is active; nothing was counted.
        """
        now_ms = self._clock.now_ms()
        with self._record() as stored:
            used = stored.at(now_ms)
            free_ms = self._free_ms(used, weight, orders, urgency)
            if free_ms <= now_ms:
                self._store(
                    replace(
                        used,
                        weight=used.weight + weight,
                        orders_1m=used.orders_1m + orders,
                        orders_10s=used.orders_10s + orders,
                    )
                )
                return
        wait_s = (free_ms - now_ms) / 1000.0 / self._speed
        raise RateLimited(f"our request budget is used up for {wait_s:.1f} s", wait_s)

    def observe(self, headers: Mapping[str, str], asked_ms: int) -> None:
        """Take over the exchange's counters from an answer to a request made at ``asked_ms``.

        A response that arrives after the end of its window says nothing about the present one.
        """
        weight, in_10s, in_1m = (_count(headers, name) for name in (_USED_WEIGHT, _ORDERS_10S, _ORDERS_1M))
        now_ms = self._clock.now_ms()
        if asked_ms // MINUTE_MS != now_ms // MINUTE_MS or not (weight or in_10s or in_1m):
            return
        same_ten = asked_ms // TEN_SECONDS_MS == now_ms // TEN_SECONDS_MS
        with self._record() as stored:
            used = stored.at(now_ms)
            self._store(
                replace(
                    used,
                    weight=max(used.weight, weight),
                    orders_1m=max(used.orders_1m, in_1m),
                    orders_10s=max(used.orders_10s, in_10s if same_ten else 0),
                )
            )

    def block(self, until_ms: int | None, retry_after_s: float = 0.0) -> float:
        """Block all calls until ``until_ms`` (or for ``retry_after_s``; else to the minute's end).

        Returns:
            Wall seconds until then.
        """
        now_ms = self._clock.now_ms()
        if until_ms is None and retry_after_s > 0:
            until_ms = now_ms + int(retry_after_s * 1000)
        until_ms = until_ms or now_ms - now_ms % MINUTE_MS + MINUTE_MS
        with self._record() as stored:
            used = stored.at(now_ms)
            until_ms = max(until_ms, used.blocked_until_ms)
            self._store(replace(used, blocked_until_ms=until_ms))
        return max(0, until_ms - now_ms) / 1000.0 / self._speed

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _free_ms(self, used: UsedBudget, weight: int, orders: int, urgency: Urgency) -> int:
        """Return the first instant at which the call is allowed; 0 for at once."""
        share, limits = urgency.value, self._limits
        free_ms = used.blocked_until_ms
        over_orders = orders and used.orders_1m + orders > share * limits.orders_1m
        if over_orders or (weight and used.weight + weight > share * limits.weight_1m):
            free_ms = max(free_ms, used.minute_ms + MINUTE_MS)
        if orders and used.orders_10s + orders > share * limits.orders_10s:
            free_ms = max(free_ms, used.ten_ms + TEN_SECONDS_MS)
        return free_ms

    @contextmanager
    def _record(self) -> Iterator[UsedBudget]:
        """Hold the lock (threads and processes) and yield the stored record."""
        with self._lock:
            if self._file is None:
                yield self._memory
                return
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield _decoded(os.pread(self._file, _RECORD.size, 0))
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _store(self, used: UsedBudget) -> None:
        """Write under the lock; one small write is atomic, even if the process is killed."""
        self._memory = used
        if self._file is None:
            return
        figures = (used.minute_ms, used.weight, used.orders_1m, used.ten_ms, used.orders_10s, used.blocked_until_ms)
        with suppress(OSError):  # a full disk: the file was given its size when it was made
            os.pwrite(self._file, _RECORD.pack(_MAGIC, *figures, 0), 0)


def _opened(path: Path) -> int | None:
    """Return the open file, or None if the disk refuses: then this process counts only its own calls."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        log.warning("rate budget not shared with other processes: file=%s reason=%s", path.name, error.strerror)
        return None


def _decoded(record: bytes) -> UsedBudget:
    if len(record) != _RECORD.size or record[:8] != _MAGIC:
        return UsedBudget()
    return UsedBudget(*_RECORD.unpack(record)[1:7])


def _count(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name, "")
    return int(text) if text.isdigit() else 0
