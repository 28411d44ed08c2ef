"""Places, lists and cancels one symbol's conditional orders: recorded first, sent once, looked up, remembered."""

from collections.abc import Iterable
from decimal import Decimal

from src.domain.errors import ExchangeError, OrderRefused, OutcomeUnknown, Rejection
from src.domain.orders import Order, OrderIntent, OrderKind, OrderStatus, Purpose, client_id, variant_of
from src.domain.portfolio import Direction
from src.domain.ports import Exchange
from src.execution.journal import Journal
from src.execution.order_manager import OrderManager
from src.execution.pair_settings import PairSettings

_KINDS = {Purpose.STOP: OrderKind.STOP_MARKET, Purpose.TARGET: OrderKind.TAKE_PROFIT_MARKET}


class Unprotected(ExchangeError):
    """The stop could not be placed or is not listed: the position must be closed now."""


class RulesChanged(Unprotected):
    """A protective order was refused by rules that the exchange changed: place it anew by the new ones."""


class ConditionalOrders:
    """The conditional orders of one symbol for one bot. Called by one thread at a time."""

    def __init__(
        self, order_manager: OrderManager, exchange: Exchange, journal: Journal, settings: PairSettings
    ) -> None:
        self._order_manager, self._exchange, self._journal, self._settings = order_manager, exchange, journal, settings
        self._placed: dict[str, Order] = {}

    @property
    def symbol(self) -> str:
        """The symbol whose orders these are."""
        return self._order_manager.symbol

    def owns(self, order: Order) -> bool:
        """Return whether this bot placed the order."""
        return self._order_manager.owns(order.client_id)

    def listed(self) -> list[Order]:
        """Return all conditional orders of the symbol that the exchange lists as open, whoever placed them."""
        return self._exchange.conditional_orders(self.symbol)

    def placed(self) -> list[Order]:
        """Return this bot's orders as they were placed, those that were cancelled left out."""
        return list(self._placed.values())

    def intent(
        self,
        purpose: Purpose,
        direction: Direction,
        trigger: Decimal,
        decided_ms: int,
        attempt: int,
        *,
        variant: int = 0,
        quantity: Decimal = Decimal(0),
    ) -> OrderIntent:
        """Return an order that closes the whole position at ``trigger``, or ``quantity`` of it where that is given."""
        return OrderIntent(
            client_id=client_id(self._order_manager.bot_id, self.symbol, decided_ms, purpose, attempt, variant=variant),
            symbol=self.symbol,
            side=direction.entry_side.opposite,
            kind=_KINDS[purpose],
            purpose=purpose,
            quantity=quantity,
            decided_ms=decided_ms,
            trigger_price=trigger,
            close_position=not quantity,
            reduce_only=quantity > 0,
        )

    def place(self, intent: OrderIntent) -> Order:
        """Record and send an order, and return it; a refusal is recorded and raised."""
        self._journal.note_order(intent)
        try:
            order = self._send(intent)
        except OrderRefused as error:
            self._journal.update_order(intent.client_id, OrderStatus.REJECTED, None, Decimal(0), str(error))
            if self._settings.note_refusal(error):
                raise RulesChanged(f"{intent.purpose} of {self.symbol} refused: {error}") from error
            raise
        self._placed[intent.client_id] = order
        self._journal.update_order(intent.client_id, order.status, order, Decimal(0), "")
        return order

    def _send(self, intent: OrderIntent) -> Order:
        """Send it; once more, under the same id, when the exchange does not list it after a lost answer.

        One look is enough each time: every moment without a stop counts, an id that is at work already is refused,
        and a second protective order could only close what is closed.
        """
        for last_try in (False, True):
            try:
                return self._exchange.send(intent)
            except OutcomeUnknown:
                known = next((each for each in self.listed() if each.client_id == intent.client_id), None)
                if known is not None:
                    return known
                if last_try:
                    raise
            except OrderRefused as error:
                known = self._exchange.find_order(intent) if error.rejection is Rejection.DUPLICATE_ID else None
                if known is None:
                    raise
                return known
        raise AssertionError("unreachable")

    def cancel(self, orders: Iterable[Order]) -> int:
        """Cancel orders and return how many there were."""
        cancelled = 0
        for order in orders:
            self._exchange.cancel(order)
            self._placed.pop(order.client_id, None)
            self._journal.update_order(order.client_id, OrderStatus.CANCELED, None, Decimal(0), "")
            cancelled += 1
        return cancelled

    def clear(self, held: Direction | None) -> int:
        """Cancel this bot's conditional orders that no position needs, and return how many.

        Args:
            held: the side of the position that stands in the symbol, whoever opened it; its protection stays.
        """
        needed = None if held is None else held.entry_side.opposite
        listed = self.listed()
        own = [each for each in listed if self.owns(each) and each.side is not needed]
        unseen = [
            order
            for name, order in self._placed.items()
            if order.side is not needed and name not in {each.client_id for each in listed}
        ]
        for order in unseen:  # placed, but not listed (yet): it must not stay behind
            self._exchange.cancel(order)
            self._placed.pop(order.client_id, None)
        return self.cancel(own)

    def parts(self, listed: Iterable[Order], direction: Direction) -> list[Order]:
        """Return this bot's orders among ``listed`` that close a part of a position of that side at a profit."""
        side = direction.entry_side.opposite
        targets = (each for each in listed if each.kind is OrderKind.TAKE_PROFIT_MARKET and each.side is side)
        return [each for each in targets if self.owns(each) and variant_of(each.client_id)]
