"""Access control of REST, MCP and metrics: host, origin, body size, API key, rate limit.

Bound to loopback, reading needs no key: any user of this machine may read. A request that came through a proxy,
any other bind, and everything that changes something need one. Cookies are never looked at.
"""

import hmac
import ipaddress
import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Final

import orjson
from flask import Flask, Request, Response, g, request

from src.api.context import Caller
from src.api.keys import ApiKey, KeyStore
from src.api.problems import Refused
from src.domain.clock import Clock
from src.domain.errors import SettingsError
from src.runtime.public_hosts import is_from_this_machine, name_of
from src.runtime.settings import is_loopback

log = logging.getLogger("src.api")

MOST_BODY: Final = 64 * 1024
TRIES_A_MINUTE: Final = 10
CALLS_A_MINUTE: Final = 1_200
LOCAL: Final = Caller("loopback", frozenset({"read"}))
NOBODY: Final = Caller("nobody", frozenset())
_MINUTE_MS: Final = 60_000
_MOST_WATCHED: Final = 10_000
_MOST_REMEMBERED: Final = 1_000
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="api"'}
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Attempts:
    """Counts events by name; at most ``most`` within a minute. Safe to share between threads."""

    def __init__(self, clock: Clock, most: int) -> None:
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        self._events: dict[str, deque[int]] = {}

    def wait_s(self, name: str) -> int:
        """Return in how many seconds ``name`` may try again; 0 is now."""
        with self._lock:
            events = self._fresh(name)
            if len(events) < self._most:
                return 0
            return max(1, -(-(events[0] + _MINUTE_MS - self._clock.now_ms()) // 1_000))

    def note(self, name: str) -> int:
        """Count an event and return how many more there may be."""
        with self._lock:
            if len(self._events) >= _MOST_WATCHED:
                self._events = {each: self._fresh(each) for each in list(self._events) if self._fresh(each)}
            events = self._fresh(name)
            events.append(self._clock.now_ms())
            self._events[name] = events
            return max(self._most - len(events), 0)

    def _fresh(self, name: str) -> deque[int]:
        events = self._events.get(name, deque(maxlen=self._most))
        while events and events[0] <= self._clock.now_ms() - _MINUTE_MS:
            events.popleft()
        return events


class Authenticator:
    """Lets requests in, or refuses them with the reason.

    Args:
        host: the address that the server is bound to.
        origins: foreign origins whose pages may read.
        keys: the keys of this machine.
        clock: the machine's, for the limits.
        calls_a_minute: how many calls one key may make.
        tries_a_minute: how many wrong keys one address may show.
        public: the names under which a proxy offers the server, with their paths.
    """

    def __init__(
        self,
        *,
        host: str,
        origins: tuple[str, ...],
        keys: KeyStore,
        clock: Clock,
        calls_a_minute: int = CALLS_A_MINUTE,
        tries_a_minute: int = TRIES_A_MINUTE,
        public: Mapping[str, str] | None = None,
    ) -> None:
        self.public = dict(public or {})
        self._host = host
        self.origins = origins
        self._keys = keys
        self._wrong = Attempts(clock, tries_a_minute)
        self._calls = Attempts(clock, calls_a_minute)
        self._clock = clock
        self._wrong_ms: deque[int] = deque(maxlen=_MOST_REMEMBERED)
        self._most_calls = calls_a_minute

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self._host)

    def refuse_open_bind(self) -> None:
        """Raise ``SettingsError`` where others can reach the server and no key exists that could keep them out."""
        if not self.is_local and not self._keys.all():
            raise SettingsError(
                (
                    f"MCP_HOST={self._host} lets others in, but there is no API key: make one with "
                    "`./scripts/api_key.sh create NAME`, or write MCP_HOST=127.0.0.1.",
                )
            )

    def wrong_keys(self, within_ms: int) -> int:
        """Return how many wrong keys were checked in the last ``within_ms``, from any address."""
        since_ms = self._clock.now_ms() - within_ms
        return sum(instant_ms > since_ms for instant_ms in self._wrong_ms.copy())

    def guard(self, app: Flask, scope_of: Callable[[Request], str], any_body: Collection[str] = ()) -> None:
        """Check every request of ``app``; ``scope_of`` says which scope it needs (``open``, ``read``, ``control``).

        Bodies must be JSON, except at the endpoints ``any_body``.
        """

        def check() -> None:
            self._check_address(request)
            _check_size(request)
            g.caller = self._caller(request)
            self._check_scope(g.caller, scope_of(request))
            if request.routing_exception is None and request.endpoint not in any_body:
                _check_body(request)
            self._count(g.caller)

        app.before_request(check)
        app.after_request(self._sign)

    def _check_address(self, asked: Request) -> None:
        """A foreign Host header is how another web page reaches a server on loopback (DNS rebinding)."""
        host = asked.headers.get("Host", "")
        if not self._is_own(host):
            raise Refused(400, "This server does not answer to that Host.")
        origin = asked.headers.get("Origin")
        if origin is not None and origin not in (f"{asked.scheme}://{host}", *self.origins):
            raise Refused(403, "Pages of that origin may not read here; API_CORS_ORIGINS lists those that may.")
        crossing = asked.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
        if crossing and asked.method not in ("GET", "HEAD", "OPTIONS") and origin not in self.origins:
            raise Refused(403, "A page of another site may change nothing here.")

    def _is_own(self, host: str) -> bool:
        """Loopback's names; where others are let in also any address, since only names can be made to lie."""
        name = name_of(host)
        if not name:
            return False
        if name in self.public or is_loopback(name) or name == self._host.lower():
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return not self.is_local

    def _caller(self, asked: Request) -> Caller:
        header = asked.headers.get("Authorization")
        if header is not None:
            return self._bearer(asked.remote_addr or "", header)
        here = self.is_local and is_from_this_machine(asked.environ, self.public)
        return LOCAL if here else NOBODY

    def _bearer(self, address: str, header: str) -> Caller:
        kind, token = header.partition(" ")[0], header.partition(" ")[2].strip()
        key = self._tried(address, token[:12], lambda: self._keys.verify(token) if kind.lower() == "bearer" else None)
        return Caller(f"{key.name} ({key.id})", frozenset(key.scopes))

    def by_token(self, address: str, token: str) -> ApiKey:
        """Return the key that ``token`` is; refuses a wrong one, and counts it."""
        return self._tried(address, token[:12], lambda: self._keys.verify(token))

    def by_signature(self, address: str, key_id: str, signed: bytes, signature: str) -> ApiKey:
        """Return the key whose secret signed these bytes (HMAC-SHA256, hexadecimal); refuses and counts a wrong one."""

        def check() -> ApiKey | None:
            key = self._keys.find(key_id)
            secret = key.signing_key if key is not None else ""
            right = hmac.new((secret or "none").encode(), signed, "sha256").hexdigest()
            same = hmac.compare_digest(right.encode(), signature.lower().encode())
            return key if same and secret else None

        return self._tried(address, f"key_{key_id}"[:12], check)

    def _tried(self, address: str, prefix: str, check: Callable[[], ApiKey | None]) -> ApiKey:
        """Return what ``check`` finds, unless too many wrong keys were shown by this address or for this key."""
        names = [f"address {address}", f"key {prefix}"]
        wait_s = max(self._wrong.wait_s(name) for name in names)
        if wait_s:
            raise Refused(429, "Too many wrong keys: wait.", {"Retry-After": str(wait_s)})
        key = check()
        if key is None:
            left = min(self._wrong.note(name) for name in names)
            self._wrong_ms.append(self._clock.now_ms())
            log.warning("wrong API key: address=%s tries_left=%s", address, left)
            raise Refused(401, "This key opens nothing here.", _CHALLENGE)
        return key

    def _check_scope(self, caller: Caller, scope: str) -> None:
        if scope == "open" or scope in caller.scopes:
            return
        if caller is NOBODY or (caller is LOCAL and scope == "control"):
            raise Refused(401, f"A key with the scope `{scope}` is needed: `Authorization: Bearer KEY`.", _CHALLENGE)
        raise Refused(403, f"This key has not the scope `{scope}`.")

    def _count(self, caller: Caller) -> None:
        if caller is LOCAL:
            return
        name = caller.name if caller is not NOBODY else f"address {request.remote_addr}"
        wait_s = self._calls.wait_s(name)
        g.calls_left = 0 if wait_s else self._calls.note(name)
        if wait_s:
            raise Refused(429, f"At most {self._most_calls} calls a minute.", {"Retry-After": str(wait_s)})

    def _sign(self, response: Response) -> Response:
        """Put on every answer, refusals too, what browsers and caches must know of it."""
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Request-ID"] = g.get("request_id", "")
        if "calls_left" in g:
            response.headers["X-RateLimit-Limit"] = str(self._most_calls)
            response.headers["X-RateLimit-Remaining"] = str(g.calls_left)
        return response


def _check_size(asked: Request) -> None:
    if (asked.content_length or 0) > MOST_BODY:
        raise Refused(413, f"A body has at most {MOST_BODY} bytes.")


def _check_body(asked: Request) -> None:
    if asked.method in ("GET", "HEAD", "OPTIONS"):
        return
    if not asked.is_json:
        raise Refused(415, "The body must be application/json.")
    try:
        orjson.loads(asked.get_data(cache=True))  # refuses what is nested too deep for others to read
    except orjson.JSONDecodeError as error:
        raise Refused(400, "The body is not JSON, or nested too deep.") from error
