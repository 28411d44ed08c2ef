"""Floor 3, shell: the state machine of one symbol's position: entered with its stop, watched, closed, never forgotten.

The exchange is right about what is open, its fills about whose it is; the journal is right about what was meant. The
states and their transitions are the table in ``position_state``; ``halt_reason`` says what keeps entries away.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from src.core.clock import Clock
from src.core.errors import ExchangeError, ExchangeUnavailable, OrderRefused, OutcomeUnknown, StoreUnavailable
from src.core.market import MarkPrice
from src.core.orders import Order, OrderIntent, Purpose, Side
from src.core.portfolio import Account, Direction, Position, Trade
from src.core.ports import Exchange
from src.core.risk import ActiveLimits, early_stop_price
from src.journal import Journal, TradeStart
from src.order_desk import OrderDesk
from src.pair_settings import PairSettings
from src.position_state import Backoff, PositionEvent, PositionState, next_state
from src.protective_orders import ProtectiveOrders, Unprotected
from src.reconciler import Reconciler, signed
from src.trade_book import Execution, RecordedTrade, closed_quantity, closed_trade, opened_trade
from src.trade_settlement import TradeSettlement

log = logging.getLogger(__name__)

PROTECTION_CHECK_MS = 90_000
_EXIT_ATTEMPTS = 3
_NOTHING_TO_REDUCE = -2022
_RETRY_MS, _LONGEST_RETRY_MS = 1_000, 60_000
_ALARM_AFTER = 3
_SAME_PRICE_SHARE = Decimal("0.000001")
_FLAT_CHECKS_MS = (5_000, 60_000)
_RESUMED_MS = 3_600_000
_EVENT = PositionEvent


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """The mark price at which the position is closed without waiting for the stop or the next turn."""

    price: Decimal
    direction: Direction

    def reached(self, mark: Decimal) -> bool:
        """Return whether ``mark`` has come to the level."""
        return (mark - self.price) * self.direction.sign <= 0


class PositionKeeper:
    """The bot's own position of one symbol. One thread at a time, but ``early_stop`` may be read by any."""

    def __init__(
        self,
        desk: OrderDesk,
        exchange: Exchange,
        journal: Journal,
        clock: Clock,
        limits: ActiveLimits,
        *,
        settings: PairSettings,
        mark_price: Callable[[], MarkPrice | None],
        reconcile_ms: int,
        protection_check_ms: int = PROTECTION_CHECK_MS,
    ) -> None:
        self._desk, self._exchange, self._journal, self._clock = desk, exchange, journal, clock
        self._limits, self._mark_price = limits, mark_price
        self._reconcile_ms, self._protection_check_ms = reconcile_ms, protection_check_ms
        self._protection = ProtectiveOrders(desk, exchange, journal, clock, limits, settings=settings)
        self._reconciler = Reconciler(desk, exchange, journal, clock, limits)
        self._settlement = TradeSettlement(self._reconciler, journal, clock)
        self._state = PositionState.UNKNOWN
        self._start: TradeStart | None = None
        self._exits: list[Execution] = []
        self._foreign = Decimal(0)
        self._exit_reason = ""
        self._exit_pause = Backoff(_RETRY_MS, _LONGEST_RETRY_MS)
        self._reconcile_pause = Backoff(_RETRY_MS, _LONGEST_RETRY_MS)
        self._owed: Execution | None = None
        self._stranger: Decimal | None = None
        self._entry_seen = Decimal(0)
        self._verified = False
        self._recovered = False
        self._unsettled = False
        self._protected = True
        self._checks_ms: list[int] = []
        self._fill_ms = 0
        self._halt = "the account was not reconciled yet"

    # --- what others may know ------------------------------------------------------------------------------------

    @property
    def state(self) -> PositionState:
        """Where the position stands."""
        return self._state

    @property
    def halt_reason(self) -> str:
        """Why entries are halted, in words; empty when position, orders and journal agree."""
        if self._exit_reason:
            return f"an exit is under way ({self._exit_reason})"
        return self._halt or self._protection.problem

    @property
    def notice(self) -> str:
        """What a person should know although entries are allowed, in one sentence; else empty."""
        return self._settlement.notice

    @property
    def exit_under_way(self) -> str:
        """The reason of an exit that was begun and not finished, or empty."""
        return self._exit_reason

    @property
    def trade(self) -> Trade | None:
        """The open round trip, or None when flat."""
        return self._start.trade if self._start else None

    @property
    def open_quantity(self) -> Decimal:
        """What of the open round trip is not closed yet."""
        return Decimal(0) if self._start is None else self._start.trade.quantity - closed_quantity(self._exits)

    @property
    def early_stop(self) -> EarlyStop | None:
        """The early stop of the open position under the limits in force, None when flat."""
        trade = self.trade
        if trade is None:
            return None
        return EarlyStop(early_stop_price(trade.entry_price, trade.direction, self._limits.current), trade.direction)

    @property
    def unsettled(self) -> bool:
        """Whether something is not known that ``mend`` would ask for now: an outcome, or whether the stop stands."""
        asks = self._unsettled or not self._protected
        return asks and self._reconcile_pause.due(self._clock.now_ms())

    @property
    def protection(self) -> str:
        """Return in words which protective orders of the open position stand; empty when flat."""
        start = self._start
        if start is None:
            return ""
        if self._protection.problem or not self._protected:
            return self._protection.problem or "whether its stop stands is being checked"
        return f"its stop at {start.trade.stop_price} and target at {start.trade.target_price} stand at the exchange"

    def owns(self, position: Position | None) -> bool:
        """Return whether a position is the bot's own round trip: by its fills, not by the symbol alone."""
        trade = self.trade
        return trade is not None and position is not None and position.direction is trade.direction

    def position(self, account: Account | None) -> Position | None:
        """Return the position as the exchange has it, or as our fills left it where its news are older."""
        trade = self.trade
        if account is not None and account.as_of_ms >= self._fill_ms:
            return account.position(self._desk.symbol)
        return None if trade is None else self._from_trade(trade)

    def concerns(self, order_client_id: str) -> bool:
        """Return whether an order is stop or target of the open position."""
        start = self._start
        return start is not None and order_client_id in (start.stop_client_id, start.target_client_id)

    # --- entry ---------------------------------------------------------------------------------------------------

    def open(self, direction: Direction, quantity: Decimal, decided_ms: int, reason: str) -> str:
        """Open a position with stop and target; return "" or, in words, why none was opened.

        The stop is placed before the entry is sent. ``StoreUnavailable`` means nothing was sent.
        """
        mark = self._mark_price()
        if self._state is not PositionState.FLAT or self._stranger or mark is None:
            return self.halt_reason or f"no entry while the position is {self._state}, the mark price {mark}"
        veto = self._protection.veto(mark.mark, direction)
        try:
            veto = veto or self._protection.prepare_entry(direction)
        except ExchangeError as error:
            veto = f"what rests at the exchange could not be asked: {error}"
        if veto:
            return veto
        self._move(_EVENT.ENTRY_STARTED)
        try:
            return self._enter(direction, mark.mark, quantity, decided_ms, reason)
        except StoreUnavailable:
            self._move(_EVENT.ENTRY_REFUSED)
            raise

    def _enter(self, direction: Direction, mark: Decimal, quantity: Decimal, decided_ms: int, reason: str) -> str:
        intent = self._desk.plan_entry(direction, quantity, decided_ms, reason)
        try:
            stop = self._protection.place_before_entry(direction, mark, decided_ms)
        except Unprotected as error:
            self._desk.drop_entry(intent, str(error))
            self._move(_EVENT.ENTRY_REFUSED)
            self._clear_orders(None)
            return f"the entry was not sent: {error}"
        try:
            execution = self._desk.send_entry(intent)
        except OutcomeUnknown as error:
            self._move(_EVENT.OUTCOME_UNKNOWN)
            self._unsettled = True
            self._halt = f"the outcome of an entry is not known: {error}"
            return self._halt
        except ExchangeError as error:
            self._move(_EVENT.ENTRY_REFUSED)
            self._clear_orders(None)
            return f"the entry was refused: {error}"
        self._begin(direction, execution, decided_ms, [] if stop is None else [stop])
        return ""

    def _begin(self, direction: Direction, execution: Execution, decided_ms: int, standing: list[Order]) -> None:
        stop, target = self._protection.levels(execution.average_price, direction)
        trade = opened_trade(
            self._desk.symbol,
            direction,
            execution,
            leverage=self._limits.current.leverage,
            stop=stop,
            target=target,
        )
        self._move(_EVENT.ENTRY_FILLED if self._state is PositionState.ENTERING else _EVENT.FOUND_OPEN)
        self._adopt(TradeStart(trade, "", ""))
        self._fill_ms = max(self._fill_ms, execution.time_ms)
        self._owed = execution if execution.owed else None
        self._reconciler.note_order(execution.order_id, execution.client_id)
        self._verified = True
        self._protect(standing, decided_ms, attempt=1)
        self._settle_fees()

    def _adopt(self, start: TradeStart) -> None:
        self._start, self._exits, self._foreign, self._stranger = start, [], Decimal(0), None

    # --- protection ----------------------------------------------------------------------------------------------

    def _protect(self, standing: list[Order], decided_ms: int, attempt: int) -> None:
        """Make stop and target stand, and note them; close the position where no stop can."""
        before = self._start
        if before is None:
            return
        try:
            start = self._protection.ensure(before, standing, decided_ms, attempt)
            self._start = start
            self._protected = start == before or self._protection.confirm(start)
        except Unprotected as error:
            log.error("position without a stop is closed: symbol=%s reason=%s", self._desk.symbol, error)
            self._journal.open_trade(self._start or before)
            self.close("unprotected")
            return
        if start != before:
            self._journal.open_trade(start)

    def apply_limits(self) -> str:
        """Move stop and target of an open position to the limits in force; return what was done, in words."""
        before = self.trade
        if before is None or self._exit_reason:
            return ""
        try:
            self._protect(self._protection.listed(), self._clock.now_ms(), attempt=2)
        except ExchangeError as error:
            self._protected = False
            return f"Stop and target of {before.symbol} stay for now: {error}."
        after = self.trade
        if after is None:
            return f"The position in {before.symbol} was closed."
        if (after.stop_price, after.target_price) == (before.stop_price, before.target_price):
            return f"Stop {after.stop_price} and target {after.target_price} of {after.symbol} stay."
        return (
            f"Stop of {after.symbol} moved from {before.stop_price} to {after.stop_price}, "
            f"target from {before.target_price} to {after.target_price}."
        )

    def _check_orders(self, now: int) -> None:
        """On a short clock: with a position, both orders stand; while flat, nothing of this bot rests."""
        if self._state not in (PositionState.FLAT, PositionState.OPEN) or not self._checks_ms:
            return
        if now < self._checks_ms[0]:
            return
        if self._start is not None:
            self._protect(self._protection.listed(), now, attempt=2)
        elif self._stranger is None:
            self._protection.clear(None)
        self._plan_checks(now, self._checks_ms[1:])

    def _plan_checks(self, now: int, left: Sequence[int] = ()) -> None:
        ahead = [each for each in left if each > now]
        every_ms = self._reconcile_ms if self._start is None else self._protection_check_ms
        self._checks_ms = ahead or [now + every_ms]

    def _clear_orders(self, held: Direction | None) -> None:
        """Cancel what no position needs; what fails now is done by the checks while flat."""
        now = self._clock.now_ms()
        self._checks_ms = [now + each for each in _FLAT_CHECKS_MS]
        try:
            self._protection.clear(held)
        except ExchangeError as error:
            self._checks_ms.insert(0, now)
            log.warning("protective orders rest for now: symbol=%s reason=%s", self._desk.symbol, error)

    # --- exit ----------------------------------------------------------------------------------------------------

    def close(self, reason: str) -> bool:
        """Close the position by market; return whether it is closed. What fails is tried again by ``press``."""
        trade = self.trade
        if trade is None:
            return True
        self._exit_reason = self._exit_reason or reason
        self._move(_EVENT.EXIT_STARTED)
        decided_ms = self._clock.now_ms()
        for attempt in range(_EXIT_ATTEMPTS):
            rest = self.open_quantity
            try:
                execution = self._desk.close(trade.direction, rest, decided_ms, attempt, self._exit_reason)
            except OutcomeUnknown as error:
                log.warning("exit outcome unknown: symbol=%s reason=%s", trade.symbol, error)
                self._unsettled = True
                if self._ended_by_fills():
                    return True
                continue
            except ExchangeError as error:
                return self._exit_failed(error)
            self._reconciler.note_order(execution.order_id, execution.client_id, self._exit_reason)
            self._exits.append(execution)
            if self.open_quantity <= 0:
                self._finish(closed_trade(trade, self._exits, self._exit_reason))
                return True
        return self._exit_failed(ExchangeUnavailable("its outcome is not known"))

    def _exit_failed(self, error: ExchangeError) -> bool:
        """Find out why an exit was not accepted before the next one is sent, after a growing pause."""
        pause_ms = self._exit_pause.fail(self._clock.now_ms())
        alarm = self._exit_pause.failures >= _ALARM_AFTER
        log.log(
            logging.ERROR if alarm else logging.WARNING,
            "exit not done: symbol=%s retry_in_s=%d attempt=%d reason=%s",
            self._desk.symbol, pause_ms // 1_000, self._exit_pause.failures, error,
        )  # fmt: skip
        if not isinstance(error, OrderRefused):
            return False
        if self._ended_by_fills():
            return True
        if error.code == _NOTHING_TO_REDUCE:
            self._move(_EVENT.MISMATCH)
            self._unsettled = True
        return False

    def press(self) -> None:
        """Go on with an exit that was begun and not finished, after its pause."""
        now = self._clock.now_ms()
        if self._exit_reason and self._start is not None and self._exit_pause.due(now):
            if self._exit_pause.failures and (self._ended_by_fills() or not self._is_held(now)):
                return
            self.close(self._exit_reason)

    def _is_held(self, now: int) -> bool:
        """Return whether the exchange shows a position that an exit could reduce; after a no the pause grows."""
        try:
            held = self.owns(self._exchange.account().position(self._desk.symbol))
        except ExchangeUnavailable:
            held = False
        if not held:
            self._exit_pause.fail(now)
        return held

    def _ended_by_fills(self) -> bool:
        """Ask for the fills of the open trade and take them over; return whether they have closed it."""
        try:
            self._take_over(self._record())
        except ExchangeError as error:
            log.warning("fills could not be asked: symbol=%s reason=%s", self._desk.symbol, error)
        return self._start is None

    def _finish(self, finished: Trade) -> None:
        """Write the end down first; protective orders, fees and funding follow."""
        opened, start = self.trade, self._start
        self._move(_EVENT.CLOSED)
        held = None if self._foreign <= 0 else finished.direction
        self._start, self._exits, self._exit_reason, self._owed = None, [], "", None
        self._halt, self._protection.problem, self._protected = "", "", True
        self._exit_pause.reset()
        self._fill_ms = max(self._fill_ms, finished.exit_ms or 0)
        self._journal.close_trade(finished)
        log.info(
            "trade closed: symbol=%s direction=%s reason=%s entry=%s exit=%s pnl=%s",
            finished.symbol, finished.direction, finished.exit_reason, finished.entry_price, finished.exit_price,
            finished.pnl,
        )  # fmt: skip
        self._clear_orders(held)
        if opened is not None and start is not None:
            self._settlement.add(opened, finished)
            self._settlement.run()

    # --- agreement with the exchange -----------------------------------------------------------------------------

    def mend(self, account: Account | None) -> None:
        """Make journal and exchange agree: settle orders, notice what changed, keep the protection standing.

        ``account`` is the newest that flowed in, confirmed at the exchange by whoever feeds it: while it holds what is
        expected that is enough. In doubt the exchange is asked, again after growing pauses.

        Raises:
            ExchangeError: nothing could be found out now; ``halt_reason`` still holds.
        """
        self.press()
        now = self._clock.now_ms()
        asks = account is None or self._unsettled or not self._protected or not self._verified
        if asks or self._differs(account):
            if self._reconcile_pause.due(now):
                self._reconcile(now)
        else:
            self._halt = self._foreign_words(account)
        self._check_orders(now)
        self._settle_fees()
        self._settlement.run()

    def doubt(self) -> None:
        """Ask the exchange again at the next ``mend``: a protective order ended, a socket was lost."""
        self._unsettled = True

    def _expected(self) -> Decimal:
        """Return the symbol's position that is known of, above 0 for long."""
        trade = self.trade
        if trade is None:
            return self._stranger or Decimal(0)
        return (self.open_quantity + self._foreign) * trade.direction.sign

    def _differs(self, account: Account | None) -> bool:
        if account is None or account.as_of_ms < self._fill_ms or self._exit_reason:
            return False
        position = account.position(self._desk.symbol)
        return signed(position) != self._expected() or self._entry_differs(position)

    def _entry_differs(self, position: Position | None) -> bool:
        """Return whether the mean entry price is another one: somebody sold and bought back between two looks."""
        trade = self.trade
        if trade is None or position is None or self._foreign or position.entry_price == self._entry_seen:
            return False
        self._entry_seen = position.entry_price
        differs = abs(position.entry_price / trade.entry_price - 1) > _SAME_PRICE_SHARE
        self._verified = self._verified and not differs
        return differs

    def _reconcile(self, now: int) -> None:
        """Ask the exchange for orders, account and, where they do not explain each other, for fills and history."""
        if self._start is None:
            starts = self._journal.open_trades(self._desk.symbol)
            if starts:
                self._adopt(starts[-1])
        self._reconcile_pause.fail(now)  # until everything is known
        listed = self._protection.listed()
        filled, undecided = self._desk.settle(self._protection.own_ids(listed))
        for intent, execution in filled:
            self._take(intent, execution, listed)
        position = self._exchange.account().position(self._desk.symbol)
        explained = self._explain(position, listed)
        if undecided and not self._halt:
            self._halt = f"the outcome of order {undecided[0].client_id} is not known yet"
        self._unsettled = bool(undecided) or not explained
        self._settle_state(explained and not undecided)
        if self._start is not None and not self._exit_reason and explained:
            self._protect(self._protection.listed() if filled else listed, now, attempt=2)
        elif self._start is None:
            held = None if position is None else position.direction
            self._protection.clear(held)
        if not self._unsettled and self._protected:
            self._reconcile_pause.reset()
        self._plan_checks(now)

    def _settle_state(self, known: bool) -> None:
        if not known:
            self._move(_EVENT.OUTCOME_UNKNOWN if self._state is PositionState.UNKNOWN else _EVENT.MISMATCH)
        elif self._start is None:
            self._move(_EVENT.FOUND_FLAT)
        else:
            self._move(_EVENT.FOUND_EXITING if self._exit_reason else _EVENT.FOUND_OPEN)

    def _explain(self, position: Position | None, listed: list[Order]) -> bool:
        """Make trade and position agree by the exchange's fills; return whether they do."""
        self._halt = ""
        held = signed(position)
        if self._start is not None and (not self._verified or held != self._expected()):
            self._take_over(self._record())
        self._verified = True
        if self._start is not None:
            if held != self._expected():
                self._halt = (
                    f"the exchange holds {held} {self._desk.symbol}, fills explain {self._expected()}: "
                    "they are not all reported yet"
                )
                return False
            self._halt = self._own_words()
            return True
        return self._explain_stranger(position, listed)

    def _explain_stranger(self, position: Position | None, listed: list[Order]) -> bool:
        """Without a trade: adopt what the bot's own entries led to, else name a position that others opened."""
        if not self._recovered or (position is not None and self._stranger != signed(position)):
            since_ms = None if self._recovered else self._journal.last_note_ms()
            adopted = self._reconciler.adopt(position, since_ms)
            self._recovered = True
            for each in adopted.closed:
                self._book_missed(each)
            if adopted.open is not None:
                self._adopt_open(adopted.open, listed)
                return True
            self._resume_settlement()
        self._stranger = None if position is None else signed(position)
        self._halt = self._stranger_words(position)
        return True

    def _book_missed(self, recorded: RecordedTrade) -> None:
        trade = recorded.trade
        log.error("trade found at the exchange, missing in the journal: entry=%s", trade.entry_client_id)
        self._journal.close_trade(trade)
        self._settlement.add(trade, trade)

    def _adopt_open(self, recorded: RecordedTrade, listed: list[Order]) -> None:
        start = self._reconciler.start_of(recorded.trade, listed)
        log.error(
            "position adopted from the exchange's history: symbol=%s entry=%s stop=%s",
            self._desk.symbol, start.trade.entry_client_id, start.trade.stop_price,
        )  # fmt: skip
        self._adopt(start)
        self._exits, self._foreign = list(recorded.exits), recorded.foreign_quantity
        self._journal.open_trade(start)
        self._halt = self._own_words()

    def _resume_settlement(self) -> None:
        since_ms = self._clock.now_ms() - _RESUMED_MS
        self._settlement.resume(self._journal.closed_trades(self._desk.symbol, since_ms))

    def _record(self) -> RecordedTrade:
        start = self._start
        if start is None:
            raise ValueError("there is no open trade")
        return self._reconciler.record(start.trade, self._exit_reason)

    def _take_over(self, recorded: RecordedTrade) -> None:
        """Take over what the fills tell of the open trade: what is left, what others hold, its end."""
        start = self._start
        if start is None or recorded.entered_quantity < start.trade.quantity:
            return  # not even the entry is reported yet
        self._foreign = recorded.foreign_quantity
        self._fill_ms = max(self._fill_ms, recorded.last_fill_ms)
        if recorded.complete:
            self._finish(recorded.trade)
            return
        if len(recorded.exits) != len(self._exits) or recorded.entered_quantity != start.trade.quantity:
            log.warning(
                "position changed: symbol=%s open=%s foreign=%s",
                self._desk.symbol, recorded.open_quantity, recorded.foreign_quantity,
            )  # fmt: skip
        self._exits = list(recorded.exits)
        self._start = replace(start, trade=_as_open(start.trade, recorded.trade))

    def _take(self, intent: OrderIntent, execution: Execution, listed: list[Order]) -> None:
        """Give a fill that became known late its place: an entry opens the trade, an exit is counted."""
        self._reconciler.note_order(execution.order_id, execution.client_id, intent.reason)
        if intent.purpose is Purpose.ENTRY and self._start is None:
            direction = Direction.LONG if intent.side is Side.BUY else Direction.SHORT
            position = self._exchange.account().position(self._desk.symbol)
            if position is not None and position.direction is direction:
                self._begin(direction, execution, intent.decided_ms, listed)
                return
            self._adopt(TradeStart(self._past(direction, execution), "", ""))  # it has ended meanwhile
            self._verified = False
            return
        trade = self.trade
        if intent.purpose is Purpose.EXIT and trade is not None and execution.time_ms >= trade.entry_ms:
            self._exit_reason = self._exit_reason or intent.reason or "exit"
            self._verified = False

    def _past(self, direction: Direction, execution: Execution) -> Trade:
        leverage = self._limits.current.leverage
        trade = opened_trade(self._desk.symbol, direction, execution, leverage=leverage)
        stop, target = self._protection.levels(execution.average_price, direction)
        return replace(trade, stop_price=stop, target_price=target)

    # --- words ---------------------------------------------------------------------------------------------------

    def _own_words(self) -> str:
        if self._foreign == 0 or self._start is None:
            return ""
        trade = self._start.trade
        return (
            f"the exchange holds {self.open_quantity + self._foreign} {trade.symbol}, "
            f"of which this bot opened {self.open_quantity}"
        )

    def _stranger_words(self, position: Position | None) -> str:
        if position is None:
            return ""
        return (
            f"the exchange holds {position.direction} {position.quantity} {position.symbol} that this bot did not open"
        )

    def _foreign_words(self, account: Account | None) -> str:
        if self._state is PositionState.UNKNOWN:
            return self._halt
        if self._start is not None:
            return self._own_words()
        position = None if account is None else account.position(self._desk.symbol)
        if position is None:
            self._stranger = None
        return self._stranger_words(position)

    def _settle_fees(self) -> None:
        """Price what an entry paid in another asset, and put it into the open trade; a failure is tried again."""
        owed, start = self._owed, self._start
        if owed is None or start is None:
            return
        try:
            fees = self._desk.settle_fees(owed).fees
        except ExchangeError as error:
            log.warning("fees of an entry follow later: symbol=%s reason=%s", start.trade.symbol, error)
            return
        self._owed = None
        self._start = replace(start, trade=replace(start.trade, fees=fees))
        self._journal.open_trade(self._start)

    def _move(self, event: PositionEvent) -> None:
        before, self._state = self._state, next_state(self._state, event)
        if self._state is not before:
            log.debug("position: symbol=%s from=%s to=%s event=%s", self._desk.symbol, before, self._state, event)

    def _from_trade(self, trade: Trade) -> Position:
        mark = self._mark_price()
        price = mark.mark if mark is not None else trade.entry_price
        rest = self.open_quantity
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


def _as_open(trade: Trade, recorded: Trade) -> Trade:
    """Return an open trade with the quantity and mean entry price that its fills tell."""
    if recorded.quantity == trade.quantity:
        return trade
    return replace(trade, quantity=recorded.quantity, entry_price=recorded.entry_price)
