"""Pages of signals, trades, orders and news: filters, keyset cursors, cheap counts.

A page is read backwards in time along an index, from the end of the previous one, so that the thousandth page costs as
much as the first, and rows written meanwhile are neither repeated nor skipped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, Text, cast, func, or_, select, tuple_, union_all

from src.domain.clock import instant_of, utc_text
from src.reporting.formatting import Form
from src.storage.tables import external_signals, market_context, news_articles, orders, signals, trades
from src.strategy.votes import MOST_VOTES

MOST_ROWS = 1_000
MOST_COUNTED = 1_000
_USUAL_VOTES = 3  # an entry needs as many
_KEPT = 64  # composing a statement takes as long as reading twenty rows, and the same ones recur
_SCOPE = ("bot_id", "mode", "world", "symbol")


@dataclass(frozen=True, slots=True)
class Scope:
    """The owner of rows: None matches all. Always give a mode and a world when figures are summed."""

    bot_id: str | None = None
    mode: str | None = None
    world: str | None = None
    symbol: str | None = None

    @property
    def account(self) -> "Scope":
        """The same without the symbol: rows of the account as a whole."""
        return replace(self, symbol=None)

    def conditions(self, table: Table) -> list[ColumnElement[bool]]:
        """Return the conditions for rows of ``table``."""
        wanted = {name: getattr(self, name) for name in _SCOPE if name in table.c}
        return [table.c[name] == value for name, value in wanted.items() if value is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFilter:
    """Which signals; dates are UTC instants or days (``start`` included, ``end`` excluded).

    ``text`` must stand in the reason, the outcome or the veto, whatever its case; ``failed_gate`` names a gate that
    the turn did not pass.
    """

    scope: Scope = Scope()
    signal_type: str | None = None
    min_strength: int | None = None
    acted: bool | None = None
    text: str | None = None
    failed_gate: str | None = None
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
    """Which orders; ``finished`` False means that they can still change."""

    scope: Scope = Scope()
    status: str | None = None
    purpose: str | None = None
    finished: bool | None = None
    start: str | None = None
    end: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsFilter:
    """Which articles, by the instant they were fetched.

    ``coin`` is one that they mention (``BTC``); ``text`` must stand in headline or summary, whatever its case.
    """

    world: str | None = None
    source: str | None = None
    sentiment: str | None = None
    coin: str | None = None
    text: str | None = None
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
    """Return a day or an instant of any zone as comparable UTC text; ``ValueError`` for anything else."""
    return utc_text(instant_of(moment))


def cursor_of(row: dict[str, Any]) -> str:
    """Return the cursor that continues after ``row``."""
    return f"{row['timestamp']}_{row['id']}"


def cursor_place(cursor: str) -> tuple[str, int]:
    """Return instant and id of a cursor; ``ValueError`` if it is invalid."""
    moment, _, number = cursor.rpartition("_")
    if utc_bound(moment) != moment or not number.isdecimal():
        raise ValueError("this cursor was not made by us")
    return moment, int(number)


@lru_cache(_KEPT)
def signal_queries(wanted: SignalFilter) -> tuple[Select[Any], ...]:
    """Return queries whose rows together are the signals wanted.

    "At least 4 votes" is asked as "4" and "5" and "6": each alone is read from its index in the order of time,
    while a range of strengths would have to be sorted.
    """
    queries = _signal_queries(wanted)
    conditions = [*_text_conditions(wanted.text), *_gate_conditions(wanted.failed_gate)]
    return tuple(query.where(*conditions) for query in queries) if conditions else queries


def _text_conditions(text: str | None) -> list[ColumnElement[bool]]:
    if not text:
        return []
    columns = (signals.c.reason, signals.c.outcome, signals.c.veto)
    return [or_(*(column.icontains(text, autoescape=True) for column in columns))]


def _gate_conditions(gate: str | None) -> list[ColumnElement[bool]]:
    """The gates lie in the row as JSON: one that failed is found by its own text in it."""
    if not gate:
        return []
    return [cast(signals.c.gates, Text).contains(f'"name": "{gate}", "passed": false', autoescape=True)]


def _signal_queries(wanted: SignalFilter) -> tuple[Select[Any], ...]:
    rare = "acted" if wanted.acted else "signal_type" if wanted.signal_type in {"BUY", "SELL"} else ""
    equal = {"acted": wanted.acted, "signal_type": wanted.signal_type}
    if wanted.min_strength is None or wanted.min_strength <= 0:
        return (_query(signals, rare, wanted.scope, equal, wanted.start, wanted.end),)
    if wanted.acted or (rare and wanted.min_strength <= _USUAL_VOTES):  # most of those few have as many
        query = _query(signals, rare, wanted.scope, equal, wanted.start, wanted.end)
        return (query.where(_tested(signals.c.strength) >= wanted.min_strength),)
    strengths = range(wanted.min_strength, MOST_VOTES + 1)
    return tuple(
        _query(signals, "strength", wanted.scope, equal | {"strength": strength}, wanted.start, wanted.end)
        for strength in strengths
    )


@lru_cache(_KEPT)
def trade_queries(wanted: TradeFilter) -> tuple[Select[Any], ...]:
    """Return the query for the trades wanted."""
    rare = "status" if wanted.status == "open" else ""
    equal = {"status": wanted.status, "side": wanted.side}
    query = _query(trades, rare, wanted.scope, equal, wanted.start, wanted.end)
    if wanted.min_pnl is not None:
        query = query.where(trades.c.pnl >= wanted.min_pnl)
    if wanted.max_pnl is not None:
        query = query.where(trades.c.pnl <= wanted.max_pnl)
    return (query,)


@lru_cache(_KEPT)
def order_queries(wanted: OrderFilter) -> tuple[Select[Any], ...]:
    """Return the query for the orders wanted."""
    rare = "finished" if wanted.finished is False else "status" if wanted.status else ""
    equal = {"finished": wanted.finished, "status": wanted.status, "purpose": wanted.purpose}
    return (_query(orders, rare, wanted.scope, equal, wanted.start, wanted.end),)


@lru_cache(_KEPT)
def news_queries(wanted: NewsFilter) -> tuple[Select[Any], ...]:
    """Return the query for the articles wanted."""
    equal = {"source": wanted.source, "sentiment": wanted.sentiment}
    query = _query(news_articles, "", Scope(world=wanted.world), equal, wanted.start, wanted.end)
    if wanted.coin is not None:
        query = query.where(cast(news_articles.c.symbols, Text).contains(f'"{wanted.coin}"', autoescape=True))
    if wanted.text:
        columns = (news_articles.c.title, news_articles.c.summary)
        query = query.where(or_(*(column.icontains(wanted.text, autoescape=True) for column in columns)))
    return (query,)


@lru_cache(_KEPT)
def external_queries(scope: Scope, source: str | None) -> tuple[Select[Any], ...]:
    """Return the query for the signals of other programs, of one source or all."""
    table = external_signals
    conditions = [*scope.conditions(table), *([] if source is None else [table.c.source == source])]
    return (select(table).where(*conditions),)


@lru_cache(_KEPT)
def context_queries(scope: Scope, since: str) -> tuple[Select[Any], ...]:
    """Return the query for the market contexts since an instant."""
    table = market_context
    return (select(table).where(*scope.conditions(table), table.c.timestamp >= since),)


def read_page(
    connection: Connection,
    table: Table,
    queries: tuple[Select[Any], ...],
    limit: int,
    cursor: str | None,
    offset: int,
    form: Form | None = None,
) -> tuple[tuple[dict[str, Any], ...], str | None]:
    """Return one page of the rows of all ``queries``, newest first, and the cursor of the next.

    The rows are whole ones of the table, or what ``form`` makes of its columns.

    Raises:
        ValueError: limit or offset out of range, or a cursor that is none.
    """
    if not 1 <= limit <= MOST_ROWS or offset < 0:
        raise ValueError(f"limit must lie in 1..{MOST_ROWS}, and offset not below 0")
    if not queries:
        return (), None
    columns = None if form is None else form.columns
    result = connection.execute(page_statement(table, queries, limit + 1, cursor, offset, columns))
    names = tuple(result.keys())
    found = result.all()
    make = partial(_named, names) if form is None else form.make
    rows = tuple([make(row) for row in found[:limit]])
    return rows, cursor_of(rows[-1]) if len(found) > limit else None


def _named(names: tuple[str, ...], row: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(names, row, strict=True))


@lru_cache(_KEPT)
def page_statement(
    table: Table,
    queries: tuple[Select[Any], ...],
    limit: int,
    cursor: str | None,
    offset: int,
    columns: tuple[ColumnElement[Any], ...] | None = None,
) -> Select[Any]:
    """Return the statement that reads ``limit`` rows after ``cursor`` and ``offset``; ``columns`` None is all."""
    place = (table.c.timestamp, table.c.id)
    wanted = tuple(table.c) if columns is None else columns
    if cursor is not None:
        queries = tuple(query.where(tuple_(*place) < cursor_place(cursor)) for query in queries)
    newest = [query.order_by(*(column.desc() for column in place)) for query in queries]
    if len(newest) == 1:
        return newest[0].with_only_columns(*wanted).limit(limit).offset(offset)
    parts = [select(query.with_only_columns(*place).limit(limit + offset).subquery()) for query in newest]
    merged = union_all(*parts).subquery()
    chosen = select(merged.c.id).order_by(merged.c.timestamp.desc(), merged.c.id.desc()).limit(limit).offset(offset)
    whole = select(*wanted).where(table.c.id.in_(chosen))
    return whole.order_by(*(column.desc() for column in place))


def count_up_to(connection: Connection, table: Table, queries: tuple[Select[Any], ...], most: int) -> int:
    """Return how many rows the queries have together, counting up to ``most``."""
    return int(connection.execute(_count_statement(table, queries, most)).scalar_one()) if queries else 0


@lru_cache(_KEPT)
def _count_statement(table: Table, queries: tuple[Select[Any], ...], most: int) -> Select[Any]:
    some = [select(query.with_only_columns(table.c.id).limit(most).subquery()) for query in queries]
    together = union_all(*some).limit(most).subquery()
    return select(func.count()).select_from(together)


def _query(
    table: Table, rare: str, scope: Scope, equal: dict[str, Any], start: str | None, end: str | None
) -> Select[Any]:
    """Return the rows that match the conditions within the time span.

    One condition selects the index (``rare``, else the symbol, else the first condition, else the bot); the others are
    written so that no index applies to them: without statistics a database would otherwise use the bot's index, which
    covers nearly all rows.
    """
    everything = equal | {name: getattr(scope, name) for name in _SCOPE if name in table.c}
    wanted = {name: value for name, value in everything.items() if value is not None}
    lead = rare or next((name for name in ("symbol", *equal, "bot_id") if name in wanted), "")
    tests = (
        table.c[name] == value if name == lead else _tested(table.c[name]) == value for name, value in wanted.items()
    )
    query = select(table).where(*tests)
    if start is not None:
        query = query.where(table.c.timestamp >= utc_bound(start))
    return query if end is None else query.where(table.c.timestamp < utc_bound(end))


def _tested(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column, in a form to which no index applies."""
    return func.coalesce(column, column)
