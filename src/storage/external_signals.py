"""Signals of other programs in the database: each written once, read by the bot and by people."""

from typing import Any

from sqlalchemy import Connection, select

from src.domain.clock import instant_of, utc_text
from src.domain.external_signals import ExternalMessage, ExternalSignal
from src.storage.database import TradingDatabase
from src.storage.engine import insert_or
from src.storage.tables import EVERY, external_signals


def add_signal(database: TradingDatabase, source: str, message: ExternalMessage, received_ms: int) -> bool:
    """Write an accepted message; return False where the source sent it before. ``received_ms`` is market time."""
    row = database.owner.columns(message.symbol) | {
        "bot_id": EVERY,
        "timestamp": utc_text(received_ms),
        "source": source,
        "message_key": message.key,
        "direction": message.direction,
        "sent_at": utc_text(message.sent_ms),
        "note": message.note,
    }

    def write(connection: Connection) -> bool:
        statement = insert_or(connection, external_signals).values(row).on_conflict_do_nothing()
        return bool(connection.execute(statement).rowcount)

    return database.write(write)


def signals_since(database: TradingDatabase, since_ms: int, until_ms: int) -> tuple[ExternalSignal, ...]:
    """Return the signals of the owner's mode and world received in that market time, oldest first."""
    column = external_signals.c
    owner = database.owner
    query: Any = (
        select(column.source, column.symbol, column.direction, column.timestamp)
        .where(column.mode == owner.mode, column.world == owner.world)
        .where(column.timestamp >= utc_text(since_ms), column.timestamp <= utc_text(until_ms))
        .order_by(column.timestamp, column.id)
    )
    with database.read() as connection:
        rows = connection.execute(query).all()
    return tuple(
        ExternalSignal(source, symbol, direction, instant_of(received)) for source, symbol, direction, received in rows
    )
