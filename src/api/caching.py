"""Response caching: answers of the last moment, ETags and 304 replies.

The database's version names everything that was read, so the tag of an answer is known before the answer is: while
nothing was written a client's copy is confirmed (304) and a repeated question is answered from memory.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from src.api.context import ApiContext, Caller
from src.api.operation import Operation
from src.domain.clock import MINUTE_MS
from src.domain.errors import StoreCorrupt, StoreUnavailable

_MOST_BYTES = 2_000_000


class CachedAnswer(NamedTuple):
    """An answer as it was sent."""

    body: bytes
    status: int
    headers: tuple[tuple[str, str], ...]


class AnswerCache:
    """The last answers by their tags, 2 MB of them at most; safe to share between threads."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, CachedAnswer] = OrderedDict()
        self._bytes = 0

    def get(self, tag: str) -> CachedAnswer | None:
        """Return the answer of that tag, if it is still here; none has an empty tag."""
        with self._lock:
            return self._kept.get(tag)

    def put(self, tag: str, kept: CachedAnswer) -> None:
        """Keep an answer, and let go of the oldest for it."""
        with self._lock:
            if len(kept.body) > self._most_bytes // 4 or tag in self._kept:
                return
            self._kept[tag] = kept
            self._bytes += len(kept.body)
            while self._bytes > self._most_bytes:
                self._bytes -= len(self._kept.popitem(last=False)[1].body)


class Tags:
    """Makes the tags of answers; they mean nothing to the next process."""

    def __init__(self) -> None:
        self._life = secrets.token_hex(4)

    def tag(self, operation: Operation, source: ApiContext, asked: Mapping[str, Any], caller: Caller, form: str) -> str:
        """Return the tag of the answer that would be given now, or "" where the database cannot name its version."""
        if not operation.told:
            return ""  # it asks nobody
        try:
            version = source.version()
        except (StoreUnavailable, StoreCorrupt):
            return ""  # the code that needs the database reports it
        if not version:
            return ""
        parts = [self._life, version, _moment(operation, source), operation.name, form, sorted(caller.scopes)]
        text = orjson.dumps([*parts, sorted((name, str(value)) for name, value in asked.items())])
        return blake2b(text, digest_size=12).hexdigest()


def _moment(operation: Operation, source: ApiContext) -> int:
    """The part of time in which the answer stays the same while nothing is written."""
    if operation.changes == "rows":
        return 0
    return source.now_ms() // MINUTE_MS if operation.changes == "minute" else source.wall.now_ms() // 1_000
