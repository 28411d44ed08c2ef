"""Floor 4, wings: sums over a period: signals, trades, and the equity of one account.

Whole days come from the counters that the journal keeps with each row; only the first, broken day of a period is
counted row by row: a summary of a million signals takes the time of a few hundred rows.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Float, RowMapping, Table, case, func, select, type_coerce

from src.core.clock import utc_day, utc_text
from src.core.metrics import Ratio, TradeFigures, TradeSums, returns_of, sharpe, sortino, trade_figures
from src.report_pages import Scope, TradeFilter, count_up_to, trade_queries
from src.schema import EVERY, account_balance, daily_performance, signals, trades

_MOST_OPEN = 1_000_000
_COUNTS = ("cycles", "buy_signals", "sell_signals", "hold_signals", "acted", "vetoed")


@dataclass(frozen=True, slots=True)
class SignalStats:
    """Counts of signals; means are None without signals."""

    total: int
    buy: int
    sell: int
    hold: int
    acted: int
    vetoed: int
    mean_strength: float | None
    mean_confidence: float | None


@dataclass(frozen=True, slots=True)
class Performance:
    """What trading brought in a period, for one account.

    ``max_drawdown_share`` is the worst fall below the highest equity until then, as seen at every turn;
    ``equity_reason`` says why figures of equity are missing. Ratios and transfers count the day in which the period
    begins as a whole; everything else begins at its instant.
    """

    figures: TradeFigures
    open_trades: int
    equity: Decimal | None
    start_equity: Decimal | None
    transfers: Decimal
    sharpe: Ratio
    sortino: Ratio
    max_drawdown_share: float | None
    present_drawdown_share: float | None
    equity_reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the figures flat, as an answer holds them."""
        rest = {name: value for name, value in asdict(self).items() if name != "figures"}
        return asdict(self.figures) | rest


def count_signals(connection: Connection, scope: Scope, since_ms: int | None) -> SignalStats:
    """Return counts of all signals, or of those since an instant."""
    counts = daily_counts(connection, scope, since_ms)
    if since_ms is not None:
        first = _broken_day_counts(connection, scope, since_ms)
        counts = {name: value + first[name] for name, value in counts.items()}
    total = counts["cycles"]
    return SignalStats(
        total=total,
        buy=counts["buy_signals"],
        sell=counts["sell_signals"],
        hold=counts["hold_signals"],
        acted=counts["acted"],
        vetoed=counts["vetoed"],
        mean_strength=counts["strength_sum"] / total if total else None,
        mean_confidence=counts["confidence_sum"] / total if total else None,
    )


def sum_performance(connection: Connection, scope: Scope, since_ms: int | None) -> Performance:
    """Return what trades (by exit) and equity brought, in all or since an instant."""
    sums = _trade_sums_of_days(connection, scope, since_ms)
    if since_ms is not None:
        sums = sums + _broken_day_trades(connection, scope, since_ms)
    still_open = trade_queries(TradeFilter(scope=scope, status="open"))  # by the index of the few that are
    days, reason = _known_days(connection, scope)
    period = [row for row in days if since_ms is None or row["day"] >= utc_day(since_ms)]
    returns = returns_of(*_filled(period)) if _solvent(period) else []
    start, worst = _begin(connection, scope, since_ms, days, period)
    return Performance(
        figures=trade_figures(sums),
        open_trades=count_up_to(connection, trades, still_open, _MOST_OPEN),
        equity=days[-1]["end_equity"] if days else None,
        start_equity=start,
        transfers=clean(sum((row["transfers"] for row in period), Decimal(0))),
        sharpe=sharpe(returns),
        sortino=sortino(returns),
        max_drawdown_share=worst,
        present_drawdown_share=_present_drawdown(days),
        equity_reason=reason,
    )


def _begin(
    connection: Connection, scope: Scope, since_ms: int | None, days: list[RowMapping], period: list[RowMapping]
) -> tuple[Decimal | None, float | None]:
    """The equity at the instant where the period begins, and its worst drawdown; None where nothing is known.

    Of the first, broken day only what followed that instant counts, as far as its turns are still kept.
    """
    if not period:  # since then no turn was made: the equity stands where it stood
        return (days[-1]["end_equity"] if days else None), _present_drawdown(days)
    worst = max(row["drawdown_share"] for row in period)
    if since_ms is None or period[0]["day"] != utc_day(since_ms):
        return _start_of(period[0]), worst
    turns = _equities_of_day(connection, scope, since_ms)
    if not turns:
        return _start_of(period[0]), worst
    begin = utc_text(since_ms)
    before = [equity for moment, equity in turns if moment <= begin]
    start = before[-1] if before else float(_start_of(period[0]))
    highest = max([start, *before, *(float(row["high_equity"]) for row in days if row["day"] < period[0]["day"])])
    falls = [row["drawdown_share"] for row in period[1:]]
    for equity in [start, *(equity for _, equity in turns[len(before) :])]:
        highest = max(highest, equity)
        falls.append(1 - equity / highest if highest > 0 else 0.0)
    return clean(start), max(falls)


def _equities_of_day(connection: Connection, scope: Scope, instant_ms: int) -> list[tuple[str, float]]:
    """Instant and equity of each turn on the day of ``instant_ms``, in order; too many to make money of each."""
    column, day = account_balance.c, utc_day(instant_ms)
    query = (
        select(column.timestamp, type_coerce(column.equity, Float))
        .where(*scope.account.conditions(account_balance), column.timestamp >= day, column.timestamp < day + "~")
        .order_by(column.timestamp, column.id)
    )
    return [(moment, equity) for moment, equity in connection.execute(query)]


def clean(total: Any) -> Decimal:
    """Return a sum without the dust that adding doubles leaves behind (8 decimals)."""
    return round(Decimal(total or 0), 8).normalize() + 0


def symbol_days(scope: Scope) -> list[ColumnElement[bool]]:
    """Return what a day's row of one of the scope's symbols must meet."""
    return [*scope.conditions(daily_performance), daily_performance.c.symbol != EVERY]


def _whole_days(since_ms: int | None) -> list[ColumnElement[bool]]:
    """The days that lie after the one in which the period begins."""
    return [] if since_ms is None else [daily_performance.c.day > utc_day(since_ms)]


def _broken_day(table: Table, scope: Scope, since_ms: int) -> list[ColumnElement[bool]]:
    column = table.c.timestamp
    return [*scope.conditions(table), column >= utc_text(since_ms), column < utc_day(since_ms) + "~"]


def daily_counts(connection: Connection, scope: Scope, since_ms: int | None) -> dict[str, Any]:
    """Return the counters of signals summed over all days, or over those after the one of an instant."""
    names = (*_COUNTS, "strength_sum", "confidence_sum")
    sums = [func.coalesce(func.sum(daily_performance.c[name]), 0).label(name) for name in names]
    query = select(*sums).where(*symbol_days(scope), *_whole_days(since_ms))
    return dict(connection.execute(query).mappings().one())


def _broken_day_counts(connection: Connection, scope: Scope, since_ms: int) -> dict[str, Any]:
    column = signals.c

    def many(condition: ColumnElement[bool]) -> Any:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    query = select(
        func.count().label("cycles"),
        *(many(column.signal_type == each.upper()).label(f"{each}_signals") for each in ("buy", "sell", "hold")),
        many(column.acted).label("acted"),
        many(column.veto != "").label("vetoed"),
        func.coalesce(func.sum(column.strength), 0).label("strength_sum"),
        func.coalesce(func.sum(column.confidence), 0.0).label("confidence_sum"),
    ).where(*_broken_day(signals, scope, since_ms))
    return dict(connection.execute(query).mappings().one())


def _trade_sums(row: RowMapping) -> TradeSums:
    return TradeSums(
        trades=int(row["trades"] or 0),
        wins=int(row["wins"] or 0),
        losses=int(row["losses"] or 0),
        won=clean(row["won"]),
        lost=clean(row["lost"]),
        fees=clean(row["fees"]),
        funding=clean(row["funding"]),
    )


def _trade_sums_of_days(connection: Connection, scope: Scope, since_ms: int | None) -> TradeSums:
    names = ("trades", "wins", "losses", "won", "lost", "fees", "funding")
    sums = [func.sum(daily_performance.c[name]).label(name) for name in names]
    query = select(*sums).where(*symbol_days(scope), *_whole_days(since_ms))
    return _trade_sums(connection.execute(query).mappings().one())


def _broken_day_trades(connection: Connection, scope: Scope, since_ms: int) -> TradeSums:
    pnl = trades.c.pnl
    query = select(
        func.count().label("trades"),
        func.sum(case((pnl > 0, 1), else_=0)).label("wins"),
        func.sum(case((pnl < 0, 1), else_=0)).label("losses"),
        func.sum(case((pnl > 0, pnl), else_=Decimal(0))).label("won"),
        func.sum(case((pnl < 0, pnl), else_=Decimal(0))).label("lost"),
        func.sum(trades.c.fees).label("fees"),
        func.sum(trades.c.funding).label("funding"),
    ).where(*_broken_day(trades, scope, since_ms), trades.c.status == "closed")
    return _trade_sums(connection.execute(query).mappings().one())


def account_days(connection: Connection, scope: Scope, since_ms: int | None) -> Sequence[RowMapping]:
    """Return the days of the scope's accounts, oldest first."""
    column = daily_performance.c
    names = ("day", "start_balance", "end_equity", "high_equity", "low_equity", "drawdown_share", "transfers")
    account = replace(scope, symbol=EVERY)
    query = (
        select(column.bot_id, column.mode, column.world, *(column[name] for name in names), column.limit_hit)
        .where(*account.conditions(daily_performance))
        .order_by(column.day, column.bot_id)
    )
    if since_ms is not None:
        query = query.where(column.day >= utc_day(since_ms))
    return connection.execute(query).mappings().all()


def _known_days(connection: Connection, scope: Scope) -> tuple[list[RowMapping], str]:
    """The days on which the account's equity is known, or why there are none to be told."""
    if scope.symbol is not None:
        return [], "equity is the account's, not one symbol's"
    days = [row for row in account_days(connection, scope, None) if row["end_equity"] is not None]
    if len({(row["bot_id"], row["mode"], row["world"]) for row in days}) > 1:
        return [], "several accounts: name one bot, mode and world"
    return days, "" if days else "no balance is recorded yet"


def _start_of(day: RowMapping) -> Decimal:
    return Decimal(day["end_equity"] if day["start_balance"] is None else day["start_balance"])


def _solvent(days: list[RowMapping]) -> bool:
    return bool(days) and _start_of(days[0]) > 0 and all(row["end_equity"] > 0 for row in days)


def _filled(days: list[RowMapping]) -> tuple[list[float], list[float]]:
    """The first day's start, then equity and transfers of every day; without a bot the equity stood still."""
    equity, transfers = [float(_start_of(days[0]))], [0.0]
    due = date.fromisoformat(days[0]["day"])
    for row in days:
        day = date.fromisoformat(row["day"])
        missing = (day - due).days
        equity += [equity[-1]] * missing + [float(row["end_equity"])]
        transfers += [0.0] * missing + [float(row["transfers"])]
        due = day + timedelta(days=1)
    return equity, transfers


def _present_drawdown(days: list[RowMapping]) -> float | None:
    if not days:
        return None
    highest = max(row["high_equity"] for row in days)
    return float(1 - days[-1]["end_equity"] / highest) if highest > 0 else None
