"""Margins, balances, position limits and liquidation prices.

Nothing here changes anything. Marks are those of now; money has eight decimals and is USDT, save the row of another
asset.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from src.paper_exchange.accounts import AccountLedger, Accounts, VenuePosition
from src.paper_exchange.model import ZERO, BalanceView, PositionView, SymbolConfig, money8

MARGIN_CALL_SHARE = Decimal("0.8")
_NO_MONEY = money8(ZERO)


@dataclass(frozen=True, slots=True)
class MarginHealth:
    """A margin balance and the maintenance margin it must stay above."""

    balance: Decimal
    maint: Decimal

    @property
    def liquidated(self) -> bool:
        """Whether the exchange takes over."""
        return self.maint > 0 and self.maint >= self.balance

    @property
    def called(self) -> bool:
        """Whether the exchange warns."""
        return self.maint > 0 and self.maint >= self.balance * MARGIN_CALL_SHARE


def unrealized(accounts: Accounts, held: VenuePosition) -> Decimal:
    """Return the position's profit at mark price."""
    return money8(held.amount * (accounts.mark(held.symbol) - held.entry))


def maint_margin(accounts: Accounts, held: VenuePosition) -> Decimal:
    """Return the position's maintenance margin at mark price."""
    notional = abs(held.amount) * accounts.mark(held.symbol)
    return money8(accounts.contracts[held.symbol].maint_margin(notional))


def initial_margin(accounts: Accounts, ledger: AccountLedger, held: VenuePosition) -> Decimal:
    """Return the position's initial margin at mark price and the leverage set."""
    return money8(abs(held.amount) * accounts.mark(held.symbol) / ledger.leverage_of(held.symbol))


def order_notional(ledger: AccountLedger, symbol: str, side: str, leg: str = "") -> Decimal:
    """Return the notional of the symbol's open orders of one side that may open a position."""
    total = ZERO
    for order in ledger.open_orders.values():
        counts = order.symbol == symbol and order.side == side and not order.reduce_only
        if counts and leg in ("", order.position_side):
            total += order.remaining * order.price
    return total


def worst_notional(
    accounts: Accounts, ledger: AccountLedger, symbol: str, bids: Decimal = ZERO, asks: Decimal = ZERO
) -> Decimal:
    """Return the largest notional that position and open orders can become, with more bids and asks added."""
    mark = accounts.mark(symbol)
    if ledger.dual_side:
        long = ledger.amount(symbol, "LONG") * mark + order_notional(ledger, symbol, "BUY", "LONG") + bids
        short = -ledger.amount(symbol, "SHORT") * mark + order_notional(ledger, symbol, "SELL", "SHORT") + asks
        return long + short
    now = ledger.amount(symbol, "BOTH") * mark
    buys = order_notional(ledger, symbol, "BUY") + bids
    sells = order_notional(ledger, symbol, "SELL") + asks
    return max(abs(now), abs(now + buys), abs(now - sells))


def open_order_margin(accounts: Accounts, ledger: AccountLedger, symbol: str) -> Decimal:
    """Return the initial margin that the symbol's open orders bind beyond the position's own."""
    if not ledger.open_orders:
        return _NO_MONEY
    own = sum((abs(held.amount) for held in ledger.live(symbol)), ZERO) * accounts.mark(symbol)
    return money8((worst_notional(accounts, ledger, symbol) - own) / ledger.leverage_of(symbol))


def symbols_in_use(ledger: AccountLedger) -> set[str]:
    """Return the symbols with a position or an open regular order."""
    held = {position.symbol for position in ledger.live()}
    return held | {order.symbol for order in ledger.open_orders.values()}


def cross_positions(ledger: AccountLedger) -> Iterable[VenuePosition]:
    """Return the live positions whose margin is the common wallet."""
    return [held for held in ledger.live() if held.symbol not in ledger.isolated]


def cross_health(accounts: Accounts, ledger: AccountLedger) -> MarginHealth:
    """Return margin balance and maintenance of all cross positions together."""
    held = cross_positions(ledger)
    profit = sum((unrealized(accounts, position) for position in held), ZERO)
    return MarginHealth(
        ledger.cross_wallet + profit, sum((maint_margin(accounts, position) for position in held), ZERO)
    )


def isolated_health(accounts: Accounts, held: VenuePosition) -> MarginHealth:
    """Return margin balance and maintenance of one isolated position."""
    return MarginHealth(held.isolated_wallet + unrealized(accounts, held), maint_margin(accounts, held))


def available(accounts: Accounts, ledger: AccountLedger) -> Decimal:
    """Return what new orders may bind, never less than 0."""
    return max(ZERO, free_margin(accounts, ledger))


def free_margin(accounts: Accounts, ledger: AccountLedger) -> Decimal:
    """Return cross wallet and profit less all margins bound in cross and by orders; below 0 in need."""
    free = ledger.cross_wallet
    if ledger.open_orders:
        free -= sum((open_order_margin(accounts, ledger, symbol) for symbol in symbols_in_use(ledger)), ZERO)
    for held in cross_positions(ledger):
        free += unrealized(accounts, held) - initial_margin(accounts, ledger, held)
    return free


def config(accounts: Accounts, ledger: AccountLedger, symbol: str) -> SymbolConfig:
    """Return leverage, margin type and the largest notional of one symbol."""
    leverage = ledger.leverage_of(symbol)
    kind = "ISOLATED" if symbol in ledger.isolated else "CROSSED"
    return SymbolConfig(symbol, kind, leverage, accounts.contracts[symbol].max_notional(leverage))


def liquidation_price(accounts: Accounts, ledger: AccountLedger, held: VenuePosition) -> Decimal:
    """Return the mark price at which the position would be liquidated, others unchanged; 0 when there is none.

    The wallet is the isolated one or, in cross, what the other symbols leave; both legs of a hedged cross symbol
    move together.
    """
    if not held.amount:
        return ZERO
    if held.symbol in ledger.isolated:
        legs, wallet = [held], held.isolated_wallet
    else:
        legs, wallet = list(ledger.live(held.symbol)), ledger.cross_wallet
        for other in cross_positions(ledger):
            if other.symbol != held.symbol:
                wallet += unrealized(accounts, other) - maint_margin(accounts, other)
    mark, contract = accounts.mark(held.symbol), accounts.contracts[held.symbol]
    top, bottom = wallet, ZERO
    for leg in legs:
        bracket = contract.bracket_of(abs(leg.amount) * mark)
        top += bracket.cum - leg.amount * leg.entry
        bottom += abs(leg.amount) * bracket.maint_share - leg.amount
    return max(ZERO, money8(top / bottom)) if bottom else ZERO


def break_even(held: VenuePosition) -> Decimal:
    """Return the entry price moved by the fees paid for what is still open."""
    return money8(held.entry + held.fees / held.amount) if held.amount else ZERO


def position_view(accounts: Accounts, ledger: AccountLedger, symbol: str, leg: str) -> PositionView:
    """Return one row with every figure; a flat leg gives a row of zeros."""
    held = ledger.positions.get((symbol, leg), VenuePosition(symbol, leg))
    settings = config(accounts, ledger, symbol)
    mark, profit = accounts.mark(symbol), unrealized(accounts, held)
    isolated = settings.margin_type == "ISOLATED"
    own, orders = initial_margin(accounts, ledger, held), _leg_order_margin(accounts, ledger, symbol, leg)
    return PositionView(
        symbol=symbol,
        position_side=leg,
        amount=held.amount,
        entry_price=money8(held.entry),
        break_even_price=break_even(held),
        mark_price=mark,
        unrealized=profit,
        liquidation_price=liquidation_price(accounts, ledger, held),
        leverage=settings.leverage,
        max_notional=settings.max_notional,
        margin_type=settings.margin_type,
        isolated_margin=held.isolated_wallet + profit if isolated and held.amount else ZERO,
        isolated_wallet=held.isolated_wallet,
        notional=money8(held.amount * mark),
        initial_margin=own + orders,
        maint_margin=maint_margin(accounts, held),
        position_initial_margin=own,
        open_order_initial_margin=orders,
        bid_notional=money8(order_notional(ledger, symbol, "BUY", leg)),
        ask_notional=money8(order_notional(ledger, symbol, "SELL", leg)),
        adl=_adl(held, profit),
        updated_ms=held.updated_ms,
    )


def _leg_order_margin(accounts: Accounts, ledger: AccountLedger, symbol: str, leg: str) -> Decimal:
    if leg == "BOTH":
        return ZERO if ledger.dual_side else open_order_margin(accounts, ledger, symbol)
    side = "BUY" if leg == "LONG" else "SELL"
    return money8(order_notional(ledger, symbol, side, leg) / ledger.leverage_of(symbol))


def _adl(held: VenuePosition, profit: Decimal) -> int:
    """Return the position's rank in the queue of automatic deleveraging: losing ones last."""
    return 0 if not held.amount else 2 if profit > 0 else 1


def usdt_view(accounts: Accounts, ledger: AccountLedger) -> BalanceView:
    """Return the USDT row, which is the account's total as well."""
    live = list(ledger.live())
    profit = sum((unrealized(accounts, held) for held in live), ZERO)
    cross_profit = sum((unrealized(accounts, held) for held in cross_positions(ledger)), ZERO)
    own = sum((initial_margin(accounts, ledger, held) for held in live), ZERO)
    orders = sum((open_order_margin(accounts, ledger, symbol) for symbol in symbols_in_use(ledger)), ZERO)
    free = available(accounts, ledger)
    return BalanceView(
        asset="USDT",
        wallet_balance=ledger.wallet["USDT"],
        unrealized=profit,
        margin_balance=ledger.wallet["USDT"] + profit,
        maint_margin=sum((maint_margin(accounts, held) for held in live), ZERO),
        initial_margin=own + orders,
        position_initial_margin=own,
        open_order_initial_margin=orders,
        cross_wallet=ledger.cross_wallet,
        cross_unrealized=cross_profit,
        available=free,
        max_withdraw=max(ZERO, min(free, free - cross_profit)),
        updated_ms=ledger.updated_ms,
    )


def plain_view(ledger: AccountLedger, asset: str) -> BalanceView:
    """Return the row of an asset that serves as no margin."""
    held = ledger.wallet[asset]
    return BalanceView(asset, held, ZERO, held, ZERO, ZERO, ZERO, ZERO, held, ZERO, held, held, ledger.updated_ms)
