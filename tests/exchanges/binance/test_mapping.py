"""Binance's JSON, as its production servers send it, read into the suite's words."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.orders import OrderIntent, OrderKind, OrderStatus, Purpose, Side
from src.domain.portfolio import Direction
from src.exchanges.binance import mapping as words

KLINE_ROW = [
    1789478160000, "76936.20", "76965.50", "76936.10", "76965.40", "20.680",
    1789478219999, "1591436.27140", 878, "15.190", "1168938.63310", "0",
]  # fmt: skip
POSTED = {
    "orderId": 33878894217, "symbol": "DOTUSDT", "status": "FILLED", "clientOrderId": "6e8f8d89", "price": "0.000000",
    "origQty": "4.9", "executedQty": "4.9", "cumQty": "4.9", "timeInForce": "GTC", "type": "MARKET",
    "reduceOnly": False, "closePosition": False, "side": "BUY", "positionSide": "BOTH", "stopPrice": "0.000000",
    "workingType": "CONTRACT_PRICE", "origType": "MARKET", "updateTime": 1789837689736,
}  # fmt: skip
ALGO_REPLY = {
    "algoId": 4000001910058351, "clientAlgoId": "d0a897fb", "algoType": "CONDITIONAL", "orderType": "STOP_MARKET",
    "symbol": "DOTUSDT", "side": "BUY", "positionSide": "BOTH", "timeInForce": "GTC", "quantity": "4.9",
    "algoStatus": "NEW", "triggerPrice": "1.183700", "price": "0.000000", "icebergQuantity": None,
    "closePosition": False, "reduceOnly": False, "createTime": 1789819033056, "updateTime": 1789819033056,
    "triggerTime": 0,
}  # fmt: skip
TRADE_EVENT = {
    "e": "ORDER_TRADE_UPDATE", "T": 1789837689736, "E": 1789837689736,
    "o": {"s": "DOTUSDT", "c": "6e8f8d89", "S": "BUY", "o": "MARKET", "f": "GTC", "q": "4.9", "p": "0", "ap": "1.1359",
          "sp": "0", "x": "TRADE", "X": "FILLED", "i": 33878894217, "l": "4.9", "z": "4.9", "L": "1.1359",
          "n": "0.00000325", "N": "BNB", "T": 1789837689736, "t": 1190331610, "b": "0", "a": "0", "m": False,
          "R": False, "wt": "CONTRACT_PRICE", "ot": "MARKET", "ps": "BOTH", "cp": False, "rp": "0"},
}  # fmt: skip
ALGO_FINISHED = {
    "e": "ALGO_UPDATE", "T": 1765431097031, "E": 1765431097037,
    "o": {"caid": "O-1", "aid": 1000000033225453, "at": "CONDITIONAL", "o": "STOP_MARKET", "s": "DOGEUSDT",
          "S": "SELL", "ps": "BOTH", "f": "GTC", "q": "0", "X": "FINISHED", "ai": "88937381063", "ap": "0.13856",
          "aq": "38", "act": "MARKET", "tp": "0.13855", "p": "0", "cp": True, "pP": False, "R": False,
          "tt": 1765431097019, "gtd": 0},
}  # fmt: skip


def intent(kind: OrderKind = OrderKind.MARKET, **changes: object) -> OrderIntent:
    fields: dict[str, object] = {
        "client_id": "b123456-BTCUSDT-abc-e0",
        "symbol": "BTCUSDT",
        "side": Side.BUY,
        "kind": kind,
        "purpose": Purpose.ENTRY,
        "quantity": Decimal("0.010"),
        "decided_ms": 1,
    }
    return OrderIntent(**(fields | changes))  # type: ignore[arg-type]


def test_a_kline_row_and_a_kline_event_of_one_minute_are_the_same_candle():
    event = {"t": 1789478160000, "T": 1789478219999, "s": "BTCUSDT", "i": "1m", "o": "76936.20", "h": "76965.50",
             "l": "76936.10", "c": "76965.40", "v": "20.680", "n": 878, "x": True, "q": "1591436.27140",
             "V": "15.190"}  # fmt: skip
    candle = words.candle_of_row(KLINE_ROW)
    assert candle == words.candle_of_event(event)
    assert (candle.open, candle.high, candle.low, candle.close) == (76936.2, 76965.5, 76936.1, 76965.4)
    assert (candle.trades, candle.taker_buy_volume, candle.quote_volume) == (878, 15.19, 1591436.2714)


def test_the_reply_to_an_order_gives_no_price_and_none_is_made_up():
    order = words.order_of_answer(POSTED)
    assert order.average_price == 0
    assert (order.status, order.executed_quantity) == (OrderStatus.FILLED, Decimal("4.9"))
    assert order.order_id == "33878894217"
    assert words.order_of_answer(POSTED | {"avgPrice": "1.1359000"}).average_price == Decimal("1.1359")


def test_all_four_shapes_of_a_conditional_order_are_read():
    shown = ALGO_REPLY | {"actualOrderId": "", "actualQty": "0.0", "triggerPrice": "1.1837", "isActivated": False}
    for row in (ALGO_REPLY, shown):
        order = words.conditional_of_answer(row)
        assert (order.status, order.trigger_price, order.spawned_id) == (OrderStatus.NEW, Decimal("1.1837"), "")
    done = shown | {"algoStatus": "FINISHED", "actualOrderId": "33877541028", "actualPrice": "1.13", "actualQty": "4.9"}
    order = words.conditional_of_answer(done)
    assert (order.status, order.spawned_id) == (OrderStatus.FILLED, "33877541028")
    assert (order.average_price, order.executed_quantity) == (Decimal("1.13"), Decimal("4.9"))


@pytest.mark.parametrize(
    ("word", "executed", "expected"),
    [
        ("TRIGGERED", "0", OrderStatus.TRIGGERING),
        ("FINISHED", "4.9", OrderStatus.FILLED),
        ("FINISHED", "2.0", OrderStatus.EXPIRED),
        ("FINISHED", "0", OrderStatus.EXPIRED),
        ("CANCELED", "0", OrderStatus.CANCELED),
        ("REJECTED", "0", OrderStatus.REJECTED),
    ],
)
def test_a_conditional_order_counts_as_filled_only_when_its_triggered_order_is(word, executed, expected):
    assert words.conditional_of_answer(ALGO_REPLY | {"algoStatus": word, "actualQty": executed}).status is expected


def test_a_trade_event_is_a_fill_and_an_order_at_once():
    fill = words.fill_of_event(TRADE_EVENT)
    assert fill is not None
    assert (fill.trade_id, fill.price, fill.fee, fill.fee_asset) == (
        "1190331610", Decimal("1.1359"), Decimal("0.00000325"), "BNB",
    )  # fmt: skip
    assert fill.client_id == words.order_of_event(TRADE_EVENT).client_id == "6e8f8d89"
    assert words.fill_of_event({"o": TRADE_EVENT["o"] | {"x": "NEW", "l": "0"}}) is None


def test_a_liquidation_is_a_fill_of_a_foreign_order():
    seen = TRADE_EVENT["o"] | {"c": "autoclose-1234567890", "o": "LIMIT", "x": "CALCULATED", "S": "SELL"}
    event = TRADE_EVENT | {"o": seen}
    assert words.fill_of_event(event) is not None
    order = words.order_of_event(event)
    assert order.kind is OrderKind.FOREIGN
    assert not order.kind.conditional


def test_a_finished_conditional_event_names_the_order_it_made():
    order = words.conditional_of_event(ALGO_FINISHED)
    assert (order.status, order.spawned_id, order.close_position) == (OrderStatus.FILLED, "88937381063", True)


def test_a_short_position_has_a_positive_quantity_and_no_liquidation_price_where_none_is_given():
    row = {"symbol": "ADAUSDT", "positionSide": "BOTH", "positionAmt": "-30", "entryPrice": "0.385",
           "markPrice": "0.41047590", "unRealizedProfit": "-0.76427700", "liquidationPrice": "0",
           "updateTime": 1720736417660}  # fmt: skip
    position = words.position_of_row(row, 20, "CROSSED")
    assert position is not None
    assert (position.direction, position.quantity, position.liquidation_price) == (Direction.SHORT, 30, None)
    assert position.pnl_at(position.mark_price) == Decimal("-0.764277")
    assert words.position_of_row(row | {"positionAmt": "0.0"}, 20, "CROSSED") is None


def test_a_market_order_asks_with_its_own_id_and_text_for_figures():
    asked = words.parameters_of(intent(reduce_only=True), "MARK_PRICE")
    assert asked == {
        "symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "newClientOrderId": "b123456-BTCUSDT-abc-e0",
        "newOrderRespType": "RESULT", "quantity": "0.01", "reduceOnly": "true",
    }  # fmt: skip


def test_a_stop_that_closes_the_position_carries_neither_quantity_nor_reduce_only():
    stop = intent(
        OrderKind.STOP_MARKET,
        trigger_price=Decimal("70000.10"),
        close_position=True,
        quantity=Decimal(0),
        reduce_only=True,
    )
    asked = words.parameters_of(stop, "MARK_PRICE")
    assert asked["clientAlgoId"] == stop.client_id
    assert (asked["triggerPrice"], asked["closePosition"], asked["workingType"]) == ("70000.1", "true", "MARK_PRICE")
    assert not {"quantity", "reduceOnly", "stopPrice", "newClientOrderId"} & set(asked)


def test_a_conditional_order_without_trigger_is_a_broken_promise():
    with pytest.raises(ValueError, match="trigger"):
        words.parameters_of(intent(OrderKind.STOP_MARKET), "MARK_PRICE")


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal("1e-12"), max_value=Decimal("1e12")))
def test_figures_are_sent_without_exponent_and_lose_nothing(value):
    text = words.plain(value)
    assert "E" not in text.upper()
    assert Decimal(text) == value
