"""The statistics under /futures/data that follow from this market's own candles.

Told: what takers bought and sold, the basis, and deliveries (none). Not told, and 404: open interest of the past and
the three ratios of long to short accounts, because this market has no other accounts of which they could be true.
"""

from collections.abc import Callable

from src.domain.clock import DAY_MS
from src.domain.market import Candle
from src.paper_exchange.charts import KlineRange
from src.paper_exchange.contracts import Contract
from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.formats import Json, decimals_of, fixed
from src.paper_exchange.formats_market import price_text
from src.paper_exchange.markets.klines import bar_end_ms
from src.paper_exchange.model import VenueError
from src.paper_exchange.rest_call import Call, Endpoint, Security

PERIODS = ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
DEFAULT_LIMIT, MAX_LIMIT = 30, 500
KEPT_MS = 30 * DAY_MS

Row = Callable[[Candle, int], Json]


def _span(exchange: PaperExchange, call: Call) -> tuple[str, KlineRange]:
    period = call.text("period")
    if period not in PERIODS:
        raise VenueError(-1130, "Data sent for parameter 'period' is not valid.")
    start_ms, end_ms = call.window()
    oldest_ms = exchange.venue.now_ms - KEPT_MS
    if start_ms is not None and start_ms < oldest_ms:
        raise VenueError(-1130, "Data sent for parameter 'startTime' is not valid.")
    return period, KlineRange(start_ms, end_ms, call.limit(DEFAULT_LIMIT, MAX_LIMIT))


def _closed(exchange: PaperExchange, contract: Contract, period: str, span: KlineRange) -> list[Candle]:
    """Return the closed bars of the span: statistics cover whole periods."""
    now = exchange.venue.now_ms
    wanted = KlineRange(span.start_ms, span.end_ms, span.limit + 1)
    bars = exchange.charts.bars(contract.symbol, period, wanted)
    closed = [bar for bar in bars if bar_end_ms(period, bar.open_ms) <= now and bar.open_ms >= now - KEPT_MS]
    return closed[: span.limit] if span.start_ms is not None else closed[-span.limit :]


def taker_volumes(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /futures/data/takerlongshortRatio: what takers bought and sold in each period."""
    contract = call.contract(exchange.contracts)
    period, span = _span(exchange, call)
    decimals = decimals_of(contract.rules.step_size)
    return [_taker_row(bar, decimals) for bar in _closed(exchange, contract, period, span)]


def _taker_row(bar: Candle, decimals: int) -> Json:
    sold = bar.volume - bar.taker_buy_volume
    return {
        "buySellRatio": fixed(bar.taker_buy_volume / sold if sold > 0 else 0.0, 4),
        "buyVol": fixed(bar.taker_buy_volume, decimals),
        "sellVol": fixed(sold, decimals),
        "timestamp": bar.open_ms,
    }


def basis(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /futures/data/basis: last price less index price at the end of each period."""
    contract = call.contract(exchange.contracts, "pair")
    if call.text("contractType") != "PERPETUAL":
        raise VenueError(-1130, "Data sent for parameter 'contractType' is not valid.")
    period, span = _span(exchange, call)
    rows = _closed(exchange, contract, period, span)
    return [_basis_row(exchange, contract, bar, bar_end_ms(period, bar.open_ms)) for bar in rows]


def _basis_row(exchange: PaperExchange, contract: Contract, bar: Candle, end_ms: int) -> Json:
    index = exchange.quotes.mark(contract.symbol, end_ms - 1)
    difference = bar.close - index
    return {
        "indexPrice": fixed(index, 8),
        "contractType": "PERPETUAL",
        "basisRate": fixed(difference / index, 4),
        "futuresPrice": price_text(bar.close, contract.rules),
        "annualizedBasisRate": "",
        "basis": fixed(difference, 8),
        "pair": contract.symbol,
        "timestamp": end_ms,
    }


def deliveries(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /futures/data/delivery-price: perpetual contracts are never delivered."""
    call.contract(exchange.contracts, "pair")
    return []


_NONE = Security.NONE
ENDPOINTS = (
    Endpoint("GET", "/futures/data/takerlongshortRatio", _NONE, 0, taker_volumes),
    Endpoint("GET", "/futures/data/basis", _NONE, 0, basis),
    Endpoint("GET", "/futures/data/delivery-price", _NONE, 0, deliveries),
)
