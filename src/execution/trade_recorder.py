"""Pure bookkeeping of one round trip: from fills and income to the booked trade and its remainder.

A round trip begins with the first fill of one of the bot's own entry orders and ends when its own quantity is back at
zero. Between the two it may be increased and reduced any number of times. Fills that the bot did not send belong to
the account's owner or to the exchange (liquidation): what they closed of the bot's quantity is part of the trade, what
is left over is booked under a name of its own. Trade and remainder together are what the wallet gained or lost.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from src.domain.orders import Fill, Purpose, purpose_of, variant_of
from src.domain.portfolio import Direction, Trade
from src.domain.ports import Income, IncomeKind
from src.execution.executions import Execution
from src.strategy.exits import TAKE_PARTIAL, StopKind, stop_kind_of

FOREIGN_REASON = "foreign"
_HOUR_MS = 3_600_000
_FUNDING_POSTED_WITHIN_MS = 300_000
_CLEARED_WITHIN_MS = 60_000
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class SentOrder:
    """An order at the exchange by whose fills the position changed; ``own`` when this bot sent it."""

    client_id: str
    own: bool
    reason: str = ""

    @property
    def purpose(self) -> Purpose | None:
        """Why this bot sent it; None for an order of anybody else."""
        return purpose_of(self.client_id) if self.own else None


@dataclass(frozen=True, slots=True)
class RecordedTrade:
    """One round trip as its fills tell it.

    ``trade`` carries what is booked so far; it has exit figures when ``complete``. ``foreign_quantity`` is what the
    symbol's position holds beside the bot's own quantity, positive on the trade's side, negative on the other.
    ``entries`` are the client ids of the orders that built it. ``remainder`` is what fills of others added to the
    wallet's change, None when there is nothing.
    """

    trade: Trade
    open_quantity: Decimal
    foreign_quantity: Decimal
    exits: tuple[Execution, ...]
    entries: tuple[str, ...]
    entered_quantity: Decimal
    remainder: Trade | None
    last_fill_ms: int

    @property
    def complete(self) -> bool:
        """Whether everything that was entered has been closed."""
        return self.entered_quantity > 0 and self.open_quantity == 0


@dataclass(slots=True)
class _Share:
    """One party's part of the fills: quantities, values, fees, profit."""

    entered: Decimal = _ZERO
    entered_value: Decimal = _ZERO
    closed: Decimal = _ZERO
    closed_value: Decimal = _ZERO
    fees: Decimal = _ZERO
    gross: Decimal = _ZERO


@dataclass(slots=True)
class _Replay:
    """The position while its fills are replayed; quantities are in the trade's direction."""

    opened: Trade
    own: Decimal = _ZERO
    foreign: Decimal = _ZERO
    average_price: Decimal = _ZERO
    realized: Decimal = _ZERO
    mixed: bool = False
    begun_ms: int = 0
    last_ms: int = 0
    own_share: _Share = field(default_factory=_Share)
    foreign_share: _Share = field(default_factory=_Share)
    exits: list[Execution] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)
    holdings: list[tuple[int, Decimal, Decimal]] = field(default_factory=list)
    last_exit: SentOrder | None = None
    first_foreign_id: str = ""

    @property
    def complete(self) -> bool:
        return self.own_share.entered > 0 and self.own == 0

    def take(self, fill: Fill, order: SentOrder) -> None:
        """Take in the next fill, oldest first."""
        sign = self.opened.direction.sign
        if fill.side is self.opened.direction.entry_side:
            self._increase(fill, order)
        else:
            self._decrease(fill, order, sign)
        self.realized += fill.realized_pnl
        self.last_ms = fill.time_ms
        self.holdings.append((fill.time_ms, self.own, self.foreign))

    def _increase(self, fill: Fill, order: SentOrder) -> None:
        if order.purpose is Purpose.ENTRY:
            value = self.own * self.average_price + fill.quantity * fill.price
            self.own += fill.quantity
            self.average_price = value / self.own
            self.begun_ms = self.begun_ms or fill.time_ms
            self._enter(self.own_share, fill, fill.fee, fill.quantity)
            if order.client_id not in self.entries:
                self.entries.append(order.client_id)
            return
        self._note_foreign(fill)
        self.foreign += fill.quantity
        self._enter(self.foreign_share, fill, fill.fee, fill.quantity)

    def _decrease(self, fill: Fill, order: SentOrder, sign: int) -> None:
        """Give the fill's quantity to whom it closed: an own order closes the own part first, another's its own."""
        theirs_first = _ZERO if order.own else min(fill.quantity, max(self.foreign, _ZERO))
        ours = min(fill.quantity - theirs_first, self.own)
        theirs = fill.quantity - ours
        if ours:
            self._exit_own(fill, order, ours, sign)
        if theirs:
            self._note_foreign(fill)
            self.foreign -= theirs
            share = self.foreign_share
            share.closed += theirs
            share.closed_value += theirs * fill.price
            share.fees += fill.fee - fill.fee * ours / fill.quantity

    def _exit_own(self, fill: Fill, order: SentOrder, quantity: Decimal, sign: int) -> None:
        part, whole = self.own_share, quantity == fill.quantity
        fee = fill.fee if whole else fill.fee * quantity / fill.quantity
        exact = whole and not self.mixed
        gross = fill.realized_pnl if exact else (fill.price - self.average_price) * quantity * sign
        self.own -= quantity
        part.closed += quantity
        part.closed_value += quantity * fill.price
        part.fees += fee
        part.gross += gross
        self.last_exit = order
        name = order.client_id if order.own else ""
        self.exits.append(Execution(name, quantity, fill.price, fee, gross, fill.time_ms, (), fill.order_id))

    def _note_foreign(self, fill: Fill) -> None:
        self.mixed = True
        self.first_foreign_id = self.first_foreign_id or fill.trade_id

    @staticmethod
    def _enter(share: _Share, fill: Fill, fee: Decimal, quantity: Decimal) -> None:
        share.entered += quantity
        share.entered_value += quantity * fill.price
        share.fees += fee


class TradeRecorder:
    """Turns fills and income into booked trades. Pure: the same input gives the same books."""

    @staticmethod
    def record(
        opened: Trade,
        fills: Sequence[Fill],
        orders: Mapping[str, SentOrder],
        incomes: Iterable[Income] = (),
        *,
        exit_reason: str = "",
        previous_exit_ms: int = 0,
    ) -> RecordedTrade:
        """Replay one symbol's fills from a trade's entry on, and book what they brought.

        Args:
            opened: the round trip as it was opened; names its entry order, direction and levels.
            fills: of the symbol, oldest first, fees in quote currency; older ones are passed over.
            orders: by order id, every order that the fills belong to.
            incomes: funding and the like, of any symbol.
            exit_reason: why the bot was closing the position, empty if it was not.
            previous_exit_ms: when the trade before this one ended.
        """
        replay = _Replay(opened)
        begun = next((n for n, each in enumerate(fills) if _opens(each, orders, opened)), len(fills))
        for number in range(begun, len(fills)):
            if replay.complete and not _closes_later(fills[number:], orders):
                break
            replay.take(fills[number], orders[fills[number].order_id])
        return _recorded(replay, list(incomes), exit_reason, previous_exit_ms)


def _opens(fill: Fill, orders: Mapping[str, SentOrder], opened: Trade) -> bool:
    return orders[fill.order_id].client_id == opened.entry_client_id


def _closes_later(fills: Sequence[Fill], orders: Mapping[str, SentOrder]) -> bool:
    """Return whether an own order still closes something before the next own entry: then it closed what others held."""
    for fill in fills:
        purpose = orders[fill.order_id].purpose
        if purpose is not None:
            return purpose is not Purpose.ENTRY
    return False


def unknown_orders(fills: Iterable[Fill], orders: Mapping[str, SentOrder]) -> set[str]:
    """Return the ids of orders that fills belong to and that nobody has named yet."""
    return {fill.order_id for fill in fills} - orders.keys()


def funding_may_be_due(begun_ms: int, ended_ms: int) -> bool:
    """Return whether a full hour lies in a span: funding is paid at full hours, at whatever interval."""
    return ended_ms // _HOUR_MS > (begun_ms - 1) // _HOUR_MS


def _recorded(replay: _Replay, incomes: list[Income], exit_reason: str, previous_exit_ms: int) -> RecordedTrade:
    own, opened = replay.own_share, replay.opened
    funding, foreign_funding = _funding(replay, incomes, previous_exit_ms)
    cleared = _cleared(replay, incomes)
    trade = replace(opened, gross_pnl=own.gross, fees=own.fees - cleared, funding=funding)
    if own.entered:
        trade = replace(trade, quantity=own.entered, entry_price=own.entered_value / own.entered)
    if replay.complete:
        trade = replace(
            trade,
            exit_price=own.closed_value / own.closed,
            exit_ms=replay.exits[-1].time_ms,
            exit_client_id=replay.exits[-1].client_id,
            exit_reason=_reason(replay, incomes, exit_reason),
        )
    return RecordedTrade(
        trade=trade,
        open_quantity=replay.own,
        foreign_quantity=replay.foreign,
        exits=tuple(replay.exits),
        entries=tuple(replay.entries),
        entered_quantity=own.entered,
        remainder=_remainder(replay, foreign_funding),
        last_fill_ms=replay.last_ms,
    )


def _remainder(replay: _Replay, funding: Decimal) -> Trade | None:
    """What others' fills did to the wallet while the trade ran, as a trade of its own name."""
    if not replay.mixed:
        return None
    share, opened = replay.foreign_share, replay.opened
    same_side = share.entered > 0
    direction = opened.direction if same_side else _other(opened.direction)
    quantity = share.entered or share.closed
    price = (share.entered_value if same_side else share.closed_value) / quantity
    return replace(
        opened,
        direction=direction,
        quantity=quantity,
        entry_price=price,
        entry_ms=replay.begun_ms,
        entry_client_id=f"foreign-{opened.symbol[:14]}-{replay.first_foreign_id}"[:36],
        exit_price=share.closed_value / share.closed if share.closed else price,
        exit_ms=replay.last_ms,
        exit_client_id="",
        exit_reason=FOREIGN_REASON,
        gross_pnl=replay.realized - replay.own_share.gross,
        fees=share.fees,
        funding=funding,
        stop_price=None,
        target_price=None,
    )


def _other(direction: Direction) -> Direction:
    return Direction.SHORT if direction is Direction.LONG else Direction.LONG


def _funding(replay: _Replay, incomes: list[Income], previous_exit_ms: int) -> tuple[Decimal, Decimal]:
    """Return the funding of the trade and of what others held beside it, by their quantities at its instant."""
    own_sum = foreign_sum = _ZERO
    for income in incomes:
        if income.purpose is not IncomeKind.FUNDING or income.symbol != replay.opened.symbol:
            continue
        instant_ms = _funding_instant(replay, income.time_ms, previous_exit_ms)
        if instant_ms is None:
            continue
        own, foreign = _held_at(replay, instant_ms)
        part = income.amount if foreign <= 0 else income.amount * own / (own + foreign)
        own_sum += part
        foreign_sum += income.amount - part
    return own_sum, foreign_sum


def _funding_instant(replay: _Replay, posted_ms: int, previous_exit_ms: int) -> int | None:
    """Return when the funding of an income row was due if it fell into the trade, else None.

    It is due at a full hour and posted seconds or minutes later, sometimes after the position is closed. A position
    opened seconds after the hour may still be charged; then the row lies in the trade and nobody else's trade.
    """
    begun_ms, ended_ms = replay.begun_ms, _ended_ms(replay)
    due_ms = posted_ms - posted_ms % _HOUR_MS
    due_ms = due_ms if posted_ms - due_ms <= _FUNDING_POSTED_WITHIN_MS else posted_ms
    if begun_ms <= due_ms <= ended_ms:
        return due_ms
    late_charge = begun_ms <= posted_ms <= ended_ms and previous_exit_ms < due_ms < begun_ms
    return posted_ms if late_charge else None


def _ended_ms(replay: _Replay) -> int:
    return replay.exits[-1].time_ms if replay.complete else 1 << 62


def _held_at(replay: _Replay, instant_ms: int) -> tuple[Decimal, Decimal]:
    held = [(own, foreign) for time_ms, own, foreign in replay.holdings if time_ms <= instant_ms]
    open_held = [each for each in held if each[0] > 0]
    return (open_held or held or [(replay.own, replay.foreign)])[-1]


def _cleared(replay: _Replay, incomes: list[Income]) -> Decimal:
    """Return what the insurance fund paid (or, negative, took as the fee of a liquidation) for the trade."""
    if not replay.complete:
        return _ZERO
    begun_ms, until_ms = replay.begun_ms, _ended_ms(replay) + _CLEARED_WITHIN_MS
    rows = (
        income.amount
        for income in incomes
        if income.purpose is IncomeKind.INSURANCE
        and income.symbol == replay.opened.symbol
        and begun_ms <= income.time_ms <= until_ms
    )
    return sum(rows, _ZERO)


def _reason(replay: _Replay, incomes: list[Income], exit_reason: str) -> str:
    """Return in one word why the trade ended: what the order of its last closing fill was for."""
    order = replay.last_exit
    purpose = None if order is None else order.purpose
    if purpose is Purpose.STOP and order is not None:
        return (stop_kind_of(order.client_id) or StopKind.LOSS).reason
    if purpose is Purpose.TARGET and order is not None:
        return TAKE_PARTIAL if variant_of(order.client_id) else "take_profit"
    if purpose is Purpose.EXIT and order is not None:
        return order.reason or exit_reason or "exit"
    if order is not None and order.client_id.startswith("adl_autoclose"):
        return "deleveraged"
    liquidated = order is not None and order.client_id.startswith("autoclose")
    if liquidated or _cleared(replay, incomes):
        return "liquidation"
    return exit_reason or "closed_at_exchange"
