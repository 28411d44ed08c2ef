"""What clients ask of Binance's other markets at their start: all of them are empty here."""

from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.formats import Json
from src.paper_exchange.rest_call import Call, Endpoint, Security


def spot_exchange_info(exchange: PaperExchange, call: Call) -> Json:
    """GET /api/v3/exchangeInfo: no symbol is traded on the spot market here."""
    return {
        "timezone": "UTC",
        "serverTime": exchange.wire_ms(),
        "rateLimits": [],
        "exchangeFilters": [],
        "symbols": [],
    }


def coin_exchange_info(exchange: PaperExchange, call: Call) -> Json:
    """GET /dapi/v1/exchangeInfo: no coin-margined contract is traded here."""
    return {
        "timezone": "UTC",
        "serverTime": exchange.wire_ms(),
        "rateLimits": [],
        "exchangeFilters": [],
        "symbols": [],
    }


def no_pairs(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /sapi/v1/margin/allPairs and isolated/allPairs: there is no margin trading here."""
    return []


def no_brackets(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /dapi/v2/leverageBracket: no coin-margined contract, no bracket."""
    return []


def system_status(exchange: PaperExchange, call: Call) -> Json:
    """GET /sapi/v1/system/status: 0 is normal; a running exchange always returns 0."""
    return {"status": 0, "msg": "normal"}


_NONE, _KEY, _USER = Security.NONE, Security.KEY, Security.USER
ENDPOINTS = (
    Endpoint("GET", "/api/v3/exchangeInfo", _NONE, 20, spot_exchange_info),
    Endpoint("GET", "/dapi/v1/exchangeInfo", _NONE, 1, coin_exchange_info),
    Endpoint("GET", "/dapi/v2/leverageBracket", _USER, 1, no_brackets),
    Endpoint("GET", "/sapi/v1/margin/allPairs", _KEY, 1, no_pairs),
    Endpoint("GET", "/sapi/v1/margin/isolated/allPairs", _KEY, 10, no_pairs),
    Endpoint("GET", "/sapi/v1/system/status", _NONE, 1, system_status),
)
