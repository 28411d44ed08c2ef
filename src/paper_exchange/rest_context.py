"""Two endpoints that Binance does not have: which market this is, and its Fear & Greed index.

A synthetic or replayed market has its own Fear & Greed index; the real one would speak of another world.
"""

from src.domain.clock import DAY_MS, utc_text
from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.formats import Json
from src.paper_exchange.model import VenueError
from src.paper_exchange.rest_call import Call, Endpoint, Security

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


def status(exchange: PaperExchange, call: Call) -> Json:
    """GET /paper/v1/status: the world, its market time and its speed."""
    return {
        "world": exchange.market.world,
        "market": exchange.config.market.partition(":")[0],
        "now_ms": exchange.venue.now_ms,
        "now": utc_text(exchange.venue.now_ms),
        "speed": exchange.pace.speed,
        "finished": exchange.pace.finished,
    }


ENDPOINTS = (
    Endpoint("GET", "/paper/v1/fear_greed", Security.NONE, 0, fear_greed),
    Endpoint("GET", "/paper/v1/status", Security.NONE, 0, status),
)
