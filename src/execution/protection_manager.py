"""Stop and target of one position: checked before the entry, placed, watched, moved, removed.

A stop is placed before the entry is sent, so that no instant without one lies between them, and is replaced by the
one at the exact level once the fill is known. A stop is moved by placing the new one first. No protective order is
cancelled while a position that it can close stands, except for one that stands in its place.
"""

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from src.domain.clock import Clock
from src.domain.errors import ExchangeError, ExchangeUnavailable, OrderRefused, OutcomeUnknown, Rejection
from src.domain.orders import Order, OrderIntent, OrderKind, OrderStatus, Purpose, client_id
from src.domain.portfolio import Direction
from src.domain.ports import Exchange
from src.domain.risk import ActiveLimits, protection_veto, stop_price, target_price
from src.execution.journal import Journal, TradeStart
from src.execution.order_manager import OrderManager
from src.execution.pair_settings import PairSettings

log = logging.getLogger(__name__)

_LOOKS = 8
_LOOK_PAUSE_MS = 150.0
_KINDS = {Purpose.STOP: OrderKind.STOP_MARKET, Purpose.TARGET: OrderKind.TAKE_PROFIT_MARKET}


class Unprotected(ExchangeError):
    """The stop could not be placed or is not listed: the position must be closed now."""


@dataclass(frozen=True, slots=True)
class Protection:
    """The two conditional orders that protect a position."""

    stop: OrderIntent
    target: OrderIntent


class RulesChanged(Unprotected):
    """A protective order was refused by rules that the exchange changed: place it anew by the new ones."""


class ProtectionManager:
    """The conditional orders of one symbol for one bot. Called by one thread at a time.

    ``settings`` and ``limits`` are read at the moment of use. ``problem`` says what of the protection is missing,
    empty when stop and target stand.
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
        self._order_manager, self._exchange, self._journal, self._clock = order_manager, exchange, journal, clock
        self._limits, self._settings = limits, settings
        self._placed: dict[str, Order] = {}
        self._never = threading.Event()
        self.problem = ""

    def levels(self, entry: Decimal, direction: Direction) -> tuple[Decimal, Decimal]:
        """Return stop and target of a position entered at ``entry`` under the limits in force."""
        limits, instrument = self._limits.current, self._settings.instrument
        return stop_price(entry, direction, limits, instrument), target_price(entry, direction, limits, instrument)

    def veto(self, price: Decimal, direction: Direction) -> str:
        """Return why a position opened at ``price`` could not be protected, "" when it can."""
        return protection_veto(price, direction, self._limits.current, self._settings.instrument)

    def intents(
        self, direction: Direction, stop: Decimal, target: Decimal, decided_ms: int, attempt: int
    ) -> Protection:
        """Return the two conditional intents for a position, not yet sent; prices are triggers on the tick."""
        return Protection(
            stop=self._conditional(Purpose.STOP, direction, stop, decided_ms, attempt),
            target=self._conditional(Purpose.TARGET, direction, target, decided_ms, attempt),
        )

    def listed(self) -> list[Order]:
        """Return all conditional orders of the symbol that the exchange lists as open, whoever placed them."""
        return self._exchange.conditional_orders(self._order_manager.symbol)

    def placed(self) -> list[Order]:
        """Return this bot's orders as they were placed, those that were cancelled left out."""
        return list(self._placed.values())

    def own_ids(self, listed: Iterable[Order]) -> set[str]:
        """Return the client ids of this bot's orders among ``listed``."""
        return {each.client_id for each in listed if self._order_manager.owns(each.client_id)}

    def prepare_entry(self, direction: Direction) -> str:
        """Remove what rests of this bot while flat; return why no stop could be placed, "" when one can."""
        listed = self.listed()
        self._cancel(each for each in listed if self._order_manager.owns(each.client_id))
        side = direction.entry_side.opposite
        for order in listed:
            if not self._order_manager.owns(order.client_id) and order.close_position and order.side is side:
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
            return self._place(self._conditional(Purpose.STOP, direction, stop, decided_ms, attempt))
        except RulesChanged:
            raise
        except OrderRefused as error:
            if error.rejection is Rejection.NOTHING_TO_REDUCE:
                return None
            raise Unprotected(f"its stop at {stop} was refused: {error}") from error
        except ExchangeError as error:
            raise Unprotected(f"its stop at {stop} could not be placed: {error}") from error

    def ensure(self, start: TradeStart, standing: list[Order], decided_ms: int, attempt: int) -> TradeStart:
        """Make stop and target stand at the levels in force, and return the trade with those that do.

        Args:
            start: the open trade; its client ids name the orders that are thought to stand.
            standing: the conditional orders of the symbol as last listed.
            decided_ms: instant that new client ids are made from; ``attempt`` makes them differ.
            attempt: see ``decided_ms``.

        Raises:
            Unprotected: no stop stands and none can be placed, or a level is already passed: close now.
        """
        self.problem = ""
        try:
            return self._ensure(start, standing, decided_ms, attempt)
        except RulesChanged as error:
            log.warning("protective orders placed anew: symbol=%s reason=%s", start.trade.symbol, error)
            return self._ensure(start, standing, decided_ms, attempt + 1)

    def _ensure(self, start: TradeStart, standing: list[Order], decided_ms: int, attempt: int) -> TradeStart:
        trade = start.trade
        stop, target = self.levels(trade.entry_price, trade.direction)
        wanted = self.intents(trade.direction, stop, target, decided_ms, attempt)
        by_id = {each.client_id: each for each in standing}
        if not self._is_right(by_id.get(start.stop_client_id), stop):
            start = self._replace_stop(start, wanted.stop, standing)
        elif len(self._stops(standing, trade.direction)) > 1:
            self._cancel_replaced(start, standing)  # left over from a move that could not be confirmed
        if not self._limits.current.place_target:
            return self._drop_target(start, standing)
        if not self._is_right(by_id.get(start.target_client_id), target):
            start = self._replace_target(start, wanted.target, standing)
        return start

    def _drop_target(self, start: TradeStart, standing: list[Order]) -> TradeStart:
        """Cancel the target of a trade whose limits want none."""
        self._cancel(each for each in standing if each.client_id == start.target_client_id)
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

    def clear(self, held: Direction | None) -> int:
        """Cancel this bot's conditional orders that no position needs, and return how many.

        Args:
            held: the side of the position that stands in the symbol, whoever opened it; its protection stays.
        """
        needed = None if held is None else held.entry_side.opposite
        listed = self.listed()
        own = [each for each in listed if self._order_manager.owns(each.client_id) and each.side is not needed]
        unseen = [
            order
            for name, order in self._placed.items()
            if order.side is not needed and name not in {each.client_id for each in listed}
        ]
        for order in unseen:  # placed, but not listed (yet): it must not stay behind
            self._exchange.cancel(order)
            self._placed.pop(order.client_id, None)
        return self._cancel(own)

    def _is_right(self, order: Order | None, level: Decimal) -> bool:
        if order is None:
            return False
        return order.trigger_price == level or not self._order_manager.owns(order.client_id)

    def _stops(self, listed: Iterable[Order], direction: Direction) -> list[Order]:
        """Return what of ``listed`` stops a position of that side: own orders first."""
        side = direction.entry_side.opposite
        found = [each for each in listed if each.kind is OrderKind.STOP_MARKET and each.side is side]
        found = [each for each in found if each.close_position]
        return sorted(found, key=lambda each: not self._order_manager.owns(each.client_id))

    def _replace_stop(self, start: TradeStart, intent: OrderIntent, standing: list[Order]) -> TradeStart:
        trade = start.trade
        present = self._stops(standing, trade.direction)
        same = next((each for each in present if each.trigger_price == intent.trigger_price), None)
        if same is not None:
            return _with_stop(start, same)
        try:
            return _with_stop(start, self._place(intent))
        except RulesChanged:
            raise
        except ExchangeError as error:
            others = present
            if isinstance(error, OrderRefused) and error.rejection is Rejection.ANOTHER_STANDS:
                others = self._stops(self.listed(), trade.direction)
            if not others:
                raise Unprotected(f"the stop of {trade.symbol} could not be placed: {error}") from error
            self.problem = f"the stop of {trade.symbol} stays at {others[0].trigger_price}: {error}"
            log.warning("stop not moved: symbol=%s reason=%s", trade.symbol, error)
            return _with_stop(start, others[0])

    def _replace_target(self, start: TradeStart, intent: OrderIntent, standing: list[Order]) -> TradeStart:
        trade, level = start.trade, intent.trigger_price
        ids = self.own_ids(standing)
        try:
            order = self._place(intent)
        except OrderRefused as error:
            if error.rejection is Rejection.WOULD_TRIGGER:
                raise Unprotected(f"the target of {trade.symbol} is already passed: {error}") from error
            return self._without_target(start, ids, error)
        except RulesChanged:
            raise
        except ExchangeError as error:
            return self._without_target(start, ids, error)
        self._cancel(
            each
            for each in standing
            if each.client_id in ids and each.kind is OrderKind.TAKE_PROFIT_MARKET and each.side is order.side
        )
        return replace(start, trade=replace(trade, target_price=level), target_client_id=order.client_id)

    def _without_target(self, start: TradeStart, standing: set[str], error: ExchangeError) -> TradeStart:
        kept = start.target_client_id in standing
        where = f"stays at {start.trade.target_price}" if kept else "does not stand at the exchange"
        self.problem = f"the target of {start.trade.symbol} {where}: {error}"
        log.warning("target not placed: symbol=%s reason=%s", start.trade.symbol, error)
        return start if kept else replace(start, target_client_id="")

    def _cancel_replaced(self, start: TradeStart, listed: list[Order]) -> None:
        stops = self._stops(listed, start.trade.direction)
        self._cancel(
            each
            for each in stops
            if self._order_manager.owns(each.client_id) and each.client_id != start.stop_client_id
        )

    def _cancel(self, orders: Iterable[Order]) -> int:
        cancelled = 0
        for order in orders:
            self._exchange.cancel(order)
            self._placed.pop(order.client_id, None)
            self._journal.update_order(order.client_id, OrderStatus.CANCELED, None, Decimal(0), "")
            cancelled += 1
        return cancelled

    def _conditional(
        self, purpose: Purpose, direction: Direction, trigger: Decimal, decided_ms: int, attempt: int
    ) -> OrderIntent:
        symbol = self._order_manager.symbol
        return OrderIntent(
            client_id=client_id(self._order_manager.bot_id, symbol, decided_ms, purpose, attempt),
            symbol=symbol,
            side=direction.entry_side.opposite,
            kind=_KINDS[purpose],
            purpose=purpose,
            quantity=Decimal(0),
            decided_ms=decided_ms,
            trigger_price=trigger,
            close_position=True,
        )

    def _place(self, intent: OrderIntent) -> Order:
        """Note and send a protective order, and return it; a refusal is noted and raised."""
        self._journal.note_order(intent)
        try:
            order = self._send(intent)
        except OrderRefused as error:
            self._journal.update_order(intent.client_id, OrderStatus.REJECTED, None, Decimal(0), str(error))
            if self._settings.note_refusal(error):
                raise RulesChanged(f"{intent.purpose} of {self._order_manager.symbol} refused: {error}") from error
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

    def _pause(self) -> None:
        self._clock.wait(self._never, _LOOK_PAUSE_MS)


def _with_stop(start: TradeStart, order: Order) -> TradeStart:
    return replace(start, trade=replace(start.trade, stop_price=order.trigger_price), stop_client_id=order.client_id)
