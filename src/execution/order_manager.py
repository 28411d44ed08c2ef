"""Places orders and tracks them until their outcome is known: recorded first, sent once, looked up.

No order is sent twice: a client id is a function of bot, instant and purpose, and an order whose outcome nobody
knows is looked up before anything else is sent. Prices of fees in other assets are asked for later, by whoever
settles the trade: no question stands before a fact.
"""

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal

from src.domain.clock import Clock, is_over
from src.domain.errors import CredentialsRefused, ExchangeError, ExchangeUnavailable, OrderRefused, OutcomeUnknown
from src.domain.orders import Fill, Order, OrderIntent, OrderKind, OrderStatus, Purpose, Side, client_id, is_own
from src.domain.portfolio import Direction
from src.domain.ports import Exchange
from src.execution.executions import Execution
from src.execution.journal import Journal
from src.execution.order_updates import OrderUpdateBuffer
from src.execution.pair_settings import PairSettings

log = logging.getLogger(__name__)

_LOOKS = 8
_LOOK_PAUSE_MS = 150.0
_FORGOTTEN_AFTER_MS = 60_000


class OrderManager:
    """Orders of one symbol for one bot. Called by one thread at a time.

    ``settings`` holds the pair's rules and hears what they refused; ``news`` is what the user stream tells of orders,
    without it the exchange is asked.
    """

    def __init__(
        self,
        *,
        exchange: Exchange,
        journal: Journal,
        clock: Clock,
        bot_id: str,
        settings: PairSettings,
        news: OrderUpdateBuffer | None = None,
    ) -> None:
        self._exchange = exchange
        self._journal = journal
        self._clock = clock
        self._bot_id = bot_id
        self._settings = settings
        self._news = news
        self._never = threading.Event()

    @property
    def symbol(self) -> str:
        """The symbol whose orders these are."""
        return self._settings.symbol

    @property
    def quote_asset(self) -> str:
        """The asset that money is counted in."""
        return self._settings.instrument.quote_asset

    @property
    def bot_id(self) -> str:
        """Whose orders these are; it stands in their client ids."""
        return self._bot_id

    def owns(self, order_client_id: str) -> bool:
        """Return whether this bot made the client id."""
        return is_own(order_client_id, self._bot_id)

    def plan_entry(self, direction: Direction, quantity: Decimal, decided_ms: int, reason: str) -> OrderIntent:
        """Note a market order that opens a position; ``StoreUnavailable`` when that could not be written."""
        intent = self._market(Purpose.ENTRY, direction.entry_side, quantity, decided_ms, 0, reason)
        self._journal.plan_order(intent)
        return intent

    def plan_maker_entry(
        self, direction: Direction, quantity: Decimal, price: Decimal, decided_ms: int, reason: str
    ) -> OrderIntent:
        """Note a post-only order at ``price`` that opens a position; raises as ``plan_entry``."""
        market = self._market(Purpose.ENTRY, direction.entry_side, quantity, decided_ms, 0, reason)
        intent = replace(market, kind=OrderKind.POST_ONLY, price=price)
        self._journal.plan_order(intent)
        return intent

    def drop_entry(self, intent: OrderIntent, reason: str) -> None:
        """Note that a planned entry is not sent."""
        self._journal.update_order(intent.client_id, OrderStatus.REJECTED, None, Decimal(0), reason)

    def send_entry(self, intent: OrderIntent) -> Execution:
        """Send a planned entry and return what was filled; its fees in other assets are owed.

        Raises:
            OrderRefused, ExchangeUnavailable: certainly nothing was opened.
            OutcomeUnknown: ``settle`` must find out before anything else is opened.
        """
        return self._execute(intent)

    def enter(self, direction: Direction, quantity: Decimal, decided_ms: int, reason: str) -> Execution:
        """Plan and send an entry; raises as both do."""
        return self.send_entry(self.plan_entry(direction, quantity, decided_ms, reason))

    def close(
        self,
        direction: Direction,
        quantity: Decimal,
        decided_ms: int,
        attempt: int,
        reason: str,
        *,
        part: int = 0,
    ) -> Execution:
        """Close by a reduce-only market order and return what was filled; raises as ``send_entry``.

        ``part`` is the number of the partial target that it stands for, 0 for none.
        """
        side = direction.entry_side.opposite
        intent = self._market(Purpose.EXIT, side, quantity, decided_ms, attempt, reason, part)
        self._journal.note_order(intent)
        return self._execute(intent)

    def settle(
        self, listed: frozenset[str] | set[str] = frozenset()
    ) -> tuple[list[tuple[OrderIntent, Execution]], list[OrderIntent]]:
        """Find out what became of every order that is not final; those ``listed`` as open need no question.

        Returns:
            What was filled since (intent and execution), and the intents that are still undecided: open guards
            are neither. An order the exchange has not heard of after a minute is noted as never arrived.
        """
        filled: list[tuple[OrderIntent, Execution]] = []
        undecided: list[OrderIntent] = []
        for intent in self._journal.unfinished_orders(self.symbol):
            if intent.client_id in listed:
                continue
            order = self._exchange.find_order(intent)
            if order is not None and order.kind is OrderKind.POST_ONLY and not order.status.final:
                self._exchange.cancel(order)  # left over from before a restart: nobody waits for it any more
                order = self._exchange.find_order(intent)
            if order is None:
                self._forget_or_wait(intent, undecided)
            elif order.executed_quantity > 0 or order.status is OrderStatus.FILLED:
                filled.append((intent, self._execution(intent, order)))
            else:
                self._journal.update_order(intent.client_id, order.status, order, Decimal(0), "")
                if not intent.kind.conditional and not order.status.final:
                    undecided.append(intent)
        return filled, undecided

    def guard_execution(self, intent: OrderIntent) -> Execution | None:
        """Return what a stop or target filled, or None when it did not (yet)."""
        order = self._exchange.find_order(intent)
        if order is None:
            return None
        fills = self._exchange.order_fills(order) if order.spawned_id else []
        status = OrderStatus.FILLED if fills else order.status
        execution = self.summed(intent.client_id, fills) if fills else None
        fees = execution.fees if execution else Decimal(0)
        self._journal.update_order(intent.client_id, status, replace(order, status=status), fees, "")
        return execution

    def price(self, owed: Iterable[tuple[str, Decimal]]) -> Decimal:
        """Return fees in other assets in quote currency, at their mark prices."""
        quote = self._settings.instrument.quote_asset
        worth = (fee * self._exchange.mark_price(f"{asset}{quote}").mark for asset, fee in owed)
        return sum(worth, Decimal(0))

    def settle_fees(self, execution: Execution) -> Execution:
        """Return the execution with all fees in quote currency, and note them beside its order."""
        if not execution.owed:
            return execution
        priced = replace(execution, fees=execution.fees + self.price(execution.owed), owed=())
        self._journal.update_order(execution.client_id, OrderStatus.FILLED, None, priced.fees, "")
        return priced

    def summed(self, order_client_id: str, fills: list[Fill]) -> Execution:
        """Sum the fills of one order, fees in other assets owed; raises ``ValueError`` for none."""
        if not fills:
            raise ValueError("an execution needs at least one fill")
        quote = self._settings.instrument.quote_asset
        quantity = sum((fill.quantity for fill in fills), Decimal(0))
        value = sum((fill.price * fill.quantity for fill in fills), Decimal(0))
        return Execution(
            client_id=order_client_id,
            quantity=quantity,
            average_price=value / quantity,
            fees=sum((fill.fee for fill in fills if fill.fee_asset == quote), Decimal(0)),
            realized_pnl=sum((fill.realized_pnl for fill in fills), Decimal(0)),
            time_ms=max(fill.time_ms for fill in fills),
            owed=tuple((fill.fee_asset, fill.fee) for fill in fills if fill.fee and fill.fee_asset != quote),
            order_id=fills[0].order_id,
        )

    def _market(
        self,
        purpose: Purpose,
        side: Side,
        quantity: Decimal,
        decided_ms: int,
        attempt: int,
        reason: str,
        variant: int = 0,
    ) -> OrderIntent:
        return OrderIntent(
            client_id=client_id(self._bot_id, self.symbol, decided_ms, purpose, attempt, variant=variant),
            symbol=self.symbol,
            side=side,
            kind=OrderKind.MARKET,
            purpose=purpose,
            quantity=quantity,
            decided_ms=decided_ms,
            reduce_only=purpose is Purpose.EXIT,
            reason=reason,
        )

    def _execute(self, intent: OrderIntent) -> Execution:
        try:
            order = self._exchange.send(intent)
        except OutcomeUnknown as error:
            log.warning("order outcome unknown: client_id=%s reason=%s", intent.client_id, error)
            self._journal.update_order(intent.client_id, OrderStatus.UNKNOWN, None, Decimal(0), str(error))
            with _still_unknown(intent):
                order = self._look_up(intent)
        except ExchangeError as error:
            self._journal.update_order(intent.client_id, OrderStatus.REJECTED, None, Decimal(0), str(error))
            if isinstance(error, OrderRefused):
                self._settings.note_refusal(error)
            raise
        if intent.purpose is Purpose.ENTRY:
            self._settings.note_entry()
        with _still_unknown(intent):
            return self._heard(intent, order) or self._execution(intent, order)

    def _heard(self, intent: OrderIntent, order: Order) -> Execution | None:
        """Return what the stream soon told of the order's fills; None: it did not, so the exchange must be asked."""
        if self._news is None or (order.status.final and order.executed_quantity == 0):
            return None
        fills = self._news.fills(order, intent.quantity)
        return None if fills is None else self._filled(intent, order, fills)

    def _look_up(self, intent: OrderIntent) -> Order:
        """Return the order if the exchange has it; to look is patient itself, and ``settle`` looks again later."""
        told = None if self._news is None else self._news.order(intent.client_id)
        order = told or self._exchange.find_order(intent)
        if order is None:
            raise OutcomeUnknown(f"the exchange does not know order {intent.client_id} yet", intent.client_id)
        log.info("order found: client_id=%s status=%s", intent.client_id, order.status)
        return order

    def _execution(self, intent: OrderIntent, order: Order) -> Execution:
        for _ in range(_LOOKS):
            fills = self._exchange.order_fills(order)
            done = sum((fill.quantity for fill in fills), Decimal(0))
            if fills and (done == intent.quantity or (order.status.final and done >= order.executed_quantity)):
                return self._filled(intent, order, fills)
            if order.status.final and order.executed_quantity == 0 and order.status is not OrderStatus.FILLED:
                self._journal.update_order(intent.client_id, order.status, order, Decimal(0), "nothing was filled")
                raise OrderRefused(0, f"order {intent.client_id} ended {order.status} without a fill")
            self._pause()
            order = self._exchange.find_order(intent) or order
        self._journal.update_order(intent.client_id, OrderStatus.UNKNOWN, order, Decimal(0), "fills not reported yet")
        raise OutcomeUnknown(f"the fills of order {intent.client_id} are not reported yet", intent.client_id)

    def _filled(self, intent: OrderIntent, order: Order, fills: list[Fill]) -> Execution:
        execution = self.summed(intent.client_id, fills)
        settled = replace(
            order,
            status=OrderStatus.FILLED,
            executed_quantity=execution.quantity,
            average_price=execution.average_price,
            updated_ms=execution.time_ms,
        )
        self._journal.update_order(intent.client_id, OrderStatus.FILLED, settled, execution.fees, "")
        log.info(
            "order filled: symbol=%s purpose=%s side=%s quantity=%s price=%s fees=%s client_id=%s",
            self.symbol,
            intent.purpose,
            intent.side,
            execution.quantity,
            execution.average_price,
            execution.fees,
            intent.client_id,
        )
        return execution

    def _forget_or_wait(self, intent: OrderIntent, undecided: list[OrderIntent]) -> None:
        if not is_over(_FORGOTTEN_AFTER_MS, intent.decided_ms, self._clock.now_ms()):
            undecided.append(intent)
            return
        note = "the exchange never heard of it"
        self._journal.update_order(intent.client_id, OrderStatus.REJECTED, None, Decimal(0), note)
        log.info("order never arrived: client_id=%s", intent.client_id)

    def _pause(self) -> None:
        self._clock.wait(self._never, _LOOK_PAUSE_MS)


@contextmanager
def _still_unknown(intent: OrderIntent) -> Iterator[None]:
    """An order may have been filled though the exchange went away before it told: that is no refusal."""
    try:
        yield
    except (ExchangeUnavailable, CredentialsRefused) as error:
        raise OutcomeUnknown(f"order {intent.client_id} cannot be looked up: {error}", intent.client_id) from error
