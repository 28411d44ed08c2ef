"""The state machine of one symbol's position: entered with its stop, watched, closed, never forgotten.

The exchange is right about what is open, its fills about whose it is; the journal is right about what was meant. The
states and their transitions are the table in ``position_state``; ``halt_reason`` says what keeps entries away.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from src.domain.clock import Clock
from src.domain.errors import (
    ExchangeError,
    ExchangeUnavailable,
    OrderRefused,
    OutcomeUnknown,
    Rejection,
    StoreUnavailable,
)
from src.domain.market import Candle, MarkPrice
from src.domain.portfolio import Account, Direction, Trade
from src.domain.ports import Exchange
from src.domain.risk import ActiveLimits
from src.execution.conditional_orders import Unprotected
from src.execution.executions import closed_trade
from src.execution.journal import Journal
from src.execution.order_manager import OrderManager
from src.execution.pair_settings import PairSettings
from src.execution.position_entry import PositionEntry
from src.execution.position_protection import PROTECTION_CHECK_MS
from src.execution.position_record import PositionRecord, side_held
from src.execution.position_state import Backoff, PositionEvent, PositionState
from src.execution.protection_manager import ProtectionManager
from src.execution.reconciler import Reconciler

log = logging.getLogger(__name__)

_EXIT_ATTEMPTS = 3
_RETRY_MS, _LONGEST_RETRY_MS = 1_000, 60_000
_ALARM_AFTER = 3
_EVENT = PositionEvent


class PositionManager(PositionEntry):
    """The bot's own position of one symbol. One thread at a time, but ``early_stop`` may be read by any."""

    def __init__(
        self,
        order_manager: OrderManager,
        exchange: Exchange,
        journal: Journal,
        clock: Clock,
        limits: ActiveLimits,
        *,
        settings: PairSettings,
        mark_price: Callable[[], MarkPrice | None],
        candles: Callable[[], Sequence[Candle]],
        reconcile_ms: int,
        protection_check_ms: int = PROTECTION_CHECK_MS,
    ) -> None:
        """``candles`` tells the closed one-minute candles, oldest first: a stop that is moved follows them."""
        self._exchange = exchange
        record = PositionRecord(order_manager.symbol)
        protection = ProtectionManager(order_manager, exchange, journal, clock, limits, settings=settings)
        reconciler = Reconciler(record, order_manager, exchange, journal, clock, limits=limits, protection=protection)
        super().__init__(
            record,
            reconciler,
            protection,
            limits,
            clock,
            exchange=exchange,
            order_manager=order_manager,
            journal=journal,
            mark_price=mark_price,
            candles=candles,
            reconcile_ms=reconcile_ms,
            protection_check_ms=protection_check_ms,
        )
        self._exit_pause = Backoff(_RETRY_MS, _LONGEST_RETRY_MS)

    def open(self, direction: Direction, quantity: Decimal, decided_ms: int, reason: str) -> str:
        """Open a position with stop and target; return "" or, in words, why none was opened.

        The stop is placed before the entry is sent. ``StoreUnavailable`` means nothing was sent.
        """
        mark = self._mark_price()
        if self.state is not PositionState.FLAT or self._record.stranger or mark is None:
            return self.halt_reason or f"no entry while the position is {self.state}, the mark price {mark}"
        veto = self._protection.veto(mark.mark, direction)
        try:
            veto = veto or self._protection.prepare_entry(direction)
        except ExchangeError as error:
            veto = f"what rests at the exchange could not be asked: {error}"
        if veto:
            return veto
        self._record.move(_EVENT.ENTRY_STARTED)
        try:
            return self._enter(direction, mark.mark, quantity, decided_ms, reason)
        except StoreUnavailable:
            self._record.move(_EVENT.ENTRY_REFUSED)
            raise

    def _enter(self, direction: Direction, mark: Decimal, quantity: Decimal, decided_ms: int, reason: str) -> str:
        if self._limits.current.entry.maker_wait_ms:
            return self._enter_as_maker(direction, mark, quantity, decided_ms, reason)
        intent = self._order_manager.plan_entry(direction, quantity, decided_ms, reason)
        try:
            stop = self._protection.place_before_entry(direction, mark, decided_ms)
        except Unprotected as error:
            self._order_manager.drop_entry(intent, str(error))
            return self._not_entered(f"the entry was not sent: {error}")
        try:
            execution = self._order_manager.send_entry(intent)
        except OutcomeUnknown as error:
            self._record.move(_EVENT.OUTCOME_UNKNOWN)
            self._record.needs_reconcile = True
            self._record.halt = f"the outcome of an entry is not known: {error}"
            return self._record.halt
        except ExchangeError as error:
            return self._not_entered(f"the entry was refused: {error}")
        self._reconciler.begin(direction, execution)
        self._record.move(_EVENT.ENTRY_FILLED)
        self._protect([] if stop is None else [stop], decided_ms, attempt=1)
        self._plan_checks(self._clock.now_ms())
        self._settle_fees()
        return ""

    def increase(self, direction: Direction, quantity: Decimal, decided_ms: int, reason: str) -> str:
        """Add to the open position of that side, or open one; return "" or, in words, why nothing was added.

        The entry price becomes the mean of all entries. The stop that stands covers the whole position at every
        instant; it is replaced by one at the level of the new mean once that one stands.
        """
        trade, mark = self.trade, self._mark_price()
        if trade is None:
            return self.open(direction, quantity, decided_ms, reason)
        if self.state is not PositionState.OPEN or self.halt_reason or mark is None:
            return self.halt_reason or f"no increase while the position is {self.state}, the mark price {mark}"
        veto = self._protection.veto(mark.mark, direction)
        if veto or direction is not trade.direction:
            return veto or f"{trade.symbol} holds a {trade.direction} position: reduce it first"
        intent = self._order_manager.plan_entry(direction, quantity, decided_ms, reason)
        self._record.move(_EVENT.INCREASE_STARTED)
        try:
            execution = self._order_manager.send_entry(intent)
        except OutcomeUnknown as error:
            self._record.move(_EVENT.OUTCOME_UNKNOWN)
            self._record.needs_reconcile = True
            self._record.halt = f"the outcome of an increase is not known: {error}"
            return self._record.halt
        except ExchangeError as error:
            self._record.move(_EVENT.INCREASE_REFUSED)
            return f"the increase was refused: {error}"
        self._reconciler.increase(execution)
        self._record.move(_EVENT.ENTRY_FILLED)
        self._protect(self._standing(), decided_ms, attempt=1)
        return ""

    def reduce(self, quantity: Decimal, decided_ms: int, reason: str, *, part: int = 0) -> bool:
        """Close a part of the open position by market; return whether that is done.

        Profit and fees of the part are booked at once; the stop goes on covering what is left. The whole quantity
        or more closes the position. ``part`` is the number of the partial target that it stands for, 0 for none.
        """
        trade, record = self.trade, self._record
        if trade is None or self.state is not PositionState.OPEN:
            return False
        if quantity >= record.open_quantity:
            return self.close(reason)
        try:
            execution = self._order_manager.close(trade.direction, quantity, decided_ms, 0, reason, part=part)
        except OutcomeUnknown as error:
            log.warning("outcome of a reduction unknown: symbol=%s reason=%s", trade.symbol, error)
            record.needs_reconcile, record.verified = True, False
            return False
        except ExchangeError as error:
            log.warning("reduction refused: symbol=%s reason=%s", trade.symbol, error)
            record.needs_reconcile, record.verified = True, False
            return False
        self._reconciler.reduce(execution, reason)
        return True

    def close(self, reason: str) -> bool:
        """Close the position by market; return whether it is closed. What fails is tried again by ``press``."""
        self.end_entry()
        trade, record = self.trade, self._record
        if trade is None:
            return True
        record.exit_reason = record.exit_reason or reason
        record.move(_EVENT.EXIT_STARTED)
        decided_ms = self._clock.now_ms()
        for attempt in range(_EXIT_ATTEMPTS):
            try:
                execution = self._order_manager.close(
                    trade.direction, record.open_quantity, decided_ms, attempt, record.exit_reason
                )
            except OutcomeUnknown as error:
                log.warning("exit outcome unknown: symbol=%s reason=%s", trade.symbol, error)
                record.needs_reconcile = True
                if self._ended_by_fills():
                    return True
                continue
            except ExchangeError as error:
                return self._exit_failed(error)
            self._reconciler.history.note_order(execution.order_id, execution.client_id, record.exit_reason)
            record.exits.append(execution)
            if record.open_quantity <= 0:
                self._end(closed_trade(trade, record.exits, record.exit_reason))
                return True
        return self._exit_failed(ExchangeUnavailable("its outcome is not known"))

    def _end(self, finished: Trade) -> None:
        """Write the end down, then remove what rests at the exchange, then complete the figures."""
        held = finished.direction if self._record.foreign > 0 else None
        self._reconciler.finish(finished)
        self._exit_pause.reset()
        self._clear_orders(held)
        self._reconciler.settlement.run()

    def _ended_by_fills(self) -> bool:
        ended = self._reconciler.ended_by_fills()
        if ended:
            self._exit_pause.reset()
        return ended

    def _exit_failed(self, error: ExchangeError) -> bool:
        """Find out why an exit was not accepted before the next one is sent, after a growing pause."""
        pause_ms = self._exit_pause.fail(self._clock.now_ms())
        log.log(
            logging.ERROR if self._exit_pause.failures >= _ALARM_AFTER else logging.WARNING,
            "exit not done: symbol=%s retry_in_s=%d attempt=%d reason=%s",
            self._order_manager.symbol,
            pause_ms // 1_000,
            self._exit_pause.failures,
            error,
        )
        if not isinstance(error, OrderRefused):
            return False
        if self._ended_by_fills():
            return True
        if error.rejection is Rejection.NOTHING_TO_REDUCE:
            self._record.move(_EVENT.MISMATCH)
            self._record.needs_reconcile = True
        return False

    def retry_exit(self) -> None:
        """Go on with an exit that was begun and not finished, after its pause."""
        now = self._clock.now_ms()
        if not self._record.exit_reason or self._record.start is None or not self._exit_pause.due(now):
            return
        if self._exit_pause.failures and (self._ended_by_fills() or not self._is_held(now)):
            return
        self.close(self._record.exit_reason)

    def _is_held(self, now: int) -> bool:
        """Return whether the exchange shows a position that an exit could reduce; after a no the pause grows."""
        try:
            held = self.owns(self._exchange.account().position(self._order_manager.symbol))
        except ExchangeUnavailable:
            held = False
        if not held:
            self._exit_pause.fail(now)
        return held

    def reconcile(self, account: Account | None) -> None:
        """Make journal and exchange agree: settle orders, notice what changed, keep the protection standing.

        ``account`` is the newest that flowed in, confirmed at the exchange by the feed: while it holds what is
        expected that is enough. In doubt the exchange is asked, again after growing pauses.

        Raises:
            ExchangeError: nothing could be found out now; ``halt_reason`` still holds.
        """
        self.retry_exit()
        record, now = self._record, self._clock.now_ms()
        if self._follow_entry(account, now):
            return
        asks = account is None or record.needs_reconcile or not self._protected or not record.verified
        if asks or record.differs(account, now):
            if self._reconcile_pause.due(now):
                self._reconcile(now)
        else:
            record.halt = record.current_halt(account)
        self._follow_exits(now)
        self._check_orders(now)
        self._settle_fees()
        self._reconciler.settlement.run()

    def request_reconcile(self) -> None:
        """Ask the exchange again at the next ``reconcile``: a protective order ended, a socket was lost."""
        self._record.needs_reconcile = True
        self._reconcile_pause.reset()

    def _reconcile(self, now: int) -> None:
        """Ask the exchange for orders, account and, where they do not explain each other, for fills and history."""
        record = self._record
        self._reconcile_pause.fail(now)  # until everything is known
        settled = self._reconciler.settle_orders()
        if settled.entry_ms is not None:
            record.move(_EVENT.FOUND_OPEN)
            self._protect(settled.listed, settled.entry_ms, attempt=1)
        position = self._exchange.account().position(self._order_manager.symbol)
        explained = self._reconciler.explain(position, settled.listed)
        if settled.undecided and not record.halt:
            record.halt = f"the outcome of order {settled.undecided[0].client_id} is not known yet"
        known = explained and not settled.undecided
        record.needs_reconcile = not known
        self._move_after_reconcile(known)
        if record.start is None:
            self._protection.clear(side_held(position))
        elif explained and not record.exit_reason:
            listed = settled.listed if settled.entry_ms is None else self._protection.listed()
            self._close_missed_parts(listed, now)
            self._protect(listed, now, attempt=2)
        if not record.needs_reconcile and self._protected:
            self._reconcile_pause.reset()
        self._plan_checks(now)

    def _move_after_reconcile(self, known: bool) -> None:
        record = self._record
        if not known:
            record.move(_EVENT.OUTCOME_UNKNOWN if record.state is PositionState.UNKNOWN else _EVENT.MISMATCH)
        elif record.start is None:
            record.move(_EVENT.FOUND_FLAT)
        else:
            record.move(_EVENT.FOUND_EXITING if record.exit_reason else _EVENT.FOUND_OPEN)

    def _settle_fees(self) -> None:
        """Price what an entry paid in another asset, and put it into the open trade; a failure is tried again."""
        owed, start = self._record.owed, self._record.start
        if owed is None or start is None:
            return
        try:
            fees = self._order_manager.settle_fees(owed).fees
        except ExchangeError as error:
            log.warning("fees of an entry follow later: symbol=%s reason=%s", start.trade.symbol, error)
            return
        self._record.owed = None
        self._record.start = replace(start, trade=replace(start.trade, fees=fees))
        self._journal.open_trade(self._record.start)
