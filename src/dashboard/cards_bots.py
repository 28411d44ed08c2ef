"""All bots of the database in one table, each in its own state; there is none where one bot is alone.

A row is judged by its own bot's last turn and last beat, the card by the liveliest of them: one bot that fell silent
must neither look alive among the others nor make them look old.
"""

from collections.abc import Mapping
from typing import Any

from src.dashboard.bot_view import BotView
from src.dashboard.cards_account import gained_today
from src.dashboard.journal import decided, reason
from src.dashboard.states import ENDED, DataSource
from src.dashboard.widgets import UNKNOWN, Card, Cell, Row, RowFreshness, Table, amount, gone, result, word, words
from src.reporting.pages import SignalFilter

_COLUMNS = ("Bot", "State", "Last turn", "World", "Positions", "Equity, USDT", "Today, USDT", "Breaker",
            "Last decision", "Why")  # fmt: skip


def bots(look: BotView) -> Card:
    """Return the card of all bots, unknown where none ever reported."""
    rows = tuple(_row(each) for each in look.bots)
    if not rows:
        return Card("bots", "All bots", reason="No bot has reported yet.")
    newest = max(look.bots, key=lambda each: each.turned_ms or 0)
    table = Table("A row for each bot, judged by its own last turn", _COLUMNS, rows, (5, 6), look="fleet")
    return Card("bots", "All bots", "data", newest.turned_ms, newest.turn_s, "bots", tables=(table,))


def bot_sources(look: BotView) -> dict[str, DataSource]:
    """Return each bot as the source of its row, and ``bots``, the liveliest, as the source of the whole card."""
    found = [each.sources["bot"] for each in look.bots]
    if not found:
        return {}
    lively = max(found, key=lambda each: (each.phase not in ENDED, each.beat_ms or 0))
    return {"bots": lively} | {row_source(each): each.sources["bot"] for each in look.bots}


def row_source(look: BotView) -> str:
    """Return the name under which a bot is the source of its row."""
    return f"bot {look.bot_id}"


def _row(look: BotView) -> Row:
    phase = look.sources["bot"].phase
    money = look.reports.balance(look.scope)
    turn = next(iter(look.reports.signals(SignalFilter(scope=look.scope), limit=1).rows), None)
    cells = (
        Cell(look.bot_id, "bot", raw=look.bot_id),
        Cell(phase.upper() if phase in ENDED else "RUNNING", "life"),
        gone(look.turned_ms),
        words(", ".join(dict.fromkeys(each for each in (look.scope.mode, look.scope.world) if each))),
        UNKNOWN if money is None else _positions(look),
        UNKNOWN if money is None else amount(money["equity"], ""),
        UNKNOWN if money is None else result(gained_today(look, money)[0], ""),
        _breaker(look),
        UNKNOWN if turn is None else _decision(turn),
        UNKNOWN if turn is None else reason(turn),
    )
    return Row(cells, key=f"bot-{look.bot_id}", life=RowFreshness(row_source(look), look.turned_ms, look.turn_s))


def _positions(look: BotView) -> Cell:
    """How many positions are open, and whether each has its stop at the exchange."""
    held = look.reports.open_positions(look.scope)
    if not held:
        return words("flat")
    bare = [row["symbol"] for row in held if row["stop_price"] is None]
    if bare:
        return Cell(f"{len(held)} open, {len(bare)} WITHOUT STOP", tone="bad", raw=str(len(held)), title=" ".join(bare))
    return Cell(f"{len(held)} open, with stop", raw=str(len(held)), title=" ".join(row["symbol"] for row in held))


def _breaker(look: BotView) -> Cell:
    state = look.reports.breaker(look.bot_id, look.now)
    if state.tripped:
        return word("TRIPPED", "bad", state.reason)
    pause = look.details.get("pause") or ""
    return word("ARMED, entries PAUSED", "warn", pause) if pause else word("ARMED", "good")


def _decision(turn: Mapping[str, Any]) -> Cell:
    shown = decided(turn)
    return Cell(f"{turn['symbol']} {shown.text}", shown.kind, shown.tone, shown.raw, shown.title)
