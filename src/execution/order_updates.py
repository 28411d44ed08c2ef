"""Buffers order updates of the user stream for the code that sent the order and waits for its fills.

The stream is faster than REST and continues while requests hang: a stop need not wait for an answer.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

from src.domain.clock import monotonic_s
from src.domain.orders import Fill, Order

_PATIENCE_S = 0.3  # it tells within a few hundredths; after this one asks
_REMEMBERED = 200
Found = TypeVar("Found")


class OrderUpdateBuffer:
    """The last orders and fills as streamed; safe in threads. ``listening`` says whether the stream is connected."""

    def __init__(self, listening: Callable[[], bool] = lambda: True, patience_s: float = _PATIENCE_S) -> None:
        self._listening, self._patience_s = listening, patience_s
        self._news = threading.Condition()
        self._orders: OrderedDict[str, Order] = OrderedDict()
        self._fills: OrderedDict[tuple[str, str], list[Fill]] = OrderedDict()

    def on_order(self, order: Order) -> None:
        """Take in a step of an order; each comes once, and never turns back."""
        if order.kind.conditional:
            return
        with self._news:
            self._orders[order.client_id] = order
            self._orders.move_to_end(order.client_id)
            if len(self._orders) > _REMEMBERED:
                self._orders.popitem(last=False)
            self._news.notify_all()

    def on_fill(self, fill: Fill) -> None:
        """Take in a fill; each comes once."""
        with self._news:
            self._fills.setdefault((fill.symbol, fill.order_id), []).append(fill)
            if len(self._fills) > _REMEMBERED:
                self._fills.popitem(last=False)
            self._news.notify_all()

    def order(self, client_id: str) -> Order | None:
        """Return the order of that client id, waiting a moment for it; None: the stream has not told of it (yet)."""
        return self._wait_for(lambda: self._orders.get(client_id))

    def fills(self, order: Order, quantity: Decimal) -> list[Fill] | None:
        """Return all fills of an order of ``quantity``, waiting a moment for them; None while one may be missing.

        All are there when they come to the quantity, or when the order is over and they come to what it executed.
        """
        return self._wait_for(lambda: self._complete(order, quantity))

    def _complete(self, order: Order, quantity: Decimal) -> list[Fill] | None:
        fills = self._fills.get((order.symbol, order.order_id), [])
        done = sum((fill.quantity for fill in fills), Decimal(0))
        told = self._orders.get(order.client_id, order)
        executed = max(order.executed_quantity, told.executed_quantity)
        over = order.status.final or told.status.final
        return list(fills) if done > 0 and (done == quantity or (over and done >= executed)) else None

    def _wait_for(self, look: Callable[[], Found | None]) -> Found | None:
        end_s = monotonic_s() + self._patience_s
        with self._news:
            while (found := look()) is None and self._listening() and (left_s := end_s - monotonic_s()) > 0:
                self._news.wait(left_s)
            return found
