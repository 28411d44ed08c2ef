"""The WebSocket API: envelope, sessions, orders and account, with the same rules as REST."""

import asyncio
import hashlib
import hmac
import json
import time

import ccxt.pro
import pytest
from binance import AsyncClient
from binance.exceptions import BinanceAPIException
from websockets.asyncio.client import connect

from tests.paper_exchange.keys import ED25519_API_KEY, RSA_API_KEY, KeyPair
from tests.paper_exchange.running import API_KEY, API_SECRET, running
from tests.paper_exchange.test_server_ccxt import SYMBOL
from tests.paper_exchange.test_server_ccxt import redirected as redirected_ccxt
from tests.paper_exchange.test_server_python_binance import redirected
from tests.paper_exchange.wire import Wire

pytestmark = pytest.mark.long
PATH = "/ws-fapi/v1"
MARKET_BUY = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return {kind: KeyPair(kind, folder) for kind in ("rsa", "ed25519")}


@pytest.fixture(scope="module")
def exchange(tmp_path_factory, pairs):
    settings = {
        "PAPER_API_KEY": f"{API_KEY},{RSA_API_KEY},{ED25519_API_KEY}",
        "PAPER_API_SECRET": f"{API_SECRET},pem:{pairs['rsa'].file},pem:{pairs['ed25519'].file}",
    }
    with running(tmp_path_factory.mktemp("api") / "state.json", settings=settings) as started:
        yield started


def hmac_sign(payload):
    return hmac.new(API_SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()


def signed(fields, key=API_KEY, sign=hmac_sign):
    """Parameters with key, timestamp and the signature over all of them in the order of their names."""
    whole = {**fields, "apiKey": key, "timestamp": int(time.time() * 1000)}
    payload = "&".join(f"{name}={value}" for name, value in sorted(whole.items()))
    return {**whole, "signature": sign(payload)}


def talk(exchange, *requests, path=PATH):
    """Send requests one after the other and return the answers; a request may be a function of the answers before."""

    async def run():
        answers = []
        async with connect(exchange.socket_address + path) as socket:
            for request in requests:
                message = request(answers) if callable(request) else request
                await socket.send(message if isinstance(message, str) else json.dumps(message))
                answers.append(json.loads(await asyncio.wait_for(socket.recv(), 5)))
        return answers

    return asyncio.run(run())


def ask(exchange, method, params=None, **options):
    return talk(exchange, {"id": "q-1", "method": method, "params": params or {}}, **options)[0]


def test_ping_and_time_are_answered_in_the_envelope(exchange):
    found = ask(exchange, "ping")
    assert (found["id"], found["status"], found["result"]) == ("q-1", 200, {})
    [limit] = found["rateLimits"]
    assert (limit["rateLimitType"], limit["limit"], limit["count"] >= 1) == ("REQUEST_WEIGHT", 2400, True)
    assert abs(ask(exchange, "time")["result"]["serverTime"] - time.time() * 1000) < 2_000


def test_rate_limits_can_be_left_out(exchange):
    assert "rateLimits" not in ask(exchange, "ping", path=PATH + "?returnRateLimits=false")


@pytest.mark.parametrize("message", ["{broken", "[]", '{"id": 1}', '{"id": 1, "method": "ping", "params": []}'])
def test_nonsense_is_an_invalid_message(exchange, message):
    [found] = talk(exchange, message)
    assert (found["status"], found["error"]["code"]) == (400, -1013)


def test_an_unknown_method_and_a_number_as_id(exchange):
    [found] = talk(exchange, {"id": 7, "method": "order.dance"})
    assert (found["id"], found["status"], found["error"]["code"]) == (7, 400, -1020)


def test_an_order_lives_from_place_to_cancel(exchange):
    last = Wire(exchange).last()
    limit = {
        "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010",
        "price": f"{last * 0.97:.1f}",
    }  # fmt: skip

    def with_id(method, **fields):
        return lambda answers: {
            "id": method,
            "method": method,
            "params": signed({"symbol": "BTCUSDT", "orderId": answers[0]["result"]["orderId"], **fields}),
        }

    change = {"side": "BUY", "quantity": "0.011", "price": f"{last * 0.96:.1f}"}
    placed, seen, changed, gone = talk(
        exchange,
        {"id": "place", "method": "order.place", "params": signed(limit)},
        with_id("order.status"),
        with_id("order.modify", **change),
        with_id("order.cancel"),
    )
    assert placed["status"] == 200 and "avgPrice" not in placed["result"]
    assert [row["limit"] for row in placed["rateLimits"]] == [-1, 300, 1200]
    assert (seen["result"]["status"], seen["result"]["avgPrice"]) == ("NEW", "0.000")
    assert (changed["result"]["origQty"], gone["result"]["status"]) == ("0.011", "CANCELED")


def test_a_refusal_has_code_status_and_counts_as_an_order(exchange):
    found = ask(exchange, "order.place", signed({**MARKET_BUY, "quantity": "100"}))
    assert (found["status"], found["error"]["code"]) == (400, -2019)
    assert [row["count"] >= 1 for row in found["rateLimits"][1:]] == [True, True]
    stop = signed({**MARKET_BUY, "type": "STOP_MARKET", "stopPrice": "1"})
    assert ask(exchange, "order.place", stop)["error"]["code"] == -4120


def test_conditional_orders_go_to_the_algo_service(exchange):
    stop = {
        "algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET",
        "triggerPrice": f"{Wire(exchange).last() * 0.9:.1f}", "quantity": "0.010",
    }  # fmt: skip
    placed = ask(exchange, "algoOrder.place", signed(stop))["result"]
    gone = ask(exchange, "algoOrder.cancel", signed({"algoId": placed["algoId"]}))["result"]
    assert (placed["algoStatus"], gone["code"]) == ("NEW", "200")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("account.balance", "/fapi/v2/balance"),
        ("v2/account.balance", "/fapi/v3/balance"),
        ("account.status", "/fapi/v2/account"),
        ("v2/account.status", "/fapi/v3/account"),
        ("account.position", "/fapi/v2/positionRisk"),
        ("v2/account.position", "/fapi/v3/positionRisk"),
    ],
)
def test_the_account_has_the_keys_of_its_rest_twin(exchange, method, path):
    found, twin = ask(exchange, method, signed({}))["result"], Wire(exchange).signed("GET", path).body
    assert type(found) is type(twin)
    assert len(found) == len(twin)
    if twin and isinstance(twin, list):
        found, twin = found[0], twin[0]
    assert list(found) == list(twin)


def test_wrong_signatures_old_timestamps_and_unknown_keys(exchange):
    good = signed(MARKET_BUY)
    assert ask(exchange, "order.place", {**good, "quantity": "0.02"})["error"]["code"] == -1022
    unsigned = {name: value for name, value in good.items() if name != "signature"}
    assert ask(exchange, "order.place", unsigned)["error"]["code"] == -1102
    late = {"apiKey": API_KEY, "timestamp": int(time.time() * 1000) - 60_000, "signature": "00"}
    assert ask(exchange, "account.status", late)["error"]["code"] == -1021
    found = ask(exchange, "account.status", {"apiKey": "0" * 64})
    assert (found["status"], found["error"]["code"]) == (401, -2015)
    assert ask(exchange, "account.status")["error"]["code"] == -2014


@pytest.mark.parametrize(("kind", "key"), [("rsa", RSA_API_KEY), ("ed25519", ED25519_API_KEY)])
def test_public_keys_sign_orders(exchange, pairs, kind, key):
    assert ask(exchange, "order.place", signed(MARKET_BUY, key, pairs[kind].sign))["result"]["symbol"] == "BTCUSDT"
    assert ask(exchange, "order.place", signed(MARKET_BUY, key))["error"]["code"] == -1022


def test_after_logon_orders_need_no_signature_until_logout(exchange, pairs):
    def stamped(method, fields=None):
        params = {**(fields or {}), "timestamp": int(time.time() * 1000)}
        return {"id": method, "method": method, "params": params}

    logon = {"id": "on", "method": "session.logon", "params": signed({}, ED25519_API_KEY, pairs["ed25519"].sign)}
    on, status, placed, out, after = talk(
        exchange,
        logon,
        {"id": "s", "method": "session.status"},
        stamped("order.place", MARKET_BUY),
        {"id": "out", "method": "session.logout"},
        stamped("order.place", MARKET_BUY),
    )
    assert on["result"]["apiKey"] == status["result"]["apiKey"] == ED25519_API_KEY
    assert on["result"]["authorizedSince"] is not None
    assert placed["result"]["symbol"] == "BTCUSDT"
    assert out["result"]["apiKey"] is None
    assert after["error"]["code"] == -2014


def test_only_ed25519_keys_may_log_on(exchange, pairs):
    assert ask(exchange, "session.logon", signed({}))["error"]["code"] == -4056
    assert ask(exchange, "session.logon", signed({}, RSA_API_KEY, pairs["rsa"].sign))["error"]["code"] == -4056


def test_the_listen_key_of_the_api_is_the_one_of_rest(exchange):
    started = ask(exchange, "userDataStream.start", {"apiKey": API_KEY})["result"]["listenKey"]
    assert Wire(exchange).plain("PUT", "/fapi/v1/listenKey", body="a=1").body["listenKey"] == started
    assert ask(exchange, "userDataStream.ping", {"apiKey": API_KEY})["result"]["listenKey"] == started


def test_a_fill_is_sent_on_the_private_route(exchange):
    key = ask(exchange, "userDataStream.start", {"apiKey": API_KEY})["result"]["listenKey"]

    async def run():
        async with (
            connect(f"{exchange.socket_address}/private/ws?listenKey={key}") as events,
            connect(exchange.socket_address + PATH) as api,
        ):
            await api.send(json.dumps({"id": 1, "method": "order.place", "params": signed(MARKET_BUY)}))
            placed = json.loads(await api.recv())["result"]
            while True:
                event = json.loads(await asyncio.wait_for(events.recv(), 5))
                if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["x"] == "TRADE":
                    return placed, event["o"]

    placed, filled = asyncio.run(run())
    assert (filled["i"], filled["X"]) == (placed["orderId"], "FILLED")


def test_injected_faults_apply_to_the_websocket_api_too(exchange):
    exchange.control("POST", "faults", kind="unknown_error", paths=["WS order.place"])
    found = ask(exchange, "order.place", signed(MARKET_BUY))
    assert (found["status"], found["error"]["code"]) == (503, -1000)
    exchange.control("POST", "faults", kind="lost", paths=["WS order.place"])
    silent, heard = {"id": "a", "method": "order.place", "params": signed(MARKET_BUY)}, {"id": "b", "method": "ping"}

    async def run():
        async with connect(exchange.socket_address + PATH) as socket:
            await socket.send(json.dumps(silent))
            await socket.send(json.dumps(heard))
            return json.loads(await asyncio.wait_for(socket.recv(), 5))["id"]

    assert asyncio.run(run()) == "b"


def test_orders_placed_here_survive_a_crash(tmp_path):
    from tests.paper_exchange.running import restart

    with running(tmp_path / "state.json") as first:
        number = ask(first, "order.place", signed(MARKET_BUY))["result"]["orderId"]
        first.kill()
        second = restart(first)
        try:
            found = ask(second, "order.status", signed({"symbol": "BTCUSDT", "orderId": number}))
            assert found["result"]["status"] == "FILLED"
        finally:
            second.stop()


def test_python_binance_trades_over_it(exchange):
    async def run():
        base = redirected(AsyncClient, exchange)
        base.WS_FUTURES_URL = exchange.socket_address + PATH
        client = await base.create(API_KEY, API_SECRET)
        try:
            placed = await client.ws_futures_create_order(**MARKET_BUY)
            seen = await client.ws_futures_get_order(symbol="BTCUSDT", orderId=placed["orderId"])
            with pytest.raises(BinanceAPIException) as caught:
                await client.ws_futures_create_order(**{**MARKET_BUY, "quantity": "100"})
            return seen, caught.value.code
        finally:
            await client.close_connection()

    seen, code = asyncio.run(run())
    assert (seen["status"], code) == ("FILLED", -2019)


def test_ccxt_trades_over_it(exchange):
    async def run():
        client = redirected_ccxt(ccxt.pro.binanceusdm, exchange)
        client.urls["api"]["ws"]["ws-api"]["linear"] = exchange.socket_address + PATH
        try:
            bought = await client.create_order_ws(SYMBOL, "market", "buy", 0.01)
            resting = await client.create_order_ws(SYMBOL, "limit", "buy", 0.01, Wire(exchange).last() * 0.97)
            gone = await client.cancel_order_ws(resting["id"], SYMBOL)
            seen = await client.fetch_order_ws(bought["id"], SYMBOL)
            return bought, gone, seen, await client.fetch_balance_ws(), await client.fetch_positions_ws([SYMBOL])
        finally:
            await client.close()

    _, gone, seen, balance, positions = asyncio.run(run())
    assert (gone["status"], seen["status"]) == ("canceled", "closed")
    assert balance["USDT"]["total"] > 0
    assert positions[0]["side"] == "long"
