"""Validates requests in the real exchange's order, with its error codes and messages."""

import re
from collections.abc import Iterable
from decimal import Decimal

from src.domain.market import Instrument
from src.paper_exchange import margin
from src.paper_exchange.accounts import AccountLedger, Accounts
from src.paper_exchange.contracts import Contract
from src.paper_exchange.model import CONDITIONAL_TYPES, ZERO, AlgoRequest, OrderRequest, VenueError

TIMES_IN_FORCE = frozenset(("GTC", "IOC", "FOK", "GTX", "GTD"))
ALGO_TIMES_IN_FORCE = frozenset(("GTC", "IOC", "FOK", "GTX"))
PRICE_MATCHES = frozenset(f"{word}{level}" for word in ("OPPONENT", "QUEUE") for level in ("", "_5", "_10", "_20")) | {
    "NONE"
}
STP_MODES = frozenset(("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"))
MAX_ALGO_ORDERS = 200
LEAST_GTD_MS = 600_000
MARKET_BUY_MARGIN = Decimal("1.0005")
_CLIENT_ID = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")


def missing(name: str) -> VenueError:
    """Return the refusal of a request without a mandatory parameter."""
    return VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def unwanted(name: str) -> VenueError:
    """Return the refusal of a parameter that has no place in the request."""
    return VenueError(-1106, f"Parameter '{name}' sent when not required.")


def check_order_form(accounts: Accounts, request: OrderRequest) -> Contract:
    """Check an order as far as possible without the account (steps 3 to 8), and return its contract."""
    _check_parameters(request)
    _check_words(request, TIMES_IN_FORCE, {"LIMIT", "MARKET"} | CONDITIONAL_TYPES)
    if request.time_in_force == "GTD" and request.good_till_ms <= accounts.now_ms + LEAST_GTD_MS:
        raise VenueError(
            -5040,
            "The goodTillDate timestamp must be greater than the current time plus 600 seconds "
            "and smaller than 253402300799000",
        )
    contract = accounts.contract(request.symbol)
    if request.type in CONDITIONAL_TYPES:
        raise VenueError(
            -4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
        )
    check_precision(contract.rules, [request.price], [request.quantity])
    if request.price is not None:
        check_price(contract.rules, request.price)
    check_quantity(contract.rules, request.quantity or ZERO, request.type == "MARKET")
    return contract


def _check_parameters(request: OrderRequest) -> None:
    if request.type == "LIMIT":
        if not request.time_in_force:
            raise missing("timeInForce")
        if request.price is None and request.price_match == "NONE":
            raise missing("price")
        if request.price is not None and request.price_match != "NONE":
            raise unwanted("price")
        if request.time_in_force == "GTD" and not request.good_till_ms:
            raise missing("goodTillDate")
    if request.type == "MARKET" and request.price is not None:
        raise unwanted("price")
    if request.type == "MARKET" and request.time_in_force:
        raise unwanted("timeInForce")
    if request.quantity is None and request.type in ("LIMIT", "MARKET"):
        raise missing("quantity")


def _check_words(request: OrderRequest | AlgoRequest, times: Iterable[str], types: Iterable[str]) -> None:
    """Check the closed lists of words and the client id (step 4)."""
    if request.side not in ("BUY", "SELL"):
        raise VenueError(-1117, "Invalid side.")
    if request.type not in types:
        raise VenueError(-1116, "Invalid orderType.")
    if request.time_in_force and request.time_in_force not in times:
        raise VenueError(-1115, "Invalid timeInForce.")
    if request.position_side not in ("BOTH", "LONG", "SHORT"):
        raise VenueError(-4060, "Invalid position side.")
    if request.price_match not in PRICE_MATCHES:
        raise VenueError(-5037, "Invalid price match")
    if request.price_match != "NONE" and request.type not in ("LIMIT", "STOP", "TAKE_PROFIT"):
        raise VenueError(-5038, "Price match only supported for order type: LIMIT, STOP AND TAKE_PROFIT")
    if request.stp_mode not in STP_MODES:
        raise VenueError(-5039, "Invalid self trade prevention mode")
    if len(request.client_id) > 36:
        raise VenueError(-4015, "Client order id length should not be more than 36 chars")
    if request.client_id and not _CLIENT_ID.match(request.client_id):
        raise VenueError(-4015, "Client order id is not valid.")


def check_precision(rules: Instrument, prices: Iterable[Decimal | None], quantities: Iterable[Decimal | None]) -> None:
    """Refuse numbers with more decimals than the contract is written with (-1111)."""
    over = any(_decimals(price) > rules.price_precision for price in prices)
    if over or any(_decimals(quantity) > rules.quantity_precision for quantity in quantities):
        raise VenueError(-1111, "Precision is over the maximum defined for this asset.")


def _decimals(value: Decimal | None) -> int:
    if value is None:
        return 0
    exponent = value.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def check_price(rules: Instrument, price: Decimal) -> None:
    """Hold a price against PRICE_FILTER."""
    if price <= 0:
        raise VenueError(-4001, "Price less than 0.")
    if price > rules.max_price:
        raise VenueError(-4002, "Price greater than max price.")
    if price < rules.min_price:
        raise VenueError(-4013, "Price less than min price.")
    if price % rules.tick_size:
        raise VenueError(-4014, "Price not increased by tick size.")


def check_quantity(rules: Instrument, quantity: Decimal, market: bool) -> None:
    """Hold a quantity against LOT_SIZE or MARKET_LOT_SIZE."""
    if quantity <= 0:
        raise VenueError(-4003, "Quantity less than zero.")
    if quantity < rules.min_quantity:
        raise VenueError(-4004, "Quantity less than min quantity.")
    if quantity > (rules.max_market_quantity if market else rules.max_quantity):
        raise VenueError(-4005, "Quantity greater than max quantity.")
    if quantity % rules.step_size:
        raise VenueError(-4023, "Qty not increased by step size.")


def check_leg(ledger: AccountLedger, position_side: str, reduce_only: bool | None) -> None:
    """Hold the position side against the account's mode (-4061), and refuse reduceOnly in hedge mode (-1106)."""
    if ledger.dual_side == (position_side == "BOTH"):
        raise VenueError(-4061, "Order's position side does not match user's setting.")
    if ledger.dual_side and reduce_only is not None:
        raise unwanted("reduceonly")


def closes_only(ledger: AccountLedger, side: str, leg: str, reduce_only: bool | None) -> bool:
    """Return whether an order can only make a position smaller: by its flag, or by its side of a hedge leg."""
    if ledger.dual_side:
        return (side, leg) in (("SELL", "LONG"), ("BUY", "SHORT"))
    return bool(reduce_only)


def reducible(ledger: AccountLedger, symbol: str, side: str, leg: str) -> Decimal:
    """Return how much an order of this side could close."""
    held = ledger.amount(symbol, leg)
    return abs(held) if held * (1 if side == "SELL" else -1) > 0 else ZERO


def check_notional(rules: Instrument, notional: Decimal) -> None:
    """Refuse what is below the least notional (-4164)."""
    if notional < rules.min_notional:
        raise VenueError(
            -4164, f"Order's notional must be no smaller than {rules.min_notional} (unless you choose reduce only)."
        )


def check_percent_price(rules: Instrument, side: str, price: Decimal, mark: Decimal) -> None:
    """Refuse a limit price too far on the dear side of the mark (-4016, -4024)."""
    if side == "BUY" and price > mark * rules.multiplier_up:
        raise VenueError(-4016, "Price is higher than mark price multiplier cap.")
    if side == "SELL" and price < mark * rules.multiplier_down:
        raise VenueError(-4024, "Price is lower than mark price multiplier floor.")


def check_position_limit(
    accounts: Accounts, ledger: AccountLedger, request: OrderRequest, price: Decimal, quantity: Decimal
) -> None:
    """Refuse what the leverage bracket (-2027) or the free margin (-2019) does not allow.

    ``price`` is what the order may cost at worst: its limit or, for MARKET, a little beyond the best price.
    """
    symbol, notional = request.symbol, price * quantity
    bids, asks = (notional, ZERO) if request.side == "BUY" else (ZERO, notional)
    before = margin.worst_notional(accounts, ledger, symbol)
    after = margin.worst_notional(accounts, ledger, symbol, bids, asks)
    leverage = ledger.leverage_of(symbol)
    if after > before and after > accounts.contracts[symbol].max_notional(leverage):
        raise VenueError(-2027, "Exceeded the maximum allowable position at current leverage.")
    opening = max(ZERO, quantity - reducible(ledger, symbol, request.side, request.position_side))
    away = price - accounts.mark(symbol)
    loss = opening * max(ZERO, away if request.side == "BUY" else -away)
    if (after - before) / leverage + loss > margin.available(accounts, ledger) and opening:
        raise VenueError(-2019, "Margin is insufficient.")


def assumed_price(accounts: Accounts, symbol: str, side: str) -> Decimal:
    """Return the price at which the margin of a MARKET order is reckoned."""
    best = accounts.quotes.best_price(symbol, side, accounts.now_ms)
    return best * MARKET_BUY_MARGIN if side == "BUY" else max(best, accounts.mark(symbol))


def matched_price(accounts: Accounts, rules: Instrument, side: str, word: str) -> Decimal:
    """Return the price of a ``priceMatch`` word: the n-th level of the opposite side or of the own one."""
    kind, _, number = word.partition("_")
    opposite = side if kind == "OPPONENT" else ("SELL" if side == "BUY" else "BUY")
    levels = accounts.quotes.levels(rules.symbol, opposite, accounts.now_ms)
    rows = [next(levels) for _ in range(int(number or 1))]
    return rows[-1][0]


def check_algo_form(accounts: Accounts, request: AlgoRequest) -> Contract:
    """Check a conditional order as far as possible without the account, and return its contract."""
    _check_algo_parameters(request)
    _check_words(request, ALGO_TIMES_IN_FORCE, CONDITIONAL_TYPES)
    if request.working_type not in ("MARK_PRICE", "CONTRACT_PRICE"):
        raise VenueError(-4078, "Invalid working type.")
    contract = accounts.contract(request.symbol)
    prices = [request.price, request.trigger_price, request.activate_price]
    check_precision(contract.rules, prices, [request.quantity])
    for price in prices:
        if price is not None:
            check_price(contract.rules, price)
    if request.quantity is not None:
        check_quantity(contract.rules, request.quantity, request.type not in ("STOP", "TAKE_PROFIT"))
    return contract


def _check_algo_parameters(request: AlgoRequest) -> None:
    if request.type == "TRAILING_STOP_MARKET":
        if request.callback_rate is None:
            raise missing("callbackRate")
        if not Decimal("0.1") <= request.callback_rate <= 20:
            raise VenueError(-2007, "Invalid callBack rate")
        if request.trigger_price is not None:
            raise unwanted("triggerPrice")
    elif request.type in CONDITIONAL_TYPES and request.trigger_price is None:
        raise missing("triggerPrice")
    if request.type in ("STOP", "TAKE_PROFIT") and request.price is None and request.price_match == "NONE":
        raise missing("price")
    if request.type in CONDITIONAL_TYPES - {"STOP", "TAKE_PROFIT"} and request.price is not None:
        raise unwanted("price")
    if not request.close_position:
        if request.quantity is None and request.type in CONDITIONAL_TYPES:
            raise missing("quantity")
        return
    if request.type not in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
        raise VenueError(-4136, f"Target strategy invalid for orderType {request.type},closePosition true")
    if request.quantity is not None:
        raise VenueError(-4137, "Quantity must be zero with closePosition equals true")
    if request.reduce_only is not None:
        raise unwanted("reduceonly")
