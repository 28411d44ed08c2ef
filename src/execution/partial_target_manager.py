"""Keeps the orders that close parts of a position on the way to its target: placed, adopted, resized, removed."""

import logging
from collections.abc import Sequence

from src.domain.errors import ExchangeError
from src.domain.orders import Order, Purpose, variant_of
from src.domain.portfolio import Trade
from src.domain.risk import ActiveLimits
from src.execution.conditional_orders import ConditionalOrders
from src.execution.pair_settings import PairSettings
from src.strategy.exits import PartialTarget, partial_targets

log = logging.getLogger(__name__)


class PartialTargetManager:
    """The partial targets of one symbol. Each is a reduce-only order with a quantity, so it survives a dead bot.

    A part that was closed is never placed again. ``problem`` says which part does not stand, empty when all do.
    """

    def __init__(self, orders: ConditionalOrders, limits: ActiveLimits, settings: PairSettings) -> None:
        self._orders, self._limits, self._settings = orders, limits, settings
        self.problem = ""

    def wanted(self, trade: Trade, done: frozenset[int]) -> tuple[PartialTarget, ...]:
        """Return the parts of a trade that are not closed yet, under the limits in force."""
        parts = partial_targets(
            trade.entry_price, trade.direction, trade.quantity, self._limits.current, self._settings.instrument
        )
        return tuple(each for each in parts if each.number not in done)

    def ensure(
        self, trade: Trade, done: frozenset[int], standing: Sequence[Order], decided_ms: int, attempt: int
    ) -> None:
        """Make the wanted parts stand, each once, and cancel the others; what is refused is said and tried again."""
        self.problem = ""
        present = self._orders.parts(standing, trade.direction)
        kept: set[str] = set()
        for part in self.wanted(trade, done):
            found = next((each for each in present if _is_right(each, part)), None)
            if found is not None:
                kept.add(found.client_id)
            elif not self._place(trade, part, decided_ms, attempt):
                kept |= {each.client_id for each in present if variant_of(each.client_id) == part.number}
        self._orders.cancel(each for each in present if each.client_id not in kept)

    def missed(self, trade: Trade, done: frozenset[int], standing: Sequence[Order]) -> tuple[PartialTarget, ...]:
        """Return the wanted parts for which no order stands, in whatever size."""
        numbers = {variant_of(each.client_id) for each in self._orders.parts(standing, trade.direction)}
        return tuple(each for each in self.wanted(trade, done) if each.number not in numbers)

    def _place(self, trade: Trade, part: PartialTarget, decided_ms: int, attempt: int) -> bool:
        intent = self._orders.intent(
            Purpose.TARGET,
            trade.direction,
            part.price,
            decided_ms,
            attempt,
            variant=part.number,
            quantity=part.quantity,
        )
        try:
            self._orders.place(intent)
        except ExchangeError as error:
            self.problem = f"partial target {part.number} of {trade.symbol} at {part.price} does not stand: {error}"
            log.warning("partial target not placed: symbol=%s reason=%s", trade.symbol, error)
            return False
        return True


def _is_right(order: Order, part: PartialTarget) -> bool:
    same = variant_of(order.client_id) == part.number
    return same and order.trigger_price == part.price and order.quantity == part.quantity
