"""python-binance, redirected and otherwise as it is, trades and listens here."""

import asyncio
import time

import pytest
from binance import AsyncClient, BinanceSocketManager
from binance.client import Client
from binance.exceptions import BinanceAPIException

from tests.paper_exchange.running import API_KEY, API_SECRET, running

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    with running(tmp_path_factory.mktemp("library") / "state.json") as started:
        yield started


def redirected(base, exchange):
    """The library's own way: class attributes of a subclass."""
    address = exchange.address
    return type(
        f"Local{base.__name__}",
        (base,),
        {
            "API_URL": f"{address}/api",
            "FUTURES_URL": f"{address}/fapi",
            "FUTURES_DATA_URL": f"{address}/futures/data",
            "MARGIN_API_URL": f"{address}/sapi",
        },
    )


@pytest.fixture
def client(exchange):
    made = redirected(Client, exchange)(API_KEY, API_SECRET)
    yield made
    made.close_connection()


def test_a_trade_with_stop_and_target_from_open_to_close(client):
    client.futures_change_leverage(symbol="BTCUSDT", leverage=10)
    start = balance(client)
    client.futures_create_order(
        symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.02", newClientOrderId="entry-1"
    )
    entry = client.futures_get_order(symbol="BTCUSDT", origClientOrderId="entry-1")
    price = float(entry["avgPrice"])
    for kind, level, name in (("STOP_MARKET", 0.98, "stop-1"), ("TAKE_PROFIT_MARKET", 1.05, "target-1")):
        client.futures_create_order(
            symbol="BTCUSDT", side="SELL", type=kind, stopPrice=f"{price * level:.1f}", closePosition="true",
            clientAlgoId=name,
        )  # fmt: skip
    waiting = client.futures_get_open_orders(symbol="BTCUSDT", conditional=True)
    assert {row["clientAlgoId"] for row in waiting} == {"stop-1", "target-1"}
    assert client.futures_get_open_orders(symbol="BTCUSDT") == []
    [held] = client.futures_position_information(symbol="BTCUSDT")
    assert (held["positionAmt"], float(held["entryPrice"])) == ("0.020", price)
    [row] = client.futures_position_information(symbol="BTCUSDT", version=2)
    assert (row["leverage"], row["marginType"]) == ("10", "cross")
    client.futures_cancel_all_open_orders(symbol="BTCUSDT", conditional=True)
    client.futures_create_order(symbol="BTCUSDT", side="SELL", type="MARKET", quantity="0.02", reduceOnly="true")
    assert client.futures_position_information(symbol="BTCUSDT") == []
    trades = [row for row in client.futures_account_trades(symbol="BTCUSDT") if row["time"] >= entry["time"]]
    net = sum(float(row["realizedPnl"]) - float(row["commission"]) for row in trades)
    assert balance(client) == pytest.approx(start + net, abs=1e-8)


def balance(client):
    return next(float(row["balance"]) for row in client.futures_account_balance() if row["asset"] == "USDT")


def test_history_comes_page_by_page(client):
    start = int(time.time() * 1000) - 2500 * 60_000
    rows = client.futures_historical_klines("ETHUSDT", "1m", start)
    opens = [row[0] for row in rows]
    assert len(rows) >= 2500
    assert opens == list(range(opens[0], opens[-1] + 1, 60_000))


def test_refusals_arrive_as_the_librarys_exception(client):
    with pytest.raises(BinanceAPIException) as caught:
        client.futures_get_order(symbol="BTCUSDT", origClientOrderId="never-sent")
    assert (caught.value.code, caught.value.status_code) == (-2013, 400)


def test_batches_placed_and_cancelled_by_the_library(client):
    price = f"{float(client.futures_symbol_ticker(symbol='ETHUSDT')['price']) * 0.97:.2f}"
    row = {
        "symbol": "ETHUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.05", "price": price
    }  # fmt: skip
    placed = client.futures_place_batch_order(batchOrders=[dict(row), dict(row)])
    assert [order["status"] for order in placed] == ["NEW", "NEW"]
    ended = client.futures_cancel_orders(symbol="ETHUSDT", orderidlist=[order["orderId"] for order in placed])
    assert [order["status"] for order in ended] == ["CANCELED", "CANCELED"]


def test_settings_as_the_library_asks_for_them(client):
    assert client.futures_get_position_mode() == {"dualSidePosition": False}
    assert client.futures_get_multi_assets_mode() == {"multiAssetsMargin": False}
    assert client.futures_commission_rate(symbol="BTCUSDT")["takerCommissionRate"] == "0.0005"
    assert client.futures_leverage_bracket(symbol="BTCUSDT")[0]["brackets"][0]["initialLeverage"] == 150
    assert client.get_account_api_permissions()["enableWithdrawals"] is False
    assert len(client.futures_account(version=2)["positions"]) == 6
    assert client.futures_account(version=3)["positions"] == []


def local_sockets(exchange, client):
    sockets = type("LocalSockets", (BinanceSocketManager,), {"FSTREAM_URL": exchange.socket_address + "/"})
    return sockets(client, max_queue_size=10_000)


async def messages(socket, wanted, within_s=15.0):
    """Collect messages until ``wanted`` says that they suffice."""
    found = []
    async with socket, asyncio.timeout(within_s):
        while not wanted(found):
            message = await socket.recv()
            if message is not None:
                found.append(message)
    return found


def test_market_streams_through_the_librarys_sockets(exchange):
    async def listen():
        client = await redirected(AsyncClient, exchange).create(API_KEY, API_SECRET)
        try:
            sockets = local_sockets(exchange, client)
            streams = ["btcusdt@kline_1m", "btcusdt@markPrice@1s", "btcusdt@aggTrade"]
            market = await messages(
                sockets.futures_multiplex_socket(streams), lambda seen: len({row["stream"] for row in seen}) == 3
            )
            book = await messages(sockets.symbol_ticker_futures_socket("BTCUSDT"), lambda seen: len(seen) >= 1)
            candles = await messages(sockets.kline_futures_socket("BTCUSDT"), lambda seen: len(seen) >= 1)
            return market, book, candles
        finally:
            await client.close_connection()

    market, book, candles = asyncio.run(listen())
    kinds = {row["data"]["e"] for row in market}
    assert kinds == {"kline", "markPriceUpdate", "aggTrade"}
    assert float(book[0]["data"]["b"]) < float(book[0]["data"]["a"])
    assert (candles[0]["e"], candles[0]["ps"]) == ("continuous_kline", "BTCUSDT")


def test_a_fill_reaches_the_user_stream_in_the_real_order(exchange):
    async def trade():
        client = await redirected(AsyncClient, exchange).create(API_KEY, API_SECRET)
        try:
            socket = local_sockets(exchange, client).futures_user_socket()
            async with socket, asyncio.timeout(15):
                await client.futures_create_order(
                    symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01", newClientOrderId="stream-1"
                )
                opened = [await socket.recv() for _ in range(4)]
                await client.futures_create_order(
                    symbol="BTCUSDT", side="SELL", type="MARKET", quantity="0.01", reduceOnly="true"
                )
                return opened, [await socket.recv() for _ in range(4)]
        finally:
            await client.close_connection()

    opened, closed = asyncio.run(trade())
    for events in (opened, closed):
        assert [event["e"] for event in events] == [
            "TRADE_LITE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"
        ]  # fmt: skip
        assert len({event["T"] for event in events}) == 1
        assert [events[1]["o"]["x"], events[3]["o"]["x"]] == ["NEW", "TRADE"]
    assert opened[0]["c"] == "stream-1"
    assert opened[2]["a"]["P"][0]["pa"] == "0.01"
    assert closed[2]["a"]["P"][0]["pa"] == "0"
