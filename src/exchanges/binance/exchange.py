"""The port ``Exchange`` for an account at Binance USDⓈ-M, or at any exchange with its protocol."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from src.domain.clock import DAY_MS, monotonic_s
from src.domain.errors import OrderRefused, OutcomeUnknown
from src.domain.orders import Fill, Order, OrderIntent
from src.exchanges.binance.errors import ABSENT_CODE, DUPLICATE_CODE, GONE_CODES, NO_CHANGE_CODES
from src.exchanges.binance.mapping import MALFORMED, conditional_of_answer, order_of_answer, parameters_of
from src.exchanges.binance.queries import BinanceQueries, age
from src.exchanges.binance.rate_limiter import Urgency
from src.exchanges.binance.transport import BinanceTransport

WorkingType = Literal["MARK_PRICE", "CONTRACT_PRICE"]

_LOOK_AGAIN_S = (0.1, 0.3, 0.6, 1.0)
_SEEN_AFTER_S = 3.0  # by then an accepted order is visible
_SENT_KEPT = 1_000
_HISTORY_PAGE = 1_000
_HISTORY_SPAN_MS = 7 * DAY_MS - 1
_HISTORY_KEPT_MS = 90 * DAY_MS


class BinanceExchange(BinanceQueries):
    """The port ``Exchange`` over REST: read-only queries and orders; thread-safe.

    Args:
        wire: makes the calls.
        quote_asset: the asset of balances.
        working_type: the price that triggers conditional orders; the mark price has less wick noise.
    """

    def __init__(
        self, wire: BinanceTransport, quote_asset: str = "USDT", working_type: WorkingType = "MARK_PRICE"
    ) -> None:
        super().__init__(wire, quote_asset)
        self._working_type = working_type
        self._sent_s: OrderedDict[str, float] = OrderedDict()

    def prepare(self, symbol: str, leverage: int, margin_type: str) -> None:
        """Set one-way mode, margin type (CROSSED or ISOLATED) and leverage, each only where it is another."""
        held = self.ask_terms(symbol)
        if not held.one_way:
            self._change(lambda client: client.futures_change_position_mode(dualSidePosition="false"))
        if held.margin_type != margin_type:
            self._change(lambda client: client.futures_change_margin_type(symbol=symbol, marginType=margin_type))
        if held.leverage != leverage:
            self._change(lambda client: client.futures_change_leverage(symbol=symbol, leverage=leverage))
        self._terms[symbol] = (leverage, margin_type)

    def open_orders(self, symbol: str) -> list[Order]:
        """Return the symbol's open orders, regular and conditional ones together.

        The conditional ones are queried first: one that triggers in between is then seen twice rather than never.
        """
        conditional = self.conditional_orders(symbol)
        regular = self._read(
            lambda client: client.futures_get_open_orders(symbol=symbol),
            1,
            lambda rows: [order_of_answer(row) for row in rows],
            Urgency.EXIT,
        )
        return conditional + regular

    def conditional_orders(self, symbol: str) -> list[Order]:
        """Return the symbol's open conditional orders."""
        return self._read(
            lambda client: client.futures_get_open_algo_orders(symbol=symbol),
            1,
            lambda rows: [conditional_of_answer(row) for row in rows],
            Urgency.EXIT,
        )

    def order_history(self, symbol: str, since_ms: int) -> list[Order]:
        """Return the symbol's regular orders made from ``since_ms`` on, oldest first."""
        found: dict[str, Order] = {}
        now_ms = self.clock.now_ms()
        start_ms = max(since_ms, now_ms - _HISTORY_KEPT_MS)
        while start_ms <= now_ms:
            page = self._order_page(symbol, start_ms, start_ms + _HISTORY_SPAN_MS)
            found |= {order.order_id: order for order in page}
            start_ms += _HISTORY_SPAN_MS + 1
        return sorted(found.values(), key=lambda order: int(order.order_id))

    def _order_page(self, symbol: str, start_ms: int, end_ms: int) -> list[Order]:
        """Return the orders of one window of at most seven days; the exchange returns the newest first."""
        found: list[Order] = []
        while True:
            page = self._history_rows(symbol, start_ms, end_ms)
            found += [order for order, _ in page]
            oldest_ms = min((made_ms for _, made_ms in page), default=start_ms)
            if len(page) < _HISTORY_PAGE or oldest_ms <= start_ms or oldest_ms >= end_ms:
                return found
            end_ms = oldest_ms

    def _history_rows(self, symbol: str, start_ms: int, end_ms: int) -> list[tuple[Order, int]]:
        """Return the orders of a window with their creation times."""
        return self._read(
            lambda client: client.futures_get_all_orders(
                symbol=symbol, startTime=start_ms, endTime=end_ms, limit=_HISTORY_PAGE
            ),
            5,
            lambda rows: [(order_of_answer(row), int(row["time"])) for row in rows],
            Urgency.EXIT,
        )

    def send(self, intent: OrderIntent) -> Order:
        """Send the order once and return the accepted order; its average price is 0 and comes from the fills.

        A duplicate id means that an earlier request arrived: that order is returned.

        Raises:
            OrderRefused: certainly not accepted.
            OutcomeUnknown: nobody can say; find out with ``find_order`` before sending anything else.
        """
        self._note_sending(intent.client_id)
        asked = parameters_of(intent, self._working_type)
        call = "futures_create_algo_order" if intent.kind.conditional else "futures_create_order"
        calmer = intent.reduce_only or intent.close_position
        try:
            answer = self._wire.send(
                lambda client: getattr(client, call)(**asked),
                intent.client_id,
                Urgency.EXIT if calmer else Urgency.ENTRY,
            )
            return conditional_of_answer(answer) if intent.kind.conditional else order_of_answer(answer)
        except OrderRefused as refusal:
            if refusal.code != DUPLICATE_CODE:
                raise
        except MALFORMED as error:
            raise OutcomeUnknown(f"the answer to order {intent.client_id} makes no sense", intent.client_id) from error
        found = self.find_order(intent)
        if found is None:
            raise OutcomeUnknown(f"order {intent.client_id} is said to exist but is not shown", intent.client_id)
        return found

    def find_order(self, intent: OrderIntent) -> Order | None:
        """Return the order that carries the intent's client id, or None when the exchange has none.

        An order may be invisible for a moment after it was placed: absence counts after a few queries, and at once for
        orders sent long ago (an outage may leave dozens that never arrived).
        """
        found = self._found(intent.symbol, intent.kind.conditional, intent.client_id)
        for wait_s in _LOOK_AGAIN_S:
            if found is not None or self._was_sent_long_ago(intent.client_id):
                break
            self._wire.pause(wait_s)
            found = self._found(intent.symbol, intent.kind.conditional, intent.client_id)
        return found

    def refreshed(self, order: Order) -> Order:
        """Return the order's present state with its average price; unchanged if the exchange no longer knows it."""
        return self._found(order.symbol, order.kind.conditional, order.client_id) or order

    def cancel(self, order: Order) -> None:
        """Cancel; an order that is finished or gone counts as cancelled."""

        def ask(client: Any) -> object:
            if order.kind.conditional:
                return client.futures_cancel_algo_order(algoId=order.order_id)
            return client.futures_cancel_order(symbol=order.symbol, orderId=order.order_id)

        try:
            self._wire.read(ask, 1, Urgency.EXIT)
        except OrderRefused as refusal:
            if refusal.code not in GONE_CODES:
                raise

    def order_fills(self, order: Order) -> list[Fill]:
        """Return the executions of one order (of the order it made, if conditional), oldest first."""
        order_id = order.order_id
        if order.kind.conditional:
            order_id = order.spawned_id or self.refreshed(order).spawned_id
        if not order_id:
            return []
        page = self._trades(symbol=order.symbol, orderId=order_id, limit=1_000)
        return [replace(fill, client_id=order.client_id) for fill in sorted(page, key=age)]

    def _note_sending(self, client_id: str) -> None:
        self._sent_s[client_id] = monotonic_s()
        while len(self._sent_s) > _SENT_KEPT:
            self._sent_s.popitem(last=False)

    def _was_sent_long_ago(self, client_id: str) -> bool:
        """Return whether this process sent it long ago; False for orders of other processes."""
        sent_s = self._sent_s.get(client_id)
        return sent_s is not None and monotonic_s() - sent_s > _SEEN_AFTER_S

    def _found(self, symbol: str, conditional: bool, client_id: str) -> Order | None:
        try:
            if conditional:
                return self._read(
                    lambda client: client.futures_get_algo_order(clientAlgoId=client_id),
                    1,
                    conditional_of_answer,
                    Urgency.EXIT,
                )
            return self._read(
                lambda client: client.futures_get_order(symbol=symbol, origClientOrderId=client_id),
                1,
                order_of_answer,
                Urgency.EXIT,
            )
        except OrderRefused as refusal:
            if refusal.code != ABSENT_CODE:
                raise
            return None

    def _change(self, act: Callable[[Any], object]) -> None:
        """Change a setting; idempotent, so it may be retried."""
        try:
            self._wire.read(act, 1, Urgency.ENTRY)
        except OrderRefused as refusal:
            if refusal.code not in NO_CHANGE_CODES:
                raise
