"""The queue of operator commands: rows that the dashboard writes and the bot answers.

The dashboard has no exchange key: it can only queue a command here. Each command has an idempotency key, so that a
double click is one command. It expires if no bot takes it in time, so that a bot started hours later does not execute
it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from src.domain.clock import instant_of, utc_text
from src.storage.engine import Database
from src.storage.rows import Owner
from src.storage.tables import EVERY, control_requests

ACTIONS: Final = ("pause", "resume", "close", "trip", "reset", "rules")
_OF_ONE_PAIR: Final = ("close", "pause", "resume")
VALID_FOR_S: Final = 60.0
WAITING, TAKEN, DONE, REFUSED, FAILED, EXPIRED = "waiting", "taken", "done", "refused", "failed", "expired"
_PENDING: Final = (WAITING, TAKEN)
_PATIENCE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class OperatorCommand:
    """What is requested: ``target`` is a contract (close, pause, resume), the name of a rule set (rules), or empty.

    To pause or resume without a contract means all of them.

    ``actor`` is who requests it, ``origin`` from where; ``key`` is the idempotency key of the click.
    """

    key: str
    action: str
    target: str
    actor: str
    origin: str


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The outcome of a command: a status, one sentence, and the values before and after."""

    status: str
    words: str
    before: str = ""
    after: str = ""


def submit(store: Database, owner: Owner, command: OperatorCommand, now_ms: int) -> dict[str, Any]:
    """Queue a command and return its row; the same key, or the same command still pending, returns the existing row."""
    row = owner.columns(command.target if command.action in _OF_ONE_PAIR and command.target else EVERY) | {
        "timestamp": utc_text(now_ms),
        "expires_at": utc_text(now_ms + round(VALID_FOR_S * 1000)),
        "request_key": command.key,
        "action": command.action,
        "target": command.target,
        "actor": command.actor,
        "origin": command.origin,
        "status": WAITING if command.action in ACTIONS else TAKEN,  # their writer executes these
    }
    return store.write(lambda connection: _submit(connection, row, utc_text(now_ms)))


def _submit(connection: Connection, row: Mapping[str, Any], now: str) -> dict[str, Any]:
    column = control_requests.c
    same = (column.bot_id == row["bot_id"], column.action == row["action"], column.target == row["target"])
    pending = (*same, column.status.in_(_PENDING), column.expires_at > now)
    for condition in ((column.request_key == row["request_key"],), pending):
        found = connection.execute(select(control_requests).where(*condition)).mappings().first()
        if found is not None:
            return dict(found)
    return dict(connection.execute(insert(control_requests).returning(control_requests), row).mappings().one())


def find(store: Database, key: str) -> dict[str, Any] | None:
    """Return the command with this key, or None."""
    query = select(control_requests).where(control_requests.c.request_key == key)
    with store.read() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else dict(row)


def pending(store: Database, bot_id: str) -> list[dict[str, Any]]:
    """Return the bot's commands without an answer, oldest first."""
    column = control_requests.c
    query = select(control_requests).where(column.bot_id == bot_id, column.status.in_(_PENDING))
    query = query.where(column.action.in_(ACTIONS))
    with store.read() as connection:
        return [dict(row) for row in connection.execute(query.order_by(column.id)).mappings()]


def take(store: Database, command_id: int, now_ms: int) -> bool:
    """Mark a pending command as taken, committed before it is executed; False if another process took it."""
    column = control_requests.c
    change = (
        update(control_requests)
        .where(column.id == command_id, column.status == WAITING)
        .values(status=TAKEN, taken_at=utc_text(now_ms))
    )
    return store.write(lambda connection: connection.execute(change).rowcount == 1, _PATIENCE_S)


def answer(store: Database, command_id: int, given: CommandResult, now_ms: int) -> None:
    """Write the outcome of a command, in the background."""
    change = (
        update(control_requests)
        .where(control_requests.c.id == command_id)
        .values(
            status=given.status,
            answer=given.words,
            state_before=given.before,
            state_after=given.after,
            finished_at=utc_text(now_ms),
        )
    )
    store.write_later(lambda connection: connection.execute(change))


def last_done(
    store: Database, bot_id: str, actions: tuple[str, ...], target: str | None = None
) -> dict[str, Any] | None:
    """Return the last of these commands that was executed, of any target unless one is given.

    What a person decided must hold over a restart.
    """
    column = control_requests.c
    query = (
        select(control_requests)
        .where(column.bot_id == bot_id, column.status == DONE, column.action.in_(actions))
        .order_by(column.id.desc())
        .limit(1)
    )
    if target is not None:
        query = query.where(column.target == target)
    with store.read() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else dict(row)


def is_overdue(row: Mapping[str, Any], now_ms: int) -> bool:
    """Return whether a command has expired."""
    return instant_of(row["expires_at"]) < now_ms
