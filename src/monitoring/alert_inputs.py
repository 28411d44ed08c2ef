"""Collects the facts that alert rules need from the database and the disk."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, func, select

from src.domain.circuit_breaker import from_events
from src.domain.clock import DAY_MS, instant_of, utc_day, utc_text
from src.domain.errors import StoreCorrupt, StoreUnavailable
from src.domain.orders import Purpose
from src.monitoring.alert_rules import AlertFacts, HeldPosition
from src.monitoring.health import heartbeat_health
from src.storage.database import TradingDatabase
from src.storage.rows import Owner
from src.storage.tables import (
    EVERY,
    bot_status,
    daily_performance,
    login_attempts,
    orders,
    positions,
    signals,
    trades,
)

TRADES: Final = "trading_bot"
_LOGIN_WINDOW_MS: Final = 600_000
_RESTING: Final = frozenset({"stopped", "stopping"})  # stopped properly: no alert
Pair = tuple[str, str]


def gather(
    database: TradingDatabase,
    wall_ms: int,
    folder: Path,
    restarts: Iterable[Pair] = (),
    ends: Iterable[Pair] = (),
) -> AlertFacts:
    """Return all present facts; an unreadable database is one of them.

    Args:
        database: opened to read.
        wall_ms: the machine's time, which heartbeats carry.
        folder: on the disk whose free space counts.
        restarts: services that were restarted repeatedly, with a sentence each.
        ends: processes that ended without having been stopped, likewise.
    """
    disk = free_disk_share(folder)
    try:
        with database.read() as connection:
            beats = _beats(connection)
            bots = [beat for beat in beats if beat["process"] == TRADES]
            return AlertFacts(
                silent=silent_processes(beats, wall_ms),
                positions=[held for beat in bots for held in _positions(connection, beat)],
                halts=[pair for beat in bots for pair in _halts(beat)],
                loss_limits=[pair for beat in bots for pair in _loss_limit(connection, beat, wall_ms)],
                breakers=[pair for beat in bots for pair in _breaker(database, beat, wall_ms)],
                models=[(beat["bot_id"], beat["details"]["model"]) for beat in bots if beat["details"].get("model")],
                restarts=tuple(restarts),
                ends=tuple(ends),
                pairs=[pair for beat in bots for pair in _pair_problems(beat)],
                strategies=[(beat["bot_id"], beat["details"]["strategy"]) for beat in bots if _strategy_failed(beat)],
                failed_logins=_failed_logins(connection, wall_ms),
                free_disk_share=disk,
            )
    except (StoreUnavailable, StoreCorrupt) as error:
        return AlertFacts(restarts=tuple(restarts), ends=tuple(ends), free_disk_share=disk, database_trouble=str(error))


def silent_processes(beats: Iterable[Mapping[str, Any]], wall_ms: int) -> list[Pair]:
    """Return the unresponsive processes: two cycles without a heartbeat, and not stopped properly."""
    silent = []
    for beat in beats:
        health = heartbeat_health(beat, wall_ms)
        if not health.healthy and "unresponsive" in health.reason and beat["phase"] not in _RESTING:
            silent.append((f"{beat['bot_id']}/{beat['process']}", f"{health.reason}."))
    return silent


def read_beats(database: TradingDatabase) -> list[dict[str, Any]]:
    """Return the last heartbeat of every process; raises ``StoreUnavailable`` or ``StoreCorrupt``."""
    with database.read() as connection:
        return _beats(connection)


def read_failed_logins(database: TradingDatabase, wall_ms: int) -> int:
    """Return the wrong and refused log-ins of the last ten minutes; raises ``StoreUnavailable`` or ``StoreCorrupt``."""
    with database.read() as connection:
        return _failed_logins(connection, wall_ms)


def market_ms(beat: Mapping[str, Any], wall_ms: int) -> int:
    """Return the exchange's present time, extrapolated from a heartbeat by at most a day."""
    passed_ms = max(wall_ms - instant_of(beat["beat_at"]), 0) * beat["speed"]
    return instant_of(beat["timestamp"]) + int(min(passed_ms, DAY_MS))


def figures_of_day(database: TradingDatabase, wall_ms: int) -> str:
    """Return one line per bot with the result of its last 24 hours of market time, for the daily digest."""
    try:
        with database.read() as connection:
            return "\n".join(_day_line(connection, beat, wall_ms) for beat in _beats(connection, TRADES))
    except (StoreUnavailable, StoreCorrupt) as error:
        return f"The database cannot be read: {error}"


def free_disk_share(folder: Path) -> float | None:
    """Return the free share of the disk that holds ``folder``, None if it cannot be determined."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free / usage.total if usage.total else None


def _beats(connection: Connection, process: str | None = None) -> list[dict[str, Any]]:
    query = select(bot_status).order_by(bot_status.c.bot_id, bot_status.c.process)
    if process is not None:
        query = query.where(bot_status.c.process == process)
    return [dict(row) for row in connection.execute(query).mappings()]


def _owner(beat: Mapping[str, Any]) -> Owner:
    return Owner(beat["bot_id"], beat["mode"], beat["world"])


def _positions(connection: Connection, beat: Mapping[str, Any]) -> list[HeldPosition]:
    """Return the positions of the bot's account in its present mode; rows of an earlier mode are ignored."""
    guarded = set(
        connection.execute(
            select(orders.c.symbol).where(
                _owner(beat).rows_of(orders), orders.c.finished.is_(False), orders.c.purpose == str(Purpose.STOP)
            )
        ).scalars()
    )
    rows = connection.execute(select(positions).where(_owner(beat).rows_of(positions))).mappings()
    return [
        HeldPosition(
            beat["bot_id"],
            row["symbol"],
            row["side"],
            row["own"],
            row["symbol"] in guarded,
            row["mark_price"],
            row["liquidation_price"],
        )
        for row in rows
    ]


def _halts(beat: Mapping[str, Any]) -> list[Pair]:
    """Return where journal and exchange differ; an exit in progress is not a difference."""
    halts: Mapping[str, str] = beat["details"].get("differences", {})
    return [(f"{beat['bot_id']}/{symbol}", f"{reason}.") for symbol, reason in halts.items() if reason]


def _pair_problems(beat: Mapping[str, Any]) -> list[Pair]:
    """Return why entries of a running bot's pairs are blocked: their settings at the exchange, or their listing."""
    if beat["phase"] in _RESTING:
        return []
    reasons: Mapping[str, str] = beat["details"].get("settings", {})
    return [(f"{beat['bot_id']}/{symbol}", f"{reason}.") for symbol, reason in reasons.items() if reason]


def _strategy_failed(beat: Mapping[str, Any]) -> bool:
    return bool(beat["details"].get("strategy")) and beat["phase"] not in _RESTING


def _loss_limit(connection: Connection, beat: Mapping[str, Any], wall_ms: int) -> list[Pair]:
    day = utc_day(market_ms(beat, wall_ms))
    table = daily_performance
    query = select(table.c.id).where(
        _owner(beat).rows_of(table), table.c.symbol == EVERY, table.c.day == day, table.c.limit_hit.is_(True)
    )
    if connection.execute(query).first() is None:
        return []
    text = f"Bot {beat['bot_id']} reached its loss limit on {day}; no entries until the next UTC day."
    return [(beat["bot_id"], text)]


def _breaker(database: TradingDatabase, beat: Mapping[str, Any], wall_ms: int) -> list[Pair]:
    state = from_events(database.breaker_events(beat["bot_id"], limit=1), market_ms(beat, wall_ms))
    if not state.tripped:
        return []
    command = f" {state.reset_requested_by}  requests a reset." if state.reset_requested_by else ""
    return [
        (beat["bot_id"], f"{state.reason} Tripped by {state.actor}; only a person with the PIN resets it.{command}")
    ]


def _failed_logins(connection: Connection, wall_ms: int) -> int:
    query = (
        select(func.count())
        .select_from(login_attempts)
        .where(login_attempts.c.timestamp >= utc_text(wall_ms - _LOGIN_WINDOW_MS), login_attempts.c.outcome != "right")
    )
    return int(connection.execute(query).scalar_one())


def _day_line(connection: Connection, beat: Mapping[str, Any], wall_ms: int) -> str:
    since = utc_text(market_ms(beat, wall_ms) - DAY_MS)
    owner = _owner(beat)
    turns = connection.execute(
        select(func.count()).select_from(signals).where(owner.rows_of(signals), signals.c.timestamp >= since)
    ).scalar_one()
    count, pnl = connection.execute(
        select(func.count(), func.sum(trades.c.pnl)).where(
            owner.rows_of(trades), trades.c.timestamp >= since, trades.c.status == "closed"
        )
    ).one()
    health = heartbeat_health(beat, wall_ms)
    result = f", {pnl:+.2f} {beat['details'].get('quote_asset', 'USDT')} net" if count else ""
    name = f"{beat['bot_id']} ({beat['mode']}, {beat['world']})"
    return f"{name}: {health.reason}; last 24 h: {turns} turns, {count} trades closed{result}."
