"""One entry that waits as a maker: placed post-only at the best price, moved with it, ended after its time.

Nothing here knows positions: the position manager takes the fills over, and buys by market what is left.
"""

import logging
from dataclasses import dataclass
from decimal import Decimal

from src.domain.errors import OrderRefused, Rejection
from src.domain.orders import Order, OrderIntent, OrderStatus
from src.domain.portfolio import Direction
from src.domain.ports import Exchange
from src.execution.executions import Execution
from src.execution.journal import Journal
from src.execution.order_manager import OrderManager

log = logging.getLogger(__name__)

_SECOND_MS = 1_000


@dataclass(slots=True)
class WorkingEntry:
    """An entry under way. ``order`` rests at the exchange (None: between two prices); ``done`` is what was filled.

    ``booked`` is what of it is known to the position; ``by_market`` whether the rest is bought by market at the end.
    """

    direction: Direction
    quantity: Decimal
    reason: str
    until_ms: int
    order: Order | None = None
    intent: OrderIntent | None = None
    done: Decimal = Decimal(0)
    booked: Decimal = Decimal(0)
    attempts: int = 0
    by_market: bool = True

    @property
    def left(self) -> Decimal:
        """What is still to be bought or sold."""
        resting = Decimal(0) if self.order is None else self.order.executed_quantity
        return self.quantity - self.done - resting

    @property
    def filled(self) -> Decimal:
        """What all its orders have filled so far."""
        return self.quantity - self.left


class MakerEntry:
    """Places and moves the post-only orders of one entry. Called by one thread at a time."""

    def __init__(self, order_manager: OrderManager, exchange: Exchange, journal: Journal) -> None:
        self._order_manager, self._exchange, self._journal = order_manager, exchange, journal
        self.working: WorkingEntry | None = None

    def begin(self, direction: Direction, quantity: Decimal, reason: str, *, now_ms: int, wait_ms: int) -> None:
        """Begin to wait; the order itself is placed by the next ``step``. Its end is a whole second."""
        until_ms = now_ms // _SECOND_MS * _SECOND_MS + wait_ms
        self.working = WorkingEntry(direction, quantity, reason, until_ms)

    def step(self, now_ms: int) -> WorkingEntry | None:
        """Look at the order that rests, and move it where the best price has gone; return the entry as it stands.

        Raises:
            ExchangeError: the exchange could not be asked; the next step asks again.
        """
        working = self.working
        if working is None:
            return None
        self._look(working)
        if working.left and now_ms < working.until_ms:
            self._follow_price(working, now_ms)
        return working

    def withdraw(self) -> WorkingEntry | None:
        """Take the resting order back and return the entry with all that was filled of it; it is over then."""
        working = self.working
        if working is None:
            return None
        if working.order is not None and not working.order.status.final:
            self._exchange.cancel(working.order)
            self._look(working)
        self.working = None
        return working

    def execution(self, working: WorkingEntry) -> Execution | None:
        """Return what the order that rests, or rested last, has filled so far; None for nothing."""
        if working.order is None or working.intent is None or not working.order.executed_quantity:
            return None
        fills = self._exchange.order_fills(working.order)
        return self._order_manager.summed(working.intent.client_id, fills) if fills else None

    def _look(self, working: WorkingEntry) -> None:
        if working.intent is None or working.order is None:
            return
        found = self._exchange.find_order(working.intent)
        if found is None:
            return
        changed = (found.status, found.executed_quantity) != (working.order.status, working.order.executed_quantity)
        working.order = found
        if changed:
            self._journal.update_order(found.client_id, found.status, found, Decimal(0), "")

    def _follow_price(self, working: WorkingEntry, now_ms: int) -> None:
        bid, ask = self._exchange.best_prices(self._order_manager.symbol)
        best = bid if working.direction is Direction.LONG else ask
        order = working.order
        if order is not None and not order.status.final:
            if order.price is None or (best - order.price) * working.direction.sign <= 0:
                return
            self._exchange.cancel(order)
            self._look(working)
        if working.booked < working.filled:
            return  # the fills are taken over first; the next step goes on
        self._retire(working)
        if working.left:
            self._place(working, best, now_ms)

    def _retire(self, working: WorkingEntry) -> None:
        """Count what the last order filled, and forget it."""
        if working.order is not None:
            working.done += working.order.executed_quantity
            working.order, working.intent = None, None

    def _place(self, working: WorkingEntry, price: Decimal, now_ms: int) -> None:
        intent = self._order_manager.plan_maker_entry(working.direction, working.left, price, now_ms, working.reason)
        working.attempts += 1
        try:
            working.order = self._exchange.send(intent)
        except OrderRefused as error:
            self._journal.update_order(intent.client_id, OrderStatus.REJECTED, None, Decimal(0), str(error))
            if (
                error.rejection is not Rejection.WOULD_TAKE
            ):  # else the price has moved: the next step tries its new best
                log.warning("maker entry refused: symbol=%s reason=%s", intent.symbol, error)
                working.until_ms, working.by_market = 0, False
            return
        working.intent = intent
        self._journal.update_order(intent.client_id, working.order.status, working.order, Decimal(0), "")
        log.info("maker entry placed: symbol=%s price=%s quantity=%s", intent.symbol, price, intent.quantity)
