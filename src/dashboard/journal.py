"""The decision journal: every turn, what was seen, and in words why it traded or did not."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from src.dashboard.bot_view import BotView
from src.dashboard.page_query import JOURNAL_FILTERS, PageQuery
from src.dashboard.widgets import (
    Card,
    Cell,
    Fact,
    Row,
    Table,
    Tile,
    count,
    instant,
    number,
    price,
    result,
    side_word,
    word,
    words,
)
from src.domain.clock import utc_text
from src.reporting.pages import Page, SignalFilter

RECENT: Final = 5
PAGE: Final = 20
FUNNEL_TURNS: Final = 500
FOLDED: Final = 25
SEARCHED_DAYS: Final = 30
"""How far back text and gates are searched: there is no index for either."""
FILTERS: Final = JOURNAL_FILTERS
SAFETY: Final = ("breaker", "halt", "daily_loss", "stopping", "candle", "mark", "account", "exposure", "quantity")
"""The gates that protect the account, the gravest first: data that are too old come before sizes."""
GRAVITY: Final = (*SAFETY, "signal", "agent", "confidence")
_COLUMNS: Final = ("When", "Contract", "Candles", "Signal", "Agent", "Decision", "Why")


def signals(look: BotView) -> Card:
    """Return what the market said in the last five turns, and above the page what was last decided."""
    title, nothing = "Recent signals", "The bot has not finished a turn yet."
    page = look.reports.signals(SignalFilter(scope=look.scope), limit=RECENT)
    if look.turned_ms is None:
        return Card("signals", title, reason="No bot has reported yet.")
    if not page.rows:
        return Card("signals", title, "empty", look.turned_ms, look.turn_s, reason=nothing)
    rows = tuple(_signal_row(look, row) for row in page.rows)
    columns = ("When", "Contract", "Signal", "Votes", "Price", "RSI", "Candles")
    table = Table("The last five turns", columns, rows, (3, 4, 5), minor=(3, 5, 6), look="small")
    tile = _decided(_same_pair(look, page.rows))
    return Card("signals", title, "data", look.turned_ms, look.turn_s, tables=(table,), tiles=(tile,))


def _same_pair(look: BotView, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The newest turn of the pair whose price stands in the tile of the market: the first by name."""
    first = min((str(symbol) for symbol in look.details.get("cycle_ms") or {}), default="")
    own = next((row for row in rows if row["symbol"] == first), None)
    if own is None and first:
        query = SignalFilter(scope=replace(look.scope, symbol=first))
        own = next(iter(look.reports.signals(query, limit=1).rows), None)
    return own or rows[0]


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
        votes_of(row),
        price(row["price"], look.tick(row["symbol"])),
        number(row["rsi"], 1),
        candles_of(row),
    )
    return Row(cells, key=f"signal-{row['id']}")


def journal(look: BotView) -> Card:
    """Return the newest page of the journal under the filters of the page."""
    page = read(look, look.query, None)
    nothing = {
        "all": "The bot has not finished a turn yet.",
        "acted": "No turn has led to an order yet.",
        "not_acted": "No turn was passed over yet.",
    }[look.query.journal]
    if look.query.text or look.query.gate or look.query.pair:
        nothing = "No decision matches these filters."
    return _card(look, "journal", "Decision journal", page, "Decisions, newest first", nothing)


def read(look: BotView, query: PageQuery, cursor: str | None, limit: int = PAGE) -> Page:
    """Return a page of turns after ``cursor`` under the filters of ``query``; ``ValueError`` for a bad cursor."""
    scope = replace(look.scope, symbol=query.pair or None)
    searched = bool(query.text or query.gate)
    wanted = SignalFilter(
        scope=scope, acted=FILTERS[query.journal], text=query.text or None, failed_gate=query.gate or None,
        start=utc_text(look.since(SEARCHED_DAYS)) if searched else None,
    )  # fmt: skip
    return look.reports.signals(wanted, limit=limit, cursor=cursor)


def funnel(look: BotView) -> Card:
    """Return how many of the last turns stopped at which gate, and equal turns folded into one line."""
    title = "Why no trade"
    if look.turned_ms is None:
        return Card("funnel", title, reason="No bot has reported yet.")
    scope = replace(look.scope, symbol=look.query.pair or None)
    rows = look.reports.signals(SignalFilter(scope=scope), limit=FUNNEL_TURNS).rows
    if not rows:
        return Card(
            "funnel", title, "empty", look.turned_ms, look.turn_s, reason="The bot has not finished a turn yet."
        )
    facts = (
        Fact("Turns looked at", Cell(f"{len(rows):,}", raw=str(len(rows)))),
        Fact("Since", instant(rows[-1]["timestamp"])),
        Fact("Led to an order", Cell(str(sum(bool(row["acted"]) for row in rows)))),
        Fact("In a position", Cell(str(sum(bool(row["position_side"]) for row in rows)))),
    )
    tables = (_gates_table(rows), _folded_table(rows))
    return Card("funnel", title, "data", look.turned_ms, look.turn_s, facts=facts, tables=tables)


def _gates_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Turns while flat, by the gravest gate that each failed."""
    first = Counter(gates[0]["name"] for row in rows if not row["acted"] and (gates := failed_gates(row)))
    anywhere = Counter(gate["name"] for row in rows for gate in failed_gates(row))
    names = sorted(anywhere, key=lambda name: (-first[name], -anywhere[name], name))
    body = tuple(
        Row((words(name.replace("_", " ")), count(first[name]), count(anywhere[name])), key=f"gate-{name}")
        for name in names
    )
    return Table("Stopped at a gate", ("Gate", "Gravest", "Failed at all"), body, (1, 2), look="small")


def _folded_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Turns in order, equal neighbours folded into one line."""
    runs: list[list[Mapping[str, Any]]] = []
    for row in rows:
        if runs and _same_turn(runs[-1][-1], row):
            runs[-1].append(row)
        else:
            runs.append([row])
    body = tuple(
        Row(
            (instant(run[-1]["timestamp"]), instant(run[0]["timestamp"]), words(run[0]["symbol"]), count(len(run)),
             decided(run[0]), reason(run[0])),
            key=f"run-{run[0]['id']}",
        )
        for run in runs[:FOLDED]
    )  # fmt: skip
    return Table("Equal turns in one line", ("From", "To", "Contract", "Turns", "Decision", "Why"), body, (3,))


def _same_turn(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    same = ("symbol", "decision", "veto", "acted", "position_side", "signal_type")
    gates = [[gate["name"] for gate in failed_gates(row)] for row in (one, other)]
    return gates[0] == gates[1] and all(one[name] == other[name] for name in same)


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
        candles_of(row),
        _with(side_word(row["signal_type"]), votes_of(row).text),
        _with(side_word(row["rl_action"]), f"{row['confidence']:.2f}"),
        _verdict(row),
        reason(row),
    )
    return Row(cells, key=f"turn-{row['id']}", details=tuple(_details(look, row)))


def reason(row: Mapping[str, Any]) -> Cell:
    """Return in words what came of a turn, else the gravest reason why it was decided so."""
    return words(row["outcome"] or grave_reason(row))


def failed_gates(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the gates that a turn failed, the gravest first."""
    failed = [gate for gate in row["gates"] or [] if not gate["passed"]]
    return sorted(failed, key=lambda gate: GRAVITY.index(gate["name"]) if gate["name"] in GRAVITY else len(GRAVITY))


def grave_reason(row: Mapping[str, Any]) -> str:
    """Return why a turn did what it did; a failed gate of safety is named before a signal that is merely weak."""
    grave = [gate for gate in failed_gates(row) if gate["name"] in SAFETY]
    if not grave or row["acted"]:
        return str(row["reason"])
    first = str(grave[0]["detail"]).rstrip(".")
    more = f" (and {len(grave) - 1} more safety checks failed)" if len(grave) > 1 else ""
    return f"No entry: {first}{more}. {row['reason']}"


def votes_of(row: Mapping[str, Any]) -> Cell:
    """Return how many of the votes that count agree, such as ``2 of 3``."""
    counted = [vote for vote in row["votes"] or [] if "(not counted" not in str(vote["because"])]
    return Cell(f"{row['strength']} of {len(counted)}", raw=str(row["strength"]))


def candles_of(row: Mapping[str, Any]) -> Cell:
    """Return the timeframe of the candles behind a turn's indicators."""
    return words(row["candle_interval"])


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
        Fact("Indicators of candles", candles_of(row)),
        Fact("RSI", number(row["rsi"], 2)),
        Fact("MACD histogram", number(row["macd_histogram"], 2)),
        Fact("VWAP", price(row["vwap"], tick)),
        Fact("Position", _held(row)),
        Fact("Agent tried something", words("yes" if row["explored"] else "no")),
        Fact("Turn took", number(row["cycle_ms"], 1, "ms")),
    ]
    facts += [Fact(f"Vote: {vote['name']}", _vote(vote)) for vote in row["votes"] or []]
    passed = [gate for gate in row["gates"] or [] if gate["passed"]]
    facts += [Fact(f"Gate: {gate['name']}", _gate(gate)) for gate in (*failed_gates(row), *passed)]
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
