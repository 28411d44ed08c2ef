"""Contracts, prices, books and candles in Binance's JSON."""

from decimal import Decimal
from typing import Any

from src.domain.market import Candle, Instrument
from src.paper_exchange.contracts import Contract
from src.paper_exchange.formats import Json, decimals_of, fixed, quote_decimals
from src.paper_exchange.limits import ORDERS_1M_LIMIT, ORDERS_10S_LIMIT, WEIGHT_LIMIT
from src.paper_exchange.model import Book, Premium
from src.paper_exchange.trade_tape import Tick, first_trade_id, last_trade_id

RATE_LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_LIMIT},
    {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": ORDERS_1M_LIMIT},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": ORDERS_10S_LIMIT},
]
INTEREST_RATE = "0.00010000"
_ENDLESS_MS = 4_133_404_800_000


def exchange_info(contracts: dict[str, Contract], now_ms: int) -> Json:
    """Return what GET /fapi/v1/exchangeInfo answers."""
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": RATE_LIMITS,
        "exchangeFilters": [],
        "assets": [
            {"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"},
            {"asset": "BNB", "marginAvailable": False, "autoAssetExchange": "0"},
        ],
        "symbols": [_symbol(contract) for contract in contracts.values()],
    }


def _symbol(contract: Contract) -> Json:
    rules = contract.rules
    return {
        "symbol": rules.symbol,
        "pair": rules.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": _ENDLESS_MS,
        "onboardDate": contract.onboard_ms,
        "status": rules.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": rules.base_asset,
        "quoteAsset": rules.quote_asset,
        "marginAsset": rules.quote_asset,
        "pricePrecision": rules.price_precision,
        "quantityPrecision": rules.quantity_precision,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": list(contract.underlying),
        "triggerProtect": fixed(contract.protect_share, 4),
        "liquidationFee": fixed(rules.liquidation_fee_share, 6),
        "marketTakeBound": fixed(contract.bound_share, 2),
        "maxMoveOrderLimit": 10000,
        "filters": _filters(contract),
        "orderTypes": [
            "LIMIT",
            "MARKET",
            "STOP",
            "STOP_MARKET",
            "TAKE_PROFIT",
            "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY", "DCA", "PSB"],
    }


def _filters(contract: Contract) -> list[Json]:
    rules = contract.rules
    step = f"{rules.step_size:f}"
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": f"{rules.min_price:f}",
            "maxPrice": f"{rules.max_price:f}",
            "tickSize": f"{rules.tick_size:f}",
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": f"{rules.min_quantity:f}",
            "stepSize": step,
            "maxQty": f"{rules.max_quantity:f}",
        },
        {
            "stepSize": step,
            "filterType": "MARKET_LOT_SIZE",
            "minQty": f"{rules.min_quantity:f}",
            "maxQty": f"{rules.max_market_quantity:f}",
        },
        {"limit": contract.max_open_orders, "filterType": "MAX_NUM_ORDERS"},
        {"filterType": "MIN_NOTIONAL", "notional": f"{rules.min_notional:f}"},
        {
            "multiplierUp": fixed(rules.multiplier_up, 4),
            "multiplierDecimal": "4",
            "filterType": "PERCENT_PRICE",
            "multiplierDown": fixed(rules.multiplier_down, 4),
        },
        {"positionControlSide": "NONE", "filterType": "POSITION_RISK_CONTROL"},
    ]


def price_text(price: Decimal | float, rules: Instrument) -> str:
    """Return a price of the market with the decimals of its tick."""
    return fixed(price, decimals_of(rules.tick_size))


def kline_row(bar: Candle, end_ms: int, rules: Instrument) -> list[Any]:
    """Return one row of GET klines and continuousKlines; ``end_ms`` is the first instant after the bar."""
    quantity, quote = decimals_of(rules.step_size), quote_decimals(rules)
    return [
        bar.open_ms,
        price_text(bar.open, rules),
        price_text(bar.high, rules),
        price_text(bar.low, rules),
        price_text(bar.close, rules),
        fixed(bar.volume, quantity),
        end_ms - 1,
        fixed(bar.quote_volume, quote),
        bar.trades,
        fixed(bar.taker_buy_volume, quantity),
        fixed(taker_buy_quote(bar), quote),
        "0",
    ]


def taker_buy_quote(bar: Candle) -> float:
    """Return the quote volume of taker buys, taken at the bar's mean price: no candle carries it."""
    return bar.quote_volume * (bar.taker_buy_volume / bar.volume) if bar.volume else 0.0


def mark_kline_row(bar: Candle, end_ms: int) -> list[Any]:
    """Return one row of GET markPriceKlines, indexPriceKlines and premiumIndexKlines: no volumes."""
    prices = [fixed(price, 8) for price in bar[1:5]]
    return [bar.open_ms, *prices, "0", end_ms - 1, "0", bar.trades, "0", "0", "0"]


def kline_body(bar: Candle, end_ms: int, interval: str, closed: bool, last_open_ms: int, rules: Instrument) -> Json:
    """Return the ``k`` of a kline frame; ``last_open_ms`` is the opening of the bar's last minute."""
    quantity, quote = decimals_of(rules.step_size), quote_decimals(rules)
    first_id = first_trade_id(bar.open_ms)
    return {
        "t": bar.open_ms,
        "T": end_ms - 1,
        "s": rules.symbol,
        "i": interval,
        "f": first_id if bar.trades else -1,
        "L": last_trade_id(last_open_ms, bar.trades) if bar.trades else -1,
        "o": price_text(bar.open, rules),
        "c": price_text(bar.close, rules),
        "h": price_text(bar.high, rules),
        "l": price_text(bar.low, rules),
        "v": fixed(bar.volume, quantity),
        "n": bar.trades,
        "x": closed,
        "q": fixed(bar.quote_volume, quote),
        "V": fixed(bar.taker_buy_volume, quantity),
        "Q": fixed(taker_buy_quote(bar), quote),
        "B": "0",
    }


def premium_row(premium: Premium) -> Json:
    """Return what GET premiumIndex answers for one symbol."""
    return {
        "symbol": premium.symbol,
        "markPrice": fixed(premium.mark, 8),
        "indexPrice": fixed(premium.index, 8),
        "estimatedSettlePrice": fixed(premium.index, 8),
        "lastFundingRate": fixed(premium.funding_rate, 8),
        "interestRate": INTEREST_RATE,
        "nextFundingTime": premium.next_funding_ms,
        "time": premium.time_ms,
    }


def book_levels(book: Book, rules: Instrument) -> tuple[list[list[str]], list[list[str]]]:
    """Return bids and asks as pairs of texts."""
    quantity = decimals_of(rules.step_size)
    bids, asks = (
        [[price_text(price, rules), fixed(size, quantity)] for price, size in side] for side in (book.bids, book.asks)
    )
    return bids, asks


def depth_reply(book: Book, rules: Instrument) -> Json:
    """Return what GET depth answers."""
    bids, asks = book_levels(book, rules)
    return {"lastUpdateId": book.update_id, "E": book.time_ms, "T": book.time_ms, "bids": bids, "asks": asks}


def book_ticker_row(book: Book, rules: Instrument) -> Json:
    """Return what GET ticker/bookTicker answers for one symbol."""
    bids, asks = book_levels(book, rules)
    return {
        "symbol": rules.symbol,
        "bidPrice": bids[0][0],
        "bidQty": bids[0][1],
        "askPrice": asks[0][0],
        "askQty": asks[0][1],
        "time": book.time_ms,
        "lastUpdateId": book.update_id,
    }


def agg_trade_row(tick: Tick, rules: Instrument) -> Json:
    """Return one element of GET aggTrades."""
    quantity = fixed(tick.quantity, decimals_of(rules.step_size))
    return {
        "a": tick.tick_id,
        "p": price_text(tick.price, rules),
        "q": quantity,
        "nq": quantity,
        "f": tick.first_id,
        "l": tick.last_id,
        "T": tick.time_ms,
        "m": tick.buyer_is_maker,
    }


def public_trade_row(tick: Tick, rules: Instrument) -> Json:
    """Return one element of GET trades."""
    return {
        "id": tick.first_id,
        "price": price_text(tick.price, rules),
        "qty": fixed(tick.quantity, decimals_of(rules.step_size)),
        "quoteQty": fixed(tick.price * tick.quantity, 2),
        "time": tick.time_ms,
        "isBuyerMaker": tick.buyer_is_maker,
        "isRPITrade": False,
    }


def day_ticker(day: Candle, now_ms: int, last_quantity: Decimal, rules: Instrument) -> Json:
    """Return what GET ticker/24hr answers for one symbol, from the last 24 hours as one bar."""
    quantity = decimals_of(rules.step_size)
    change = Decimal(str(day.close)) - Decimal(str(day.open))
    last_open_ms = now_ms // 60_000 * 60_000
    return {
        "closeTime": now_ms,
        "count": day.trades,
        "firstId": first_trade_id(day.open_ms),
        "highPrice": price_text(day.high, rules),
        "lastId": last_trade_id(last_open_ms, 1),
        "lastPrice": price_text(day.close, rules),
        "lastQty": fixed(last_quantity, quantity),
        "lowPrice": price_text(day.low, rules),
        "openPrice": price_text(day.open, rules),
        "openTime": day.open_ms,
        "priceChange": price_text(change, rules),
        "priceChangePercent": fixed(change / Decimal(str(day.open)) * 100, 3),
        "quoteVolume": fixed(day.quote_volume, 2),
        "symbol": rules.symbol,
        "volume": fixed(day.volume, quantity),
        "weightedAvgPrice": price_text(mean_price(day), rules),
    }


def mean_price(day: Candle) -> float:
    """Return the price weighted by volume; the last price where nothing was traded."""
    return day.quote_volume / day.volume if day.volume else day.close
