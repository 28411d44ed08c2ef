"""The cards about the bots themselves: status, reconciliation, circuit breaker."""

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from src.dashboard.bot_view import CHARTS, TRADING, BotView
from src.dashboard.states import DataSource
from src.dashboard.widgets import (
    UNKNOWN,
    Card,
    Cell,
    Fact,
    Row,
    Table,
    Tile,
    amount,
    count,
    gone,
    instant,
    side_word,
    word,
    words,
)
from src.domain.circuit_breaker import BreakerState
from src.domain.clock import instant_of, utc_text
from src.domain.orders import OrderStatus, Purpose
from src.reporting.pages import OrderFilter, TradeFilter

_UNSURE: Final = frozenset({OrderStatus.UNKNOWN, OrderStatus.PLANNED})
_MARKET: Final = frozenset({Purpose.ENTRY, Purpose.EXIT})
_FILES: Final = {TRADING: "trading_bot", CHARTS: "chart_analysis_bot"}


def status(look: BotView) -> Card:
    """Return how the trading bot and the chart bot are, a light for each thing that can fail by itself."""
    title, beat = "Bot status", look.beat()
    if beat is None:
        return Card("status", title, reason=f"Bot {look.bot_id} has never reported to this database.")
    sources = look.sources
    facts = (
        Fact("RL bot", _light(sources["bot"], look.wall_ms)),
        Fact("Chart bot", _light(sources["charts"], look.wall_ms)),
        Fact("Trading loop", Cell(f"{beat['phase']}, turn {beat['cycle_no']:,}", raw=str(beat["cycle_no"]))),
        Fact("Heartbeat", gone(instant_of(beat["beat_at"]))),
        Fact("Process", _process(beat)),
        Fact("Last market data", _exchange_age(look, beat["last_market"], 60.0)),
        Fact("Last account answer", _exchange_age(look, beat["last_private"], look.limits.account_s)),
        Fact("Last chart analysis", _analysis_age(look)),
        Fact("Running for", gone(look.wall_of(beat["started_at"]), "since")),
        Fact("Exchange clock", _clock(look, beat)),
        Fact("Version", words(beat["version"])),
        Fact("Settings", words(beat["config_hash"])),
        Fact("Trouble", words(beat["last_error"]) if beat["last_error"] else word("none", "good")),
    )
    tile = Tile("Bot", facts[0].cell, facts[2].cell)
    outlook = look.details.get("agent")
    notes = (*(look.details.get("cautions") or ()), *((str(outlook),) if outlook else ()))
    return Card("status", title, "data", look.turned_ms, look.turn_s, facts=facts, tiles=(tile,), notes=notes)


def _light(source: DataSource, now_ms: int) -> Cell:
    if source.beat_ms is None:
        return word("NEVER SEEN", "warn")
    if source.phase in ("stopped", "stopping"):
        return word(source.phase.upper(), "bad")
    return word("DOWN", "bad") if source.is_down(now_ms) else word("RUNNING", "good")


def _exchange_age(look: BotView, moment: str | None, most_s: float) -> Cell:
    if not moment:
        return UNKNOWN
    late = look.now - instant_of(moment) > most_s * 1000
    return gone(look.wall_of(moment), tone="warn" if late else "")


def _analysis_age(look: BotView) -> Cell:
    row = look.reports.chart_analysis(look.scope)
    return UNKNOWN if row is None else gone(look.wall_of(row["timestamp"], CHARTS))


def _process(beat: Mapping[str, Any]) -> Cell:
    """Whether the process is there, where it runs on this machine; a process of another machine cannot be seen."""
    pid = int(beat["pid"])
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return Cell(f"{pid} is not on this machine", raw=str(pid), tone="warn")
    if _FILES[TRADING] not in command:
        return Cell(f"{pid} is another program now", raw=str(pid), tone="warn")
    own = " (this one)" if pid == os.getpid() else ""
    return Cell(f"{pid} runs{own}", raw=str(pid), tone="good")


def _clock(look: BotView, beat: Mapping[str, Any]) -> Cell:
    if beat["speed"] != 1:
        return Cell(f"{beat['speed']:g} times as fast", raw=str(beat["speed"]))
    ahead_s = (instant_of(beat["timestamp"]) - instant_of(beat["beat_at"])) / 1000
    return Cell(f"{ahead_s:+.1f} s to this machine's".replace("-", "\N{MINUS SIGN}"), raw=str(ahead_s))


def reconciliation(look: BotView) -> Card:
    """Return whether exchange and journal agree, position by position."""
    title = "Reconciliation"
    last = look.reports.balance(look.scope)
    if last is None or look.turned_ms is None:
        return Card("reconciliation", title, reason="The account has not been compared yet.")
    held = {row["symbol"]: row for row in look.reports.open_positions(look.scope)}
    meant = {row["symbol"]: row for row in look.reports.trades(TradeFilter(scope=look.scope, status="open")).rows}
    rows = tuple(_comparison(symbol, held.get(symbol), meant.get(symbol)) for symbol in sorted(held | meant))
    open_orders = look.reports.orders(OrderFilter(scope=look.scope, finished=False)).rows
    unsure = [row for row in open_orders if row["status"] in _UNSURE and row["purpose"] in _MARKET]
    halts = [f"{symbol}: {why}" for symbol, why in sorted((look.details.get("halts") or {}).items()) if why]
    said = [f"{symbol}: {why}" for symbol, why in sorted((look.details.get("differences") or {}).items()) if why]
    agree = all(row.cells[-1].text == "agree" for row in rows) and not unsure and not said
    facts = (
        Fact("Exchange and journal", word("AGREE", "good") if agree else word("DIFFER", "bad")),
        Fact("Orders of unknown outcome", count(len(unsure))),
        Fact("Orders at the exchange", count(sum(1 for row in open_orders if row["status"] not in _UNSURE))),
        Fact("Account confirmed", instant(last["timestamp"])),
        Fact("Exchange's wallet", amount(last["wallet_balance"])),
    )
    table = Table("Positions compared", ("Contract", "Exchange", "Journal", "Verdict"), rows, look="small")
    notes = tuple([f"The bot found {each}." for each in said] + [f"Entries are halted: {halt}." for halt in halts])
    return Card("reconciliation", title, "data", look.turned_ms, look.turn_s, facts=facts,
                tables=(table,) if rows else (), notes=notes)  # fmt: skip


def _comparison(symbol: str, held: Mapping[str, Any] | None, meant: Mapping[str, Any] | None) -> Row:
    sizes = [Decimal(row["quantity"]) if row else Decimal(0) for row in (held, meant)]
    sides = [row["side"] if row else "flat" for row in (held, meant)]
    same = sizes[0] == sizes[1] and sides[0] == sides[1]
    verdict = Cell("agree", tone="good") if same else Cell("differ", tone="bad")
    pairs = zip(sides, sizes, strict=True)
    shown = [Cell(f"{side} {size:f}" if size else "flat", "amount", raw=f"{size:f}") for side, size in pairs]
    return Row((words(symbol), *shown, verdict), key=f"compare-{symbol}")


def breaker(look: BotView) -> Card:
    """Return whether the circuit breaker lets entries pass, and what it did."""
    title = "Circuit breaker"
    if look.turned_ms is None:
        return Card("breaker", title, reason="No bot has reported yet.")
    state: BreakerState = look.reports.breaker(look.bot_id, look.now)
    asked = f"asked for by {state.reset_requested_by}" if state.reset_requested_by else "nobody asked"
    pause = look.details.get("pause") or ""
    entries = word("PAUSED", "warn", pause) if pause else word("allowed" if not state.tripped else "vetoed")
    facts = (
        Fact("Breaker", word("TRIPPED", "bad") if state.tripped else word("ARMED", "good")),
        Fact("Why", words(state.reason)),
        Fact("Since", instant(utc_text(state.since_ms))),
        Fact("By", words(state.actor)),
        Fact("Reset", words(asked)),
        Fact("Entries", entries),
        Fact("Rules", _rules(look)),
    )
    wanted = (look.bot_id, "*")
    events = [row for row in look.reports.breaker_history(20) if row["bot_id"] in wanted][:5]
    rows = tuple(
        Row((instant(row["timestamp"]), side_or_word(row["status"]), words(row["actor"]), words(row["reason"])),
            key=f"event-{row['id']}")
        for row in events
    )  # fmt: skip
    table = Table("Last events", ("When", "Status", "By", "Why"), rows, folded=True, look="small")
    tile = Tile("Circuit breaker", facts[0].cell, Cell(f"entries {entries.text}", tone=entries.tone, raw=entries.raw))
    return Card("breaker", title, "data", look.turned_ms, look.turn_s, facts=facts, tables=(table,) if rows else (),
                tiles=(tile,))  # fmt: skip


def _rules(look: BotView) -> Cell:
    """Return the set in force, and what of it the settings change."""
    name, changes = look.details.get("rules"), look.details.get("rules_changed") or ()
    return words(name and ", ".join((name, *changes)))


def side_or_word(text: str) -> Cell:
    """Return ARMED and TRIPPED as badges, sides with their arrow."""
    tone = {"ARMED": "good", "TRIPPED": "bad"}.get(text)
    return word(text, tone) if tone else side_word(text)
