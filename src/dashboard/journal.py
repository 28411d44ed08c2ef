"""The decision journal: every turn, what was seen, and in words why it traded or did not."""

from collections.abc import Mapping
from typing import Any, Final

from src.dashboard.bot_view import BotView
from src.dashboard.widgets import (
    Card,
    Cell,
    Fact,
    Row,
    Table,
    Tile,
    instant,
    number,
    price,
    result,
    side_word,
    word,
    words,
)
from src.reporting.pages import Page, SignalFilter

RECENT: Final = 5
PAGE: Final = 20
FILTERS: Final = {"all": None, "acted": True, "not_acted": False}
_COLUMNS: Final = ("When", "Contract", "Signal", "Agent", "Decision", "Why")


def signals(look: BotView) -> Card:
    """Return what the market said in the last five turns, and above the page what was last decided."""
    title, nothing = "Recent signals", "The bot has not finished a turn yet."
    page = look.reports.signals(SignalFilter(scope=look.scope), limit=RECENT)
    if look.turned_ms is None:
        return Card("signals", title, reason="No bot has reported yet.")
    if not page.rows:
        return Card("signals", title, "empty", look.turned_ms, look.turn_s, reason=nothing)
    rows = tuple(_signal_row(look, row) for row in page.rows)
    columns = ("When", "Contract", "Signal", "Votes", "Price", "RSI")
    table = Table("The last five turns", columns, rows, (3, 4, 5), minor=(3, 5), look="small")
    tile = _decided(page.rows[0])
    return Card("signals", title, "data", look.turned_ms, look.turn_s, tables=(table,), tiles=(tile,))


def _decided(row: Mapping[str, Any]) -> Tile:
    veto = row["veto"] if row["veto"] and not row["acted"] else ""
    return Tile("Last decision", decided(row), words(f"{row['symbol']}, veto: {veto}" if veto else row["symbol"]))


def decided(row: Mapping[str, Any]) -> Cell:
    """Return what a turn came to in one badge: an action, HOLD, or NOT DONE where a veto stood against it."""
    return word("NOT DONE", "warn") if row["veto"] and not row["acted"] else _verdict(row)


def _signal_row(look: BotView, row: Mapping[str, Any]) -> Row:
    cells = (
        instant(row["timestamp"]),
        words(row["symbol"]),
        side_word(row["signal_type"]),
        Cell(f"{row['strength']} of 6", raw=str(row["strength"])),
        price(row["price"], look.tick(row["symbol"])),
        number(row["rsi"], 1),
    )
    return Row(cells, key=f"signal-{row['id']}")


def journal(look: BotView, wanted: str) -> Card:
    """Return the newest page of the journal; ``wanted`` is a name of ``FILTERS``."""
    page = read(look, wanted, None)
    nothing = {
        "all": "The bot has not finished a turn yet.",
        "acted": "No turn has led to an order yet.",
        "not_acted": "No turn was passed over yet.",
    }[wanted]
    return _card(look, "journal", "Decision journal", page, "Decisions, newest first", nothing)


def read(look: BotView, wanted: str, cursor: str | None, limit: int = PAGE) -> Page:
    """Return a page of turns after ``cursor``; ``ValueError`` for a filter or cursor that is none of ours."""
    if wanted not in FILTERS:
        raise ValueError(f"filter must be one of {', '.join(FILTERS)}")
    query = SignalFilter(scope=look.scope, acted=FILTERS[wanted])
    return look.reports.signals(query, limit=limit, cursor=cursor)


def _card(look: BotView, name: str, title: str, page: Page, caption: str, nothing: str) -> Card:
    if look.turned_ms is None:
        return Card(name, title, reason="No bot has reported yet.")
    if not page.rows:
        return Card(name, title, "empty", look.turned_ms, look.turn_s, reason=nothing)
    rows = tuple(turn_row(look, row) for row in page.rows)
    return Card(
        name, title, "data", look.turned_ms, look.turn_s, tables=(Table(caption, _COLUMNS, rows, look="turns"),)
    )


def turn_row(look: BotView, row: Mapping[str, Any]) -> Row:
    """Return one turn: what was decided in the row, all that led to it in the details."""
    cells = (
        instant(row["timestamp"]),
        words(row["symbol"]),
        _with(side_word(row["signal_type"]), f"{row['strength']} of 6"),
        _with(side_word(row["rl_action"]), f"{row['confidence']:.2f}"),
        _verdict(row),
        reason(row),
    )
    return Row(cells, key=f"turn-{row['id']}", details=tuple(_details(look, row)))


def reason(row: Mapping[str, Any]) -> Cell:
    """Return in words what came of a turn, else why it was decided so."""
    return words(row["outcome"] or row["reason"])


def _with(badge: Cell, more: str) -> Cell:
    return Cell(f"{badge.text} {more}", badge.kind, badge.tone, badge.raw)


def _verdict(row: Mapping[str, Any]) -> Cell:
    if row["acted"]:
        return side_word(row["decision"])
    if row["veto"]:
        return word(f"NOT DONE: {row['veto']}", "warn")
    return word(row["decision"].replace("_", " ") if row["decision"] != "HOLD" else "HOLD", "hold")


def _details(look: BotView, row: Mapping[str, Any]) -> list[Fact]:
    tick = look.tick(row["symbol"])
    facts = [
        Fact("In words", words(row["reason"])),
        Fact("What came of it", words(row["outcome"] or ("done" if row["acted"] else "nothing was to be done"))),
        Fact("Order", words(row["client_id"])),
        Fact("Price", price(row["price"], tick)),
        Fact("RSI", number(row["rsi"], 2)),
        Fact("MACD histogram", number(row["macd_histogram"], 2)),
        Fact("VWAP", price(row["vwap"], tick)),
        Fact("Position", _held(row)),
        Fact("Agent tried something", words("yes" if row["explored"] else "no")),
        Fact("Turn took", number(row["cycle_ms"], 1, "ms")),
    ]
    facts += [Fact(f"Vote: {vote['name']}", _vote(vote)) for vote in row["votes"] or []]
    facts += [Fact(f"Gate: {gate['name']}", _gate(gate)) for gate in row["gates"] or []]
    if not row["gates"] and row["position_side"]:
        facts.append(Fact("Gates", words("none: an exit passes every gate")))
    return facts


def _held(row: Mapping[str, Any]) -> Cell:
    if not row["position_side"]:
        return words("flat")
    shown = result(row["pnl_unrealized"])
    return Cell(f"{row['position_side']} {shown.text}", "amount", shown.tone, shown.raw)


def _vote(vote: Mapping[str, Any]) -> Cell:
    name = {1: "BUY", -1: "SELL"}.get(vote["vote"], "no vote")
    tone = {1: "up", -1: "down"}.get(vote["vote"], "")
    return Cell(f"{name}: {vote['because']}", tone=tone, raw=str(vote["vote"]))


def _gate(gate: Mapping[str, Any]) -> Cell:
    passed = bool(gate["passed"])
    return Cell(f"{'passed' if passed else 'FAILED'}: {gate['detail']}", tone="good" if passed else "bad")
