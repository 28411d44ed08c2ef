"""REST endpoints of candles."""

from collections.abc import Mapping
from typing import Any

from src.domain.market import Candle
from src.paper_exchange.charts import KlineRange
from src.paper_exchange.contracts import Contract
from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.formats_market import kline_row, mark_kline_row
from src.paper_exchange.markets.klines import FIXED_MS, INTERVALS, bar_end_ms
from src.paper_exchange.model import VenueError
from src.paper_exchange.rest_call import Call, Endpoint, Security

DEFAULT_LIMIT, MAX_LIMIT = 500, 1500
# A span beyond this is read beside the event loop: a synthetic market must first make its days.
LONG_SPAN_MS = 10 * 86_400_000

Rows = list[list[Any]]


def _asked(exchange: PaperExchange, call: Call, name: str) -> tuple[Contract, str, KlineRange]:
    contract = call.contract(exchange.contracts, name)
    interval = call.text("interval")
    if interval not in INTERVALS:
        raise VenueError(-1120, "Invalid interval.")
    limit = call.limit(DEFAULT_LIMIT, MAX_LIMIT)
    return contract, interval, KlineRange(*call.window(), limit)


def _rows(bars: list[Candle], interval: str, contract: Contract) -> Rows:
    return [kline_row(bar, bar_end_ms(interval, bar.open_ms), contract.rules) for bar in bars]


def _mark_rows(bars: list[Candle], interval: str) -> Rows:
    return [mark_kline_row(bar, bar_end_ms(interval, bar.open_ms)) for bar in bars]


def klines(exchange: PaperExchange, call: Call) -> Rows:
    """GET /fapi/v1/klines."""
    contract, interval, span = _asked(exchange, call, "symbol")
    return _rows(exchange.charts.bars(contract.symbol, interval, span), interval, contract)


def continuous_klines(exchange: PaperExchange, call: Call) -> Rows:
    """GET /fapi/v1/continuousKlines: of the perpetual contract, the only kind listed here."""
    contract, interval, span = _asked(exchange, call, "pair")
    if call.text("contractType") != "PERPETUAL":
        raise VenueError(-1130, "Data sent for parameter 'contractType' is not valid.")
    return _rows(exchange.charts.bars(contract.symbol, interval, span), interval, contract)


def mark_klines(exchange: PaperExchange, call: Call) -> Rows:
    """GET /fapi/v1/markPriceKlines."""
    contract, interval, span = _asked(exchange, call, "symbol")
    return _mark_rows(exchange.charts.mark_bars(contract.symbol, interval, span), interval)


def index_klines(exchange: PaperExchange, call: Call) -> Rows:
    """GET /fapi/v1/indexPriceKlines: here the index is the mark price."""
    contract, interval, span = _asked(exchange, call, "pair")
    return _mark_rows(exchange.charts.mark_bars(contract.symbol, interval, span), interval)


def premium_klines(exchange: PaperExchange, call: Call) -> Rows:
    """GET /fapi/v1/premiumIndexKlines."""
    contract, interval, span = _asked(exchange, call, "symbol")
    return _mark_rows(exchange.charts.premium_bars(contract.symbol, interval, span), interval)


def chart_weight(parameters: Mapping[str, str]) -> int:
    """Return the weight of a request for candles."""
    limit = _limit(parameters)
    return next((weight for below, weight in ((100, 1), (500, 2), (1001, 5)) if limit < below), 10)


def is_long(parameters: Mapping[str, str]) -> bool:
    """Return whether the requested candles span more than ``LONG_SPAN_MS``."""
    return FIXED_MS.get(parameters.get("interval", ""), LONG_SPAN_MS) * _limit(parameters) > LONG_SPAN_MS


def _limit(parameters: Mapping[str, str]) -> int:
    text = parameters.get("limit", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else DEFAULT_LIMIT


_NONE = Security.NONE
ENDPOINTS = (
    Endpoint("GET", "/fapi/v1/klines", _NONE, chart_weight, klines, long=is_long),
    Endpoint("GET", "/fapi/v1/continuousKlines", _NONE, chart_weight, continuous_klines, long=is_long),
    Endpoint("GET", "/fapi/v1/markPriceKlines", _NONE, chart_weight, mark_klines, long=is_long),
    Endpoint("GET", "/fapi/v1/indexPriceKlines", _NONE, chart_weight, index_klines, long=is_long),
    Endpoint("GET", "/fapi/v1/premiumIndexKlines", _NONE, chart_weight, premium_klines, long=is_long),
)
