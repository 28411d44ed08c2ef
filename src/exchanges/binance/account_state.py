"""The account as the user stream reports it between two REST reads.

Events may come twice, late or out of order; each is applied once, and older ones never overwrite newer ones.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, Decimal

from src.domain.market import MarkPrice
from src.domain.orders import Fill, Order, OrderStatus
from src.domain.portfolio import Account, Direction, Position
from src.domain.ports import Income
from src.exchanges.binance.mapping import Json, conditional_of_event, decimal, fill_of_event, order_of_event
from src.exchanges.binance.transfers import TransferTracker

log = logging.getLogger(__name__)

_REMEMBERED = 10_000
_LOOKS_AGAIN = 3  # a second, in which the income history catches up with a withdrawal that was not streamed
_SMALLEST = Decimal("0.00000001")  # the exchange's rounding
_STAGES = {
    OrderStatus.PLANNED: 0,
    OrderStatus.UNKNOWN: 0,
    OrderStatus.NEW: 1,
    OrderStatus.TRIGGERING: 2,
    OrderStatus.PARTIALLY_FILLED: 2,
}
Terms = Callable[[str], tuple[int, str]]


@dataclass(frozen=True, slots=True)
class AccountChanges:
    """The new information of an event or a REST read."""

    fills: tuple[Fill, ...] = ()
    orders: tuple[Order, ...] = ()


@dataclass(slots=True)
class _Money:
    """Wallet and margin as of the last REST read, and the wallet as streamed since."""

    rest: Account
    wallet: Decimal
    positions: dict[tuple[str, str], Position]
    as_of_ms: int
    seen_ms: dict[tuple[str, ...], int] = field(default_factory=dict)


class AccountState:
    """Balances, positions, orders and fills of one account; safe in threads.

    Args:
        quote_asset: the asset of the wallet balance.
        terms: leverage and margin type of a symbol, for new positions.
        late_ms: how much older than the last REST read an event may be and still be applied.
        transfers: deposits and withdrawals; an empty tracker by default.
        edge_ms: how far our clock may be off the exchange's.
        note_leverage: called with the leverage of a contract from an event.
    """

    def __init__(
        self,
        *,
        quote_asset: str,
        terms: Terms,
        late_ms: int = 5_000,
        transfers: TransferTracker | None = None,
        edge_ms: int = 0,
        note_leverage: Callable[[str, int], None] = lambda symbol, leverage: None,
    ) -> None:
        self._note_leverage = note_leverage
        self._quote, self._terms, self._late_ms, self._edge_ms = quote_asset, terms, late_ms, edge_ms
        self._transfers = transfers or TransferTracker(quote_asset)
        self._lock = threading.Lock()
        self._money: _Money | None = None
        self._orders: OrderedDict[tuple[bool, str], Order] = OrderedDict()
        self._fills: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._wants_look = False
        self._told = 0
        self._doubts = 0

    @property
    def told(self) -> int:
        """The number of streamed account changes so far; read it before a REST read, for ``set_account``."""
        return self._told

    @property
    def wants_look(self) -> bool:
        """Whether a REST read is needed: for a new position, or after one that crossed with an event."""
        return self._wants_look

    def is_explained(self, account: Account) -> bool:
        """Return whether the wallet of a REST read equals the streamed one; else there may be a transfer."""
        with self._lock:
            return self._money is not None and self._money.wallet == account.wallet_balance

    @property
    def awaits_transfer(self) -> bool:
        """Whether the stream reported a transfer that is not in the income history yet."""
        with self._lock:
            return self._transfers.waiting

    def transfers_since_ms(self, now_ms: int) -> int:
        """Return the time from which the income history must be queried for transfers."""
        with self._lock:
            return self._transfers.since_ms(now_ms)

    def confirm_transfers(self, income: Iterable[Income]) -> None:
        """Book the streamed transfers under the ids of the income history."""
        with self._lock:
            self._transfers.confirm(income)

    def set_account(self, account: Account, told: int | None = None, income: Sequence[Income] | None = None) -> bool:
        """Apply a REST read; return whether wallet and positions matched the stream.

        ``told`` is the property of that name from before the request. A change streamed since may be missing in the
        response, whatever its timestamp says: such a response is discarded and the read repeated. The same holds if
        ``income``, which is queried when the wallet differs, contains a later transfer, and, a few times, if the wallet
        is smaller without a reason in the income: a withdrawal must not look like a loss.
        """
        with self._lock:
            if (told is not None and told != self._told) or not self._is_explained_by(income, account):
                self._wants_look = True
                return True
            self._doubts = 0
            known = self._money
            positions = {(each.symbol, each.position_side): each for each in account.positions}
            newest_ms = account.as_of_ms + self._late_ms  # later timestamps of a clock that was ahead are dropped
            before = {} if known is None else known.seen_ms
            seen = {key: seen_ms for key, seen_ms in before.items() if seen_ms <= newest_ms}
            self._money = _Money(account, account.wallet_balance, positions, account.as_of_ms, seen)
            self._wants_look = False
            return known is None or (known.wallet, _sizes(known.positions)) == (
                account.wallet_balance,
                _sizes(positions),
            )

    def set_positions(self, account: Account, told: int) -> None:
        """Apply the positions of a REST read whose income history could not be read.

        Positions are certain; the wallet, and with it the account's age, waits until the history shows whether there
        was a transfer.
        """
        with self._lock:
            if self._money is not None and told == self._told:
                self._money.positions = {(each.symbol, each.position_side): each for each in account.positions}

    def _is_explained_by(self, income: Sequence[Income] | None, account: Account) -> bool:
        if income is None:
            return True
        before = self._transfers.total
        if not self._transfers.learn(income, account.as_of_ms - self._edge_ms):
            return False
        poorer = self._money is not None and account.wallet_balance < self._money.wallet
        doubtful = poorer and self._transfers.total == before and self._doubts < _LOOKS_AGAIN
        self._doubts += doubtful
        return not doubtful

    def account(self, marks: dict[str, MarkPrice]) -> Account | None:
        """Return the account, positions valued at ``marks``; None before the first REST read."""
        with self._lock:
            money = self._money
            if money is None:
                return None
            positions = tuple(_valued(each, marks.get(each.symbol)) for each in money.positions.values())
            wallet, rest, as_of_ms = money.wallet, money.rest, money.as_of_ms
            transferred = self._transfers.total
        counted = [each for each in positions if each.asset == self._quote]
        before = [each for each in rest.positions if each.asset == self._quote]
        unrealized = sum((each.unrealized_pnl for each in counted), start=Decimal(0))
        bound = sum((each.notional / each.leverage for each in counted), start=Decimal(0))
        was_bound = sum((each.notional / each.leverage for each in before), start=Decimal(0))
        change = (wallet - rest.wallet_balance) + (unrealized - rest.unrealized_pnl) - (bound - was_bound)
        available = max(Decimal(0), rest.available_balance + change).quantize(_SMALLEST, ROUND_DOWN)
        return Account(wallet, available, unrealized, as_of_ms, positions, transferred)

    def open_orders(self) -> list[Order]:
        """Return the unfinished orders, as last reported."""
        with self._lock:
            return [each for each in self._orders.values() if not each.status.final]

    def apply(self, event: Json) -> AccountChanges:
        """Apply one event of the user stream and return what is new; unknown kinds are ignored."""
        kind = event["e"]
        if kind == "ORDER_TRADE_UPDATE":
            fill = fill_of_event(event)
            return self.learn([fill] if fill else [], [order_of_event(event)])
        if kind == "ALGO_UPDATE":
            return self.learn([], [conditional_of_event(event)])
        if kind == "ACCOUNT_UPDATE":
            self._apply_account(event)
        elif kind == "ACCOUNT_CONFIG_UPDATE" and "ac" in event:
            self._apply_leverage(str(event["ac"]["s"]), int(event["ac"]["l"]))
        elif kind == "MARGIN_CALL":
            log.warning("margin call from the exchange: symbols=%s", ",".join(each["s"] for each in event["p"]))
        return AccountChanges()

    def learn(self, fills: Iterable[Fill], orders: Iterable[Order]) -> AccountChanges:
        """Apply fills and orders, streamed or read over REST; return the new ones."""
        with self._lock:
            return AccountChanges(
                tuple(each for each in fills if self._is_new_fill(each)),
                tuple(each for each in orders if self._is_newer_order(each)),
            )

    def forget(self, order: Order) -> None:
        """Drop an order that the exchange no longer knows."""
        with self._lock:
            self._orders.pop(_key(order), None)

    def _is_new_fill(self, fill: Fill) -> bool:
        key = (fill.symbol, fill.trade_id)
        if key in self._fills:
            return False
        self._fills[key] = None
        if len(self._fills) > _REMEMBERED:
            self._fills.popitem(last=False)
        return True

    def _is_newer_order(self, order: Order) -> bool:
        key = _key(order)
        known = self._orders.get(key)
        if known is not None and (known.status.final or _rank(order) <= _rank(known)):
            return False
        self._orders[key] = order
        self._orders.move_to_end(key)
        if len(self._orders) > _REMEMBERED:
            self._orders.popitem(last=False)
        return True

    def _apply_account(self, event: Json) -> None:
        with self._lock:
            self._told += 1
            money = self._money
            event_ms = int(event["E"])
            if money is None:
                return  # the first REST read will contain it
            if event_ms < money.rest.as_of_ms - self._late_ms:
                self._wants_look = True  # contained in the last REST read, or stamped by a clock that ran ahead
                return
            self._transfers.stream(event)  # also for a late event: a newer balance contains it
            for row in event["a"].get("B", ()):
                if row["a"] == self._quote and _advances(money, ("asset", row["a"]), event_ms):
                    money.wallet = decimal(row["wb"])
            for row in event["a"].get("P", ()):
                if _advances(money, ("position", row["s"], row["ps"]), event_ms):
                    self._apply_position(money, row, event_ms)
            money.as_of_ms = max(money.as_of_ms, event_ms)

    def _apply_position(self, money: _Money, row: Json, event_ms: int) -> None:
        key, amount = (str(row["s"]), str(row["ps"])), decimal(row["pa"])
        known = money.positions.get(key)
        if amount == 0:
            money.positions.pop(key, None)
            return
        direction = Direction.LONG if amount > 0 else Direction.SHORT
        same = known is not None and (known.direction, known.quantity) == (direction, abs(amount))
        entry = decimal(row["ep"])
        money.positions[key] = Position(
            symbol=key[0],
            direction=direction,
            quantity=abs(amount),
            entry_price=entry,
            mark_price=known.mark_price if known else entry,
            unrealized_pnl=decimal(row["up"]),
            leverage=known.leverage if known else self._terms(key[0])[0],
            liquidation_price=known.liquidation_price if known and same else None,
            updated_ms=event_ms,
            margin_type="ISOLATED" if row["mt"] == "isolated" else "CROSSED",
            position_side=key[1],
        )
        self._wants_look = self._wants_look or not same

    def _apply_leverage(self, symbol: str, leverage: int) -> None:
        self._note_leverage(symbol, leverage)
        with self._lock:
            held = self._money.positions if self._money else {}
            for key in [each for each in held if each[0] == symbol]:
                held[key] = replace(held[key], leverage=leverage)
                self._wants_look = True


def _key(order: Order) -> tuple[bool, str]:
    return order.kind.conditional, order.order_id


def _rank(order: Order) -> tuple[int, Decimal, bool, int]:
    """Return the rank of an order's status; a later event never has a lower rank."""
    return _STAGES.get(order.status, 3), order.executed_quantity, bool(order.spawned_id), order.updated_ms


def _advances(money: _Money, key: tuple[str, ...], event_ms: int) -> bool:
    if event_ms < money.seen_ms.get(key, 0):
        return False
    money.seen_ms[key] = event_ms
    return True


def _sizes(positions: dict[tuple[str, str], Position]) -> dict[tuple[str, str], Decimal]:
    return {key: each.quantity * each.direction.sign for key, each in positions.items()}


def _valued(position: Position, mark: MarkPrice | None) -> Position:
    if mark is None or mark.time_ms < position.updated_ms:
        return position
    return replace(position, mark_price=mark.mark, unrealized_pnl=position.pnl_at(mark.mark))
