"""One bot's journal in the database: orders, trades, turns, balances and days.

The bot is the only writer of its own rows, so the state it needs in a turn (unfinished orders, open trades, the last
results) is read once at the start and then kept in memory: a turn waits for no read and works while the database is
locked. An order that may open exposure is on disk before the call returns; everything else is written in the
background, in order.
"""

import logging
import threading
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Table, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from src.domain.circuit_breaker import BreakerState, as_row, from_events, unreadable
from src.domain.clock import MINUTE_MS, Clock, is_over, utc_day, utc_text
from src.domain.errors import StoreCorrupt, StoreUnavailable
from src.domain.orders import Order, OrderIntent, OrderStatus, Purpose
from src.domain.portfolio import Account, Trade
from src.domain.risk import loss_share
from src.execution.journal import TradeStart, Turn, is_part_of
from src.storage.daily_repository import DailyRepository
from src.storage.database import TradingDatabase, add_breaker_event
from src.storage.engine import insert_or
from src.storage.intent_log import IntentLog
from src.storage.mapping import (
    closed_since,
    context_query,
    last_exits,
    last_results,
    limit_days,
    newest_note_ms,
    open_starts,
    order_figures,
    order_row,
    position_row,
    signal_query,
    signal_row,
    trade_row,
    trade_sums,
    turn_counts,
    unfinished_intents,
    untraded_entries,
)
from src.storage.tables import (
    EVERY,
    account_balance,
    daily_performance,
    orders,
    positions,
    signals,
    trades,
)
from src.storage.transfer_repository import TransferRepository

log = logging.getLogger(__name__)

_INTENT_PATIENCE_S = 1.0  # an entry that cannot be recorded by then is not sent; meanwhile other pairs' exits wait
_RESULTS_KEPT = 1_000
_TRADE_KEY = ("bot_id", "mode", "world", "entry_client_id")


class DuplicateIntent(StoreUnavailable):
    """An order with this client id was planned before: look it up at the exchange instead of sending it again."""


class JournalRepository:
    """The ``Journal`` of one bot (the owner of ``database``); may be shared by the bot's threads.

    Reads the unfinished orders and trades when created, so create it after ``migrate``; raises ``StoreUnavailable`` or
    ``StoreCorrupt`` then.
    """

    def __init__(self, database: TradingDatabase, clock: Clock, intents: IntentLog | None = None) -> None:
        self._database = database
        self._intents = intents
        self._owner = database.owner
        self._clock = clock
        self._days = DailyRepository(database.owner, clock)
        self._lock = threading.RLock()
        self._sent: dict[str, OrderIntent] = {}
        self._account_ms, self._peak_since_ms = -1, -1
        self._peak: Decimal | None = None
        self._tripped: BreakerState | None = None
        with database.read() as connection:
            own_orders, own_trades = self._owner.rows_of(orders), self._owner.rows_of(trades)
            self._unfinished = {each.client_id: each for each in unfinished_intents(connection, own_orders)}
            self._untraded = {each.client_id: each for each in untraded_entries(connection, own_orders)}
            self._starts = {each.trade.entry_client_id: each for each in open_starts(connection, own_trades)}
            self._results = last_results(connection, self._owner.rows_of(trades), _RESULTS_KEPT)
            self._exits = last_exits(connection, self._owner.rows_of(orders))
            self._limit_days = limit_days(connection, self._owner.rows_of(daily_performance))
            self._highest = self._days.highest_earned(connection)
            self._last_note_ms = newest_note_ms(connection, self._owner.rows_of)
            self.transfers = TransferRepository(database, clock, connection)
        for intent in intents.read() if intents is not None else ():
            self._note_again(intent)

    @property
    def open_symbols(self) -> tuple[str, ...]:
        """The pairs with an open trade, or with an order whose outcome is not known."""
        with self._lock:
            orders_open = {each.symbol for each in (*self._unfinished.values(), *self._untraded.values())}
            return tuple(sorted({each.trade.symbol for each in self._starts.values()} | orders_open))

    def plan_order(self, intent: OrderIntent) -> None:
        """Write an intent; it is on disk when this returns.

        Raises:
            DuplicateIntent: the client id is known, so the order may have been sent before.
            StoreUnavailable: not written.
        """
        row = order_row(self._owner.columns, intent, self._clock.now_ms())
        try:
            self._database.write(lambda connection: connection.execute(insert(orders), row), _INTENT_PATIENCE_S)
        except IntegrityError as error:
            raise DuplicateIntent(f"Order {intent.client_id} was planned before: look it up.") from error
        self._keep_intent(intent)

    def note_order(self, intent: OrderIntent) -> None:
        """Record an intent that can only reduce exposure, in the background; a repeated one counts once.

        It is in the intent log, if there is one, when this returns.
        """
        if self._intents is not None:
            if not self._database.pending:
                self._intents.clear()
            self._intents.append(intent)
        self._keep_intent(intent)
        self._save_intent(intent)

    def update_order(self, client_id: str, status: OrderStatus, order: Order | None, fees: Decimal, note: str) -> None:
        """Record the outcome of an order, in the background; ``order`` None keeps the exchange's figures."""
        if status.final:
            with self._lock:
                self._finish_intent(client_id, status)
        values: dict[str, Any] = {
            "status": str(status),
            "finished": status.final,
            "updated_at": utc_text(self._clock.now_ms()),
        }
        values |= order_figures(order) | ({"fees": fees} if fees else {}) | ({"refusal": note} if note else {})
        if order is not None or not status.final:
            values["sent_at"] = func.coalesce(orders.c.sent_at, values["updated_at"])
        change = update(orders).where(self._owner.rows_of(orders), orders.c.client_id == client_id).values(values)
        self._later(lambda connection: connection.execute(change))

    def unfinished_orders(self, symbol: str) -> list[OrderIntent]:
        """Return the symbol's intents without an outcome, and its filled entries without a trade, oldest first."""
        with self._lock:
            known = [*self._untraded.values(), *self._unfinished.values()]
        return sorted((each for each in known if each.symbol == symbol), key=lambda each: each.decided_ms)

    def open_trade(self, start: TradeStart) -> None:
        """Record the start of a trade, or its new protective orders, in the background; one trade per entry id."""
        trade = start.trade
        with self._lock:
            self._starts[trade.entry_client_id] = start
            self._forget_entries(trade)
        row = trade_row(self._owner.columns, trade) | {"status": "open", "timestamp": utc_text(trade.entry_ms)}
        row |= {"stop_client_id": start.stop_client_id, "target_client_id": start.target_client_id}

        def save(connection: Connection) -> None:
            signal_id = connection.execute(signal_query(self._owner.rows_of, trade)).scalar()
            statement = insert_or(connection, trades).values(row | {"signal_id": signal_id})
            connection.execute(statement.on_conflict_do_update(index_elements=_TRADE_KEY, set_=row))

        self._later(save)

    def close_trade(self, trade: Trade) -> None:
        """Record the end of a trade, in the background; a repeated call replaces the figures.

        The day's sums change by the difference, in the same transaction.
        """
        if trade.exit_ms is None:
            raise ValueError(f"trade {trade.entry_client_id} has no exit")
        with self._lock:
            self._starts.pop(trade.entry_client_id, None)
            self._forget_entries(trade)
            self._results[trade.entry_client_id] = (trade.exit_ms, trade.pnl)
            if len(self._results) > _RESULTS_KEPT:
                self._results.popitem(last=False)
        closed = {"status": "closed", "timestamp": utc_text(trade.exit_ms)}
        row = trade_row(self._owner.columns, trade) | closed | {"pnl": trade.pnl, "pnl_percent": trade.pnl_percent}
        self._later(lambda connection: self._save_end(connection, row, utc_day(trade.exit_ms or 0)))

    def open_trades(self, symbol: str) -> list[TradeStart]:
        """Return the symbol's round trips that are not closed, oldest first."""
        with self._lock:
            found = [each for each in self._starts.values() if each.trade.symbol == symbol]
        return sorted(found, key=lambda each: each.trade.entry_ms)

    def has_trade(self, entry_client_id: str) -> bool:
        """Return whether a round trip of that entry is known, open or closed."""
        with self._lock:
            if entry_client_id in self._starts or entry_client_id in self._results:
                return True
        own = select(trades.c.id).where(self._owner.rows_of(trades), trades.c.entry_client_id == entry_client_id)
        with self._database.read() as connection:
            return connection.execute(own).first() is not None

    def closed_trades(self, symbol: str, since_ms: int) -> list[Trade]:
        """Return the symbol's own round trips closed since then and on disk, oldest first."""
        with self._database.read() as connection:
            return closed_since(connection, self._owner.rows_of(trades), symbol, since_ms)

    def last_note_ms(self) -> int | None:
        """Return the time of the newest balance or order found when the journal was opened."""
        return self._last_note_ms

    def exit_reason(self, symbol: str, since_ms: int) -> str:
        """Return the reason of the symbol's last exit order that was filled and decided since then, or ""."""
        with self._lock:
            decided_ms, reason = self._exits.get(symbol, (-1, ""))
        return reason if decided_ms >= since_ms else ""

    def closed_pnls(self, limit: int, since_ms: int) -> list[Decimal]:
        """Return the net results of the last ``limit`` (at most 1,000) trades closed since then, oldest first."""
        with self._lock:
            results = sorted(self._results.values())[-limit:] if limit > 0 else []
        return [pnl for exit_ms, pnl in results if exit_ms >= since_ms]

    def record_turn(self, turn: Turn) -> None:
        """Record a turn with its indicators, votes, gates and reasons, and count it, in the background."""
        row = signal_row(self._owner.columns, turn)
        counts = turn_counts(row)
        day = utc_day(turn.observation.now_ms)
        context = turn.observation.context
        context_id = None if context is None else context_query(self._owner.rows_of, utc_text(context.as_of_ms))

        def save(connection: Connection) -> None:
            found = None if context_id is None else connection.execute(context_id).scalar()
            connection.execute(insert(signals), row | {"context_id": found})
            self._days.add(connection, row["symbol"], day, counts)

        self._later(save)

    def settle_turn(self, turn: Turn, acted: bool, outcome: str) -> None:
        """Record the outcome of a turn that decided to act, in the background; ``outcome`` says why it failed."""
        seen = turn.observation
        with self._lock:
            intent = self._sent.get(seen.symbol)
        values: dict[str, Any] = {"acted": acted, "outcome": outcome}
        if turn.order_client_id:
            values["client_id"] = turn.order_client_id
        elif intent is not None and intent.decided_ms >= seen.now_ms:
            values["client_id"] = intent.client_id
        change = (
            update(signals)
            .where(
                self._owner.rows_of(signals),
                signals.c.symbol == seen.symbol,
                signals.c.timestamp == utc_text(seen.now_ms),
            )
            .values(values)
        )

        def save(connection: Connection) -> None:
            connection.execute(change)
            if acted:
                self._days.add(connection, seen.symbol, utc_day(seen.now_ms), {"acted": 1})

        self._later(save)

    def record_account(self, account: Account) -> None:
        """Record balances, positions and the day's equity, in the background; an unchanged account is recorded once."""
        with self._lock:
            if not is_over(MINUTE_MS, account.as_of_ms, self._account_ms):
                return
            self._account_ms = account.as_of_ms
            self._highest = account.earned if self._highest is None else max(self._highest, account.earned)
            drawdown = loss_share(self._highest + account.transferred, account.equity)
            starts = {each.trade.symbol: each.trade for each in self._starts.values()}
        balance = self._owner.columns(EVERY) | {
            "timestamp": utc_text(account.as_of_ms),
            "wallet_balance": account.wallet_balance,
            "available_balance": account.available_balance,
            "unrealized_pnl": account.unrealized_pnl,
            "equity": account.equity,
            "transferred": account.transferred,
        }
        day = utc_day(account.as_of_ms)
        moved = account.transferred - self.transfers.before(day)
        held = [position_row(self._owner.columns, each, starts.get(each.symbol)) for each in account.positions]

        def save(connection: Connection) -> None:
            connection.execute(insert(account_balance), balance)
            connection.execute(delete(positions).where(self._owner.rows_of(positions)))
            if held:
                connection.execute(insert(positions), held)
            self._days.note_equity(connection, day, account, moved, float(drawdown))

        self._later(save)

    def day_start(self, day: str, earned: Decimal) -> Decimal:
        """Return ``Account.earned`` at the start of the UTC day; the first caller of the day sets it.

        The day's row stores the equity: ``earned`` plus the transfers of the days before.

        Raises:
            StoreUnavailable: it could be neither read nor set.
        """
        before = self.transfers.before(day)
        start = self._database.write(
            lambda connection: self._days.start(connection, day, earned + before), _INTENT_PATIENCE_S
        )
        return start - before

    def peak_equity(self, earned: Decimal, since_ms: int) -> Decimal:
        """Return the highest ``Account.earned`` noted since then, ``earned`` included."""
        with self._lock:
            if self._peak is None or since_ms != self._peak_since_ms:
                with self._database.read() as connection:
                    self._peak = self._days.highest_earned(connection, since_ms)
                self._peak_since_ms = since_ms
            self._peak = earned if self._peak is None else max(self._peak, earned)
            return self._peak

    def limit_hit(self, day: str, loss: Decimal) -> None:
        """Record, in the background, that the daily loss limit was reached."""
        log.error("daily loss limit reached: day=%s loss=%s", day, loss)
        self._limit_days.add(day)
        self._later(lambda connection: self._days.mark_limit(connection, day))

    def limit_was_hit(self, day: str) -> bool:
        """Return whether the daily loss limit was recorded as reached, by this process or an earlier one."""
        return day in self._limit_days

    def breaker(self) -> BreakerState:
        """Return the circuit breaker's state; TRIPPED when it cannot be read."""
        with self._lock:
            if self._tripped is not None and self._database.pending:
                return self._tripped  # not on disk yet
            self._tripped = None
        now_ms = self._clock.now_ms()
        try:
            return from_events(self._database.breaker_events(limit=1), now_ms)
        except (StoreUnavailable, StoreCorrupt) as error:
            return unreadable(now_ms, str(error))

    def trip_breaker(self, state: BreakerState) -> None:
        """Append a tripped state, in the background; it takes effect at once and is applied after concurrent events."""
        event = self._owner.columns(EVERY) | as_row(state) | {"timestamp": utc_text(self._clock.now_ms())}
        with self._lock:
            self._tripped = state
            self._later(lambda connection: add_breaker_event(connection, event))

    def _forget_entries(self, trade: Trade) -> None:
        """Drop the filled entries of a recorded trade: the one that opened it, and its increases."""
        for name in [name for name, each in self._untraded.items() if is_part_of(each, trade)]:
            self._untraded.pop(name)

    def _save_intent(self, intent: OrderIntent) -> None:
        row = order_row(self._owner.columns, intent, self._clock.now_ms())
        self._later(lambda connection: connection.execute(_new_row(connection, orders, row)))

    def _note_again(self, intent: OrderIntent) -> None:
        """Write an intent that the previous process could not write; its outcome is then queried at the exchange."""
        known = select(orders.c.id).where(self._owner.rows_of(orders), orders.c.client_id == intent.client_id)
        with self._database.read() as connection:
            if connection.execute(known).first() is not None:
                return
        log.warning("intent found in the log, not in the database: client_id=%s", intent.client_id)
        self._keep_intent(intent)
        self._save_intent(intent)

    def _later(self, work: Any) -> None:
        self._database.write_later(work)

    def _keep_intent(self, intent: OrderIntent) -> None:
        with self._lock:
            self._unfinished.setdefault(intent.client_id, intent)
            if not intent.kind.conditional:
                self._sent[intent.symbol] = intent

    def _finish_intent(self, client_id: str, status: OrderStatus) -> None:
        intent = self._unfinished.pop(client_id, None)
        if intent is None or status is not OrderStatus.FILLED:
            return
        if intent.purpose is Purpose.EXIT:
            self._exits[intent.symbol] = (intent.decided_ms, intent.reason)
        if intent.purpose is Purpose.ENTRY and client_id not in self._starts and client_id not in self._results:
            self._untraded[client_id] = intent

    def _save_end(self, connection: Connection, row: dict[str, Any], day: str) -> None:
        key = and_(self._owner.rows_of(trades), trades.c.entry_client_id == row["entry_client_id"])
        former = connection.execute(select(trades).where(key)).mappings().first()
        if former is None:
            connection.execute(insert(trades), row)
        else:
            connection.execute(update(trades).where(key), row)
        if former is not None and former["status"] == "closed":
            self._days.add(connection, former["symbol"], former["timestamp"][:10], trade_sums(former, -1))
        self._days.add(connection, row["symbol"], day, trade_sums(row, 1))


def _new_row(connection: Connection, table: Table, row: dict[str, Any]) -> Any:
    return insert_or(connection, table).values(row).on_conflict_do_nothing()
