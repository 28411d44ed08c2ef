"""The equity of one account: daily values, curve, ratios, and drawdown within a period.

An account has one row per day, and one per turn. Days are read as stored, and only returned figures become ``Decimal``;
searches among a day's turns are done by the database.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    RowMapping,
    Select,
    bindparam,
    case,
    cast,
    func,
    or_,
    select,
    type_coerce,
)

from src.domain.clock import utc_day, utc_text
from src.domain.metrics import Ratio, returns_of, sharpe, sortino
from src.reporting.formatting import clean, money_of
from src.reporting.pages import Scope
from src.storage.tables import EVERY, account_balance, daily_performance

T = TypeVar("T")

_KEPT = 64  # statements: composing one takes longer than running it


class EquityPoint(NamedTuple):
    """Equity at an instant or a day's end, and the net transfers contained in it."""

    moment: str
    equity: Decimal
    transferred: Decimal


class Day(NamedTuple):
    """A day with known equity, as stored: ``high`` is the highest equity without transfers."""

    bot_id: str
    mode: str
    world: str
    day: str
    start: float
    end: float
    high: float
    drawdown_share: float
    transfers: float


class Ratios(NamedTuple):
    """The yearly ratios of the equity of whole days."""

    sharpe: Ratio
    sortino: Ratio


def account_days(connection: Connection, scope: Scope, since_ms: int | None) -> Sequence[RowMapping]:
    """Return the days of the scope's accounts, oldest first."""
    column = daily_performance.c
    names = ("day", "start_balance", "end_equity", "high_equity", "high_earned", "drawdown_share", "transfers")
    query = (
        select(column.bot_id, column.mode, column.world, *(column[name] for name in names), column.limit_hit)
        .where(*_of_account(scope))
        .order_by(column.day, column.bot_id)
    )
    if since_ms is not None:
        query = query.where(column.day >= utc_day(since_ms))
    return connection.execute(query).mappings().all()


def known_days(connection: Connection, scope: Scope) -> tuple[tuple[Day, ...], str]:
    """Return the days with known equity of the account, oldest first, or why there are none."""
    if scope.symbol is not None:
        return (), "equity is the account's, not one symbol's"
    days = _days_of(connection, scope)
    if len({day[:3] for day in days}) > 1:
        return (), "several accounts: name one bot, mode and world"
    return days, "" if days else "no balance is recorded yet"


def paid_in(days: Iterable[Day]) -> Decimal:
    """Return the net transfers of these days."""
    return sum((money_of(day.transfers) for day in days if day.transfers), Decimal(0))


@lru_cache(8)
def ratios(days: tuple[Day, ...]) -> Ratios:
    """Return the ratios over these days; cached, since most callers use the same days."""
    solvent = bool(days) and days[0].start > 0 and all(day.end > 0 for day in days)
    returns = returns_of(*_filled(days)) if solvent else []
    return Ratios(sharpe(returns), sortino(returns))


def present_drawdown(days: Sequence[Day]) -> float | None:
    """Return the present drawdown: the share by which the equity is below its highest, adjusted by transfers."""
    if not days:
        return None
    highest = money_of(max(day.high for day in days)) + paid_in(days)
    return float(1 - money_of(days[-1].end) / highest) if highest > 0 else None


def begin_of(
    connection: Connection, scope: Scope, since_ms: int | None, days: Sequence[Day], period: Sequence[Day]
) -> tuple[Decimal | None, float | None]:
    """Return the equity at the start of the period, and the worst drawdown in it; None if unknown.

    ``period`` are the ``days`` from that of ``since_ms`` on. Of this first, partial day only turns after the instant
    count, as far as they are still stored.
    """
    if not period:  # no turn since then: the equity is unchanged
        return (money_of(days[-1].end) if days else None), present_drawdown(days)
    whole = money_of(period[0].start), max(day.drawdown_share for day in period)
    if since_ms is None or period[0].day != utc_day(since_ms):
        return whole
    place = {"day": period[0].day, "end": period[0].day + "~", "begin": utc_text(since_ms)}
    before = connection.execute(_last_before(scope), place).first()
    earlier = [day for day in days if day.day < period[0].day]
    start, moved = before or (period[0].start, float(paid_in(earlier)))
    highs = [day.high for day in earlier]
    if before is not None:
        highs.append(connection.execute(_highest_before(scope), place).scalar_one())
    highest = max([start - moved, *highs])
    turns, fall = connection.execute(_falls_after(scope), place | {"highest": highest}).one()
    if before is None and not turns:
        return whole
    at_start = 1 - start / (highest + moved) if highest + moved > 0 else 0.0
    return clean(start), max([at_start, *(day.drawdown_share for day in period[1:]), *([fall] if turns else [])])


def curve_of_days(connection: Connection, scope: Scope, first: str, most: int) -> list[EquityPoint]:
    """Return the ends of about ``most`` days, oldest first; transfers count from the first day on."""
    days = [day for day in _days_of(connection, scope) if day.day >= first]
    points = zip(days, accumulate(money_of(day.transfers) for day in days), strict=True)
    return [EquityPoint(day.day, money_of(day.end), moved) for day, moved in _thinned(list(points), most)]


def curve_of_turns(connection: Connection, scope: Scope, since: str, most: int) -> list[EquityPoint]:
    """Return about ``most`` turns, oldest first, the first and the last always; chosen by their ids in the database."""
    column = account_balance.c
    wanted = [*scope.account.conditions(account_balance), column.timestamp >= since]
    step = max(1, connection.execute(select(func.count()).where(*wanted)).scalar_one() // most)
    some = select(column.timestamp, column.equity, column.transferred).where(*wanted)
    some = some.order_by(column.timestamp, column.id)
    if step > 1:
        oldest = select(column.id).where(*wanted).order_by(column.timestamp, column.id).limit(1)
        newest = select(column.id).where(*wanted).order_by(column.timestamp.desc(), column.id.desc()).limit(1)
        ends = (oldest.scalar_subquery(), newest.scalar_subquery())
        some = some.where(or_(column.id % step == 0, column.id.in_(ends)))
    points = [(row.timestamp, row.equity, row.transferred or Decimal(0)) for row in connection.execute(some)]
    return [EquityPoint(*point) for point in _thinned(points, most)]


def _thinned(points: list[T], most: int) -> list[T]:
    step = max(1, len(points) // most)
    return points[:-1:step] + points[-1:]


def _days_of(connection: Connection, scope: Scope) -> tuple[Day, ...]:
    return tuple(map(Day._make, connection.execute(_days(scope)).all()))


def _of_account(scope: Scope) -> list[ColumnElement[bool]]:
    return replace(scope, symbol=EVERY).conditions(daily_performance)


@lru_cache(_KEPT)
def _days(scope: Scope) -> Select[Any]:
    column = daily_performance.c
    money = (
        func.coalesce(column.start_balance, column.end_equity),
        column.end_equity,
        func.coalesce(column.high_earned, column.high_equity),
    )
    start, end, high = (type_coerce(each, Float) for each in money)
    whose = (column.bot_id, column.mode, column.world, column.day)
    return (
        select(*whose, start, end, high, column.drawdown_share, type_coerce(column.transfers, Float))
        .where(*_of_account(scope), column.end_equity.is_not(None))
        .order_by(column.day, column.bot_id)
    )


def _turns(scope: Scope) -> tuple[Select[Any], ColumnElement[float], ColumnElement[float]]:
    """The turns of a day with their equity and net transfers."""
    column = account_balance.c
    query = select().where(
        *scope.account.conditions(account_balance),
        column.timestamp >= bindparam("day"),
        column.timestamp < bindparam("end"),
    )
    return query, cast(column.equity, Float), cast(func.coalesce(column.transferred, 0), Float)


@lru_cache(_KEPT)
def _last_before(scope: Scope) -> Select[Any]:
    query, equity, moved = _turns(scope)
    column = account_balance.c
    before = query.add_columns(equity, moved).where(column.timestamp <= bindparam("begin"))
    return before.order_by(column.timestamp.desc(), column.id.desc()).limit(1)


@lru_cache(_KEPT)
def _highest_before(scope: Scope) -> Select[Any]:
    query, equity, moved = _turns(scope)
    return query.add_columns(func.max(equity - moved)).where(account_balance.c.timestamp <= bindparam("begin"))


@lru_cache(_KEPT)
def _falls_after(scope: Scope) -> Select[Any]:
    """The number of turns that followed, and the worst drawdown among them."""
    query, equity, moved = _turns(scope)
    column, known = account_balance.c, bindparam("highest", type_=Float)
    seen = func.max(equity - moved).over(order_by=(column.timestamp, column.id))
    labelled = query.add_columns(equity.label("equity"), moved.label("moved"), seen.label("seen"))
    after = labelled.where(column.timestamp > bindparam("begin")).subquery()
    top = case((after.c.seen > known, after.c.seen), else_=known) + after.c.moved
    found: list[ColumnElement[Any]] = [
        func.count(),
        func.max(case((top > 0, 1.0 - after.c.equity / top), else_=0.0)),
    ]
    return select(*found).select_from(after)


def _filled(days: Sequence[Day]) -> tuple[list[float], list[float]]:
    """The first day's start, then equity and transfers of every day; without a bot the equity is unchanged."""
    equity, transfers = [days[0].start], [0.0]
    due = date.fromisoformat(days[0].day)
    for each in days:
        day = date.fromisoformat(each.day)
        missing = (day - due).days
        equity += [equity[-1]] * missing + [each.end]
        transfers += [0.0] * missing + [float(money_of(each.transfers))]
        due = day + timedelta(days=1)
    return equity, transfers
