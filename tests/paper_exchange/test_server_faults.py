"""Each fault of the control port does what it says, as often as it says, and nothing else."""

import asyncio
import json
import time
import urllib.error

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from src.paper_exchange.faults import ANSWERS
from tests.paper_exchange.running import running, wait_until
from tests.paper_exchange.wire import Wire

pytestmark = pytest.mark.long
ORDER = "POST /fapi/v1/order"


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    with running(tmp_path_factory.mktemp("faults") / "state.json") as started:
        yield started


@pytest.fixture
def wire(exchange):
    made = Wire(exchange)
    yield made
    exchange.control("DELETE", "faults")
    made.signed("DELETE", "/fapi/v1/algoOpenOrders", symbol="BTCUSDT")
    for row in made.signed("GET", "/fapi/v3/positionRisk").body:
        made.order(symbol=row["symbol"], side="SELL", quantity=row["positionAmt"], reduceOnly="true")


def known(wire, client_id):
    return wire.signed("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId=client_id).status == 200


def lost(call):
    with pytest.raises((urllib.error.URLError, ConnectionError, TimeoutError)):
        call()
    return True


def user_events(exchange, wire, act, seconds):
    """What the user stream says within ``seconds`` after ``act``."""
    key = wire.plain("POST", "/fapi/v1/listenKey", body="a=1").body["listenKey"]

    async def run():
        found = []
        async with connect(f"{exchange.socket_address}/private/ws?listenKey={key}") as socket:
            await asyncio.to_thread(act)
            try:
                async with asyncio.timeout(seconds):
                    while True:
                        found.append(json.loads(await socket.recv()))
            except TimeoutError:
                return found

    return asyncio.run(run())


def test_the_control_port_wants_its_token(exchange):
    with pytest.raises(urllib.error.HTTPError) as caught:
        exchange.get("/control/state")
    assert caught.value.code == 403


def test_without_a_token_there_is_no_control_port(tmp_path):
    with running(tmp_path / "state.json", settings={"PAPER_CONTROL_TOKEN": ""}) as plain:
        with pytest.raises(urllib.error.HTTPError) as caught:
            plain.control("GET", "state")
        assert caught.value.code == 404


@pytest.mark.parametrize(
    "command", [{"kind": "boredom"}, {"kind": "delay", "colour": "red"}, {"kind": "late", "paths": ["x"]}]
)
def test_an_impossible_fault_is_refused(exchange, command):
    with pytest.raises(urllib.error.HTTPError) as caught:
        exchange.control("POST", "faults", **command)
    assert caught.value.code == 400


@pytest.mark.parametrize("placed", [False, True])
@pytest.mark.parametrize("kind", sorted(ANSWERS))
def test_an_error_answer_with_the_order_placed_or_not(exchange, wire, kind, placed):
    client_id = f"{kind}-{placed}"[:36]
    exchange.fault(kind, ORDER, placed=placed)
    answer = wire.order(newClientOrderId=client_id)
    status, body = ANSWERS[kind]
    assert (answer.status, answer.body) == (status, body)
    assert known(wire, client_id) == placed
    assert wire.order(newClientOrderId=client_id + "x"[: 36 - len(client_id)]).status == 200


@pytest.mark.parametrize("placed", [False, True])
def test_an_answer_that_never_arrives(exchange, wire, placed):
    exchange.fault("lost", ORDER, placed=placed)
    assert lost(lambda: wire.order(newClientOrderId=f"lost-{placed}"))
    assert known(wire, f"lost-{placed}") == placed


@pytest.mark.parametrize("placed", [False, True])
def test_a_hanging_exchange_accepts_and_never_answers(exchange, wire, placed):
    exchange.fault("hang", ORDER, placed=placed)
    assert lost(lambda: wire.order(newClientOrderId=f"hang-{placed}", timeout=0.5))
    assert known(wire, f"hang-{placed}") == placed


def test_throttling_does_not_apply_to_risk_reducing_calls(exchange, wire):
    assert wire.order().status == 200
    exchange.fault("throttled", ORDER, times=5)
    assert wire.order().code == -1008
    assert wire.order(side="SELL", reduceOnly="true").status == 200


def test_a_delay_lasts_and_ends_after_its_times(exchange, wire):
    exchange.fault("delay", "/fapi/v1/time", delay_ms=300, times=2)
    spans = []
    for _ in range(3):
        begin = time.monotonic()
        exchange.now_ms()
        spans.append(time.monotonic() - begin >= 0.3)
    assert spans == [True, True, False]


def test_a_fault_for_a_while_ends_by_itself(exchange, wire):
    exchange.fault("server_error", "GET", for_s=0.4)
    assert wire.plain("GET", "/fapi/v1/time").status == 500
    assert wait_until(lambda: wire.plain("GET", "/fapi/v1/time").status == 200, 2.0)
    assert exchange.control("GET", "faults") == []


def test_a_ban_answers_418_to_everything_until_it_ends(exchange, wire):
    until_ms = exchange.control("POST", "ban", for_s=0.5)["until_ms"]
    answer = wire.plain("GET", "/fapi/v1/time")
    assert (answer.status, answer.code) == (418, -1003)
    assert f"IP banned until {until_ms}." in answer.body["msg"]
    assert wait_until(lambda: wire.plain("GET", "/fapi/v1/time").status == 200, 2.0)


def test_timestamps_are_refused_under_clock_skew_until_the_client_syncs(exchange, wire):
    exchange.control("POST", "skew", skew_ms=-5_000)
    assert wire.signed("GET", "/fapi/v3/balance").code == -1021
    assert wire.signed("GET", "/fapi/v3/balance", timestamp=exchange.now_ms()).status == 200


def test_an_order_that_cannot_be_found_right_after_placing(exchange, wire):
    exchange.fault("order_missing", "GET /fapi/v1/order", times=2)
    assert wire.order(newClientOrderId="late-to-show").status == 200
    assert [known(wire, "late-to-show") for _ in range(3)] == [False, False, True]


def test_events_that_come_twice(exchange, wire):
    exchange.fault("duplicate", "private")
    events = user_events(exchange, wire, wire.order, 0.5)
    assert [event["e"] for event in events] == [
        "TRADE_LITE", "TRADE_LITE", "ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE",
        "ACCOUNT_UPDATE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE",
    ]  # fmt: skip


def test_events_that_come_late(exchange, wire):
    exchange.fault("late", "private", delay_ms=600)
    assert user_events(exchange, wire, wire.order, 0.3) == []
    assert len(user_events(exchange, wire, wire.order, 1.2)) == 4


@pytest.mark.parametrize("route", ["market", "public", "private"])
def test_a_silenced_socket_stays_open_and_sends_nothing(exchange, wire, route):
    key = wire.plain("POST", "/fapi/v1/listenKey", body="a=1").body["listenKey"]
    path = {
        "market": "/market/ws/btcusdt@markPrice@1s",
        "public": "/public/ws/btcusdt@depth5@100ms",
        "private": f"/private/ws?listenKey={key}",
    }[route]
    exchange.fault("silence", route)

    async def run():
        async with connect(exchange.socket_address + path) as socket:
            await asyncio.to_thread(wire.order)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.5):
                    await socket.recv()
            await (await socket.ping())
            await asyncio.to_thread(exchange.control, "DELETE", "faults")
            await asyncio.to_thread(wire.order)
            async with asyncio.timeout(3):
                return json.loads(await socket.recv())

    assert "e" in asyncio.run(run())


@pytest.mark.parametrize(("how", "code"), [("drop", None), ("close", 1001)])
def test_sockets_are_cut_or_closed_by_order(exchange, wire, how, code):
    async def run():
        async with connect(exchange.socket_address + "/market/ws/btcusdt@markPrice@1s") as socket:
            await socket.recv()
            ended = await asyncio.to_thread(exchange.control, "POST", "sockets", how=how, route="market")
            assert ended == {"ended": 1}
            with pytest.raises(ConnectionClosed) as caught:
                while True:
                    await socket.recv()
            return caught.value.rcvd.code if caught.value.rcvd else None

    assert asyncio.run(run()) == code


def test_new_sockets_can_be_refused(exchange, wire):
    exchange.fault("refuse_sockets", "market", for_s=5)

    async def run():
        async with connect(exchange.socket_address + "/market/ws"):
            pass

    with pytest.raises(InvalidStatus):
        asyncio.run(run())


def test_listen_keys_can_be_ended(exchange, wire):
    events = user_events(exchange, wire, lambda: exchange.control("POST", "expire_listen_keys"), 0.4)
    assert [event["e"] for event in events] == ["listenKeyExpired"]
    assert wire.plain("PUT", "/fapi/v1/listenKey", body="a=1").code == -1125


def shock(exchange, wire, percent):
    """Move the price and wait until it has moved: shocks begin with the next whole second."""
    before = wire.last()
    exchange.control("POST", "shock", symbol="BTCUSDT", percent=percent)
    wait_until(lambda: abs(wire.last() / before - 1) > abs(percent) / 200, 3.0)


BACK = 100 / 0.97 - 100


def test_a_shock_moves_the_price_and_fires_the_stop(exchange, wire):
    assert wire.order().status == 200
    before = wire.last()
    wire.stop(before * 0.98, clientAlgoId="shocked")
    shock(exchange, wire, -3)

    def finished():
        row = wire.signed("GET", "/fapi/v1/algoOrder", clientAlgoId="shocked").body
        return row if row["algoStatus"] == "FINISHED" else None

    row = wait_until(finished, 4.0)
    assert float(row["actualPrice"]) < before * 0.98
    assert wire.signed("GET", "/fapi/v3/positionRisk").body == []
    filled = wire.signed("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=row["actualOrderId"]).body
    assert filled["clientOrderId"] == "shocked"
    shock(exchange, wire, BACK)


def test_a_trigger_can_get_stuck(exchange, wire):
    assert wire.order().status == 200
    exchange.control("POST", "hold_triggers", count=1)
    wire.stop(wire.last() * 0.98, clientAlgoId="stuck")
    shock(exchange, wire, -3)

    def status():
        return wire.signed("GET", "/fapi/v1/algoOrder", clientAlgoId="stuck").body["algoStatus"]

    assert wait_until(lambda: status() == "TRIGGERING", 4.0)
    assert len(wire.signed("GET", "/fapi/v3/positionRisk").body) == 1
    assert wire.signed("DELETE", "/fapi/v1/algoOrder", clientAlgoId="stuck").code == -2011
    shock(exchange, wire, BACK)


def test_an_observer_sees_requests_orders_and_accounts(exchange, wire):
    assert wire.order(newClientOrderId="observed").status == 200
    hours = exchange.control("GET", "requests")
    assert sum(row.get(ORDER, 0) for row in hours.values()) >= 1
    assert exchange.control("GET", "client_ids")["observed"] == 1
    [account] = exchange.control("GET", "state")["accounts"].values()
    assert account["positions"][0]["positionAmt"] == "0.010"
    assert account["balances"][0]["asset"] == "USDT"


def test_market_time_stands_and_steps(exchange, wire):
    frozen = exchange.control("POST", "clock", freeze=True)
    time.sleep(0.1)
    assert exchange.now_ms() == frozen["now_ms"]
    stepped = exchange.control("POST", "clock", advance_ms=60_000)
    assert stepped["now_ms"] == frozen["now_ms"] + 60_000
    assert exchange.control("POST", "clock", freeze=False)["frozen"] is False
