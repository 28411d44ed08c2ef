"""Dashboard log-in: the PIN, delays after wrong ones, and sessions behind the cookie.

Five tries, then each further one costs a wait that doubles, counted in the database, so that a restart gives nobody
new attempts. A delayed attempt is not compared at all; such attempts are recorded once a minute, so that the
watchdog sees the attack for as long as it lasts. The database never sees a PIN or a token: of tokens it has the hash.
"""

import hashlib
import hmac
import logging
import secrets
import threading
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr
from sqlalchemy import Connection, insert, select, update

from src.domain.clock import Clock, instant_of, utc_text
from src.runtime.settings import is_example
from src.storage.engine import Database
from src.storage.tables import dashboard_sessions, login_attempts

log = logging.getLogger(__name__)

FREE_TRIES: Final = 5
FREE_TRIES_OF_ALL: Final = 20
FIRST_WAIT_S: Final = 30.0
LONGEST_WAIT_S: Final = 900.0
LASTS_S: Final = 12 * 3_600.0
IDLE_S: Final = 3_600.0
LEAST_PIN: Final = 6
_REMEMBERED_MS: Final = 24 * 3_600_000
_LOOKED_AT: Final = 200
_TOUCH_MS: Final = 60_000
_ORIGINS_KEPT: Final = 10_000
_NOTE_MS: Final = 60_000
_SIEGE_MS: Final = 3_600_000
RIGHT, WRONG, REFUSED = "right", "wrong", "refused"


@dataclass(frozen=True, slots=True)
class LoginResult:
    """What became of a try: a token, or a wait in seconds, or neither (the PIN was wrong)."""

    token: str = ""
    wait_s: float = 0.0
    tries_left: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """A person who entered the PIN; ``actor`` names the session in the audit without giving the token away."""

    actor: str
    origin: str
    csrf: str


class PinAuthenticator:
    """Checks PINs and sessions. One process has one authenticator; its attempts take turns."""

    def __init__(self, store: Database, clock: Clock, pin: SecretStr, key: SecretStr) -> None:
        self._store = store
        self._clock = clock
        self._pin = pin
        self._key = key.get_secret_value().encode() or secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._waits: dict[str, int] = {}  # until when an origin's tries need not be looked at
        self._told_ms = self._noted_ms = -_SIEGE_MS

    @property
    def closed_because(self) -> str:
        """Why nobody can be let in, empty where a usable PIN is set."""
        if len(self._pin.get_secret_value()) < LEAST_PIN:
            return f"BOT_CONTROL_PIN is not set or shorter than {LEAST_PIN}: write one into .env and restart."
        if is_example(self._pin):
            return "BOT_CONTROL_PIN is the example value: write your own into .env and restart."
        return ""

    def try_pin(self, origin: str, offered: str) -> LoginResult:
        """Log a person in who knows the PIN; raises ``StoreUnavailable`` where the try cannot be counted."""
        if self.closed_because:
            return LoginResult()
        with self._lock:
            now_ms = self._clock.now_ms()
            left_s = (self._waits.get(origin, 0) - now_ms) / 1000
            if left_s > 0:
                self._note_refused(origin, now_ms)
                return LoginResult(wait_s=left_s)
            known = self._store.write(lambda connection: self._judge(connection, origin, offered, now_ms))
            if len(self._waits) > _ORIGINS_KEPT:
                self._waits.clear()  # the database still knows them
            self._waits[origin] = now_ms + round(known.wait_s * 1000)
        if known.wait_s:
            self._tell(origin, known.wait_s, now_ms)
        elif known.token:
            log.info("logged in: origin=%s", origin)
        else:
            log.warning("wrong PIN: origin=%s tries_left=%d", origin, known.tries_left)
        return known

    def session(self, token: str) -> Session | None:
        """Return the session of a token that is neither ended nor too old nor idle too long, else None."""
        if not token:
            return None
        now_ms, hashed = self._clock.now_ms(), _hash(token)
        with self._store.read() as connection:
            row = connection.execute(
                select(dashboard_sessions).where(dashboard_sessions.c.token_hash == hashed)
            ).first()
        if row is None or row.ended_at is not None:
            return None
        age_ms, idle_ms = now_ms - instant_of(row.timestamp), now_ms - instant_of(row.last_seen)
        if age_ms > LASTS_S * 1000 or idle_ms > IDLE_S * 1000:
            return None
        if idle_ms > _TOUCH_MS:
            self._touch(hashed, now_ms)
        return Session(f"person in session {hashed[:8]}", row.origin, self._csrf(token))

    def end(self, token: str) -> None:
        """End a session for good."""
        change = (
            update(dashboard_sessions)
            .where(dashboard_sessions.c.token_hash == _hash(token), dashboard_sessions.c.ended_at.is_(None))
            .values(ended_at=utc_text(self._clock.now_ms()))
        )
        self._store.write(lambda connection: connection.execute(change))

    def fits(self, session: Session, offered: str) -> bool:
        """Return whether the token against forged requests is the session's, in constant time."""
        return hmac.compare_digest(session.csrf.encode(), offered.encode("utf-8", "replace"))

    def _judge(self, connection: Connection, origin: str, offered: str, now_ms: int) -> LoginResult:
        own, everybody = _failures(connection, origin, now_ms), _failures(connection, None, now_ms)
        wait_s = max(_wait_s(own, FREE_TRIES, now_ms), _wait_s(everybody, FREE_TRIES_OF_ALL, now_ms))
        if wait_s > 0:
            self._note_refused(origin, now_ms)
            return LoginResult(wait_s=wait_s)
        right = hmac.compare_digest(self._pin.get_secret_value().encode(), offered.encode("utf-8", "replace"))
        attempt = {"timestamp": utc_text(now_ms), "origin": origin, "outcome": RIGHT if right else WRONG}
        connection.execute(insert(login_attempts), attempt)
        if not right:
            return LoginResult(tries_left=max(0, FREE_TRIES - len(own) - 1))
        token = secrets.token_urlsafe(32)
        row = {"timestamp": utc_text(now_ms), "last_seen": utc_text(now_ms), "origin": origin}
        connection.execute(insert(dashboard_sessions), row | {"token_hash": _hash(token)})
        return LoginResult(token=token)

    def _note_refused(self, origin: str, now_ms: int) -> None:
        """Record once a minute at most that an attempt was delayed: a brute-force attack adds one row a minute."""
        if now_ms - self._noted_ms < _NOTE_MS:
            return
        self._noted_ms = now_ms
        row = {"timestamp": utc_text(now_ms), "origin": origin, "outcome": REFUSED}
        self._store.write_later(lambda connection: connection.execute(insert(login_attempts), row))

    def _tell(self, origin: str, wait_s: float, now_ms: int) -> None:
        """Write one line for each series of attempts, not one for each; the watchdog alerts people."""
        if now_ms - self._told_ms >= _SIEGE_MS:
            self._told_ms = now_ms
            log.error("PIN entry is locked after too many wrong ones: origin=%s wait_s=%.0f", origin, wait_s)

    def _touch(self, hashed: str, now_ms: int) -> None:
        change = update(dashboard_sessions).where(dashboard_sessions.c.token_hash == hashed)
        seen = change.values(last_seen=utc_text(now_ms))
        self._store.write_later(lambda connection: connection.execute(seen))

    def _csrf(self, token: str) -> str:
        return hmac.new(self._key, token.encode(), hashlib.sha256).hexdigest()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _failures(connection: Connection, origin: str | None, now_ms: int) -> list[int]:
    """Return the instants of the wrong tries since the last right one, newest first."""
    column = login_attempts.c
    query = select(column.timestamp, column.outcome).where(
        column.timestamp >= utc_text(now_ms - _REMEMBERED_MS), column.outcome.in_((RIGHT, WRONG))
    )
    if origin is not None:
        query = query.where(column.origin == origin)
    found: list[int] = []
    for row in connection.execute(query.order_by(column.timestamp.desc(), column.id.desc()).limit(_LOOKED_AT)):
        if row.outcome == RIGHT:
            break
        found.append(instant_of(row.timestamp))
    return found


def _wait_s(failures: list[int], free: int, now_ms: int) -> float:
    """Return how long the next try has to wait after these wrong ones."""
    if len(failures) < free:
        return 0.0
    due_s = min(FIRST_WAIT_S * 2.0 ** (len(failures) - free), LONGEST_WAIT_S)
    return max(0.0, due_s - (now_ms - failures[0]) / 1000)
