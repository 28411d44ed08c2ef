"""REST endpoints of regular orders and their trades."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.formats import (
    Json,
    amended_reply,
    amendment_row,
    history_row,
    income_row,
    order_reply,
    order_row,
    trade_row,
)
from src.paper_exchange.model import CONDITIONAL_TYPES, ZERO, OrderRequest, Refusal, VenueError, VenueOrder
from src.paper_exchange.rest_call import DAY_MS, Call, Endpoint, Security, per_symbol
from src.paper_exchange.signing import mandatory

ALL_CANCELLED = {"code": 200, "msg": "The operation of cancel all open order is done."}
MAX_PLACED, MAX_CANCELLED = 5, 10
_LIST_NAMES = {"orderidlist": "orderIdList", "origclientorderidlist": "origClientOrderIdList"}
WEEK_MS = 7 * DAY_MS


def _order_request(call: Call, stp_default: str = "EXPIRE_MAKER") -> OrderRequest:
    return OrderRequest(
        symbol=call.text("symbol"),
        side=call.text("side"),
        type=call.text("type"),
        quantity=call.decimal("quantity"),
        price=call.decimal("price"),
        time_in_force=call.text("timeInForce", ""),
        position_side=call.text("positionSide", "BOTH"),
        reduce_only=call.flag("reduceOnly"),
        client_id=call.text("newClientOrderId", ""),
        price_match=call.text("priceMatch", "NONE"),
        stp_mode=call.text("selfTradePreventionMode", stp_default),
        good_till_ms=call.whole("goodTillDate", 0),
    )


def _check_family(call: Call) -> None:
    """Conditional orders live in the Algo service; a closePosition without one is none of ours either."""
    if call.text("type") in CONDITIONAL_TYPES:
        raise VenueError(
            -4120,
            "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
        )


def wants_result(call: Call) -> bool:
    """Return whether the reply contains the order's outcome; -1136 for an unknown value."""
    kind = call.text("newOrderRespType", "ACK")
    if kind not in ("ACK", "RESULT"):
        raise VenueError(-1136, "Invalid newOrderRespType")
    return kind == "RESULT"


def _as_accepted(order: VenueOrder) -> VenueOrder:
    return replace(order, status="NEW", executed=ZERO, cum_quote=ZERO, updated_ms=order.created_ms)


def _reply(exchange: PaperExchange, order: VenueOrder | Refusal, result: bool = True) -> Json:
    if isinstance(order, Refusal):
        return {"code": order.code, "msg": order.msg}
    return order_reply(order if result else _as_accepted(order), exchange.instruments[order.symbol])


def place_order(exchange: PaperExchange, call: Call) -> Json:
    """POST /fapi/v1/order."""
    result = wants_result(call)
    request = _order_request(call)
    _check_family(call)
    return _reply(exchange, exchange.venue.place_order(call.account, request), result)


def test_order(exchange: PaperExchange, call: Call) -> Json:
    """POST /fapi/v1/order/test: checks and leaves no trace."""
    wants_result(call)
    request = _order_request(call)
    _check_family(call)
    return _reply(exchange, exchange.venue.test_order(call.account, request), False)


def amend_order(exchange: PaperExchange, call: Call) -> Json:
    """PUT /fapi/v1/order and ``order.modify``."""
    quantity, price = call.decimal("quantity"), call.decimal("price")
    symbol, side = call.text("symbol"), call.text("side")
    if quantity is None or price is None:
        raise mandatory("quantity" if quantity is None else "price")
    order_id, client_id = _identity(call)
    order = exchange.venue.amend_order(call.account, symbol, side, quantity, price, order_id, client_id)
    return amended_reply(order, exchange.instruments[order.symbol])


def _identity(call: Call) -> tuple[int, str]:
    order_id, client_id = call.whole("orderId", 0), call.text("origClientOrderId", "")
    if not order_id and not client_id:
        raise VenueError(-1102, "Either 'origClientOrderId' or 'orderId' must be sent.")
    return order_id, client_id


def _listed(call: Call, name: str, most: int) -> list[Any]:
    try:
        rows = orjson.loads(call.text(name))
    except orjson.JSONDecodeError:
        raise mandatory(name) from None
    if not isinstance(rows, list) or not 1 <= len(rows) <= most:
        raise VenueError(-1130, f"Data sent for parameter '{name}' is not valid.")
    return rows


def _element(row: object, call: Call) -> Call:
    if not isinstance(row, dict):
        raise mandatory("batchOrders")
    texts = {
        str(name): str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in row.items()
        if value is not None
    }
    return Call(texts, call.account, call.now_ms)


def _placed_element(exchange: PaperExchange, call: Call) -> Json:
    try:
        result = wants_result(call)
        request = _order_request(call, stp_default="NONE")
        _check_family(call)
        return _reply(exchange, exchange.venue.place_order(call.account, request), result)
    except VenueError as refusal:
        return {"code": refusal.code, "msg": refusal.msg}


def place_batch(exchange: PaperExchange, call: Call) -> list[Json]:
    """POST /fapi/v1/batchOrders: an order or a refusal for each element."""
    elements = [_element(row, call) for row in _listed(call, "batchOrders", MAX_PLACED)]
    return [_placed_element(exchange, element) for element in elements]


def amend_batch(exchange: PaperExchange, call: Call) -> list[Json]:
    """PUT /fapi/v1/batchOrders: an order or a refusal for each element."""
    elements = [_element(row, call) for row in _listed(call, "batchOrders", MAX_PLACED)]
    return [_amended_element(exchange, element) for element in elements]


def _amended_element(exchange: PaperExchange, call: Call) -> Json:
    try:
        return amend_order(exchange, call)
    except VenueError as refusal:
        return {"code": refusal.code, "msg": refusal.msg}


def cancel_batch(exchange: PaperExchange, call: Call) -> list[Json]:
    """DELETE /fapi/v1/batchOrders: an order or a refusal for each element."""
    symbol = call.contract(exchange.contracts).symbol
    # python-binance spells the two lists in small letters, and the real exchange takes them.
    call = Call(
        {_LIST_NAMES.get(name, name): value for name, value in call.parameters.items()}, call.account, call.now_ms
    )
    order_ids: Sequence[int] = ()
    client_ids: Sequence[str] = ()
    if call.has("orderIdList"):
        try:
            order_ids = [int(row) for row in _listed(call, "orderIdList", MAX_CANCELLED)]
        except (TypeError, ValueError):
            raise mandatory("orderIdList") from None
    else:
        client_ids = [str(row) for row in _listed(call, "origClientOrderIdList", MAX_CANCELLED)]
    orders = exchange.venue.cancel_batch(call.account, symbol, order_ids, client_ids)
    return [_reply(exchange, order) for order in orders]


def cancel_order(exchange: PaperExchange, call: Call) -> Json:
    """DELETE /fapi/v1/order."""
    symbol = call.contract(exchange.contracts).symbol
    return _reply(exchange, exchange.venue.cancel_order(call.account, symbol, *_identity(call)))


def cancel_all(exchange: PaperExchange, call: Call) -> Json:
    """DELETE /fapi/v1/allOpenOrders; conditional orders stay."""
    exchange.venue.cancel_all(call.account, call.contract(exchange.contracts).symbol)
    return ALL_CANCELLED


def countdown_cancel_all(exchange: PaperExchange, call: Call) -> Json:
    """POST /fapi/v1/countdownCancelAll."""
    symbol = call.contract(exchange.contracts).symbol
    countdown_ms = call.whole("countdownTime")
    exchange.venue.countdown_cancel_all(call.account, symbol, countdown_ms)
    return {"symbol": symbol, "countdownTime": str(countdown_ms)}


def get_order(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v1/order."""
    contract = call.contract(exchange.contracts)
    return order_row(exchange.venue.order(call.account, contract.symbol, *_identity(call)), contract.rules)


def get_open_order(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v1/openOrder."""
    contract = call.contract(exchange.contracts)
    return order_row(exchange.venue.open_order(call.account, contract.symbol, *_identity(call)), contract.rules)


def open_orders(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/openOrders."""
    orders = exchange.venue.open_orders(call.account, call.symbol_or_all(exchange.contracts))
    return [order_row(order, exchange.instruments[order.symbol]) for order in orders]


def all_orders(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/allOrders."""
    start_ms, end_ms = call.window(WEEK_MS)
    orders = exchange.venue.all_orders(
        call.account,
        call.symbol_or_all(exchange.contracts),
        call.whole("orderId", 0),
        start_ms,
        end_ms,
        call.limit(500, 1000),
    )
    return [history_row(order, exchange.instruments[order.symbol]) for order in orders]


def user_trades(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/userTrades."""
    contract = call.contract(exchange.contracts)
    start_ms, end_ms = call.window(WEEK_MS)
    trades = exchange.venue.trades(
        call.account,
        contract.symbol,
        call.whole("orderId", 0),
        call.instant("fromId"),
        start_ms,
        end_ms,
        call.limit(500, 1000),
    )
    return [trade_row(trade, contract.rules) for trade in trades]


def income(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/income."""
    start_ms, end_ms = call.window()
    rows = exchange.venue.income(
        call.account,
        call.symbol_or_all(exchange.contracts),
        call.text("incomeType", ""),
        start_ms,
        end_ms,
        call.limit(100, 1000),
    )
    return [income_row(row) for row in rows]


def amendments(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/orderAmendment: newest first, of one order or of all of a symbol."""
    contract = call.contract(exchange.contracts)
    order_id, client_id = call.whole("orderId", 0), call.text("origClientOrderId", "")
    start_ms, end_ms = call.window()
    rows = [
        row
        for row in reversed(exchange.venue.changes(call.account).amendments)
        if row.symbol == contract.symbol
        and order_id in (0, row.order_id)
        and client_id in ("", row.client_id)
        and (start_ms or 0) <= row.time_ms <= (end_ms or call.now_ms)
    ]
    return [amendment_row(row, contract.rules) for row in rows[: call.limit(50, 100)]]


def force_orders(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/forceOrders."""
    if call.text("autoCloseType", "LIQUIDATION") == "ADL":
        return []
    orders = exchange.venue.force_orders(call.account, call.symbol_or_all(exchange.contracts), call.limit(50, 100))
    return [order_row(order, exchange.instruments[order.symbol]) for order in orders]


_USER, _TRADE = Security.USER, Security.TRADE
ENDPOINTS = (
    Endpoint("POST", "/fapi/v1/order", _TRADE, 0, place_order, (1, 1)),
    Endpoint("POST", "/fapi/v1/order/test", _TRADE, 0, test_order),
    Endpoint("PUT", "/fapi/v1/order", _TRADE, 0, amend_order, (1, 1)),
    Endpoint("GET", "/fapi/v1/order", _USER, 1, get_order),
    Endpoint("DELETE", "/fapi/v1/order", _TRADE, 1, cancel_order),
    Endpoint("POST", "/fapi/v1/batchOrders", _TRADE, 5, place_batch, (5, 1)),
    Endpoint("PUT", "/fapi/v1/batchOrders", _TRADE, 5, amend_batch, (5, 1)),
    Endpoint("DELETE", "/fapi/v1/batchOrders", _TRADE, 1, cancel_batch),
    Endpoint("DELETE", "/fapi/v1/allOpenOrders", _TRADE, 1, cancel_all),
    Endpoint("POST", "/fapi/v1/countdownCancelAll", _TRADE, 10, countdown_cancel_all),
    Endpoint("GET", "/fapi/v1/openOrder", _USER, 1, get_open_order),
    Endpoint("GET", "/fapi/v1/openOrders", _USER, per_symbol(1, 40), open_orders),
    Endpoint("GET", "/fapi/v1/allOrders", _USER, 5, all_orders),
    Endpoint("GET", "/fapi/v1/orderAmendment", _USER, 1, amendments),
    Endpoint("GET", "/fapi/v1/userTrades", _USER, 5, user_trades),
    Endpoint("GET", "/fapi/v1/income", _USER, 30, income),
    Endpoint("GET", "/fapi/v1/forceOrders", _USER, per_symbol(20, 50), force_orders),
)
