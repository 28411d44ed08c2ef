"""The sockets: routes and their silence, subscriptions, candles, listen keys, the end of a day."""

import asyncio
import itertools
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.paper_exchange.running import running, wait_until
from tests.paper_exchange.wire import Wire

pytestmark = pytest.mark.long
MINUTE_MS = 60_000


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    with running(tmp_path_factory.mktemp("sockets") / "state.json", speed=60.0) as started:
        yield started


@pytest.fixture(autouse=True)
def fair_weather(exchange):
    yield
    exchange.control("DELETE", "faults")
    exchange.control("POST", "clock", freeze=False)


def listen(exchange, path, wanted, say=(), within_s=8.0):
    """Connect, say something, and collect messages until ``wanted`` is content or time is over."""

    async def run():
        found = []
        async with connect(exchange.socket_address + path, max_size=None) as socket:
            for words in say:
                await socket.send(json.dumps(words) if isinstance(words, dict) else words)
            try:
                async with asyncio.timeout(within_s):
                    while not wanted(found):
                        found.append(json.loads(await socket.recv()))
            except TimeoutError:
                pass
        return found

    return asyncio.run(run())


def at_least(count):
    return lambda found: len(found) >= count


def never(found):
    return False


def test_raw_and_wrapped_frames(exchange):
    raw = listen(exchange, "/market/ws/btcusdt@markPrice@1s", at_least(1))
    wrapped = listen(exchange, "/market/stream?streams=btcusdt@markPrice@1s/ethusdt@markPrice@1s", at_least(4))
    assert raw[0]["e"] == "markPriceUpdate"
    assert {row["stream"] for row in wrapped} == {"btcusdt@markPrice@1s", "ethusdt@markPrice@1s"}
    assert wrapped[0]["data"].keys() == raw[0].keys()


@pytest.mark.parametrize(
    "path",
    [
        "/public/ws/btcusdt@kline_1m",
        "/ws/btcusdt@kline_1m",
        "/stream?streams=btcusdt@markPrice@1s",
        "/market/ws/btcusdt@bookTicker",
        "/market/ws/btcusdt@nothing",
        "/market/ws/BTCUSDT@kline_1m",
        "/private/ws?listenKey=nobody",
    ],
)
def test_the_wrong_route_accepts_the_connection_and_sends_nothing(exchange, path):
    assert listen(exchange, path, never, within_s=0.7) == []


def test_the_root_behaves_like_the_public_route(exchange):
    assert listen(exchange, "/ws/btcusdt@bookTicker", at_least(1))[0]["e"] == "bookTicker"


def test_subscribing_on_the_wrong_route_is_acknowledged_and_sends_nothing(exchange):
    say = [{"method": "SUBSCRIBE", "params": ["btcusdt@markPrice@1s"], "id": 1}]
    assert listen(exchange, "/public/ws", never, say, within_s=0.7) == [{"result": None, "id": 1}]


def test_subscriptions_come_go_and_are_listed(exchange):
    say = [
        {"method": "SUBSCRIBE", "params": ["btcusdt@markPrice@1s", "ethusdt@markPrice@1s"], "id": 1},
        {"method": "UNSUBSCRIBE", "params": ["btcusdt@markPrice@1s"], "id": 2},
        {"method": "LIST_SUBSCRIPTIONS", "id": 3},
    ]
    found = listen(exchange, "/market/ws", at_least(8), say)
    answers = [row for row in found if "id" in row]
    assert answers == [
        {"result": None, "id": 1}, {"result": None, "id": 2}, {"result": ["ethusdt@markPrice@1s"], "id": 3}
    ]  # fmt: skip
    after = found[found.index(answers[2]) + 1 :]
    assert {row["s"] for row in after} == {"ETHUSDT"}


@pytest.mark.parametrize(
    "words", ["{nonsense", "[]", {"method": "DANCE", "id": 4}, {"method": "SUBSCRIBE", "params": "x"}]
)
def test_nonsense_is_answered_with_an_error(exchange, words):
    assert "error" in listen(exchange, "/market/ws", at_least(1), [words])[0]


def test_a_client_that_sends_too_many_messages_is_disconnected(exchange):
    with pytest.raises(ConnectionClosed):
        listen(exchange, "/market/ws", never, [{"method": "LIST_SUBSCRIPTIONS", "id": i} for i in range(30)])


def test_an_unknown_path_has_no_socket(exchange):
    with pytest.raises(InvalidStatus):
        listen(exchange, "/market/other", never)


def closed_bars(found):
    return [row["k"] for row in found if row["k"]["x"]]


@pytest.mark.parametrize("interval", ["1m", "3m"])
def test_each_closed_candle_comes_once_before_the_next_ones_first_frame(exchange, interval):
    length = int(interval[0]) * MINUTE_MS
    path = f"/market/ws/btcusdt@kline_{interval}"
    found = listen(exchange, path, lambda rows: len(closed_bars(rows)) >= 3, within_s=15.0)
    opens = [bar["t"] for bar in closed_bars(found)]
    assert opens == [opens[0] + i * length for i in range(3)]
    order = [row["k"]["t"] for row in found]
    assert order == sorted(order)
    for closed in closed_bars(found):
        last = max(i for i, row in enumerate(found) if row["k"]["t"] == closed["t"])
        assert found[last]["k"]["x"]
    first = closed_bars(found)[0]
    query = f"symbol=BTCUSDT&interval={interval}&startTime={first['t']}&limit=1"
    row = exchange.get(f"/fapi/v1/klines?{query}")[0]
    told = [first[key] for key in ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q")]
    assert told == row[:11]


def test_no_closed_candle_is_lost_when_time_jumps(exchange):
    exchange.control("POST", "clock", freeze=True)

    async def run():
        async with connect(exchange.socket_address + "/market/ws/ethusdt@kline_1m", max_size=None) as socket:
            await asyncio.sleep(0.2)
            await asyncio.to_thread(exchange.control, "POST", "clock", advance_ms=5 * MINUTE_MS)
            found = []
            async with asyncio.timeout(5):
                while len(closed_bars(found)) < 5:
                    found.append(json.loads(await socket.recv()))
            return closed_bars(found)

    opens = [bar["t"] for bar in asyncio.run(run())]
    assert opens == list(range(opens[0], opens[0] + 5 * MINUTE_MS, MINUTE_MS))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/market/ws/btcusdt@aggTrade", "aggTrade"),
        ("/market/ws/btcusdt@ticker", "24hrTicker"),
        ("/market/ws/btcusdt@miniTicker", "24hrMiniTicker"),
        ("/market/ws/btcusdt_perpetual@continuousKline_5m", "continuous_kline"),
        ("/public/ws/btcusdt@trade", "trade"),
        ("/public/ws/btcusdt@depth5@100ms", "depthUpdate"),
        ("/public/ws/btcusdt@depth", "depthUpdate"),
        ("/public/ws/btcusdt@depth@0ms", "depthUpdate"),
        ("/public/ws/!bookTicker", "bookTicker"),
    ],
)
def test_every_kind_of_stream_flows_on_its_route(exchange, path, kind):
    assert listen(exchange, path, at_least(1))[0]["e"] == kind


@pytest.mark.parametrize("stream", ["!markPrice@arr@1s", "!ticker@arr", "!miniTicker@arr"])
def test_array_streams_hold_all_contracts(exchange, stream):
    rows = listen(exchange, f"/market/ws/{stream}", at_least(1))[0]
    assert len({row["s"] for row in rows}) == 6


def test_depth_differences_are_chained_and_rebuild_the_book(exchange):
    updates = listen(exchange, "/public/ws/btcusdt@depth@100ms", at_least(8))
    book = {"b": {}, "a": {}}
    before = None
    for update in updates:
        assert before is None or update["pu"] == before
        before = update["u"]
        for side, levels in book.items():
            for price, size in update[side]:
                levels[price] = size
                if float(size) == 0:
                    del levels[price]
    assert len(book["b"]) == len(book["a"]) == 100
    assert max(map(float, book["b"])) < min(map(float, book["a"]))


def test_a_listen_key_is_valid_for_an_hour_of_market_time(exchange):
    wire = Wire(exchange)
    key = wire.plain("POST", "/fapi/v1/listenKey", body="a=1").body["listenKey"]

    async def run():
        async with connect(f"{exchange.socket_address}/private/ws?listenKey={key}") as socket:
            await asyncio.to_thread(exchange.control, "POST", "clock", advance_ms=3_600_000)
            async with asyncio.timeout(5):
                return json.loads(await socket.recv())

    frame = asyncio.run(run())
    assert (frame["e"], frame["listenKey"]) == ("listenKeyExpired", key)
    assert wire.plain("PUT", "/fapi/v1/listenKey", body="a=1").code == -1125
    assert wire.plain("POST", "/fapi/v1/listenKey", body="a=1").body["listenKey"] != key


@pytest.mark.parametrize(
    "form",
    [
        "/private/ws/{key}",
        "/private/stream?listenKey={key}",
        "/private/stream?streams={key}",
        "/private/ws?listenKey={key}&events=ACCOUNT_UPDATE",
    ],
)
def test_the_private_route_in_its_forms(exchange, form):
    wire = Wire(exchange)
    key = wire.plain("POST", "/fapi/v1/listenKey", body="a=1").body["listenKey"]

    async def run():
        async with connect(exchange.socket_address + form.format(key=key)) as socket:
            assert (await asyncio.to_thread(wire.order)).status == 200
            async with asyncio.timeout(5):
                return json.loads(await socket.recv())

    frame = asyncio.run(run())
    assert wire.order(side="SELL", reduceOnly="true").status == 200
    body = frame.get("data", frame)
    assert ("stream" in frame) == ("stream?" in form)
    assert body["e"] == ("ACCOUNT_UPDATE" if "events" in form else "TRADE_LITE")


@pytest.mark.parametrize("form", ["ws", "stream"])
def test_a_listen_key_can_be_subscribed_to_and_left(exchange, form):
    wire = Wire(exchange)
    key = wire.plain("POST", "/fapi/v1/listenKey", body="a=1").body["listenKey"]

    async def run():
        async with connect(f"{exchange.socket_address}/private/{form}") as socket:
            await socket.send(json.dumps({"method": "SUBSCRIBE", "params": [key], "id": 1}))
            acknowledged = json.loads(await socket.recv())
            assert (await asyncio.to_thread(wire.order)).status == 200
            async with asyncio.timeout(5):
                told = [json.loads(await socket.recv()) for _ in range(4)]
                await socket.send(json.dumps({"method": "UNSUBSCRIBE", "params": [key], "id": 2}))
                while "id" not in (left := json.loads(await socket.recv())):
                    pass
            assert (await asyncio.to_thread(wire.order, side="SELL", reduceOnly="true")).status == 200
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await socket.recv()
            return acknowledged, told, left

    acknowledged, told, left = asyncio.run(run())
    assert (acknowledged, left) == ({"result": None, "id": 1}, {"result": None, "id": 2})
    if form == "stream":
        assert {row["stream"] for row in told} == {key}
        told = [row["data"] for row in told]
    kinds = ["TRADE_LITE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"]
    assert [row["e"] for row in told] == kinds


def test_an_unknown_listen_key_is_acknowledged_and_sends_nothing(exchange):
    say = [{"method": "SUBSCRIBE", "params": ["x" * 64], "id": 1}]
    assert listen(exchange, "/private/ws", never, say, within_s=0.7) == [{"result": None, "id": 1}]


FLAT_FROM_MS = 1_700_000_040_000


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A recording in which nothing moves."""
    folder = tmp_path_factory.mktemp("flat")
    rows = [
        f"{open_ms},60000.0,60000.0,60000.0,60000.0,5.000,{open_ms + 59_999},300000.0,60,2.500,150000.0,0"
        for open_ms in range(FLAT_FROM_MS, FLAT_FROM_MS + 600 * MINUTE_MS, MINUTE_MS)
    ]
    file = folder / "BTCUSDT-1m-2023-11.csv"
    file.write_text("\n".join(rows) + "\n")
    with running(folder / "state.json", market=f"replay:{file}", speed=1.0) as started:
        yield started


@pytest.mark.parametrize("stream", ["btcusdt@bookTicker", "btcusdt@depth@100ms", "btcusdt@depth5@100ms"])
def test_the_book_goes_on_speaking_where_nothing_moves(flat, stream):
    found = listen(flat, f"/public/ws/{stream}", at_least(4), within_s=6.0)
    assert len(found) == 4
    instants, numbers = [row["E"] for row in found], [row["u"] for row in found]
    assert all(0 < later - earlier < 1_500 for earlier, later in itertools.pairwise(instants))
    assert numbers == sorted(set(numbers))
    if stream != "btcusdt@bookTicker":
        assert all(later["pu"] == earlier["u"] for earlier, later in itertools.pairwise(found))
        assert {(row["b"][0][0], row["a"][0][0]) for row in found[1:]} == {("59999.90", "60000.10")}


def test_a_socket_ends_after_a_day_of_market_time(exchange):
    async def run():
        async with connect(f"{exchange.socket_address}/market/ws/btcusdt@markPrice") as socket:
            await asyncio.to_thread(exchange.control, "POST", "clock", advance_ms=86_400_000)
            async with asyncio.timeout(5):
                while True:
                    await socket.recv()

    with pytest.raises(ConnectionClosed) as caught:
        asyncio.run(run())
    assert caught.value.rcvd.code == 1001
    wait_until(lambda: exchange.control("GET", "sockets") == [], 3.0)
