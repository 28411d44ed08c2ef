"""What the venue holds: one ledger per account, and the state that all accounts share."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from src.paper_exchange.contracts import Contract
from src.paper_exchange.events import Event
from src.paper_exchange.intrabar_path import MINUTE_MS
from src.paper_exchange.model import (
    ZERO,
    AlgoOrder,
    IncomeRow,
    MarginChange,
    OrderAmendment,
    VenueError,
    VenueOrder,
    VenueTrade,
)
from src.paper_exchange.prices import Prices

DEFAULT_LEVERAGE = 20
# Where the numbers begin: real ones are as large, so that a client which cannot carry them is found out.
FIRST_ORDER_ID = 33_878_894_217
FIRST_TRADE_ID = 8_079_747_315
FIRST_ALGO_ID = 4_000_001_910_058_351
FIRST_TRAN_ID = 9_689_322_392


@dataclass(slots=True)
class VenuePosition:
    """One leg of a symbol; ``amount`` is signed, ``fees`` are those paid for the part that is still open.

    ``realized`` is the running total before fees; it continues after the position, like ACCOUNT_UPDATE's ``cr``.
    """

    symbol: str
    leg: str
    amount: Decimal = ZERO
    entry: Decimal = ZERO
    fees: Decimal = ZERO
    isolated_wallet: Decimal = ZERO
    realized: Decimal = ZERO
    updated_ms: int = 0


@dataclass(slots=True)
class AccountLedger:
    """One account: money, settings, positions, and everything that was ordered and done.

    ``newest`` and ``newest_algo`` lead from a client id to the last order that carried it; ``transferred`` is the USDT
    moved in, less what was moved out, since the account was opened.
    """

    key: str
    wallet: dict[str, Decimal]
    dual_side: bool = False
    multi_assets: bool = False
    fee_burn: bool = True
    margin_called: bool = False
    updated_ms: int = 0
    leverage: dict[str, int] = field(default_factory=dict)
    isolated: set[str] = field(default_factory=set)
    countdowns: dict[str, int] = field(default_factory=dict)
    positions: dict[tuple[str, str], VenuePosition] = field(default_factory=dict)
    open_orders: dict[int, VenueOrder] = field(default_factory=dict)
    orders: dict[int, VenueOrder] = field(default_factory=dict)
    open_algos: dict[int, AlgoOrder] = field(default_factory=dict)
    algos: dict[int, AlgoOrder] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    newest_algo: dict[str, int] = field(default_factory=dict)
    trades: list[VenueTrade] = field(default_factory=list)
    income: list[IncomeRow] = field(default_factory=list)
    amendments: list[OrderAmendment] = field(default_factory=list)
    margin_changes: list[MarginChange] = field(default_factory=list)
    transferred: Decimal = ZERO

    def leverage_of(self, symbol: str) -> int:
        """Return the leverage set for the symbol."""
        return self.leverage.get(symbol, DEFAULT_LEVERAGE)

    def position(self, symbol: str, leg: str) -> VenuePosition:
        """Return the leg's position, made empty when there was none yet."""
        return self.positions.setdefault((symbol, leg), VenuePosition(symbol, leg))

    def amount(self, symbol: str, leg: str) -> Decimal:
        """Return the leg's signed amount."""
        held = self.positions.get((symbol, leg))
        return held.amount if held else ZERO

    def live(self, symbol: str = "") -> Iterator[VenuePosition]:
        """Yield the positions that are not flat, of one symbol or of all."""
        return (held for held in self.positions.values() if held.amount and symbol in ("", held.symbol))

    def orders_of(self, symbol: str = "") -> list[VenueOrder]:
        """Return the open regular orders, oldest first."""
        return [order for order in self.open_orders.values() if symbol in ("", order.symbol)]

    def algos_of(self, symbol: str = "") -> list[AlgoOrder]:
        """Return the waiting conditional orders, oldest first."""
        return [order for order in self.open_algos.values() if symbol in ("", order.symbol)]

    @property
    def isolated_sum(self) -> Decimal:
        """USDT bound in isolated positions."""
        return sum((held.isolated_wallet for held in self.positions.values()), ZERO)

    @property
    def cross_wallet(self) -> Decimal:
        """USDT that is not bound in isolated positions."""
        return self.wallet["USDT"] - self.isolated_sum


@dataclass(slots=True)
class Accounts:
    """What all accounts share: time, prices, rules, fees, numbers and the events not yet collected.

    ``changed`` says that something happened since the watch levels were last worked out. ``consumed`` holds, by
    symbol and side, the minute and how much of its depth our own orders took.
    """

    quotes: Prices
    contracts: dict[str, Contract]
    now_ms: int
    balance: Decimal
    maker_share: Decimal
    taker_share: Decimal
    ledgers: dict[str, AccountLedger] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    consumed: dict[tuple[str, str], tuple[int, Decimal]] = field(default_factory=dict)
    order_id: int = FIRST_ORDER_ID
    trade_id: int = FIRST_TRADE_ID
    algo_id: int = FIRST_ALGO_ID
    tran_id: int = FIRST_TRAN_ID
    held_triggers: int = 0
    changed: bool = True

    def ledger(self, account: str) -> AccountLedger:
        """Return the account's ledger; -2015 when there is none."""
        held = self.ledgers.get(account)
        if held is None:
            raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return held

    def contract(self, symbol: str) -> Contract:
        """Return the symbol's rules; -1121 when it is not listed."""
        found = self.contracts.get(symbol)
        if found is None:
            raise VenueError(-1121, "Invalid symbol.")
        return found

    def emit(self, event: Event) -> None:
        """Note an event, and that something changed."""
        self.events.append(event)
        self.changed = True

    def last_price(self, symbol: str) -> Decimal:
        """Return the last price now, on the tick."""
        return self.quotes.last_price(symbol, self.now_ms)

    def mark(self, symbol: str) -> Decimal:
        """Return the mark price now."""
        return self.quotes.mark_price(symbol, self.now_ms)

    def taken(self, symbol: str, side: str) -> Decimal:
        """Return how much of this minute's depth orders of ``side`` have already consumed."""
        minute, quantity = self.consumed.get((symbol, side), (-1, ZERO))
        return quantity if minute == self.now_ms // MINUTE_MS else ZERO

    def take(self, symbol: str, side: str, quantity: Decimal) -> None:
        """Note that ``quantity`` of this minute's depth is gone."""
        self.consumed[symbol, side] = (self.now_ms // MINUTE_MS, self.taken(symbol, side) + quantity)

    def depth(self, symbol: str, side: str, bound: Decimal) -> Iterator[tuple[Decimal, Decimal]]:
        """Yield what is left of the depth that an order of ``side`` meets, up to the price ``bound``."""
        gone = self.taken(symbol, side)
        for price, quantity in self.quotes.levels(symbol, side, self.now_ms):
            if price > bound if side == "BUY" else price < bound:
                return
            left = max(ZERO, quantity - gone)
            gone = max(ZERO, gone - quantity)
            if left:
                yield price, left

    def next_order_id(self) -> int:
        """Return a fresh order id."""
        self.order_id += 1
        return self.order_id

    def next_trade_id(self) -> int:
        """Return a fresh trade id."""
        self.trade_id += 1
        return self.trade_id

    def next_algo_id(self) -> int:
        """Return a fresh id of a conditional order."""
        self.algo_id += 1
        return self.algo_id

    def next_tran_id(self) -> int:
        """Return a fresh transaction id."""
        self.tran_id += 1
        return self.tran_id
