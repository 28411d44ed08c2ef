"""Signals of other programs (TradingView alerts, own scripts): one message parsed into symbol, direction and instant.

What a message says is data: only a contract's name, one of a few words for the direction, an instant and an id are
taken from it. Everything else is kept as a note for people, marked as text of a stranger.
"""

import json
import math
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from src.domain.clock import instant_of

DIRECTIONS: Final = {
    "buy": 1,
    "long": 1,
    "sell": -1,
    "short": -1,
    "flat": 0,
    "close": 0,
    "exit": 0,
    "neutral": 0,
}
LONGEST_MESSAGE: Final = 8 * 1024
LONGEST_NOTE: Final = 500
_SYMBOL: Final = re.compile(r"[A-Z0-9]{5,20}")
_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_PLAIN: Final = re.compile(
    r"(?P<action>[A-Za-z]{3,8})\s+(?P<symbol>\S{5,40})\s+(?P<time>\S{8,40})(?:\s+(?P<note>.*))?", re.S
)
_SYMBOLS, _ACTIONS, _TIMES, _NOTES = ("symbol", "ticker"), ("action", "side"), ("time", "timenow"), ("note", "comment")
_SECONDS_UNTIL: Final = 10_000_000_000  # a larger number counts milliseconds


@dataclass(frozen=True, slots=True)
class ExternalMessage:
    """One message: ``direction`` 1 rise, -1 fall, 0 neither any more; ``key`` is the same for a repetition."""

    symbol: str
    direction: int
    sent_ms: int
    key: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class ExternalSignal:
    """A message that was accepted, as a decision sees it: who said what of a contract, and when it was received."""

    source: str
    symbol: str
    direction: int
    received_ms: int


def parse_message(body: bytes) -> ExternalMessage:
    """Return what a message says: a JSON object, or plain text ``buy BTCUSDT 2026-11-22T12:00:00Z``.

    Raises:
        ValueError: in one sentence what is missing or wrong.
    """
    if len(body) > LONGEST_MESSAGE:
        raise ValueError(f"a message has at most {LONGEST_MESSAGE} bytes")
    try:
        text = body.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError("a message is UTF-8 text") from error
    fields = _json_fields(text) if text.startswith("{") else _plain_fields(text)
    message_id = fields.get("id")
    if message_id is not None and not (isinstance(message_id, str) and _ID.fullmatch(message_id)):
        raise ValueError("id is 1 to 64 letters, digits, dots, colons, hyphens or underscores")
    return ExternalMessage(
        symbol=_symbol(_first(fields, _SYMBOLS)),
        direction=_direction(_first(fields, _ACTIONS)),
        sent_ms=_instant(_first(fields, _TIMES)),
        key=message_id or sha256(text.encode()).hexdigest(),
        note=_note(_first(fields, _NOTES)),
    )


def _json_fields(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("the message is not JSON") from error
    if not isinstance(fields, dict):
        raise ValueError("the message is not a JSON object")
    return fields


def _plain_fields(text: str) -> dict[str, Any]:
    found = _PLAIN.fullmatch(text)
    if found is None:
        raise ValueError("plain text reads `buy BTCUSDT 2026-11-22T12:00:00Z`: direction, contract, instant")
    return found.groupdict()


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _symbol(written: Any) -> str:
    """``BINANCE:BTCUSDT.P`` is BTCUSDT: TradingView puts the exchange before and the kind of contract after it."""
    if not isinstance(written, str):
        raise ValueError("symbol (or ticker) is missing: write the contract, such as BTCUSDT")
    name = written.strip().upper().rpartition(":")[2].removesuffix(".P")
    if not _SYMBOL.fullmatch(name):
        raise ValueError("symbol is 5 to 20 letters and digits, such as BTCUSDT or BINANCE:BTCUSDT.P")
    return name


def _direction(written: Any) -> int:
    direction = DIRECTIONS.get(written.strip().lower()) if isinstance(written, str) else None
    if direction is None:
        raise ValueError(f"action (or side) is one of {', '.join(DIRECTIONS)}")
    return direction


def _instant(written: Any) -> int:
    wrong = ValueError("time (or timenow) is missing or no instant: write {{timenow}} in TradingView, or ISO 8601")
    if isinstance(written, bool):
        raise wrong
    try:
        if isinstance(written, str) and not written.strip().isdecimal():
            return instant_of(written.strip().upper())
        number = float(written)
    except (TypeError, ValueError, OverflowError) as error:
        raise wrong from error
    if not math.isfinite(number) or not 0 < number < 1e15:
        raise wrong
    return round(number * 1_000 if number < _SECONDS_UNTIL else number)


def _note(written: Any) -> str:
    if not isinstance(written, str):
        return ""
    return "".join(each if each.isprintable() else " " for each in written)[:LONGEST_NOTE].strip()
