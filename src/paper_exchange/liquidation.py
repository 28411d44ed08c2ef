"""Margin calls and liquidation, checked each second by mark price."""

from decimal import Decimal

from src.paper_exchange import conditional, margin, matching
from src.paper_exchange.accounts import AccountLedger, Accounts, VenuePosition
from src.paper_exchange.events import MarginCall, MarginCallRow
from src.paper_exchange.ledger import book, keep, tell_account, tell_order
from src.paper_exchange.model import ZERO, VenueOrder, money8

CALCULATED = "CALCULATED"
"""The execution type of whatever a liquidation does, also where it meets the book."""


def is_due(accounts: Accounts, ledger: AccountLedger) -> bool:
    """Return whether ``watch`` would do something at this second."""
    groups = [margin.isolated_health(accounts, held) for held in ledger.live() if held.symbol in ledger.isolated]
    if any(True for _ in margin.cross_positions(ledger)):
        groups.append(margin.cross_health(accounts, ledger))
    return any(health.liquidated or (health.called and not ledger.margin_called) for health in groups)


def watch(accounts: Accounts, ledger: AccountLedger) -> None:
    """Liquidate what can no longer carry itself, and warn once where that is near."""
    for held in [held for held in ledger.live() if held.symbol in ledger.isolated]:
        health = margin.isolated_health(accounts, held)
        if health.liquidated:
            _end_isolated(accounts, ledger, held)
        elif health.called:
            _warn(accounts, ledger, [held], None)
    cross = list(margin.cross_positions(ledger))
    health = margin.cross_health(accounts, ledger)
    if cross and health.liquidated:
        _end_cross(accounts, ledger)
    elif cross and health.called:
        _warn(accounts, ledger, cross, ledger.cross_wallet)


def _warn(
    accounts: Accounts, ledger: AccountLedger, positions: list[VenuePosition], cross_wallet: Decimal | None
) -> None:
    """Send one margin call; the next one only after the account has changed."""
    if ledger.margin_called:
        return
    ledger.margin_called = True
    rows = tuple(
        MarginCallRow(
            held.symbol,
            held.leg,
            held.amount,
            "CROSSED" if cross_wallet is not None else "ISOLATED",
            held.isolated_wallet,
            accounts.mark(held.symbol),
            margin.unrealized(accounts, held),
            margin.maint_margin(accounts, held),
        )
        for held in positions
    )
    accounts.emit(MarginCall(ledger.key, accounts.now_ms, cross_wallet, rows))


def _end_isolated(accounts: Accounts, ledger: AccountLedger, held: VenuePosition) -> None:
    """Close one isolated position; it costs its own margin and never more."""
    _drop_orders(accounts, ledger, held.symbol)
    wallet_before = ledger.wallet["USDT"] - held.isolated_wallet
    notional = _close(accounts, ledger, held)
    _clear(accounts, ledger, held, notional, ledger.wallet["USDT"] - wallet_before)


def _end_cross(accounts: Accounts, ledger: AccountLedger) -> None:
    """Close cross positions, the one that binds most first, until the rest can carry itself."""
    _drop_orders(accounts, ledger, "")
    while margin.cross_health(accounts, ledger).liquidated:
        held = max(margin.cross_positions(ledger), key=lambda each: (margin.maint_margin(accounts, each), each.symbol))
        notional = _close(accounts, ledger, held)
        _clear(accounts, ledger, held, notional, margin.cross_health(accounts, ledger).balance)


def _drop_orders(accounts: Accounts, ledger: AccountLedger, symbol: str) -> None:
    for order in ledger.orders_of(symbol):
        matching.expire(accounts, ledger, order)
    for waiting in ledger.algos_of(symbol):
        conditional.expire(accounts, ledger, waiting)


def _close(accounts: Accounts, ledger: AccountLedger, held: VenuePosition) -> Decimal:
    """Take the whole position to the market and return the notional closed.

    What the depth within the contract's bound does not take, the insurance fund takes at the bound.
    """
    side = "SELL" if held.amount > 0 else "BUY"
    contract = accounts.contracts[held.symbol]
    mark = accounts.mark(held.symbol)
    away = mark * contract.bound_share
    bound = contract.rules.price_down(mark - away if side == "SELL" else mark + away)
    order = _order(accounts, held, side, bound)
    keep(ledger, order)
    fresh = True
    for price, quantity in matching.portions(accounts, ledger, order, bound):
        order = matching.take(accounts, ledger, order, price, quantity, maker=False, fresh=fresh, execution=CALCULATED)
        fresh = False
    if fresh:
        tell_order(accounts, ledger, order, "NEW")
    if order.is_open:
        order = matching.take(accounts, ledger, order, bound, order.remaining, maker=False, execution=CALCULATED)
    return order.cum_quote


def settle(accounts: Accounts, ledger: AccountLedger, held: VenuePosition, price: Decimal) -> None:
    """Close a position at ``price``, as the exchange does with a contract that it takes off its list."""
    order = _order(accounts, held, "SELL" if held.amount > 0 else "BUY", price, "settlement_autoclose")
    keep(ledger, order)
    matching.take(accounts, ledger, order, price, order.remaining, maker=False, execution="CALCULATED")


def _order(accounts: Accounts, held: VenuePosition, side: str, price: Decimal, kind: str = "autoclose") -> VenueOrder:
    number = accounts.next_order_id()
    return VenueOrder(
        order_id=number,
        client_id=f"{kind}-{number}",
        symbol=held.symbol,
        side=side,
        type="LIMIT",
        orig_type="LIMIT",
        time_in_force="IOC",
        position_side=held.leg,
        price=price,
        quantity=abs(held.amount),
        status="NEW",
        created_ms=accounts.now_ms,
        updated_ms=accounts.now_ms,
        reduce_only=True,
    )


def _clear(accounts: Accounts, ledger: AccountLedger, held: VenuePosition, notional: Decimal, left: Decimal) -> None:
    """Book the liquidation fee, at most the remaining balance; a negative balance is paid by the insurance fund."""
    fee = money8(notional * accounts.contracts[held.symbol].rules.liquidation_fee_share)
    cleared = -min(fee, left) if left > 0 else -left
    if left < 0 and any(True for _ in margin.cross_positions(ledger)) and held.symbol not in ledger.isolated:
        cleared = ZERO  # the other positions still stand for it
    if cleared:
        book(accounts, ledger, "INSURANCE_CLEAR", cleared, held.symbol)
        tell_account(accounts, ledger, "INSURANCE_CLEAR", [held], change=cleared)
