"""The latest chart analysis of each pair, as text for the market context.

Deliberately text, for people, dashboard and agents: no rule can compute with it, so a model's opinion never places an
order.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import select

from src.domain.clock import Clock, instant_of, utc_text
from src.domain.errors import StoreUnavailable
from src.domain.market import INTERVAL_MS
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.tables import chart_analyses

Evidence = tuple[tuple[str, str], ...]


def chart_evidence(database: TradingDatabase, pairs: Sequence[str], now_ms: int, max_age_ms: int) -> Evidence:
    """Return (symbol, text) for each pair with a fresh analysis; nothing if the database is unavailable."""
    owner, column = database.owner, chart_analyses.c
    query = (
        select(chart_analyses)
        .where(column.bot_id == owner.bot_id, column.mode == owner.mode, column.world == owner.world)
        .where(column.status == "ok", column.symbol.in_(pairs))
        .where(column.timestamp > utc_text(now_ms - max_age_ms), column.timestamp <= utc_text(now_ms))
        .order_by(column.timestamp, column.id)
    )
    try:
        with database.read() as connection:
            newest = {row["symbol"]: row for row in connection.execute(query).mappings()}
    except StoreUnavailable:
        return ()
    return tuple(
        (
            symbol,
            f"{row['recommendation']}, confidence {row['confidence']}, {row['trend']}, {row['overall_score']:g} of 10, "
            f"by {row['model'] or 'rules'}, {(now_ms - instant_of(row['timestamp'])) // 60_000} min old",
        )
        for symbol, row in sorted(newest.items())
    )


def evidence_reader(database: TradingDatabase, settings: Settings, clock: Clock) -> Callable[[], Evidence]:
    """Return what reads the evidence of the settings' pairs; an analysis is fresh until the next one is overdue."""
    cycle_ms = settings.chart_interval_minutes * 60_000
    max_age_ms = 4 * INTERVAL_MS[settings.chart_candle_interval] + 2 * cycle_ms
    return lambda: chart_evidence(database, settings.pairs, clock.now_ms(), max_age_ms)
