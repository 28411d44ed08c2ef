"""Numbers, orders and trades in Binance's JSON."""

from decimal import Decimal
from typing import Any

from src.domain.market import Instrument
from src.paper_exchange.model import AlgoOrder, IncomeRow, OrderAmendment, VenueOrder, VenueTrade, money8

Json = dict[str, Any]


def fixed(value: Decimal | float, decimals: int) -> str:
    """Return ``value`` with exactly ``decimals`` decimals, never in exponents and never ``-0``."""
    text = f"{value:.{decimals}f}"
    return text[1:] if text[0] == "-" and not text.strip("-0.") else text


def trimmed(value: Decimal) -> str:
    """Return ``value`` to at most eight decimals without trailing zeros: ``1.1359``, ``0``."""
    text = fixed(value, 8).rstrip("0")
    return text[:-1] if text[-1] == "." else text


def pointed(value: Decimal) -> str:
    """Return ``value`` trimmed but with at least one decimal: ``1.1837``, ``0.0``."""
    text = trimmed(value)
    return text if "." in text else text + ".0"


def amount(value: Decimal) -> str:
    """Return money with eight decimals, or a bare ``0`` for nothing."""
    return fixed(value, 8) if value else "0"


def decimals_of(step: Decimal) -> int:
    """Return how many decimals a step is written with: 2 for ``0.10``."""
    exponent = step.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def quote_decimals(instrument: Instrument) -> int:
    """Return the decimals of price times quantity."""
    return instrument.price_precision + instrument.quantity_precision


def order_reply(order: VenueOrder, instrument: Instrument) -> Json:
    """Return what POST and DELETE order answer; no fill price and no quote amount since 2026-06."""
    price, quantity = instrument.price_precision, instrument.quantity_precision
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": fixed(order.price, price),
        "origQty": fixed(order.quantity, quantity),
        "executedQty": fixed(order.executed, quantity),
        "cumQty": fixed(order.executed, quantity),
        "timeInForce": order.time_in_force,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": fixed(order.stop_price, price),
        "workingType": order.working_type,
        "priceProtect": order.price_protect,
        "origType": order.orig_type,
        "priceMatch": order.price_match,
        "selfTradePreventionMode": order.stp_mode,
        "goodTillDate": order.good_till_ms,
        "updateTime": order.updated_ms,
    }


def amended_reply(order: VenueOrder, instrument: Instrument) -> Json:
    """Return what PUT order answers."""
    return {**order_reply(order, instrument), "pair": order.symbol, "modifyId": order.amendments}


def amendment_row(row: OrderAmendment, instrument: Instrument) -> Json:
    """Return one element of orderAmendment."""
    price, quantity = instrument.price_precision, instrument.quantity_precision
    return {
        "amendmentId": row.number,
        "symbol": row.symbol,
        "pair": row.symbol,
        "orderId": row.order_id,
        "clientOrderId": row.client_id,
        "time": row.time_ms,
        "amendment": {
            "price": {"before": fixed(row.price_before, price), "after": fixed(row.price_after, price)},
            "origQty": {"before": fixed(row.quantity_before, quantity), "after": fixed(row.quantity_after, quantity)},
            "count": row.count,
        },
    }


def order_row(order: VenueOrder, instrument: Instrument) -> Json:
    """Return the response of GET order, openOrder and openOrders, which has the fill price."""
    price, quantity = instrument.price_precision, instrument.quantity_precision
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": fixed(order.price, price),
        "avgPrice": fixed(order.average_price, price + 1),
        "origQty": fixed(order.quantity, quantity),
        "executedQty": fixed(order.executed, quantity),
        "cumQuote": fixed(order.cum_quote, quote_decimals(instrument)),
        "timeInForce": order.time_in_force,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": fixed(order.stop_price, price),
        "workingType": order.working_type,
        "priceProtect": order.price_protect,
        "origType": order.orig_type,
        "priceMatch": order.price_match,
        "selfTradePreventionMode": order.stp_mode,
        "goodTillDate": order.good_till_ms,
        "time": order.created_ms,
        "updateTime": order.updated_ms,
    }


def history_row(order: VenueOrder, instrument: Instrument) -> Json:
    """Return one element of allOrders: as GET order, but with bare zeros, ``cumBase`` and ``pair``."""
    row = order_row(order, instrument)
    bare = {
        "price": row["price"] if order.price else "0",
        "stopPrice": row["stopPrice"] if order.stop_price else "0",
        "executedQty": row["executedQty"] if order.executed else "0",
        "cumQuote": row["cumQuote"] if order.cum_quote else "0",
    }
    return {**row, **bare, "cumBase": "0", "pair": order.symbol}


def trade_row(trade: VenueTrade, instrument: Instrument) -> Json:
    """Return one element of userTrades."""
    return {
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "pair": trade.symbol,
        "side": trade.side,
        "price": fixed(trade.price, instrument.price_precision),
        "qty": trimmed(trade.quantity),
        "realizedPnl": trimmed(money8(trade.realized_pnl)),
        "quoteQty": fixed(trade.quote_quantity, quote_decimals(instrument)),
        "commission": trimmed(money8(trade.commission)),
        "commissionAsset": trade.commission_asset,
        "time": trade.time_ms,
        "buyer": trade.side == "BUY",
        "maker": trade.maker,
        "positionSide": trade.position_side,
        "baseQty": "0",
        "marginAsset": instrument.quote_asset,
    }


def income_row(row: IncomeRow) -> Json:
    """Return one element of income."""
    return {
        "symbol": row.symbol,
        "incomeType": row.kind,
        "income": fixed(row.amount, 8),
        "asset": row.asset,
        "info": row.info,
        "time": row.time_ms,
        "tranId": row.tran_id,
        "tradeId": str(row.trade_id) if row.trade_id else "",
    }


def _algo_head(order: AlgoOrder, instrument: Instrument) -> Json:
    return {
        "algoId": order.algo_id,
        "clientAlgoId": order.client_id,
        "algoType": "CONDITIONAL",
        "orderType": order.type,
        "symbol": order.symbol,
        "side": order.side,
        "positionSide": order.position_side,
        "timeInForce": order.time_in_force,
        "quantity": fixed(order.quantity, instrument.quantity_precision),
        "algoStatus": order.status,
    }


def _algo_tail(order: AlgoOrder) -> Json:
    return {
        "selfTradePreventionMode": order.stp_mode,
        "workingType": order.working_type,
        "priceMatch": order.price_match,
        "closePosition": order.close_position,
        "priceProtect": order.price_protect,
        "reduceOnly": order.reduce_only,
        "createTime": order.created_ms,
        "updateTime": order.updated_ms,
        "triggerTime": order.triggered_ms,
        "goodTillDate": order.good_till_ms,
    }


def _trailing(order: AlgoOrder) -> Json:
    if order.type != "TRAILING_STOP_MARKET":
        return {}
    price = trimmed(order.activate_price) if order.activate_price else ""
    return {"activatePrice": price, "callbackRate": trimmed(order.callback_rate)}


def algo_reply(order: AlgoOrder, instrument: Instrument) -> Json:
    """Return what POST algoOrder answers."""
    prices = {
        "triggerPrice": fixed(order.trigger_price, instrument.price_precision),
        "price": fixed(order.price, instrument.price_precision),
        "icebergQuantity": None,
    }
    return {**_algo_head(order, instrument), **prices, **_algo_tail(order), **_trailing(order)}


def open_algo_row(order: AlgoOrder, instrument: Instrument) -> Json:
    """Return one element of openAlgoOrders."""
    prices = {
        "actualOrderId": str(order.actual_order_id or ""),
        "actualQty": pointed(order.actual_quantity),
        "triggerPrice": pointed(order.trigger_price),
        "price": pointed(order.price),
        "icebergQuantity": None,
    }
    tail = {**_algo_tail(order), "isActivated": order.activated}
    return {**_algo_head(order, instrument), **prices, **tail, **_trailing(order)}


def algo_row(order: AlgoOrder, instrument: Instrument) -> Json:
    """Return what GET algoOrder answers, and one element of allAlgoOrders."""
    price = instrument.price_precision
    actual: Json = {
        "actualOrderId": str(order.actual_order_id or ""),
        "actualPrice": fixed(order.actual_price, price + 1),
    }
    if order.actual_order_id:
        actual["actualQty"] = fixed(order.actual_quantity, instrument.quantity_precision)
        actual["actualType"] = order.actual_type
    prices = {
        "triggerPrice": fixed(order.trigger_price, price),
        "price": fixed(order.price, price),
        "icebergQuantity": None,
        "tpOrderType": "",
    }
    tail = {**_algo_tail(order), "isActivated": order.activated}
    return {**_algo_head(order, instrument), **actual, **prices, **tail, **_trailing(order)}


def algo_cancelled(order: AlgoOrder) -> Json:
    """Return what DELETE algoOrder answers; its ``code`` is a text, unlike everywhere else."""
    return {"algoId": order.algo_id, "clientAlgoId": order.client_id, "code": "200", "msg": "success"}
