"""Confirmation of a change by the PIN, typed on buttons: each entry is for one change, once, and for a minute.

Digits are pressed, not written, so that no PIN stays in a chat's history. Wrong PINs are counted in the database
beside those of the page; five within a quarter of an hour close this way for the rest of it.
"""

import hmac
import secrets
from dataclasses import dataclass, replace
from typing import Final

from pydantic import SecretStr
from sqlalchemy import func, insert, select

from src.chat.messages import Buttons
from src.domain.clock import Clock, utc_text
from src.runtime.settings import is_example
from src.storage.engine import Database
from src.storage.tables import login_attempts

VALID_MS: Final = 60_000
MOST_WRONG: Final = 5
_WINDOW_MS: Final = 900_000
_LEAST_PIN: Final = 6
_MOST_PENDING: Final = 100
PREFIX: Final = "pin"


@dataclass(frozen=True, slots=True)
class PinEntry:
    """A change that waits for its PIN: whose, what, until when, and the digits pressed so far."""

    id: str
    user_id: int
    command: str
    says: str
    until_ms: int
    typed: str = ""


@dataclass(frozen=True, slots=True)
class PinResult:
    """What a press led to: the entry goes on, the change is confirmed (``command``), or ``text`` says why not."""

    text: str
    entry: PinEntry | None = None
    command: str = ""


class PinPad:
    """The entries under way, of all users."""

    def __init__(self, store: Database, clock: Clock, pin: SecretStr) -> None:
        self._store = store
        self._clock = clock
        self._pin = pin
        self._entries: dict[str, PinEntry] = {}

    @property
    def closed_because(self) -> str:
        """Why nothing can be confirmed here, empty where a usable PIN is set."""
        pin = self._pin.get_secret_value()
        if len(pin) < _LEAST_PIN or not pin.isascii() or not pin.isdecimal() or is_example(self._pin):
            return f"BOT_CONTROL_PIN must be at least {_LEAST_PIN} digits of your own to be used in a chat."
        return ""

    def begin(self, user_id: int, command: str, says: str) -> PinEntry:
        """Return a new entry for one change; an earlier one of the same user ends."""
        now_ms = self._clock.now_ms()
        kept = {key: each for key, each in self._entries.items() if each.until_ms > now_ms and each.user_id != user_id}
        self._entries = dict(list(kept.items())[-_MOST_PENDING:])
        entry = PinEntry(secrets.token_hex(6), user_id, command, says, now_ms + VALID_MS)
        self._entries[entry.id] = entry
        return entry

    def press(self, user_id: int, data: str) -> PinResult:
        """Take a press of one of the entry's buttons; raises ``StoreUnavailable`` where a PIN cannot be counted."""
        _, entry_id, key = [*data.split(":"), "", ""][:3]
        entry = self._entries.get(entry_id)
        if entry is None or entry.user_id != user_id:
            return PinResult("This confirmation is over: send the command again.")
        if self._clock.now_ms() > entry.until_ms:
            del self._entries[entry_id]
            return PinResult("The time for the PIN is over; nothing was done. Send the command again.")
        if key == "no":
            del self._entries[entry_id]
            return PinResult("Cancelled; nothing was done.")
        if key == "ok":
            del self._entries[entry_id]
            return self._judged(entry)
        typed = (
            entry.typed[:-1]
            if key == "del"
            else entry.typed + key
            if key.isdecimal() and len(key) == 1
            else entry.typed
        )
        entry = self._entries[entry_id] = replace(entry, typed=typed[:64])
        return PinResult(text_of(entry), entry)

    def _judged(self, entry: PinEntry) -> PinResult:
        origin, now_ms = f"telegram {entry.user_id}", self._clock.now_ms()
        column = login_attempts.c
        recent = (column.origin == origin, column.outcome == "wrong", column.timestamp > utc_text(now_ms - _WINDOW_MS))
        with self._store.read() as connection:
            wrong = int(connection.execute(select(func.count()).where(*recent)).scalar_one())
        if wrong >= MOST_WRONG:
            return PinResult("Too many wrong PINs: nothing is accepted here for a quarter of an hour.")
        right = hmac.compare_digest(self._pin.get_secret_value().encode(), entry.typed.encode())
        row = {"timestamp": utc_text(now_ms), "origin": origin, "outcome": "right" if right else "wrong"}
        self._store.write(lambda connection: connection.execute(insert(login_attempts), row))
        if not right:
            return PinResult(f"The PIN is wrong; nothing was done. {MOST_WRONG - wrong - 1} tries are left.")
        return PinResult("Confirmed.", command=entry.command)


def text_of(entry: PinEntry) -> str:
    """Return what stands above the buttons."""
    return f"{entry.says}\n\nPIN: {'•' * len(entry.typed) or '-'}"


def buttons_of(entry: PinEntry) -> Buttons:
    """Return the digits, and what ends the entry."""

    def key(label: str, sends: str = "") -> tuple[str, str]:
        return label, f"{PREFIX}:{entry.id}:{sends or label}"

    digits = tuple(tuple(key(str(digit)) for digit in row) for row in ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    return (*digits, (key("⌫", "del"), key("0"), key("Confirm", "ok")), (key("Cancel", "no"),))
