"""Monitors one pair between turns: early stop by mark price, unfinished exits, pending reconciliation."""

import logging
import threading

from src.domain.market import MarkPrice
from src.domain.orders import Order, OrderKind
from src.execution.trader import Trader

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0


class StopMonitor:
    """A thread that tends one trader whenever a mark price, or a second without one, asks for it.

    The stream's thread only leaves the newest price (``on_mark_price`` returns at once); what takes time happens
    here, so that no pair waits for another.
    """

    def __init__(self, trader: Trader) -> None:
        self._trader = trader
        self._mark: MarkPrice | None = None
        self._news = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"guard-{trader.symbol}", daemon=True)

    @property
    def symbol(self) -> str:
        """The pair that is watched."""
        return self._trader.symbol

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the watch; an order in flight is finished first, for at most ``timeout_s``."""
        self._stop.set()
        self._news.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("guard did not end in time: symbol=%s", self._trader.symbol)

    def on_mark_price(self, mark: MarkPrice) -> None:
        """Take over the newest mark price and wake the watch where it has something to do; returns at once."""
        self._mark = mark
        if self._trader.needs_maintenance(mark):
            self._news.set()

    def concerns(self, order: Order) -> bool:
        """Return whether an order is stop or target of the pair's open position."""
        return order.kind.conditional and self._trader.concerns(order.client_id)

    def on_order(self, order: Order) -> None:
        """Wake the watch where an order's news asks for a look: a protective order ended, a maker's entry filled."""
        filled = order.kind is OrderKind.POST_ONLY and order.executed_quantity > 0
        if filled or (order.status.final and self.concerns(order)):
            self.wake()

    def wake(self) -> None:
        """Wake the watch: something about orders or position has changed."""
        self._trader.request_reconcile()
        self._news.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._news.wait(_LOOK_EVERY_S)
            self._news.clear()
            if not self._stop.is_set() and self._trader.needs_maintenance(self._mark):
                self._trader.run_maintenance()
