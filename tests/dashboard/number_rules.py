"""What every number on the page must be: one rule for each place, from the database by plain SQL, rounded as told.

Nothing here uses the dashboard's own code. ``docs/dashboard.md`` has the rounding in words.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

NBSP = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
Number = Decimal | float | int


@dataclass(frozen=True)
class Reading:
    """A figure on the page: where it stands, what it says, the instant behind it."""

    place: str
    text: str
    raw: str


@dataclass(frozen=True)
class At:
    """An instant that is shown as a clock."""

    instant: str


@dataclass(frozen=True)
class Gone:
    """An instant that is shown as the time gone since; ``after`` follows it, ``before`` stands before it."""

    instant: str
    after: str = ""
    before: str = ""


# --- rounding, as documented


def fixed(value: Number | str, places: int) -> str:
    """Return so many decimals, half to even, thousands apart, a true minus, never a negative zero."""
    exact = Decimal(str(value)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    return f"{MINUS if exact < 0 else ''}{abs(exact):,}"


def own(value: Number | str) -> str:
    """Return the decimals that a figure has: 2 at least, 8 at most."""
    places = -int(Decimal(str(value)).normalize().as_tuple().exponent)
    return fixed(value, min(max(places, 2), 8))


def signed(value: Number, text: str) -> str:
    """Return the text with a plus before a gain."""
    return f"+{text}" if value > 0 else text


def gain(value: Number, unit: str = f"{NBSP}USDT") -> str:
    """Return a gain or loss: arrow, sign, two decimals."""
    arrow = "▲" if value > 0 else "▼" if value < 0 else "·"
    return f"{arrow} {signed(value, fixed(value, 2))}{unit}"


def percent(share: Number, places: int = 2, sign: bool = False, arrow: bool = False) -> str:
    """Return a share as percent."""
    value = Decimal(str(share)) * 100
    text = f"{fixed(value, places)}{NBSP}%"
    mark = f"{'▲' if value > 0 else '▼' if value < 0 else '·'} " if arrow else ""
    return mark + (signed(value, text) if sign else text)


def side(word: str) -> str:
    """Return a word of direction with its arrow."""
    arrows = {"BUY": "▲ ", "LONG": "▲ ", "ENTER_LONG": "▲ ", "SELL": "▼ ", "SHORT": "▼ "}
    return arrows.get(word, "") + word.replace("_", " ")


def length(seconds: float) -> str:
    """Return a length of time as people say it."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"


def moment(instant: str) -> datetime:
    """Return an instant as Python has it."""
    return datetime.fromisoformat(instant)


# --- the database, by plain SQL


class Book:
    """The rows of one bot in a database, read without the suite's own code; ``main.TABLE`` has those of all bots."""

    def __init__(self, path: Path, bot_id: str = "main") -> None:
        self.path = path
        self.bot_id = bot_id
        self._own = ""
        owned = "SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE c.name = 'bot_id'"
        views = (
            f"CREATE TEMP VIEW {row['name']} AS SELECT * FROM main.{row['name']} WHERE bot_id IN ('{bot_id}', '*');"
            for row in self.all(f"{owned} AND m.type = 'table'")
        )
        self._own = "".join(views)
        self.ticks = {name: each["tick"] for name, each in self._sizes().items()}
        self.steps = {name: each["step"] for name, each in self._sizes().items()}

    def all(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query, money as Decimal of what is written."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.row_factory = sqlite3.Row
            connection.executescript(self._own)
            return [dict(row) for row in connection.execute(query, values)]

    def one(self, query: str, *values: Any) -> dict[str, Any]:
        """Return the only row, or the first."""
        return self.all(query, *values)[0]

    def value(self, query: str, *values: Any) -> Any:
        """Return the only value."""
        return next(iter(self.one(query, *values).values()))

    def row(self, table: str, number: str) -> dict[str, Any]:
        """Return a row by its number."""
        return self.one(f"SELECT * FROM {table} WHERE id = ?", number)

    def newest(self, table: str, more: str = "1 = 1") -> dict[str, Any]:
        """Return the newest row of a table."""
        return self.one(f"SELECT * FROM {table} WHERE {more} ORDER BY timestamp DESC, id DESC LIMIT 1")

    @property
    def beat(self) -> dict[str, Any]:
        """The trading bot's last word."""
        return self.newest("bot_status", "process = 'trading_bot'")

    @property
    def charts(self) -> dict[str, Any]:
        """The chart bot's last word."""
        return self.newest("bot_status", "process = 'chart_analysis_bot'")

    @property
    def told(self) -> dict[str, Any]:
        """What the trading bot says beside its columns."""
        details: dict[str, Any] = json.loads(self.beat["details"])
        return details

    def _sizes(self) -> dict[str, dict[str, str]]:
        sizes: dict[str, dict[str, str]] = self.told["instruments"]
        return sizes

    def price(self, symbol: str, value: Number) -> str:
        """Return a price at the contract's tick."""
        return fixed(value, max(0, -int(Decimal(self.ticks[symbol]).normalize().as_tuple().exponent)))

    def size(self, symbol: str, value: Number) -> str:
        """Return a size at the contract's step."""
        return fixed(value, max(0, -int(Decimal(self.steps[symbol]).normalize().as_tuple().exponent)))


Expected = str | At | Gone
Rule = Callable[..., Expected]
RULES: list[tuple[re.Pattern[str], Rule]] = []


def rule(*places: str) -> Callable[[Rule], Rule]:
    """Name the places that a rule is for; their groups are its arguments."""

    def keep(made: Rule) -> Rule:
        RULES.extend((re.compile(place), made) for place in places)
        return made

    return keep


def money(value: Number) -> Decimal:
    """Return money exactly as it is written."""
    return Decimal(str(value))


CLOSED = "status = 'closed'"


# --- account


@rule(r"balance fact (Equity|Wallet|Available)")
def _account(book: Book, label: str) -> Expected:
    column = {"Equity": "equity", "Wallet": "wallet_balance", "Available": "available_balance"}[label]
    return f"{fixed(book.newest('account_balance')[column], 2)}{NBSP}USDT"


@rule("tile balance 0 most")
def _equity_tile(book: Book) -> Expected:
    return fixed(book.newest("account_balance")["equity"], 2)


@rule("tile balance 0 below")
def _available_tile(book: Book) -> Expected:
    return f"{fixed(book.newest('account_balance')['available_balance'], 2)} available"


@rule(r"balance fact Unrealised PnL")
def _unrealised(book: Book) -> Expected:
    return gain(money(book.newest("account_balance")["unrealized_pnl"]))


def _today(book: Book) -> tuple[Decimal, Decimal]:
    row = book.newest("account_balance")
    day = row["timestamp"][:10]
    began = book.one("SELECT start_balance, transfers FROM daily_performance WHERE symbol = '*' AND day = ?", day)
    start = money(began["start_balance"])
    return money(row["equity"]) - start - money(began["transfers"]), start


@rule(r"balance fact Today \(UTC\)")
def _today_money(book: Book) -> Expected:
    return gain(_today(book)[0])


@rule("tile balance 1 most")
def _today_tile(book: Book) -> Expected:
    return gain(_today(book)[0], "")


@rule("balance fact Today, of starting equity", "tile balance 1 below")
def _today_share(book: Book) -> Expected:
    change, start = _today(book)
    return percent(change / start, 2, True, True)


# --- all bots


def _of(book: Book, bot_id: str) -> Book:
    return book if bot_id == book.bot_id else Book(book.path, bot_id)


@rule("bots stamp")
def _of_bots(book: Book) -> Expected:
    query = "SELECT MAX(cycle_finished) FROM main.bot_status WHERE process = 'trading_bot'"
    return At(book.value(query))


@rule(r"bots row bot-([\w-]+) cell Last turn")
def _last_turn(book: Book, bot_id: str) -> Expected:
    return Gone(_of(book, bot_id).beat["cycle_finished"], " ago")


@rule(r"bots row bot-([\w-]+) cell Positions")
def _open_and_guarded(book: Book, bot_id: str) -> Expected:
    stops = [row["stop_price"] for row in _of(book, bot_id).all("SELECT stop_price FROM positions")]
    bare = stops.count(None)
    return f"{len(stops)} open, {f'{bare} WITHOUT STOP' if bare else 'with stop'}"


@rule(r"bots row bot-([\w-]+) cell Equity, USDT")
def _bot_equity(book: Book, bot_id: str) -> Expected:
    return fixed(_of(book, bot_id).newest("account_balance")["equity"], 2)


@rule(r"bots row bot-([\w-]+) cell Today, USDT")
def _bot_today(book: Book, bot_id: str) -> Expected:
    return gain(_today(_of(book, bot_id))[0], "")


@rule(r"bots row bot-([\w-]+) cell Why")
def _bot_reason(book: Book, bot_id: str) -> Expected:
    return str(_of(book, bot_id).newest("signals")["reason"])


# --- performance


def _sum(book: Book, what: str, more: str = "1 = 1") -> Decimal:
    rows = book.all(f"SELECT {what} AS part FROM trades WHERE {CLOSED} AND {more}")
    return sum((money(row["part"]) for row in rows), Decimal(0))


def _count(book: Book, more: str = "1 = 1") -> int:
    return int(book.value(f"SELECT COUNT(*) FROM trades WHERE {CLOSED} AND {more}"))


@rule("balance fact Total PnL, net", "performance fact Net PnL")
def _net(book: Book) -> Expected:
    return gain(_sum(book, "pnl"))


@rule("tile performance 0 most")
def _net_tile(book: Book) -> Expected:
    return gain(_sum(book, "pnl"), "")


@rule("tile performance 0 below")
def _won_tile(book: Book) -> Expected:
    return f"{_count(book)} closed, {_win_rate(book)} won"


@rule("balance fact Trades closed")
def _closed(book: Book) -> Expected:
    return fixed(_count(book), 0)


@rule("balance fact Win rate", "performance fact Win rate")
def _win_rate(book: Book) -> str:
    return percent(_count(book, "pnl > 0") / _count(book), 1)


@rule("performance fact Average (win|loss)")
def _average(book: Book, which: str) -> Expected:
    more = "pnl > 0" if which == "win" else "pnl < 0"
    return gain(_sum(book, "pnl", more) / _count(book, more))


@rule("performance fact Profit factor")
def _factor(book: Book) -> Expected:
    return fixed(_sum(book, "pnl", "pnl > 0") / -_sum(book, "pnl", "pnl < 0"), 2)


@rule("performance fact Expectancy a trade")
def _expectancy(book: Book) -> Expected:
    return gain(_sum(book, "pnl") / _count(book))


@rule(r"performance fact Trades \(won / lost\)")
def _trades(book: Book) -> Expected:
    return f"{_count(book)} ({_count(book, 'pnl > 0')} / {_count(book, 'pnl < 0')})"


@rule("performance fact Fees paid", "costs fact Trading fees, 30 days")
def _fees(book: Book) -> Expected:
    return f"{fixed(_sum(book, 'fees'), 2)}{NBSP}USDT"


@rule("performance fact Funding, net")
def _funding(book: Book) -> Expected:
    return gain(_sum(book, "funding"))


@rule("costs fact Funding, 30 days")
def _funding_month(book: Book) -> Expected:
    total = _sum(book, "funding")
    return signed(total, f"{fixed(total, 2)}{NBSP}USDT")


@rule("performance fact Worst drawdown")
def _worst(book: Book) -> Expected:
    return percent(book.value("SELECT MAX(drawdown_share) FROM daily_performance WHERE symbol = '*'"))


@rule("performance fact Present drawdown")
def _present(book: Book) -> Expected:
    row = book.newest("daily_performance", "symbol = '*'")
    return percent(1 - money(row["end_equity"]) / money(row["high_equity"]))


@rule("(?:performance|results) fact Deposits and withdrawals")
def _transfers(book: Book) -> Expected:
    paid = money(book.value("SELECT SUM(transfers) FROM daily_performance WHERE symbol = '*'"))
    return signed(paid, f"{fixed(paid, 2)}{NBSP}USDT")


# --- positions


def _held(book: Book, symbol: str) -> dict[str, Any]:
    row = book.one("SELECT * FROM positions WHERE symbol = ?", symbol)
    names = ("quantity", "entry_price", "mark_price", "unrealized_pnl", "stop_price", "target_price",
             "liquidation_price")  # fmt: skip
    return row | {name: money(row[name]) for name in names} | {"sign": 1 if row["side"] == "LONG" else -1}


@rule(r"positions row (\w+)-BOTH cell PnL")
def _pnl(book: Book, symbol: str) -> Expected:
    return gain(_held(book, symbol)["unrealized_pnl"], "")


@rule("tile positions 0 most")
def _open_pnl(book: Book) -> Expected:
    rows = book.all("SELECT unrealized_pnl FROM positions")
    return gain(sum((money(row["unrealized_pnl"]) for row in rows), Decimal(0)), "")


@rule("tile positions 0 below")
def _open(book: Book) -> Expected:
    longs = book.value("SELECT COUNT(*) FROM positions WHERE side = 'LONG'")
    every = book.value("SELECT COUNT(*) FROM positions")
    return f"{every} open: {longs} LONG, {every - longs} SHORT"


@rule(r"positions row (\w+)-BOTH cell PnL of margin")
def _pnl_share(book: Book, symbol: str) -> Expected:
    row = _held(book, symbol)
    margin = row["quantity"] * row["entry_price"] / row["leverage"]
    return percent(row["unrealized_pnl"] / margin, 2, True, True)


@rule(r"positions row (\w+)-BOTH cell To (stop|target|liquidation)")
def _distance(book: Book, symbol: str, level: str) -> Expected:
    row = _held(book, symbol)
    return percent(row[f"{level}_price"] / row["mark_price"] - 1, 2, True)


@rule(r"positions row (\w+)-BOTH cell Size")
def _size(book: Book, symbol: str) -> Expected:
    return book.size(symbol, _held(book, symbol)["quantity"])


@rule(r"positions row (\w+)-BOTH cell (Entry|Mark|Stop|Target|Liquidation)")
def _level(book: Book, symbol: str, label: str) -> Expected:
    return book.price(symbol, _held(book, symbol)[f"{label.lower()}_price"])


@rule(r"positions row (\w+)-BOTH cell Risk if stopped")
def _risk(book: Book, symbol: str) -> Expected:
    row = _held(book, symbol)
    return gain((row["stop_price"] - row["entry_price"]) * row["quantity"] * row["sign"], "")


@rule(r"positions row (\w+)-BOTH cell Next funding")
def _next_funding(book: Book, symbol: str) -> Expected:
    row = _held(book, symbol)
    rate = Decimal(book.told["marks"][symbol]["funding_rate"])
    return gain(-rate * row["quantity"] * row["mark_price"] * row["sign"], "")


@rule(r"positions row (\w+)-BOTH cell Open for")
def _open_for(book: Book, symbol: str) -> Expected:
    return Gone(book.value("SELECT entry_time FROM trades WHERE status = 'open' AND symbol = ?", symbol))


# --- trades


@rule(r"trades row trade-(\d+) (?:cell|fact) (Net PnL|Gross|Funding)")
def _trade_gain(book: Book, number: str, label: str) -> Expected:
    column = {"Net PnL": "pnl", "Gross": "gross_pnl", "Funding": "funding"}[label]
    return gain(money(book.row("trades", number)[column]), "")


@rule(r"trades row trade-(\d+) (?:cell|fact) Fees")
def _trade_fees(book: Book, number: str) -> Expected:
    return fixed(book.row("trades", number)["fees"], 2)


@rule(r"trades row trade-(\d+) cell Of margin")
def _trade_share(book: Book, number: str) -> Expected:
    return percent(money(book.row("trades", number)["pnl_percent"]) / 100, 2, True, True)


@rule(r"trades row trade-(\d+) (?:cell|fact) (In|Out|Stop|Target)")
def _trade_price(book: Book, number: str, label: str) -> Expected:
    column = {"In": "entry_price", "Out": "exit_price", "Stop": "stop_price", "Target": "target_price"}[label]
    row = book.row("trades", number)
    return book.price(row["symbol"], row[column])


@rule(r"trades row trade-(\d+) (?:cell|fact) Size")
def _trade_size(book: Book, number: str) -> Expected:
    row = book.row("trades", number)
    return book.size(row["symbol"], row["quantity"])


@rule(r"trades row trade-(\d+) (?:cell|fact) (Closed|Opened)")
def _trade_time(book: Book, number: str, label: str) -> Expected:
    return At(book.row("trades", number)["exit_time" if label == "Closed" else "entry_time"])


@rule(r"trades row trade-(\d+) fact Held for")
def _held_for(book: Book, number: str) -> Expected:
    row = book.row("trades", number)
    return length((moment(row["exit_time"]) - moment(row["entry_time"])).total_seconds())


@rule(r"trades row trade-(\d+) fact Leverage")
def _leverage(book: Book, number: str) -> Expected:
    return f"{book.row('trades', number)['leverage']}×"


@rule(r"trades row trade-(\d+) fact Decision")
def _trade_decision(book: Book, number: str) -> Expected:
    return f"number {book.row('trades', number)['signal_id']}"


# --- turns: market, signals, journal


def _turn(book: Book, symbol: str) -> dict[str, Any]:
    return book.newest("signals", f"symbol = '{symbol}'")


@rule(r"market row market-(\w+) cell (Price|VWAP)")
def _turn_price(book: Book, symbol: str, label: str) -> Expected:
    return book.price(symbol, _turn(book, symbol)[label.lower()])


@rule(r"market row market-(\w+) cell Mark now")
def _mark_now(book: Book, symbol: str) -> Expected:
    return book.price(symbol, money(book.told["marks"][symbol]["mark"]))


@rule("tile market 0 most")
def _mark_tile(book: Book) -> Expected:
    symbol = min(book.ticks)
    return book.price(symbol, money(book.told["marks"][symbol]["mark"]))


@rule("tile market 0 below")
def _signal_tile(book: Book) -> Expected:
    row = _turn(book, min(book.ticks))
    return f"{side(row['signal_type'])} {row['strength']} of 6"


@rule(r"market row market-(\w+) cell (RSI|ATR|Confidence)")
def _turn_figure(book: Book, symbol: str, label: str) -> Expected:
    return fixed(_turn(book, symbol)[label.lower()], 2)


@rule(r"market row market-(\w+) cell Strength")
def _strength(book: Book, symbol: str) -> Expected:
    return f"{_turn(book, symbol)['strength']} of 6"


@rule(r"(?:signals row signal|journal row turn)-(\d+) cell When")
def _when(book: Book, number: str) -> Expected:
    return At(book.row("signals", number)["timestamp"])


@rule(r"signals row signal-(\d+) cell Votes")
def _votes(book: Book, number: str) -> Expected:
    return f"{book.row('signals', number)['strength']} of 6"


@rule(r"(?:signals row signal|journal row turn)-(\d+) (?:cell|fact) (Price|VWAP)")
def _row_price(book: Book, number: str, label: str) -> Expected:
    row = book.row("signals", number)
    return book.price(row["symbol"], row[label.lower()])


@rule(r"signals row signal-(\d+) cell RSI")
def _signal_rsi(book: Book, number: str) -> Expected:
    return fixed(book.row("signals", number)["rsi"], 1)


@rule(r"journal row turn-(\d+) cell (Signal|Agent)")
def _said(book: Book, number: str, label: str) -> Expected:
    row = book.row("signals", number)
    more = f"{row['strength']} of 6" if label == "Signal" else fixed(row["confidence"], 2)
    return f"{side(row['signal_type' if label == 'Signal' else 'rl_action'])} {more}"


@rule(r"journal row turn-(\d+) (?:cell Why|fact In words)")
def _why(book: Book, number: str) -> Expected:
    return str(book.row("signals", number)["reason"])


@rule(
    r"(?:signals row signal|journal row turn)-(\d+) cell Candles", r"journal row turn-(\d+) fact Indicators of candles"
)
def _candles_of_turn(book: Book, number: str) -> Expected:
    return str(book.row("signals", number)["candle_interval"])


@rule(r"market row market-(\w+) cell Candles")
def _candles_of_pair(book: Book, symbol: str) -> Expected:
    return str(_turn(book, symbol)["candle_interval"])


@rule(r"journal row turn-(\d+) fact (RSI|MACD histogram)")
def _turn_detail(book: Book, number: str, label: str) -> Expected:
    return fixed(book.row("signals", number)[label.lower().replace(" ", "_")], 2)


@rule(r"journal row turn-(\d+) fact Turn took")
def _took(book: Book, number: str) -> Expected:
    return f"{fixed(book.row('signals', number)['cycle_ms'], 1)}{NBSP}ms"


@rule(r"journal row turn-(\d+) fact Vote: (\w+)")
def _vote(book: Book, number: str, name: str) -> Expected:
    vote = next(each for each in json.loads(book.row("signals", number)["votes"]) if each["name"] == name)
    return f"{ {1: 'BUY', -1: 'SELL'}.get(vote['vote'], 'no vote') }: {vote['because']}"


@rule(r"journal row turn-(\d+) fact Gate: (\w+)")
def _gate(book: Book, number: str, name: str) -> Expected:
    gate = next(each for each in json.loads(book.row("signals", number)["gates"]) if each["name"] == name)
    return f"{'passed' if gate['passed'] else 'FAILED'}: {gate['detail']}"


# --- the chart


def _bar(book: Book, symbol: str) -> dict[str, Any]:
    return book.one("SELECT * FROM candles WHERE symbol = ? ORDER BY open_ms DESC LIMIT 1", symbol)


@rule("chart legend (open|high|low|close|volume)")
def _legend_bar(book: Book, name: str) -> Expected:
    value = _bar(book, min(book.ticks))[name]
    return fixed(value, 3) if name == "volume" else book.price(min(book.ticks), value)


@rule("chart legend (ema_50|ema_200|vwap|bollinger_upper|bollinger_lower)")
def _legend_price(book: Book, name: str) -> Expected:
    return book.price(min(book.ticks), _turn(book, min(book.ticks))[name])


@rule("chart legend (rsi|macd|macd_signal|macd_histogram)")
def _legend_figure(book: Book, name: str) -> Expected:
    return fixed(_turn(book, min(book.ticks))[name], 2)


@rule(r"chart row bar-(\d+) cell (Open|High|Low|Close|Volume|Opened)")
def _told_bar(book: Book, opened: str, label: str) -> Expected:
    symbol = min(book.ticks)
    row = book.one("SELECT * FROM candles WHERE symbol = ? AND open_ms = ?", symbol, int(opened))
    if label == "Opened":
        return At(row["timestamp"])
    return fixed(row["volume"], 3) if label == "Volume" else book.price(symbol, row[label.lower()])


@rule(r"chart row bar-(\d+) cell RSI")
def _told_rsi(book: Book, opened: str) -> Expected:
    turn = book.one(
        "SELECT rsi FROM signals WHERE symbol = ? AND instant_ms / 60000 * 60000 - 60000 = ?",
        min(book.ticks), int(opened),
    )  # fmt: skip
    return fixed(turn["rsi"], 2)


@rule("chart at chart-says p")
def _sentence(book: Book) -> Expected:
    symbol = min(book.ticks)
    held, last = _held(book, symbol), _bar(book, symbol)
    close = money(last["close"])
    levels = [
        f"{name} {book.price(symbol, held[f'{name}_price'])} ({percent(held[f'{name}_price'] / close - 1, 2, True)})"
        for name in ("stop", "target", "liquidation")
    ]
    said = f"{symbol} {last['interval']} candles, last close {book.price(symbol, close)}, RSI"
    entered = f"{held['side'].lower()} from {book.price(symbol, held['entry_price'])}"
    return f"{said} {fixed(_turn(book, symbol)['rsi'], 2)}, {entered}, {', '.join(levels)}.".replace(NBSP, " ")


def _equity_figures(book: Book) -> tuple[Decimal, Decimal, Decimal]:
    """Equity now, its fall below the highest in percent, and what holding would have made of the first."""
    symbol = min(book.ticks)
    rows = book.all("SELECT timestamp, equity FROM account_balance ORDER BY timestamp")
    first, last = rows[0], rows[-1]
    seen = "SELECT price FROM signals WHERE symbol = ? AND timestamp <= ? ORDER BY timestamp DESC LIMIT 1"
    prices = [book.value(seen, symbol, row["timestamp"]) for row in (first, last)]
    hold = first["equity"] * prices[1] / prices[0]
    fall = 1 - last["equity"] / max(row["equity"] for row in rows)
    return money(last["equity"]), money(fall), money(hold)


@rule("(?:equity|curve) fact (Equity now|Below its highest|Holding .*)")
def _equity_fact(book: Book, label: str) -> Expected:
    equity, fall, hold = _equity_figures(book)
    if label == "Below its highest":
        return percent(fall)
    return f"{fixed(equity if label == 'Equity now' else hold, 2)}{NBSP}USDT"


@rule("(?:equity|curve) plot (Equity|Drawdown) (top|bottom)")
def _axis(book: Book, plot: str, end: str) -> Expected:
    """The highest and the lowest value drawn: of equity and holding together, or of the drawdown."""
    values = drawn_values(book, plot)
    found = fixed(max(values) if end == "top" else min(values), 2)
    return f"{found} %" if plot == "Drawdown" else found


def drawn_values(book: Book, plot: str) -> list[Decimal]:
    """Return every value that a drawing of the equity shows."""
    symbol = min(book.ticks)
    rows = book.all("SELECT timestamp, equity FROM account_balance ORDER BY timestamp")
    seen = "SELECT price FROM signals WHERE symbol = ? AND timestamp <= ? ORDER BY timestamp DESC LIMIT 1"
    prices = [book.value(seen, symbol, row["timestamp"]) for row in rows]
    highest, falls = 0.0, []
    for row in rows:
        highest = max(highest, row["equity"])
        falls.append(money(100 * (row["equity"] / highest - 1)))
    held = [rows[0]["equity"] * price / prices[0] for price in prices]
    return falls if plot == "Drawdown" else [money(each) for each in [*(row["equity"] for row in rows), *held]]


# --- context, analysis, news


@rule("context fact (BTC|ETH)")
def _coin(book: Book, coin: str) -> Expected:
    return own(book.newest("market_context")[f"{coin.lower()}_price"])


@rule("context fact (BTC|ETH), 24 h")
def _coin_change(book: Book, coin: str) -> Expected:
    return percent(book.newest("market_context")[f"{coin.lower()}_change_24h"] / 100, 2, True, True)


@rule("context fact Fear & Greed")
def _fear(book: Book) -> Expected:
    index = book.newest("market_context")["fear_greed_index"]
    words = ("extreme fear", "fear", "neutral", "greed", "extreme greed")
    return f"{index} of 100, {words[sum(index >= most for most in (25, 45, 55, 75))]}"


@rule("analysis fact Contract")
def _analysed(book: Book) -> Expected:
    row = book.newest("chart_analyses")
    return f"{row['symbol']}, {row['candles']} candles of {row['interval']}"


@rule("analysis fact Score")
def _score(book: Book) -> Expected:
    return f"{fixed(book.newest('chart_analyses')['overall_score'], 1)}{NBSP}of 10"


@rule("analysis fact (Support|Resistance)")
def _levels(book: Book, label: str) -> Expected:
    row = book.newest("chart_analyses")
    return "  ".join(book.price(row["symbol"], each) for each in json.loads(row[f"{label.lower()}_levels"])[:3])


@rule("analysis fact Price then")
def _then(book: Book) -> Expected:
    row = book.newest("chart_analyses")
    return book.price(row["symbol"], row["price"])


@rule("analysis fact Analyst")
def _analyst(book: Book) -> Expected:
    row = book.newest("chart_analyses")
    return f"{row['analyst']} {row['model']}"


@rule("analysis fact Cost")
def _analysis_cost(book: Book) -> Expected:
    return f"{fixed(book.newest('chart_analyses')['cost_usd'], 4)}{NBSP}USD"


@rule("analysis fact Made")
def _made(book: Book) -> Expected:
    return At(book.newest("chart_analyses")["timestamp"])


@rule("analysis note")
def _summary(book: Book) -> Expected:
    return str(book.newest("chart_analyses")["summary"])


@rule("news fact Mood of the last articles")
def _mood(book: Book) -> Expected:
    mean = book.value("SELECT AVG(score) FROM news_articles WHERE sentiment IS NOT NULL")
    return signed(mean, fixed(mean, 2))


@rule("news fact (Bullish|Bearish|Neutral)")
def _moods(book: Book, label: str) -> Expected:
    return fixed(book.value("SELECT COUNT(*) FROM news_articles WHERE sentiment = ?", label.lower()), 0)


@rule(r"news row news-(\d+) cell Score")
def _news_score(book: Book, number: str) -> Expected:
    score = book.row("news_articles", number)["score"]
    return signed(score, fixed(score, 2))


@rule(r"news row news-(\d+) cell Headline")
def _headline(book: Book, number: str) -> Expected:
    return str(book.row("news_articles", number)["title"])


@rule(r"news row news-(\d+) cell Published")
def _published(book: Book, number: str) -> Expected:
    return At(book.row("news_articles", number)["published_at"])


# --- training and costs


@rule("training fact Started")
def _started(book: Book) -> Expected:
    return At(book.newest("training_runs")["timestamp"])


@rule("training fact (Episodes|Samples)")
def _run_count(book: Book, label: str) -> Expected:
    return fixed(book.newest("training_runs")[label.lower()], 0)


@rule("training fact Data")
def _span(book: Book) -> Expected:
    row = book.newest("training_runs")
    return f"{row['data_start'][:10]} to {row['data_end'][:10]}"


@rule(r"training row metric-out of sample, (net return|trades) cell Value")
def _metric(book: Book, name: str) -> Expected:
    value = json.loads(book.newest("training_runs")["metrics"])["out_of_sample"][name.replace(" ", "_")]
    return percent(value, 2, True) if name == "net return" else own(value)


@rule(r"training row episode-(\d+) cell (Episode|Mean reward|Win rate|Trades|Net return)")
def _episode(book: Book, number: str, label: str) -> Expected:
    row = book.one("SELECT * FROM training_episodes WHERE episode = ? ORDER BY id DESC", int(number))
    reward = row["reward_mean"]
    shown = {
        "Episode": fixed(row["episode"], 0),
        "Mean reward": signed(reward, fixed(reward, 4)),
        "Win rate": percent(row["win_rate"], 1),
        "Trades": fixed(row["trades"], 0),
        "Net return": percent(row["net_return"], 2, True, True),
    }
    return shown[label]


@rule("costs fact Paid to models, 30 days")
def _paid(book: Book) -> Expected:
    rows = book.all("SELECT cost_usd FROM api_usage")
    return f"{fixed(sum((money(row['cost_usd']) for row in rows), Decimal(0)), 4)}{NBSP}USD"


_CALLS = {"Calls": "1 = 1", "From the cache": "cached = 1", "Cached": "cached = 1", "Failed": "outcome <> 'ok'"}


@rule("costs fact (Calls|From the cache|Failed)")
def _calls(book: Book, label: str) -> Expected:
    return fixed(book.value(f"SELECT COUNT(*) FROM api_usage WHERE {_CALLS[label]}"), 0)


@rule(r"costs row cost-([a-z]+)-(\S+) cell (Calls|Cached|Failed)")
def _calls_of(book: Book, service: str, model: str, label: str) -> Expected:
    query = f"SELECT COUNT(*) FROM api_usage WHERE service = ? AND model = ? AND {_CALLS[label]}"
    return fixed(book.value(query, service, model), 0)


@rule(r"costs row cost-([a-z]+)-(\S+) cell Tokens (in|out)")
def _tokens(book: Book, service: str, model: str, way: str) -> Expected:
    query = f"SELECT SUM({way}put_tokens) FROM api_usage WHERE service = ? AND model = ?"
    return fixed(book.value(query, service, model), 0)


@rule(r"costs row cost-([a-z]+)-(\S+) cell Cost")
def _cost(book: Book, service: str, model: str) -> Expected:
    rows = book.all("SELECT cost_usd FROM api_usage WHERE service = ? AND model = ?", service, model)
    return f"{fixed(sum((money(row['cost_usd']) for row in rows), Decimal(0)), 4)}{NBSP}USD"


@rule(r"costs row cost-([a-z]+)-(\S+) cell Model")
def _model(_book: Book, _service: str, model: str) -> Expected:
    return model


# --- the bot itself


@rule("tile status 0 below", "status fact Trading loop")
def _loop(book: Book) -> Expected:
    return f"{book.beat['phase']}, turn {fixed(book.beat['cycle_no'], 0)}"


@rule("status fact Heartbeat")
def _heartbeat(book: Book) -> Expected:
    return Gone(book.beat["beat_at"], " ago")


@rule("status fact Last (market data|account answer)")
def _last(book: Book, what: str) -> Expected:
    return Gone(book.beat["last_market" if what == "market data" else "last_private"], " ago")


@rule("status fact Last chart analysis")
def _last_analysis(book: Book) -> Expected:
    return Gone(book.newest("chart_analyses")["timestamp"], " ago")


@rule("status fact Running for")
def _running(book: Book) -> Expected:
    return Gone(book.beat["started_at"])


@rule("status fact Process")
def _process(book: Book) -> Expected:
    return f"{book.beat['pid']} runs"


@rule("status fact Exchange clock")
def _clock(book: Book) -> Expected:
    ahead_s = (moment(book.beat["timestamp"]) - moment(book.beat["beat_at"])).total_seconds()
    return f"{'' if ahead_s < 0 else '+'}{fixed(ahead_s, 1)} s to this machine's"


@rule("status fact (Version|Settings)")
def _version(book: Book, label: str) -> Expected:
    return str(book.beat["version" if label == "Version" else "config_hash"])


@rule("breaker fact Since")
def _since(book: Book) -> Expected:
    since = datetime.fromtimestamp(book.newest("circuit_breaker_events")["since_ms"] / 1000, UTC)
    return At(f"{since:%Y-%m-%dT%H:%M:%S}.{since.microsecond // 1000:03d}Z")


@rule(r"breaker row event-(\d+) cell When")
def _event(book: Book, number: str) -> Expected:
    return At(book.row("circuit_breaker_events", number)["timestamp"])


@rule("reconciliation fact Orders (of unknown outcome|at the exchange)")
def _orders(book: Book, what: str) -> Expected:
    unsure = "('PLANNED', 'UNKNOWN')"
    more = f"status IN {unsure} AND purpose IN ('entry', 'exit')" if what != "at the exchange" else "status = 'NEW'"
    return fixed(book.value(f"SELECT COUNT(*) FROM orders WHERE {more}"), 0)


@rule("reconciliation fact Account confirmed")
def _confirmed(book: Book) -> Expected:
    return At(book.newest("account_balance")["timestamp"])


@rule("reconciliation fact Exchange's wallet")
def _wallet(book: Book) -> Expected:
    return f"{fixed(book.newest('account_balance')['wallet_balance'], 2)}{NBSP}USDT"


@rule(r"reconciliation row compare-(\w+) cell (Exchange|Journal)")
def _compared(book: Book, symbol: str, where: str) -> Expected:
    table = "positions" if where == "Exchange" else "trades"
    more = "" if where == "Exchange" else " AND status = 'open'"
    row = book.one(f"SELECT side, quantity FROM {table} WHERE symbol = ?{more}", symbol)
    return f"{row['side']} {money(row['quantity']):f}"


@rule(r"control row command-(\d+) cell When")
def _wished(book: Book, number: str) -> Expected:
    return At(book.row("control_requests", number)["timestamp"])


@rule(r"control row command-(\d+) cell (From|Who|Answer)")
def _command_row(book: Book, number: str, label: str) -> Expected:
    column = {"From": "origin", "Who": "actor", "Answer": "answer"}[label]
    return str(book.row("control_requests", number)[column])


@rule(r"control row login-(\d+) cell (When|From)")
def _login(book: Book, number: str, label: str) -> Expected:
    row = book.row("login_attempts", number)
    return At(row["timestamp"]) if label == "When" else str(row["origin"])


# --- as of


@rule("reconciliation stamp")
def _of_reconciliation(book: Book) -> Expected:
    return At(book.beat["last_private"])


@rule("(status|performance|trades|signals|breaker|journal|control) stamp")
def _of_turn(book: Book, _card: str) -> Expected:
    return At(book.beat["cycle_finished"])


@rule("balance stamp")
def _of_balance(book: Book) -> Expected:
    return At(book.newest("account_balance")["timestamp"])


@rule("positions stamp")
def _of_positions(book: Book) -> Expected:
    return At(max(row["timestamp"] for row in book.all("SELECT timestamp FROM positions UNION SELECT timestamp "
                                                       "FROM account_balance")))  # fmt: skip


@rule("market stamp")
def _of_market(book: Book) -> Expected:
    return At(min(each["as_of"] for each in book.told["marks"].values()))


@rule("chart stamp")
def _of_chart(book: Book) -> Expected:
    opened = moment(_bar(book, min(book.ticks))["timestamp"])
    return At((opened + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z"))


@rule("(context|analysis) stamp")
def _of_row(book: Book, card: str) -> Expected:
    if card == "context":
        return At(book.newest("market_context")["timestamp"])
    return At(max(book.newest("chart_analyses")["timestamp"], book.charts["cycle_finished"]))


@rule("news stamp")
def _of_news(book: Book) -> Expected:
    return At(max(book.newest("news_articles")["timestamp"], book.charts["cycle_finished"]))


@rule("training stamp")
def _of_training(book: Book) -> Expected:
    return At(book.newest("training_runs")["finished_at"])


@rule("costs stamp")
def _of_costs(book: Book) -> Expected:
    return At(book.charts["beat_at"])


LABELS = {
    "chart legend ema_50 label", "chart legend ema_200 label", "chart legend rsi label", "chart caption",
    "context label BTC, 24 h", "context label ETH, 24 h", "costs label Paid to models, 30 days",
    "costs label Trading fees, 30 days", "costs label Funding, 30 days", "frame countdown", "frame updated", "frame ",
}  # fmt: skip
TEXTS = (r"frame headline", r"chart at chart-frame .*", r".* caption", r"lab .*", r"rules .*", r"alerts .*", r"log .*",
         r"frame period-form.*", r"backups .*", r"story label .*")  # fmt: skip
"""Places whose digits are words of fixed texts, files or rule sets, each held by a test of its own."""
"""Digits that are no figures: names of indicators and periods, and the page's own countdown."""


def rules_for(place: str) -> Iterator[tuple[re.Pattern[str], Rule, tuple[str, ...]]]:
    """Return the rules that name a place, with the words that they need."""
    for pattern, made in RULES:
        found = pattern.fullmatch(place)
        if found is not None:
            yield pattern, made, found.groups()
