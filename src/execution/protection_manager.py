"""Stop and target of one position: checked before the entry, placed, watched, moved, removed.

A stop is placed before the entry is sent, so that no instant without one lies between them, and is replaced by the
one at the exact level once the fill is known. A stop is moved by placing the new one first. No protective order is
cancelled while a position that it can close stands, except for one that stands in its place.

The exchange lets one stop that closes the whole position stand on a side. Where one is moved, a stop with the
position's quantity stands at the new level in between.
"""

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from src.domain.clock import Clock
from src.domain.errors import ExchangeError, ExchangeUnavailable, OrderRefused, Rejection
from src.domain.exit_rules import ExitRules
from src.domain.orders import Order, OrderIntent, OrderKind, Purpose
from src.domain.portfolio import Direction, Trade
from src.domain.ports import Exchange
from src.domain.risk import ActiveLimits, protection_veto, stop_price, target_price
from src.execution.conditional_orders import ConditionalOrders, RulesChanged, Unprotected
from src.execution.journal import Journal, TradeStart
from src.execution.order_manager import OrderManager
from src.execution.pair_settings import PairSettings
from src.execution.partial_target_manager import PartialTargetManager
from src.strategy.exits import StopKind, StopLevel, stop_kind_of, stop_level

log = logging.getLogger(__name__)

_LOOKS = 8
_LOOK_PAUSE_MS = 150.0
_BRIDGE_ATTEMPT = 12


@dataclass(frozen=True, slots=True)
class Protection:
    """The two conditional orders that protect a position."""

    stop: OrderIntent
    target: OrderIntent


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an open trade has come: its best price (None: its entry), the parts closed, what is left of it."""

    best: Decimal | None = None
    done: frozenset[int] = frozenset()
    open_quantity: Decimal | None = None


_BEGUN = Progress()


class ProtectionManager:
    """The protective orders of one symbol for one bot. Called by one thread at a time.

    ``settings`` and ``limits`` are read at the moment of use. ``problem`` says what of the protection is missing,
    empty when stop and targets stand.
    """

    def __init__(
        self,
        order_manager: OrderManager,
        exchange: Exchange,
        journal: Journal,
        clock: Clock,
        limits: ActiveLimits,
        *,
        settings: PairSettings,
    ) -> None:
        self._order_manager, self._clock = order_manager, clock
        self._limits, self._settings = limits, settings
        self._orders = ConditionalOrders(order_manager, exchange, journal, settings)
        self.parts = PartialTargetManager(self._orders, limits, settings)
        self._never = threading.Event()
        self._problem = ""

    @property
    def problem(self) -> str:
        """What of the protection is missing, in words; empty when all of it stands."""
        return self._problem or self.parts.problem

    def forget_problems(self) -> None:
        """Forget what was missing: the position is gone."""
        self._problem = self.parts.problem = ""

    def levels(self, entry: Decimal, direction: Direction) -> tuple[Decimal, Decimal]:
        """Return stop and target of a position entered at ``entry`` under the limits in force."""
        limits, instrument = self._limits.current, self._settings.instrument
        return stop_price(entry, direction, limits, instrument), target_price(entry, direction, limits, instrument)

    def stop_level(self, start: TradeStart, standing: Sequence[Order], best: Decimal | None) -> StopLevel:
        """Return where the trade's stop belongs; a stop that was moved before is never taken back."""
        trade, limits = start.trade, self._limits.current
        level = stop_level(
            trade.entry_price, trade.direction, best or trade.entry_price, limits, self._settings.instrument
        )
        for each in _moved_levels(start, [each for each in standing if self._is_own_stop(each, trade.direction)]):
            level = each if _is_configured(each, limits.exits) and each.better_than(level, trade.direction) else level
        return level

    def veto(self, price: Decimal, direction: Direction) -> str:
        """Return why a position opened at ``price`` could not be protected, "" when it can."""
        return protection_veto(price, direction, self._limits.current, self._settings.instrument)

    def intents(
        self, direction: Direction, stop: Decimal, target: Decimal, decided_ms: int, attempt: int
    ) -> Protection:
        """Return the two conditional intents for a position, not yet sent; prices are triggers on the tick."""
        return Protection(
            stop=self._orders.intent(Purpose.STOP, direction, stop, decided_ms, attempt),
            target=self._orders.intent(Purpose.TARGET, direction, target, decided_ms, attempt),
        )

    def listed(self) -> list[Order]:
        """Return all conditional orders of the symbol that the exchange lists as open, whoever placed them."""
        return self._orders.listed()

    def placed(self) -> list[Order]:
        """Return this bot's orders as they were placed, those that were cancelled left out."""
        return self._orders.placed()

    def own_ids(self, listed: Iterable[Order]) -> set[str]:
        """Return the client ids of this bot's orders among ``listed``."""
        return {each.client_id for each in listed if self._orders.owns(each)}

    def clear(self, held: Direction | None) -> int:
        """Cancel this bot's orders that no position of side ``held`` needs, and return how many."""
        return self._orders.clear(held)

    def prepare_entry(self, direction: Direction) -> str:
        """Remove what rests of this bot while flat; return why no stop could be placed, "" when one can."""
        listed = self.listed()
        self._orders.cancel(each for each in listed if self._orders.owns(each))
        side = direction.entry_side.opposite
        for order in listed:
            if not self._orders.owns(order) and order.close_position and order.side is side:
                return (
                    f"a {order.kind} order of somebody else that closes the whole position stands in "
                    f"{order.symbol} at {order.trigger_price}: cancel it"
                )
        return ""

    def place_before_entry(self, direction: Direction, mark: Decimal, decided_ms: int) -> Order | None:
        """Place the stop of a position that is not opened yet; None where the exchange wants the position first.

        Raises:
            Unprotected: no stop can be placed, so nothing may be opened.
        """
        try:
            return self._place_first(direction, mark, decided_ms, 0)
        except RulesChanged:
            return self._place_first(direction, mark, decided_ms, 9)

    def _place_first(self, direction: Direction, mark: Decimal, decided_ms: int, attempt: int) -> Order | None:
        stop, _ = self.levels(mark, direction)
        try:
            return self._orders.place(self._orders.intent(Purpose.STOP, direction, stop, decided_ms, attempt))
        except RulesChanged:
            raise
        except OrderRefused as error:
            if error.rejection is Rejection.NOTHING_TO_REDUCE:
                return None
            raise Unprotected(f"its stop at {stop} was refused: {error}") from error
        except ExchangeError as error:
            raise Unprotected(f"its stop at {stop} could not be placed: {error}") from error

    def ensure(
        self,
        start: TradeStart,
        standing: list[Order],
        decided_ms: int,
        attempt: int,
        progress: Progress = _BEGUN,
    ) -> TradeStart:
        """Make stop and targets stand at the levels in force, and return the trade with those that do.

        Args:
            start: the open trade; its client ids name the orders that are thought to stand.
            standing: the conditional orders of the symbol as last listed.
            decided_ms: instant that new client ids are made from; ``attempt`` makes them differ.
            attempt: see ``decided_ms``.
            progress: how far the trade has come.

        Raises:
            Unprotected: no stop stands and none can be placed, or a level is already passed: close now.
        """
        self._problem = ""
        try:
            start = self._ensure(start, standing, decided_ms, attempt, progress)
        except RulesChanged as error:
            log.warning("protective orders placed anew: symbol=%s reason=%s", start.trade.symbol, error)
            start = self._ensure(start, standing, decided_ms, attempt + 1, progress)
        self.parts.ensure(start.trade, progress.done, standing, decided_ms, attempt)
        return start

    def _ensure(
        self, start: TradeStart, standing: list[Order], decided_ms: int, attempt: int, progress: Progress
    ) -> TradeStart:
        trade = start.trade
        level = self.stop_level(start, standing, progress.best)
        by_id = {each.client_id: each for each in standing}
        if not self._is_right(by_id.get(start.stop_client_id), level):
            quantity = progress.open_quantity or trade.quantity
            start = self._replace_stop(start, level, standing, (decided_ms, attempt), quantity)
        elif len(self._stops(standing, trade.direction)) > 1:
            self._cancel_replaced(start, standing)  # left over from a move that could not be confirmed
        if not self._limits.current.place_target:
            return self._drop_target(start, standing)
        _, target = self.levels(trade.entry_price, trade.direction)
        order = by_id.get(start.target_client_id)
        if order is None or (order.trigger_price != target and self._orders.owns(order)):
            intent = self._orders.intent(Purpose.TARGET, trade.direction, target, decided_ms, attempt)
            start = self._replace_target(start, intent, standing)
        return start

    def _drop_target(self, start: TradeStart, standing: list[Order]) -> TradeStart:
        """Cancel the target of a trade whose limits want none."""
        self._orders.cancel(each for each in standing if each.client_id == start.target_client_id)
        return replace(start, trade=replace(start.trade, target_price=None), target_client_id="")

    def confirm(self, start: TradeStart) -> bool:
        """Return whether the exchange was seen to list the stop, and cancel the stops that it replaced.

        False means accepted but not seen yet (the list could not be read, or an older stop still stands).

        Raises:
            Unprotected: no stop is listed.
        """
        listed: list[Order] = []
        for _ in range(_LOOKS):
            try:
                listed = self.listed()
            except ExchangeUnavailable as error:
                log.warning(
                    "protective orders accepted but not seen: symbol=%s reason=%s", self._order_manager.symbol, error
                )
                return False
            if any(each.client_id == start.stop_client_id for each in listed):
                self._cancel_replaced(start, listed)
                return True
            self._pause()
        if self._stops(listed, start.trade.direction):
            return False
        raise Unprotected(f"the stop of {self._order_manager.symbol} is not among the open orders")

    def _is_right(self, order: Order | None, level: StopLevel) -> bool:
        if order is None:
            return False
        right = order.trigger_price == level.price and order.close_position
        return right or not self._orders.owns(order)

    def _is_own_stop(self, order: Order, direction: Direction) -> bool:
        stops = order.kind is OrderKind.STOP_MARKET and order.side is direction.entry_side.opposite
        return stops and self._orders.owns(order)

    def _stops(self, listed: Iterable[Order], direction: Direction) -> list[Order]:
        """Return what of ``listed`` stops a position of that side: own orders first, those of a quantity last."""
        side = direction.entry_side.opposite
        found = [each for each in listed if each.kind is OrderKind.STOP_MARKET and each.side is side]
        found = [each for each in found if each.close_position or (each.reduce_only and self._orders.owns(each))]
        return sorted(found, key=lambda each: (not self._orders.owns(each), not each.close_position))

    def _replace_stop(
        self, start: TradeStart, level: StopLevel, standing: list[Order], made: tuple[int, int], quantity: Decimal
    ) -> TradeStart:
        trade = start.trade
        present = self._stops(standing, trade.direction)
        same = next((each for each in present if each.trigger_price == level.price and each.close_position), None)
        if same is not None:
            return _with_stop(start, same)
        try:
            return _with_stop(start, self._place_stop(trade, level, present, made, quantity))
        except RulesChanged:
            raise
        except ExchangeError as error:
            return self._with_stop_that_stays(start, present, error)

    def _place_stop(
        self, trade: Trade, level: StopLevel, present: list[Order], made: tuple[int, int], quantity: Decimal
    ) -> Order:
        """Place the stop, by way of one with a quantity where one that closes the position stands already."""
        closing = [each for each in present if each.close_position and self._orders.owns(each)]
        if closing:
            between = next((each for each in present if _bridges(each, level, quantity)), None)
            if between is None:
                self._orders.place(self._stop_intent(trade, level, made, quantity))
            self._orders.cancel(closing)
        return self._orders.place(self._stop_intent(trade, level, made))

    def _stop_intent(
        self, trade: Trade, level: StopLevel, made: tuple[int, int], quantity: Decimal = Decimal(0)
    ) -> OrderIntent:
        decided_ms, attempt = made
        return self._orders.intent(
            Purpose.STOP,
            trade.direction,
            level.price,
            decided_ms,
            attempt + (_BRIDGE_ATTEMPT if quantity else 0),
            variant=level.kind,
            quantity=quantity,
        )

    def _with_stop_that_stays(self, start: TradeStart, present: list[Order], error: ExchangeError) -> TradeStart:
        """Return the trade with the stop that stands although another was wanted; raise where none does."""
        trade, others = start.trade, present
        refused = isinstance(error, OrderRefused) and error.rejection is Rejection.ANOTHER_STANDS
        if refused or present:
            others = self._stops_now(trade.direction) or present
        if not others:
            raise Unprotected(f"the stop of {trade.symbol} could not be placed: {error}") from error
        self._problem = f"the stop of {trade.symbol} stays at {others[0].trigger_price}: {error}"
        log.warning("stop not moved: symbol=%s reason=%s", trade.symbol, error)
        return _with_stop(start, others[0])

    def _stops_now(self, direction: Direction) -> list[Order]:
        """Return the stops that are listed; where the list cannot be read, those of this bot that were placed."""
        try:
            return self._stops(self.listed(), direction)
        except ExchangeError as error:
            log.warning("stops not listed: symbol=%s reason=%s", self._order_manager.symbol, error)
            return self._stops(self.placed(), direction)

    def _replace_target(self, start: TradeStart, intent: OrderIntent, standing: list[Order]) -> TradeStart:
        """Put a target in place of the one that stands; the exchange lets only one of them close the position."""
        trade, level = start.trade, intent.trigger_price
        present = [
            each
            for each in standing
            if self._orders.owns(each) and each.kind is OrderKind.TAKE_PROFIT_MARKET and each.close_position
        ]
        try:
            self._orders.cancel(each for each in present if each.side is intent.side)
            order = self._orders.place(intent)
        except OrderRefused as error:
            if error.rejection is Rejection.WOULD_TRIGGER:
                raise Unprotected(f"the target of {trade.symbol} is already passed: {error}") from error
            return self._without_target(start, error)
        except RulesChanged:
            raise
        except ExchangeError as error:
            return self._without_target(start, error)
        return replace(start, trade=replace(trade, target_price=level), target_client_id=order.client_id)

    def _without_target(self, start: TradeStart, error: ExchangeError) -> TradeStart:
        self._problem = f"the target of {start.trade.symbol} does not stand at the exchange: {error}"
        log.warning("target not placed: symbol=%s reason=%s", start.trade.symbol, error)
        return replace(start, target_client_id="")

    def _cancel_replaced(self, start: TradeStart, listed: list[Order]) -> None:
        stops = self._stops(listed, start.trade.direction)
        self._orders.cancel(
            each for each in stops if self._orders.owns(each) and each.client_id != start.stop_client_id
        )

    def _pause(self) -> None:
        self._clock.wait(self._never, _LOOK_PAUSE_MS)


def _with_stop(start: TradeStart, order: Order) -> TradeStart:
    return replace(start, trade=replace(start.trade, stop_price=order.trigger_price), stop_client_id=order.client_id)


def _moved_levels(start: TradeStart, own_stops: Iterable[Order]) -> list[StopLevel]:
    """Return the levels to which the trade's stop was moved: as it was recorded, and as this bot's orders stand."""
    recorded = [(start.stop_client_id, start.trade.stop_price)]
    found = recorded + [(each.client_id, each.trigger_price) for each in own_stops]
    return [StopLevel(price, kind) for name, price in found if price and (kind := stop_kind_of(name)) is not None]


def _is_configured(level: StopLevel, exits: ExitRules) -> bool:
    share = exits.trailing_stop_share if level.kind is StopKind.TRAILING else exits.break_even_after_share
    return level.kind is not StopKind.LOSS and share > 0


def _bridges(order: Order, level: StopLevel, quantity: Decimal) -> bool:
    return not order.close_position and order.trigger_price == level.price and order.quantity >= quantity
