"""A disk cache of fetched data, shared by all processes of the suite.

One entry is one file, written atomically, so a killed writer leaves the old entry or the new one. A file's modification
time is its entry's expiry time, so that sweeping needs no reading. One lock file per key lets one process fetch while
the others wait for its result; the lock ends with its holder.
"""

import contextlib
import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2s
from itertools import count
from pathlib import Path
from typing import Any, Final

from src.domain.clock import Clock, SystemClock, monotonic_s
from src.domain.errors import SourceUnavailable

log = logging.getLogger(__name__)

_BLOCK_BYTES: Final = 4096  # disk usage of the smallest file
_STALE_WORK_FILE_MS: Final = 60_000
_COUNTS_KEPT_BACK: Final = 32
_POLL_S: Final = 0.02
_COUNTED: Final = ("hits", "misses", "writes", "evictions", "failures")
_work_file_number = count()


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A stored value; times in milliseconds of the cache's clock."""

    key: str
    value: Any
    stored_ms: int
    expires_ms: int


class CacheManager:
    """A cache of JSON values in ``directory/namespace``, shared by processes and threads, bounded in size.

    Args:
        directory: root of all caches; made when missing.
        namespace: folder of this one.
        ttl_s: default lifetime of an entry, in seconds.
        max_mb: upper bound of this namespace on disk, even with eight writing processes.
        clock: determines the age of entries; the machine's clock when None.
    """

    def __init__(
        self,
        directory: str | Path = "cache",
        namespace: str = "general",
        ttl_s: float = 300.0,
        max_mb: float = 16.0,
        clock: Clock | None = None,
    ) -> None:
        if not (ttl_s > 0 and max_mb > 0):
            raise ValueError("ttl_s and max_mb must be above 0")
        self._folder = Path(directory) / namespace
        self._clock = clock or SystemClock()
        self._max_bytes = int(max_mb * 1024 * 1024)
        self._written_since_sweep = self._max_bytes  # the first write of a process sweeps
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._mutex = threading.Lock()
        self.ttl_s = ttl_s

    def lookup(self, key: str) -> CacheEntry | None:
        """Return the stored entry if it has not expired, or None; counts as hit or miss."""
        entry = self._read(key)
        self._count("misses" if entry is None else "hits")
        return entry

    def get(self, key: str) -> Any:
        """Return the value stored under ``key``, or None when there is none or it has expired."""
        entry = self.lookup(key)
        return None if entry is None else entry.value

    def peek(self, key: str) -> Any:
        """Return as ``get`` does without counting: for internal entries, such as back-off times of sources."""
        entry = self._read(key)
        return None if entry is None else entry.value

    def set(self, key: str, value: Any, ttl_s: float | None = None) -> bool:
        """Store a JSON value for ``ttl_s`` seconds; return False when the disk refused or the value is too large.

        Raises:
            TypeError, ValueError: the value is no JSON (NaN and infinity are none).
        """
        now_ms = self._clock.now_ms()
        expires_ms = now_ms + int((self.ttl_s if ttl_s is None else ttl_s) * 1000)
        head = json.dumps({"key": key, "stored_ms": now_ms, "expires_ms": expires_ms})
        content = f"{head}\n{json.dumps(value, allow_nan=False)}\n".encode()
        size = _on_disk(len(content))
        if size > self._max_bytes // 16:
            log.warning("too large to be cached: key=%s bytes=%d", key, len(content))
            return False
        self._make_room(size)
        try:
            self._write(self._file_of(key), content, expires_ms)
        except OSError as error:
            self._count("failures")
            log.warning("cache not written: key=%s reason=%s", key, error)
            return False
        self._count("writes")
        self._save_counts()
        return True

    def get_or_fetch(self, key: str, fetch: Callable[[], Any], ttl_s: float | None = None, wait_s: float = 10.0) -> Any:
        """Return the stored value, or call ``fetch`` and store what it returns.

        Of several processes and threads that ask at once, one fetches. If it fails or dies, the next one tries.

        Args:
            key: name of the value.
            fetch: called without arguments; must return JSON. What it raises is passed on and nothing is stored.
            ttl_s: how long the new entry is good, in seconds.
            wait_s: how long to wait for another's fetch, in wall seconds.

        Raises:
            SourceUnavailable: another process is still fetching after ``wait_s``.
        """
        entry = self._read(key)
        if entry is None:
            with self._alone(key, wait_s):
                entry = self._read(key)  # the process we waited for may have stored it
                if entry is None:
                    self._count("misses")
                    value = fetch()
                    self.set(key, value, ttl_s)
                    return value
        self._count("hits")
        return entry.value

    def delete(self, key: str) -> bool:
        """Delete one entry; return whether there was one."""
        return _remove(self._file_of(key))

    def invalidate_pattern(self, pattern: str) -> int:
        """Delete all entries whose key matches a shell pattern (``price:BTC*``); return their number."""
        paths = list(self._folder.glob("*.json"))
        return sum(_remove(path) for path in paths if fnmatchcase(_key_in(path), pattern))

    def clear(self) -> int:
        """Delete all entries of this namespace; return their number."""
        return sum(_remove(path) for path in self._folder.glob("*.json"))

    def cleanup_expired(self) -> int:
        """Remove expired entries and leftovers of killed processes; return the number of entries removed."""
        before, _ = self._measure()
        self._sweep()
        after, _ = self._measure()
        return max(before - after, 0)

    def get_stats(self) -> dict[str, Any]:
        """Return the statistics of all processes since the folder was created.

        Returns:
            ``hits misses writes evictions failures`` (numbers), ``hit_rate`` (share 0..1, None before the first
            lookup), ``entries``, ``size_bytes`` and ``max_bytes`` (on disk). A killed process loses its last counts, at
            most 31.
        """
        self._save_counts()
        totals: dict[str, Any] = _saved_counts(self._folder / "statistics")
        asked = totals["hits"] + totals["misses"]
        entries, size_bytes = self._measure()
        return {
            **totals,
            "hit_rate": totals["hits"] / asked if asked else None,
            "entries": entries,
            "size_bytes": size_bytes,
            "max_bytes": self._max_bytes,
        }

    def _file_of(self, key: str) -> Path:
        return self._folder / f"{blake2s(key.encode(), digest_size=16).hexdigest()}.json"

    def _read(self, key: str) -> CacheEntry | None:
        try:
            head_text, _, body = self._file_of(key).read_bytes().partition(b"\n")
            head = json.loads(head_text)
            entry = CacheEntry(head["key"], json.loads(body), head["stored_ms"], head["expires_ms"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("cache entry unreadable, taken as missing: key=%s reason=%s", key, error)
            return None
        # An entry from the future comes from another run of a replayed market.
        good = entry.key == key and entry.stored_ms <= self._clock.now_ms() < entry.expires_ms
        return entry if good else None

    def _write(self, path: Path, content: bytes, expires_ms: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        work_file = path.with_suffix(f".{os.getpid()}-{next(_work_file_number)}.tmp")
        try:
            work_file.write_bytes(content)
            os.utime(work_file, ns=(expires_ms * 1_000_000, expires_ms * 1_000_000))
            work_file.replace(path)
        except OSError:
            _remove(work_file)
            raise

    @contextlib.contextmanager
    def _alone(self, key: str, wait_s: float) -> Iterator[None]:
        path = self._file_of(key).with_suffix(".lock")
        descriptor = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = _lock(path, wait_s)
            if descriptor is None:
                raise SourceUnavailable(f"another process has been fetching {key} for more than {wait_s:g} s")
        except OSError as error:  # the disk refuses: better two fetches than none
            log.warning("cache not locked: key=%s reason=%s", key, error)
        try:
            yield
        finally:
            if descriptor is not None:
                _remove(path)  # while still held: a waiting process sees that the file is gone and locks again
                os.close(descriptor)

    def _make_room(self, size: int) -> None:
        with self._mutex:
            self._written_since_sweep += size
            due = self._written_since_sweep >= self._max_bytes // 16
            if due:
                self._written_since_sweep = 0
        if due and self._folder.is_dir():
            self._sweep()

    def _sweep(self) -> None:
        """Delete expired entries, then those that expire soonest until half is free: eight writers stay in bounds."""
        now_ms = self._clock.now_ms()
        kept: list[tuple[int, int, str]] = []
        for path, status in self._files():
            expires_ms = status.st_mtime_ns // 1_000_000
            if path.suffix == ".json" and expires_ms > now_ms:
                kept.append((expires_ms, _on_disk(status.st_size), str(path)))
            elif path.suffix == ".json":
                _remove(path)
            elif path.suffix in {".tmp", ".lock"}:
                _remove_leftover(path, status)
        total = sum(size for _, size, _ in kept)
        if total <= self._max_bytes // 2:
            return
        for _, size, name in sorted(kept):
            if total <= self._max_bytes // 2:
                break
            total -= size
            self._count("evictions" if _remove(Path(name)) else "failures")

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        if not self._folder.is_dir():
            return
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # another process swept it meanwhile
                    yield Path(entry.path), entry.stat()

    def _measure(self) -> tuple[int, int]:
        sizes = [_on_disk(status.st_size) for path, status in self._files() if path.suffix == ".json"]
        return len(sizes), sum(sizes)

    def _count(self, what: str) -> None:
        with self._mutex:
            self._counts[what] += 1
            due = sum(self._counts.values()) >= _COUNTS_KEPT_BACK
        if due:
            self._save_counts()

    def _save_counts(self) -> None:
        with self._mutex:
            fresh, self._counts = self._counts, dict.fromkeys(_COUNTED, 0)
        if not any(fresh.values()):
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _add_counts(self._folder / "statistics", fresh)
        except OSError as error:
            log.warning("cache statistics not written: reason=%s", error)


class MarketDataCache(CacheManager):
    """Prices and indices: kept five minutes."""

    def __init__(self, directory: str | Path = "cache", max_mb: float = 16.0, clock: Clock | None = None) -> None:
        super().__init__(directory, "market_data", 300.0, max_mb, clock)


class SentimentCache(CacheManager):
    """Sentiment of headlines: kept one hour, or one day in cost-saving mode."""

    def __init__(
        self,
        directory: str | Path = "cache",
        cost_saving: bool = True,
        max_mb: float = 16.0,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(directory, "sentiment", 86_400.0 if cost_saving else 3_600.0, max_mb, clock)


class NewsCache(CacheManager):
    """Responses of news sources: kept one hour."""

    def __init__(self, directory: str | Path = "cache", max_mb: float = 16.0, clock: Clock | None = None) -> None:
        super().__init__(directory, "news", 3_600.0, max_mb, clock)


def _on_disk(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        log.warning("cache file not removed: path=%s reason=%s", path, error)
        return False
    return True


def _remove_leftover(path: Path, status: os.stat_result) -> None:
    """Remove the temporary file or lock of a killed process; a lock that is held stays."""
    if SystemClock().now_ms() - status.st_ctime_ns // 1_000_000 < _STALE_WORK_FILE_MS:
        return
    if path.suffix == ".tmp":
        _remove(path)
    elif (descriptor := _lock(path, 0.0)) is not None:
        _remove(path)
        os.close(descriptor)


def _key_in(path: Path) -> str:
    """Return the key written in an entry's file; empty for a damaged one."""
    try:
        with path.open("rb") as file:
            head = json.loads(file.readline())
    except (OSError, ValueError):
        return ""
    return str(head.get("key", "")) if isinstance(head, dict) else ""


def _lock(path: Path, wait_s: float) -> int | None:
    """Return an open descriptor that holds the lock file, or None when it is not free within ``wait_s``."""
    until_s = monotonic_s() + wait_s
    pause = threading.Event()
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass  # held by another, or its holder removed it between our two checks
        os.close(descriptor)
        if monotonic_s() >= until_s:
            return None
        pause.wait(_POLL_S)


def _saved_counts(path: Path) -> dict[str, int]:
    try:
        saved = json.loads(path.read_bytes())
        return {name: int(saved[name]) for name in _COUNTED}
    except (OSError, ValueError, KeyError, TypeError):
        return dict.fromkeys(_COUNTED, 0)


def _add_counts(path: Path, fresh: dict[str, int]) -> None:
    with path.with_name("statistics.guard").open("ab") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        saved = _saved_counts(path)
        work_file = path.with_suffix(f".{os.getpid()}-{next(_work_file_number)}.tmp")
        work_file.write_text(json.dumps({name: saved[name] + fresh[name] for name in _COUNTED}))
        work_file.replace(path)
