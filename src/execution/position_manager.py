"""Manages the one position of a symbol: opens it with protective orders, monitors it, closes it.

The exchange is right about what is open; the journal is right about what we meant. This room makes the two agree,
at the start, each turn and after each unknown outcome, and names what it cannot explain (``halt_reason``).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from src.domain.clock import MINUTE_MS, Clock, is_over
from src.domain.errors import ExchangeError, ExchangeUnavailable, OrderRefused, OutcomeUnknown
from src.domain.funding import HOUR_MS
from src.domain.market import MarkPrice
from src.domain.orders import OrderIntent, Purpose, Side
from src.domain.portfolio import Account, Direction, Position, Trade
from src.domain.ports import Exchange
from src.domain.risk import RiskLimits, early_stop_price
from src.execution.journal import Journal, TradeStart
from src.execution.order_manager import Execution, OrderManager, RulesChanged, Unprotected
from src.execution.pair_settings import PairSettings
from src.execution.trade_recorder import TradeExit, TradeRecorder, closed_quantity

log = logging.getLogger(__name__)

_EXIT_ATTEMPTS = 3
_NOTHING_TO_REDUCE = -2022
_RETRY_EXIT_MS = 1_000


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """The mark price at which the position is closed without waiting for the stop or the next turn."""

    price: Decimal
    direction: Direction

    def reached(self, mark: Decimal) -> bool:
        """Return whether ``mark`` has come to the level."""
        return (mark - self.price) * self.direction.sign <= 0


class PositionManager:
    """The position of one symbol. One thread at a time, but ``early_stop`` may be read by any."""

    def __init__(
        self,
        desk: OrderManager,
        exchange: Exchange,
        journal: Journal,
        clock: Clock,
        limits: RiskLimits,
        settings: PairSettings,
        mark_price: Callable[[], MarkPrice | None],
        reconcile_ms: int,
    ) -> None:
        self._desk = desk
        self._exchange = exchange
        self._journal = journal
        self._clock = clock
        self._limits = limits
        self._book = TradeRecorder(desk, exchange, journal, limits, settings)
        self._mark_price = mark_price
        self._reconcile_ms = reconcile_ms
        self._start: TradeStart | None = None
        self._exits: list[Execution] = []
        self._exit_reason = ""
        self._exit_tried_ms = 0
        self._funding_due_ms: int | None = None  # the first after the entry; unknown: ask
        self._owed: Execution | None = None
        self._leftovers = False
        self._guards_seen = True
        self._reconciled_ms: int | None = None
        self._fill_ms = 0
        self._unsettled = False
        self._halt = "the account was not reconciled yet"
        self.early_stop: EarlyStop | None = None

    def replace_limits(self, limits: RiskLimits) -> None:
        """Open the next position under other limits; stop and target of an open one stay where they stand."""
        self._limits = limits

    @property
    def halt_reason(self) -> str:
        """Why entries are halted, in words; empty when position, orders and journal agree."""
        if self._exit_reason:
            return f"an exit is under way ({self._exit_reason})"
        return self._halt

    @property
    def exit_under_way(self) -> str:
        """The reason of an exit that was begun and not finished, or empty."""
        return self._exit_reason

    @property
    def trade(self) -> Trade | None:
        """The open round trip, or None when flat."""
        return self._start.trade if self._start else None

    def position(self, account: Account | None) -> Position | None:
        """Return the position as the exchange has it, or as our fills left it where its news are older."""
        trade = self.trade
        if account is not None and self._knows_fills(account):
            return account.position(self._desk.symbol)
        return None if trade is None else self._from_trade(trade)

    def open(self, direction: Direction, quantity: Decimal, decided_ms: int, reason: str) -> str:
        """Open a position with stop and target; return "" or, in words, why none was opened.

        A position whose stop cannot be placed is closed at once. ``StoreUnavailable`` means nothing was sent.
        """
        mark = self._mark_price()
        try:
            execution = self._desk.enter(direction, quantity, decided_ms, reason)
        except OutcomeUnknown as error:
            self._unsettled = True
            self._halt = f"the outcome of an entry is not known: {error}"
            return self._halt
        except ExchangeError as error:
            return f"the entry was refused: {error}"
        self._funding_due_ms = _first_funding_ms(mark)
        self._begin(direction, execution, decided_ms, attempt=0)
        return ""

    def close(self, reason: str) -> bool:
        """Close the position by market; return whether it is closed. What fails is tried again by ``press``."""
        trade = self.trade
        if trade is None:
            return True
        self._exit_reason = self._exit_reason or reason
        self._exit_tried_ms = self._clock.now_ms()
        decided_ms = self._clock.now_ms()
        for attempt in range(_EXIT_ATTEMPTS):
            rest = trade.quantity - closed_quantity(self._exits)
            try:
                self._exits.append(self._desk.close(trade.direction, rest, decided_ms, attempt, self._exit_reason))
            except OutcomeUnknown as error:
                log.warning("exit outcome unknown: symbol=%s reason=%s", trade.symbol, error)
                self._unsettled = True
                if self._is_gone():
                    return self._closed_elsewhere()
                continue
            except OrderRefused as error:
                if error.code == _NOTHING_TO_REDUCE and self._is_gone():
                    return self._closed_elsewhere()
                log.warning("exit refused: symbol=%s reason=%s", trade.symbol, error)
                return False
            except ExchangeError as error:
                log.warning("exit not possible now: symbol=%s reason=%s", trade.symbol, error)
                return False
            if self._exit_is_complete(trade):
                self._finish(trade, TradeExit(tuple(self._exits), self._exit_reason))
                return True
        return False

    def retry_exit(self) -> None:
        """Go on with an exit that was begun and not finished; at most once a second."""
        if self._exit_reason and is_over(_RETRY_EXIT_MS, self._exit_tried_ms, self._clock.now_ms()):
            self.close(self._exit_reason)

    def reconcile(self, account: Account | None) -> None:
        """Make journal and exchange agree: settle orders, notice what changed, keep the guards standing.

        ``account`` is the newest that flowed in, confirmed at the exchange by whoever feeds it: while flat that is
        enough. In a position the exchange is asked now and then whether the guards stand, and in doubt everything.

        Raises:
            ExchangeError: nothing could be found out now; ``halt_reason`` still holds.
        """
        self.retry_exit()
        now = self._clock.now_ms()
        if account is None or self.needs_reconcile or self._reconciled_ms is None:
            self._reconcile(now)
        elif self._knows_fills(account) and not self._exit_reason:
            if self._start is not None and account.position(self._desk.symbol) is None:
                self._reconcile(now)
            else:
                self._compare(account)
        if self._start is not None and is_over(self._reconcile_ms, self._reconciled_ms or now, now):
            self._stand_guards(self._desk.open_protective_orders())
            self._reconciled_ms = now
        if self._leftovers:
            self._desk.cancel_guards(self._guard_ids())
            self._leftovers = False
        self._settle_fees()
        self._book.settle_late()

    @property
    def needs_reconcile(self) -> bool:
        """Whether something is not known that ``mend`` would ask for: an outcome, or whether the stop stands."""
        return self._unsettled or not self._guards_seen

    def request_reconcile(self) -> None:
        """Ask the exchange again at the next ``mend``: a guard was cancelled, a socket was lost."""
        self._unsettled = True

    def _reconcile(self, now: int) -> None:
        if self._start is None:
            starts = self._journal.open_trades(self._desk.symbol)
            if starts:
                self._adopt(starts[-1])
                self._funding_due_ms = None
        listed = self._desk.open_protective_orders()
        filled, undecided = self._desk.settle(listed)
        for intent, execution in filled:
            self._take(intent, execution)
        self._compare(self._exchange.account())
        if undecided and not self._halt:
            self._halt = f"the outcome of order {undecided[0].client_id} is not known yet"
        self._unsettled = bool(undecided)
        if self._start is not None:
            self._stand_guards(listed)
        elif listed:
            self._leftovers = True
        self._reconciled_ms = now

    def _compare(self, account: Account) -> None:
        position = account.position(self._desk.symbol)
        trade = self.trade
        self._halt = ""
        if trade is not None and position is None:
            self._closed_elsewhere()
        elif trade is None and position is not None:
            self._halt = (
                f"the exchange holds {position.direction} {position.quantity} {position.symbol} "
                "that this bot did not open"
            )
        elif trade is not None and position is not None:
            self._compare_size(trade, position)

    def _compare_size(self, trade: Trade, position: Position) -> None:
        rest = trade.quantity - closed_quantity(self._exits)
        if position.direction is not trade.direction or position.quantity != rest:
            self._halt = (
                f"the exchange holds {position.direction} {position.quantity} {position.symbol}, "
                f"the journal {trade.direction} {rest}"
            )

    def _begin(self, direction: Direction, execution: Execution, decided_ms: int, attempt: int) -> None:
        trade = self._book.begun(direction, execution)
        self._fill_ms = max(self._fill_ms, execution.time_ms)
        self._owed = execution if execution.owed else None
        self._guard(trade, decided_ms, attempt)
        try:
            self._settle_fees()
        except ExchangeError as error:
            log.warning("fees of an entry follow later: symbol=%s reason=%s", trade.symbol, error)

    def _settle_fees(self) -> None:
        """Price what an entry paid in another asset, and put it into the open trade."""
        owed, start = self._owed, self._start
        if owed is None or start is None:
            return
        fees = self._desk.settle_fees(owed).fees
        self._owed = None
        self._start = replace(start, trade=replace(start.trade, fees=fees))
        self._journal.open_trade(self._start)

    def _guard(self, trade: Trade, decided_ms: int, attempt: int) -> None:
        """Place stop and target for the trade and note both; close it at once where no stop can stand."""
        guards = self._book.guards(trade, decided_ms, attempt)
        start = TradeStart(trade, guards.stop.client_id, guards.target.client_id)
        self._adopt(start)
        try:
            self._guards_seen = self._desk.protect(guards)
        except RulesChanged as error:
            log.warning("protective orders placed anew: symbol=%s reason=%s", trade.symbol, error)
            self._guard(trade, decided_ms, attempt + 1)
            return
        except Unprotected as error:
            log.error("position without a stop is closed: symbol=%s reason=%s", trade.symbol, error)
            self._journal.open_trade(start)
            self.close("unprotected")
            return
        self._journal.open_trade(start)

    def _adopt(self, start: TradeStart) -> None:
        self._start = start
        self._exits = []
        trade = start.trade
        level = early_stop_price(trade.entry_price, trade.direction, self._limits)
        self.early_stop = EarlyStop(level, trade.direction)

    def _stand_guards(self, listed: set[str]) -> None:
        start = self._start
        if start is None or self._exit_reason:
            return
        if start.stop_client_id in listed or start.stop_client_id in self._desk.open_protective_orders():
            self._guards_seen = True
            return
        log.warning("stop missing, placing it again: symbol=%s", start.trade.symbol)
        self._desk.cancel_guards()
        self._guard(start.trade, self._clock.now_ms(), attempt=1)

    def _take(self, intent: OrderIntent, execution: Execution) -> None:
        """Give a fill that became known late its place: an entry opens the trade, an exit is counted."""
        trade = self.trade
        if intent.purpose is Purpose.ENTRY and trade is None:
            direction = Direction.LONG if intent.side is Side.BUY else Direction.SHORT
            if self._is_gone():
                self._record_past(direction, intent, execution)
            else:
                self._funding_due_ms = None
                self._begin(direction, execution, intent.decided_ms, attempt=0)
        elif intent.purpose is Purpose.EXIT and trade is not None and execution.time_ms >= trade.entry_ms:
            self._exit_reason = self._exit_reason or intent.reason or "exit"
            self._exits.append(execution)
            if self._exit_is_complete(trade):
                self._finish(trade, TradeExit(tuple(self._exits), self._exit_reason))

    def _record_past(self, direction: Direction, intent: OrderIntent, execution: Execution) -> None:
        """Write down a round trip that began and ended while nobody was looking."""
        trade = self._book.begun(direction, execution)
        self._fill_ms = max(self._fill_ms, execution.time_ms)
        guards = self._book.guards(trade, intent.decided_ms, 0)
        start = TradeStart(trade, guards.stop.client_id, guards.target.client_id)
        self._adopt(start)
        self._owed = execution if execution.owed else None
        self._funding_due_ms = None
        self._journal.open_trade(start)
        self._closed_elsewhere()

    def _is_gone(self) -> bool:
        try:
            return self._exchange.account().position(self._desk.symbol) is None
        except ExchangeUnavailable:
            return False

    def _closed_elsewhere(self) -> bool:
        """Find out how a position ended that is no longer there, and finish its trade; False when not yet known."""
        start = self._start
        if start is None:
            return True
        ending = self._book.ending(start, self._exits, self._exit_reason)
        if ending is None:
            self._halt = f"{self._desk.symbol} is closed at the exchange, its fills are not reported yet"
            return False
        self._finish(start.trade, ending)
        return True

    def _exit_is_complete(self, trade: Trade) -> bool:
        return closed_quantity(self._exits) >= trade.quantity

    def _finish(self, trade: Trade, ending: TradeExit) -> None:
        due, now = self._funding_due_ms, self._clock.now_ms()
        owed, self._owed = () if self._owed is None else self._owed.owed, None
        self._start, self._exits, self._exit_reason, self.early_stop = None, [], "", None
        self._fill_ms = max(self._fill_ms, *(each.time_ms for each in ending.exits))
        self._leftovers = True
        self._book.close(trade, ending, funding_due=due is None or now >= due, owed=owed)
        try:
            self._desk.cancel_guards()
            self._leftovers = False
        except ExchangeError as error:
            log.warning("leftover guards stay for now: symbol=%s reason=%s", self._desk.symbol, error)

    def _knows_fills(self, account: Account) -> bool:
        """Return whether the account is newer than our fills; one stamped in the future was made by a wrong clock."""
        ahead = self._fill_ms > self._clock.now_ms() + MINUTE_MS
        return ahead or account.as_of_ms >= self._fill_ms

    def _guard_ids(self) -> frozenset[str]:
        start = self._start
        return frozenset() if start is None else frozenset({start.stop_client_id, start.target_client_id})

    def _from_trade(self, trade: Trade) -> Position:
        mark = self._mark_price()
        price = mark.mark if mark is not None else trade.entry_price
        rest = trade.quantity - closed_quantity(self._exits)
        return Position(
            symbol=trade.symbol,
            direction=trade.direction,
            quantity=rest,
            entry_price=trade.entry_price,
            mark_price=price,
            unrealized_pnl=(price - trade.entry_price) * rest * trade.direction.sign,
            leverage=trade.leverage,
            liquidation_price=None,
            updated_ms=self._fill_ms,
        )


def _first_funding_ms(mark: MarkPrice | None) -> int | None:
    """Return the first instant at which funding may be paid: the announced one, or the next full hour if sooner.

    Contracts settle every 8, 4 or 1 hours, and the exchange may add settlements in between, on full hours.
    """
    if mark is None:
        return None
    return min(mark.next_funding_ms, (mark.time_ms // HOUR_MS + 1) * HOUR_MS)
