"""The Algo service: conditional orders that wait for a trigger price and then place an order."""

from dataclasses import replace
from decimal import Decimal

from src.paper_exchange import checks, matching
from src.paper_exchange.accounts import AccountLedger, Accounts
from src.paper_exchange.events import AlgoUpdate
from src.paper_exchange.ledger import keep
from src.paper_exchange.model import ZERO, AlgoOrder, AlgoRequest, OrderRequest, VenueError

TRAILING = "TRAILING_STOP_MARKET"
_WOULD_TRIGGER = (-2021, "Order would immediately trigger.")


def place(accounts: Accounts, ledger: AccountLedger, request: AlgoRequest) -> AlgoOrder:
    """Check and place a conditional order; margin and position are looked at when it triggers, not before."""
    contract = checks.check_algo_form(accounts, request)
    checks.check_leg(ledger, request.position_side, request.reduce_only)
    if (request.side, request.position_side) in (("BUY", "LONG"), ("SELL", "SHORT")) and request.close_position:
        raise VenueError(-4061, "Order's position side does not match user's setting.")
    closing = request.close_position or checks.closes_only(
        ledger, request.side, request.position_side, request.reduce_only
    )
    if not closing:
        reference = request.price or request.trigger_price or request.activate_price or accounts.mark(request.symbol)
        checks.check_notional(contract.rules, reference * (request.quantity or ZERO))
    if request.client_id and any(order.client_id == request.client_id for order in ledger.open_algos.values()):
        raise VenueError(-4116, "clientOrderId is duplicated")
    if request.close_position and any(_closes_alike(order, request) for order in ledger.open_algos.values()):
        raise VenueError(
            -4130, "An open stop or take profit order with GTE and closePosition in the direction is existing."
        )
    if len(ledger.open_algos) >= checks.MAX_ALGO_ORDERS:
        raise VenueError(-4045, "Reach max stop order limit.")
    order = _order(accounts, request)
    _check_not_due(accounts, order)
    return _tell(accounts, ledger, order)


def _closes_alike(order: AlgoOrder, request: AlgoRequest) -> bool:
    """Return whether an open order closes the same position in the same way: one stop and one target may stand."""
    place = (order.symbol, order.side, order.position_side) == (request.symbol, request.side, request.position_side)
    return order.close_position and place and order.type == request.type


def _order(accounts: Accounts, request: AlgoRequest) -> AlgoOrder:
    number = accounts.next_algo_id()
    at_once = request.type == TRAILING and request.activate_price is None
    order = AlgoOrder(
        algo_id=number,
        client_id=request.client_id or f"auto-{number}",
        symbol=request.symbol,
        side=request.side,
        type=request.type,
        position_side=request.position_side,
        time_in_force=request.time_in_force or "GTC",
        quantity=request.quantity or ZERO,
        status="NEW",
        created_ms=accounts.now_ms,
        updated_ms=accounts.now_ms,
        trigger_price=request.trigger_price or ZERO,
        price=request.price or ZERO,
        working_type=request.working_type,
        price_match=request.price_match,
        close_position=request.close_position,
        price_protect=request.price_protect,
        reduce_only=bool(request.reduce_only),
        activate_price=request.activate_price or ZERO,
        callback_rate=request.callback_rate or ZERO,
        stp_mode=request.stp_mode,
        good_till_ms=request.good_till_ms,
        activated=at_once,
    )
    return replace(order, peak=watched_price(accounts, order)) if at_once else order


def _check_not_due(accounts: Accounts, order: AlgoOrder) -> None:
    if order.type == TRAILING and order.activated:
        return
    if is_due(order, watched_price(accounts, order)):
        raise VenueError(*_WOULD_TRIGGER)


def watched_price(accounts: Accounts, order: AlgoOrder) -> float:
    """Return the price that the order watches, now: last or mark."""
    if order.working_type == "MARK_PRICE":
        return accounts.quotes.mark(order.symbol, accounts.now_ms)
    return accounts.quotes.last(order.symbol, accounts.now_ms)


def rising(order: AlgoOrder) -> bool:
    """Return whether the order waits for its level from below.

    A trailing stop first waits for its activation on the winning side, and then for the way back.
    """
    buys = order.side == "BUY"
    if order.type == TRAILING:
        return buys if order.activated else not buys
    return buys == order.type.startswith("STOP")


def level(order: AlgoOrder) -> float:
    """Return the price at which the next thing happens to the order: activation or trigger."""
    if order.type != TRAILING:
        return float(order.trigger_price)
    if not order.activated:
        return float(order.activate_price)
    return trail_level(order, order.peak)


def trail_level(order: AlgoOrder, peak: float) -> float:
    """Return the trigger of a trailing stop whose best price so far is ``peak``."""
    share = float(order.callback_rate) / 100.0
    return peak * (1.0 + share if order.side == "BUY" else 1.0 - share)


def is_due(order: AlgoOrder, price: float) -> bool:
    """Return whether the price is at or beyond the order's level."""
    return price >= level(order) if rising(order) else price <= level(order)


def react(accounts: Accounts, ledger: AccountLedger, order: AlgoOrder) -> None:
    """Apply a reached trigger: a trailing stop is activated, any other order is triggered."""
    if order.type == TRAILING and not order.activated:
        active = replace(order, activated=True, peak=watched_price(accounts, order), updated_ms=accounts.now_ms)
        _tell(accounts, ledger, active)
    else:
        _fire(accounts, ledger, order)


def _fire(accounts: Accounts, ledger: AccountLedger, order: AlgoOrder) -> None:
    """Trigger the order: TRIGGERING, then TRIGGERED with the order it made, or REJECTED or EXPIRED with the reason."""
    order = replace(order, status="TRIGGERING", triggered_ms=accounts.now_ms, updated_ms=accounts.now_ms)
    _tell(accounts, ledger, order)
    if accounts.held_triggers > 0:
        accounts.held_triggers -= 1
        return
    refusal = _refusal(accounts, ledger, order)
    if refusal is not None:
        _tell(accounts, ledger, replace(order, status=refusal[0], reject_reason=refusal[1]))
        return
    try:
        made = matching.checked(accounts, ledger, _request(ledger, order), order)
    except VenueError as error:
        _tell(accounts, ledger, replace(order, status="REJECTED", reject_reason=error.msg))
        return
    _tell(accounts, ledger, replace(order, status="TRIGGERED", actual_order_id=made.order_id, actual_type=made.type))
    matching.enter(accounts, ledger, made)


def _refusal(accounts: Accounts, ledger: AccountLedger, order: AlgoOrder) -> tuple[str, str] | None:
    """Why the order cannot be executed: the status it ends in and the reason; None when it can."""
    if order.price_protect:
        mark = accounts.mark(order.symbol)
        if abs(accounts.last_price(order.symbol) - mark) > mark * accounts.contracts[order.symbol].protect_share:
            return "EXPIRED", "Price protect"
    closes = checks.closes_only(ledger, order.side, order.position_side, order.reduce_only)
    if (closes or order.close_position) and not _closable(ledger, order):
        return ("EXPIRED", "Position is closed") if order.close_position else ("REJECTED", "Reduce Only reject")
    return None


def _closable(ledger: AccountLedger, order: AlgoOrder) -> Decimal:
    return checks.reducible(ledger, order.symbol, order.side, order.position_side)


def _request(ledger: AccountLedger, order: AlgoOrder) -> OrderRequest:
    limit = order.type in ("STOP", "TAKE_PROFIT")
    closes = order.close_position or checks.closes_only(ledger, order.side, order.position_side, order.reduce_only)
    there = _closable(ledger, order) if closes else order.quantity
    quantity = there if order.close_position else min(order.quantity, there)
    return OrderRequest(
        symbol=order.symbol,
        side=order.side,
        type="LIMIT" if limit else "MARKET",
        quantity=quantity,
        price=order.price if limit and order.price_match == "NONE" else None,
        time_in_force=order.time_in_force if limit else "",
        position_side=order.position_side,
        reduce_only=order.reduce_only or order.close_position,
        client_id=order.client_id,
        price_match=order.price_match if limit else "NONE",
        stp_mode=order.stp_mode,
    )


def remember_peak(ledger: AccountLedger, order: AlgoOrder, peak: float) -> None:
    """Record the best price since a trailing stop was activated; no event is sent."""
    if peak != order.peak:
        keep(ledger, replace(order, peak=peak))


def cancel(accounts: Accounts, ledger: AccountLedger, order: AlgoOrder) -> AlgoOrder:
    """Cancel a waiting order at its owner's request and return it."""
    return _tell(accounts, ledger, replace(order, status="CANCELED"))


def expire(accounts: Accounts, ledger: AccountLedger, order: AlgoOrder) -> AlgoOrder:
    """End a waiting order by the exchange's rules and return it."""
    return _tell(accounts, ledger, replace(order, status="EXPIRED"))


def _tell(accounts: Accounts, ledger: AccountLedger, order: AlgoOrder) -> AlgoOrder:
    order = replace(order, updated_ms=accounts.now_ms)
    keep(ledger, order)
    accounts.emit(AlgoUpdate(ledger.key, accounts.now_ms, order))
    return order
