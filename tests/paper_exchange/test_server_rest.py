"""The REST door: who may enter, what it counts, what is refused, what every endpoint answers."""

import json
import re

import pytest

from src.paper_exchange.gateway import ENDPOINTS
from tests.paper_exchange.running import running
from tests.paper_exchange.wire import Wire

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    with running(tmp_path_factory.mktemp("rest") / "state.json") as started:
        yield started


@pytest.fixture
def wire(exchange):
    return Wire(exchange)


PUBLIC = {
    "/fapi/v1/depth": "symbol=BTCUSDT&limit=5",
    "/fapi/v1/trades": "symbol=BTCUSDT",
    "/fapi/v1/historicalTrades": "symbol=BTCUSDT",
    "/fapi/v1/aggTrades": "symbol=BTCUSDT",
    "/fapi/v1/openInterest": "symbol=BTCUSDT",
    "/fapi/v1/klines": "symbol=BTCUSDT&interval=1m&limit=3",
    "/fapi/v1/markPriceKlines": "symbol=BTCUSDT&interval=5m&limit=3",
    "/fapi/v1/premiumIndexKlines": "symbol=BTCUSDT&interval=1h&limit=3",
    "/fapi/v1/indexPriceKlines": "pair=BTCUSDT&interval=1m&limit=3",
    "/futures/data/takerlongshortRatio": "symbol=BTCUSDT&period=5m",
    "/futures/data/basis": "pair=BTCUSDT&contractType=PERPETUAL&period=1h&limit=3",
    "/futures/data/delivery-price": "pair=BTCUSDT",
    "/fapi/v1/continuousKlines": "pair=BTCUSDT&contractType=PERPETUAL&interval=1m&limit=3",
}
READS = [endpoint for endpoint in ENDPOINTS.values() if endpoint.method == "GET"]
NEED_MORE = {"/fapi/v1/order", "/fapi/v1/openOrder", "/fapi/v1/algoOrder"}


@pytest.mark.parametrize("endpoint", [e for e in READS if not e.security.signed], ids=lambda e: e.name)
def test_every_public_endpoint_answers(wire, endpoint):
    answer = wire.plain("GET", endpoint.path, PUBLIC.get(endpoint.path, ""))
    assert answer.status == 200
    assert (answer.headers.get("X-MBX-USED-WEIGHT-1M") is None) == endpoint.funding_pool


@pytest.mark.parametrize(
    "endpoint", [e for e in READS if e.security.signed and e.path not in NEED_MORE], ids=lambda e: e.name
)
def test_every_signed_read_answers(wire, endpoint):
    assert wire.signed("GET", endpoint.path, symbol="BTCUSDT").status == 200


@pytest.mark.parametrize("endpoint", [e for e in ENDPOINTS.values() if e.security.signed], ids=lambda e: e.name)
def test_no_signed_endpoint_opens_without_signature(wire, endpoint):
    answer = wire.plain(endpoint.method, endpoint.path, f"symbol=BTCUSDT&timestamp={wire.stamp()}")
    assert (answer.status, answer.code) == (400, -1102)


@pytest.mark.parametrize("endpoint", [e for e in ENDPOINTS.values() if e.security.signed], ids=lambda e: e.name)
def test_an_unknown_key_is_refused_with_its_error_code(exchange, endpoint):
    stranger = Wire(exchange, "x" * 64, "secret").signed(endpoint.method, endpoint.path)
    malformed = Wire(exchange, "short", "secret").signed(endpoint.method, endpoint.path)
    assert (stranger.status, stranger.code) == (401, -2015)
    assert (malformed.status, malformed.code) == (401, -2014)


def test_a_wrong_secret_and_an_old_timestamp_are_distinguished(exchange, wire):
    assert Wire(exchange, secret="other").signed("GET", "/fapi/v3/balance").code == -1022
    assert wire.signed("GET", "/fapi/v3/balance", timestamp=wire.stamp() - 120_000).code == -1021
    assert wire.signed("GET", "/fapi/v3/balance", timestamp=wire.stamp() + 5_000).code == -1021


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_parameters_are_read_from_query_and_body_together(wire, method):
    from src.paper_exchange.signing import signature_of

    query, body = "symbol=BTCUSDT", f"countdownTime=0&orderId=1&timestamp={wire.stamp()}&recvWindow=60000"
    path = "/fapi/v1/countdownCancelAll" if method == "POST" else "/fapi/v1/order"
    answer = wire.plain(method, path, query, body + f"&signature={signature_of(wire.secret, query, body)}")
    assert answer.code in (None, -2011)


def test_an_unknown_path_or_verb_is_an_error_in_json(wire):
    assert wire.plain("GET", "/fapi/v1/nothing").status == 404
    assert wire.plain("POST", "/fapi/v1/time", body="a=1").code == -5000


@pytest.mark.parametrize(
    ("path", "query", "code", "words"),
    [
        ("klines", "symbol=BTCUSDT&interval=1s", -1120, "Invalid interval."),
        ("klines", "symbol=BTCUSDT&interval=1m&limit=1501", -1130, "Data sent for parameter 'limit' is not valid."),
        ("klines", "symbol=NONE&interval=1m", -1121, "Invalid symbol."),
        ("klines", "interval=1m", -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ("depth", "symbol=BTCUSDT&limit=3", -4021, "3 is not valid depth limit"),
        ("depth", "symbol=BTCUSDT&limit=1001", -1130, "Data sent for parameter 'limit' is not valid."),
        ("aggTrades", "symbol=BTCUSDT&limit=1001", -1130, "Data sent for parameter 'limit' is not valid."),
        ("premiumIndex", "symbol=btcusdt", -1121, "Invalid symbol."),
    ],
)
def test_wrong_questions_get_the_real_words(wire, path, query, code, words):
    answer = wire.plain("GET", f"/fapi/v1/{path}", query)
    assert (answer.status, answer.body) == (400, {"code": code, "msg": words})


def test_trades_of_the_past_need_a_key(exchange):
    answer = Wire(exchange, key="").plain("GET", "/fapi/v1/historicalTrades", "symbol=BTCUSDT")
    assert (answer.status, answer.code) == (401, -2014)


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        ("klines", "symbol=BTCUSDT&interval=1m&limit=99", 1),
        ("klines", "symbol=BTCUSDT&interval=1m&limit=499", 2),
        ("klines", "symbol=BTCUSDT&interval=1m&limit=1000", 5),
        ("klines", "symbol=BTCUSDT&interval=1m&limit=1500", 10),
        ("depth", "symbol=BTCUSDT&limit=50", 2),
        ("depth", "symbol=BTCUSDT&limit=1000", 20),
        ("ticker/24hr", "symbol=BTCUSDT", 1),
        ("ticker/24hr", "", 40),
        ("premiumIndex", "", 10),
    ],
)
def test_each_request_weighs_what_it_should(wire, path, query, weight):
    while True:  # a minute may end in between; it cannot end twice
        before = int(wire.plain("GET", "/fapi/v1/ping").headers["X-MBX-USED-WEIGHT-1M"])
        after = int(wire.plain("GET", f"/fapi/v1/{path}", query).headers["X-MBX-USED-WEIGHT-1M"])
        if after > before:
            break
    assert after - before == weight


def test_order_counts_are_reported_with_every_order_even_a_refused_one(wire):
    first = wire.order(quantity="0.0001")
    second = wire.order()
    assert (first.code, second.status) == (-1111, 200)
    assert int(second.headers["X-MBX-ORDER-COUNT-1M"]) >= 1
    assert second.headers["X-MBX-ORDER-COUNT-10S"] is not None
    assert wire.order(side="SELL", reduceOnly="true").status == 200


def test_an_acknowledged_order_reports_no_fill(wire):
    answer = wire.order()
    result = wire.order(side="SELL", newOrderRespType="RESULT")
    assert (answer.body["status"], answer.body["executedQty"]) == ("NEW", "0.000")
    assert (result.body["status"], result.body["executedQty"]) == ("FILLED", "0.010")
    assert {"avgPrice", "cumQuote"}.isdisjoint(result.body)
    asked = wire.signed("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=result.body["orderId"])
    assert float(asked.body["avgPrice"]) > 0


@pytest.mark.parametrize("kind", ["STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"])
def test_conditional_orders_are_sent_to_their_own_service(wire, kind):
    assert wire.order(type=kind, stopPrice="1", price="1").code == -4120
    orders = f'[{{"symbol":"BTCUSDT","side":"BUY","type":"{kind}"}}]'
    batch = wire.signed("POST", "/fapi/v1/batchOrders", batchOrders=orders)
    assert (batch.status, batch.body[0]["code"]) == (200, -4120)


def test_exponents_are_illegal_characters(wire):
    assert wire.order(quantity="1e-02").code == -1100


def test_a_batch_answers_element_by_element(wire):
    price = f"{wire.last() * 0.97:.1f}"
    good = f'{{"symbol":"BTCUSDT","side":"BUY","type":"LIMIT","timeInForce":"GTC","quantity":"0.01","price":"{price}"}}'
    bad = '{"symbol":"X","side":"BUY","type":"MARKET","quantity":"1"}'
    placed = wire.signed("POST", "/fapi/v1/batchOrders", batchOrders=f"[{good},{bad}]")
    assert (placed.body[0]["status"], placed.body[1]["code"]) == ("NEW", -1121)
    order_id = placed.body[0]["orderId"]
    ended = wire.signed("DELETE", "/fapi/v1/batchOrders", symbol="BTCUSDT", orderIdList=f"[{order_id},1]")
    assert (ended.body[0]["status"], ended.body[1]) == ("CANCELED", {"code": -2011, "msg": "Unknown order sent."})


def test_a_conditional_order_is_mapped_from_all_four_formats(wire):
    assert wire.order().status == 200
    price = wire.last() * 0.9
    posted = wire.stop(price, clientAlgoId="four-shapes").body
    opened = wire.signed("GET", "/fapi/v1/openAlgoOrders", symbol="BTCUSDT").body[0]
    asked = wire.signed("GET", "/fapi/v1/algoOrder", clientAlgoId="four-shapes").body
    listed = wire.signed("GET", "/fapi/v1/allAlgoOrders", symbol="BTCUSDT").body[0]
    ended = wire.signed("DELETE", "/fapi/v1/algoOrder", clientAlgoId="four-shapes").body
    assert {"isActivated", "actualOrderId"}.isdisjoint(posted)
    assert opened.keys() - posted.keys() == {"actualOrderId", "actualQty", "isActivated"}
    assert asked.keys() == listed.keys()
    assert asked.keys() - posted.keys() == {"actualOrderId", "actualPrice", "tpOrderType", "isActivated"}
    assert ended == {"algoId": posted["algoId"], "clientAlgoId": "four-shapes", "code": "200", "msg": "success"}
    assert wire.signed("DELETE", "/fapi/v1/algoOrder", clientAlgoId="four-shapes").code == -2011
    assert wire.order(side="SELL", reduceOnly="true").status == 200


def test_cancelling_everything_answers_the_same_words_when_nothing_was_open(wire):
    for path in ("allOpenOrders", "algoOpenOrders"):
        body = wire.signed("DELETE", f"/fapi/v1/{path}", symbol="BTCUSDT").body
        assert body == {"code": 200, "msg": "The operation of cancel all open order is done."}


def test_no_change_is_an_error_of_its_own(wire):
    assert wire.signed("POST", "/fapi/v1/marginType", symbol="XRPUSDT", marginType="CROSSED").code == -4046
    assert wire.signed("POST", "/fapi/v1/positionSide/dual", dualSidePosition="false").code == -4059


def test_leverage_is_answered_with_the_notional_it_allows(wire):
    answer = wire.signed("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=20)
    assert answer.body == {"leverage": 20, "maxNotionalValue": "100000000", "symbol": "BTCUSDT"}


def test_candles_end_with_the_running_one_and_have_no_hole(wire):
    rows = wire.plain("GET", "/fapi/v1/klines", "symbol=ETHUSDT&interval=1m&limit=1500").body
    opens = [row[0] for row in rows]
    assert opens == list(range(opens[0], opens[0] + 1500 * 60_000, 60_000))
    assert rows[-1][6] > wire.stamp() - 2_000
    assert all(float(row[3]) <= min(float(row[1]), float(row[4])) for row in rows)
    assert all(float(row[2]) >= max(float(row[1]), float(row[4])) for row in rows)


def test_the_earliest_candle_is_found_with_the_queries_of_libraries(wire):
    rows = wire.plain("GET", "/fapi/v1/klines", "symbol=BTCUSDT&interval=1d&limit=1&startTime=0").body
    assert len(rows) == 1
    assert rows[0][0] < wire.stamp() - 365 * 86_400_000


@pytest.mark.parametrize("interval", ["3m", "15m", "1h", "4h", "8h", "1d", "3d", "1w", "1M"])
def test_longer_candles_are_made_of_the_shorter_ones(wire, interval):
    bar = wire.plain("GET", "/fapi/v1/klines", f"symbol=SOLUSDT&interval={interval}&limit=2").body[0]
    span = f"symbol=SOLUSDT&startTime={bar[0]}&endTime={bar[6]}&limit=1500"
    parts = wire.plain("GET", "/fapi/v1/klines", f"{span}&interval={'1m' if interval.endswith('m') else '30m'}").body
    assert bar[1] == parts[0][1]
    assert bar[4] == parts[-1][4]
    assert bar[2] == max((part[2] for part in parts), key=float)
    assert bar[8] == sum(part[8] for part in parts)


def test_mark_candles_agree_with_the_mark_price(wire):
    row = wire.plain("GET", "/fapi/v1/markPriceKlines", "symbol=BTCUSDT&interval=1m&limit=1").body[0]
    mark = float(wire.plain("GET", "/fapi/v1/premiumIndex", "symbol=BTCUSDT").body["markPrice"])
    assert mark == pytest.approx(float(row[4]), rel=1e-3)
    assert all(re.fullmatch(r"\d+\.\d{8}", text) for text in row[1:5])


def test_trades_of_a_minute_are_its_candle(wire):
    candle = wire.plain("GET", "/fapi/v1/klines", "symbol=BTCUSDT&interval=1m&limit=3").body[0]
    query = f"symbol=BTCUSDT&startTime={candle[0]}&endTime={candle[6]}&limit=1000"
    ticks = wire.plain("GET", "/fapi/v1/aggTrades", query).body
    prices = [float(tick["p"]) for tick in ticks]
    assert sum(float(tick["q"]) for tick in ticks) == pytest.approx(float(candle[5]))
    assert (max(prices), min(prices)) == (float(candle[2]), float(candle[3]))
    assert (prices[0], prices[-1]) == (float(candle[1]), float(candle[4]))
    again = wire.plain("GET", "/fapi/v1/aggTrades", f"symbol=BTCUSDT&fromId={ticks[7]['a']}&limit=5").body
    assert again == ticks[7:12]


def test_a_key_here_cannot_withdraw(wire):
    answer = wire.signed("GET", "/sapi/v1/account/apiRestrictions").body
    assert answer["enableFutures"] is True
    assert answer["enableWithdrawals"] is False


def test_the_same_listen_key_comes_back_until_it_is_closed(wire):
    key = wire.plain("POST", "/fapi/v1/listenKey", body="a=1").body["listenKey"]
    assert re.fullmatch(r"[A-Za-z0-9]{64}", key)
    assert wire.plain("POST", "/fapi/v1/listenKey", body="a=1").body["listenKey"] == key
    assert wire.plain("PUT", "/fapi/v1/listenKey", body="a=1").body["listenKey"] == key
    assert wire.plain("DELETE", "/fapi/v1/listenKey").body == {}
    assert wire.plain("PUT", "/fapi/v1/listenKey", body="a=1").code == -1125


def resting(wire, **parameters):
    """Place a LIMIT order that waits, and return its number and price."""
    price = f"{wire.last() * 0.97:.1f}"
    usual = {"type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010", "price": price}
    return wire.order(**{**usual, **parameters}).body["orderId"], price


def test_a_batch_is_amended_element_by_element_and_every_change_is_kept(wire):
    (first, price), (second, _) = resting(wire), resting(wire)
    lower = f"{float(price) * 0.99:.1f}"
    rows = [
        {"symbol": "BTCUSDT", "side": "BUY", "orderId": first, "quantity": "0.012", "price": lower},
        {"symbol": "BTCUSDT", "side": "BUY", "orderId": 1, "quantity": "0.012", "price": lower},
        {"symbol": "BTCUSDT", "side": "BUY", "orderId": second, "quantity": "0.010", "price": price},
    ]
    good, absent, same = wire.signed("PUT", "/fapi/v1/batchOrders", batchOrders=json.dumps(rows)).body
    assert (good["origQty"], good["price"], absent["code"], same["code"]) == ("0.012", f"{lower}0", -2013, -5027)
    wire.signed("PUT", "/fapi/v1/order", **{**rows[0], "quantity": "0.013"})
    newest, oldest = wire.signed("GET", "/fapi/v1/orderAmendment", symbol="BTCUSDT", orderId=first).body
    assert oldest["amendment"]["origQty"] == {"before": "0.010", "after": "0.012"}
    assert oldest["amendment"]["price"] == {"before": f"{price}0", "after": f"{lower}0"}
    assert (oldest["amendment"]["count"], newest["amendment"]["count"]) == (1, 2)
    assert newest["amendmentId"] > oldest["amendmentId"]
    assert wire.signed("GET", "/fapi/v1/orderAmendment", symbol="BTCUSDT", orderId=second).body == []
    wire.signed("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")


def test_margin_moved_into_and_out_of_a_position_is_kept(wire):
    symbol = {"symbol": "SOLUSDT"}
    wire.signed("POST", "/fapi/v1/marginType", **symbol, marginType="ISOLATED")
    wire.order(**symbol, quantity="1")
    for kind, amount in ((1, "12.5"), (2, "2.5")):
        assert wire.signed("POST", "/fapi/v1/positionMargin", **symbol, amount=amount, type=kind).status == 200
    out, into = wire.signed("GET", "/fapi/v1/positionMargin/history", **symbol).body
    assert (out["type"], out["amount"], into["type"], into["amount"]) == (2, "2.50000000", 1, "12.50000000")
    assert (into["deltaType"], into["asset"], into["positionSide"]) == ("USER_ADJUST", "USDT", "BOTH")
    assert wire.signed("GET", "/fapi/v1/positionMargin/history", **symbol, type=1).body == [into]
    [quantile] = wire.signed("GET", "/fapi/v1/adlQuantile", **symbol).body
    assert quantile["symbol"] == "SOLUSDT"
    assert set(quantile["adlQuantile"]) == {"BOTH"}
    wire.order(**symbol, side="SELL", quantity="1", reduceOnly="true")
    assert wire.signed("GET", "/fapi/v1/adlQuantile", **symbol).body == []


def test_other_markets_are_empty_and_the_system_is_well(wire):
    for path in ("/api/v3/exchangeInfo", "/dapi/v1/exchangeInfo"):
        assert wire.plain("GET", path).body["symbols"] == []
    for path in ("/sapi/v1/margin/allPairs", "/sapi/v1/margin/isolated/allPairs"):
        assert wire.plain("GET", path).body == []
    assert wire.plain("GET", "/sapi/v1/system/status").body == {"status": 0, "msg": "normal"}
    assert wire.signed("GET", "/fapi/v1/apiTradingStatus").body["indicators"] == {}


def test_taker_volumes_and_basis_follow_from_the_candles(wire):
    rows = wire.plain("GET", "/futures/data/takerlongshortRatio", "symbol=BTCUSDT&period=5m&limit=4").body
    candles = wire.plain("GET", "/fapi/v1/klines", "symbol=BTCUSDT&interval=5m&limit=6").body
    known = {candle[0]: candle for candle in candles}
    assert len(rows) == 4
    for row in rows:
        candle = known[row["timestamp"]]
        assert float(row["buyVol"]) == pytest.approx(float(candle[9]))
        assert float(row["buyVol"]) + float(row["sellVol"]) == pytest.approx(float(candle[5]))
    query = "pair=BTCUSDT&contractType=PERPETUAL&period=5m&limit=2"
    for row in wire.plain("GET", "/futures/data/basis", query).body:
        assert float(row["futuresPrice"]) == float(known[row["timestamp"] - 300_000][4])
        assert float(row["basis"]) == pytest.approx(float(row["futuresPrice"]) - float(row["indexPrice"]), abs=1e-6)


@pytest.mark.parametrize(
    "path", ["openInterestHist", "topLongShortPositionRatio", "topLongShortAccountRatio", "globalLongShortAccountRatio"]
)
def test_what_this_market_cannot_know_is_absent(wire, path):
    answer = wire.plain("GET", f"/futures/data/{path}", "symbol=BTCUSDT&period=5m")
    assert (answer.status, answer.code) == (404, -5000)
