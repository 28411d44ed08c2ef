"""Floor 4, wings: sums over a period: signals, trades, and the equity of one account.

Whole days come from the counters that the journal keeps with each row; only the first, broken day of a period is
counted row by row: a summary of a million signals takes the time of a few hundred rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    RowMapping,
    Select,
    Table,
    bindparam,
    case,
    func,
    select,
    type_coerce,
)

from src.core.clock import utc_day, utc_text
from src.core.metrics import Ratio, TradeFigures, TradeSums, returns_of, sharpe, sortino, trade_figures
from src.report_pages import Scope, TradeFilter, count_up_to, trade_queries
from src.schema import EVERY, account_balance, daily_performance, signals, trades

_MOST_OPEN = 1_000_000
_KEPT = 64  # statements: to compose one takes longer than to ask it
_COUNTS = (
    *("cycles", "buy_signals", "sell_signals", "hold_signals", "acted", "vetoed"),
    *("strength_sum", "confidence_sum"),
)
_TRADES = ("trades", "wins", "losses", "won", "lost", "fees", "funding")


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

    ``max_drawdown_share`` is the worst fall below the highest equity until then, as seen at every turn; the highest
    moves with what is paid in or out, so that only trading makes a drawdown;
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


class EquityPoint(NamedTuple):
    """Equity at a moment (an instant, or a day's end), and what of it was paid in, less what was paid out."""

    moment: str
    equity: Decimal
    transferred: Decimal


def count_signals(connection: Connection, scope: Scope, since_ms: int | None) -> SignalStats:
    """Return counts of all signals, or of those since an instant."""
    counts = sums_of_days(connection, scope, since_ms, _COUNTS)
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
    sums = _trade_sums(sums_of_days(connection, scope, since_ms, _TRADES))
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
    earlier = [row for row in days if row["day"] < period[0]["day"]]
    paid = float(sum((row["transfers"] for row in earlier), Decimal(0)))
    before = [(equity, moved) for moment, equity, moved in turns if moment <= begin]
    start, moved = before[-1] if before else (float(_start_of(period[0])), paid)
    highs = [*(worth - part for worth, part in before), *(float(_high_of(row)) for row in earlier)]
    highest = max([start - moved, *highs])
    falls = [row["drawdown_share"] for row in period[1:]]
    for equity, part in [(start, moved), *((worth, part) for _, worth, part in turns[len(before) :])]:
        highest = max(highest, equity - part)
        falls.append(1 - equity / (highest + part) if highest + part > 0 else 0.0)
    return clean(start), max(falls)


def _high_of(day: RowMapping) -> Decimal:
    """The day's highest equity without what was paid in or out."""
    return Decimal(day["high_equity"] if day["high_earned"] is None else day["high_earned"])


def _equities_of_day(connection: Connection, scope: Scope, instant_ms: int) -> list[tuple[str, float, float]]:
    """Instant, equity and what of it was paid in, of each turn on that day; too many to make money of each."""
    column, day = account_balance.c, utc_day(instant_ms)
    query = (
        select(
            column.timestamp,
            type_coerce(column.equity, Float),
            type_coerce(func.coalesce(column.transferred, 0), Float),
        )
        .where(*scope.account.conditions(account_balance), column.timestamp >= day, column.timestamp < day + "~")
        .order_by(column.timestamp, column.id)
    )
    return [(moment, equity, moved) for moment, equity, moved in connection.execute(query)]


def clean(total: Any) -> Decimal:
    """Return a sum without the dust that adding doubles leaves behind (8 decimals)."""
    return round(Decimal(total or 0), 8).normalize() + 0


def symbol_days(scope: Scope) -> list[ColumnElement[bool]]:
    """Return what a day's row of one of the scope's symbols must meet."""
    return [*scope.conditions(daily_performance), daily_performance.c.symbol != EVERY]


def _broken_day(table: Table, scope: Scope) -> list[ColumnElement[bool]]:
    column = table.c.timestamp
    return [*scope.conditions(table), column >= bindparam("begin"), column < bindparam("end")]


def _rest_of_day(since_ms: int) -> dict[str, str]:
    """The rest of the day in which a period begins, as the statements ask for it."""
    return {"begin": utc_text(since_ms), "end": utc_day(since_ms) + "~"}


def sums_of_days(connection: Connection, scope: Scope, since_ms: int | None, names: tuple[str, ...]) -> dict[str, Any]:
    """Return these counters summed over all days, or over those after the one of an instant; 0 without days."""
    after = {} if since_ms is None else {"after": utc_day(since_ms)}
    return dict(connection.execute(_sums_of_days(scope, names, bool(after)), after).mappings().one())


@lru_cache(_KEPT)
def _sums_of_days(scope: Scope, names: tuple[str, ...], later: bool) -> Select[Any]:
    column = daily_performance.c
    sums = [func.coalesce(func.sum(column[name]), 0).label(name) for name in names]
    query = select(*sums).where(*symbol_days(scope))
    return query.where(column.day > bindparam("after")) if later else query


def _broken_day_counts(connection: Connection, scope: Scope, since_ms: int) -> dict[str, Any]:
    return dict(connection.execute(_signals_of_day(scope), _rest_of_day(since_ms)).mappings().one())


@lru_cache(_KEPT)
def _signals_of_day(scope: Scope) -> Select[Any]:
    column = signals.c

    def many(condition: ColumnElement[bool]) -> Any:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    sums: list[ColumnElement[Any]] = [
        func.count().label("cycles"),
        *(many(column.signal_type == each.upper()).label(f"{each}_signals") for each in ("buy", "sell", "hold")),
        many(column.acted).label("acted"),
        many(column.veto != "").label("vetoed"),
        func.coalesce(func.sum(column.strength), 0).label("strength_sum"),
        func.coalesce(func.sum(column.confidence), 0.0).label("confidence_sum"),
    ]
    return select(*sums).where(*_broken_day(signals, scope))


def _trade_sums(row: Mapping[Any, Any]) -> TradeSums:
    return TradeSums(
        trades=int(row["trades"] or 0),
        wins=int(row["wins"] or 0),
        losses=int(row["losses"] or 0),
        won=clean(row["won"]),
        lost=clean(row["lost"]),
        fees=clean(row["fees"]),
        funding=clean(row["funding"]),
    )


def _broken_day_trades(connection: Connection, scope: Scope, since_ms: int) -> TradeSums:
    return _trade_sums(connection.execute(_trades_of_day(scope), _rest_of_day(since_ms)).mappings().one())


@lru_cache(_KEPT)
def _trades_of_day(scope: Scope) -> Select[Any]:
    pnl = trades.c.pnl
    sums: list[ColumnElement[Any]] = [
        func.count().label("trades"),
        func.sum(case((pnl > 0, 1), else_=0)).label("wins"),
        func.sum(case((pnl < 0, 1), else_=0)).label("losses"),
        func.sum(case((pnl > 0, pnl), else_=Decimal(0))).label("won"),
        func.sum(case((pnl < 0, pnl), else_=Decimal(0))).label("lost"),
        func.sum(trades.c.fees).label("fees"),
        func.sum(trades.c.funding).label("funding"),
    ]
    return select(*sums).where(*_broken_day(trades, scope), trades.c.status == "closed")


def account_days(connection: Connection, scope: Scope, since_ms: int | None) -> Sequence[RowMapping]:
    """Return the days of the scope's accounts, oldest first."""
    column = daily_performance.c
    names = ("day", "start_balance", "end_equity", "high_equity", "high_earned", "drawdown_share", "transfers")
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
    highest = max(_high_of(row) for row in days) + sum((row["transfers"] for row in days), Decimal(0))
    return float(1 - days[-1]["end_equity"] / highest) if highest > 0 else None
