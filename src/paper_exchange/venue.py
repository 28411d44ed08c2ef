"""Floor 3, paper exchange: the venue, the whole machine without I/O, as its callers see it."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from src.core.market import Candle
from src.paper_exchange.contracts import CONTRACTS, Contract
from src.paper_exchange.events import Event
from src.paper_exchange.model import (
    AccountView,
    AlgoOrder,
    AlgoRequest,
    Book,
    IncomeRow,
    OrderRequest,
    PositionView,
    Premium,
    Refusal,
    SymbolConfig,
    VenueOrder,
    VenueTrade,
)


class PriceSource(Protocol):
    """What the venue needs of a market."""

    def candle(self, symbol: str, open_ms: int) -> Candle | None:
        """Return the complete minute, or None in a gap."""

    def funding_rate(self, symbol: str, settle_ms: int) -> float:
        """Return the share that is paid at ``settle_ms``."""


class Venue:
    """One exchange with any number of accounts, one per API key. Call ``advance`` before you ask or order."""

    def __init__(
        self,
        market: PriceSource,
        start_ms: int,
        *,
        contracts: Mapping[str, Contract] = CONTRACTS,
        balance: Decimal = Decimal(10_000),
        maker_share: Decimal = Decimal("0.0002"),
        taker_share: Decimal = Decimal("0.0005"),
    ) -> None:
        raise NotImplementedError

    now_ms: int
    contracts: Mapping[str, Contract]

    # time and state
    def advance(self, to_ms: int) -> None:
        """Let everything until and including ``to_ms`` happen, in order; earlier instants are ignored."""
        raise NotImplementedError

    def drain(self) -> list[Event]:
        """Return the events since the last call, in the real order, and forget them."""
        raise NotImplementedError

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state as plain JSON values."""
        raise NotImplementedError

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state that ``snapshot`` returned."""
        raise NotImplementedError

    # market
    def last_price(self, symbol: str) -> Decimal:
        """Return the last price, on the tick."""
        raise NotImplementedError

    def premium(self, symbol: str) -> Premium:
        """Return mark, index and funding."""
        raise NotImplementedError

    def book(self, symbol: str, limit: int = 20) -> Book:
        """Return the best ``limit`` levels of each side."""
        raise NotImplementedError

    def running_candle(self, symbol: str) -> Candle:
        """Return the present minute as far as it has gone."""
        raise NotImplementedError

    def shock(self, symbol: str, factor: float) -> None:
        """Multiply all prices of ``symbol`` by ``factor`` from now on (a fault for tests)."""
        raise NotImplementedError

    def hold_triggers(self, count: int) -> None:
        """Let the next ``count`` triggered conditional orders stay in TRIGGERING (a fault for tests)."""
        raise NotImplementedError

    # accounts
    def open_account(self, account: str) -> None:
        """Open the account with the starting balance; nothing happens when it exists."""
        raise NotImplementedError

    def accounts(self) -> tuple[str, ...]:
        """Return the accounts' keys in the order of opening."""
        raise NotImplementedError

    def transfer(self, account: str, asset: str, amount: Decimal) -> int:
        """Move ``amount`` of USDT or BNB in (or out, negative) and return the transaction's id; -4050 if short."""
        raise NotImplementedError

    def account(self, account: str) -> AccountView:
        """Return balances, totals and all positions."""
        raise NotImplementedError

    def positions(self, account: str, symbol: str = "") -> tuple[PositionView, ...]:
        """Return one row per symbol (three in hedge mode), flat ones included."""
        raise NotImplementedError

    def symbol_configs(self, account: str, symbol: str = "") -> tuple[SymbolConfig, ...]:
        """Return leverage and margin type per symbol."""
        raise NotImplementedError

    def commission(self, account: str, symbol: str) -> tuple[Decimal, Decimal]:
        """Return maker and taker fee as shares."""
        raise NotImplementedError

    def dual_side(self, account: str) -> bool:
        """Return whether the account is in hedge mode."""
        raise NotImplementedError

    def multi_assets(self, account: str) -> bool:
        """Return the multi-assets switch."""
        raise NotImplementedError

    def fee_burn(self, account: str) -> bool:
        """Return whether fees are paid in BNB while there is any."""
        raise NotImplementedError

    def set_leverage(self, account: str, symbol: str, leverage: int) -> SymbolConfig:
        """Set the leverage and return what holds now."""
        raise NotImplementedError

    def set_margin_type(self, account: str, symbol: str, margin_type: str) -> None:
        """Set CROSSED or ISOLATED; -4046 when it is so already."""
        raise NotImplementedError

    def set_position_mode(self, account: str, dual_side: bool) -> None:
        """Switch hedge mode; -4059 when it is so already."""
        raise NotImplementedError

    def change_position_margin(
        self, account: str, symbol: str, amount: Decimal, add: bool, position_side: str = "BOTH"
    ) -> None:
        """Add to or take from an isolated position's margin."""
        raise NotImplementedError

    def set_multi_assets(self, account: str, enabled: bool) -> None:
        """Switch multi-assets mode (a flag only: USDT is the one collateral)."""
        raise NotImplementedError

    def set_fee_burn(self, account: str, enabled: bool) -> None:
        """Switch the payment of fees in BNB."""
        raise NotImplementedError

    def countdown_cancel_all(self, account: str, symbol: str, countdown_ms: int) -> None:
        """Cancel the symbol's regular orders ``countdown_ms`` from now unless called again; 0 stops it."""
        raise NotImplementedError

    # regular orders
    def place_order(self, account: str, request: OrderRequest) -> VenueOrder:
        """Place the order, match it, and return it as it stands after that (the RESULT view)."""
        raise NotImplementedError

    def test_order(self, account: str, request: OrderRequest) -> VenueOrder:
        """Check the order as if it were placed, and leave no trace."""
        raise NotImplementedError

    def place_batch(self, account: str, requests: Sequence[OrderRequest]) -> list[VenueOrder | Refusal]:
        """Place each and return an order or a refusal for each."""
        raise NotImplementedError

    def amend_order(
        self,
        account: str,
        symbol: str,
        side: str,
        quantity: Decimal,
        price: Decimal,
        order_id: int = 0,
        client_id: str = "",
    ) -> VenueOrder:
        """Change quantity and price of an open LIMIT order and return it."""
        raise NotImplementedError

    def cancel_order(self, account: str, symbol: str, order_id: int = 0, client_id: str = "") -> VenueOrder:
        """Cancel an open order and return it; -2011 when there is none."""
        raise NotImplementedError

    def cancel_batch(
        self, account: str, symbol: str, order_ids: Sequence[int] = (), client_ids: Sequence[str] = ()
    ) -> list[VenueOrder | Refusal]:
        """Cancel each and return an order or a refusal for each."""
        raise NotImplementedError

    def cancel_all(self, account: str, symbol: str) -> int:
        """Cancel the symbol's open regular orders and return how many."""
        raise NotImplementedError

    def order(self, account: str, symbol: str, order_id: int = 0, client_id: str = "") -> VenueOrder:
        """Return the order, by client id the newest one; -2013 when there is none."""
        raise NotImplementedError

    def open_order(self, account: str, symbol: str, order_id: int = 0, client_id: str = "") -> VenueOrder:
        """Return the open order; -2013 when there is none."""
        raise NotImplementedError

    def open_orders(self, account: str, symbol: str = "") -> list[VenueOrder]:
        """Return the open regular orders, oldest first."""
        raise NotImplementedError

    def all_orders(
        self,
        account: str,
        symbol: str = "",
        order_id: int = 0,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 500,
    ) -> list[VenueOrder]:
        """Return the newest ``limit`` orders (from ``order_id`` on), oldest first."""
        raise NotImplementedError

    def trades(
        self,
        account: str,
        symbol: str = "",
        order_id: int = 0,
        from_id: int | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 500,
    ) -> list[VenueTrade]:
        """Return executions, oldest first: the oldest ``limit`` of a window or from an id, else the newest."""
        raise NotImplementedError

    def income(
        self,
        account: str,
        symbol: str = "",
        kind: str = "",
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 100,
    ) -> list[IncomeRow]:
        """Return income rows, oldest first; without a window those of the last seven days."""
        raise NotImplementedError

    def force_orders(self, account: str, symbol: str = "", limit: int = 50) -> list[VenueOrder]:
        """Return the liquidation orders, newest first."""
        raise NotImplementedError

    # conditional orders
    def place_algo(self, account: str, request: AlgoRequest) -> AlgoOrder:
        """Place a conditional order; no margin is checked before its trigger."""
        raise NotImplementedError

    def cancel_algo(self, account: str, algo_id: int = 0, client_id: str = "") -> AlgoOrder:
        """Cancel a waiting conditional order; -2011 when there is none."""
        raise NotImplementedError

    def cancel_all_algo(self, account: str, symbol: str) -> int:
        """Cancel the symbol's waiting conditional orders and return how many."""
        raise NotImplementedError

    def algo_order(self, account: str, algo_id: int = 0, client_id: str = "") -> AlgoOrder:
        """Return the conditional order, by client id the newest one; -2013 when there is none."""
        raise NotImplementedError

    def open_algo_orders(self, account: str, symbol: str = "", algo_id: int = 0) -> list[AlgoOrder]:
        """Return the waiting conditional orders, oldest first."""
        raise NotImplementedError

    def all_algo_orders(
        self,
        account: str,
        symbol: str,
        algo_id: int = 0,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 500,
    ) -> list[AlgoOrder]:
        """Return conditional orders of every status, newest first."""
        raise NotImplementedError
