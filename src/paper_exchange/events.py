"""Events that the venue reports to an account, in order."""

from dataclasses import dataclass
from decimal import Decimal

from src.paper_exchange.model import AlgoOrder, VenueOrder, VenueTrade


@dataclass(frozen=True, slots=True)
class TradeLite:
    """TRADE_LITE: the quick word of a fill; comes before everything else about it."""

    account: str
    time_ms: int
    order: VenueOrder
    trade: VenueTrade


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """ORDER_TRADE_UPDATE: ``execution`` is NEW, TRADE, CANCELED, EXPIRED, AMENDMENT or CALCULATED.

    ``trade`` is set for TRADE and CALCULATED; the notionals are those of the symbol's open orders.
    """

    account: str
    time_ms: int
    execution: str
    order: VenueOrder
    trade: VenueTrade | None
    bid_notional: Decimal
    ask_notional: Decimal


@dataclass(frozen=True, slots=True)
class BalanceChange:
    """One changed balance; ``change`` leaves out profit and commission, as ``bc`` does."""

    asset: str
    wallet_balance: Decimal
    cross_wallet: Decimal
    change: Decimal


@dataclass(frozen=True, slots=True)
class PositionChange:
    """One changed position; ``realized_total`` runs on before fees, the margin type is CROSSED or ISOLATED."""

    symbol: str
    position_side: str
    amount: Decimal
    entry_price: Decimal
    break_even_price: Decimal
    realized_total: Decimal
    unrealized: Decimal
    margin_type: str
    isolated_wallet: Decimal


@dataclass(frozen=True, slots=True)
class AccountUpdate:
    """ACCOUNT_UPDATE: ``reason`` is Binance's ``m``; ``symbol`` is set for FUNDING_FEE only."""

    account: str
    time_ms: int
    reason: str
    balances: tuple[BalanceChange, ...]
    positions: tuple[PositionChange, ...]
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class AlgoUpdate:
    """ALGO_UPDATE: one step in the life of a conditional order."""

    account: str
    time_ms: int
    order: AlgoOrder


@dataclass(frozen=True, slots=True)
class MarginCallRow:
    """One position of a margin call; money in quote."""

    symbol: str
    position_side: str
    amount: Decimal
    margin_type: str
    isolated_wallet: Decimal
    mark_price: Decimal
    unrealized: Decimal
    maint_margin: Decimal


@dataclass(frozen=True, slots=True)
class MarginCall:
    """MARGIN_CALL: ``cross_wallet`` is None when the positions are isolated."""

    account: str
    time_ms: int
    cross_wallet: Decimal | None
    positions: tuple[MarginCallRow, ...]


@dataclass(frozen=True, slots=True)
class ConfigUpdate:
    """ACCOUNT_CONFIG_UPDATE: a new leverage of ``symbol``, or the multi-assets switch (then symbol is "")."""

    account: str
    time_ms: int
    symbol: str = ""
    leverage: int = 0
    multi_assets: bool | None = None


Event = TradeLite | OrderUpdate | AccountUpdate | AlgoUpdate | MarginCall | ConfigUpdate
