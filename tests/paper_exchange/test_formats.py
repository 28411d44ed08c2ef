"""Numbers and key sets as recorded from the real exchange: values differ, keys, types and digits do not."""

import json
import re
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.market import Instrument
from src.paper_exchange import formats, formats_account, formats_events, formats_market
from src.paper_exchange.contracts import CONTRACTS
from src.paper_exchange.events import (
    AccountUpdate,
    AlgoUpdate,
    BalanceChange,
    ConfigUpdate,
    MarginCall,
    MarginCallRow,
    OrderUpdate,
    PositionChange,
    TradeLite,
)
from src.paper_exchange.model import AlgoOrder, IncomeRow, PositionView, SymbolConfig, VenueOrder, VenueTrade

D = Decimal
TIME = 1_789_837_689_736
# The recorded contract: six price digits, one quantity digit.
DOT = Instrument(
    "DOTUSDT", "DOT", "USDT", D("0.0001"), D("0.1"), D("0.1"), D(1_000_000), D(1_000_000), D(5), D("0.1"), D(1000), 6, 1
)
RULES = {"DOTUSDT": DOT}
ORDER = VenueOrder(
    33878894217, "6e8f8d89-5b04-4ede-88bb-52b7d8b2b0d2", "DOTUSDT", "BUY", "MARKET", "MARKET", "GTC", "BOTH",
    D(0), D("4.9"), "FILLED", TIME, TIME, D("4.9"), D("5.56591"),
)  # fmt: skip
TRADE = VenueTrade(
    1190331610, ORDER.order_id, ORDER.client_id, "DOTUSDT", "BUY", "BOTH", D("1.1359"), D("4.9"), D("5.56591"),
    D(0), D("0.00000325"), "BNB", False, TIME,
)  # fmt: skip
ALGO = AlgoOrder(
    4000001910058351, "d0a897fb-5b04-4ac7-b678-2189ad628150", "DOTUSDT", "BUY", "STOP_MARKET", "BOTH", "GTC",
    D("4.9"), "NEW", 1789819033056, 1789819033056, D("1.1837"),
)  # fmt: skip
FINISHED = replace(
    ALGO, status="FINISHED", actual_order_id=33877541028, actual_price=D("1.1325"), actual_quantity=D("4.9"),
    actual_type="MARKET", triggered_ms=1789826323607, trigger_price=D("1.1322"),
)  # fmt: skip


def sample(text: str) -> Any:
    return json.loads(text)


POSTED = sample(
    '{"orderId":33878894217,"symbol":"DOTUSDT","status":"FILLED","clientOrderId":"6e8f8d89-5b04-4ede-88bb-52b7d8b2b0d2",'
    '"price":"0.000000","origQty":"4.9","executedQty":"4.9","cumQty":"4.9","timeInForce":"GTC","type":"MARKET",'
    '"reduceOnly":false,"closePosition":false,"side":"BUY","positionSide":"BOTH","stopPrice":"0.000000",'
    '"workingType":"CONTRACT_PRICE","priceProtect":false,"origType":"MARKET","priceMatch":"NONE",'
    '"selfTradePreventionMode":"EXPIRE_MAKER","goodTillDate":0,"updateTime":1789837689736}'
)
ASKED = sample(
    '{"orderId":33878894217,"symbol":"DOTUSDT","status":"FILLED","clientOrderId":"6e8f8d89-5b04-4ede-88bb-52b7d8b2b0d2",'
    '"price":"0.000000","avgPrice":"1.1359000","origQty":"4.9","executedQty":"4.9","cumQuote":"5.5659100",'
    '"timeInForce":"GTC","type":"MARKET","reduceOnly":false,"closePosition":false,"side":"BUY","positionSide":"BOTH",'
    '"stopPrice":"0.000000","workingType":"CONTRACT_PRICE","priceProtect":false,"origType":"MARKET",'
    '"priceMatch":"NONE","selfTradePreventionMode":"EXPIRE_MAKER","goodTillDate":0,"time":1789837689736,'
    '"updateTime":1789837689736}'
)
HISTORY = sample(
    '{"orderId":33866145399,"symbol":"DOTUSDT","status":"CANCELED","clientOrderId":"97cc58af","price":"0.786300",'
    '"avgPrice":"0.0000000","origQty":"6.4","executedQty":"0","cumQuote":"0","cumBase":"0","timeInForce":"GTC",'
    '"type":"LIMIT","reduceOnly":false,"closePosition":false,"side":"BUY","positionSide":"BOTH","stopPrice":"0",'
    '"workingType":"CONTRACT_PRICE","priceMatch":"NONE","selfTradePreventionMode":"EXPIRE_MAKER","goodTillDate":0,'
    '"priceProtect":false,"origType":"LIMIT","time":1789733764293,"updateTime":1789733765594,"pair":"DOTUSDT"}'
)
USER_TRADE = sample(
    '{"symbol":"DOTUSDT","id":1189522421,"orderId":33866374373,"pair":"DOTUSDT","side":"SELL","price":"1.135800",'
    '"qty":"5.3","realizedPnl":"-0.00052999","quoteQty":"6.0197400","commission":"0.00000362",'
    '"commissionAsset":"BNB","time":1789735344545,"buyer":false,"maker":false,"positionSide":"BOTH","baseQty":"0",'
    '"marginAsset":"USDT"}'
)
ALGO_POSTED = sample(
    '{"algoId":4000001910058351,"clientAlgoId":"d0a897fb-5b04-4ac7-b678-2189ad628150","algoType":"CONDITIONAL",'
    '"orderType":"STOP_MARKET","symbol":"DOTUSDT","side":"BUY","positionSide":"BOTH","timeInForce":"GTC",'
    '"quantity":"4.9","algoStatus":"NEW","triggerPrice":"1.183700","price":"0.000000","icebergQuantity":null,'
    '"selfTradePreventionMode":"EXPIRE_MAKER","workingType":"CONTRACT_PRICE","priceMatch":"NONE",'
    '"closePosition":false,"priceProtect":false,"reduceOnly":false,"createTime":1789819033056,'
    '"updateTime":1789819033056,"triggerTime":0,"goodTillDate":0}'
)
ALGO_OPEN = {
    **ALGO_POSTED,
    "actualOrderId": "",
    "actualQty": "0.0",
    "triggerPrice": "1.1837",
    "price": "0.0",
    "isActivated": False,
}
ALGO_DONE = {
    **ALGO_POSTED,
    "algoStatus": "FINISHED",
    "actualOrderId": "33877541028",
    "actualPrice": "1.1325000",
    "actualQty": "4.9",
    "actualType": "MARKET",
    "triggerPrice": "1.132200",
    "tpOrderType": "",
    "triggerTime": 1789826323607,
    "isActivated": False,
}
NEW_UPDATE = sample(
    '{"e":"ORDER_TRADE_UPDATE","T":1789837689736,"E":1789837689736,"o":{"s":"DOTUSDT",'
    '"c":"6e8f8d89-5b04-4ede-88bb-52b7d8b2b0d2","S":"BUY","o":"MARKET","f":"GTC","q":"4.9","p":"0","ap":"0","sp":"0",'
    '"x":"NEW","X":"NEW","i":33878894217,"l":"0","z":"0","L":"0","n":"0","N":"USDT","T":1789837689736,"t":0,"b":"0",'
    '"a":"0","m":false,"R":false,"wt":"CONTRACT_PRICE","ot":"MARKET","ps":"BOTH","cp":false,"rp":"0","pP":false,'
    '"si":0,"ss":0,"V":"EXPIRE_MAKER","pm":"NONE","gtd":0,"er":"0"}}'
)
FILL_UPDATE = sample(
    '{"e":"ORDER_TRADE_UPDATE","T":1789837689736,"E":1789837689736,"o":{"s":"DOTUSDT",'
    '"c":"6e8f8d89-5b04-4ede-88bb-52b7d8b2b0d2","S":"BUY","o":"MARKET","f":"GTC","q":"4.9","p":"0","ap":"1.1359",'
    '"sp":"0","x":"TRADE","X":"FILLED","i":33878894217,"l":"4.9","z":"4.9","L":"1.1359","n":"0.00000325","N":"BNB",'
    '"T":1789837689736,"t":1190331610,"b":"0","a":"0","m":false,"R":false,"wt":"CONTRACT_PRICE","ot":"MARKET",'
    '"ps":"BOTH","cp":false,"rp":"0","pP":false,"si":0,"ss":0,"V":"EXPIRE_MAKER","pm":"NONE","gtd":0,"er":"0"}}'
)
LITE = sample(
    '{"e":"TRADE_LITE","E":1789837689736,"T":1789837689736,"s":"DOTUSDT","q":"4.9","p":"0.000000","m":false,'
    '"c":"6e8f8d89-5b04-4ede-88bb-52b7d8b2b0d2","S":"BUY","L":"1.135900","l":"4.9","t":1190331610,"i":33878894217}'
)
ACCOUNT = sample(
    '{"e":"ACCOUNT_UPDATE","T":1789837689736,"E":1789837689736,"a":{"B":[{"a":"USDT","wb":"28.05614361",'
    '"cw":"28.05614361","bc":"0"},{"a":"BNB","wb":"0.00240773","cw":"0.00240773","bc":"0"}],"P":[{"s":"DOTUSDT",'
    '"pa":"4.9","ep":"1.1359","cr":"-0.73987992","up":"0","mt":"cross","iw":"0","ps":"BOTH","ma":"USDT",'
    '"bep":"1.13646795"}],"m":"ORDER"}}'
)
ALGO_NEW = sample(
    '{"e":"ALGO_UPDATE","T":1789837689736,"E":1789837689736,"o":{"caid":"d0a897fb-5b04-4ac7-b678-2189ad628150",'
    '"aid":4000001910058351,"at":"CONDITIONAL","o":"STOP_MARKET","s":"DOTUSDT","S":"BUY","ps":"BOTH","f":"GTC",'
    '"q":"4.9","X":"NEW","ai":"","tp":"1.1837","p":"0","V":"EXPIRE_MAKER","wt":"CONTRACT_PRICE","pm":"NONE",'
    '"cp":false,"pP":false,"R":false,"tt":0,"gtd":0,"ia":false}}'
)
ORDER_NEW = replace(ORDER, status="NEW", executed=D(0), cum_quote=D(0))
CANCELLED = VenueOrder(
    33866145399, "97cc58af", "DOTUSDT", "BUY", "LIMIT", "LIMIT", "GTC", "BOTH", D("0.7863"), D("6.4"), "CANCELED",
    1789733764293, 1789733765594,
)  # fmt: skip
SOLD = replace(
    TRADE, trade_id=1189522421, order_id=33866374373, side="SELL", price=D("1.1358"), quantity=D("5.3"),
    quote_quantity=D("6.01974"), realized_pnl=D("-0.00052999"), commission=D("0.00000362"), time_ms=1789735344545,
)  # fmt: skip
UPDATE = AccountUpdate(
    "k", TIME, "ORDER",
    (
        BalanceChange("USDT", D("28.05614361"), D("28.05614361"), D(0)),
        BalanceChange("BNB", D("0.00240773"), D("0.00240773"), D(0)),
    ),
    (
        PositionChange(
            "DOTUSDT", "BOTH", D("4.9"), D("1.1359"), D("1.13646795"), D("-0.73987992"), D(0), "CROSSED", D(0)
        ),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("made", "recorded"),
    [
        (formats.order_reply(ORDER, DOT), POSTED),
        (formats.order_row(ORDER, DOT), ASKED),
        (formats.history_row(CANCELLED, DOT), HISTORY),
        (formats.trade_row(SOLD, DOT), USER_TRADE),
        (formats.algo_reply(ALGO, DOT), ALGO_POSTED),
        (formats.open_algo_row(ALGO, DOT), ALGO_OPEN),
        (formats.algo_row(FINISHED, DOT), ALGO_DONE),
        (
            formats.algo_cancelled(ALGO),
            {"algoId": ALGO.algo_id, "clientAlgoId": ALGO.client_id, "code": "200", "msg": "success"},
        ),
        (formats_events.event_frame(OrderUpdate("k", TIME, "NEW", ORDER_NEW, None, D(0), D(0)), RULES), NEW_UPDATE),
        (formats_events.event_frame(OrderUpdate("k", TIME, "TRADE", ORDER, TRADE, D(0), D(0)), RULES), FILL_UPDATE),
        (formats_events.event_frame(TradeLite("k", TIME, ORDER, TRADE), RULES), LITE),
        (formats_events.event_frame(UPDATE, RULES), ACCOUNT),
        (formats_events.event_frame(AlgoUpdate("k", TIME, ALGO), RULES), ALGO_NEW),
    ],
    ids=[
        "POST order", "GET order", "allOrders", "userTrades", "POST algoOrder", "openAlgoOrders", "GET algoOrder",
        "DELETE algoOrder", "update NEW", "update TRADE", "TRADE_LITE", "ACCOUNT_UPDATE", "ALGO_UPDATE",
    ],
)  # fmt: skip
def test_recorded_frames_are_reproduced_exactly(made, recorded):
    assert made == recorded


def test_the_response_to_an_order_has_no_fill_price():
    assert {"avgPrice", "cumQuote"}.isdisjoint(formats.order_reply(ORDER, DOT))


def test_an_amended_order_reports_pair_and_number_of_the_change():
    made = formats.amended_reply(CANCELLED, DOT)
    assert made.keys() == {*POSTED, "pair", "modifyId"}


def test_a_cancelled_algo_order_reports_no_triggered_order():
    made = formats.algo_row(replace(ALGO, status="CANCELED"), DOT)
    assert made["actualPrice"] == "0.0000000"
    assert {"actualQty", "actualType"}.isdisjoint(made)


def test_a_finished_algo_order_reports_price_quantity_and_type_of_its_order():
    body = formats_events.event_frame(AlgoUpdate("k", TIME, FINISHED), RULES)["o"]
    assert (body["ai"], body["ap"], body["aq"], body["act"]) == ("33877541028", "1.1325", "4.9", "MARKET")
    assert "rm" not in body


def test_a_trailing_stop_reports_its_own_figures():
    trailing = replace(ALGO, type="TRAILING_STOP_MARKET", activate_price=D("1.2"), callback_rate=D("0.5"))
    made = formats.algo_reply(trailing, DOT)
    assert (made["activatePrice"], made["callbackRate"]) == ("1.2", "0.5")


def test_funding_names_its_symbol():
    update = replace(UPDATE, reason="FUNDING_FEE", positions=(), symbol="DOTUSDT")
    body = formats_events.event_frame(update, RULES)["a"]
    assert (body["m"], body["S"], body["P"]) == ("FUNDING_FEE", "DOTUSDT", [])


def test_a_margin_call_spells_its_margin_type_in_capitals():
    row = MarginCallRow("DOTUSDT", "LONG", D("1.327"), "CROSSED", D(0), D("187.17127"), D("-1.166074"), D("1.614445"))
    made = formats_events.event_frame(MarginCall("k", 1587727187525, D("3.16812045"), (row,)), RULES)
    assert made == sample(
        '{"e":"MARGIN_CALL","E":1587727187525,"cw":"3.16812045","p":[{"s":"DOTUSDT","ps":"LONG","pa":"1.327",'
        '"mt":"CROSSED","iw":"0","mp":"187.17127","up":"-1.166074","mm":"1.614445"}]}'
    )


def test_leverage_and_asset_mode_events_are_distinguished():
    leverage = formats_events.event_frame(ConfigUpdate("k", TIME, "DOTUSDT", 25), RULES)
    mode = formats_events.event_frame(ConfigUpdate("k", TIME, multi_assets=True), RULES)
    assert (leverage["ac"], mode["ai"]) == ({"s": "DOTUSDT", "l": 25}, {"j": True})


def position(symbol: str = "BTCUSDT", **figures: Any) -> PositionView:
    names = {field.name for field in fields(PositionView) if field.type in ("Decimal", Decimal)}
    zeros = dict.fromkeys(names, D(0))
    rest = {"position_side": "BOTH", "leverage": 20, "margin_type": "CROSSED", "adl": 2, "updated_ms": 0}
    return PositionView(symbol=symbol, **{**zeros, **rest, **figures})


def test_positions_of_both_versions_have_their_own_keys_and_spellings():
    rules = CONTRACTS["BTCUSDT"].rules
    row = position(amount=D("0.001"), entry_price=D("22185.2"), mark_price=D("21123.05052574"), leverage=4)
    v2 = formats_account.risk_v2(row, rules)
    recorded = sample(
        '{"symbol":"BTCUSDT","positionAmt":"0.001","entryPrice":"22185.2","breakEvenPrice":"0.0",'
        '"markPrice":"21123.05052574","unRealizedProfit":"-1.06214947","liquidationPrice":"19731.45529116",'
        '"leverage":"4","maxNotionalValue":"100000000","marginType":"cross","isolatedMargin":"0.00000000",'
        '"isAutoAddMargin":"false","positionSide":"LONG","notional":"21.12305052","isolatedWallet":"0",'
        '"updateTime":1655217461579}'
    )
    assert v2.keys() == {*recorded, "isolated", "adlQuantile"}
    same = ("entryPrice", "breakEvenPrice", "markPrice", "leverage", "marginType", "isolatedMargin", "isolatedWallet")
    assert {key: v2[key] for key in same} == {key: recorded[key] for key in same}
    v3 = formats_account.risk_v3(row, rules)
    assert {"leverage", "marginType"}.isdisjoint(v3)
    assert (v3["isolatedMargin"], v3["liquidationPrice"]) == ("0", "0")


def test_symbol_settings_are_numbers_and_capitals_here():
    made = formats_account.symbol_config(SymbolConfig("BTCUSDT", "CROSSED", 21, D(1_000_000)))
    assert made == sample(
        '{"symbol":"BTCUSDT","marginType":"CROSSED","isAutoAddMargin":false,"leverage":21,"maxNotionalValue":"1000000"}'
    )


def test_income_has_eight_digits_and_text_where_no_trade_is():
    made = formats.income_row(IncomeRow("", "TRANSFER", D("-0.375"), "USDT", "TRANSFER", 1570608000000, 9689322392))
    assert made == sample(
        '{"symbol":"","incomeType":"TRANSFER","income":"-0.37500000","asset":"USDT","info":"TRANSFER",'
        '"time":1570608000000,"tranId":9689322392,"tradeId":""}'
    )


def test_the_listing_of_bitcoin_is_the_recorded_one():
    made = formats_market.exchange_info({"BTCUSDT": CONTRACTS["BTCUSDT"]}, 1789478299014)
    assert list(made) == ["timezone", "serverTime", "futuresType", "rateLimits", "exchangeFilters", "assets", "symbols"]
    recorded = sample(
        '{"symbol":"BTCUSDT","pair":"BTCUSDT","contractType":"PERPETUAL","deliveryDate":4133404800000,'
        '"onboardDate":1567965300000,"status":"TRADING","maintMarginPercent":"2.5000","requiredMarginPercent":"5.0000",'
        '"baseAsset":"BTC","quoteAsset":"USDT","marginAsset":"USDT","pricePrecision":2,"quantityPrecision":3,'
        '"baseAssetPrecision":8,"quotePrecision":8,"underlyingType":"COIN","triggerProtect":"0.0500",'
        '"liquidationFee":"0.012500","marketTakeBound":"0.05","maxMoveOrderLimit":10000,"filters":['
        '{"filterType":"PRICE_FILTER","minPrice":"556.80","maxPrice":"4529764","tickSize":"0.10"},'
        '{"filterType":"LOT_SIZE","minQty":"0.001","stepSize":"0.001","maxQty":"1000"},'
        '{"stepSize":"0.001","filterType":"MARKET_LOT_SIZE","minQty":"0.001","maxQty":"120"},'
        '{"limit":200,"filterType":"MAX_NUM_ORDERS"},{"filterType":"MIN_NOTIONAL","notional":"50"},'
        '{"multiplierUp":"1.0500","multiplierDecimal":"4","filterType":"PERCENT_PRICE","multiplierDown":"0.9500"},'
        '{"positionControlSide":"NONE","filterType":"POSITION_RISK_CONTROL"}],'
        '"orderTypes":["LIMIT","MARKET","STOP","STOP_MARKET","TAKE_PROFIT","TAKE_PROFIT_MARKET",'
        '"TRAILING_STOP_MARKET"],"timeInForce":["GTC","IOC","FOK","GTX","GTD"],'
        '"permissionSets":["GRID","COPY","DCA","PSB"]}'
    )
    row = made["symbols"][0]
    assert row.keys() == {*recorded, "underlyingSubType"}
    assert {key: row[key] for key in recorded} == recorded


amounts = st.decimals(-10_000_000, 10_000_000, allow_nan=False, allow_infinity=False, places=8)


@given(amounts, st.integers(0, 8))
def test_fixed_numbers_have_their_digits_and_no_exponent(value, digits):
    text = formats.fixed(value, digits)
    assert re.fullmatch(r"-?\d+" + (rf"\.\d{{{digits}}}" if digits else ""), text)
    assert abs(D(text) - value) <= D(1).scaleb(-digits) / 2
    assert text != "-" + formats.fixed(D(0), digits)


@given(amounts)
def test_trimmed_numbers_lose_nothing(value):
    text = formats.trimmed(value)
    assert D(text) == value
    assert re.fullmatch(r"-?\d+(\.\d*[1-9])?", text)


@pytest.mark.parametrize(("value", "text"), [("1.1837", "1.1837"), ("0", "0.0"), ("60000", "60000.0")])
def test_open_algo_prices_keep_one_decimal(value, text):
    assert formats.pointed(D(value)) == text
