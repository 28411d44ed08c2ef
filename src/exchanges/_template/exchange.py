"""Template of an adapter for a new exchange: what each method has to query and translate.

Nothing imports it. Its test fails when the ports of ``src/domain/ports.py`` change and this file does not.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from src.domain.costs import CostRates
from src.domain.errors import Rejection
from src.domain.market import Candle, Instrument, MarkPrice
from src.domain.orders import Fill, Order, OrderIntent
from src.domain.portfolio import Account
from src.domain.ports import AccountTerms, Income, IncomeKind

REJECTIONS: Final[dict[int, Rejection]] = {}
"""The exchange's error codes by meaning. A code that is missing counts as ``Rejection.OTHER``."""

INCOME_KINDS: Final[dict[str, IncomeKind]] = {}
"""The exchange's names for funding and for what its insurance fund took. All others are ``IncomeKind.OTHER``."""


class TemplateExchange:
    """An account at the exchange. Translate every error: ``OrderRefused``, ``OutcomeUnknown``, ``RateLimited``..."""

    def instrument(self, symbol: str) -> Instrument:
        """Map tick, step, smallest and largest order; keep them until ``reread_rules``."""
        raise NotImplementedError

    def reread_rules(self) -> None:
        """Forget the kept rules."""
        raise NotImplementedError

    def told_terms(self, symbol: str) -> tuple[int, str] | None:
        """Return the terms last reported by the exchange's stream; None if it has no such message."""
        raise NotImplementedError

    def ask_terms(self, symbol: str) -> AccountTerms:
        """Ask for leverage, margin type and position mode; CROSSED and ISOLATED are the suite's terms."""
        raise NotImplementedError

    def cost_rates(self, symbol: str) -> CostRates:
        """Ask for the account's own fees, as shares of the notional."""
        raise NotImplementedError

    def prepare(self, symbol: str, leverage: int, margin_type: str) -> None:
        """Compare first and set only what differs: exchanges refuse a change while a position is open."""
        raise NotImplementedError

    def candles(self, symbol: str, interval: str, limit: int) -> list[Candle]:
        """Leave out the candle that is not closed yet; page where the exchange returns fewer than ``limit``."""
        raise NotImplementedError

    def mark_price(self, symbol: str) -> MarkPrice:
        """Return the price by which the exchange triggers stops and liquidates, not the last trade."""
        raise NotImplementedError

    def best_prices(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Ask for the top of the book: best bid, best ask."""
        raise NotImplementedError

    def account(self) -> Account:
        """Map balances and positions; quantities are signed, a short is negative."""
        raise NotImplementedError

    def open_orders(self, symbol: str) -> list[Order]:
        """Join regular and conditional orders, if the exchange lists them apart."""
        raise NotImplementedError

    def conditional_orders(self, symbol: str) -> list[Order]:
        """Return the conditional orders alone."""
        raise NotImplementedError

    def order_history(self, symbol: str, since_ms: int) -> list[Order]:
        """Page until the exchange has no more; a triggered order carries the client id of its conditional one."""
        raise NotImplementedError

    def send(self, intent: OrderIntent) -> Order:
        """Send once. A timeout and every 5xx with an unknown outcome are ``OutcomeUnknown``, never a retry."""
        raise NotImplementedError

    def find_order(self, intent: OrderIntent) -> Order | None:
        """Query by client id; None only if the exchange says that the order does not exist."""
        raise NotImplementedError

    def cancel(self, order: Order) -> None:
        """Treat "already gone" as success."""
        raise NotImplementedError

    def fills(self, symbol: str, since_ms: int) -> list[Fill]:
        """Page through the executions; price, quantity, fee and fee asset of each."""
        raise NotImplementedError

    def order_fills(self, order: Order) -> list[Fill]:
        """Follow a conditional order to the order that it triggered."""
        raise NotImplementedError

    def income(self, since_ms: int) -> list[Income]:
        """Set ``purpose`` by ``INCOME_KINDS``; the transaction id must be the exchange's own."""
        raise NotImplementedError


class TemplateFeed:
    """The data of the exchange's streams; a stream without data for too long is reopened."""

    def candles(self, symbol: str) -> Sequence[Candle]:
        """Fill the gap after every reconnect by REST before anything is returned."""
        raise NotImplementedError

    def mark_price(self, symbol: str) -> MarkPrice | None:
        """Return the newest with its own instant."""
        raise NotImplementedError

    def account(self) -> Account | None:
        """Apply the user stream's events in the exchange's order; duplicates change nothing."""
        raise NotImplementedError
