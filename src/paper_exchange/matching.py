"""The life of regular orders: placed, matched against the depth, amended, cancelled, expired."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from src.paper_exchange import checks
from src.paper_exchange.accounts import AccountLedger, Accounts
from src.paper_exchange.contracts import Contract
from src.paper_exchange.events import AlgoUpdate
from src.paper_exchange.ledger import fill, keep, tell_order
from src.paper_exchange.model import ZERO, AlgoOrder, OrderAmendment, OrderRequest, Refusal, VenueError, VenueOrder

Level = tuple[Decimal, Decimal]


def place(accounts: Accounts, ledger: AccountLedger, request: OrderRequest) -> VenueOrder:
    """Check and place an order, match it, and return its state after that."""
    return enter(accounts, ledger, checked(accounts, ledger, request))


def attempted(act: Callable[[], VenueOrder]) -> VenueOrder | Refusal:
    """Return what the act gives, or why it was refused."""
    try:
        return act()
    except VenueError as error:
        return Refusal(error.code, error.msg)


def checked(
    accounts: Accounts, ledger: AccountLedger, request: OrderRequest, source: AlgoOrder | None = None
) -> VenueOrder:
    """Return the order that the request would become, after every check; nothing is changed but the order number.

    ``source`` is the conditional order whose trigger places it: it passed the filters when it was placed, and is no
    duplicate of itself.
    """
    if source is None:
        contract = checks.check_order_form(accounts, request)
        checks.check_leg(ledger, request.position_side, request.reduce_only)
    else:
        contract = accounts.contract(request.symbol)
    price = _price(accounts, contract, request)
    closing = checks.closes_only(ledger, request.side, request.position_side, request.reduce_only)
    quantity = _quantity(ledger, request, closing)
    if not closing and contract.rules.status != "TRADING":
        raise VenueError(-4140, "Invalid symbol status for opening position.")
    if source is None:
        _check_market(accounts, contract, request, price, quantity, closing)
        _check_book(ledger, contract, request)
    if not closing:
        worst = price or checks.assumed_price(accounts, request.symbol, request.side)
        checks.check_position_limit(accounts, ledger, request, worst, quantity)
    order = _order(accounts, request, price, quantity, source)
    _check_match(accounts, order)
    return order


def _price(accounts: Accounts, contract: Contract, request: OrderRequest) -> Decimal:
    if request.price_match != "NONE":
        return checks.matched_price(accounts, contract.rules, request.side, request.price_match)
    return request.price or ZERO


def _quantity(ledger: AccountLedger, request: OrderRequest, closing: bool) -> Decimal:
    """Return the order quantity; a reduce-only MARKET order is cut to the position (-2022 without one)."""
    quantity = request.quantity or ZERO
    if not closing:
        return quantity
    there = checks.reducible(ledger, request.symbol, request.side, request.position_side)
    if not there or (ledger.dual_side and quantity > there):
        raise VenueError(-2022, "ReduceOnly Order is rejected.")
    return min(quantity, there) if request.type == "MARKET" else quantity


def _check_market(
    accounts: Accounts, contract: Contract, request: OrderRequest, price: Decimal, quantity: Decimal, closing: bool
) -> None:
    mark = accounts.mark(request.symbol)
    if not closing:
        checks.check_notional(contract.rules, (price or mark) * quantity)
    if price:
        checks.check_percent_price(contract.rules, request.side, price, mark)
    elif not any(True for _ in accounts.depth(request.symbol, request.side, _bound(accounts, contract, request.side))):
        raise VenueError(-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit")


def _check_book(ledger: AccountLedger, contract: Contract, request: OrderRequest) -> None:
    open_here = ledger.orders_of()
    if request.client_id and any(order.client_id == request.client_id for order in open_here):
        raise VenueError(-4116, "clientOrderId is duplicated")
    if sum(order.symbol == request.symbol for order in open_here) >= contract.max_open_orders:
        raise VenueError(-2025, "Reach max open order limit.")


def _check_match(accounts: Accounts, order: VenueOrder) -> None:
    """Refuse a post-only order that would take (-5022) and a fill-or-kill order that would not fill (-5021)."""
    if order.time_in_force == "GTX" and _crosses(accounts, order.symbol, order.side, order.price):
        raise VenueError(
            -5022,
            "Due to the order could not be executed as maker, the Post Only order will be rejected. "
            "The order will not be recorded in the order history",
        )
    if order.time_in_force == "FOK":
        there = sum((held for _, held in accounts.depth(order.symbol, order.side, order.price)), ZERO)
        if there < order.quantity:
            raise VenueError(
                -5021,
                "Due to the order could not be filled immediately, the FOK order has been rejected. "
                "The order will not be recorded in the order history",
            )


def _crosses(accounts: Accounts, symbol: str, side: str, price: Decimal) -> bool:
    best = accounts.quotes.best_price(symbol, side, accounts.now_ms)
    return price >= best if side == "BUY" else price <= best


def _order(
    accounts: Accounts, request: OrderRequest, price: Decimal, quantity: Decimal, source: AlgoOrder | None
) -> VenueOrder:
    number = accounts.next_order_id()
    return VenueOrder(
        order_id=number,
        client_id=request.client_id or f"auto-{number}",
        symbol=request.symbol,
        side=request.side,
        type=request.type,
        orig_type=source.type if source else request.type,
        time_in_force=request.time_in_force or "GTC",
        position_side=request.position_side,
        price=price,
        quantity=quantity,
        status="NEW",
        created_ms=accounts.now_ms,
        updated_ms=accounts.now_ms,
        stop_price=source.trigger_price if source else ZERO,
        reduce_only=bool(request.reduce_only),
        close_position=source.close_position if source else False,
        working_type=source.working_type if source else "CONTRACT_PRICE",
        price_protect=source.price_protect if source else False,
        price_match=request.price_match,
        stp_mode=request.stp_mode,
        good_till_ms=request.good_till_ms if request.time_in_force == "GTD" else 0,
        algo_id=source.algo_id if source else 0,
        activate_price=source.activate_price if source else ZERO,
        callback_rate=source.callback_rate if source else ZERO,
    )


def _bound(accounts: Accounts, contract: Contract, side: str) -> Decimal:
    """The price beyond which a MARKET order takes nothing."""
    mark = accounts.mark(contract.symbol)
    return mark * (1 + contract.bound_share) if side == "BUY" else mark * (1 - contract.bound_share)


def enter(accounts: Accounts, ledger: AccountLedger, order: VenueOrder) -> VenueOrder:
    """Write a checked order down and take what the depth offers; the rest waits, or expires where it may not wait."""
    keep(ledger, order)
    bound = order.price or _bound(accounts, accounts.contract(order.symbol), order.side)
    levels = portions(accounts, ledger, order, bound)
    if not levels:
        tell_order(accounts, ledger, order, "NEW")
    fresh = True
    for price, quantity in levels:
        order = take(accounts, ledger, order, price, quantity, maker=False, fresh=fresh)
        fresh = False
    if order.is_open and (order.type == "MARKET" or order.time_in_force in ("IOC", "FOK")):
        order = expire(accounts, ledger, order)
    return _without_purpose(accounts, ledger, order)


def portions(accounts: Accounts, ledger: AccountLedger, order: VenueOrder, bound: Decimal) -> list[Level]:
    """Return the prices and quantities at which the order would be taken now; never more than it may close."""
    left, portions = min(order.remaining, closable(ledger, order)), []
    for price, held in accounts.depth(order.symbol, order.side, bound) if left else ():
        quantity = min(left, held)
        portions.append((price, quantity))
        left -= quantity
        if not left:
            break
    return portions


def take(
    accounts: Accounts,
    ledger: AccountLedger,
    order: VenueOrder,
    price: Decimal,
    quantity: Decimal,
    *,
    maker: bool,
    fresh: bool = False,
    execution: str = "TRADE",
) -> VenueOrder:
    """Execute a part of the order, use up the depth, and end the conditional order it came from when it is done."""
    accounts.take(order.symbol, order.side, quantity)
    after = fill(accounts, ledger, order, price, quantity, maker, fresh=fresh, execution=execution)
    end_algo(accounts, ledger, after)
    for other in ledger.orders_of(order.symbol):
        if other.order_id != order.order_id:
            _without_purpose(accounts, ledger, other)
    return after


def closable(ledger: AccountLedger, order: VenueOrder) -> Decimal:
    """Return how much the order may execute by the position it closes; its remainder when it may open one."""
    if not checks.closes_only(ledger, order.side, order.position_side, order.reduce_only):
        return order.remaining
    return checks.reducible(ledger, order.symbol, order.side, order.position_side)


def fill_waiting(accounts: Accounts, ledger: AccountLedger, order: VenueOrder) -> bool:
    """Fill a waiting LIMIT order, at its own price, with the depth that has come to it; return whether it had any."""
    there = sum((held for _, held in accounts.depth(order.symbol, order.side, order.price)), ZERO)
    quantity = min(order.remaining, there, closable(ledger, order))
    if quantity:
        order = take(accounts, ledger, order, order.price, quantity, maker=True)
        _without_purpose(accounts, ledger, order)
    return bool(quantity)


def _without_purpose(accounts: Accounts, ledger: AccountLedger, order: VenueOrder) -> VenueOrder:
    """Expire an order that may only close and has nothing left to close."""
    return expire(accounts, ledger, order) if order.is_open and not closable(ledger, order) else order


def expire(accounts: Accounts, ledger: AccountLedger, order: VenueOrder) -> VenueOrder:
    """End an order by the exchange's rules and return it."""
    return _end(accounts, ledger, order, "EXPIRED")


def cancel(accounts: Accounts, ledger: AccountLedger, order: VenueOrder) -> VenueOrder:
    """Cancel an order at its owner's request and return it."""
    return _end(accounts, ledger, order, "CANCELED")


def cancel_symbol(accounts: Accounts, ledger: AccountLedger, symbol: str) -> int:
    """Cancel the symbol's open orders and return how many there were."""
    waiting = ledger.orders_of(symbol)
    for order in waiting:
        cancel(accounts, ledger, order)
    return len(waiting)


def _end(accounts: Accounts, ledger: AccountLedger, order: VenueOrder, status: str) -> VenueOrder:
    ended = replace(order, status=status, updated_ms=accounts.now_ms)
    keep(ledger, ended)
    tell_order(accounts, ledger, ended, status)
    end_algo(accounts, ledger, ended)
    return ended


def end_algo(accounts: Accounts, ledger: AccountLedger, order: VenueOrder) -> None:
    """Tell the conditional order that made this one how it ended, once it has."""
    source = ledger.algos.get(order.algo_id)
    if order.is_open or source is None:
        return
    done = replace(
        source,
        status="FINISHED",
        actual_price=order.average_price,
        actual_quantity=order.executed,
        updated_ms=accounts.now_ms,
    )
    ledger.algos[done.algo_id] = done
    accounts.emit(AlgoUpdate(ledger.key, accounts.now_ms, done))


def amend(
    accounts: Accounts, ledger: AccountLedger, order: VenueOrder, side: str, quantity: Decimal, price: Decimal
) -> VenueOrder:
    """Change an open LIMIT order's quantity and price, match it again, and return it.

    A price that meets the other side takes at once; a post-only order is refused instead (-5022).
    """
    if order.type != "LIMIT":
        raise VenueError(-5025, "Only limit order is supported")
    if side != order.side:
        raise VenueError(-1117, "Invalid side.")
    contract = accounts.contract(order.symbol)
    checks.check_precision(contract.rules, [price], [quantity])
    checks.check_price(contract.rules, price)
    checks.check_quantity(contract.rules, quantity, market=False)
    if (quantity, price) == (order.quantity, order.price):
        raise VenueError(-5027, "No need to modify the order.")
    closing = checks.closes_only(ledger, order.side, order.position_side, order.reduce_only)
    if not closing and price * quantity < contract.rules.min_notional:
        raise VenueError(-5029, "The notional of the modified order is too small")
    checks.check_percent_price(contract.rules, side, price, accounts.mark(order.symbol))
    if quantity <= order.executed:
        return cancel(accounts, ledger, order)
    changed = replace(
        order, quantity=quantity, price=price, amendments=order.amendments + 1, updated_ms=accounts.now_ms
    )
    _check_amended(accounts, ledger, order, changed, closing)
    keep(ledger, changed)
    _note_amendment(accounts, ledger, order, changed)
    tell_order(accounts, ledger, changed, "AMENDMENT")
    for level, part in portions(accounts, ledger, changed, price):
        changed = take(accounts, ledger, changed, level, part, maker=False)
    return _without_purpose(accounts, ledger, changed)


def _note_amendment(accounts: Accounts, ledger: AccountLedger, before: VenueOrder, after: VenueOrder) -> None:
    number = ledger.amendments[-1].number + 1 if ledger.amendments else 1
    ledger.amendments.append(
        OrderAmendment(
            number=number,
            order_id=after.order_id,
            client_id=after.client_id,
            symbol=after.symbol,
            time_ms=accounts.now_ms,
            price_before=before.price,
            price_after=after.price,
            quantity_before=before.quantity,
            quantity_after=after.quantity,
            count=after.amendments,
        )
    )


def _check_amended(
    accounts: Accounts, ledger: AccountLedger, order: VenueOrder, changed: VenueOrder, closing: bool
) -> None:
    _check_match(accounts, changed)
    if closing:
        return
    request = OrderRequest(order.symbol, order.side, "LIMIT", position_side=order.position_side)
    del ledger.open_orders[order.order_id]  # its own margin is free for the changed order
    try:
        checks.check_position_limit(accounts, ledger, request, changed.price, changed.remaining)
    finally:
        ledger.open_orders[order.order_id] = order
        ledger.open_orders = dict(sorted(ledger.open_orders.items()))
