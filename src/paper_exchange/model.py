"""Requests to the venue and what it keeps: orders, trades, income."""

from dataclasses import dataclass, field
from decimal import Decimal

ZERO = Decimal(0)
CENT_OF_MICRO = Decimal("0.00000001")
CONDITIONAL_TYPES = frozenset(("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"))
OPEN_STATUSES = frozenset(("NEW", "PARTIALLY_FILLED"))
OPEN_ALGO_STATUSES = frozenset(("NEW", "TRIGGERING"))


def money8(value: Decimal) -> Decimal:
    """Return ``value`` with the eight decimals in which the exchange keeps money (half to even)."""
    return value.quantize(CENT_OF_MICRO)


class VenueError(Exception):
    """A refusal in Binance's words: ``code`` (negative), ``msg`` exactly as sent, and the HTTP status."""

    def __init__(self, code: int, msg: str, http_status: int = 400) -> None:
        super().__init__(f"{msg} ({code})")
        self.code = code
        self.msg = msg
        self.http_status = http_status


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order as POST /order brings it; ``None`` and "" mean that the parameter was not sent."""

    symbol: str
    side: str
    type: str
    quantity: Decimal | None = None
    price: Decimal | None = None
    time_in_force: str = ""
    position_side: str = "BOTH"
    reduce_only: bool | None = None
    client_id: str = ""
    price_match: str = "NONE"
    stp_mode: str = "EXPIRE_MAKER"
    good_till_ms: int = 0


@dataclass(frozen=True, slots=True)
class AlgoRequest:
    """A conditional order as POST /algoOrder brings it; ``callback_rate`` is in percent, as sent."""

    symbol: str
    side: str
    type: str
    quantity: Decimal | None = None
    trigger_price: Decimal | None = None
    price: Decimal | None = None
    time_in_force: str = "GTC"
    position_side: str = "BOTH"
    reduce_only: bool | None = None
    close_position: bool = False
    working_type: str = "CONTRACT_PRICE"
    price_protect: bool = False
    activate_price: Decimal | None = None
    callback_rate: Decimal | None = None
    client_id: str = ""
    price_match: str = "NONE"
    stp_mode: str = "EXPIRE_MAKER"
    good_till_ms: int = 0


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """The state of a regular order at ``updated_ms``; every change makes a new value.

    ``price`` is 0 for MARKET; ``cum_quote`` is the quote amount filled; ``algo_id`` is 0 unless a trigger made it.
    ``expiry_reason`` is the ``er`` of events. ``activate_price`` and ``callback_rate`` come from a trailing stop.
    """

    order_id: int
    client_id: str
    symbol: str
    side: str
    type: str
    orig_type: str
    time_in_force: str
    position_side: str
    price: Decimal
    quantity: Decimal
    status: str
    created_ms: int
    updated_ms: int
    executed: Decimal = ZERO
    cum_quote: Decimal = ZERO
    stop_price: Decimal = ZERO
    reduce_only: bool = False
    close_position: bool = False
    working_type: str = "CONTRACT_PRICE"
    price_protect: bool = False
    price_match: str = "NONE"
    stp_mode: str = "EXPIRE_MAKER"
    good_till_ms: int = 0
    algo_id: int = 0
    activate_price: Decimal = ZERO
    callback_rate: Decimal = ZERO
    expiry_reason: str = "0"
    amendments: int = 0

    @property
    def average_price(self) -> Decimal:
        """Mean price of what was filled, 0 before the first fill."""
        return self.cum_quote / self.executed if self.executed else ZERO

    @property
    def remaining(self) -> Decimal:
        """Quantity not yet filled."""
        return self.quantity - self.executed

    @property
    def is_open(self) -> bool:
        """Whether the order can still be filled."""
        return self.status in OPEN_STATUSES


@dataclass(frozen=True, slots=True)
class AlgoOrder:
    """The state of a conditional order at ``updated_ms``.

    ``status``: NEW, TRIGGERING, TRIGGERED, FINISHED, CANCELED, EXPIRED or REJECTED. ``actual_*`` tell of the order
    that the trigger made (id 0 before that). ``peak`` is the best price an activated trailing stop has seen.
    """

    algo_id: int
    client_id: str
    symbol: str
    side: str
    type: str
    position_side: str
    time_in_force: str
    quantity: Decimal
    status: str
    created_ms: int
    updated_ms: int
    trigger_price: Decimal = ZERO
    price: Decimal = ZERO
    working_type: str = "CONTRACT_PRICE"
    price_match: str = "NONE"
    close_position: bool = False
    price_protect: bool = False
    reduce_only: bool = False
    activate_price: Decimal = ZERO
    callback_rate: Decimal = ZERO
    stp_mode: str = "EXPIRE_MAKER"
    good_till_ms: int = 0
    triggered_ms: int = 0
    activated: bool = False
    peak: float = 0.0
    actual_order_id: int = 0
    actual_price: Decimal = ZERO
    actual_quantity: Decimal = ZERO
    actual_type: str = ""
    reject_reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the order still waits for its trigger."""
        return self.status in OPEN_ALGO_STATUSES


@dataclass(frozen=True, slots=True)
class VenueTrade:
    """One execution; ``commission`` is positive when paid; ``realized_pnl`` is before fees."""

    trade_id: int
    order_id: int
    client_id: str
    symbol: str
    side: str
    position_side: str
    price: Decimal
    quantity: Decimal
    quote_quantity: Decimal
    realized_pnl: Decimal
    commission: Decimal
    commission_asset: str
    maker: bool
    time_ms: int


@dataclass(frozen=True, slots=True)
class IncomeRow:
    """One change of a wallet; ``kind`` is Binance's incomeType, ``amount`` negative when paid."""

    symbol: str
    kind: str
    amount: Decimal
    asset: str
    info: str
    time_ms: int
    tran_id: int
    trade_id: int = 0


@dataclass(frozen=True, slots=True)
class OrderAmendment:
    """One change of an open order; ``count`` is the number of changes of this order, including this one."""

    number: int
    order_id: int
    client_id: str
    symbol: str
    time_ms: int
    price_before: Decimal
    price_after: Decimal
    quantity_before: Decimal
    quantity_after: Decimal
    count: int


@dataclass(frozen=True, slots=True)
class MarginChange:
    """Money moved by its owner into (``kind`` 1) or out of (2) an isolated position."""

    symbol: str
    position_side: str
    kind: int
    amount: Decimal
    time_ms: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What an account's owner has changed, oldest first."""

    amendments: tuple[OrderAmendment, ...]
    margins: tuple[MarginChange, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused element of a batch, beside the orders that were accepted."""

    code: int
    msg: str


@dataclass(frozen=True, slots=True)
class SymbolConfig:
    """Leverage and margin type (CROSSED or ISOLATED) of a symbol, and the largest notional they allow."""

    symbol: str
    margin_type: str
    leverage: int
    max_notional: Decimal


@dataclass(frozen=True, slots=True)
class PositionView:
    """A position with every figure of positionRisk and account; money in quote, ``amount`` signed.

    ``liquidation_price`` 0 means that none exists; ``margin_type`` is CROSSED or ISOLATED.
    """

    symbol: str
    position_side: str
    amount: Decimal
    entry_price: Decimal
    break_even_price: Decimal
    mark_price: Decimal
    unrealized: Decimal
    liquidation_price: Decimal
    leverage: int
    max_notional: Decimal
    margin_type: str
    isolated_margin: Decimal
    isolated_wallet: Decimal
    notional: Decimal
    initial_margin: Decimal
    maint_margin: Decimal
    position_initial_margin: Decimal
    open_order_initial_margin: Decimal
    bid_notional: Decimal
    ask_notional: Decimal
    adl: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class BalanceView:
    """One asset of the account with every figure of account and balance, in that asset."""

    asset: str
    wallet_balance: Decimal
    unrealized: Decimal
    margin_balance: Decimal
    maint_margin: Decimal
    initial_margin: Decimal
    position_initial_margin: Decimal
    open_order_initial_margin: Decimal
    cross_wallet: Decimal
    cross_unrealized: Decimal
    available: Decimal
    max_withdraw: Decimal
    updated_ms: int


@dataclass(frozen=True, slots=True)
class AccountView:
    """The account: its USDT line is the totals; ``positions`` holds every symbol (three legs in hedge mode)."""

    total: BalanceView
    balances: tuple[BalanceView, ...]
    positions: tuple[PositionView, ...]
    dual_side: bool
    multi_assets: bool
    fee_burn: bool
    fee_tier: int = 0


@dataclass(frozen=True, slots=True)
class Premium:
    """Mark and index price of one contract with its funding, at ``time_ms`` (a whole second)."""

    symbol: str
    mark: Decimal
    index: Decimal
    funding_rate: Decimal
    next_funding_ms: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Book:
    """The order book at ``time_ms``; rows are (price, quantity), best first."""

    symbol: str
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]
    time_ms: int
    update_id: int = field(default=0)
