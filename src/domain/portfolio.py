"""Positions, the account, and completed trades."""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

from src.domain.market import quote_asset_of
from src.domain.orders import Side


class Direction(StrEnum):
    """The side of a position."""

    LONG = "LONG"
    SHORT = "SHORT"

    @property
    def entry_side(self) -> Side:
        """The side of the order that opens it."""
        return Side.BUY if self is Direction.LONG else Side.SELL

    @property
    def sign(self) -> int:
        """1 for long, -1 for short."""
        return 1 if self is Direction.LONG else -1


@dataclass(frozen=True, slots=True)
class Position:
    """An open position as the exchange has it; ``quantity`` is above 0, prices per base.

    ``liquidation_price`` is None where the exchange gives none; ``unrealized_pnl`` is at ``mark_price``.
    """

    symbol: str
    direction: Direction
    quantity: Decimal
    entry_price: Decimal
    mark_price: Decimal
    unrealized_pnl: Decimal
    leverage: int
    liquidation_price: Decimal | None
    updated_ms: int
    margin_type: str = "CROSSED"
    position_side: str = "BOTH"

    @property
    def asset(self) -> str:
        """The asset that its profit is paid in."""
        return quote_asset_of(self.symbol)

    @property
    def notional(self) -> Decimal:
        """Size in quote currency at the mark price."""
        return self.quantity * self.mark_price

    def pnl_at(self, price: Decimal) -> Decimal:
        """Return the profit before costs, in quote currency, were it closed at ``price``."""
        return (price - self.entry_price) * self.quantity * self.direction.sign

    def at_mark(self, mark: Decimal) -> "Position":
        """Return the position valued at another mark price."""
        return replace(self, mark_price=mark, unrealized_pnl=self.pnl_at(mark))


@dataclass(frozen=True, slots=True)
class Account:
    """Balances at ``as_of_ms`` in one quote asset, and all positions; equity is wallet plus unrealised PnL.

    ``unrealized_pnl`` counts the positions in that asset alone.

    ``transferred`` is what of the wallet was paid in since the bot first looked, less what was paid out: no profit.
    """

    wallet_balance: Decimal
    available_balance: Decimal
    unrealized_pnl: Decimal
    as_of_ms: int
    positions: tuple[Position, ...] = field(default=())
    transferred: Decimal = Decimal(0)

    @property
    def equity(self) -> Decimal:
        """What the account is worth at the mark price."""
        return self.wallet_balance + self.unrealized_pnl

    @property
    def earned(self) -> Decimal:
        """The equity without the money that was paid in or out: only trading changes it."""
        return self.equity - self.transferred

    def position(self, symbol: str) -> Position | None:
        """Return the open position of ``symbol``, or None when flat."""
        return next((each for each in self.positions if each.symbol == symbol), None)


@dataclass(frozen=True, slots=True)
class Trade:
    """One round trip, entry to exit; ``pnl`` is net of fees and funding.

    ``pnl_percent`` is percent of the entry notional divided by leverage (of the margin). Open trades have no
    exit figures. Funding is positive when received.
    """

    symbol: str
    direction: Direction
    quantity: Decimal
    entry_price: Decimal
    entry_ms: int
    leverage: int
    entry_client_id: str
    exit_price: Decimal | None = None
    exit_ms: int | None = None
    exit_client_id: str = ""
    exit_reason: str = ""
    gross_pnl: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)
    stop_price: Decimal | None = None
    target_price: Decimal | None = None

    @property
    def pnl(self) -> Decimal:
        """Profit in quote currency after fees and funding."""
        return self.gross_pnl - self.fees + self.funding

    @property
    def pnl_percent(self) -> Decimal:
        """Profit as percent of the margin at entry."""
        margin = self.quantity * self.entry_price / self.leverage
        return Decimal(0) if margin == 0 else self.pnl / margin * 100


@dataclass(frozen=True, slots=True)
class KnownTransfers:
    """What is known from before: ids (kind and transaction) of payments, their sum, and when one last looked.

    ``looked_ms`` is None where nobody ever did: then what lies before is part of the balance one begins with.
    """

    ids: frozenset[tuple[str, str]] = frozenset()
    total: Decimal = Decimal(0)
    looked_ms: int | None = None
