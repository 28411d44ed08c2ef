"""Operations about the bots: heartbeat, balance, positions, circuit breaker, and a summary of all."""

from dataclasses import asdict
from typing import Any

from src.api.context import TRADING, ApiContext, Caller, Params
from src.api.market_operations import CONTEXT
from src.api.serializers import (
    COUNT,
    DAY,
    FLAG,
    INSTANT,
    NUMBER,
    TEXT,
    Json,
    RowShape,
    closed,
    listed,
    nullable,
    number,
    plain,
)
from src.api.trading_operations import PERFORMANCE_SCHEMA, STATS_SCHEMA, performance_json, stats_json
from src.domain.circuit_breaker import BreakerState
from src.domain.clock import DAY_MS, utc_text
from src.monitoring.health import exchange_trouble, heartbeat_health
from src.reporting.pages import Scope
from src.reporting.service import ReportService
from src.storage.tables import account_balance, bot_status, positions

_BEAT = RowShape(bot_status, leave_out=["id", "bot_id", "mode", "world", "symbol"])
_BALANCE = RowShape(account_balance, leave_out=["id", "bot_id", "mode", "world", "symbol"])
_POSITION = RowShape(positions, leave_out=["id", "bot_id", "mode", "world"])
_LATE_S = 5.0  # a fast market's cycle may be late by this much of real time
_MOST_DAYS, _MOST_POINTS = 90, 90

BREAKER_SCHEMA = closed(
    {
        "status": plain({"type": "string", "enum": ["ARMED", "TRIPPED"]}, "TRIPPED stops entries; exits always pass."),
        "reason": TEXT,
        "trigger": TEXT,
        "actor": TEXT,
        "since": INSTANT,
        "version": plain(COUNT, "Grows by one with each event."),
        "reset_requested_by": plain(TEXT, "Empty when nobody asks; only a person with the PIN resets."),
        "reset_requested_at": nullable(INSTANT),
    }
)
_PROCESS_SCHEMA = closed(
    _BEAT.schema["properties"]
    | {
        "well": plain(FLAG, "Whether it has missed fewer than two of its cycles."),
        "condition": plain(TEXT, "The same in words."),
        "age_s": plain(NUMBER, "Since its last sign of life, in real seconds."),
        "cycle_age_s": nullable(NUMBER, "Since its last whole cycle, in the market's seconds."),
        "market_age_s": nullable(NUMBER, "Since its last market data, in the market's seconds."),
        "private_age_s": nullable(NUMBER, "Since the account's last good answer, in the market's seconds."),
        "overdue": FLAG,
    }
)
STATUS_SCHEMA = closed(
    {
        "running": plain(FLAG, "Whether every trading loop here is well."),
        "bots": listed(
            closed(
                {
                    "bot_id": TEXT,
                    "running": FLAG,
                    "processes": listed(_PROCESS_SCHEMA),
                    "circuit_breaker": BREAKER_SCHEMA,
                    "balance": nullable(_BALANCE.schema, "The newest; null before the first."),
                    "positions": listed(_POSITION.schema),
                }
            )
        ),
    }
)
_DAY_SCHEMA = closed({"day": DAY, "pnl": NUMBER, "trades": COUNT})
_COST_SCHEMA = closed(
    {
        "service": TEXT,
        "model": TEXT,
        "calls": COUNT,
        "cached": COUNT,
        "failed": COUNT,
        "input_tokens": COUNT,
        "output_tokens": COUNT,
        "cost_usd": NUMBER,
    }
)
SUMMARY_SCHEMA = closed(
    {
        "hours": nullable(COUNT, "The look back; null is everything."),
        "signals": STATS_SCHEMA,
        "performance": PERFORMANCE_SCHEMA,
        "days": plain(listed(_DAY_SCHEMA), f"Net result of each of the last {_MOST_DAYS} days with trades."),
        "equity": plain(
            listed(closed({"at": TEXT, "equity": NUMBER})), "The curve: turns within a week, else days (UTC)."
        ),
        "open_positions": COUNT,
        "costs": plain(listed(_COST_SCHEMA), "What paid or limited services cost; without hours, in 30 days."),
        "market_context": nullable(CONTEXT.schema),
        "circuit_breakers": listed(closed({"bot_id": TEXT, "circuit_breaker": BREAKER_SCHEMA})),
    }
)


def bot_status_answer(source: ApiContext, asked: Params, _: Caller) -> Json:
    """Return each bot with its processes, breaker, balance and positions."""
    bots = [_bot(source, bot_id) for bot_id in bot_ids(source) if asked.get("bot_id") in (None, bot_id)]
    return {"data": {"running": bool(bots) and all(bot["running"] for bot in bots), "bots": bots}}


def summary(source: ApiContext, asked: Params, _: Caller) -> Json:
    """Return counts, performance, days, equity curve, costs, context and breakers together, all of one instant."""
    hours, now_ms = asked.get("hours"), source.now_ms()
    since_ms = source.since_ms(hours)
    scope = source.scope(asked.get("bot_id"), asked.get("symbol"))
    bots = bot_ids(source)
    is_one = scope.bot_id is not None or len(bots) == 1  # several together: their sum is nobody's equity
    with source.reports.at_one_instant() as reports:
        context = reports.market_context(scope)
        data = {
            "hours": hours,
            "signals": stats_json(reports.signal_stats(scope, since_ms)),
            "performance": performance_json(reports.performance(scope, since_ms)),
            "days": _days(reports, scope, since_ms),
            "equity": _curve(reports, scope, since_ms, now_ms) if is_one else [],
            "open_positions": len(reports.open_positions(scope)),
            "costs": _costs(reports, now_ms - 30 * DAY_MS if since_ms is None else since_ms),
            "market_context": None if context is None else CONTEXT.json(context, {}),
            "circuit_breakers": [
                {"bot_id": bot_id, "circuit_breaker": breaker_json(reports.breaker(bot_id, now_ms))}
                for bot_id in bots
                if scope.bot_id in (None, bot_id)
            ],
        }
    return {"data": data}


def bot_ids(source: ApiContext) -> list[str]:
    """Return the bots of this mode and world, in order; the settings' own one where none has been seen."""
    return sorted({row["bot_id"] for row in source.look().beats}) or [source.owner.bot_id]


def breaker_json(state: BreakerState) -> Json:
    """Return a breaker's state as an answer holds it."""
    row = asdict(state)
    asked_ms = row.pop("reset_requested_ms")
    since_ms = row.pop("since_ms")
    return row | {
        "status": str(state.status),
        "since": utc_text(since_ms),
        "reset_requested_at": utc_text(asked_ms) if state.reset_requested_by else None,
    }


def processes(source: ApiContext) -> list[Json]:
    """Return the processes with their ages, and whether each is well, judged by the machine's clock."""
    wall_ms = source.wall.now_ms()
    mine = (source.owner.mode, source.owner.world)
    rows = [row for row in source.reports.bot_status(wall_ms) if (row["mode"], row["world"]) == mine]
    return [row | _condition(row, wall_ms) for row in rows]


def trading_trouble(found: list[Json]) -> str:
    """Return why the trading loops are not well, or "" where they are."""
    loops = [row for row in found if row["process"] in TRADING]
    if not loops:
        return "no trading bot has been seen in this mode and world"
    return "; ".join(f"{row['bot_id']}: {row['condition']}" for row in loops if not row["well"])


def _condition(row: Json, wall_ms: int) -> Json:
    beat = heartbeat_health(row, wall_ms)
    waited_s = row["cycle_age_s"]
    hung = beat.healthy and row["overdue"] and (waited_s is None or waited_s / row["speed"] > _LATE_S)
    words = f"{beat.reason}: two cycles missed" if hung else beat.reason
    return {"well": beat.healthy and not hung, "condition": words, "unheard": exchange_trouble(row)}


def _bot(source: ApiContext, bot_id: str) -> Json:
    steps, scope = source.look().steps, source.scope(bot_id)
    own = [row for row in processes(source) if row["bot_id"] == bot_id]
    balance = source.reports.balance(scope)
    return {
        "bot_id": bot_id,
        "running": not trading_trouble(own),
        "processes": [_process(row) for row in own],
        "circuit_breaker": breaker_json(source.reports.breaker(bot_id, source.now_ms())),
        "balance": None if balance is None else _BALANCE.json(balance, steps),
        "positions": [_POSITION.json(row, steps) for row in source.reports.open_positions(scope)],
    }


def _process(row: Json) -> Json:
    told = {name: row[name] for name in ("well", "condition", "overdue")}
    ages = {name: number(row[name]) for name in ("age_s", "cycle_age_s", "market_age_s", "private_age_s")}
    return _BEAT.json(row, {}) | told | ages


def _days(reports: ReportService, scope: Scope, since_ms: int | None) -> list[Json]:
    days = reports.daily_pnl(scope, since_ms, _MOST_DAYS)
    return [{"day": row["day"], "pnl": number(row["pnl"]), "trades": int(row["trades"])} for row in days]


def _curve(reports: ReportService, scope: Scope, since_ms: int | None, now_ms: int) -> list[Json]:
    points = reports.equity_curve(scope, since_ms or 0, now_ms, _MOST_POINTS)
    return [{"at": point.moment, "equity": number(point.equity)} for point in points]


def _costs(reports: ReportService, since_ms: int) -> list[dict[str, Any]]:
    rows = reports.api_costs(since_ms)
    counts = ("calls", "cached", "failed", "input_tokens", "output_tokens")
    return [
        {"service": row["service"], "model": row["model"]}
        | {name: int(row[name] or 0) for name in counts}
        | {"cost_usd": number(row["cost_usd"])}
        for row in rows
    ]
