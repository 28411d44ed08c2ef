"""Places orders and tracks them until their outcome is known: recorded first, sent once, looked up.

No order is sent twice: a client id is a function of bot, instant and purpose, and an order whose outcome nobody
knows is looked up before anything else is sent. No position stands without a stop: ``protect`` returns only when
the exchange lists the stop among its open orders.
"""

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal

from src.domain.clock import Clock, is_over
from src.domain.errors import CredentialsRefused, ExchangeError, ExchangeUnavailable, OrderRefused, OutcomeUnknown
from src.domain.orders import Fill, Order, OrderIntent, OrderKind, OrderStatus, Purpose, Side, client_id, is_own
from src.domain.portfolio import Direction
from src.domain.ports import Exchange
from src.execution.journal import Journal
from src.execution.order_updates import OrderUpdateBuffer
from src.execution.pair_settings import PairSettings

log = logging.getLogger(__name__)

_LOOKS = 8
_LOOK_PAUSE_MS = 150.0
_FORGOTTEN_AFTER_MS = 60_000
_WOULD_TRIGGER = -2021
_DUPLICATE = -4116


class Unprotected(ExchangeError):
    """The stop could not be placed or is not listed: the position must be closed now."""


class RulesChanged(Unprotected):
    """A protective order was refused by rules that the exchange changed: place it anew by the new ones."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What an order brought, summed over its fills: base quantity, mean price, quote money.

    ``owed`` are fees in other assets that are not in ``fees`` yet: to price them one must ask, and a stop comes first.
    """

    client_id: str
    quantity: Decimal
    average_price: Decimal
    fees: Decimal
    realized_pnl: Decimal
    time_ms: int
    owed: tuple[tuple[str, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class ProtectiveOrderIds:
    """The two conditional orders that guard a position."""

    stop: OrderIntent
    target: OrderIntent


class OrderManager:
    """Orders of one symbol for one bot. Called by one thread at a time.

    ``settings`` holds the pair's rules and hears what they refused; ``news`` is what the user stream tells of orders,
    without it the exchange is asked.
    """

    def __init__(
        self,
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
        """The symbol this desk trades."""
        return self._settings.symbol

    def enter(self, direction: Direction, quantity: Decimal, decided_ms: int, reason: str) -> Execution:
        """Open a position by a market order and return what was filled; its fees in other assets are owed.

        Raises:
            OrderRefused, ExchangeUnavailable: certainly nothing was opened.
            OutcomeUnknown: ``settle`` must find out before anything else is opened.
            StoreUnavailable: the intent could not be noted, so nothing was sent.
        """
        intent = self._market(Purpose.ENTRY, direction.entry_side, quantity, decided_ms, 0, reason)
        self._journal.plan_order(intent)
        return self._execute(intent)

    def close(self, direction: Direction, quantity: Decimal, decided_ms: int, attempt: int, reason: str) -> Execution:
        """Close by a reduce-only market order and return what was filled; raises as ``enter``, never for the store."""
        side = direction.entry_side.opposite
        intent = self._market(Purpose.EXIT, side, quantity, decided_ms, attempt, reason)
        self._journal.note_order(intent)
        return self._execute(intent)

    def protection(
        self, direction: Direction, stop: Decimal, target: Decimal, decided_ms: int, attempt: int
    ) -> ProtectiveOrderIds:
        """Return the two conditional intents for a position, not yet sent; prices are triggers on the tick."""
        side = direction.entry_side.opposite
        return ProtectiveOrderIds(
            stop=self._conditional(Purpose.STOP, OrderKind.STOP_MARKET, side, stop, decided_ms, attempt),
            target=self._conditional(Purpose.TARGET, OrderKind.TAKE_PROFIT_MARKET, side, target, decided_ms, attempt),
        )

    def protect(self, protection: ProtectiveOrderIds) -> bool:
        """Place the two orders, the stop first, and return whether the exchange was seen to list the stop.

        False means accepted but not seen yet (the list could not be read): ``guards_stand`` must be asked again.

        Raises:
            Unprotected: the stop is not there, or a level is already passed: close the position now.
        """
        self._place_guard(protection.stop)
        self._place_guard(protection.target)
        for _ in range(_LOOKS):
            try:
                listed = self.open_protective_orders()
            except ExchangeUnavailable as error:
                log.warning("guards accepted but not seen: symbol=%s reason=%s", self.symbol, error)
                return False
            if protection.stop.client_id in listed:
                return True
            self._pause()
        raise Unprotected(f"the stop of {self.symbol} is not among the open orders")

    def open_protective_orders(self) -> set[str]:
        """Return the client ids of this bot's conditional orders that the exchange lists as open."""
        orders = self._exchange.open_orders(self.symbol)
        return {each.client_id for each in orders if each.kind.conditional and is_own(each.client_id, self._bot_id)}

    def cancel_guards(self, keep: frozenset[str] = frozenset()) -> int:
        """Cancel this bot's conditional orders of the symbol but those to ``keep``; return how many."""
        cancelled = 0
        for order in self._exchange.open_orders(self.symbol):
            if order.kind.conditional and is_own(order.client_id, self._bot_id) and order.client_id not in keep:
                self._exchange.cancel(order)
                self._journal.update_order(order.client_id, OrderStatus.CANCELED, None, Decimal(0), "")
                cancelled += 1
        return cancelled

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
        execution = self.execution(intent.client_id, fills) if fills else None
        fees = execution.fees if execution else Decimal(0)
        self._journal.update_order(intent.client_id, status, replace(order, status=status), fees, "")
        return execution

    def execution(self, order_client_id: str, fills: list[Fill]) -> Execution:
        """Sum the fills of one order; raises ``ValueError`` for none. Fees in another asset at its mark price."""
        return self._priced(self._summed(order_client_id, fills))

    def price(self, owed: Iterable[tuple[str, Decimal]]) -> Decimal:
        """Return fees in other assets in quote currency, at their mark prices."""
        quote = self._settings.instrument.quote_asset
        worth = (fee * self._exchange.mark_price(f"{asset}{quote}").mark for asset, fee in owed)
        return sum(worth, Decimal(0))

    def settle_fees(self, execution: Execution) -> Execution:
        """Return the execution with all fees in quote currency, and note them beside its order."""
        priced = self._priced(execution)
        self._journal.update_order(execution.client_id, OrderStatus.FILLED, None, priced.fees, "")
        return priced

    def _priced(self, execution: Execution) -> Execution:
        if not execution.owed:
            return execution
        return replace(execution, fees=execution.fees + self.price(execution.owed), owed=())

    def _summed(self, order_client_id: str, fills: list[Fill]) -> Execution:
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
        )

    def _market(
        self, purpose: Purpose, side: Side, quantity: Decimal, decided_ms: int, attempt: int, reason: str
    ) -> OrderIntent:
        return OrderIntent(
            client_id=client_id(self._bot_id, self.symbol, decided_ms, purpose, attempt),
            symbol=self.symbol,
            side=side,
            kind=OrderKind.MARKET,
            purpose=purpose,
            quantity=quantity,
            decided_ms=decided_ms,
            reduce_only=purpose is Purpose.EXIT,
            reason=reason,
        )

    def _conditional(
        self, purpose: Purpose, kind: OrderKind, side: Side, trigger: Decimal, decided_ms: int, attempt: int
    ) -> OrderIntent:
        return OrderIntent(
            client_id=client_id(self._bot_id, self.symbol, decided_ms, purpose, attempt),
            symbol=self.symbol,
            side=side,
            kind=kind,
            purpose=purpose,
            quantity=Decimal(0),
            decided_ms=decided_ms,
            trigger_price=trigger,
            close_position=True,
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
        execution = self._summed(intent.client_id, fills)
        if intent.purpose is not Purpose.ENTRY:  # behind an entry comes its stop, before any question
            execution = self._priced(execution)
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

    def _place_guard(self, intent: OrderIntent) -> None:
        self._journal.note_order(intent)
        try:
            order = self._send_guard(intent)
        except OrderRefused as error:
            self._journal.update_order(intent.client_id, OrderStatus.REJECTED, None, Decimal(0), str(error))
            changed = self._settings.note_refusal(error)
            if changed and intent.purpose is Purpose.STOP:
                raise RulesChanged(f"{intent.purpose} of {self.symbol} refused: {error}") from error
            if error.code == _WOULD_TRIGGER or intent.purpose is Purpose.STOP:
                raise Unprotected(f"{intent.purpose} of {self.symbol} refused: {error}") from error
            log.warning("target refused: symbol=%s reason=%s", self.symbol, error)
            return
        except ExchangeError as error:
            if intent.purpose is Purpose.STOP:
                raise Unprotected(f"{intent.purpose} of {self.symbol} not placed: {error}") from error
            log.warning("target not placed: symbol=%s reason=%s", self.symbol, error)
            return
        self._journal.update_order(intent.client_id, order.status, order, Decimal(0), "")

    def _send_guard(self, intent: OrderIntent) -> Order:
        """Send a guard; once more, under the same id, when the exchange does not list it after a lost answer.

        One look is enough before the second sending, since every moment without a stop counts: an id that is at work
        already is refused, and a second guard could only close what is closed. After it absence is believed slowly.
        """
        for last_try in (False, True):
            try:
                return self._exchange.send(intent)
            except OutcomeUnknown:
                known = self._exchange.find_order(intent) if last_try else self._listed(intent)
                if known is not None:
                    return known
                if last_try:
                    raise
            except OrderRefused as error:
                known = self._exchange.find_order(intent) if error.code == _DUPLICATE else None
                if known is None:
                    raise
                return known
        raise AssertionError("unreachable")

    def _listed(self, intent: OrderIntent) -> Order | None:
        open_orders = self._exchange.open_orders(self.symbol)
        return next((each for each in open_orders if each.client_id == intent.client_id), None)

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
