"""What is known of one symbol's position: the own round trip, its exits, what others hold beside it.

Only data and what follows from them; nothing here asks the exchange or writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from src.domain.clock import MINUTE_MS
from src.domain.market import MarkPrice
from src.domain.portfolio import Account, Direction, Position, Trade
from src.domain.risk import RiskLimits
from src.execution.executions import Execution, closed_quantity
from src.execution.journal import TradeStart
from src.execution.position_state import PositionEvent, PositionState, next_state
from src.execution.trade_recorder import RecordedTrade
from src.strategy.exits import StopKind, StopLevel, early_level, parts_done, stop_kind_of

_SAME_PRICE_SHARE = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """The mark price at which the position is closed without waiting for the stop or the next turn."""

    price: Decimal
    direction: Direction
    reason: str = "early_stop"

    def reached(self, mark: Decimal) -> bool:
        """Return whether ``mark`` has come to the level."""
        return (mark - self.price) * self.direction.sign <= 0


@dataclass(slots=True)
class PositionRecord:
    """The position of ``symbol`` as far as it is known; changed by the position manager and its reconciler alone.

    ``start`` is the bot's open round trip. ``foreign`` is what others hold beside it, positive on its side.
    ``stranger`` is a position of others while the bot has none, above 0 for long. ``fill_ms`` is the newest fill that
    is known: an account that is older says nothing. ``verified`` says that the trade was compared with the exchange's
    fills, ``needs_reconcile`` that something must be asked, ``halt`` why entries are halted,
    ``entry_under_way`` that an entry waits as a maker.
    """

    symbol: str
    state: PositionState = PositionState.UNKNOWN
    start: TradeStart | None = None
    exits: list[Execution] = field(default_factory=list)
    exit_reason: str = ""
    foreign: Decimal = Decimal(0)
    stranger: Decimal | None = None
    owed: Execution | None = None
    fill_ms: int = 0
    verified: bool = False
    needs_reconcile: bool = False
    halt: str = "the account was not reconciled yet"
    entry_seen: Decimal = Decimal(0)
    entry_under_way: bool = False

    @property
    def trade(self) -> Trade | None:
        """The open round trip, None when flat."""
        return None if self.start is None else self.start.trade

    @property
    def open_quantity(self) -> Decimal:
        """What of the open round trip is not closed yet."""
        return Decimal(0) if self.start is None else self.start.trade.quantity - closed_quantity(self.exits)

    @property
    def expected(self) -> Decimal:
        """The symbol's position that is known of, above 0 for long."""
        trade = self.trade
        if trade is None:
            return self.stranger or Decimal(0)
        return (self.open_quantity + self.foreign) * trade.direction.sign

    def move(self, event: PositionEvent) -> None:
        """Go to the state that follows after an event."""
        self.state = next_state(self.state, event)

    def adopt(self, start: TradeStart, exits: Sequence[Execution] = (), foreign: Decimal = Decimal(0)) -> None:
        """Take a round trip for the open one."""
        self.start, self.exits, self.foreign, self.stranger = start, list(exits), foreign, None

    def take_over(self, recorded: RecordedTrade) -> None:
        """Take over what the fills tell of the open round trip: its size, what is left of it, what others hold."""
        if self.start is None:
            return
        trade = self.start.trade
        if recorded.trade.quantity != trade.quantity:
            trade = replace(trade, quantity=recorded.trade.quantity, entry_price=recorded.trade.entry_price)
            self.start = replace(self.start, trade=trade)
        self.exits, self.foreign = list(recorded.exits), recorded.foreign_quantity

    def end(self, exit_ms: int) -> None:
        """Forget the round trip: it is over."""
        self.move(PositionEvent.CLOSED)
        self.start, self.exits, self.exit_reason, self.owed, self.halt = None, [], "", None, ""
        self.fill_ms = max(self.fill_ms, exit_ms)

    def knows_fills(self, account: Account, now_ms: int) -> bool:
        """Return whether an account is newer than our fills; a fill in the future was stamped by a wrong clock."""
        return account.as_of_ms >= self.fill_ms or self.fill_ms > now_ms + MINUTE_MS

    def differs(self, account: Account | None, now_ms: int) -> bool:
        """Return whether an account that is new enough holds something else than is known of."""
        if account is None or self.exit_reason or not self.knows_fills(account, now_ms):
            return False
        position = account.position(self.symbol)
        return signed(position) != self.expected or self._entry_differs(position)

    def _entry_differs(self, position: Position | None) -> bool:
        """Return whether the mean entry price is another one: somebody sold and bought back between two looks."""
        trade = self.trade
        if trade is None or position is None or self.foreign or position.entry_price == self.entry_seen:
            return False
        self.entry_seen = position.entry_price
        differs = abs(position.entry_price / trade.entry_price - 1) > _SAME_PRICE_SHARE
        self.verified = self.verified and not differs
        return differs

    def early_stop(self, limits: RiskLimits) -> EarlyStop | None:
        """Return the early stop of the open round trip under ``limits``, None when flat.

        Behind a stop that was moved it bears that stop's reason: the exchange did not do what its order says.
        """
        trade, stop = self.trade, self.stop
        if trade is None or stop is None:
            return None
        reason = "early_stop" if stop.kind is StopKind.LOSS else stop.kind.reason
        return EarlyStop(early_level(trade.entry_price, trade.direction, stop, limits), trade.direction, reason)

    @property
    def stop(self) -> StopLevel | None:
        """Where the stop of the open round trip lies as it was recorded last, and why; None when flat."""
        if self.start is None:
            return None
        price = self.start.trade.stop_price
        kind = stop_kind_of(self.start.stop_client_id) or StopKind.LOSS
        return StopLevel(Decimal(0)) if price is None else StopLevel(price, kind)

    @property
    def parts_done(self) -> frozenset[int]:
        """The numbers of the partial targets that were closed."""
        return parts_done(each.client_id for each in self.exits)

    def owns(self, position: Position | None) -> bool:
        """Return whether a position is on the side of the bot's own round trip."""
        trade = self.trade
        return trade is not None and position is not None and position.direction is trade.direction

    def current_halt(self, account: Account | None) -> str:
        """Return why entries are halted although nothing differs from what is known, "" when they are not."""
        if self.state is PositionState.UNKNOWN:
            return self.halt
        if self.trade is not None:
            return self.foreign_reason()
        position = None if account is None else account.position(self.symbol)
        if position is None:
            self.stranger = None
        return stranger_reason(position)

    def foreign_reason(self) -> str:
        """Return what others hold beside the own round trip, "" when nothing."""
        if self.foreign == 0 or self.trade is None:
            return ""
        held, own = self.open_quantity + self.foreign, self.open_quantity
        return f"the exchange holds {held} {self.symbol}, of which this bot opened {own}"

    def by_fills(self, mark: MarkPrice | None) -> Position | None:
        """Return the position as the bot's own fills left it, valued at ``mark``; None when flat."""
        trade = self.trade
        if trade is None:
            return None
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
            updated_ms=self.fill_ms,
        )


def signed(position: Position | None) -> Decimal:
    """Return a position's quantity, above 0 for long, below 0 for short."""
    return Decimal(0) if position is None else position.quantity * position.direction.sign


def side_held(position: Position | None) -> Direction | None:
    """Return the side of a position, None when flat."""
    return None if position is None else position.direction


def stranger_reason(position: Position | None) -> str:
    """Return one clause on a position that the bot did not open, "" when there is none."""
    if position is None:
        return ""
    return f"the exchange holds {position.direction} {position.quantity} {position.symbol} that this bot did not open"
