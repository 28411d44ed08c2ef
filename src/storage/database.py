"""The trading database: the rows that every process writes, and reads back at its start.

Orders, trades and turns of a bot are written by ``journal_repository.py``; dashboard, API and reports read through
``src/reporting``. ``python3 src/database.py`` migrates the tables and prints the state of the database.
"""

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from src.domain.clock import utc_text
from src.domain.errors import SettingsError, StoreCorrupt, StoreUnavailable
from src.domain.market import MarketContext
from src.storage.connections import StoreLocked
from src.storage.engine import BATCH, Database, insert_or
from src.storage.rows import (
    ApiUsage,
    ChartAnalysis,
    Heartbeat,
    NewsArticle,
    Owner,
    PanelRow,
    TrainingEnd,
    TrainingEpisode,
    TrainingStart,
)
from src.storage.tables import (
    EVERY,
    account_balance,
    api_usage,
    bot_status,
    chart_analyses,
    circuit_breaker_events,
    external_signals,
    forecasts,
    market_context,
    metadata,
    news_articles,
    orders,
    panel_answers,
    signals,
    trades,
    training_episodes,
    training_runs,
)

EX_DATAERR, EX_CANTCREAT, EX_TEMPFAIL, EX_CONFIG = 65, 73, 75, 78  # sysexits.h
CHECK_PATIENCE_S = 5.0  # how long the self-check waits for a lock
_PRUNED = (
    signals, orders, account_balance, market_context, chart_analyses, panel_answers, news_articles, forecasts,
    api_usage, external_signals,
)  # fmt: skip


class TradingDatabase(Database):
    """The suite's database, used by one owner (bot, mode, world).

    Every method may raise ``StoreUnavailable`` (nothing was written) or ``StoreCorrupt``. Methods that write *in the
    background* return at once; a separate thread writes the rows in order, and ``flush`` waits for it.

    Args:
        url: as ``Database``.
        owner: in whose name rows are written.
        read_only: for processes that only read; never creates a file.
        patience_s: how long a write waits for a lock.
    """

    def __init__(
        self, url: str, owner: Owner | None = None, *, read_only: bool = False, patience_s: float = 5.0
    ) -> None:
        super().__init__(url, read_only=read_only, patience_s=patience_s)
        self.owner = owner or Owner()

    def save_market_context(self, context: MarketContext) -> None:
        """Write the market context, in the background."""
        row = {name: value for name, value in context.as_dict().items() if name in market_context.c}
        row |= self.owner.columns(EVERY) | {"world": context.world, "timestamp": utc_text(context.as_of_ms)}
        self.write_later(lambda connection: connection.execute(insert(market_context), row))

    def save_chart_analysis(self, analysis: ChartAnalysis) -> int:
        """Write one analysis and return its id."""
        return self._insert(chart_analyses, self.owner.columns(analysis.symbol) | asdict(analysis))

    def save_panel(self, answers: Sequence[PanelRow]) -> None:
        """Write what each analyst of a panel answered."""
        rows = [self.owner.columns(each.symbol) | asdict(each) for each in answers]
        self.write(lambda connection: connection.execute(insert(panel_answers), rows))

    def save_news(self, articles: Sequence[NewsArticle]) -> int:
        """Write the articles and return how many were new; a known one gets a sentiment that it did not have."""
        rows = [asdict(article) for article in articles]
        pieces = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        return sum(self.write(partial(_save_news, rows=piece)) for piece in pieces)

    def record_api_usage(self, usage: ApiUsage) -> None:
        """Record a paid or limited call, in the background."""
        row = self.owner.columns(usage.symbol) | asdict(usage)
        self.write_later(lambda connection: connection.execute(insert(api_usage), row))

    def month_cost_usd(self, month: str, service: str) -> Decimal:
        """Return the cost of all bots' calls to ``service`` in the UTC month (``2026-11``)."""
        with self.read() as connection:
            query = select(func.sum(api_usage.c.cost_usd)).where(
                api_usage.c.service == service, api_usage.c.timestamp >= month, api_usage.c.timestamp < month + "~"
            )
            return connection.execute(query).scalar() or Decimal(0)

    def heartbeat(self, beat: Heartbeat) -> None:
        """Write a heartbeat, in the background; there is one row for each process of each bot."""
        row = self.owner.columns(beat.symbol) | asdict(beat)
        keys = ("bot_id", "process")
        changed = {name: value for name, value in row.items() if name not in keys}

        def save(connection: Connection) -> None:
            statement = insert_or(connection, bot_status).values(row)
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))

        self.write_later(save)

    def breaker_events(self, bot_id: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """Return the breaker's last events of a bot (this owner's by default) and the database's own, newest first.

        Feed them to ``circuit_breaker_state.from_events``.
        """
        query = (
            select(circuit_breaker_events)
            .where(circuit_breaker_events.c.bot_id.in_((bot_id or self.owner.bot_id, EVERY)))
            .order_by(circuit_breaker_events.c.version.desc())
            .limit(limit)
        )
        with self.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def append_breaker_event(self, row: dict[str, Any], now_ms: int, bot_id: str | None = None) -> bool:
        """Append a state (``circuit_breaker_state.as_row``); return False where its version is not the next.

        False means that another process wrote in between: read the state again and evaluate again.
        """
        event = self.owner.columns(EVERY) | row | {"timestamp": utc_text(now_ms)}
        event["bot_id"] = bot_id or self.owner.bot_id
        return self.write(partial(add_breaker_event, event=event, expected=True))

    def start_training(self, start: TrainingStart) -> int:
        """Write the start of a training run and return the run's id."""
        row = self.owner.columns(start.symbol) | asdict(start) | {"status": "running"}
        return self._insert(training_runs, row)

    def record_episodes(self, run_id: int, episodes: Sequence[TrainingEpisode]) -> None:
        """Write episodes of a run, at most 100 in one transaction."""
        rows = [asdict(episode) | {"run_id": run_id} for episode in episodes]
        for start in range(0, len(rows), BATCH):
            self.write(partial(_insert_rows, table=training_episodes, rows=rows[start : start + BATCH]))

    def finish_training(self, run_id: int, end: TrainingEnd) -> None:
        """Write how a training run ended."""
        change = update(training_runs).where(training_runs.c.id == run_id).values(asdict(end))
        self.write(lambda connection: connection.execute(change))

    def prune(self, before_ms: int, owner: Owner | None = None) -> int:
        """Delete rows older than ``before_ms`` and return their number; trades, days and breaker events stay.

        With ``owner`` only its rows are deleted, and the news of its world. Deletes a hundred rows at a time, so that
        no other writer waits long. Unfinished orders stay.
        """
        return sum(self._prune(table, utc_text(before_ms), owner) for table in _PRUNED)

    def _prune(self, table: Table, before: str, owner: Owner | None) -> int:
        old = select(table.c.id).where(table.c.timestamp < before)
        if table is orders:
            old = old.where(orders.c.finished.is_(True))
        if owner is not None:
            old = old.where(owner.rows_of(table) if "bot_id" in table.c else table.c.world == owner.world)
        piece = delete(table).where(table.c.id.in_(old.order_by(table.c.timestamp, table.c.id).limit(BATCH)))
        deleted = 0
        while count := self.write(lambda connection: connection.execute(piece).rowcount):
            deleted += count
        return deleted

    def _insert(self, table: Table, row: dict[str, Any]) -> int:
        def work(connection: Connection) -> int:
            return int(connection.execute(insert(table).returning(table.c.id), row).scalar_one())

        return self.write(work)


def _insert_rows(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    connection.execute(insert(table), rows)


def _save_news(connection: Connection, rows: list[dict[str, Any]]) -> int:
    new = 0
    for row in rows:
        statement = insert_or(connection, news_articles).values(row).on_conflict_do_nothing()
        written = connection.execute(statement).rowcount
        new += written
        if not written and row["sentiment"] is not None:
            judged = {
                name: row[name] for name in row if name.startswith("sentiment") or name in {"confidence", "score"}
            }
            connection.execute(
                update(news_articles)
                .where(news_articles.c.url_hash == row["url_hash"], news_articles.c.sentiment.is_(None))
                .values(judged)
            )
    return new


def add_breaker_event(connection: Connection, event: dict[str, Any], expected: bool = False) -> bool:
    """Append a state after the newest; with ``expected``, only where its own version is the next (else False)."""
    newest = select(func.max(circuit_breaker_events.c.version)).where(
        circuit_breaker_events.c.bot_id.in_((event["bot_id"], EVERY))
    )
    version = (connection.execute(newest).scalar() or 0) + 1
    if expected and event["version"] != version:
        return False
    connection.execute(insert(circuit_breaker_events), event | {"version": version})
    return True


def describe(database: TradingDatabase) -> list[str]:
    """Return the state of the database, one line per item; reads every table."""
    lines = [f"database   {database.name}"]
    with database.read() as connection:
        if database.is_sqlite:
            journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
            size = Path(database.name).stat().st_size / 1e6 if Path(database.name).is_file() else 0.0
            lines += [f"size       {size:.1f} MB", f"journal    {journal}"]
        for table in metadata.sorted_tables:
            count = connection.execute(select(func.count()).select_from(table)).scalar_one()
            lines.append(f"  {table.name:<24}{count:>12,}")
        lines += [_last_signal(connection), _last_trade(connection)]
    return lines


def _last_signal(connection: Connection) -> str:
    columns = signals.c.timestamp, signals.c.symbol, signals.c.signal_type, signals.c.strength, signals.c.decision
    row = connection.execute(
        select(*columns).order_by(signals.c.timestamp.desc(), signals.c.id.desc()).limit(1)
    ).first()
    return "last signal  none yet" if row is None else "last signal  " + " ".join(map(str, row))


def _last_trade(connection: Connection) -> str:
    columns = trades.c.timestamp, trades.c.symbol, trades.c.side, trades.c.status, trades.c.pnl
    row = connection.execute(select(*columns).order_by(trades.c.timestamp.desc(), trades.c.id.desc()).limit(1)).first()
    return "last trade   none yet" if row is None else "last trade   " + " ".join(map(str, row))


def self_check(url: str) -> list[str]:
    """Migrate and check the database and return its description; raises as ``TradingDatabase`` does."""
    with closing(TradingDatabase(url, patience_s=CHECK_PATIENCE_S)) as database:
        database.migrate()
        database.check()
        return [*describe(database), "integrity    ok"]


def main() -> int:
    """Print the state of the database; return 0 or the exit code of the problem."""
    from src.runtime.settings import Settings

    try:
        lines = self_check(Settings.load().database_url)
    except SettingsError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return EX_CONFIG
    except (StoreCorrupt, StoreUnavailable) as error:
        print(error, file=sys.stderr)
        if isinstance(error, StoreCorrupt):
            return EX_DATAERR
        return EX_TEMPFAIL if isinstance(error, StoreLocked) else EX_CANTCREAT
    print("\n".join(lines))
    return 0
