"""Aggregates over a period: signals, trades, and the equity of one account.

Whole days come from the counters that the journal keeps; only the first, partial day of a period is counted row by row,
so a summary of a million signals takes the time of a few hundred rows.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, bindparam, case, func, select

from src.domain.clock import utc_day, utc_text
from src.domain.metrics import Ratio, TradeFigures, TradeSums, trade_figures
from src.reporting.equity import begin_of, known_days, paid_in, present_drawdown, ratios
from src.reporting.formatting import clean, money_of
from src.reporting.pages import Scope, TradeFilter, count_up_to, trade_queries
from src.storage.tables import EVERY, daily_performance, signals, trades

_MOST_OPEN = 1_000_000
_KEPT = 64  # statements: composing one takes longer than running it
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
    """The trading results of a period, for one account.

    ``max_drawdown_share`` is the largest fall below the highest equity until then, over all turns; the highest is
    adjusted by transfers, so that only trading causes a drawdown. ``equity_reason`` says why figures of equity are
    missing. Ratios and transfers include the whole first day of the period; everything else starts at its exact time.
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
        """Return the figures as a flat dictionary."""
        rest = {name: value for name, value in asdict(self).items() if name != "figures"}
        return asdict(self.figures) | rest


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
    """Return the results of trades (by exit) and equity, in total or since an instant."""
    sums = _trade_sums(sums_of_days(connection, scope, since_ms, _TRADES))
    if since_ms is not None:
        sums = sums + _broken_day_trades(connection, scope, since_ms)
    still_open = trade_queries(TradeFilter(scope=scope, status="open"))  # by the index of the few that are
    days, reason = known_days(connection, scope)
    period = tuple(day for day in days if since_ms is None or day.day >= utc_day(since_ms))
    start, worst = begin_of(connection, scope, since_ms, days, period)
    yearly = ratios(period)
    return Performance(
        figures=trade_figures(sums),
        open_trades=count_up_to(connection, trades, still_open, _MOST_OPEN),
        equity=money_of(days[-1].end) if days else None,
        start_equity=start,
        transfers=clean(paid_in(period)),
        sharpe=yearly.sharpe,
        sortino=yearly.sortino,
        max_drawdown_share=worst,
        present_drawdown_share=present_drawdown(days),
        equity_reason=reason,
    )


def symbol_days(scope: Scope) -> list[ColumnElement[bool]]:
    """Return the conditions for a day's row of the scope's symbols."""
    return [*scope.conditions(daily_performance), daily_performance.c.symbol != EVERY]


def _broken_day(table: Table, scope: Scope) -> list[ColumnElement[bool]]:
    column = table.c.timestamp
    return [*scope.conditions(table), column >= bindparam("begin"), column < bindparam("end")]


def _rest_of_day(since_ms: int) -> dict[str, str]:
    """Return the bounds of the period's first, partial day for the statements."""
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
