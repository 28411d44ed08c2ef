"""ccxt, another client library altogether, unmodified but for its base addresses, trades and streams here."""

import asyncio
import re

import ccxt
import ccxt.pro
import pytest

from tests.paper_exchange.running import API_KEY, API_SECRET, running

pytestmark = pytest.mark.long
SYMBOL = "BTC/USDT:USDT"


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    with running(tmp_path_factory.mktemp("ccxt") / "state.json") as started:
        yield started


def redirected(library, exchange):
    """Every address of the library keeps its path and loses its host."""
    client = library({"apiKey": API_KEY, "secret": API_SECRET})
    addresses = client.urls["api"]
    for name, address in addresses.items():
        if isinstance(address, str):
            addresses[name] = re.sub(r"^https://[^/]+", exchange.address, address)
    sockets = addresses.get("ws", {})
    if "linear" in sockets:
        sockets["linear"] = re.sub(r"^wss://[^/]+", exchange.socket_address, sockets["linear"])
    return client


def test_markets_candles_balance_and_a_trade_with_stop_and_target(exchange):
    client = redirected(ccxt.binanceusdm, exchange)
    market = client.load_markets()[SYMBOL]
    assert (market["precision"], market["linear"]) == ({"amount": 0.001, "price": 0.1} | market["precision"], True)
    candles = client.fetch_ohlcv(SYMBOL, "1m", limit=1000)
    assert len(candles) == 1000
    assert client.fetch_balance()["USDT"]["total"] == 10_000
    client.set_leverage(5, SYMBOL)
    last = client.fetch_ticker(SYMBOL)["last"]
    bought = client.create_order(SYMBOL, "market", "buy", 0.02)
    entry = client.fetch_order(bought["id"], SYMBOL)
    assert (entry["status"], entry["filled"]) == ("closed", 0.02)
    assert entry["average"] == pytest.approx(last, rel=0.01)
    [position] = client.fetch_positions([SYMBOL])
    assert (position["side"], position["contracts"], position["entryPrice"]) == ("long", 0.02, entry["average"])
    stop = client.create_order(SYMBOL, "market", "sell", 0.02, None, {"stopLossPrice": last * 0.98, "reduceOnly": True})
    target = client.create_order(
        SYMBOL, "market", "sell", 0.02, None, {"takeProfitPrice": last * 1.05, "reduceOnly": True}
    )
    waiting = client.fetch_open_orders(SYMBOL, params={"trigger": True})
    assert {row["id"] for row in waiting} == {stop["id"], target["id"]}
    client.cancel_order(stop["id"], SYMBOL, {"trigger": True})
    client.cancel_all_orders(SYMBOL, {"trigger": True})
    assert client.fetch_open_orders(SYMBOL, params={"trigger": True}) == []
    sold = client.create_order(SYMBOL, "market", "sell", 0.02, None, {"reduceOnly": True})
    assert client.fetch_order(sold["id"], SYMBOL)["status"] == "closed"
    assert client.fetch_positions([SYMBOL]) == []
    trades = client.fetch_my_trades(SYMBOL)
    fees = sum(trade["fee"]["cost"] for trade in trades)
    profit = sum(float(trade["info"]["realizedPnl"]) for trade in trades)
    assert client.fetch_balance()["USDT"]["total"] == pytest.approx(10_000 + profit - fees, abs=1e-6)


def test_its_errors_are_recognised(exchange):
    client = redirected(ccxt.binanceusdm, exchange)
    with pytest.raises(ccxt.ExchangeError, match="-2019"):
        client.create_order(SYMBOL, "market", "buy", 100)
    with pytest.raises(ccxt.OrderNotFound):
        client.fetch_order("1", SYMBOL)
    client.secret = "wrong"
    with pytest.raises(ccxt.AuthenticationError):
        client.fetch_balance()


def test_it_streams_candles_prices_and_its_own_orders(exchange):
    async def watch():
        client = redirected(ccxt.pro.binanceusdm, exchange)
        try:
            async with asyncio.timeout(30):
                candles = await client.watch_ohlcv(SYMBOL, "1m")
                ticker = await client.watch_ticker(SYMBOL)
                book = await client.watch_order_book(SYMBOL, 10)
                orders = asyncio.create_task(client.watch_orders(SYMBOL))
                await asyncio.sleep(1.0)
                placed = await client.create_order(SYMBOL, "market", "buy", 0.01)
                told = await orders
                return candles, ticker, book, placed, told
        finally:
            await client.close()

    candles, ticker, book, placed, told = asyncio.run(watch())
    assert len(candles[-1]) == 6
    assert ticker["last"] > 0
    assert book["bids"][0][0] < book["asks"][0][0]
    assert placed["id"] in {order["id"] for order in told}
