"""Floor 4, wings: pages of signals, trades, orders and news: filters, keyset cursors, counts that stay cheap.

A page is read backwards in time along an index, from where the last one ended, so that the thousandth page costs
what the first does, and rows written meanwhile neither repeat nor vanish.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, func, select, tuple_, union_all

from src.core.clock import instant_of, utc_text
from src.schema import news_articles, orders, signals, trades

MOST_ROWS = 1_000
MOST_COUNTED = 2_000
MOST_VOTES = 6  # strength is a number of votes


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows: None is everybody's. A mode and a world should always be said where figures are summed."""

    bot_id: str | None = None
    mode: str | None = None
    world: str | None = None
    symbol: str | None = None

    @property
    def account(self) -> "Scope":
        """The same without the symbol: what concerns the account as a whole."""
        return replace(self, symbol=None)

    def conditions(self, table: Table) -> list[ColumnElement[bool]]:
        """Return what a row of ``table`` must meet."""
        wanted = {"bot_id": self.bot_id, "mode": self.mode, "world": self.world, "symbol": self.symbol}
        return [table.c[name] == value for name, value in wanted.items() if value is not None and name in table.c]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFilter:
    """Which signals; dates are UTC instants or days (``start`` included, ``end`` excluded)."""

    scope: Scope = Scope()
    signal_type: str | None = None
    min_strength: int | None = None
    acted: bool | None = None
    start: str | None = None
    end: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFilter:
    """Which trades; ``status`` is open or closed, ``side`` LONG or SHORT, results net in quote currency."""

    scope: Scope = Scope()
    status: str | None = None
    side: str | None = None
    min_pnl: Decimal | None = None
    max_pnl: Decimal | None = None
    start: str | None = None
    end: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """Which orders; ``finished`` False are those with which something can still happen."""

    scope: Scope = Scope()
    status: str | None = None
    purpose: str | None = None
    finished: bool | None = None
    start: str | None = None
    end: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsFilter:
    """Which articles, by the instant they were fetched."""

    world: str | None = None
    source: str | None = None
    sentiment: str | None = None
    start: str | None = None
    end: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, newest first; ``cursor`` asks for the next page (None after the last one).

    ``total`` counts all rows that match; where ``more`` is true there are at least that many.
    """

    rows: tuple[dict[str, Any], ...]
    cursor: str | None
    total: int
    more: bool = False


def utc_bound(moment: str) -> str:
    """Return a day or an instant of any zone as text to compare with; ``ValueError`` for anything else."""
    return utc_text(instant_of(moment))


def cursor_of(row: dict[str, Any]) -> str:
    """Return the cursor that goes on after ``row``."""
    return f"{row['timestamp']}_{row['id']}"


def cursor_place(cursor: str) -> tuple[str, int]:
    """Return instant and id of a cursor; ``ValueError`` where it is not one of ours."""
    moment, _, number = cursor.rpartition("_")
    if utc_bound(moment) != moment or not number.isdecimal():
        raise ValueError("this cursor was not made by us")
    return moment, int(number)


def signal_queries(wanted: SignalFilter) -> list[Select[Any]]:
    """Return queries whose rows together are the signals wanted.

    "At least 4 votes" is asked as "4" and "5" and "6": each alone is read from its index in the order of time,
    while a range of strengths would have to be sorted.
    """
    query = _between(select(signals).where(*wanted.scope.conditions(signals)), signals, wanted.start, wanted.end)
    if wanted.signal_type is not None:
        query = query.where(signals.c.signal_type == wanted.signal_type)
    if wanted.acted is not None:
        query = query.where(signals.c.acted == wanted.acted)
    if wanted.min_strength is None or wanted.min_strength <= 0:
        return [query]
    strengths = range(wanted.min_strength, MOST_VOTES + 1)
    return [query.where(signals.c.strength == strength) for strength in strengths]


def trade_queries(wanted: TradeFilter) -> list[Select[Any]]:
    """Return the query for the trades wanted."""
    query = _between(select(trades).where(*wanted.scope.conditions(trades)), trades, wanted.start, wanted.end)
    query = _equal(query, trades, status=wanted.status, side=wanted.side)
    if wanted.min_pnl is not None:
        query = query.where(trades.c.pnl >= wanted.min_pnl)
    if wanted.max_pnl is not None:
        query = query.where(trades.c.pnl <= wanted.max_pnl)
    return [query]


def order_queries(wanted: OrderFilter) -> list[Select[Any]]:
    """Return the query for the orders wanted."""
    query = _between(select(orders).where(*wanted.scope.conditions(orders)), orders, wanted.start, wanted.end)
    return [_equal(query, orders, status=wanted.status, purpose=wanted.purpose, finished=wanted.finished)]


def news_queries(wanted: NewsFilter) -> list[Select[Any]]:
    """Return the query for the articles wanted."""
    query = _between(select(news_articles), news_articles, wanted.start, wanted.end)
    return [_equal(query, news_articles, world=wanted.world, source=wanted.source, sentiment=wanted.sentiment)]


def read_page(
    connection: Connection, table: Table, queries: list[Select[Any]], limit: int, cursor: str | None, offset: int
) -> tuple[tuple[dict[str, Any], ...], str | None]:
    """Return one page of the rows of all ``queries``, newest first, and the cursor of the next.

    Raises:
        ValueError: limit or offset out of range, or a cursor that is none.
    """
    if not 1 <= limit <= MOST_ROWS or offset < 0:
        raise ValueError(f"limit must lie in 1..{MOST_ROWS}, and offset not below 0")
    if not queries:
        return (), None
    statement = page_statement(table, queries, limit + 1, cursor, offset)
    rows = [dict(row) for row in connection.execute(statement).mappings()]
    following = cursor_of(rows[limit - 1]) if len(rows) > limit else None
    return tuple(rows[:limit]), following


def page_statement(
    table: Table, queries: list[Select[Any]], limit: int, cursor: str | None, offset: int
) -> Select[Any]:
    """Return the statement that reads ``limit`` rows after ``cursor`` and ``offset``."""
    place = (table.c.timestamp, table.c.id)
    if cursor is not None:
        queries = [query.where(tuple_(*place) < cursor_place(cursor)) for query in queries]
    newest = [query.order_by(*(column.desc() for column in place)) for query in queries]
    if len(newest) == 1:
        return newest[0].limit(limit).offset(offset)
    parts = [select(query.limit(limit + offset).subquery()) for query in newest]
    merged = union_all(*parts).subquery()
    whole = select(*(merged.c[column.name].label(column.name) for column in table.c))
    return whole.order_by(merged.c.timestamp.desc(), merged.c.id.desc()).limit(limit).offset(offset)


def count_up_to(connection: Connection, table: Table, queries: list[Select[Any]], most: int) -> int:
    """Return how many rows the queries have together, but stop counting at ``most``."""
    counted = 0
    for query in queries:
        some = query.with_only_columns(table.c.id).limit(most - counted).subquery()
        counted += connection.execute(select(func.count()).select_from(some)).scalar_one()
        if counted >= most:
            break
    return counted


def _equal(query: Select[Any], table: Table, **wanted: object) -> Select[Any]:
    conditions: Iterable[ColumnElement[bool]] = (
        table.c[name] == value for name, value in wanted.items() if value is not None
    )
    return query.where(*conditions)


def _between(query: Select[Any], table: Table, start: str | None, end: str | None) -> Select[Any]:
    if start is not None:
        query = query.where(table.c.timestamp >= utc_bound(start))
    if end is not None:
        query = query.where(table.c.timestamp < utc_bound(end))
    return query
