"""Candles of a longer interval: the exchange's own, made of minutes, never of the future, whole after a break."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from src.backtest.past_timeframes import PastCandleAggregator, longer
from src.domain.errors import ExchangeUnavailable
from src.domain.market import Candle
from src.market_data.columns import Candles
from src.paper_exchange.markets.klines import aggregate
from src.strategy.timeframes import CandleAggregator, remembered_once
from tests.candles import random_candles

FIVE_MS = 300_000
MINUTES = [each for each in random_candles(700) if each.open_ms >= 1_700_000_100_000]


class Exchange:
    """Gives history as of the end of the minute it is told, or nothing while it is away."""

    def __init__(self) -> None:
        self.asked = 0
        self.now_ms = 0
        self.away = False

    def __call__(self, symbol: str, interval: str, count: int) -> Sequence[Candle]:
        self.asked += 1
        if self.away:
            raise ExchangeUnavailable("away")
        known = [each for each in MINUTES if each.open_ms < self.now_ms]
        return [each for each in aggregate(known, interval) if each.open_ms + FIVE_MS <= self.now_ms][-count:]


def looks(exchange: Exchange, until: range, kept: int = 60, minutes: list[Candle] = MINUTES):
    slow = CandleAggregator("BTCUSDT", "5m", exchange)
    for at in until:
        window = minutes[max(0, at - kept) : at]
        exchange.now_ms = window[-1].open_ms + 60_000
        yield at, list(slow.look(window))


def test_they_equal_the_exchange_s_own_at_every_minute_and_ask_it_once():
    exchange = Exchange()
    for at, candles in looks(exchange, range(100, 400)):
        now_ms = MINUTES[at - 1].open_ms + 60_000
        expected = [each for each in aggregate(MINUTES[:at], "5m") if each.open_ms + FIVE_MS <= now_ms]
        assert candles == expected
    assert exchange.asked == 1


def test_after_a_break_longer_than_memory_history_is_asked_again():
    exchange = Exchange()
    slow = CandleAggregator("BTCUSDT", "5m", exchange)
    for at in (100, 300):
        exchange.now_ms = MINUTES[at - 1].open_ms + 60_000
        candles = slow.look(MINUTES[at - 60 : at])
    assert exchange.asked == 2
    assert {later.open_ms - each.open_ms for each, later in pairwise(candles)} == {FIVE_MS}


def test_an_exchange_that_is_away_leaves_nothing_and_is_asked_again():
    exchange = Exchange()
    exchange.away = True
    slow = CandleAggregator("BTCUSDT", "5m", exchange)
    assert list(slow.look(MINUTES[40:100])) == []
    exchange.away, exchange.now_ms = False, MINUTES[100].open_ms + 60_000
    assert len(slow.look(MINUTES[40:101])) > 10
    assert slow.look([]) == ()


def test_what_a_training_asked_for_is_not_asked_twice_and_later_the_exchange_is():
    exchange = Exchange()
    exchange.now_ms = MINUTES[100].open_ms
    history = remembered_once(exchange)
    first, second = history("BTCUSDT", "5m", 1_000), history("BTCUSDT", "5m", 1_000)
    assert first is second and exchange.asked == 1
    exchange.now_ms = MINUTES[300].open_ms
    third, fourth = history("BTCUSDT", "5m", 1_000), history("BTCUSDT", "5m", 1_000)
    assert len(third) == len(fourth) > len(first) and exchange.asked == 3


def test_minutes_that_the_exchange_never_had_are_left_out():
    gappy = [each for place, each in enumerate(MINUTES) if not 202 <= place < 213]
    exchange = Exchange()
    *_, (at, candles) = looks(exchange, range(150, 300), minutes=gappy)
    now_ms = gappy[at - 1].open_ms + 60_000
    assert candles == [each for each in aggregate(gappy[:at], "5m") if each.open_ms + FIVE_MS <= now_ms]


@pytest.mark.parametrize("cut", [0, 1, 4, 7])
def test_the_backtest_s_equal_the_live_ones_bit_for_bit(cut):
    minutes = [each for place, each in enumerate(MINUTES) if not 202 <= place < 213][cut:]
    past = PastCandleAggregator(Candles.of(minutes), FIVE_MS)
    whole = [each for each in aggregate(minutes, "5m") if each.open_ms >= minutes[0].open_ms]
    for at in (len(minutes), 333, 202 - cut, 6):
        now_ms = minutes[at - 1].open_ms + 60_000
        expected = [each for each in whole if each.open_ms + FIVE_MS <= now_ms]
        assert list(past.look(minutes[:at])) == expected


def test_no_candle_is_known_before_it_is_closed():
    columns = Candles.of(MINUTES)
    past = PastCandleAggregator(columns, FIVE_MS)
    in_force = past.in_force(columns.open_ms)
    known = in_force >= 0
    closed_ms = past.candles.open_ms[in_force[known]] + FIVE_MS
    assert (closed_ms <= columns.open_ms[known] + 60_000).all()
    assert len(longer(Candles.of([]), FIVE_MS)) == 0
    assert np.diff(in_force).max() == 1
