"""An entry that waits as a maker before it takes: followed step by step, its fills protected as they come (S1).

The stop stands before the first order is placed, so it covers whatever part of it fills. Exits do not wait for an
entry: they end it.
"""

import logging
from collections.abc import Callable, Sequence
from decimal import Decimal

from src.domain.clock import Clock
from src.domain.errors import ExchangeError, OutcomeUnknown, StoreUnavailable
from src.domain.market import Candle, MarkPrice
from src.domain.portfolio import Account, Direction
from src.domain.ports import Exchange
from src.domain.risk import ActiveLimits
from src.execution.conditional_orders import Unprotected
from src.execution.journal import Journal
from src.execution.maker_entry import MakerEntry, WorkingEntry
from src.execution.order_manager import OrderManager
from src.execution.position_protection import PositionProtection
from src.execution.position_record import PositionRecord
from src.execution.position_state import PositionEvent, PositionState
from src.execution.protection_manager import ProtectionManager
from src.execution.reconciler import Reconciler

log = logging.getLogger(__name__)


class PositionEntry(PositionProtection):
    """The part of a position manager that waits with an entry; ``maker_wait_ms`` of the limits says how long."""

    def __init__(
        self,
        record: PositionRecord,
        reconciler: Reconciler,
        protection: ProtectionManager,
        limits: ActiveLimits,
        clock: Clock,
        *,
        exchange: Exchange,
        order_manager: OrderManager,
        journal: Journal,
        mark_price: Callable[[], MarkPrice | None],
        candles: Callable[[], Sequence[Candle]],
        reconcile_ms: int,
        protection_check_ms: int,
    ) -> None:
        super().__init__(
            record,
            reconciler,
            protection,
            limits,
            clock,
            order_manager=order_manager,
            journal=journal,
            mark_price=mark_price,
            candles=candles,
            reconcile_ms=reconcile_ms,
            protection_check_ms=protection_check_ms,
        )
        self._maker = MakerEntry(order_manager, exchange, journal)

    def _enter_as_maker(
        self, direction: Direction, mark: Decimal, quantity: Decimal, decided_ms: int, reason: str
    ) -> str:
        """Place the stop, then the first post-only order; return "" or why nothing was begun."""
        try:
            self._protection.place_before_entry(direction, mark, decided_ms)
        except Unprotected as error:
            return self._not_entered(f"the entry was not sent: {error}")
        wait_ms = self._limits.current.entry.maker_wait_ms
        self._maker.begin(direction, quantity, reason, now_ms=decided_ms, wait_ms=wait_ms)
        self._record.entry_under_way = True
        try:
            self._work_on_entry(decided_ms)
        except StoreUnavailable:
            self._maker.working, self._record.entry_under_way = None, False
            self._clear_orders(None)
            raise
        return ""

    def end_entry(self) -> None:
        """Take an entry that still waits back; what was filled of it stays. A failure is tried again later."""
        working = self._maker.working
        if working is None:
            return
        working.until_ms, working.by_market = 0, False
        self._work_on_entry(self._clock.now_ms())

    def _follow_entry(self, account: Account | None, now: int) -> bool:
        """Go on with an entry that waits; return whether it still does."""
        working, record = self._maker.working, self._record
        if working is None:
            return False
        if record.start is not None and (record.needs_reconcile or record.differs(account, now)):
            record.needs_reconcile = False
            self._reconciler.read_fills()
        if working.booked and record.start is None:  # its stop was quicker
            working.until_ms, working.by_market = 0, False
        self._work_on_entry(now)
        if self._maker.working is not None:
            self._follow_exits(now)
        return self._maker.working is not None

    def _work_on_entry(self, now: int) -> None:
        """Take one step: book what was filled, move the order with the price, end it when its time is over."""
        try:
            working = self._maker.step(now)
            if working is None:
                return
            self._book_fills(working, now)
            if working.left and now < working.until_ms:
                return
            self._maker.withdraw()
            self._record.entry_under_way = False
            self._book_fills(working, now)
            self._finish_entry(working, now)
        except OutcomeUnknown as error:
            self._maker.working, self._record.entry_under_way = None, False
            self._record.move(PositionEvent.OUTCOME_UNKNOWN)
            self._record.needs_reconcile = True
            self._record.halt = f"the outcome of an entry is not known: {error}"
        except ExchangeError as error:
            log.warning("maker entry waits: symbol=%s reason=%s", self._order_manager.symbol, error)

    def _book_fills(self, working: WorkingEntry, now: int) -> None:
        """Take over what its orders have filled since the last look, and protect it."""
        if working.filled == working.booked or working.order is None:
            return
        if self.trade is None:
            execution = self._maker.execution(working)
            if execution is None:
                return
            self._reconciler.begin(working.direction, execution)
            self._record.move(PositionEvent.ENTRY_FILLED)
            self._plan_checks(now)
        else:
            self._reconciler.history.note_order(working.order.order_id, working.order.client_id)
            self._reconciler.read_fills()
        working.booked = working.filled
        if self.trade is not None:
            self._protect(self._standing(), now, attempt=4)

    def _finish_entry(self, working: WorkingEntry, now: int) -> None:
        """Buy by market what is left, where that is wanted; without any fill the position stays flat."""
        left = working.quantity - working.filled
        if left and working.by_market and not self._record.exit_reason:
            self._take_rest(working, left, now)
        elif self.trade is None and self.state is PositionState.ENTERING:
            self._not_entered("the entry was taken back before anything was filled")

    def _take_rest(self, working: WorkingEntry, left: Decimal, now: int) -> None:
        opened = self.trade is not None
        intent = self._order_manager.plan_entry(working.direction, left, now, working.reason)
        if opened:
            self._record.move(PositionEvent.INCREASE_STARTED)
        try:
            execution = self._order_manager.send_entry(intent)
        except OutcomeUnknown:
            raise
        except ExchangeError as error:
            log.warning("rest of an entry not taken: symbol=%s reason=%s", self._order_manager.symbol, error)
            if opened:
                self._record.move(PositionEvent.INCREASE_REFUSED)
            else:
                self._not_entered(f"the entry was refused: {error}")
            return
        if opened:
            self._reconciler.increase(execution)
        else:
            self._reconciler.begin(working.direction, execution)
            self._plan_checks(now)
        self._record.move(PositionEvent.ENTRY_FILLED)
        self._protect(self._standing(), now, attempt=5)

    def _not_entered(self, why: str) -> str:
        self._record.move(PositionEvent.ENTRY_REFUSED)
        self._clear_orders(None)
        return why
