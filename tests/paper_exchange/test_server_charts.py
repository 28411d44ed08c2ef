"""Charts and tape, against the very prices on which the venue trades."""

import itertools
import math
from decimal import Decimal

import pytest

from src.domain.market import Candle
from src.paper_exchange.charts import Charts, KlineRange
from src.paper_exchange.contracts import CONTRACTS
from src.paper_exchange.markets import open_market
from src.paper_exchange.prices import Prices
from src.paper_exchange.rest_context import classification
from src.paper_exchange.trade_tape import TICKS, minute_of_tick, ticks_of

MINUTE_MS = 60_000
NOW = 1_714_521_600_000 + 7 * MINUTE_MS + 31_000  # 31 s into a minute of 2024-05-01


@pytest.fixture(scope="module")
def market():
    return open_market("synthetic:3")


@pytest.fixture
def charts(market):
    quotes = Prices(market, CONTRACTS)
    return Charts(market, quotes, lambda: NOW), quotes


def test_mark_candles_are_the_mark_price_second_by_second(charts):
    made, quotes = charts
    bars = made.mark_bars("BTCUSDT", "1m", KlineRange(None, None, 4))
    assert bars[-1].open_ms == NOW // MINUTE_MS * MINUTE_MS
    for bar in bars:
        seconds = range(bar.open_ms, min(bar.open_ms + MINUTE_MS, NOW + 1), 1_000)
        marks = [quotes.mark("BTCUSDT", second) for second in seconds]
        assert bar.trades == len(marks)
        assert bar[1:5] == pytest.approx((marks[0], max(marks), min(marks), marks[-1]), abs=1e-6)


@pytest.mark.parametrize("interval", ["1m", "5m", "1h", "1d", "1w"])
def test_the_last_bar_is_the_running_one_and_agrees_with_the_stream(charts, interval):
    made, _ = charts
    last = made.bars("ETHUSDT", interval, KlineRange(None, None, 2))[-1]
    streamed = made.bar("ETHUSDT", interval, last.open_ms)
    assert streamed == pytest.approx(last)


@pytest.mark.parametrize("limit", [1, 7, 500])
def test_forwards_and_backwards_give_the_same_bars(charts, limit):
    made, _ = charts
    back = made.bars("SOLUSDT", "15m", KlineRange(None, None, limit))
    ahead = made.bars("SOLUSDT", "15m", KlineRange(back[0].open_ms, None, limit))
    assert ahead == back


def test_the_last_day_is_the_sum_of_its_minutes(charts, market):
    made, quotes = charts
    day = made.last_day("XRPUSDT")
    start_ms = NOW // MINUTE_MS * MINUTE_MS - 1439 * MINUTE_MS
    closed = market.candles("XRPUSDT", start_ms, NOW // MINUTE_MS * MINUTE_MS)
    running = quotes.running_candle("XRPUSDT", NOW)
    assert day.open_ms == start_ms
    assert day.volume == pytest.approx(math.fsum(row.volume for row in closed) + running.volume)
    assert day.high == max(row.high for row in (*closed, running))


class Gappy:
    """A market with a hole of a day between two hours of minutes."""

    symbols = ("BTCUSDT",)
    world = "replay"
    first_ms = 0
    hole = (60 * MINUTE_MS, 1_500 * MINUTE_MS)
    end_ms = 1_560 * MINUTE_MS

    def candle(self, symbol, open_ms):
        inside = 0 <= open_ms < self.end_ms and not self.hole[0] <= open_ms < self.hole[1]
        return Candle(open_ms, 100.0, 101.0, 99.0, 100.5, 10.0, 30, 4.0, 1_000.0) if inside else None

    def candles(self, symbol, start_ms, end_ms):
        opens = range(-(-start_ms // MINUTE_MS) * MINUTE_MS, min(end_ms, self.end_ms), MINUTE_MS)
        return [row for row in (self.candle(symbol, open_ms) for open_ms in opens) if row]

    def funding_rate(self, symbol, settle_ms):
        return 0.0001


def test_a_hole_costs_no_bars_in_either_direction():
    market = Gappy()
    made = Charts(market, Prices(market, {"BTCUSDT": CONTRACTS["BTCUSDT"]}), lambda: market.end_ms)
    back = made.bars("BTCUSDT", "1m", KlineRange(None, None, 100))
    ahead = made.bars("BTCUSDT", "1m", KlineRange(0, None, 100))
    assert [len(back), len(ahead)] == [100, 100]
    assert ahead[59].open_ms == 59 * MINUTE_MS
    assert ahead[60].open_ms == 1_500 * MINUTE_MS
    assert back[-1].open_ms == 1_559 * MINUTE_MS
    assert len(made.bars("BTCUSDT", "1m", KlineRange(0, None, 1_000))) == 120


def test_a_shock_shows_in_the_candles_too(charts):
    made, quotes = charts
    before = made.bars("BTCUSDT", "1m", KlineRange(None, None, 6))
    quotes.shock("BTCUSDT", before[3].open_ms, 0.9)
    after = made.bars("BTCUSDT", "1m", KlineRange(None, None, 6))
    assert after[:3] == before[:3]
    assert after[4].close == pytest.approx(before[4].close * 0.9, rel=1e-5)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "DOGEUSDT"])
def test_the_tape_of_a_minute_adds_up_to_its_candle(charts, market, symbol):
    _, quotes = charts
    rules = CONTRACTS[symbol].rules
    for candle in market.candles(symbol, NOW - 30 * MINUTE_MS, NOW - MINUTE_MS):
        ticks = ticks_of(quotes.minute(symbol, candle.open_ms), rules)
        assert len(ticks) <= TICKS
        assert float(sum((tick.quantity for tick in ticks), Decimal(0))) == pytest.approx(candle.volume)
        assert all(first.last_id + 1 == second.first_id for first, second in itertools.pairwise(ticks))
        assert ticks[-1].last_id - ticks[0].first_id + 1 == candle.trades
        assert {minute_of_tick(tick.tick_id) for tick in ticks} == {candle.open_ms}
        bought = sum(float(tick.quantity) for tick in ticks if not tick.buyer_is_maker)
        largest = max(float(tick.quantity) for tick in ticks)
        assert bought == pytest.approx(candle.taker_buy_volume, abs=largest)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (13, "Extreme Fear"),
        (25, "Extreme Fear"),
        (47, "Neutral"),
        (50, "Neutral"),
        (75, "Greed"),
        (80, "Extreme Greed"),
    ],
)
def test_the_index_has_its_words(value, word):
    assert classification(value) == word
