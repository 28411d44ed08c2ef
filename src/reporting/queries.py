"""Frequent queries about the bots' state, composed once.

Composing one takes longer than running it.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Select, Table, bindparam, case, func, select

from src.domain.clock import instant_of
from src.reporting.aggregates import symbol_days
from src.reporting.pages import Scope
from src.storage.tables import (
    EVERY,
    api_usage,
    bot_status,
    chart_analyses,
    circuit_breaker_events,
    daily_performance,
    positions,
)

_MISSED_CYCLES = 2
_KEPT = 64  # questions of a kind

BEATS: Final = select(bot_status).order_by(bot_status.c.bot_id, bot_status.c.process)
LAST_EVENT: Final = (
    select(circuit_breaker_events)
    .where(circuit_breaker_events.c.bot_id.in_((bindparam("bot_id"), EVERY)))
    .order_by(circuit_breaker_events.c.version.desc())
    .limit(1)
)
COSTS: Final = (
    select(
        api_usage.c.service,
        api_usage.c.model,
        func.count().label("calls"),
        func.sum(case((api_usage.c.cached, 1), else_=0)).label("cached"),
        func.sum(case((api_usage.c.outcome == "ok", 0), else_=1)).label("failed"),
        func.sum(api_usage.c.input_tokens).label("input_tokens"),
        func.sum(api_usage.c.output_tokens).label("output_tokens"),
        func.sum(api_usage.c.cost_usd).label("cost_usd"),
    )
    .where(api_usage.c.timestamp >= bindparam("since"), api_usage.c.timestamp < bindparam("until"))
    .group_by(api_usage.c.service, api_usage.c.model)
    .order_by(api_usage.c.service, api_usage.c.model)
)


def newest_first(query: Select[Any], table: Table) -> Select[Any]:
    """Return the query in the order of time, backwards."""
    return query.order_by(table.c.timestamp.desc(), table.c.id.desc())


@lru_cache(_KEPT)
def newest(table: Table, scope: Scope) -> Select[Any]:
    """Return the query for the newest row of the scope."""
    return newest_first(select(table).where(*scope.conditions(table)), table).limit(1)


@lru_cache(_KEPT)
def newest_good_chart(scope: Scope) -> Select[Any]:
    """Return the query for the newest successful chart analysis."""
    return newest(chart_analyses, scope).where(chart_analyses.c.status == "ok")


@lru_cache(_KEPT)
def positions_of(scope: Scope) -> Select[Any]:
    """Return the query for the scope's positions."""
    return select(positions).where(*scope.conditions(positions)).order_by(positions.c.symbol)


@lru_cache(_KEPT)
def results_of_days(scope: Scope, most: int | None) -> Select[Any]:
    """Return the query for the days with trades from ``since`` on, newest first: day, net result, number."""
    day, column = daily_performance.c.day, daily_performance.c
    return (
        select(day, func.sum(column.realized_pnl).label("pnl"), func.sum(column.trades).label("trades"))
        .where(*symbol_days(scope), column.trades > 0, day >= bindparam("since"))
        .group_by(day)
        .order_by(day.desc())
        .limit(most)
    )


def heartbeat_ages(row: Mapping[str, Any], wall_ms: int) -> dict[str, Any]:
    """Return how old a heartbeat and what it reports are, in seconds, and whether the next cycle is overdue."""
    age_s = (wall_ms - instant_of(row["beat_at"])) / 1000
    now_ms = instant_of(row["timestamp"]) + age_s * 1000 * row["speed"]

    def since(moment: str | None) -> float | None:
        return None if moment is None else (now_ms - instant_of(moment)) / 1000

    cycle_age_s = since(row["cycle_finished"])
    waited_s = since(row["started_at"]) if cycle_age_s is None else cycle_age_s
    return {
        "age_s": age_s,
        "cycle_age_s": cycle_age_s,
        "market_age_s": since(row["last_market"]),
        "private_age_s": since(row["last_private"]),
        "overdue": waited_s is None or waited_s > _MISSED_CYCLES * row["interval_s"],
    }
