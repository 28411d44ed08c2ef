"""What every number on the pages behind the menu must be, as ``number_rules.py`` has it for the overview's cards."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from tests.dashboard.number_rules import (
    CLOSED,
    NBSP,
    At,
    Book,
    Expected,
    Gone,
    fixed,
    gain,
    length,
    moment,
    money,
    percent,
    rule,
)

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
REASONS = {"take_profit": "target reached", "stop_loss": "stop reached", "early_stop": "early stop"}
Row = dict[str, Any]


def closed(book: Book) -> list[Row]:
    """Return all closed trades, oldest first."""
    return book.all(f"SELECT * FROM trades WHERE {CLOSED} ORDER BY timestamp, id")


def total(rows: list[Row], name: str) -> Decimal:
    """Return the exact sum of a column of money."""
    return sum((money(row[name]) for row in rows), Decimal(0))


# --- trade page


@rule(r"positions row (\w+)-BOTH cell (Leverage|Margin|Notional)")
def _size_of(book: Book, symbol: str, label: str) -> Expected:
    row = book.one("SELECT * FROM positions WHERE symbol = ?", symbol)
    if label == "Leverage":
        return f"{row['leverage']}× {row['margin_type'].lower()}"
    quantity = money(row["quantity"])
    if label == "Notional":
        return fixed(quantity * money(row["mark_price"]), 2)
    return fixed(quantity * money(row["entry_price"]) / row["leverage"], 2)


@rule(r"orders row order-(\d+) cell (Size|Placed)")
def _order(book: Book, number: str, label: str) -> Expected:
    row = book.row("orders", number)
    return book.size(row["symbol"], row["quantity"]) if label == "Size" else At(row["sent_at"] or row["timestamp"])


@rule(
    r"(?:orders|fills|funnel|tradelist|results|curve|calendar|months|breakdown|datasources|equity) stamp",
    r"(?:rules|forecasts) stamp",
)
def _turned(book: Book) -> Expected:
    return At(book.beat["cycle_finished"])


@rule("fills reason")
def _no_fill(book: Book) -> Expected:
    return Gone(book.beat["cycle_finished"], " ago)", "No order was filled yet. (checked ")


@rule("forecasts reason")
def _no_forecast(book: Book) -> Expected:
    return Gone(book.beat["cycle_finished"], " ago)", "Nobody has made a forecast yet. (checked ")


@rule("status fact Started")
def _started(book: Book) -> Expected:
    return At(book.beat["started_at"])


# --- journal page


def turns(book: Book) -> list[Row]:
    """Return the turns that the funnel looks at, newest first."""
    return book.all("SELECT * FROM signals ORDER BY timestamp DESC, id DESC LIMIT 500")


@rule("funnel fact (Turns looked at|Since|Led to an order|In a position)")
def _funnel(book: Book, label: str) -> Expected:
    rows = turns(book)
    if label == "Since":
        return At(rows[-1]["timestamp"])
    found = {"Turns looked at": len(rows), "Led to an order": sum(row["acted"] for row in rows)}
    return str(found.get(label, sum(bool(row["position_side"]) for row in rows)))


@rule(r"funnel row gate-(\w+) cell (Gravest|Failed at all)")
def _gate(book: Book, name: str, label: str) -> Expected:
    failed = [[gate["name"] for gate in json.loads(row["gates"]) if not gate["passed"]] for row in turns(book)]
    assert all(len(gates) <= 1 for gates in failed), "one gate fails at a time here, so both counts are the same"
    return str(sum(name in gates for gates in failed))


@rule(r"funnel row run-(\d+) cell (From|To|Turns|Why)")
def _run(book: Book, number: str, label: str) -> Expected:
    rows = turns(book)
    begin = next(place for place, row in enumerate(rows) if row["id"] == int(number))
    key = lambda row: (row["symbol"], row["decision"], row["veto"], row["acted"], row["signal_type"])  # noqa: E731
    end = begin
    while end + 1 < len(rows) and key(rows[end + 1]) == key(rows[begin]):
        end += 1
    if label == "Why":
        return str(rows[begin]["reason"])
    return str(end - begin + 1) if label == "Turns" else At(rows[end if label == "From" else begin]["timestamp"])


@rule(r"tradelist row trade-(\d+) (?:cell|fact) (Net PnL|Of margin|Closed|Size|In|Out|Gross|Fees|Funding)",
      r"story (?:fact) ()(Of margin|Size|Entry|Exit|Stop|Target)")  # fmt: skip
def _trade(book: Book, number: str, label: str) -> Expected:
    row = book.row("trades", number or "3")
    if label in ("Net PnL", "Gross", "Funding"):
        return gain(row[{"Net PnL": "pnl", "Gross": "gross_pnl"}.get(label, "funding")], "")
    if label == "Of margin":
        return percent(money(row["pnl_percent"]) / 100, 2, True, True)
    if label == "Closed":
        return At(row["exit_time"])
    if label == "Size":
        return book.size(row["symbol"], row["quantity"])
    if label == "Fees":
        return fixed(row["fees"], 2)
    names = {"In": "entry", "Entry": "entry", "Out": "exit", "Exit": "exit"}
    return book.price(row["symbol"], row[f"{names.get(label, label.lower())}_price"])


@rule(r"tradelist row trade-(\d+) fact (Opened|Held for|Leverage|Stop|Target|Decision)",
      r"story fact ()(Held for|Leverage)")  # fmt: skip
def _trade_detail(book: Book, number: str, label: str) -> Expected:
    row = book.row("trades", number or "3")
    held_s = (moment(row["exit_time"]) - moment(row["entry_time"])).total_seconds()
    told = {"Held for": length(held_s), "Leverage": f"{row['leverage']}×", "Decision": f"number {row['signal_id']}"}
    if label == "Opened":
        return At(row["entry_time"])
    return told.get(label) or book.price(row["symbol"], row[f"{label.lower()}_price"])


# --- performance page


@rule("results fact (?!Deposits)(.*)")
def _results(book: Book, label: str) -> Expected:
    rows = closed(book)
    pnl, fees, funding = (total(rows, name) for name in ("pnl", "fees", "funding"))
    won, lost = ([money(row["pnl"]) for row in rows if (row["pnl"] > 0) is sign] for sign in (True, False))
    gross = pnl + fees - funding
    day = book.newest("daily_performance", "symbol = '*'")
    return {
        "Net PnL": gain(pnl),
        "Gross PnL": gain(gross),
        "Fees": f"{fixed(fees, 2)}{NBSP}USDT",
        "Funding, net": gain(funding),
        "Costs of gross profit": percent((fees - funding) / gross, 1),
        "Trades": str(len(rows)),
        "Win rate": percent(Decimal(len(won)) / len(rows), 1),
        "Average win": gain(sum(won) / len(won)),
        "Average loss": gain(sum(lost) / len(lost)),
        "Profit factor": fixed(-sum(won) / sum(lost), 2),
        "Expectancy a trade": gain(pnl / len(rows)),
        "Worst drawdown": percent(day["drawdown_share"]),
    }[label]


@rule("(?:curve|equity) plot (?:Equity|Drawdown) (left|right)")
def _time_axis(book: Book, end: str) -> Expected:
    order = "" if end == "left" else " DESC"
    row = book.one(f"SELECT timestamp FROM account_balance ORDER BY timestamp{order} LIMIT 1")
    return f"{moment(row['timestamp']):%H:%M}"


@rule(
    r"calendar fact (Days with trades|Days won|Best day|Worst day)(?:, ([\d-]+))?",
    "calendar label (Best|Worst) day, (.*)",
)
def _days(book: Book, label: str, day: str | None) -> Expected:
    results: dict[str, Decimal] = {}
    for row in closed(book):
        results[row["exit_time"][:10]] = results.get(row["exit_time"][:10], Decimal(0)) + money(row["pnl"])
    if label.startswith("Days"):
        return str(len(results) if label == "Days with trades" else sum(each > 0 for each in results.values()))
    if label in ("Best", "Worst"):
        return f"{label} day, {day}"
    wanted = max(results.values()) if label == "Best day" else min(results.values())
    assert results[str(day)] == wanted
    return gain(wanted)


@rule(r"calendar plot .* title")
def _calendar_title(book: Book) -> Expected:
    return Days(closed(book))


@rule(r"months row month-(\d{4}-\d\d) cell (.*)")
def _month(book: Book, month: str, label: str) -> Expected:
    rows = [row for row in closed(book) if row["exit_time"].startswith(month)]
    pnl = total(rows, "pnl")
    start = money(book.newest("daily_performance", "symbol = '*'")["start_balance"])
    return {
        "Month (UTC)": month,
        "Net PnL, USDT": gain(pnl, ""),
        "Of starting equity": percent(pnl / start, 2, True, True),
        "Trades": str(len(rows)),
        "Days with trades": str(len({row["exit_time"][:10] for row in rows})),
    }[label]


def held(row: Row) -> str:
    """Return the span of a holding time; the trades here are held for five minutes."""
    seconds = (moment(row["exit_time"]) - moment(row["entry_time"])).total_seconds()
    assert 300 <= seconds < 3_600
    return "5 min to 1 h"


GROUPS: dict[str, Callable[[Row], str]] = {
    "All trades": lambda _row: "all",
    "By pair": lambda row: str(row["symbol"]),
    "By side": lambda row: str(row["side"]),
    "By reason of exit": lambda row: REASONS[row["exit_reason"]],
    "By holding time": held,
    "By weekday of entry (UTC)": lambda row: WEEKDAYS[date.fromisoformat(row["entry_time"][:10]).weekday()],
    "By hour of entry (UTC)": lambda row: str(row["entry_time"][11:13]),
}


@rule(rf"breakdown row ({'|'.join(GROUPS).replace('(', chr(92) + '(').replace(')', chr(92) + ')')})-(.*) cell (.*)")
def _group(book: Book, by: str, name: str, label: str) -> Expected:
    rows = [row for row in closed(book) if GROUPS[by](row) == name]
    pnl = [money(row["pnl"]) for row in rows]
    return {
        "Group": name,
        "Trades": str(len(rows)),
        "Won": percent(Decimal(sum(each > 0 for each in pnl)) / len(rows), 1),
        "Net PnL": gain(sum(pnl, Decimal(0)), ""),
        "Fees": fixed(total(rows, "fees"), 2),
        "Funding": gain(total(rows, "funding"), ""),
        "Best": gain(max(pnl), ""),
        "Worst": gain(min(pnl), ""),
    }[label]


@rule("breakdown plot .* (left|right|title)")
def _distribution(book: Book, end: str) -> Expected:
    pnl = [money(row["pnl"]) for row in closed(book)]
    width = (max(pnl) - min(pnl)) / 15
    lows = [min(pnl) + width * index for index in range(15)]
    counts = [sum(1 for each in pnl if min(int((each - lows[0]) / width), 14) == index) for index in range(15)]
    if end == "title":
        shown = [fixed(low, 2).replace("\N{MINUS SIGN}", "-") for low in lows]
        return Bars(tuple(f"{low}: {number}" for low, number in zip(shown, counts, strict=True)))
    return fixed(lows[0 if end == "left" else -1], 2)


class Bars(str):
    """One of several texts: which bar a reading belongs to is not in its place."""

    texts: tuple[str, ...]

    def __new__(cls, texts: tuple[str, ...]) -> "Bars":
        made = super().__new__(cls, texts[0])
        made.texts = texts
        return made

    def __ne__(self, other: object) -> bool:
        return other not in self.texts

    def __eq__(self, other: object) -> bool:
        return other in self.texts

    def strip(self, _chars: str | None = None) -> "Bars":  # type: ignore[override]
        return self

    __hash__ = str.__hash__


class Days(Bars):
    """The text of a day: its own result, or that no trade was closed."""

    rows: list[Row]

    def __new__(cls, rows: list[Row]) -> "Days":
        made = str.__new__(cls, "")
        made.rows = rows
        return made

    def __eq__(self, other: object) -> bool:
        day, _, said = str(other).partition(": ")
        rows = [row for row in self.rows if row["exit_time"].startswith(day)]
        return said == (f"{fixed(total(rows, 'pnl'), 2)} USDT" if rows else "no trade closed")

    __hash__ = str.__hash__


# --- system page


@rule(r"datasources row (?:source|service)-(.*) cell (Last data|Limit|State)")
def _source(book: Book, name: str, label: str) -> Expected:
    if name == "openai":
        rows = book.all("SELECT * FROM api_usage WHERE service = 'openai' ORDER BY timestamp")
        return f"{len(rows)} calls in 7 days" if label == "State" else Gone(rows[-1]["timestamp"], " ago")
    turn_s = 60 + 35
    limits = {"Mark prices": turn_s, "Closed candles": turn_s + 60, "Account": 900 + 35,
              "Wider market": 300 + 35 + turn_s, "Chart analysis": 900 + 35 + 120}  # fmt: skip
    if label == "Limit":
        return f"{limits[name]} s"
    newest_ms = book.value("SELECT MAX(open_ms) FROM candles")
    closed_at = f"{datetime.fromtimestamp(newest_ms / 1000 + 60, UTC):%Y-%m-%dT%H:%M:%S.000Z}"
    last = {
        "Mark prices": book.beat["last_market"],
        "Closed candles": closed_at,
        "Account": book.beat["last_private"],
        "Wider market": book.newest("market_context")["timestamp"],
        "Chart analysis": book.charts["cycle_finished"],
    }
    return Gone(last[name], " ago")


# --- the page of one trade (number 3)


@rule("story title")
def _title(book: Book) -> Expected:
    row = book.row("trades", "3")
    return f"Trade 3: {row['side'].lower()} {row['symbol']}"


@rule("story stamp", "story row closed cell When")
def _ended(book: Book) -> Expected:
    return At(book.row("trades", "3")["exit_time"])


@rule("story fact (Net PnL|Gross|Fees|Funding)")
def _costs(book: Book, label: str) -> Expected:
    row = book.row("trades", "3")
    if label == "Fees":
        return f"{fixed(row['fees'], 2)}{NBSP}USDT"
    return gain(row[{"Net PnL": "pnl", "Gross": "gross_pnl"}.get(label, "funding")])


@rule("story row opened cell (When|Details)")
def _opened(book: Book, label: str) -> Expected:
    row = book.row("trades", "3")
    size, entry = book.size(row["symbol"], row["quantity"]), book.price(row["symbol"], row["entry_price"])
    return At(row["entry_time"]) if label == "When" else f"{size} {row['symbol']} at {entry}"


@rule("story row closed cell Details")
def _closed_at(book: Book) -> Expected:
    row = book.row("trades", "3")
    return f"at {book.price(row['symbol'], row['exit_price'])}: {REASONS[row['exit_reason']]}"


def signal_of(book: Book) -> Row:
    """Return the decision behind trade 3."""
    return book.row("signals", str(book.row("trades", "3")["signal_id"]))


@rule("story row signal cell (When|Details)")
def _signal(book: Book, label: str) -> Expected:
    row = signal_of(book)
    if label == "When":
        return At(row["timestamp"])
    said = f"{row['signal_type']}, {row['strength']} of 6 votes on {row['candle_interval']} candles; agent "
    return f"{said}{row['rl_action']} with confidence {fixed(row['confidence'], 2)}. {row['reason']}"


@rule(r"story row gate-(\w+) cell Details")
def _checked(book: Book, name: str) -> Expected:
    gates = json.loads(signal_of(book)["gates"])
    return str(next(gate["detail"] for gate in gates if gate["name"] == name))
