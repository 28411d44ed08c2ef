"""Endpoints that Binance does not have: which market this is, its Fear & Greed index and its BTC dominance.

A synthetic or replayed market has its own Fear & Greed index; the real one would speak of another world.
"""

from src.domain.clock import DAY_MS, utc_text
from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.formats import Json
from src.paper_exchange.model import VenueError
from src.paper_exchange.rest_call import Call, Endpoint, Security

SUPPLY = {  # coins in circulation, as of 2026, rounded
    "BTCUSDT": 19_950_000.0,
    "ETHUSDT": 120_700_000.0,
    "SOLUSDT": 555_000_000.0,
    "BNBUSDT": 139_000_000.0,
    "XRPUSDT": 59_500_000_000.0,
    "DOGEUSDT": 151_000_000_000.0,
}
OTHER_COINS_SHARE = 0.8
_CLASSES = ((26, "Extreme Fear"), (47, "Fear"), (55, "Neutral"), (76, "Greed"))


def classification(value: int) -> str:
    """Return the index's word for ``value`` (0..100)."""
    return next((word for below, word in _CLASSES if value < below), "Extreme Greed")


def fear_greed(exchange: PaperExchange, call: Call) -> Json:
    """GET /paper/v1/fear_greed: the index dated by today's 00:00 UTC; 404 where the market has none."""
    day_ms = exchange.venue.now_ms // DAY_MS * DAY_MS
    value = exchange.market.fear_greed(day_ms)
    if value is None:
        raise VenueError(-1000, "This market has no Fear & Greed index.", 404)
    return {"value": value, "as_of_ms": day_ms, "value_classification": classification(value)}


def btc_dominance(exchange: PaperExchange, call: Call) -> Json:
    """GET /paper/v1/btc_dominance: BTC's share of the value of all coins, in percent; 404 where that is not known.

    A synthetic market has six coins; their value is price times the coins there are, and all others together are
    worth ``OTHER_COINS_SHARE`` of the five beside BTC. A recorded market's other coins are not known.
    """
    prices = {symbol: float(exchange.venue.last_price(symbol)) for symbol in SUPPLY if symbol in exchange.contracts}
    if exchange.market.world != "synthetic" or len(prices) < len(SUPPLY):
        raise VenueError(-1000, "This market has no BTC dominance.", 404)
    values = {symbol: price * SUPPLY[symbol] for symbol, price in prices.items()}
    btc = values.pop("BTCUSDT")
    share = btc / (btc + sum(values.values()) * (1.0 + OTHER_COINS_SHARE))
    return {"value": round(100.0 * share, 4), "as_of_ms": exchange.venue.now_ms}


def status(exchange: PaperExchange, call: Call) -> Json:
    """GET /paper/v1/status: the world, its market time and its speed."""
    return {
        "world": exchange.market.world,
        "market": exchange.config.market.partition(":")[0],
        "now_ms": exchange.venue.now_ms,
        "now": utc_text(exchange.venue.now_ms),
        "speed": exchange.market_clock.speed,
        "finished": exchange.market_clock.finished,
    }


ENDPOINTS = (
    Endpoint("GET", "/paper/v1/fear_greed", Security.NONE, 0, fear_greed),
    Endpoint("GET", "/paper/v1/btc_dominance", Security.NONE, 0, btc_dominance),
    Endpoint("GET", "/paper/v1/status", Security.NONE, 0, status),
)
