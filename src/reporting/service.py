"""Read access for dashboard, API and reports: pages, summaries, performance, the state of the bots.

All queries are read-only and short. Sums over whole days come from the counters that the journal keeps; only the first,
partial day of a period is counted row by row. Money is ``Decimal``, times are UTC text, and unknown values are
``None``.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, select

from src.domain.circuit_breaker import BreakerState, from_events
from src.domain.clock import DAY_MS, utc_day, utc_text
from src.domain.errors import StoreCorrupt, StoreUnavailable
from src.reporting.aggregates import Performance, SignalStats, count_signals, sum_performance, sums_of_days
from src.reporting.breakdown import closed_trades_query
from src.reporting.equity import EquityPoint, account_days, curve_of_days, curve_of_turns
from src.reporting.forecasts import (
    LIVE,
    ForecasterScore,
    ForecastFilter,
    forecast_queries,
    read_scores,
    verdicts,
)
from src.reporting.formatting import Form, clean
from src.reporting.news_sentiment import SentimentInterval, Step, read_sentiment
from src.reporting.pages import (
    MOST_COUNTED,
    NewsFilter,
    OrderFilter,
    Page,
    Scope,
    SignalFilter,
    TradeFilter,
    context_queries,
    count_up_to,
    external_queries,
    news_queries,
    order_queries,
    read_page,
    signal_queries,
    trade_queries,
)
from src.reporting.queries import (
    BEATS,
    COSTS,
    LAST_EVENT,
    heartbeat_ages,
    newest,
    newest_first,
    newest_good_chart,
    positions_of,
    results_of_days,
)
from src.storage.tables import (
    account_balance,
    bot_status,
    chart_analyses,
    circuit_breaker_events,
    external_signals,
    forecasts,
    market_context,
    news_articles,
    orders,
    signals,
    trades,
    training_episodes,
    training_runs,
)

Found = TypeVar("Found")
_FINE_CURVE_MS = 7 * DAY_MS  # a longer curve is drawn from days


EVERYBODY = Scope()
ALL_SIGNALS, ALL_TRADES, ALL_ORDERS, ALL_NEWS = SignalFilter(), TradeFilter(), OrderFilter(), NewsFilter()


class ReadConnections(Protocol):
    """Provides connections for reading."""

    def read(self) -> AbstractContextManager[Connection]:
        """Lend a connection whose queries all see one and the same instant."""


@dataclass(frozen=True, slots=True)
class _Lent:
    """A connection that is open already, lent again and again."""

    connection: Connection

    def read(self) -> AbstractContextManager[Connection]:
        """Lend it."""
        return nullcontext(self.connection)


class ReportService:
    """Queries one database; safe to share between threads.

    Every method may raise ``StoreUnavailable`` or ``StoreCorrupt``; invalid dates raise ``ValueError``.
    """

    def __init__(self, database: ReadConnections) -> None:
        self._database = database

    @contextmanager
    def at_one_instant(self) -> Iterator["ReportService"]:
        """Yield a service whose queries all see the same snapshot; for one thread, and short."""
        with self._database.read() as connection:
            yield ReportService(_Lent(connection))

    def signals(
        self,
        wanted: SignalFilter = ALL_SIGNALS,
        *,
        limit: int = 100,
        cursor: str | None = None,
        offset: int = 0,
        form: Form | None = None,
    ) -> Page:
        """Return a page of signals, newest first: whole rows, or what ``form`` makes of them."""
        with self._database.read() as connection:
            queries = signal_queries(wanted)
            rows, following = read_page(connection, signals, queries, limit, cursor, offset, form)
            narrowed = (wanted.min_strength, wanted.start, wanted.end, wanted.text, wanted.failed_gate)
            plain = all(each is None for each in narrowed)
            if not plain:
                return _counted(connection, signals, queries, rows, following)
            return Page(rows, following, _plain_total(connection, wanted))

    def trades(
        self,
        wanted: TradeFilter = ALL_TRADES,
        *,
        limit: int = 100,
        cursor: str | None = None,
        offset: int = 0,
        form: Form | None = None,
    ) -> Page:
        """Return a page of trades, newest first (by exit; open ones by entry): whole rows, or what ``form`` makes."""
        return self._page(trades, trade_queries(wanted), limit, cursor, offset, form)

    def orders(
        self, wanted: OrderFilter = ALL_ORDERS, *, limit: int = 100, cursor: str | None = None, offset: int = 0
    ) -> Page:
        """Return a page of orders, newest decision first."""
        return self._page(orders, order_queries(wanted), limit, cursor, offset)

    def news(
        self, wanted: NewsFilter = ALL_NEWS, *, limit: int = 100, cursor: str | None = None, offset: int = 0,
        form: Form | None = None,
    ) -> Page:  # fmt: skip
        """Return a page of news articles, last fetched first: whole rows, or what ``form`` makes of them."""
        return self._page(news_articles, news_queries(wanted), limit, cursor, offset, form)

    def external_signals(self, scope: Scope, source: str | None = None, **page: Any) -> Page:
        """Return a page of signals of other programs, last received first; ``page`` is what other lists take."""
        return self._page(external_signals, external_queries(scope, source), **page)

    def news_sentiment(self, wanted: NewsFilter, step: Step) -> list[SentimentInterval]:
        """Return the sentiment of the articles over time, oldest interval first."""
        with self._database.read() as connection:
            return read_sentiment(connection, wanted, step)

    def forecasts(
        self, wanted: ForecastFilter, *, limit: int = 100, cursor: str | None = None, offset: int = 0,
        form: Form | None = None,
    ) -> Page:  # fmt: skip
        """Return a page of forecasts, last made first."""
        return self._page(forecasts, forecast_queries(wanted), limit, cursor, offset, form)

    def forecast_scores(
        self, scope: Scope, source: str = LIVE, since_ms: int | None = None, until_ms: int | None = None
    ) -> list[ForecasterScore]:
        """Return the score of each forecaster of the scope."""
        with self._database.read() as connection:
            return read_scores(connection, scope, source, since_ms, until_ms)

    def forecast_verdict(self, scope: Scope, forecaster: str, model: str = "") -> str | None:
        """Return the verdict on the live forecasts of one forecaster, in words; None if it made none."""
        with self._database.read() as connection:
            found = verdicts(read_scores(connection, scope, forecaster=forecaster, model=model))
        return next(iter(found.values()), None)

    def read(self, query: Callable[[Connection], Found]) -> Found:
        """Return what another module's query finds."""
        with self._database.read() as connection:
            return query(connection)

    def signal(self, signal_id: int) -> dict[str, Any] | None:
        """Return one turn whole, or None where there is none of that id."""
        return self._first(select(signals).where(signals.c.id == signal_id))

    def trade(self, trade_id: int) -> dict[str, Any] | None:
        """Return one trade with its ``orders`` and the ``signal`` it came from, or None."""
        with self._database.read() as connection:
            found = _first(connection, select(trades).where(trades.c.id == trade_id))
            if found is None:
                return None
            names = ("entry_client_id", "exit_client_id", "stop_client_id", "target_client_id")
            same = _same_owner(orders, found)
            query = select(orders).where(same, orders.c.client_id.in_([found[name] for name in names]))
            found["orders"] = _rows(connection, query.order_by(orders.c.timestamp, orders.c.id))
            found["signal"] = _first(connection, select(signals).where(signals.c.id == found["signal_id"]))
            return found

    def signal_stats(self, scope: Scope = EVERYBODY, since_ms: int | None = None) -> SignalStats:
        """Return counts of all signals, or of those since an instant."""
        with self._database.read() as connection:
            return count_signals(connection, scope, since_ms)

    def performance(self, scope: Scope = EVERYBODY, since_ms: int | None = None) -> Performance:
        """Return the results of trades (by exit) and equity, in total or since an instant.

        Figures of equity need one account: name the bot where there are several, and no symbol.
        """
        with self._database.read() as connection:
            return sum_performance(connection, scope, since_ms)

    def daily_equity(self, scope: Scope = EVERYBODY, since_ms: int | None = None) -> list[dict[str, Any]]:
        """Return the account's days, oldest first, each with its equities, drawdown, limit and transfers."""
        with self._database.read() as connection:
            return [dict(row) for row in account_days(connection, scope, since_ms)]

    def daily_pnl(
        self, scope: Scope = EVERYBODY, since_ms: int | None = None, most: int | None = None
    ) -> list[dict[str, Any]]:
        """Return day, net result and number of closed trades of each (or the last ``most``) with trades, in order."""
        since = "" if since_ms is None else utc_day(since_ms)
        with self._database.read() as connection:
            rows = _rows(connection, results_of_days(scope, most), since=since)
        return [row | {"pnl": clean(row["pnl"])} for row in reversed(rows)]

    def closed_trades(self, scope: Scope = EVERYBODY, since_ms: int | None = None) -> list[dict[str, Any]]:
        """Return the closed trades for ``breakdown``, all or by their exit since an instant."""
        with self._database.read() as connection:
            return _rows(connection, closed_trades_query(scope, since_ms))

    def equity_curve(self, scope: Scope, since_ms: int, until_ms: int, most: int = 500) -> list[EquityPoint]:
        """Return points, oldest first, about ``most`` at most: each turn's within a week, else days'."""
        with self._database.read() as connection:
            if until_ms - since_ms > _FINE_CURVE_MS:
                return curve_of_days(connection, scope, utc_day(since_ms), most)
            return curve_of_turns(connection, scope, utc_text(since_ms), most)

    def balance(self, scope: Scope = EVERYBODY) -> dict[str, Any] | None:
        """Return the newest balances, or None before the first."""
        return self._first(newest(account_balance, scope.account))

    def open_positions(self, scope: Scope = EVERYBODY) -> list[dict[str, Any]]:
        """Return the positions as last reported by the exchange, including external ones (``own`` false)."""
        with self._database.read() as connection:
            return _rows(connection, positions_of(scope))

    def market_context(self, scope: Scope = EVERYBODY) -> dict[str, Any] | None:
        """Return the newest context, or None before the first."""
        return self._first(newest(market_context, scope.account))

    def context_history(self, scope: Scope, since_ms: int, limit: int = 500) -> list[dict[str, Any]]:
        """Return the contexts since an instant, newest first."""
        table = market_context
        query = select(table).where(*scope.account.conditions(table), table.c.timestamp >= utc_text(since_ms))
        with self._database.read() as connection:
            return _rows(connection, newest_first(query, table).limit(limit))

    def contexts(
        self,
        scope: Scope,
        since_ms: int,
        *,
        limit: int = 100,
        cursor: str | None = None,
        offset: int = 0,
        form: Form | None = None,
    ) -> Page:
        """Return a page of the contexts since an instant, newest first: whole rows, or what ``form`` makes of them."""
        queries = context_queries(scope.account, utc_text(since_ms))
        return self._page(market_context, queries, limit, cursor, offset, form)

    def chart_analysis(self, scope: Scope = EVERYBODY, only_good: bool = False) -> dict[str, Any] | None:
        """Return the newest chart analysis (with ``only_good``: the newest successful one), or None."""
        return self._first(newest_good_chart(scope) if only_good else newest(chart_analyses, scope))

    def bot_status(self, wall_ms: int) -> list[dict[str, Any]]:
        """Return the last heartbeat of every process with ages; ``wall_ms`` is the machine's time.

        ``age_s`` is in seconds of the machine; ``cycle_age_s``, ``market_age_s`` and ``private_age_s`` are in
        seconds of the exchange, None before the first. ``overdue`` is true after two missed cycles.
        """
        with self._database.read() as connection:
            return [row | heartbeat_ages(row, wall_ms) for row in _rows(connection, BEATS)]

    def breaker(self, bot_id: str, now_ms: int) -> BreakerState:
        """Return the state of a bot's circuit breaker; TRIPPED if there is none."""
        with self._database.read() as connection:
            return from_events(_rows(connection, LAST_EVENT, bot_id=bot_id), now_ms)

    def breaker_history(self, limit: int = 50) -> list[dict[str, Any]]:
        """Return the last events of all circuit breakers, newest first."""
        table = circuit_breaker_events
        with self._database.read() as connection:
            return _rows(connection, select(table).order_by(table.c.id.desc()).limit(limit))

    def api_costs(self, since_ms: int, until_ms: int | None = None) -> list[dict[str, Any]]:
        """Return calls, cached calls, failures, tokens and cost of each service and model since an instant.

        ``until_ms`` leaves out what came then or later.
        """
        until = "~" if until_ms is None else utc_text(until_ms)
        with self._database.read() as connection:
            rows = _rows(connection, COSTS, since=utc_text(since_ms), until=until)
        return [row | {"cost_usd": clean(row["cost_usd"])} for row in rows]

    def training_runs(self, limit: int = 20) -> list[dict[str, Any]]:
        """Return the last training runs, newest first."""
        with self._database.read() as connection:
            return _rows(connection, newest_first(select(training_runs), training_runs).limit(limit))

    def training_episodes(self, run_id: int) -> list[dict[str, Any]]:
        """Return the episodes of a run in order."""
        table = training_episodes
        with self._database.read() as connection:
            return _rows(connection, select(table).where(table.c.run_id == run_id).order_by(table.c.episode))

    def rows(self, query: Select[Any]) -> list[dict[str, Any]]:
        """Return the rows of a query composed by the caller."""
        with self._database.read() as connection:
            return _rows(connection, query)

    def trouble(self) -> str:
        """Return "" if the database can be read, else the reason in one sentence."""
        try:
            with self._database.read() as connection:
                connection.execute(select(bot_status.c.id).limit(1))
        except (StoreUnavailable, StoreCorrupt) as error:
            return str(error)
        return ""

    def _page(
        self,
        table: Table,
        queries: tuple[Select[Any], ...],
        limit: int,
        cursor: str | None,
        offset: int,
        form: Form | None = None,
    ) -> Page:
        with self._database.read() as connection:
            rows, following = read_page(connection, table, queries, limit, cursor, offset, form)
            return _counted(connection, table, queries, rows, following)

    def _first(self, query: Select[Any]) -> dict[str, Any] | None:
        with self._database.read() as connection:
            return _first(connection, query)


def _rows(connection: Connection, query: Select[Any], **asked: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(query, asked).mappings()]


def _first(connection: Connection, query: Select[Any]) -> dict[str, Any] | None:
    row = connection.execute(query).mappings().first()
    return None if row is None else dict(row)


def _same_owner(table: Table, row: dict[str, Any]) -> ColumnElement[bool]:
    return and_(*(table.c[name] == row[name] for name in ("bot_id", "mode", "world")))


def _counted(
    connection: Connection,
    table: Table,
    queries: tuple[Select[Any], ...],
    rows: tuple[dict[str, Any], ...],
    following: str | None,
) -> Page:
    count = count_up_to(connection, table, queries, MOST_COUNTED + 1)
    return Page(rows, following, min(count, MOST_COUNTED), count > MOST_COUNTED)


def _plain_total(connection: Connection, wanted: SignalFilter) -> int:
    """Return the number of signals in total, of a type, or with an order, from the daily counters."""
    if wanted.acted is not None and wanted.signal_type is not None:
        return count_up_to(connection, signals, signal_queries(wanted), MOST_COUNTED)
    if wanted.acted is False:
        counts = sums_of_days(connection, wanted.scope, None, ("cycles", "acted"))
        return int(counts["cycles"] - counts["acted"])
    kind = "cycles" if wanted.signal_type is None else f"{wanted.signal_type.lower()}_signals"
    name = "acted" if wanted.acted else kind
    return int(sums_of_days(connection, wanted.scope, None, (name,))[name])
