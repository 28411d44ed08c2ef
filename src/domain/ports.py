"""The ports of the trader: what live, paper and backtest each provide."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from src.domain.costs import CostRates
from src.domain.market import Candle, Instrument, MarkPrice
from src.domain.orders import Fill, Order, OrderIntent
from src.domain.portfolio import Account


class IncomeKind(StrEnum):
    """What a change of the wallet was for, as far as trades are concerned; adapters translate."""

    FUNDING = "funding"
    INSURANCE = "insurance fund"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Income:
    """A change of the wallet that is no trade.

    ``kind`` is the exchange's own word and, with ``transaction_id``, its identity; code decides by ``purpose``.
    """

    kind: str
    symbol: str
    amount: Decimal
    asset: str
    time_ms: int
    transaction_id: str
    purpose: IncomeKind = IncomeKind.OTHER


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """What the exchange has set for one contract of the account, and for the account as a whole.

    ``margin_type`` is CROSSED or ISOLATED; ``one_way`` is False in hedge mode, ``single_asset`` in multi-assets mode.
    """

    leverage: int
    margin_type: str
    one_way: bool = True
    single_asset: bool = True


class Exchange(Protocol):
    """An account at an exchange, asked and ordered in the suite's own words.

    Every method may raise ``ExchangeUnavailable`` (``RateLimited`` among them) or ``CredentialsRefused``.
    One-way position mode: a symbol has at most one position.
    """

    def instrument(self, symbol: str) -> Instrument:
        """Return the contract's rules, as last read; ``OrderRefused`` (``NOT_LISTED``) for an unlisted symbol."""

    def reread_rules(self) -> None:
        """Let the next ``instrument`` ask the exchange anew."""

    def told_terms(self, symbol: str) -> tuple[int, str] | None:
        """Return leverage and margin type as the exchange last told them by itself, without asking; None unknown."""

    def ask_terms(self, symbol: str) -> AccountTerms:
        """Return what is set for the contract, asked for now."""

    def cost_rates(self, symbol: str) -> CostRates:
        """Return the account's own fees for the symbol."""

    def prepare(self, symbol: str, leverage: int, margin_type: str) -> None:
        """Set one-way mode, margin type (CROSSED or ISOLATED) and leverage, each only where it is another.

        ``OrderRefused`` where the exchange does not allow it now.
        """

    def candles(self, symbol: str, interval: str, limit: int) -> list[Candle]:
        """Return the last ``limit`` closed candles, oldest first, without gaps where the exchange has none."""

    def mark_price(self, symbol: str) -> MarkPrice:
        """Return the present mark price."""

    def best_prices(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Return the best bid and the best ask."""

    def account(self) -> Account:
        """Return balances and open positions, asked for now."""

    def open_orders(self, symbol: str) -> list[Order]:
        """Return the symbol's open orders, regular and conditional ones together."""

    def conditional_orders(self, symbol: str) -> list[Order]:
        """Return the symbol's open conditional orders alone: one question where ``open_orders`` needs two."""

    def order_history(self, symbol: str, since_ms: int) -> list[Order]:
        """Return the symbol's regular orders made from ``since_ms`` on, of every status and sender, oldest first.

        An order that a conditional one placed at its trigger carries the client id of the conditional one.
        """

    def send(self, intent: OrderIntent) -> Order:
        """Send the order once and return what was accepted (a fill price may still be missing).

        Raises:
            OrderRefused: certainly not accepted.
            OutcomeUnknown: nobody can say; find out with ``find_order`` before sending anything else.
        """

    def find_order(self, intent: OrderIntent) -> Order | None:
        """Return the order that carries the intent's client id, or None when the exchange has none."""

    def cancel(self, order: Order) -> None:
        """Cancel; an order that is finished or gone counts as cancelled."""

    def fills(self, symbol: str, since_ms: int) -> list[Fill]:
        """Return the account's executions from ``since_ms`` on, oldest first."""

    def order_fills(self, order: Order) -> list[Fill]:
        """Return the executions of one order (of the order it made, if conditional), oldest first."""

    def income(self, since_ms: int) -> list[Income]:
        """Return funding, transfers and the like from ``since_ms`` on, oldest first."""


class MarketFeed(Protocol):
    """What flows in without asking; each answer carries the instant it speaks of."""

    def candles(self, symbol: str) -> Sequence[Candle]:
        """Return the closed candles known, oldest first, contiguous, at least 1,000 where they exist."""

    def mark_price(self, symbol: str) -> MarkPrice | None:
        """Return the newest mark price, or None before the first."""

    def account(self) -> Account | None:
        """Return the newest account, or None before the first."""
