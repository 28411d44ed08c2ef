"""The venue's whole state as plain JSON values and back, exact to the last digit."""

from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any, TypeVar, get_type_hints

from src.paper_exchange.accounts import AccountLedger, Accounts, VenuePosition
from src.paper_exchange.ledger import keep
from src.paper_exchange.model import AlgoOrder, IncomeRow, MarginChange, OrderAmendment, VenueOrder, VenueTrade
from src.paper_exchange.queries import DAY_MS, KEPT_DAYS, is_kept

VERSION = 1
_Row = TypeVar("_Row")
_COUNTERS = ("now_ms", "order_id", "trade_id", "algo_id", "tran_id", "held_triggers")
_FLAGS = ("dual_side", "multi_assets", "fee_burn", "margin_called", "updated_ms", "leverage", "countdowns")


def _columns(kind: Any) -> tuple[tuple[str, bool], ...]:
    """The fields of a flat dataclass, and whether each is a Decimal."""
    hints = get_type_hints(kind)
    return tuple((column.name, hints[column.name] is Decimal) for column in fields(kind))


_COLUMNS: dict[type, tuple[tuple[str, bool], ...]] = {
    kind: _columns(kind)
    for kind in (VenuePosition, VenueOrder, AlgoOrder, VenueTrade, IncomeRow, OrderAmendment, MarginChange)
}


def snapshot(accounts: Accounts) -> dict[str, Any]:
    """Return the complete state, including everything that can still be queried, but no events."""
    return {
        "version": VERSION,
        **{name: getattr(accounts, name) for name in _COUNTERS},
        "shocks": accounts.quotes.state(),
        "consumed": [[*key, minute, str(quantity)] for key, (minute, quantity) in accounts.consumed.items()],
        "ledgers": [_ledger(accounts, ledger) for ledger in accounts.ledgers.values()],
    }


def _ledger(accounts: Accounts, ledger: AccountLedger) -> dict[str, Any]:
    oldest = accounts.now_ms - KEPT_DAYS * DAY_MS
    return {
        "key": ledger.key,
        "wallet": {asset: str(amount) for asset, amount in ledger.wallet.items()},
        "transferred": str(ledger.transferred),
        **{name: getattr(ledger, name) for name in _FLAGS if name not in ("leverage", "countdowns")},
        "leverage": dict(ledger.leverage),
        "countdowns": dict(ledger.countdowns),
        "isolated": sorted(ledger.isolated),
        "positions": [_row(held) for held in ledger.positions.values()],
        "orders": [_row(order) for order in ledger.orders.values() if is_kept(order, accounts.now_ms)],
        "algos": [_row(order) for order in ledger.algos.values() if is_kept(order, accounts.now_ms)],
        "trades": [_row(trade) for trade in ledger.trades if trade.time_ms >= oldest],
        "income": [_row(row) for row in ledger.income if row.time_ms >= oldest],
        "amendments": [_row(row) for row in ledger.amendments if row.time_ms >= oldest],
        "margin_changes": [_row(row) for row in ledger.margin_changes if row.time_ms >= oldest],
    }


def restore(accounts: Accounts, state: Mapping[str, Any]) -> None:
    """Take over what ``snapshot`` returned; ``ValueError`` for a state of another version."""
    if state.get("version") != VERSION:
        raise ValueError(f"state has version {state.get('version')!r}, this exchange reads {VERSION}")
    for name in _COUNTERS:
        setattr(accounts, name, state[name])
    accounts.quotes.restore(state["shocks"])
    accounts.consumed = {(symbol, side): (minute, Decimal(gone)) for symbol, side, minute, gone in state["consumed"]}
    accounts.ledgers = {each["key"]: _as_ledger(each) for each in state["ledgers"]}
    accounts.events = []
    accounts.changed = True


def _as_ledger(state: Mapping[str, Any]) -> AccountLedger:
    ledger = AccountLedger(state["key"], {asset: Decimal(text) for asset, text in state["wallet"].items()})
    ledger.transferred = Decimal(state.get("transferred", "0"))  # files of before this was counted have none
    for name in _FLAGS:
        setattr(ledger, name, state[name])
    ledger.isolated = set(state["isolated"])
    positions = [_as(VenuePosition, row) for row in state["positions"]]
    ledger.positions = {(held.symbol, held.leg): held for held in positions}
    for order in state["orders"]:
        keep(ledger, _as(VenueOrder, order))
    for order in state["algos"]:
        keep(ledger, _as(AlgoOrder, order))
    ledger.trades = [_as(VenueTrade, row) for row in state["trades"]]
    ledger.income = [_as(IncomeRow, row) for row in state["income"]]
    ledger.amendments = [_as(OrderAmendment, row) for row in state.get("amendments", [])]  # older files have none
    ledger.margin_changes = [_as(MarginChange, row) for row in state.get("margin_changes", [])]
    return ledger


def _row(value: Any) -> dict[str, Any]:
    return {
        name: str(getattr(value, name)) if is_decimal else getattr(value, name)
        for name, is_decimal in _COLUMNS[type(value)]
    }


def _as(kind: type[_Row], row: Mapping[str, Any]) -> _Row:
    return kind(**{name: Decimal(row[name]) if is_decimal else row[name] for name, is_decimal in _COLUMNS[kind]})
