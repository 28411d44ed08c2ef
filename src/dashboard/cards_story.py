"""One trade from signal to exit, on one line of time, with its costs, notes and what followed."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import select

from src.dashboard.bot_view import BotView
from src.dashboard.exit_reasons import exit_words
from src.dashboard.journal import candles_of, failed_gates, votes_of
from src.dashboard.states import age_words
from src.dashboard.widgets import (
    UNKNOWN,
    Card,
    Cell,
    Fact,
    Row,
    Table,
    amount,
    instant,
    percent,
    price,
    quantity,
    result,
    share,
    side_word,
    words,
)
from src.domain.clock import instant_of, utc_text
from src.storage.tables import candles, orders
from src.storage.trade_notes import note_query

_AROUND_MS: Final = 600_000
_MOST_ORDERS: Final = 100
_AFTER: Final = ((3_600_000, "1 h after the exit"), (86_400_000, "24 h after the exit"))
_STATES: Final = {
    "NEW": "placed", "FILLED": "filled", "CANCELED": "cancelled", "EXPIRED": "expired", "REJECTED": "rejected",
    "PARTIALLY_FILLED": "partly filled", "UNKNOWN": "outcome unknown", "PLANNED": "planned", "TRIGGERING": "triggered",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Event:
    moment: str
    what: Cell
    details: str
    key: str


def story(look: BotView) -> Card:
    """Return the trade that the page names; unknown where this bot has none of that number."""
    title = "Trade"
    trade = look.reports.trade(look.query.trade) if look.query.trade else None
    if trade is None or trade["bot_id"] != look.bot_id:
        return Card("story", title, source="", reason=f"Bot {look.bot_id} has no trade of this number.")
    title = f"Trade {trade['id']}: {trade['side'].lower()} {trade['symbol']}"
    events = sorted(_events(look, trade), key=lambda event: event.moment)
    rows = tuple(Row((instant(each.moment), each.what, words(each.details)), key=each.key) for each in events)
    table = Table("From signal to exit", ("When", "What", "Details"), rows)
    tables = (table, *_gates(trade))
    ended = trade["status"] == "closed"
    seen = look.wall_of(trade["exit_time"]) if ended else look.turned_ms
    age_s = 100 * 365 * 86_400.0 if ended else look.turn_s  # a closed trade does not change any more
    return Card("story", title, "data", seen, age_s, "" if ended else "bot", facts=_facts(look, trade), tables=tables,
                notes=_notes(look, trade))  # fmt: skip


def _facts(look: BotView, trade: Mapping[str, Any]) -> tuple[Fact, ...]:
    tick, step = look.tick(trade["symbol"]), look.step(trade["symbol"])
    ended = trade["exit_time"]
    held = Cell(age_words((instant_of(ended) - instant_of(trade["entry_time"])) / 1000)) if ended else words("open")
    facts = [
        Fact("Side", side_word(trade["side"])),
        Fact("Net PnL", result(trade["pnl"])),
        Fact("Of margin", percent(trade["pnl_percent"], of="the margin at entry")),
        Fact("Gross", result(trade["gross_pnl"])),
        Fact("Fees", amount(trade["fees"])),
        Fact("Funding", result(trade["funding"])),
        Fact("Size", quantity(trade["quantity"], step)),
        Fact("Leverage", Cell(f"{trade['leverage']}\N{MULTIPLICATION SIGN}", raw=str(trade["leverage"]))),
        Fact("Entry", price(trade["entry_price"], tick)),
        Fact("Exit", price(trade["exit_price"], tick)),
        Fact("Stop", price(trade["stop_price"], tick)),
        Fact("Target", price(trade["target_price"], tick)),
        Fact("Held for", held),
        Fact("Reason of exit", words(exit_words(trade["exit_reason"]))),
    ]
    return (*facts, *_after(look, trade))


def _after(look: BotView, trade: Mapping[str, Any]) -> list[Fact]:
    """What the price did after the exit, as far as candles are still stored."""
    if not trade["exit_time"] or not trade["exit_price"]:
        return []
    sign = 1 if trade["side"] == "LONG" else -1
    facts = []
    for later_ms, label in _AFTER:
        close = _close_at(look, str(trade["symbol"]), instant_of(trade["exit_time"]) + later_ms)
        moved = (
            UNKNOWN if close is None else share((Decimal(str(close)) / trade["exit_price"] - 1) * sign, 2, True, True)
        )
        facts.append(Fact(label, moved))
    return facts


def _close_at(look: BotView, symbol: str, moment_ms: int) -> float | None:
    column = candles.c
    query = (
        select(column.close)
        .where(*look.scope.account.conditions(candles), column.symbol == symbol)
        .where(column.open_ms <= moment_ms - 60_000, column.open_ms > moment_ms - 180_000)
        .order_by(column.open_ms.desc())
        .limit(1)
    )
    rows = look.reports.rows(query)
    return float(rows[0]["close"]) if rows else None


def _events(look: BotView, trade: Mapping[str, Any]) -> list[_Event]:
    events = [_Event(trade["entry_time"], Cell("Position opened", tone="good"), _opened(look, trade), "opened")]
    signal = trade["signal"]
    if signal is not None:
        said = f"{signal['signal_type']}, {votes_of(signal).text} votes on {candles_of(signal).text} candles; agent "
        said += f"{signal['rl_action']} with confidence {signal['confidence']:.2f}. {signal['reason']}"
        events.append(_Event(signal["timestamp"], Cell("Signal and decision"), said, "signal"))
    if trade["exit_time"]:
        told = f"at {price(trade['exit_price'], look.tick(trade['symbol'])).text}: {exit_words(trade['exit_reason'])}"
        events.append(_Event(trade["exit_time"], Cell("Position closed", tone="warn"), told, "closed"))
    return events + [event for row in _orders(look, trade) for event in _order_events(look, row)]


def _opened(look: BotView, trade: Mapping[str, Any]) -> str:
    tick, step = look.tick(trade["symbol"]), look.step(trade["symbol"])
    return f"{quantity(trade['quantity'], step).text} {trade['symbol']} at {price(trade['entry_price'], tick).text}"


def _orders(look: BotView, trade: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All orders of the pair while the trade was open: its stops and targets as they were moved, too."""
    first = utc_text(instant_of(trade["entry_time"]) - _AROUND_MS)
    ended = trade["exit_time"] or utc_text(look.now)
    last = utc_text(instant_of(ended) + _AROUND_MS)
    own = orders.c
    query = (
        select(orders)
        .where(*look.scope.account.conditions(orders), own.symbol == trade["symbol"])
        .where(own.timestamp >= first, own.timestamp <= last)
        .order_by(own.timestamp, own.id)
        .limit(_MOST_ORDERS)
    )
    return look.reports.rows(query)


def _order_events(look: BotView, row: Mapping[str, Any]) -> list[_Event]:
    tick = look.tick(row["symbol"])
    trigger = f" at {price(row['trigger_price'], tick).text}" if row["trigger_price"] else ""
    name = str(row["purpose"]).capitalize()
    sent = f"{row['side']} {str(row['kind']).replace('_', ' ').lower()}{trigger}. {row['reason']}".strip()
    events = [_Event(row["sent_at"] or row["timestamp"], Cell(f"{name} order sent"), sent, f"sent-{row['id']}")]
    if row["finished"]:
        paid = f" at {price(row['average_price'], tick).text}" if row["average_price"] else ""
        fee = f", fee {amount(row['fees'], 'USDT', 4).text}" if row["fees"] else ""
        said = f"{name} order {_STATES.get(row['status'], row['status'].lower())}"
        events.append(_Event(row["updated_at"], Cell(said), f"{row['refusal']}{paid}{fee}".strip(), f"end-{row['id']}"))
    return events


def _gates(trade: Mapping[str, Any]) -> tuple[Table, ...]:
    signal = trade["signal"]
    if signal is None or not signal["gates"]:
        return ()
    failed = {gate["name"] for gate in failed_gates(signal)}
    rows = tuple(
        Row((words(gate["name"]), Cell("FAILED" if gate["name"] in failed else "passed"), words(gate["detail"])),
            key=f"gate-{gate['name']}")
        for gate in signal["gates"]
    )  # fmt: skip
    return (Table("Checks before the entry", ("Gate", "Result", "Details"), rows, folded=True),)


def _notes(look: BotView, trade: Mapping[str, Any]) -> tuple[str, ...]:
    found = look.reports.rows(note_query(trade["id"]))
    if not found:
        return ()
    tags = " ".join(f"#{tag}" for tag in found[0]["tags"])
    return tuple(
        filter(None, (f"Note: {found[0]['note']}" if found[0]["note"] else "", f"Tags: {tags}" if tags else ""))
    )
