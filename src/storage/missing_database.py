"""Trips every bot's circuit breaker in a new database that replaced an earlier one, until a person has checked."""

from sqlalchemy import Connection, func, insert, select

from src.domain.circuit_breaker import BreakerState, BreakerStatus, as_row
from src.domain.clock import utc_text
from src.storage.rows import Owner
from src.storage.tables import EVERY, circuit_breaker_events


def declare_missing(connection: Connection, now_ms: int) -> None:
    """Trip every bot's circuit breaker, as the newest of its events."""
    newest = connection.execute(select(func.max(circuit_breaker_events.c.version))).scalar() or 0
    state = BreakerState(
        BreakerStatus.TRIPPED,
        "The database is new although there was one before: restore a backup (./scripts/restore.sh), or compare "
        "positions and orders with the exchange and reset.",
        "database_missing",
        now_ms,
        "system",
        newest + 1,
    )
    row = Owner(bot_id=EVERY).columns(EVERY) | as_row(state) | {"timestamp": utc_text(now_ms)}
    connection.execute(insert(circuit_breaker_events), row)
