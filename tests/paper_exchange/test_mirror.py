"""The mirror: what the source told is served, what it did not tell is not there, an outage is overcome.

A stand-in speaks Binance's public REST and stream on the loopback; the mirror does not know the difference.
"""

import json
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import pytest
from websockets.sync.server import serve

from src.domain.clock import MINUTE_MS
from src.paper_exchange.charts import Charts, KlineRange
from src.paper_exchange.contracts import CONTRACTS
from src.paper_exchange.markets.klines import joined
from src.paper_exchange.markets.mirror import MirrorMarket, _candle_of_row
from src.paper_exchange.markets.whole_hours import HOUR_MS
from src.paper_exchange.prices import Prices

pytestmark = pytest.mark.long

FUNDING_MS = 8 * 60 * MINUTE_MS


class Source:
    """A stand-in for the exchange: a clock that stands, candles that are functions of the minute, and faults."""

    def __init__(self):
        self.now_ms = time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS + 20_000
        self.status, self.garbage, self.missing = 200, False, set()
        self.asked, self.streams = [], []
        self._rest = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._socket = serve(self._serve_stream, "127.0.0.1", 0)
        self._threads = [
            threading.Thread(target=server.serve_forever, daemon=True) for server in (self._rest, self._socket)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def rest_url(self):
        return f"http://127.0.0.1:{self._rest.server_address[1]}"

    @property
    def stream_url(self):
        return f"ws://127.0.0.1:{self._socket.socket.getsockname()[1]}"

    def row(self, open_ms):
        price = 100.0 + open_ms // MINUTE_MS % 1000
        figures = [f"{price}", f"{price + 2}", f"{price - 1}", f"{price + 1}", "3.5"]
        return [open_ms, *figures, open_ms + MINUTE_MS - 1, "360.5", 12, "1.5", "150.0", "0"]

    def hour(self, open_ms):
        made = joined(open_ms, [_candle_of_row(self.row(open_ms + each * MINUTE_MS)) for each in range(60)])
        figures = [f"{each}" for each in (made.open, made.high, made.low, made.close, made.volume)]
        quote, taker = f"{made.quote_volume}", f"{made.taker_buy_volume}"
        return [open_ms, *figures, open_ms + HOUR_MS - 1, quote, made.trades, taker, "0", "0"]

    def answer(self, name, asked):
        if name == "time":
            return {"serverTime": self.now_ms}
        if name == "fundingRate":
            settled_ms = self.now_ms // FUNDING_MS * FUNDING_MS
            return [{"symbol": asked["symbol"], "fundingTime": settled_ms + 5, "fundingRate": "0.00025"}]
        if asked["interval"] == "1h":
            first_ms = -(-int(asked["startTime"]) // HOUR_MS) * HOUR_MS
            return [self.hour(each) for each in range(first_ms, self.now_ms, HOUR_MS)[: int(asked["limit"])]]
        first_ms = -(-int(asked["startTime"]) // MINUTE_MS) * MINUTE_MS
        opens = [open_ms for open_ms in range(first_ms, self.now_ms, MINUTE_MS) if open_ms not in self.missing]
        return [self.row(open_ms) for open_ms in opens[: int(asked["limit"])]]

    def tell(self, event):
        for stream in list(self.streams):
            stream.send(json.dumps({"stream": "any", "data": event}))

    def tell_candle(self, symbol, open_ms, closed=True):
        t, o, h, low, c, v, end, q, n, taker, *_ = self.row(open_ms)
        k = {"t": t, "T": end, "s": symbol, "i": "1m", "o": o, "h": h, "l": low, "c": c, "v": v, "n": n, "x": closed}
        self.tell({"e": "kline", "E": end + 30, "s": symbol, "k": k | {"q": q, "V": taker}})

    def drop(self):
        for stream in list(self.streams):
            stream.close()

    def close(self):
        self._rest.shutdown()
        self._rest.server_close()
        self._socket.shutdown()
        for thread in self._threads:
            thread.join(5)

    def _serve_stream(self, stream):
        self.streams.append(stream)
        self.path = stream.request.path
        for _ in stream:
            pass
        self.streams.remove(stream)

    def _handler(source):  # noqa: N805 - self is the handler's
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                address = urlparse(self.path)
                name = address.path.removeprefix("/fapi/v1/")
                asked = {key: values[0] for key, values in parse_qs(address.query).items()}
                source.asked.append((name, asked))
                body = b"<html>" if source.garbage else json.dumps(source.answer(name, asked)).encode()
                self.send_response(source.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler


@pytest.fixture
def source() -> Iterator[Source]:
    stand_in = Source()
    yield stand_in
    stand_in.close()


def follow(source, symbols=("BTCUSDT", "ETHUSDT"), **how):
    how = {"history_minutes": how.pop("history", 2000), "history_hours": 10} | how
    return MirrorMarket(symbols=symbols, rest_url=source.rest_url, stream_url=source.stream_url, **how)


@pytest.fixture
def mirror(source) -> Iterator[MirrorMarket]:
    market = follow(source)
    assert market.wait_until_ready(10)
    yield market
    market.close()


def eventually(holds, within_s=8.0):
    """Wait until ``holds()``; return whether it came true in time."""
    for _ in range(int(within_s / 0.02)):
        if holds():
            return True
        time.sleep(0.02)
    return False


def test_the_history_is_there_to_the_last_closed_minute(source, mirror):
    present_ms = source.now_ms // MINUTE_MS * MINUTE_MS
    candles = mirror.candles("BTCUSDT", 0, present_ms + MINUTE_MS)
    assert len(candles) == 2000
    assert candles[0].open_ms == mirror.first_ms == present_ms - 2000 * MINUTE_MS
    assert candles[-1] == mirror.candle("BTCUSDT", present_ms - MINUTE_MS)
    assert mirror.candle("BTCUSDT", present_ms) is None  # it is still open
    price = 100.0 + candles[-1].open_ms // MINUTE_MS % 1000
    assert candles[-1][1:] == (price, price + 2, price - 1, price + 1, 3.5, 12, 1.5, 360.5)
    assert mirror.world == "live" and mirror.end_ms is None and mirror.lag_ms > MINUTE_MS
    assert mirror.fear_greed(present_ms) is None


def test_the_market_route_is_used_for_candles_and_rates(source, mirror):
    assert source.path == (
        "/market/stream?streams=btcusdt@kline_1m/btcusdt@markPrice/ethusdt@kline_1m/ethusdt@markPrice"
    )


def test_a_closed_candle_is_served_and_an_open_one_is_not(source, mirror):
    present_ms = source.now_ms // MINUTE_MS * MINUTE_MS
    assert mirror.last_seen_ms("BTCUSDT") is None
    source.tell_candle("BTCUSDT", present_ms, closed=False)
    assert eventually(lambda: mirror.last_seen_ms("BTCUSDT") is not None)
    assert mirror.candle("BTCUSDT", present_ms) is None
    source.tell_candle("BTCUSDT", present_ms)
    assert eventually(lambda: mirror.candle("BTCUSDT", present_ms) is not None)
    assert mirror.candle("ETHUSDT", present_ms) is None
    assert mirror.last_seen_ms("ETHUSDT") is None


def test_rates_come_from_both_the_past_and_the_stream(source, mirror):
    settled_ms = source.now_ms // FUNDING_MS * FUNDING_MS
    next_ms = settled_ms + FUNDING_MS
    assert mirror.funding_rate("BTCUSDT", settled_ms) == 0.00025
    assert mirror.funding_rate("BTCUSDT", next_ms) == 0.0001
    source.tell({"e": "markPriceUpdate", "E": source.now_ms, "s": "BTCUSDT", "r": "-0.00012", "T": next_ms})
    assert eventually(lambda: mirror.funding_rate("BTCUSDT", next_ms - 5) == -0.00012)


def test_minutes_that_passed_during_an_outage_are_fetched_after_it(source, mirror):
    present_ms = source.now_ms // MINUTE_MS * MINUTE_MS
    source.now_ms += 5 * MINUTE_MS
    source.drop()
    for symbol in mirror.symbols:
        assert eventually(lambda asked=symbol: mirror.candle(asked, present_ms + 4 * MINUTE_MS) is not None)
        assert len(mirror.candles(symbol, present_ms, present_ms + 5 * MINUTE_MS)) == 5


def test_a_hole_in_the_stream_is_filled_and_one_in_the_source_stays(source, mirror):
    present_ms = source.now_ms // MINUTE_MS * MINUTE_MS
    source.missing = {present_ms + MINUTE_MS}
    source.now_ms += 3 * MINUTE_MS + 20_000
    source.tell_candle("BTCUSDT", present_ms + 3 * MINUTE_MS)
    assert eventually(lambda: mirror.candle("BTCUSDT", present_ms + 3 * MINUTE_MS) is not None)
    known = [candle.open_ms for candle in mirror.candles("BTCUSDT", present_ms, present_ms + 9 * MINUTE_MS)]
    assert known == [present_ms, present_ms + 2 * MINUTE_MS, present_ms + 3 * MINUTE_MS]


def test_a_stale_stream_is_reconnected(source):
    market = follow(source, stale_after_s=0.6)
    try:
        assert market.wait_until_ready(10)
        first = source.streams[0]
        assert eventually(lambda: source.streams and source.streams[-1] is not first)
    finally:
        market.close()


@pytest.mark.parametrize("fault", ["status", "garbage", "nobody"])
def test_a_source_that_is_away_is_waited_for_and_nothing_is_invented(source, fault, caplog):
    source.status, source.garbage = (503 if fault == "status" else 200), fault == "garbage"
    rest_url = "http://127.0.0.1:9" if fault == "nobody" else source.rest_url
    with caplog.at_level(logging.INFO):
        market = MirrorMarket(symbols=("BTCUSDT",), rest_url=rest_url, stream_url=source.stream_url, history_minutes=50)
        try:
            assert not market.wait_until_ready(1.5)
            assert market.candles("BTCUSDT", 0, 2**50) == []
            assert market.candle("BTCUSDT", source.now_ms // MINUTE_MS * MINUTE_MS) is None
            assert market.last_seen_ms("BTCUSDT") is None
            if fault != "nobody":
                source.status, source.garbage = 200, False
                assert market.wait_until_ready(10)
                assert len(market.candles("BTCUSDT", 0, 2**50)) == 50
        finally:
            market.close()
    assert caplog.text.count("mirror away: last_seen=never") == 1


def test_an_impossible_candle_is_not_served(source, mirror):
    present_ms = source.now_ms // MINUTE_MS * MINUTE_MS
    fair_row = source.row
    source.row = lambda open_ms: [open_ms, "5", "4", "6", "5", "1", open_ms + 59_999, "1", 1, "1", "1", "0"]
    source.tell_candle("BTCUSDT", present_ms)
    assert eventually(lambda: mirror.last_seen_ms("BTCUSDT") is not None)
    source.row = fair_row
    assert not eventually(lambda: mirror.candle("BTCUSDT", present_ms) is not None, within_s=0.5)
    source.now_ms += MINUTE_MS
    assert eventually(lambda: mirror.candle("BTCUSDT", present_ms) is not None)


def test_what_is_kept_is_bounded(source):
    market = follow(source, ("BTCUSDT",), history=10)
    try:
        assert market.wait_until_ready(10)
        source.now_ms += 4_400 * MINUTE_MS
        source.drop()
        present_ms = source.now_ms // MINUTE_MS * MINUTE_MS
        assert eventually(lambda: market.candle("BTCUSDT", present_ms - MINUTE_MS) is not None)
        candles = market.candles("BTCUSDT", 0, 2**50)
        assert len(candles) == 4_330
        assert market.first_ms == candles[0].open_ms
    finally:
        market.close()


def test_closing_ends_the_thread_soon(source, mirror):
    began = time.monotonic()
    mirror.close()
    assert time.monotonic() - began < 3.0
    assert not any(thread.name == "mirror" for thread in threading.enumerate())


def eight_hours(source, mirror, limit):
    quotes = Prices(mirror, {symbol: CONTRACTS[symbol] for symbol in mirror.symbols})
    charts = Charts(mirror, quotes, lambda: source.now_ms)
    return charts.bars("BTCUSDT", "8h", KlineRange(None, None, limit))


def test_a_thousand_candles_of_eight_hours_reach_back_beyond_the_minutes(source):
    """The trend portfolio decides on them: with eight days of minutes alone it would wait for months."""
    mirror = follow(source, ("BTCUSDT",), history_minutes=300, history_hours=8_400)
    try:
        assert mirror.wait_until_ready(60.0)
        bars = eight_hours(source, mirror, 1_000)
        assert [row.open_ms for row in bars] == [bars[0].open_ms + place * 8 * HOUR_MS for place in range(1_000)]
        for bar in (bars[0], bars[500], bars[-2]):
            minutes = [_candle_of_row(source.row(bar.open_ms + each * MINUTE_MS)) for each in range(480)]
            assert bar[:5] == joined(bar.open_ms, minutes)[:5] and bar.trades == 480 * 12
        assert bars[-1].trades == (source.now_ms // MINUTE_MS * MINUTE_MS - bars[-1].open_ms) // MINUTE_MS * 12
    finally:
        mirror.close()


def test_an_hour_outlives_its_minutes(source):
    mirror = follow(source, ("BTCUSDT",), history_minutes=130, history_hours=20)
    try:
        assert mirror.wait_until_ready(20.0)
        before = eight_hours(source, mirror, 3)
        mirror._kept = 90
        mirror._keep("BTCUSDT", [])
        assert len(mirror.candles("BTCUSDT", 0, source.now_ms)) == 90
        assert eight_hours(source, mirror, 3) == before
    finally:
        mirror.close()
