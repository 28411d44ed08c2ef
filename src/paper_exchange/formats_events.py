"""User stream events in Binance's JSON."""

from functools import singledispatch

from src.domain.market import Instrument
from src.paper_exchange.events import (
    AccountUpdate,
    AlgoUpdate,
    ConfigUpdate,
    Event,
    MarginCall,
    OrderUpdate,
    PositionChange,
    TradeLite,
)
from src.paper_exchange.formats import Json, fixed, trimmed
from src.paper_exchange.model import ZERO

_MARGIN_WORD = {"CROSSED": "cross", "ISOLATED": "isolated"}


@singledispatch
def event_frame(event: Event, instruments: dict[str, Instrument]) -> Json:
    """Return the JSON of one event; raises ``TypeError`` for a kind that has none."""
    raise TypeError(f"no frame for {type(event).__name__}")


@event_frame.register
def _(event: TradeLite, instruments: dict[str, Instrument]) -> Json:
    instrument = instruments[event.order.symbol]
    price, quantity = instrument.price_precision, instrument.quantity_precision
    return {
        "e": "TRADE_LITE",
        "E": event.time_ms,
        "T": event.time_ms,
        "s": event.order.symbol,
        "q": fixed(event.order.quantity, quantity),
        "p": fixed(event.order.price, price),
        "m": event.trade.maker,
        "c": event.order.client_id,
        "S": event.order.side,
        "L": fixed(event.trade.price, price),
        "l": fixed(event.trade.quantity, quantity),
        "t": event.trade.trade_id,
        "i": event.order.order_id,
    }


@event_frame.register
def _(event: OrderUpdate, instruments: dict[str, Instrument]) -> Json:
    order, trade = event.order, event.trade
    body: Json = {
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side,
        "o": order.type,
        "f": order.time_in_force,
        "q": trimmed(order.quantity),
        "p": trimmed(order.price),
        "ap": trimmed(order.average_price),
        "sp": trimmed(order.stop_price),
        "x": event.execution,
        "X": order.status,
        "i": order.order_id,
        "l": trimmed(trade.quantity if trade else ZERO),
        "z": trimmed(order.executed),
        "L": trimmed(trade.price if trade else ZERO),
        "n": fixed(trade.commission, 8) if trade and trade.commission else "0",
        "N": trade.commission_asset if trade else instruments[order.symbol].quote_asset,
        "T": event.time_ms,
        "t": trade.trade_id if trade else 0,
        "b": trimmed(event.bid_notional),
        "a": trimmed(event.ask_notional),
        "m": trade.maker if trade else False,
        "R": order.reduce_only,
        "wt": order.working_type,
        "ot": order.orig_type,
        "ps": order.position_side,
        "cp": order.close_position,
        "rp": trimmed(trade.realized_pnl if trade else ZERO),
        "pP": order.price_protect,
        "si": 0,
        "ss": 0,
        "V": order.stp_mode,
        "pm": order.price_match,
        "gtd": order.good_till_ms,
        "er": order.expiry_reason,
    }
    if order.orig_type == "TRAILING_STOP_MARKET":
        body["AP"], body["cr"] = trimmed(order.activate_price), trimmed(order.callback_rate)
    return {"e": "ORDER_TRADE_UPDATE", "T": event.time_ms, "E": event.time_ms, "o": body}


def _position(change: PositionChange, instruments: dict[str, Instrument]) -> Json:
    return {
        "s": change.symbol,
        "pa": trimmed(change.amount),
        "ep": trimmed(change.entry_price),
        "cr": trimmed(change.realized_total),
        "up": trimmed(change.unrealized),
        "mt": _MARGIN_WORD[change.margin_type],
        "iw": trimmed(change.isolated_wallet),
        "ps": change.position_side,
        "ma": instruments[change.symbol].quote_asset,
        "bep": trimmed(change.break_even_price),
    }


@event_frame.register
def _(event: AccountUpdate, instruments: dict[str, Instrument]) -> Json:
    balances = [
        {
            "a": change.asset,
            "wb": fixed(change.wallet_balance, 8),
            "cw": fixed(change.cross_wallet, 8),
            "bc": trimmed(change.change),
        }
        for change in event.balances
    ]
    body: Json = {"B": balances, "P": [_position(change, instruments) for change in event.positions]}
    body["m"] = event.reason
    if event.symbol:
        body["S"] = event.symbol
    return {"e": "ACCOUNT_UPDATE", "T": event.time_ms, "E": event.time_ms, "a": body}


@event_frame.register
def _(event: AlgoUpdate, instruments: dict[str, Instrument]) -> Json:
    order = event.order
    body: Json = {
        "caid": order.client_id,
        "aid": order.algo_id,
        "at": "CONDITIONAL",
        "o": order.type,
        "s": order.symbol,
        "S": order.side,
        "ps": order.position_side,
        "f": order.time_in_force,
        "q": trimmed(order.quantity),
        "X": order.status,
        "ai": str(order.actual_order_id or ""),
    }
    if order.actual_order_id:
        body["ap"] = trimmed(order.actual_price)
        body["aq"] = trimmed(order.actual_quantity)
        body["act"] = order.actual_type
    body |= {
        "tp": trimmed(order.trigger_price),
        "p": trimmed(order.price),
        "V": order.stp_mode,
        "wt": order.working_type,
        "pm": order.price_match,
        "cp": order.close_position,
        "pP": order.price_protect,
        "R": order.reduce_only,
        "tt": order.triggered_ms,
        "gtd": order.good_till_ms,
        "ia": order.activated,
    }
    if order.reject_reason:
        body["rm"] = order.reject_reason
    return {"e": "ALGO_UPDATE", "T": event.time_ms, "E": event.time_ms, "o": body}


@event_frame.register
def _(event: MarginCall, instruments: dict[str, Instrument]) -> Json:
    frame: Json = {"e": "MARGIN_CALL", "E": event.time_ms}
    if event.cross_wallet is not None:
        frame["cw"] = trimmed(event.cross_wallet)
    frame["p"] = [
        {
            "s": row.symbol,
            "ps": row.position_side,
            "pa": trimmed(row.amount),
            "mt": row.margin_type,
            "iw": trimmed(row.isolated_wallet),
            "mp": trimmed(row.mark_price),
            "up": trimmed(row.unrealized),
            "mm": trimmed(row.maint_margin),
        }
        for row in event.positions
    ]
    return frame


@event_frame.register
def _(event: ConfigUpdate, instruments: dict[str, Instrument]) -> Json:
    frame: Json = {"e": "ACCOUNT_CONFIG_UPDATE", "E": event.time_ms, "T": event.time_ms}
    if event.multi_assets is not None:
        frame["ai"] = {"j": event.multi_assets}
    else:
        frame["ac"] = {"s": event.symbol, "l": event.leverage}
    return frame


def forced_order_frame(event: OrderUpdate) -> Json:
    """Return the public forceOrder frame of a liquidation."""
    order, trade = event.order, event.trade
    body = {
        "s": order.symbol,
        "S": order.side,
        "o": order.type,
        "f": order.time_in_force,
        "q": trimmed(order.quantity),
        "p": trimmed(order.price),
        "ap": trimmed(order.average_price),
        "X": order.status,
        "l": trimmed(trade.quantity if trade else ZERO),
        "z": trimmed(order.executed),
        "T": event.time_ms,
    }
    return {"e": "forceOrder", "E": event.time_ms, "o": body}


def key_expired_frame(listen_key: str, now_ms: int) -> Json:
    """Return the last frame of a listen key."""
    return {"e": "listenKeyExpired", "E": now_ms, "listenKey": listen_key}
