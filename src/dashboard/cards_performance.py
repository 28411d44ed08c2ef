"""The cards of the performance page: results of a period, curve, calendar, months, breakdown."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from src.dashboard.bot_view import BotView
from src.dashboard.cards_equity import equity_plots, equity_points, last_facts
from src.dashboard.exit_reasons import exit_words
from src.dashboard.page_query import PERIODS
from src.dashboard.widgets import (
    Card,
    Fact,
    Plot,
    PlotSeries,
    Row,
    Table,
    amount,
    count,
    number,
    plain,
    result,
    share,
    words,
)
from src.domain.clock import DAY_MS
from src.reporting.breakdown import (
    LENGTHS,
    WEEKDAYS,
    GroupSum,
    by_hour,
    by_length,
    by_pair,
    by_reason,
    by_side,
    by_weekday,
    distribution,
    grouped,
    total,
)

NO_TRADES: Final = "No trade was closed in this period."
_CALENDAR_DAYS: Final = 371  # 53 weeks
_COLUMNS: Final = ("Group", "Trades", "Won", "Net PnL", "Fees", "Funding", "Best", "Worst")


def results(look: BotView) -> Card:
    """Return the figures of the chosen period, costs included."""
    title = "Results"
    if look.turned_ms is None:
        return Card("results", title, reason="No bot has reported yet.")
    found = look.reports.performance(look.scope, _since(look))
    figures = found.figures
    costs = figures.fees - figures.funding
    gross = figures.net_pnl + costs
    facts = (
        Fact("Net PnL", result(figures.net_pnl)),
        Fact("Gross PnL", result(gross)),
        Fact("Fees", amount(figures.fees)),
        Fact("Funding, net", result(figures.funding)),
        Fact("Costs of gross profit", share(float(costs / gross) if gross > 0 else None, 1, of="gross PnL")),
        Fact("Trades", count(figures.trades)),
        Fact("Win rate", share(figures.win_rate, 1, of="closed trades")),
        Fact("Average win", result(figures.average_win)),
        Fact("Average loss", result(figures.average_loss)),
        Fact("Profit factor", number(figures.profit_factor, 2)),
        Fact("Expectancy a trade", result(figures.expectancy)),
        Fact("Worst drawdown", share(found.max_drawdown_share, 2, of="the highest equity before")),
        Fact("Deposits and withdrawals", amount(found.transfers, signed=True)),
    )
    notes = ("Deposits and withdrawals are not counted as profit.",)
    base = "data" if figures.trades else "empty"
    return Card("results", title, base, look.turned_ms, look.turn_s, reason=NO_TRADES, facts=facts, notes=notes)


def curve(look: BotView) -> Card:
    """Return equity, drawdown and holding instead over the period."""
    title = "Equity, drawdown and holding"
    if look.turned_ms is None:
        return Card("curve", title, reason="No bot has reported yet.")
    pair = look.query.pair or next(iter(sorted(look.details.get("cycle_ms") or {})), "")
    points = equity_points(look, pair, PERIODS[look.query.period])
    if not points:
        return Card("curve", title, "empty", look.turned_ms, look.turn_s, reason="No equity is recorded yet.")
    return Card("curve", title, "data", look.turned_ms, look.turn_s, facts=last_facts(points[-1], pair),
                plots=equity_plots(points, pair))  # fmt: skip


def calendar(look: BotView) -> Card:
    """Return the net result of each day with closed trades within the last 53 weeks."""
    title = "Daily PnL"
    if look.turned_ms is None:
        return Card("calendar", title, reason="No bot has reported yet.")
    days = look.reports.daily_pnl(look.scope, look.now - _CALENDAR_DAYS * DAY_MS)
    if not days:
        return Card("calendar", title, "empty", look.turned_ms, look.turn_s, reason="No trade is closed yet.")
    points = tuple((str(day["day"]), float(day["pnl"])) for day in days)
    best, worst = max(days, key=lambda day: day["pnl"]), min(days, key=lambda day: day["pnl"])
    facts = (
        Fact("Days with trades", count(len(days))),
        Fact("Days won", count(sum(day["pnl"] > 0 for day in days))),
        Fact(f"Best day, {best['day']}", result(best["pnl"])),
        Fact(f"Worst day, {worst['day']}", result(worst["pnl"])),
    )
    plot = Plot("calendar", "Net PnL of closed trades by UTC day", (PlotSeries("Net PnL", points),),
                says=f"Net PnL of {len(days)} days with closed trades.")  # fmt: skip
    return Card("calendar", title, "data", look.turned_ms, look.turn_s, facts=facts, plots=(plot,))


def months(look: BotView) -> Card:
    """Return net PnL and return of each month, newest first."""
    title = "By month"
    if look.turned_ms is None:
        return Card("months", title, reason="No bot has reported yet.")
    days = look.reports.daily_pnl(look.scope)
    if not days:
        return Card("months", title, "empty", look.turned_ms, look.turn_s, reason="No trade is closed yet.")
    sums: dict[str, list[Any]] = defaultdict(lambda: [Decimal(0), 0, 0])
    for day in days:
        each = sums[str(day["day"])[:7]]
        each[0], each[1], each[2] = each[0] + day["pnl"], each[1] + day["trades"], each[2] + 1
    starts = _month_starts(look)
    rows = tuple(
        Row((words(month), result(pnl, ""), _month_return(pnl, starts.get(month)), count(trades), count(active)),
            key=f"month-{month}")
        for month, (pnl, trades, active) in sorted(sums.items(), reverse=True)
    )  # fmt: skip
    columns = ("Month (UTC)", "Net PnL, USDT", "Of starting equity", "Trades", "Days with trades")
    table = Table("Closed trades by month", columns, rows, (1, 2, 3, 4), look="small")
    return Card("months", title, "data", look.turned_ms, look.turn_s, tables=(table,))


def _month_starts(look: BotView) -> dict[str, Decimal]:
    """Return the equity with which each month began, where its first day is known."""
    starts: dict[str, Decimal] = {}
    for day in look.reports.daily_equity(look.scope):
        if day["start_balance"] is not None:
            starts.setdefault(str(day["day"])[:7], day["start_balance"])
    return starts


def _month_return(pnl: Decimal, start: Decimal | None) -> Any:
    return share(pnl / start if start else None, 2, True, True, "the month's starting equity")


def breakdown(look: BotView) -> Card:
    """Return the period's closed trades by pair, side, reason of exit, holding time, weekday and hour."""
    title = "Where it came from"
    if look.turned_ms is None:
        return Card("breakdown", title, reason="No bot has reported yet.")
    rows = look.reports.closed_trades(look.scope, _since(look))
    if not rows:
        return Card("breakdown", title, "empty", look.turned_ms, look.turn_s, reason=NO_TRADES)
    reasons = {exit_words(name): each for name, each in grouped(rows, by_reason).items()}
    hours, weekdays, lengths = grouped(rows, by_hour), grouped(rows, by_weekday), grouped(rows, by_length)
    tables = (
        _sums("All trades", {"all": total(rows)}, ("all",)),
        _sums("By pair", pairs := grouped(rows, by_pair), sorted(pairs)),
        _sums("By side", sides := grouped(rows, by_side), sorted(sides)),
        _sums("By reason of exit", reasons, sorted(reasons)),
        _sums("By holding time", lengths, [name for name in LENGTHS if name in lengths]),
        _sums("By weekday of entry (UTC)", weekdays, [name for name in WEEKDAYS if name in weekdays], folded=True),
        _sums("By hour of entry (UTC)", hours, sorted(hours), folded=True),
    )
    return Card("breakdown", title, "data", look.turned_ms, look.turn_s, tables=tables,
                plots=(_distribution(rows),))  # fmt: skip


def _sums(caption: str, groups: Mapping[str, GroupSum], order: Sequence[str], folded: bool = False) -> Table:
    rows = tuple(_sum(caption, name, groups[name]) for name in order)
    return Table(f"{caption}, amounts in USDT", _COLUMNS, rows, tuple(range(1, 8)), minor=(4, 5, 6, 7), folded=folded,
                 look="small")  # fmt: skip


def _sum(caption: str, name: str, each: GroupSum) -> Row:
    cells = (
        words(name),
        count(each.trades),
        share(each.win_rate, 1),
        result(each.pnl, ""),
        amount(each.fees, ""),
        result(each.funding, ""),
        result(each.best, ""),
        result(each.worst, ""),
    )
    return Row(cells, key=f"{caption}-{name}")


def _distribution(rows: Sequence[Mapping[str, Any]]) -> Plot:
    bars = distribution([row["pnl"] for row in rows])
    points = tuple((plain(low, 2), float(number_of)) for low, number_of in bars)
    worst, best = min(row["pnl"] for row in rows), max(row["pnl"] for row in rows)
    says = f"Results of {len(rows)} trades from {plain(worst, 2)} to {plain(best, 2)} USDT."
    return Plot("bars", "Distribution of results, lower end of each span in USDT", (PlotSeries("Trades", points),),
                "trades", says)  # fmt: skip


def _since(look: BotView) -> int | None:
    days = PERIODS[look.query.period]
    return None if days is None else look.since(days)
