"""The only place where balances and positions change, each change with its income row."""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from src.paper_exchange.accounts import AccountLedger, Accounts, VenuePosition
from src.paper_exchange.events import AccountUpdate, BalanceChange, OrderUpdate, PositionChange, TradeLite
from src.paper_exchange.margin import break_even, cross_positions, order_notional, unrealized
from src.paper_exchange.model import ZERO, AlgoOrder, IncomeRow, VenueOrder, VenueTrade, money8

BNB_FEE_SHARE = Decimal("0.9")


def book(
    accounts: Accounts,
    ledger: AccountLedger,
    kind: str,
    amount: Decimal,
    symbol: str = "",
    asset: str = "USDT",
    trade_id: int = 0,
) -> int:
    """Change a wallet by ``amount`` with its income row and return the row's transaction id; 0 leaves no row."""
    if not amount:
        return 0
    ledger.wallet[asset] += amount
    ledger.updated_ms = accounts.now_ms
    row = IncomeRow(symbol, kind, amount, asset, kind, accounts.now_ms, accounts.next_tran_id(), trade_id)
    ledger.income.append(row)
    return row.tran_id


def fill(
    accounts: Accounts,
    ledger: AccountLedger,
    order: VenueOrder,
    price: Decimal,
    quantity: Decimal,
    maker: bool,
    *,
    fresh: bool = False,
    execution: str = "TRADE",
) -> VenueOrder:
    """Execute part of an order against the account and return the updated order.

    Position, isolated margin, profit and fee are booked and the events emitted in the exchange's order; ``fresh``
    puts the order's NEW behind the first TRADE_LITE, as the exchange does for an order that fills at once.
    """
    held = ledger.position(order.symbol, order.position_side)
    signed = quantity if order.side == "BUY" else -quantity
    closing = min(abs(held.amount), quantity) if held.amount * signed < 0 else ZERO
    trade_id = accounts.next_trade_id()
    realized = _close(held, closing, price)
    quote_fee = money8(price * quantity * (accounts.maker_share if maker else accounts.taker_share))
    _open(accounts, ledger, held, signed, closing, price, quote_fee)
    book(accounts, ledger, "REALIZED_PNL", realized, order.symbol, trade_id=trade_id)
    fee, fee_asset = _charge(accounts, ledger, quote_fee, order.symbol, trade_id)
    trade = _trade(accounts, order, trade_id, price, quantity, maker, realized, fee, fee_asset)
    ledger.trades.append(trade)
    ledger.margin_called = False
    after = _executed(accounts, order, trade)
    keep(ledger, after)
    accounts.emit(TradeLite(ledger.key, accounts.now_ms, after, trade))
    if fresh:
        tell_order(accounts, ledger, order, "NEW")
    tell_account(accounts, ledger, "ORDER", [held], assets=("USDT", "BNB"))
    tell_order(accounts, ledger, after, execution, trade)
    _make_whole(accounts, ledger, held)
    return after


def _make_whole(accounts: Accounts, ledger: AccountLedger, held: VenuePosition) -> None:
    """Let the insurance fund pay what a fill beyond the account's last money left owing."""
    missing = -ledger.cross_wallet
    if missing > 0 and not any(True for _ in cross_positions(ledger)):
        book(accounts, ledger, "INSURANCE_CLEAR", missing, held.symbol)
        tell_account(accounts, ledger, "INSURANCE_CLEAR", change=missing)


def _close(held: VenuePosition, closing: Decimal, price: Decimal) -> Decimal:
    """Take ``closing`` off the position and return the profit."""
    if not closing:
        return ZERO
    long = held.amount > 0
    share_left = 1 - closing / abs(held.amount)
    realized = money8(closing * (price - held.entry) * (1 if long else -1))
    held.amount -= closing if long else -closing
    held.fees = held.fees * share_left if held.amount else ZERO
    held.isolated_wallet = money8(held.isolated_wallet * share_left) if held.amount else ZERO
    held.entry = held.entry if held.amount else ZERO
    held.realized += realized
    return realized


def _open(
    accounts: Accounts,
    ledger: AccountLedger,
    held: VenuePosition,
    signed: Decimal,
    closing: Decimal,
    price: Decimal,
    fee: Decimal,
) -> None:
    """Add what the fill did not close: weighted entry, its share of the fee, isolated margin."""
    held.updated_ms = accounts.now_ms
    opening = abs(signed) - closing
    if not opening:
        return
    before = abs(held.amount)
    held.entry = (before * held.entry + opening * price) / (before + opening)
    held.amount += opening if signed > 0 else -opening
    held.fees += fee * opening / abs(signed)
    if held.symbol in ledger.isolated:
        held.isolated_wallet += money8(opening * price / ledger.leverage_of(held.symbol))


def _charge(
    accounts: Accounts, ledger: AccountLedger, quote_fee: Decimal, symbol: str, trade_id: int
) -> tuple[Decimal, str]:
    """Book the fee in BNB at a discount where the account wants and can, else in USDT; return amount and asset."""
    if ledger.fee_burn and ledger.wallet["BNB"] > 0 and "BNBUSDT" in accounts.contracts:
        in_bnb = money8(quote_fee * BNB_FEE_SHARE / accounts.last_price("BNBUSDT"))
        if in_bnb <= ledger.wallet["BNB"]:
            book(accounts, ledger, "COMMISSION", -in_bnb, symbol, "BNB", trade_id)
            return in_bnb, "BNB"
    book(accounts, ledger, "COMMISSION", -quote_fee, symbol, trade_id=trade_id)
    return quote_fee, "USDT"


def _trade(
    accounts: Accounts,
    order: VenueOrder,
    trade_id: int,
    price: Decimal,
    quantity: Decimal,
    maker: bool,
    realized: Decimal,
    fee: Decimal,
    fee_asset: str,
) -> VenueTrade:
    return VenueTrade(
        trade_id,
        order.order_id,
        order.client_id,
        order.symbol,
        order.side,
        order.position_side,
        price,
        quantity,
        price * quantity,
        realized,
        fee,
        fee_asset,
        maker,
        accounts.now_ms,
    )


def _executed(accounts: Accounts, order: VenueOrder, trade: VenueTrade) -> VenueOrder:
    executed = order.executed + trade.quantity
    return replace(
        order,
        executed=executed,
        cum_quote=order.cum_quote + trade.quote_quantity,
        status="FILLED" if executed >= order.quantity else "PARTIALLY_FILLED",
        updated_ms=accounts.now_ms,
    )


def keep(ledger: AccountLedger, order: VenueOrder | AlgoOrder) -> None:
    """Store the order, among the open ones if it is open."""
    if isinstance(order, AlgoOrder):
        ledger.algos[order.algo_id] = order
        ledger.newest_algo[order.client_id] = order.algo_id
        ledger.open_algos[order.algo_id] = order
        if not order.is_open:
            del ledger.open_algos[order.algo_id]
    else:
        ledger.orders[order.order_id] = order
        ledger.newest[order.client_id] = order.order_id
        ledger.open_orders[order.order_id] = order
        if not order.is_open:
            del ledger.open_orders[order.order_id]


def tell_order(
    accounts: Accounts, ledger: AccountLedger, order: VenueOrder, execution: str, trade: VenueTrade | None = None
) -> None:
    """Emit the ORDER_TRADE_UPDATE of one step of an order."""
    bids = order_notional(ledger, order.symbol, "BUY")
    asks = order_notional(ledger, order.symbol, "SELL")
    accounts.emit(OrderUpdate(ledger.key, accounts.now_ms, execution, order, trade, bids, asks))


def tell_account(
    accounts: Accounts,
    ledger: AccountLedger,
    reason: str,
    positions: Iterable[VenuePosition] = (),
    *,
    assets: Iterable[str] = ("USDT",),
    change: Decimal = ZERO,
    symbol: str = "",
) -> None:
    """Emit the ACCOUNT_UPDATE with the named balances (BNB only where there is any) and positions."""
    balances = tuple(
        BalanceChange(asset, ledger.wallet[asset], _cross(ledger, asset), change)
        for asset in assets
        if asset == "USDT" or ledger.wallet[asset]
    )
    rows = tuple(_position_change(accounts, ledger, held) for held in positions)
    accounts.emit(AccountUpdate(ledger.key, accounts.now_ms, reason, balances, rows, symbol))


def _cross(ledger: AccountLedger, asset: str) -> Decimal:
    return ledger.cross_wallet if asset == "USDT" else ledger.wallet[asset]


def _position_change(accounts: Accounts, ledger: AccountLedger, held: VenuePosition) -> PositionChange:
    return PositionChange(
        held.symbol,
        held.leg,
        held.amount,
        money8(held.entry),
        break_even(held),
        held.realized,
        unrealized(accounts, held),
        "ISOLATED" if held.symbol in ledger.isolated else "CROSSED",
        held.isolated_wallet,
    )


def settle_funding(accounts: Accounts, ledger: AccountLedger, symbol: str) -> None:
    """Pay or receive funding for the symbol's positions at this very instant."""
    rate = accounts.quotes.funding_rate(symbol, accounts.now_ms)
    mark = accounts.mark(symbol)
    isolated = symbol in ledger.isolated
    for held in ledger.live(symbol):
        payment = -money8(held.amount * mark * rate)
        if not payment:
            continue
        book(accounts, ledger, "FUNDING_FEE", payment, symbol)
        if isolated:
            held.isolated_wallet += payment
        tell_account(accounts, ledger, "FUNDING_FEE", [held] if isolated else [], change=payment, symbol=symbol)
