"""What the exchange itself changes about a contract: its rules, its status, its listing."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from src.paper_exchange import conditional, liquidation, matching
from src.paper_exchange.accounts import Accounts
from src.paper_exchange.contracts import Contract

_AMOUNTS: Final = frozenset(
    {"tick_size", "step_size", "min_quantity", "max_quantity", "max_market_quantity", "min_notional"}
)


def changed(contract: Contract, changes: Mapping[str, Any]) -> Contract:
    """Return the contract under other rules; raises ``ValueError`` for a rule that cannot be changed.

    ``changes`` names fields of the instrument, ``status`` among them, or ``funding_hours``.
    """
    rules, hours = contract.rules, contract.funding_hours
    for name, value in changes.items():
        if name in _AMOUNTS:
            amount: Any = Decimal(str(value))
            rules = replace(rules, **{name: amount})
        elif name == "status":
            rules = replace(rules, status=str(value))
        elif name == "funding_hours":
            hours = int(value)
        else:
            raise ValueError(f"no rule of a contract: {name}")
    return replace(contract, rules=rules, funding_hours=hours)


def put(accounts: Accounts, symbol: str, contract: Contract | None) -> None:
    """Put the contract's rules in force; None settles its positions and takes it off the list."""
    if contract is None:
        _settle(accounts, symbol)
        del accounts.contracts[symbol]
        return
    accounts.contracts[symbol] = contract
    accounts.quotes.settle_every(symbol, contract.funding_ms)
    accounts.changed = True


def _settle(accounts: Accounts, symbol: str) -> None:
    """End all orders of a contract and close its positions at the mark price."""
    price = accounts.contract(symbol).rules.price_near(accounts.mark(symbol))
    for ledger in accounts.ledgers.values():
        for order in ledger.orders_of(symbol):
            matching.expire(accounts, ledger, order)
        for waiting in ledger.algos_of(symbol):
            conditional.expire(accounts, ledger, waiting)
        for held in list(ledger.live(symbol)):
            liquidation.settle(accounts, ledger, held, price)
