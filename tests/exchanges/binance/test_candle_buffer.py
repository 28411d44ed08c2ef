"""Whatever order candles come in, the series has each once, in order and without a hole."""

from hypothesis import given
from hypothesis import strategies as st

from src.domain.market import Candle
from src.exchanges.binance.candle_buffer import CandleBuffer

MINUTE = 60_000


def candle(minute: int) -> Candle:
    return Candle(minute * MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0)


def minutes(series: CandleBuffer) -> list[int]:
    return [each.open_ms // MINUTE for each in series.all()]


def test_streamed_candles_wait_for_the_history():
    series = CandleBuffer(MINUTE, 10)
    assert series.add(candle(5)) == []
    assert series.all() == ()
    joined = series.fill([candle(3), candle(4)])
    assert [each.open_ms // MINUTE for each in joined] == [3, 4, 5]
    assert not series.has_hole


def test_candles_after_a_gap_wait_until_it_is_filled():
    series = CandleBuffer(MINUTE, 10)
    series.fill([candle(1)])
    assert series.add(candle(4)) == []
    assert series.has_hole
    assert minutes(series) == [1]
    joined = series.fill([candle(2), candle(3)])
    assert [each.open_ms // MINUTE for each in joined] == [2, 3, 4]
    assert minutes(series) == [1, 2, 3, 4]


def test_a_hole_of_the_exchanges_own_stays_a_hole():
    series = CandleBuffer(MINUTE, 10)
    series.fill([candle(1), candle(2), candle(7)])
    assert minutes(series) == [1, 2, 7]
    series.add(candle(9))
    series.fill([candle(9)])
    assert minutes(series) == [1, 2, 7, 9]
    assert not series.has_hole


def test_only_the_newest_are_kept():
    series = CandleBuffer(MINUTE, 3)
    series.fill(candle(each) for each in range(10))
    assert minutes(series) == [7, 8, 9]
    assert series.last_open_ms == 9 * MINUTE


@given(st.permutations(range(1, 12)), st.lists(st.integers(0, 11), max_size=8), st.randoms())
def test_any_order_with_doubles_gives_each_candle_once_in_order(order, doubles, chance):
    series = CandleBuffer(MINUTE, 100)
    series.fill([candle(0)])
    arrivals = [*order, *doubles]
    chance.shuffle(arrivals)
    told = [each.open_ms // MINUTE for minute in arrivals for each in series.add(candle(minute))]
    assert minutes(series) == list(range(12))
    assert told == list(range(1, 12))


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(0, 30))
def test_rest_and_stream_together_leave_no_hole(streamed, upto):
    series = CandleBuffer(MINUTE, 100)
    series.fill([candle(0)])
    for minute in streamed:
        series.add(candle(minute))
    series.fill(candle(each) for each in range(1, upto + 1))
    seen = minutes(series)
    assert seen == list(range(len(seen)))
    assert seen[-1] >= upto
