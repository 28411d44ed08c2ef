"""Close all: one command that pauses entries and closes every own position, with one answer."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import update

from src.dashboard.control import CLOSE_ALL
from src.domain.clock import instant_of
from src.storage import command_queue
from src.storage.command_queue import DONE, EXPIRED, FAILED, REFUSED, CommandResult, OperatorCommand
from src.storage.database import TradingDatabase
from src.storage.rows import Owner
from src.storage.tables import control_requests

_FINAL: Final = frozenset({DONE, FAILED, REFUSED, EXPIRED})
_GIVEN_UP_MS: Final = 90_000
_PAUSE: Final = "pause"


def submit_all(
    database: TradingDatabase, owner: Owner, command: OperatorCommand, symbols: Sequence[str], now_ms: int
) -> dict[str, Any]:
    """Write the command, the pause and one close for each symbol; the same key again writes nothing new."""
    row = command_queue.submit(
        database, owner, OperatorCommand(command.key, CLOSE_ALL, "", command.actor, command.origin), now_ms
    )
    if row["request_key"] != command.key:
        return row
    for action, target in ((_PAUSE, ""), *(("close", symbol) for symbol in symbols)):
        part = OperatorCommand(part_key(command.key, action, target), action, target, command.actor, command.origin)
        command_queue.submit(database, owner, part, now_ms)
    keep_parts(database, row["id"], symbols)
    return row


def part_key(key: str, action: str, target: str) -> str:
    """Return the key of one part of the command."""
    return sha256(f"{key} {action} {target}".encode()).hexdigest()[:40]


def keep_parts(database: TradingDatabase, row_id: int, symbols: Sequence[str]) -> None:
    """Note in the command's row what it asked to be closed."""
    change = update(control_requests).where(control_requests.c.id == row_id).values(state_before=" ".join(symbols))
    database.write(lambda connection: connection.execute(change))


def settled(database: TradingDatabase, row: dict[str, Any], now_ms: int) -> dict[str, Any]:
    """Return the row with its answer once all its parts have theirs; rows of other commands as they are."""
    if row["action"] != CLOSE_ALL or row["status"] in _FINAL:
        return row
    parts = _parts(database, row)
    overdue = now_ms - instant_of(row["timestamp"]) > _GIVEN_UP_MS
    if not overdue and not all(part["status"] in _FINAL for part in parts.values()):
        return row
    answer = _answer(parts)
    command_queue.answer(database, row["id"], answer, now_ms)
    return row | {"status": answer.status, "answer": answer.words}


def _parts(database: TradingDatabase, row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    names = [(_PAUSE, ""), *(("close", symbol) for symbol in str(row["state_before"]).split())]
    keys = {target or _PAUSE: part_key(row["request_key"], action, target) for action, target in names}
    found = {name: command_queue.find(database, key) for name, key in keys.items()}
    return {name: part for name, part in found.items() if part is not None}


def _answer(parts: Mapping[str, Mapping[str, Any]]) -> CommandResult:
    failed = {name: part for name, part in parts.items() if part["status"] != DONE}
    if not failed:
        closed = [name for name in parts if name != _PAUSE]
        return CommandResult(DONE, f"Entries are paused; closed: {', '.join(closed) or 'nothing was open'}.")
    told = "; ".join(f"{name}: {part['answer'] or 'no answer'}" for name, part in failed.items())
    return CommandResult(FAILED, f"Not everything was done. {told}")
