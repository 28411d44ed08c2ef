"""Reads one symbol's past at the exchange: whose fills are whose, and the trades they make.

The exchange's own history of orders and fills decides: an order is the bot's when its client id is.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from src.domain.clock import DAY_MS, Clock
from src.domain.orders import Fill, Order, OrderKind, Purpose, decided_ms_of
from src.domain.portfolio import Direction, Position, Trade
from src.domain.ports import Exchange, Income
from src.domain.risk import ActiveLimits
from src.execution.executions import opened_trade
from src.execution.journal import Journal, TradeStart
from src.execution.order_manager import OrderManager
from src.execution.trade_recorder import RecordedTrade, SentOrder, TradeRecorder, funding_may_be_due, unknown_orders

log = logging.getLogger(__name__)

_CLOCKS_DIFFER_MS = 5_000
_LOOK_BACK_MS = (7 * DAY_MS, 89 * DAY_MS)
_KNOWN_ORDERS = 500


@dataclass(frozen=True, slots=True)
class Adopted:
    """What the exchange's history tells and the journal does not know: finished trades, and one that is open."""

    closed: tuple[RecordedTrade, ...] = ()
    open: RecordedTrade | None = None


class TradeHistory:
    """Reads one symbol's history at the exchange for one bot. Called by one thread at a time."""

    def __init__(
        self, order_manager: OrderManager, exchange: Exchange, journal: Journal, clock: Clock, limits: ActiveLimits
    ) -> None:
        self._order_manager, self._exchange, self._journal, self._clock = order_manager, exchange, journal, clock
        self._limits = limits
        self._orders: dict[str, SentOrder] = {}

    def note_order(self, order_id: str, order_client_id: str, reason: str = "") -> None:
        """Remember whose order an id is, so that its fills need no question."""
        if order_id:
            self._orders[order_id] = SentOrder(order_client_id, self._order_manager.owns(order_client_id), reason)
            while len(self._orders) > _KNOWN_ORDERS:
                self._orders.pop(next(iter(self._orders)))

    def record(
        self,
        trade: Trade,
        exit_reason: str,
        *,
        prices: bool = False,
        with_income: bool = False,
        previous_exit_ms: int = 0,
    ) -> RecordedTrade:
        """Return the trade as the exchange's fills (and, where asked for, its income) tell it.

        Fees in other assets count as 0 without ``prices``: to know what is open needs no price.

        Raises:
            ExchangeError: something could not be asked.
        """
        since_ms = _begin_ms(trade)
        fills = [self._in_quote(each, prices) for each in self._exchange.fills(trade.symbol, since_ms)]
        if unknown_orders(fills, self._orders):
            self._read_history(trade.symbol, since_ms)
        known = [each for each in fills if each.order_id in self._orders]
        incomes: list[Income] = self._exchange.income(since_ms) if with_income else []
        reason = exit_reason or self._journal.exit_reason(trade.symbol, since_ms)
        return TradeRecorder.record(
            trade, known, self._orders, incomes, exit_reason=reason, previous_exit_ms=previous_exit_ms
        )

    def adopt(self, position: Position | None, since_ms: int | None) -> Adopted:
        """Return what the bot's own entry orders led to and the journal does not know.

        Args:
            position: what the exchange holds now; its entry is looked for as far back as the exchange remembers.
            since_ms: from when on finished trades are wanted, too; None: of none.
        """
        now_ms, found = self._clock.now_ms(), Adopted()
        spans = [now_ms - since_ms] if since_ms is not None else []
        spans += list(_LOOK_BACK_MS) if position is not None else []
        for span_ms in spans:
            trades = self._trades_since(now_ms - span_ms)
            if since_ms is not None and not found.closed:
                wanted = (each for each in trades if each.complete and (each.trade.exit_ms or 0) >= since_ms)
                found = replace(found, closed=tuple(wanted))
            opened = [each for each in trades if not each.complete]
            if opened and position is not None and _fits(opened[-1], position):
                return replace(found, open=opened[-1])
            if position is None:
                break
        return found

    def start_of(self, trade: Trade, listed: Sequence[Order]) -> TradeStart:
        """Return an adopted trade with those protective orders of this bot that stand for it."""
        side = trade.direction.entry_side.opposite
        own = [each for each in listed if self._order_manager.owns(each.client_id) and each.side is side]
        stops = [each for each in own if each.kind is OrderKind.STOP_MARKET and each.trigger_price is not None]
        stop = max(stops, key=lambda each: (each.trigger_price or 0) * trade.direction.sign, default=None)
        whole = (each for each in own if each.kind is OrderKind.TAKE_PROFIT_MARKET and each.close_position)
        target = next(whole, None)
        trade = replace(
            trade,
            stop_price=None if stop is None else stop.trigger_price,
            target_price=None if target is None else target.trigger_price,
        )
        return TradeStart(trade, "" if stop is None else stop.client_id, "" if target is None else target.client_id)

    def _trades_since(self, since_ms: int) -> list[RecordedTrade]:
        """Return the round trips of unknown entry orders made since then, oldest first."""
        symbol = self._order_manager.symbol
        self._read_history(symbol, since_ms)
        fills = [self._in_quote(each, False) for each in self._exchange.fills(symbol, since_ms)]
        fills = [each for each in fills if each.order_id in self._orders]
        incomes = self._incomes(fills)
        found: list[RecordedTrade] = []
        known: set[str] = set()
        for order_id in dict.fromkeys(fill.order_id for fill in fills):
            order = self._orders[order_id]
            consumed = any(order.client_id in each.entries for each in found)
            if order.purpose is not Purpose.ENTRY or consumed:
                continue
            if self._journal.has_trade(order.client_id):
                known.add(order.client_id)  # recorded all the same: its increases are no trades of their own
            opened = self._opened(order.client_id, [each for each in fills if each.order_id == order_id])
            found.append(TradeRecorder.record(opened, fills, self._orders, incomes))
        return [each for each in found if each.trade.entry_client_id not in known]

    def _opened(self, entry_client_id: str, fills: list[Fill]) -> Trade:
        execution = self._order_manager.summed(entry_client_id, fills)
        direction = Direction.LONG if fills[0].side is Direction.LONG.entry_side else Direction.SHORT
        leverage = self._limits.current.leverage
        return opened_trade(self._order_manager.symbol, direction, execution, leverage=leverage)

    def _incomes(self, fills: list[Fill]) -> list[Income]:
        if not fills or not funding_may_be_due(fills[0].time_ms, self._clock.now_ms()):
            return []
        return self._exchange.income(fills[0].time_ms)

    def _read_history(self, symbol: str, since_ms: int) -> None:
        for order in self._exchange.order_history(symbol, since_ms):
            known = self._orders.get(order.order_id)
            self.note_order(order.order_id, order.client_id, known.reason if known else "")

    def _in_quote(self, fill: Fill, prices: bool) -> Fill:
        """Return the fill with its fee in quote currency, 0 where it is in another asset and not to be priced."""
        quote = self._order_manager.quote_asset
        if not fill.fee or fill.fee_asset == quote:
            return fill
        fee = self._order_manager.price([(fill.fee_asset, fill.fee)]) if prices else Decimal(0)
        return replace(fill, fee=fee, fee_asset=quote)


def _begin_ms(trade: Trade) -> int:
    """Return an instant before the first fill of a trade's entry order: the order's decision, less clock error."""
    decided_ms = decided_ms_of(trade.entry_client_id)
    return min(trade.entry_ms, trade.entry_ms if decided_ms is None else decided_ms) - _CLOCKS_DIFFER_MS


def _fits(recorded: RecordedTrade, position: Position) -> bool:
    """Return whether a position can be what a trade's fills have left open."""
    trade = recorded.trade
    held = recorded.open_quantity + recorded.foreign_quantity
    return trade.direction is position.direction and held == position.quantity


def signed(position: Position | None) -> Decimal:
    """Return a position's quantity, above 0 for long, below 0 for short."""
    return Decimal(0) if position is None else position.quantity * position.direction.sign
