"""REST endpoints of the Algo service for conditional orders."""

from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.formats import Json, algo_cancelled, algo_reply, algo_row, open_algo_row
from src.paper_exchange.model import AlgoRequest, VenueError
from src.paper_exchange.rest_call import Call, Endpoint, Security, per_symbol
from src.paper_exchange.rest_orders import ALL_CANCELLED, WEEK_MS, wants_result


def _algo_request(call: Call) -> AlgoRequest:
    if call.text("algoType") != "CONDITIONAL":
        raise VenueError(-1130, "Data sent for parameter 'algoType' is not valid.")
    return AlgoRequest(
        symbol=call.text("symbol"),
        side=call.text("side"),
        type=call.text("type"),
        quantity=call.decimal("quantity"),
        trigger_price=call.decimal("triggerPrice"),
        price=call.decimal("price"),
        time_in_force=call.text("timeInForce", "GTC"),
        position_side=call.text("positionSide", "BOTH"),
        reduce_only=call.flag("reduceOnly"),
        close_position=bool(call.flag("closePosition")),
        working_type=call.text("workingType", "CONTRACT_PRICE"),
        price_protect=bool(call.flag("priceProtect")),
        activate_price=call.decimal("activatePrice"),
        callback_rate=call.decimal("callbackRate"),
        client_id=call.text("clientAlgoId", ""),
        price_match=call.text("priceMatch", "NONE"),
        stp_mode=call.text("selfTradePreventionMode", "EXPIRE_MAKER"),
        good_till_ms=call.whole("goodTillDate", 0),
    )


def place_algo(exchange: PaperExchange, call: Call) -> Json:
    """POST /fapi/v1/algoOrder."""
    wants_result(call)
    order = exchange.venue.place_algo(call.account, _algo_request(call))
    return algo_reply(order, exchange.instruments[order.symbol])


def _identity(call: Call) -> tuple[int, str]:
    algo_id, client_id = call.whole("algoId", 0), call.text("clientAlgoId", "")
    if not algo_id and not client_id:
        raise VenueError(-1102, "Either 'algoId' or 'clientAlgoId' must be sent.")
    return algo_id, client_id


def get_algo(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v1/algoOrder."""
    order = exchange.venue.algo_order(call.account, *_identity(call))
    return algo_row(order, exchange.instruments[order.symbol])


def cancel_algo(exchange: PaperExchange, call: Call) -> Json:
    """DELETE /fapi/v1/algoOrder; no symbol is needed."""
    return algo_cancelled(exchange.venue.cancel_algo(call.account, *_identity(call)))


def open_algos(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/openAlgoOrders."""
    orders = exchange.venue.open_algo_orders(
        call.account, call.symbol_or_all(exchange.contracts), call.whole("algoId", 0)
    )
    return [open_algo_row(order, exchange.instruments[order.symbol]) for order in orders]


def all_algos(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/allAlgoOrders, newest first."""
    contract = call.contract(exchange.contracts)
    start_ms, end_ms = call.window(WEEK_MS)
    orders = exchange.venue.all_algo_orders(
        call.account, contract.symbol, call.whole("algoId", 0), start_ms, end_ms, call.limit(500, 1000)
    )
    return [algo_row(order, contract.rules) for order in orders]


def cancel_all_algos(exchange: PaperExchange, call: Call) -> Json:
    """DELETE /fapi/v1/algoOpenOrders."""
    exchange.venue.cancel_all_algo(call.account, call.contract(exchange.contracts).symbol)
    return ALL_CANCELLED


_USER, _TRADE = Security.USER, Security.TRADE
ENDPOINTS = (
    Endpoint("POST", "/fapi/v1/algoOrder", _TRADE, 0, place_algo, (1, 1)),
    Endpoint("GET", "/fapi/v1/algoOrder", _USER, 1, get_algo),
    Endpoint("DELETE", "/fapi/v1/algoOrder", _TRADE, 1, cancel_algo),
    Endpoint("GET", "/fapi/v1/openAlgoOrders", _USER, per_symbol(1, 40), open_algos),
    Endpoint("GET", "/fapi/v1/allAlgoOrders", _USER, 5, all_algos),
    Endpoint("DELETE", "/fapi/v1/algoOpenOrders", _TRADE, 1, cancel_all_algos),
)
