"""Lists of contracts in the form of the exchange's answers, for tests: invented contracts beside the six."""

import json
from typing import Any

INVENTED = {"ADAUSDT": ("0.0001", "1", 8), "LPTUSDT": ("0.001", "0.1", 4), "1000PEPEUSDT": ("0.0000001", "1", 1)}
"""Tick, step and funding interval in hours of contracts that the program does not list itself."""


def symbol_row(symbol: str, **changed: Any) -> dict[str, Any]:
    """Return one contract as GET /fapi/v1/exchangeInfo tells it."""
    tick, step, _ = INVENTED.get(symbol, ("0.01", "0.001", 8))
    return {
        "symbol": symbol, "pair": symbol, "contractType": "PERPETUAL", "status": "TRADING",
        "onboardDate": 1_600_000_000_000, "baseAsset": symbol.removesuffix("USDT"), "quoteAsset": "USDT",
        "marginAsset": "USDT", "pricePrecision": 7, "quantityPrecision": 3, "underlyingSubType": ["Layer-1"],
        "triggerProtect": "0.1000", "liquidationFee": "0.015000", "marketTakeBound": "0.10",
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "100000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "stepSize": step, "maxQty": "90000000"},
            {"filterType": "MARKET_LOT_SIZE", "minQty": step, "stepSize": step, "maxQty": "9000000"},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.1000", "multiplierDown": "0.9000"},
        ],
        **changed,
    }  # fmt: skip


def answers(*more: dict[str, Any]) -> dict[str, bytes]:
    """Return the two answers by path, as a server would give them."""
    info = {"timezone": "UTC", "symbols": [*map(symbol_row, ("BTCUSDT", *INVENTED)), *more]}
    funding = [
        {"symbol": symbol, "adjustedFundingRateCap": "0.03000000", "fundingIntervalHours": hours}
        for symbol, (_, _, hours) in INVENTED.items()
    ]
    return {"fapi/v1/exchangeInfo": json.dumps(info).encode(), "fapi/v1/fundingInfo": json.dumps(funding).encode()}
