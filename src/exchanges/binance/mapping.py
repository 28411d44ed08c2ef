"""Maps Binance's JSON (REST and streams) to domain objects, and order intents to parameters.

Pure functions. A malformed answer raises ``KeyError``, ``TypeError``, ``ValueError`` or ``ArithmeticError``
(``MALFORMED``), which the caller handles.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from src.domain.costs import CostRates
from src.domain.market import Candle, Instrument, MarkPrice
from src.domain.orders import Fill, Order, OrderIntent, OrderKind, OrderStatus, Side, finished_status
from src.domain.portfolio import Direction, Position
from src.domain.ports import AccountTerms, Income, IncomeKind

Json = Mapping[str, Any]
MALFORMED = (KeyError, TypeError, ValueError, IndexError, ArithmeticError, AttributeError)
TRADE_INCOME = frozenset({"REALIZED_PNL", "COMMISSION"})

_CONDITIONAL_KINDS = {kind.value: kind for kind in (OrderKind.STOP_MARKET, OrderKind.TAKE_PROFIT_MARKET)}
_STATUSES = {
    "NEW": OrderStatus.NEW,
    "PARTIALLY_FILLED": OrderStatus.PARTIALLY_FILLED,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
    "REJECTED": OrderStatus.REJECTED,
    "TRIGGERING": OrderStatus.TRIGGERING,
    "TRIGGERED": OrderStatus.TRIGGERING,
}


def decimal(value: object) -> Decimal:
    """Return a figure of the exchange as ``Decimal``; empty text and null are 0."""
    return Decimal(0) if value in ("", None) else Decimal(str(value))


def candle_of_row(row: list[Any]) -> Candle:
    """Return one row of GET klines as a candle."""
    return Candle(
        int(row[0]),
        float(row[1]),
        float(row[2]),
        float(row[3]),
        float(row[4]),
        float(row[5]),
        int(row[8]),
        float(row[9]),
        float(row[7]),
    )


def candle_of_event(kline: Json) -> Candle:
    """Return the ``k`` part of a kline event as a candle."""
    return Candle(
        int(kline["t"]),
        float(kline["o"]),
        float(kline["h"]),
        float(kline["l"]),
        float(kline["c"]),
        float(kline["v"]),
        int(kline["n"]),
        float(kline["V"]),
        float(kline["q"]),
    )


def mark_price_of_answer(row: Json) -> MarkPrice:
    """Return an answer of GET premiumIndex as a mark price."""
    return MarkPrice(
        str(row["symbol"]),
        Decimal(row["markPrice"]),
        decimal(row["indexPrice"]),
        decimal(row["lastFundingRate"]),
        int(row["nextFundingTime"]),
        int(row["time"]),
    )


def open_interest_of_answer(row: Json) -> Decimal:
    """Return an answer of GET openInterest as a quantity in base currency."""
    return Decimal(row["openInterest"])


def mark_price_of_event(event: Json) -> MarkPrice:
    """Return a markPriceUpdate event as a mark price."""
    return MarkPrice(
        event["s"], Decimal(event["p"]), decimal(event["i"]), decimal(event["r"]), int(event["T"]), int(event["E"])
    )


def instrument_of_row(row: Json) -> Instrument:
    """Return one symbol of GET exchangeInfo as an instrument."""
    filters = {each["filterType"]: each for each in row["filters"]}
    price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]
    band = filters.get("PERCENT_PRICE", {})
    return Instrument(
        symbol=str(row["symbol"]),
        base_asset=str(row["baseAsset"]),
        quote_asset=str(row["quoteAsset"]),
        tick_size=Decimal(price["tickSize"]),
        step_size=Decimal(lot["stepSize"]),
        min_quantity=Decimal(lot["minQty"]),
        max_quantity=Decimal(lot["maxQty"]),
        max_market_quantity=Decimal(filters.get("MARKET_LOT_SIZE", lot)["maxQty"]),
        min_notional=decimal(filters.get("MIN_NOTIONAL", {}).get("notional")),
        min_price=Decimal(price["minPrice"]),
        max_price=Decimal(price["maxPrice"]),
        price_precision=int(row["pricePrecision"]),
        quantity_precision=int(row["quantityPrecision"]),
        multiplier_up=Decimal(band.get("multiplierUp", "1.05")),
        multiplier_down=Decimal(band.get("multiplierDown", "0.95")),
        liquidation_fee_share=Decimal(row.get("liquidationFee", "0.0125")),
        status=str(row["status"]),
    )


def cost_rates_of_answer(row: Json) -> CostRates:
    """Return an answer of GET commissionRate as cost rates (without BNB discount)."""
    return CostRates(Decimal(row["takerCommissionRate"]), Decimal(row["makerCommissionRate"]))


def _regular_kind(kind: str, time_in_force: str | None) -> OrderKind:
    if kind == "LIMIT" and time_in_force == "GTX":
        return OrderKind.POST_ONLY
    return OrderKind.MARKET if kind == "MARKET" else OrderKind.FOREIGN


def order_of_answer(row: Json) -> Order:
    """Return a regular order as POST, GET, DELETE order and openOrders show it.

    The average price is 0 where the answer has none: replies to POST and DELETE never carry it.
    """
    return Order(
        client_id=str(row["clientOrderId"]),
        order_id=str(row["orderId"]),
        symbol=str(row["symbol"]),
        side=Side(row["side"]),
        kind=_regular_kind(row["type"], row.get("timeInForce")),
        status=_STATUSES[row["status"]],
        quantity=Decimal(row["origQty"]),
        executed_quantity=Decimal(row["executedQty"]),
        average_price=decimal(row.get("avgPrice")),
        updated_ms=int(row["updateTime"]),
        reduce_only=bool(row["reduceOnly"]),
        close_position=bool(row.get("closePosition", False)),
        price=decimal(row.get("price")) or None,
    )


def conditional_of_answer(row: Json) -> Order:
    """Return a conditional order as the four calls of the Algo service show it."""
    executed = decimal(row.get("actualQty"))
    quantity = decimal(row.get("quantity"))
    return Order(
        client_id=str(row["clientAlgoId"]),
        order_id=str(row["algoId"]),
        symbol=str(row["symbol"]),
        side=Side(row["side"]),
        kind=_CONDITIONAL_KINDS.get(row["orderType"], OrderKind.FOREIGN_CONDITIONAL),
        status=_algo_status(row["algoStatus"], quantity, executed),
        quantity=quantity,
        executed_quantity=executed,
        average_price=decimal(row.get("actualPrice")),
        updated_ms=int(row["updateTime"]),
        reduce_only=bool(row["reduceOnly"]),
        close_position=bool(row["closePosition"]),
        trigger_price=decimal(row["triggerPrice"]),
        spawned_id=str(row.get("actualOrderId") or ""),
    )


def order_of_event(event: Json) -> Order:
    """Return the order of an ORDER_TRADE_UPDATE event."""
    seen = event["o"]
    return Order(
        client_id=str(seen["c"]),
        order_id=str(seen["i"]),
        symbol=str(seen["s"]),
        side=Side(seen["S"]),
        kind=_regular_kind(seen["o"], seen.get("f")),
        status=_STATUSES[seen["X"]],
        quantity=Decimal(seen["q"]),
        executed_quantity=Decimal(seen["z"]),
        average_price=decimal(seen["ap"]),
        updated_ms=int(seen["T"]),
        reduce_only=bool(seen["R"]),
        close_position=bool(seen.get("cp", False)),
        price=decimal(seen.get("p")) or None,
    )


def conditional_of_event(event: Json) -> Order:
    """Return the conditional order of an ALGO_UPDATE event."""
    seen = event["o"]
    executed = decimal(seen.get("aq"))
    quantity = decimal(seen.get("q"))
    return Order(
        client_id=str(seen["caid"]),
        order_id=str(seen["aid"]),
        symbol=str(seen["s"]),
        side=Side(seen["S"]),
        kind=_CONDITIONAL_KINDS.get(seen["o"], OrderKind.FOREIGN_CONDITIONAL),
        status=_algo_status(seen["X"], quantity, executed),
        quantity=quantity,
        executed_quantity=executed,
        average_price=decimal(seen.get("ap")),
        updated_ms=int(event["T"]),
        reduce_only=bool(seen["R"]),
        close_position=bool(seen["cp"]),
        trigger_price=decimal(seen["tp"]),
        spawned_id=str(seen.get("ai") or ""),
    )


def _algo_status(word: str, quantity: Decimal, executed: Decimal) -> OrderStatus:
    """Return the status of a conditional order; FINISHED means only that the triggered order is finished."""
    return finished_status(quantity, executed) if word == "FINISHED" else _STATUSES[word]


def fill_of_row(row: Json) -> Fill:
    """Return one row of GET userTrades as a fill (the row does not name the client id)."""
    return Fill(
        trade_id=str(row["id"]),
        order_id=str(row["orderId"]),
        symbol=str(row["symbol"]),
        side=Side(row["side"]),
        price=Decimal(row["price"]),
        quantity=Decimal(row["qty"]),
        fee=Decimal(row["commission"]),
        fee_asset=str(row["commissionAsset"]),
        realized_pnl=Decimal(row["realizedPnl"]),
        time_ms=int(row["time"]),
        maker=bool(row["maker"]),
    )


def fill_of_event(event: Json) -> Fill | None:
    """Return the fill that an ORDER_TRADE_UPDATE event reports, or None when it reports none."""
    seen = event["o"]
    if seen["x"] not in ("TRADE", "CALCULATED") or decimal(seen["l"]) <= 0:
        return None
    return Fill(
        trade_id=str(seen["t"]),
        order_id=str(seen["i"]),
        symbol=str(seen["s"]),
        side=Side(seen["S"]),
        price=Decimal(seen["L"]),
        quantity=Decimal(seen["l"]),
        fee=decimal(seen.get("n")),
        fee_asset=str(seen.get("N") or ""),
        realized_pnl=decimal(seen["rp"]),
        time_ms=int(seen["T"]),
        maker=bool(seen["m"]),
        client_id=str(seen["c"]),
    )


def position_of_row(row: Json, leverage: int, margin_type: str) -> Position | None:
    """Return one row of GET v3/positionRisk as a position, or None when it is flat.

    Leverage and margin type are not in the row; ``risk_terms`` finds them.
    """
    amount = Decimal(row["positionAmt"])
    if amount == 0:
        return None
    liquidation = decimal(row["liquidationPrice"])
    return Position(
        symbol=str(row["symbol"]),
        direction=Direction.LONG if amount > 0 else Direction.SHORT,
        quantity=abs(amount),
        entry_price=Decimal(row["entryPrice"]),
        mark_price=Decimal(row["markPrice"]),
        unrealized_pnl=Decimal(row["unRealizedProfit"]),
        leverage=leverage,
        liquidation_price=liquidation if liquidation > 0 else None,
        updated_ms=int(row["updateTime"]),
        margin_type=margin_type,
        position_side=str(row["positionSide"]),
    )


def risk_terms(rows: Iterable[Json]) -> dict[str, tuple[int, str]]:
    """Return leverage and margin type by symbol, from the positions of GET v2/account."""
    return {row["symbol"]: (int(row["leverage"]), "ISOLATED" if row["isolated"] else "CROSSED") for row in rows}


def terms_of_answers(symbol: Json, account: Json) -> AccountTerms:
    """Return one row of GET symbolConfig and the answer of GET accountConfig as the terms of a contract."""
    return AccountTerms(
        int(symbol["leverage"]),
        "ISOLATED" if str(symbol["marginType"]).upper() == "ISOLATED" else "CROSSED",
        not account["dualSidePosition"],
        not account["multiAssetsMargin"],
    )


_INCOME_PURPOSE = {"FUNDING_FEE": IncomeKind.FUNDING, "INSURANCE_CLEAR": IncomeKind.INSURANCE}


def income_of_row(row: Json) -> Income:
    """Return one row of GET income."""
    return Income(
        kind=str(row["incomeType"]),
        symbol=str(row["symbol"]),
        amount=Decimal(row["income"]),
        asset=str(row["asset"]),
        time_ms=int(row["time"]),
        transaction_id=str(row["tranId"]),
        purpose=_INCOME_PURPOSE.get(str(row["incomeType"]), IncomeKind.OTHER),
    )


def plain(value: Decimal) -> str:
    """Return a figure in the exchange's format: decimal text without exponent or trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parameters_of(intent: OrderIntent, working_type: str) -> dict[str, str]:
    """Return the parameters that place the intent: of POST order, or of POST algoOrder if it is conditional."""
    asked = {"symbol": intent.symbol, "side": intent.side.value, "type": intent.kind.value}
    if intent.kind.conditional:
        if intent.trigger_price is None:
            raise ValueError("a conditional order needs a trigger price")
        asked |= {
            "algoType": "CONDITIONAL",
            "clientAlgoId": intent.client_id,
            "triggerPrice": plain(intent.trigger_price),
            "workingType": working_type,
        }
    else:
        asked |= {"newClientOrderId": intent.client_id, "newOrderRespType": "RESULT"}
    if intent.kind is OrderKind.POST_ONLY:
        if intent.price is None:
            raise ValueError("a post-only order needs a price")
        asked |= {"type": "LIMIT", "timeInForce": "GTX", "price": plain(intent.price)}
    if intent.close_position:
        return asked | {"closePosition": "true"}  # excludes quantity and reduceOnly
    asked["quantity"] = plain(intent.quantity)
    return asked | {"reduceOnly": "true"} if intent.reduce_only else asked
