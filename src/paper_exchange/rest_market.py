"""Public REST endpoints: prices, books, trades, funding and exchange information."""

from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any

from src.domain.funding import LONGEST_INTERVAL_MS
from src.paper_exchange.contracts import Contract
from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.formats import Json, fixed
from src.paper_exchange.formats_market import (
    agg_trade_row,
    book_ticker_row,
    day_ticker,
    depth_reply,
    exchange_info,
    premium_row,
    price_text,
    public_trade_row,
)
from src.paper_exchange.intrabar_path import MINUTE_MS
from src.paper_exchange.model import VenueError
from src.paper_exchange.rest_call import Call, Endpoint, Security, per_symbol
from src.paper_exchange.trade_tape import Tick, minute_of_tick

DEPTH_LIMITS = (5, 10, 20, 50, 100, 500, 1000)
TAPE_MS = 48 * 3_600_000
USUAL_FUNDING_CAP = Decimal("0.02")
# Open interest is not modelled; it is reported as this part of the last day's volume.
OPEN_INTEREST_SHARE = 0.6
# Four days of one contract; more are answered beside the event loop.
FEW_SETTLEMENTS = 12


def ping(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v1/ping and the spot one that client libraries call first."""
    return {}


def server_time(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v1/time."""
    return {"serverTime": exchange.wire_ms()}


def get_exchange_info(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v1/exchangeInfo: always the whole of it."""
    return exchange_info(exchange.contracts, exchange.wire_ms())


def depth(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v1/depth."""
    contract = call.contract(exchange.contracts)
    limit = call.limit(500, 1000)
    if limit not in DEPTH_LIMITS:
        raise VenueError(-4021, f"{limit} is not valid depth limit")
    reply = depth_reply(exchange.venue.book(contract.symbol, limit), contract.rules)
    exchange.shown.note(contract.symbol, reply["bids"], reply["asks"])
    return reply


def depth_weight(parameters: Mapping[str, str]) -> int:
    """Return the weight of GET depth."""
    limit = _number(parameters, 500)
    return next((weight for most, weight in ((50, 2), (100, 5), (500, 10)) if limit <= most), 20)


def _number(parameters: Mapping[str, str], default: int) -> int:
    text = parameters.get("limit", "")
    return int(text) if text.isascii() and text.isdigit() else default


def _ticks_between(exchange: PaperExchange, symbol: str, start_ms: int, end_ms: int, limit: int) -> list[Tick]:
    """The oldest ``limit`` trades of the span, both ends included."""
    found: list[Tick] = []
    for open_ms in range(start_ms // MINUTE_MS * MINUTE_MS, end_ms + 1, MINUTE_MS):
        found += [tick for tick in exchange.ticks(symbol, open_ms) if start_ms <= tick.time_ms <= end_ms]
        if len(found) >= limit:
            break
    return found[:limit]


def _newest_ticks(exchange: PaperExchange, symbol: str, end_ms: int, limit: int) -> list[Tick]:
    found: list[Tick] = []
    open_ms = end_ms // MINUTE_MS * MINUTE_MS
    first_ms = max(end_ms - TAPE_MS, exchange.market.first_ms)
    while open_ms >= first_ms and len(found) < limit:
        found = [*(tick for tick in exchange.ticks(symbol, open_ms) if tick.time_ms <= end_ms), *found]
        open_ms -= MINUTE_MS
    return found[-limit:]


def _asked_ticks(exchange: PaperExchange, call: Call, from_id: int | None, symbol: str) -> list[Tick]:
    now, limit = exchange.venue.now_ms, call.limit(500, 1000)
    start_ms, end_ms = call.window(3_600_000)
    until_ms = now if end_ms is None else min(end_ms, now)
    oldest_ms = now - TAPE_MS
    if from_id is not None:
        ticks = _ticks_between(exchange, symbol, max(minute_of_tick(from_id), oldest_ms), now, limit + 60)
        return [tick for tick in ticks if tick.tick_id >= from_id][:limit]
    if start_ms is not None:
        return _ticks_between(exchange, symbol, max(start_ms, oldest_ms), until_ms, limit)
    return _newest_ticks(exchange, symbol, until_ms, limit)


def agg_trades(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/aggTrades: the last 48 hours."""
    contract = call.contract(exchange.contracts)
    ticks = _asked_ticks(exchange, call, call.instant("fromId"), contract.symbol)
    return [agg_trade_row(tick, contract.rules) for tick in ticks]


def recent_trades(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/trades."""
    contract = call.contract(exchange.contracts)
    ticks = _newest_ticks(exchange, contract.symbol, exchange.venue.now_ms, call.limit(500, 1000))
    return [public_trade_row(tick, contract.rules) for tick in ticks]


def historical_trades(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/historicalTrades: from an id on, or the newest."""
    contract = call.contract(exchange.contracts)
    from_id = call.instant("fromId")
    if from_id is None:
        return recent_trades(exchange, call)
    start_ms = max(from_id // 100_000 * MINUTE_MS, exchange.venue.now_ms - TAPE_MS)
    ticks = _ticks_between(exchange, contract.symbol, start_ms, exchange.venue.now_ms, call.limit(500, 1000) + 60)
    rows = [public_trade_row(tick, contract.rules) for tick in ticks if tick.first_id >= from_id]
    return rows[: call.limit(500, 1000)]


def _for_each(exchange: PaperExchange, call: Call, row: Callable[[Contract], Json | None]) -> Any:
    """One row with a symbol, all rows without; a contract without prices just now has none."""
    chosen = call.contract_or_none(exchange.contracts)
    if chosen:
        return row(chosen) or {}
    return [made for made in map(row, exchange.contracts.values()) if made]


def premium_index(exchange: PaperExchange, call: Call) -> Any:
    """GET /fapi/v1/premiumIndex."""
    return _for_each(exchange, call, lambda contract: premium_row(exchange.venue.premium(contract.symbol)))


def ticker_price(exchange: PaperExchange, call: Call) -> Any:
    """GET /fapi/v1/ticker/price and v2."""
    return _for_each(
        exchange,
        call,
        lambda contract: {
            "symbol": contract.symbol,
            "price": price_text(exchange.venue.last_price(contract.symbol), contract.rules),
            "time": exchange.venue.now_ms,
        },
    )


def book_ticker(exchange: PaperExchange, call: Call) -> Any:
    """GET /fapi/v1/ticker/bookTicker."""
    return _for_each(
        exchange, call, lambda contract: book_ticker_row(exchange.venue.book(contract.symbol, 5), contract.rules)
    )


def ticker_24hr(exchange: PaperExchange, call: Call) -> Any:
    """GET /fapi/v1/ticker/24hr."""
    return _for_each(exchange, call, lambda contract: day_row(exchange, contract))


def day_row(exchange: PaperExchange, contract: Contract) -> Json | None:
    """Return the 24-hour row of one contract, None before its first candle."""
    day = exchange.charts.last_day(contract.symbol)
    if day is None:
        return None
    ticks = _newest_ticks(exchange, contract.symbol, exchange.venue.now_ms, 1)
    quantity = ticks[-1].quantity if ticks else Decimal(0)
    return day_ticker(day, exchange.venue.now_ms, quantity, contract.rules)


def funding_rates(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/fundingRate: settlements up to now, oldest first."""
    chosen = call.contract_or_none(exchange.contracts)
    contracts = [chosen] if chosen else list(exchange.contracts.values())
    limit = call.limit(100, 1000)
    start_ms, end_ms = call.window()
    until_ms = min(end_ms or exchange.venue.now_ms, exchange.venue.now_ms)
    due = sorted(each for contract in contracts for each in _settlements(exchange, contract, start_ms, until_ms, limit))
    # Cut first, then priced in the order of time: a synthetic market makes each day once, for all contracts.
    wanted = due[:limit] if start_ms is not None else due[-limit:]
    return [_settlement(exchange, symbol, settle_ms) for settle_ms, symbol in wanted]


def many_settlements(parameters: Mapping[str, str]) -> bool:
    """Return whether so many settlements are requested that their days' prices may have to be generated first."""
    return _number(parameters, 100) > FEW_SETTLEMENTS


def _settlements(
    exchange: PaperExchange, contract: Contract, start_ms: int | None, until_ms: int, limit: int
) -> list[tuple[int, str]]:
    """Return instant and symbol of a contract's settlements: the first ``limit`` from a start, else the last."""
    first_known = exchange.market.first_ms + MINUTE_MS
    from_ms = until_ms - limit * LONGEST_INTERVAL_MS if start_ms is None else start_ms
    due = exchange.quotes.settlements(contract.symbol, max(from_ms, first_known), until_ms + 1)
    chosen = deque(due, maxlen=limit) if start_ms is None else islice(due, limit)
    return [(settle_ms, contract.symbol) for settle_ms in chosen]


def _settlement(exchange: PaperExchange, symbol: str, settle_ms: int) -> Json:
    return {
        "symbol": symbol,
        "fundingTime": settle_ms,
        "fundingRate": fixed(exchange.quotes.funding_rate(symbol, settle_ms), 8),
        "markPrice": fixed(exchange.quotes.mark_price(symbol, settle_ms), 8),
        "rateType": "Regular",
    }


def funding_info(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/fundingInfo: contracts whose cap was adjusted."""
    return [
        {
            "symbol": contract.symbol,
            "adjustedFundingRateCap": fixed(contract.funding_cap_share, 5),
            "adjustedFundingRateFloor": fixed(-contract.funding_cap_share, 5),
            "fundingIntervalHours": contract.funding_hours,
            "disclaimer": True,
            "updateTime": None,
        }
        for contract in exchange.contracts.values()
        if contract.funding_cap_share != USUAL_FUNDING_CAP
    ]


def open_interest(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v1/openInterest."""
    contract = call.contract(exchange.contracts)
    day = exchange.charts.last_day(contract.symbol)
    held = day.volume * OPEN_INTEREST_SHARE if day else 0.0
    text = fixed(held, contract.rules.quantity_precision)
    return {"symbol": contract.symbol, "openInterest": text, "time": exchange.venue.now_ms}


_NONE = Security.NONE
ENDPOINTS = (
    Endpoint("GET", "/api/v3/ping", _NONE, 1, ping),
    Endpoint("GET", "/api/v3/time", _NONE, 1, server_time),
    Endpoint("GET", "/fapi/v1/ping", _NONE, 1, ping),
    Endpoint("GET", "/fapi/v1/time", _NONE, 1, server_time),
    Endpoint("GET", "/fapi/v1/exchangeInfo", _NONE, 1, get_exchange_info),
    Endpoint("GET", "/fapi/v1/depth", _NONE, depth_weight, depth),
    Endpoint("GET", "/fapi/v1/trades", _NONE, 5, recent_trades),
    Endpoint("GET", "/fapi/v1/historicalTrades", Security.KEY, 200, historical_trades),
    Endpoint("GET", "/fapi/v1/aggTrades", _NONE, 20, agg_trades),
    Endpoint("GET", "/fapi/v1/premiumIndex", _NONE, per_symbol(1, 10), premium_index),
    Endpoint("GET", "/fapi/v1/ticker/price", _NONE, per_symbol(1, 2), ticker_price),
    Endpoint("GET", "/fapi/v2/ticker/price", _NONE, per_symbol(1, 2), ticker_price),
    Endpoint("GET", "/fapi/v1/ticker/bookTicker", _NONE, per_symbol(2, 5), book_ticker),
    Endpoint("GET", "/fapi/v1/ticker/24hr", _NONE, per_symbol(1, 40), ticker_24hr),
    Endpoint("GET", "/fapi/v1/fundingRate", _NONE, 0, funding_rates, funding_pool=True, long=many_settlements),
    Endpoint("GET", "/fapi/v1/fundingInfo", _NONE, 0, funding_info, funding_pool=True),
    Endpoint("GET", "/fapi/v1/openInterest", _NONE, 1, open_interest),
)
