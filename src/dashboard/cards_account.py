"""The cards about money: balance, performance, open positions with their risk, recent trades."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from src.dashboard.bot_view import BotView
from src.dashboard.states import age_words
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
    number,
    percent,
    price,
    quantity,
    result,
    share,
    side_word,
    word,
    words,
)
from src.domain.clock import instant_of
from src.domain.metrics import Ratio
from src.reporting.pages import TradeFilter

RECENT_TRADES: Final = 10
_MINOR: Final = (5, 6, 7, 8, 9, 10)  # columns of a trade that a phone shows on demand
_EXITS: Final = {
    "stop_loss": "stop reached",
    "early_stop": "early stop",
    "take_profit": "target reached",
    "daily_loss": "daily loss limit",
    "signal_sell": "sell signal",
    "signal_buy": "buy signal",
    "agent_sell": "agent said sell",
    "agent_buy": "agent said buy",
    "cut_loss": "loss without support",
    "liquidation": "liquidated",
    "unprotected": "no stop could stand",
    "by_hand": "closed by hand",
    "closed_at_exchange": "closed at the exchange",
    "deleveraged": "auto-deleveraged by the exchange",
    "foreign": "result of orders of others",
}


def balance(look: BotView) -> Card:
    """Return what the account is worth."""
    row = look.reports.balance(look.scope)
    if row is None:
        return Card("balance", "Account balance", reason="No balance has been recorded yet.")
    totals = look.reports.performance(look.scope)
    facts = [
        Fact("Equity", replace(amount(row["equity"]), title="wallet and unrealised PnL")),
        Fact("Wallet", amount(row["wallet_balance"])),
        Fact("Available", amount(row["available_balance"])),
        Fact("Unrealised PnL", result(row["unrealized_pnl"])),
        *_today(look, row),
        Fact("Total PnL, net", result(totals.figures.net_pnl)),
        Fact("Trades closed", count(totals.figures.trades)),
        Fact("Win rate", share(totals.figures.win_rate, 1, of="closed trades")),
    ]
    return Card(
        "balance",
        "Account balance",
        "data",
        look.wall_of(row["timestamp"]),
        look.turn_s if row["unrealized_pnl"] else look.machine_s(look.limits.account_s),  # a price ages with the turn
        facts=tuple(facts),
        tiles=(
            Tile("Equity, USDT", amount(row["equity"], ""), _and(amount(row["available_balance"], ""), "available")),
            _today_tile(facts),
        ),
    )


def _today_tile(facts: list[Fact]) -> Tile:
    known = {fact.label: fact.cell for fact in facts}
    shown = known["Today (UTC)"]
    bare = replace(shown, text=shown.text.removesuffix("\N{NO-BREAK SPACE}USDT"))
    return Tile("Today, USDT", bare, known.get("Today, of starting equity", Cell("its start is not known")))


def _and(cell: Cell, more: str) -> Cell:
    return replace(cell, text=f"{cell.text} {more}", tone="")


def gained_today(look: BotView, row: Mapping[str, Any]) -> tuple[Decimal | None, Mapping[str, Any]]:
    """Return what trading brought since the UTC day of a balance began (None: unknown), and the row of that day.

    Open positions count at their mark price; what was paid in or out is no result.
    """
    today = next(iter(look.reports.daily_equity(look.scope, instant_of(row["timestamp"]))), {})
    start = today.get("start_balance")
    return (row["equity"] - start - today["transfers"] if start else None), today


def _today(look: BotView, row: Mapping[str, Any]) -> list[Fact]:
    change, today = gained_today(look, row)
    if change is None:
        return [Fact("Today (UTC)", UNKNOWN)]
    limit = [Fact("Daily loss limit", word("REACHED", "bad"))] if today["limit_hit"] else []
    shown = share(change / today["start_balance"], 2, True, True, "the day's starting equity")
    return [Fact("Today (UTC)", result(change)), Fact("Today, of starting equity", shown), *limit]


def performance(look: BotView) -> Card:
    """Return what trading brought, net of fees and funding."""
    title = "Performance"
    if look.turned_ms is None:
        return Card("performance", title, reason="No bot has reported yet.")
    found = look.reports.performance(look.scope)
    figures = found.figures
    facts = (
        Fact("Win rate", share(figures.win_rate, 1, of="closed trades")),
        Fact("Net PnL", result(figures.net_pnl)),
        Fact("Average win", result(figures.average_win)),
        Fact("Average loss", result(figures.average_loss)),
        Fact("Profit factor", number(figures.profit_factor, 2)),
        Fact("Expectancy a trade", result(figures.expectancy)),
        Fact("Trades (won / lost)", Cell(f"{figures.trades:,} ({figures.wins:,} / {figures.losses:,})")),
        Fact("Fees paid", amount(figures.fees)),
        Fact("Funding, net", result(figures.funding)),
        Fact("Sharpe, daily equity", _ratio(found.sharpe)),
        Fact("Sortino, daily equity", _ratio(found.sortino)),
        Fact("Worst drawdown", share(found.max_drawdown_share, 2, of="the highest equity before")),
        Fact("Present drawdown", share(found.present_drawdown_share, 2, of="the highest equity")),
        Fact("Money paid in or out", amount(found.transfers, signed=True)),
    )
    base = "data" if figures.trades else "empty"
    notes = (f"Figures of equity are missing: {found.equity_reason}.",) if found.equity_reason else ()
    won = Cell(f"{figures.trades:,} closed, {share(figures.win_rate, 1).text} won", raw=str(figures.trades))
    tiles = (Tile("Net PnL, USDT", result(figures.net_pnl, ""), won),)
    return Card("performance", title, base, look.turned_ms, look.turn_s, "bot", "No trade is closed yet.", facts,
                notes=notes, tiles=tiles)  # fmt: skip


def _ratio(ratio: Ratio) -> Cell:
    """A yearly ratio with the number of days it rests on, or why there is none."""
    if ratio.value is None:
        return Cell(UNKNOWN.text, title=ratio.reason)
    shown = number(ratio.value, 2)
    return Cell(f"{shown.text} (n={ratio.n})", raw=shown.raw, title=f"{ratio.basis}, {ratio.n} days")


def positions(look: BotView) -> Card:
    """Return the open positions, each with what it risks."""
    title = "Open positions"
    last = look.reports.balance(look.scope)
    if last is None:
        return Card("positions", title, reason="The account has not been looked at yet.")
    rows = look.reports.open_positions(look.scope)
    own = {row["symbol"]: row for row in look.reports.trades(TradeFilter(scope=look.scope, status="open")).rows}
    table = Table(
        "With their risk, amounts in USDT",
        ("Contract", "Side", "PnL", "PnL of margin", "To stop", "Size", "Entry", "Mark", "Stop", "Risk if stopped",
         "Target", "To target", "Liquidation", "To liquidation", "Next funding", "Open for"),
        tuple(_position(look, row, own.get(row["symbol"])) for row in rows),
        tuple(range(2, 16)),
        look="risk",
    )  # fmt: skip
    seen = max((row["timestamp"] for row in [last, *rows]), default=last["timestamp"])
    return Card(
        "positions",
        title,
        "data" if rows else "empty",
        look.wall_of(seen),
        look.turn_s if rows else look.machine_s(look.limits.account_s),
        "bot",
        "No open positions.",
        tables=(table,) if rows else (),
        tiles=(_open_tile(rows),),
    )


def _open_tile(rows: list[dict[str, Any]]) -> Tile:
    if not rows:
        return Tile("Open PnL, USDT", words("flat"), Cell("no open position"))
    if len(rows) == 1:
        said = f"1 open: {rows[0]['side']} {rows[0]['symbol']}"
    else:
        longs = sum(row["side"] == "LONG" for row in rows)
        said = f"{len(rows)} open: {longs} LONG, {len(rows) - longs} SHORT"
    return Tile("Open PnL, USDT", result(sum((row["unrealized_pnl"] for row in rows), Decimal(0)), ""), Cell(said))


def _position(look: BotView, row: Mapping[str, Any], trade: Mapping[str, Any] | None) -> Row:
    symbol, mark, entry = row["symbol"], row["mark_price"], row["entry_price"]
    sign = 1 if row["side"] == "LONG" else -1
    tick = look.tick(symbol)
    margin = row["quantity"] * entry / row["leverage"]
    stop, target, ruin = row["stop_price"], row["target_price"], row["liquidation_price"]
    at_stake = None if stop is None else (stop - entry) * row["quantity"] * sign
    cells = (
        Cell(
            symbol if row["own"] else f"{symbol} (not opened by this bot)", raw=symbol, tone="" if row["own"] else "bad"
        ),
        side_word(row["side"]),
        result(row["unrealized_pnl"], ""),
        share(row["unrealized_pnl"] / margin if margin else None, 2, True, True, "the margin at entry"),
        _distance(stop, mark),
        quantity(row["quantity"], look.step(symbol)),
        price(entry, tick),
        price(mark, tick),
        price(stop, tick),
        result(at_stake, ""),
        price(target, tick),
        _distance(target, mark),
        price(ruin, tick),
        _distance(ruin, mark),
        _funding(look, row, sign),
        UNKNOWN if trade is None else gone(look.wall_of(trade["entry_time"]), "since"),
    )
    return Row(cells, key=f"{symbol}-{row['position_side']}")


def _distance(level: Decimal | None, mark: Decimal) -> Cell:
    """How far the mark price is from a level, in percent of the mark price."""
    return share(None if level is None or not mark else level / mark - 1, 2, True, of="the mark price")


def _funding(look: BotView, row: Mapping[str, Any], sign: int) -> Cell:
    """What the next funding would bring (above 0) or cost at the present rate."""
    known = (look.details.get("marks") or {}).get(row["symbol"])
    if not known:
        return UNKNOWN
    due = -Decimal(known["funding_rate"]) * row["quantity"] * row["mark_price"] * sign
    shown = result(due, "")
    return Cell(shown.text, "amount", shown.tone, shown.raw, f"at {known['next_funding'][11:16]} UTC")


def trades(look: BotView) -> Card:
    """Return the last ten closed trades."""
    title = "Recent trades"
    if look.turned_ms is None:
        return Card("trades", title, reason="No bot has reported yet.")
    page = look.reports.trades(TradeFilter(scope=look.scope, status="closed"), limit=RECENT_TRADES)
    table = Table(
        "Last ten closed trades, amounts in USDT",
        ("Contract", "Net PnL", "Of margin", "Side", "Closed", "Size", "In", "Out", "Gross", "Fees", "Funding", "Why"),
        tuple(_trade(look, row) for row in page.rows),
        (1, 2, 4, 5, 6, 7, 8, 9, 10),
        minor=_MINOR,
        look="trades",
    )
    base = "data" if page.rows else "empty"
    return Card("trades", title, base, look.turned_ms, look.turn_s, "bot", "No trade is closed yet.",
                tables=(table,) if page.rows else ())  # fmt: skip


def _trade(look: BotView, row: Mapping[str, Any]) -> Row:
    tick, step = look.tick(row["symbol"]), look.step(row["symbol"])
    cells = (
        words(row["symbol"]),
        result(row["pnl"], ""),
        percent(row["pnl_percent"], of="the margin at entry"),
        side_word(row["side"]),
        instant(row["exit_time"]),
        quantity(row["quantity"], step),
        price(row["entry_price"], tick),
        price(row["exit_price"], tick),
        result(row["gross_pnl"], ""),
        amount(row["fees"], ""),
        result(row["funding"], ""),
        Cell(_EXITS.get(row["exit_reason"], row["exit_reason"].replace("_", " ")), raw=row["exit_reason"]),
    )
    held_s = (instant_of(row["exit_time"]) - instant_of(row["entry_time"])) / 1000
    names = ("Size", "In", "Out", "Gross", "Fees", "Funding")
    details = (
        *(Fact(name, cells[index]) for name, index in zip(names, _MINOR, strict=True)),
        Fact("Opened", instant(row["entry_time"])),
        Fact("Held for", Cell(age_words(held_s))),
        Fact("Leverage", Cell(f"{row['leverage']}\N{MULTIPLICATION SIGN}", raw=str(row["leverage"]))),
        Fact("Stop", price(row["stop_price"], tick)),
        Fact("Target", price(row["target_price"], tick)),
        Fact(
            "Decision", Cell(f"number {row['signal_id']}", raw=str(row["signal_id"])) if row["signal_id"] else UNKNOWN
        ),
    )
    return Row(cells, key=f"trade-{row['id']}", details=details)


def held_words(look: BotView) -> list[str]:
    """Return the positions last seen, in words for the alarm: they may still be open."""
    return [
        f"{row['side']} {row['quantity']:f} {row['symbol']} from {row['entry_price']:f}"
        for row in look.reports.open_positions(look.scope)
    ]
