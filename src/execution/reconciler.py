"""Makes the record of one symbol's position agree with the exchange: orders, fills, account, history.

Nothing is said or sent about a position before its side and origin are known from the exchange's fills. What the
journal has lost (an older backup, a new database) is adopted from the exchange's own history of orders.
"""

import logging
from dataclasses import dataclass, replace

from src.domain.clock import DAY_MS, Clock
from src.domain.errors import ExchangeError, StoreCorrupt, StoreUnavailable
from src.domain.orders import Order, OrderIntent, Purpose, Side, variant_of
from src.domain.portfolio import Direction, Position, Trade
from src.domain.ports import Exchange
from src.domain.risk import ActiveLimits
from src.execution.executions import Execution, increased_trade, opened_trade, reduced_trade
from src.execution.journal import Journal, TradeStart
from src.execution.order_manager import OrderManager
from src.execution.position_record import PositionRecord, signed, stranger_reason
from src.execution.protection_manager import ProtectionManager
from src.execution.trade_history import TradeHistory
from src.execution.trade_recorder import RecordedTrade
from src.execution.trade_settlement import TradeSettlement

log = logging.getLogger(__name__)

_RESUMED_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class SettledOrders:
    """The first step of a reconciliation: conditional orders as listed, orders still undecided, an entry found late."""

    listed: list[Order]
    undecided: list[OrderIntent]
    entry_ms: int | None = None


class Reconciler:
    """Compares one symbol's record with the exchange. Called by one thread at a time."""

    def __init__(
        self,
        record: PositionRecord,
        order_manager: OrderManager,
        exchange: Exchange,
        journal: Journal,
        clock: Clock,
        *,
        limits: ActiveLimits,
        protection: ProtectionManager,
    ) -> None:
        self._record, self._order_manager, self._exchange = record, order_manager, exchange
        self._journal, self._clock, self._limits, self._protection = journal, clock, limits, protection
        self.history = TradeHistory(order_manager, exchange, journal, clock, limits)
        self.settlement = TradeSettlement(self.history, journal, clock)
        self._recovered = False

    def settle_orders(self) -> SettledOrders:
        """Find out what became of the orders without an end, and give their fills a place in the record.

        Raises:
            ExchangeError: nothing could be found out now.
        """
        if self._record.start is None:
            starts = self._journal.open_trades(self._order_manager.symbol)
            if starts:
                self._record.adopt(starts[-1])
        listed = self._protection.listed()
        filled, undecided = self._order_manager.settle(self._protection.own_ids(listed))
        found = [intent.decided_ms for intent, execution in filled if self._take(intent, execution)]
        return SettledOrders(listed, undecided, found[-1] if found else None)

    def explain(self, position: Position | None, listed: list[Order]) -> bool:
        """Make record and position agree by the exchange's fills; return whether they do.

        Raises:
            ExchangeError: fills or history could not be asked.
        """
        record = self._record
        record.halt = ""
        held = signed(position)
        if record.start is not None and (not record.verified or held != record.expected):
            self.read_fills()
        record.verified = True
        if record.start is None:
            return self._explain_others(position, listed)
        if held != record.expected:
            record.halt = (
                f"the exchange holds {held} {record.symbol}, fills explain {record.expected}: "
                "they are not all reported yet"
            )
            return False
        record.halt = record.foreign_reason()
        return True

    def read_fills(self) -> None:
        """Take over what the exchange's fills tell of the open trade: what is left, what others hold, its end."""
        record = self._record
        if record.start is None:
            return
        told = self.history.record(record.start.trade, record.exit_reason)
        if told.entered_quantity < record.start.trade.quantity:
            return  # not even the entry is reported yet
        record.fill_ms = max(record.fill_ms, told.last_fill_ms)
        if told.complete:
            record.foreign = told.foreign_quantity
            self.finish(told.trade)
            record.needs_reconcile = True  # until what rests at the exchange was looked at
            return
        if (len(told.exits), told.foreign_quantity) != (len(record.exits), record.foreign):
            own = told.foreign_quantity == record.foreign and all(each.client_id for each in told.exits)
            log.log(
                logging.INFO if own else logging.WARNING,
                "position changed: symbol=%s open=%s foreign=%s",
                record.symbol,
                told.open_quantity,
                told.foreign_quantity,
            )
        record.take_over(told)
        self._journal.open_trade(self.booked(record.start))

    def ended_by_fills(self) -> bool:
        """Ask for the fills of the open trade; return whether they have closed it. Failures count as no."""
        try:
            self.read_fills()
        except ExchangeError as error:
            log.warning("fills could not be asked: symbol=%s reason=%s", self._record.symbol, error)
        return self._record.start is None

    def finish(self, finished: Trade) -> None:
        """Write the end of the open trade down; protective orders, fees and funding follow."""
        opened = self._record.trade
        self._record.end(finished.exit_ms or 0)
        self._protection.forget_problems()
        self._journal.close_trade(finished)
        log.info(
            "trade closed: symbol=%s direction=%s reason=%s entry=%s exit=%s pnl=%s",
            finished.symbol,
            finished.direction,
            finished.exit_reason,
            finished.entry_price,
            finished.exit_price,
            finished.pnl,
        )
        if opened is not None:
            self.settlement.add(opened, finished)

    def opened(self, direction: Direction, execution: Execution) -> Trade:
        """Return the trade that an entry's execution opens under the limits in force."""
        stop, target = self._protection.levels(execution.average_price, direction)
        leverage = self._limits.current.leverage
        return opened_trade(
            self._order_manager.symbol, direction, execution, leverage=leverage, stop=stop, target=target
        )

    def begin(self, direction: Direction, execution: Execution) -> None:
        """Take an entry's execution for the open trade; its protection follows."""
        record = self._record
        record.adopt(TradeStart(self.opened(direction, execution), "", ""))
        record.fill_ms = max(record.fill_ms, execution.time_ms)
        record.owed = execution if execution.owed else None
        record.verified = True
        self.history.note_order(execution.order_id, execution.client_id)

    def increase(self, execution: Execution) -> None:
        """Add an entry's execution to the open trade."""
        record = self._record
        if record.start is None:
            return
        record.start = replace(record.start, trade=increased_trade(record.start.trade, execution))
        record.fill_ms = max(record.fill_ms, execution.time_ms)
        self.history.note_order(execution.order_id, execution.client_id)
        self._journal.open_trade(self.booked(record.start))

    def reduce(self, execution: Execution, reason: str) -> None:
        """Book a partial exit of the open trade."""
        record = self._record
        if record.start is None:
            return
        record.exits.append(execution)
        record.fill_ms = max(record.fill_ms, execution.time_ms)
        self.history.note_order(execution.order_id, execution.client_id, reason)
        self._journal.open_trade(self.booked(record.start))

    def booked(self, start: TradeStart) -> TradeStart:
        """Return the open trade as it is written down: with profit and fees of the parts closed so far."""
        return replace(start, trade=reduced_trade(start.trade, self._record.exits))

    def _take(self, intent: OrderIntent, execution: Execution) -> bool:
        """Give a fill that became known late its place; return whether it has opened the trade."""
        record, trade = self._record, self._record.trade
        self.history.note_order(execution.order_id, execution.client_id, intent.reason)
        if intent.purpose is Purpose.ENTRY and trade is None:
            direction = Direction.LONG if intent.side is Side.BUY else Direction.SHORT
            self.begin(direction, execution)
            position = self._exchange.account().position(self._order_manager.symbol)
            record.verified = record.owns(position)  # else it has ended meanwhile: the fills tell
            return record.verified
        if intent.purpose is Purpose.EXIT and trade is not None and execution.time_ms >= trade.entry_ms:
            if intent.quantity >= record.open_quantity:
                record.exit_reason = record.exit_reason or intent.reason or "exit"
            record.verified = False
        if intent.purpose is Purpose.ENTRY and trade is not None and execution.client_id != trade.entry_client_id:
            record.verified = False  # an increase: the fills tell the new size and mean price
        if intent.purpose is Purpose.TARGET and trade is not None and variant_of(intent.client_id):
            record.verified = False  # a part was closed: the fills tell what is left
        if intent.kind.conditional and trade is None:  # left for a position of others: its fill is booked as theirs
            self.settlement.resume(self._closed_since(self._clock.now_ms() - DAY_MS)[-1:])
        return False

    def _explain_others(self, position: Position | None, listed: list[Order]) -> bool:
        """Without a trade: adopt what the bot's own entries led to, else name a position that others opened."""
        record = self._record
        if not self._recovered or (position is not None and record.stranger != signed(position)):
            since_ms = None if self._recovered else self._journal.last_note_ms()
            try:
                adopted = self.history.adopt(position, since_ms)
            except (StoreUnavailable, StoreCorrupt) as error:
                record.halt = f"the journal could not be read to explain {record.symbol}: {error}"
                return False
            if not self._recovered:
                self.settlement.resume(self._closed_since(self._clock.now_ms() - _RESUMED_MS))
            self._recovered = True
            for each in adopted.closed:
                self._book_missed(each.trade)
            if adopted.open is not None:
                self._adopt_open(adopted.open, listed)
                return True
        record.stranger = None if position is None else signed(position)
        record.halt = stranger_reason(position)
        return True

    def _closed_since(self, since_ms: int) -> list[Trade]:
        """Return the closed trades of the journal, none while it cannot be read."""
        try:
            return self._journal.closed_trades(self._record.symbol, since_ms)
        except (StoreUnavailable, StoreCorrupt) as error:
            log.warning("closed trades not read: symbol=%s reason=%s", self._record.symbol, error)
            return []

    def _book_missed(self, trade: Trade) -> None:
        log.error("trade found at the exchange, missing in the journal: entry=%s", trade.entry_client_id)
        self._journal.close_trade(trade)
        self.settlement.add(trade, trade)

    def _adopt_open(self, told: RecordedTrade, listed: list[Order]) -> None:
        start = self.history.start_of(told.trade, listed)
        log.error(
            "position adopted from the exchange's history: symbol=%s entry=%s stop=%s",
            self._record.symbol,
            start.trade.entry_client_id,
            start.trade.stop_price,
        )
        self._record.adopt(start, told.exits, told.foreign_quantity)
        self._record.fill_ms = max(self._record.fill_ms, told.last_fill_ms)
        self._journal.open_trade(start)
        self._record.halt = self._record.foreign_reason()
