"""What an account can read of its history, as far back as the exchange keeps it."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import TypeVar

from src.paper_exchange.accounts import AccountLedger, Accounts
from src.paper_exchange.model import AlgoOrder, IncomeRow, VenueError, VenueOrder, VenueTrade

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
UNFILLED_DAYS = 3
KEPT_DAYS = 90
_Row = TypeVar("_Row", VenueTrade, IncomeRow)


def is_kept(order: VenueOrder | AlgoOrder, now_ms: int) -> bool:
    """Return whether the exchange still knows an order: unfilled ones go after 3 days, all finished after 90."""
    if order.is_open:
        return True
    executed = order.executed if isinstance(order, VenueOrder) else order.actual_order_id
    return order.updated_ms >= now_ms - (KEPT_DAYS if executed else UNFILLED_DAYS) * DAY_MS


def order(
    accounts: Accounts, ledger: AccountLedger, symbol: str, order_id: int, client_id: str, only_open: bool
) -> VenueOrder:
    """Return the order of that id or, of those with that client id, the newest; -2013 when there is none."""
    accounts.contract(symbol)
    if not order_id and not client_id:
        raise VenueError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    found = ledger.orders.get(order_id or ledger.newest.get(client_id, 0))
    if (
        found is None
        or found.symbol != symbol
        or not is_kept(found, accounts.now_ms)
        or (only_open and not found.is_open)
    ):
        raise VenueError(-2013, "Order does not exist.")
    return found


def to_cancel(accounts: Accounts, ledger: AccountLedger, symbol: str, order_id: int, client_id: str) -> VenueOrder:
    """Return the open order that is to be cancelled; -2011 when there is none."""
    accounts.contract(symbol)
    if not order_id and not client_id:
        raise VenueError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    found = ledger.open_orders.get(order_id or ledger.newest.get(client_id, 0))
    if found is None or found.symbol != symbol:
        raise VenueError(-2011, "Unknown order sent.")
    return found


def algo_order(accounts: Accounts, ledger: AccountLedger, algo_id: int, client_id: str) -> AlgoOrder:
    """Return the conditional order of that id or, of those with that client id, the newest; -2013 else."""
    found = ledger.algos.get(algo_id or ledger.newest_algo.get(client_id, 0))
    if found is None or not is_kept(found, accounts.now_ms):
        raise VenueError(-2013, "Order does not exist.")
    return found


def algo_to_cancel(ledger: AccountLedger, algo_id: int, client_id: str) -> AlgoOrder:
    """Return the untriggered conditional order that is to be cancelled; -2011 when there is none."""
    found = ledger.open_algos.get(algo_id or ledger.newest_algo.get(client_id, 0))
    if found is None or found.status != "NEW":
        raise VenueError(-2011, "Unknown order sent.")
    return found


def all_orders(
    accounts: Accounts,
    ledger: AccountLedger,
    symbol: str,
    order_id: int,
    start_ms: int | None,
    end_ms: int | None,
    limit: int,
) -> list[VenueOrder]:
    """Return the newest ``limit`` orders of a window of their making, oldest first."""
    inside = _window(accounts, symbol, start_ms, end_ms)
    rows = [
        each
        for each in ledger.orders.values()
        if symbol in ("", each.symbol)
        and each.order_id >= order_id
        and inside(each.created_ms)
        and is_kept(each, accounts.now_ms)
    ]
    return rows[-limit:]


def all_algo_orders(
    accounts: Accounts,
    ledger: AccountLedger,
    symbol: str,
    algo_id: int,
    start_ms: int | None,
    end_ms: int | None,
    limit: int,
) -> list[AlgoOrder]:
    """Return the newest ``limit`` conditional orders of a window of their making, newest first."""
    inside = _window(accounts, symbol, start_ms, end_ms)
    rows = [
        each
        for each in reversed(ledger.algos.values())
        if symbol in ("", each.symbol)
        and each.algo_id >= algo_id
        and inside(each.created_ms)
        and is_kept(each, accounts.now_ms)
    ]
    return rows[:limit]


def _window(accounts: Accounts, symbol: str, start_ms: int | None, end_ms: int | None) -> Callable[[int], bool]:
    """A test for instants between two limits; -1127 when they are more than seven days apart."""
    if symbol:
        accounts.contract(symbol)
    if start_ms is not None and end_ms is not None and end_ms - start_ms > WEEK_MS:
        raise VenueError(-1127, "More than 168 hours between startTime and endTime.")
    low = start_ms if start_ms is not None else 0
    high = end_ms if end_ms is not None else accounts.now_ms
    return lambda time_ms: low <= time_ms <= high


def trades(
    accounts: Accounts,
    ledger: AccountLedger,
    symbol: str,
    order_id: int,
    from_id: int | None,
    start_ms: int | None,
    end_ms: int | None,
    limit: int,
) -> list[VenueTrade]:
    """Return executions, oldest first.

    With a window, an order or an id to begin at: the oldest ``limit``. Without: the newest of the last seven days.
    """
    _window(accounts, symbol, start_ms, end_ms)
    oldest = accounts.now_ms - KEPT_DAYS * DAY_MS
    bounded = from_id is not None or order_id or start_ms is not None or end_ms is not None
    low, high = (
        _span(accounts, start_ms, end_ms) if not (from_id is not None or order_id) else (oldest, accounts.now_ms)
    )
    if order_id in ledger.orders:
        low = ledger.orders[order_id].created_ms
    rows = [
        each
        for each in _between(ledger.trades, max(low, oldest), high)
        if symbol in ("", each.symbol) and order_id in (0, each.order_id) and each.trade_id >= (from_id or 0)
    ]
    return rows[:limit] if bounded else rows[-limit:]


def _span(accounts: Accounts, start_ms: int | None, end_ms: int | None) -> tuple[int, int]:
    """Seven days from the start, or up to the end, or up to now."""
    if start_ms is not None:
        return start_ms, end_ms if end_ms is not None else start_ms + WEEK_MS
    high = end_ms if end_ms is not None else accounts.now_ms
    return high - WEEK_MS, high


def income(
    accounts: Accounts,
    ledger: AccountLedger,
    symbol: str,
    kind: str,
    start_ms: int | None,
    end_ms: int | None,
    limit: int,
) -> list[IncomeRow]:
    """Return income rows, oldest first: the oldest ``limit`` of a window, else the newest of the last seven days."""
    if symbol:
        accounts.contract(symbol)
    high = end_ms if end_ms is not None else accounts.now_ms
    low = start_ms if start_ms is not None else high - WEEK_MS
    rows = [
        each
        for each in _between(ledger.income, max(low, accounts.now_ms - KEPT_DAYS * DAY_MS), high)
        if symbol in ("", each.symbol) and kind in ("", each.kind)
    ]
    return rows[:limit] if start_ms is not None or end_ms is not None else rows[-limit:]


def force_orders(ledger: AccountLedger, symbol: str, limit: int) -> list[VenueOrder]:
    """Return the liquidation orders, newest first."""
    rows: Iterable[VenueOrder] = reversed(ledger.orders.values())
    found = [row for row in rows if row.client_id.startswith("autoclose-") and symbol in ("", row.symbol)]
    return found[:limit]


def _between(rows: list[_Row], start_ms: int, end_ms: int) -> list[_Row]:
    first = bisect_left(rows, start_ms, key=lambda row: row.time_ms)
    return rows[first : bisect_right(rows, end_ms, key=lambda row: row.time_ms)]
