"""Keeps a position's protective orders standing and moved, removes them while flat, closes where no stop can stand."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from decimal import Decimal

from src.domain.clock import Clock
from src.domain.errors import ExchangeError
from src.domain.market import Candle, MarkPrice
from src.domain.orders import Order
from src.domain.portfolio import Direction
from src.domain.risk import ActiveLimits
from src.execution.conditional_orders import Unprotected
from src.execution.exit_follower import ExitFollower
from src.execution.journal import Journal
from src.execution.order_manager import OrderManager
from src.execution.position_record import PositionRecord
from src.execution.position_state import PositionState
from src.execution.position_status import PositionStatus
from src.execution.protection_manager import ProtectionManager
from src.execution.reconciler import Reconciler
from src.strategy.exits import TAKE_PARTIAL

log = logging.getLogger(__name__)

PROTECTION_CHECK_MS = 90_000
_FLAT_CHECKS_MS = (5_000, 60_000)


class PositionProtection(PositionStatus):
    """The part of a position manager that looks after stop, target, partial targets and the time stop."""

    def __init__(
        self,
        record: PositionRecord,
        reconciler: Reconciler,
        protection: ProtectionManager,
        limits: ActiveLimits,
        clock: Clock,
        *,
        order_manager: OrderManager,
        journal: Journal,
        mark_price: Callable[[], MarkPrice | None],
        candles: Callable[[], Sequence[Candle]],
        reconcile_ms: int,
        protection_check_ms: int,
    ) -> None:
        super().__init__(record, reconciler, protection, limits, clock, mark_price=mark_price)
        self._order_manager, self._journal = order_manager, journal
        self._reconcile_ms, self._protection_check_ms = reconcile_ms, protection_check_ms
        self._exits = ExitFollower(record, protection, limits, clock, mark_price=mark_price, candles=candles)
        self._planned_ms, self._checks_ms = 0, list[int]()

    @abstractmethod
    def close(self, reason: str) -> bool:
        """Close the position by market; return whether it is closed."""

    @abstractmethod
    def reduce(self, quantity: Decimal, decided_ms: int, reason: str, *, part: int = 0) -> bool:
        """Close a part of the open position by market; return whether that is done."""

    @property
    def next_move_price(self) -> Decimal | None:
        """The best price from which on the stop is moved again, None where none moves it."""
        return self._exits.next_move_price()

    @property
    def time_over_ms(self) -> int | None:
        """The instant at which the open position's time is over, None when flat or without such an exit."""
        trade, longest_ms = self.trade, self._limits.current.exits.max_holding_ms
        return None if trade is None or not longest_ms else trade.entry_ms + longest_ms

    def apply_limits(self) -> str:
        """Move stop and target of an open position to the limits in force; return what was done, in words."""
        before = self.trade
        if before is None or self._record.exit_reason:
            return ""
        try:
            self._protect(self._protection.listed(), self._clock.now_ms(), attempt=2)
        except ExchangeError as error:
            self._protected = False
            return f"Stop and target of {before.symbol} stay for now: {error}."
        after = self.trade
        if after is None:
            return f"The position in {before.symbol} was closed."
        if (after.stop_price, after.target_price) == (before.stop_price, before.target_price):
            return f"Stop {after.stop_price} and target {after.target_price} of {after.symbol} stay."
        return (
            f"Stop of {after.symbol} moved from {before.stop_price} to {after.stop_price}, "
            f"target from {before.target_price} to {after.target_price}."
        )

    def _protect(self, standing: list[Order], decided_ms: int, attempt: int) -> None:
        """Make stop and targets stand, and note them; close the position where no stop can."""
        before = self._record.start
        if before is None:
            return
        try:
            start = self._protection.ensure(before, standing, decided_ms, attempt, self._exits.progress())
            self._record.start = start
            self._protected = start == before or self._protection.confirm(start)
        except Unprotected as error:
            log.error("position without a stop is closed: symbol=%s reason=%s", self._order_manager.symbol, error)
            self._journal.open_trade(self._record.start or before)
            self._protected = True
            self.close("unprotected")
            return
        if start != before:
            self._journal.open_trade(self._reconciler.booked(start))

    def _standing(self) -> list[Order]:
        """Return the conditional orders of the symbol; those placed last where the list cannot be read."""
        try:
            return self._protection.listed()
        except ExchangeError as error:
            log.warning("protective orders not listed: symbol=%s reason=%s", self._order_manager.symbol, error)
            self._protected = False
            return self._protection.placed()

    def _follow_exits(self, now: int) -> None:
        """Close what has come to its end, close a part whose order does not stand, move the stop where it belongs."""
        if self.state is not PositionState.OPEN or self._record.exit_reason or not self._limits.current.exits.any:
            return
        reason = self._exits.closing_reason()
        if reason:
            log.info("closing: symbol=%s reason=%s", self._order_manager.symbol, reason)
            self.close(reason)
        elif self._exits.wants_move() or self._protection.parts.problem:
            listed = self._protection.listed()
            self._close_missed_parts(listed, now)
            self._protect(listed, now, attempt=3)

    def _close_missed_parts(self, standing: Sequence[Order], decided_ms: int) -> None:
        """Close by market the parts whose price is reached although no order for them stands."""
        trade, mark = self.trade, self._mark_price()
        if trade is None or mark is None or self._record.exit_reason:
            return
        for part in self._protection.parts.missed(trade, self._record.parts_done, standing):
            if part.reached(mark.mark, trade.direction):
                self.reduce(part.quantity, decided_ms, TAKE_PARTIAL, part=part.number)

    def _check_orders(self, now: int) -> None:
        """On a short clock: with a position, its orders stand; while flat, nothing of this bot rests."""
        settled = self.state in (PositionState.FLAT, PositionState.OPEN)
        if not settled or not self._checks_ms or self._planned_ms <= now < self._checks_ms[0]:
            return  # a plan from the future was made under a clock that has come back since
        if self._record.start is not None:
            listed = self._protection.listed()
            self._close_missed_parts(listed, now)
            self._protect(listed, now, attempt=2)
        elif self._record.stranger is None:
            self._protection.clear(None)
        self._plan_checks(now, self._checks_ms[1:])

    def _plan_checks(self, now: int, left: Sequence[int] = ()) -> None:
        every_ms = self._reconcile_ms if self._record.start is None else self._protection_check_ms
        self._planned_ms, self._checks_ms = now, [each for each in left if each > now] or [now + every_ms]

    def _clear_orders(self, held: Direction | None) -> None:
        """Cancel what no position needs; what fails now is done by the checks while flat."""
        now = self._clock.now_ms()
        self._planned_ms, self._checks_ms = now, [now + each for each in _FLAT_CHECKS_MS]
        try:
            self._protection.clear(held)
        except ExchangeError as error:
            self._checks_ms.insert(0, now)
            log.warning("protective orders rest for now: symbol=%s reason=%s", self._order_manager.symbol, error)
