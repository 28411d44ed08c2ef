"""Bars of every interval: made of minutes, on the exchange's grid."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.clock import DAY_MS, MINUTE_MS, instant_of
from src.domain.market import Candle
from src.paper_exchange.markets.klines import INTERVALS, aggregate, bar_end_ms, bar_open_ms, span_ms

HOUR_MS = 60 * MINUTE_MS
MONDAY_MS = instant_of("2026-11-16")
instants = st.integers(instant_of("2020-01-01"), instant_of("2030-01-01"))
intervals = st.sampled_from(INTERVALS)


def minutes(start_ms, count, step=1):
    """Return candles whose every figure tells their number."""
    return [
        Candle(start_ms + k * step * MINUTE_MS, 100.0 + k, 101.0 + k, 99.0 + k, 100.5 + k, 0.1, 2, 0.04, 10.0)
        for k in range(count)
    ]


def test_the_intervals_are_those_of_the_exchange():
    assert INTERVALS == ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")


def test_a_bar_takes_the_first_open_the_extremes_the_last_close_and_the_sums():
    bars = aggregate(minutes(MONDAY_MS, 10), "5m")
    assert bars == [
        Candle(MONDAY_MS, 100.0, 105.0, 99.0, 104.5, 0.5, 10, 0.2, 50.0),
        Candle(MONDAY_MS + 5 * MINUTE_MS, 105.0, 110.0, 104.0, 109.5, 0.5, 10, 0.2, 50.0),
    ]


def test_the_open_bar_is_the_last_one_as_far_as_it_goes():
    bars = aggregate(minutes(MONDAY_MS + HOUR_MS - 2 * MINUTE_MS, 3), "1h")
    assert [bar.open_ms for bar in bars] == [MONDAY_MS, MONDAY_MS + HOUR_MS]
    assert bars[-1] == minutes(MONDAY_MS + HOUR_MS - 2 * MINUTE_MS, 3)[-1]


def test_minutes_stay_as_they_are():
    assert aggregate(minutes(MONDAY_MS, 3), "1m") == minutes(MONDAY_MS, 3)


def test_an_hour_without_a_minute_has_no_bar():
    there = minutes(MONDAY_MS, 2) + minutes(MONDAY_MS + 3 * HOUR_MS, 2)
    assert [bar.open_ms for bar in aggregate(there, "1h")] == [MONDAY_MS, MONDAY_MS + 3 * HOUR_MS]
    assert aggregate([], "1h") == []


@pytest.mark.parametrize(
    ("interval", "instant", "opens"),
    [
        ("1w", "2026-11-22T23:59:59.999", "2026-11-16"),
        ("1w", "2026-11-23", "2026-11-23"),
        ("3d", "2017-08-18T12:00", "2017-08-16"),
        ("1M", "2026-02-28T23:00", "2026-02-01"),
        ("1M", "2024-12-31T00:00", "2024-12-01"),
        ("12h", "2026-11-22T13:00", "2026-11-22T12:00"),
        ("8h", "2026-11-22T07:59", "2026-11-22T00:00"),
    ],
)
def test_bars_begin_on_the_grid_of_the_exchange(interval, instant, opens):
    assert bar_open_ms(interval, instant_of(instant)) == instant_of(opens)


@given(intervals, instants)
def test_every_instant_lies_in_exactly_one_bar(interval, instant_ms):
    open_ms = bar_open_ms(interval, instant_ms)
    end_ms = bar_end_ms(interval, open_ms)
    assert open_ms <= instant_ms < end_ms
    assert bar_open_ms(interval, open_ms) == open_ms == bar_open_ms(interval, end_ms - 1)
    assert bar_open_ms(interval, end_ms) == end_ms


@given(st.sampled_from(["3m", "5m", "15m", "1h"]), st.integers(0, 300), st.integers(1, 400))
def test_nothing_is_lost_between_minutes_and_bars(interval, later, count):
    made_of = minutes(MONDAY_MS + later * MINUTE_MS, count)
    bars = aggregate(made_of, interval)
    assert sum(bar.trades for bar in bars) == 2 * count
    assert sum(bar.volume for bar in bars) == pytest.approx(0.1 * count)
    assert max(bar.high for bar in bars) == made_of[-1].high
    assert (bars[0].open, bars[-1].close) == (made_of[0].open, made_of[-1].close)


@given(intervals, instants, st.integers(1, 1500))
def test_without_a_start_the_last_bars_are_asked_for_and_the_open_one_ends_them(interval, now_ms, limit):
    first_ms, beyond_ms = span_ms(interval, limit, now_ms)
    assert bar_open_ms(interval, first_ms) == first_ms
    assert beyond_ms == bar_end_ms(interval, bar_open_ms(interval, now_ms))
    assert first_ms < beyond_ms


def test_limits_count_bars():
    now_ms = instant_of("2026-11-22T10:30:30")
    assert span_ms("1h", 3, now_ms) == (instant_of("2026-11-22T08:00"), instant_of("2026-11-22T11:00"))
    assert span_ms("1M", 3, now_ms) == (instant_of("2026-09-01"), instant_of("2026-12-01"))


def test_with_a_start_the_first_bars_that_open_at_it_or_later_are_asked_for():
    now_ms = instant_of("2026-11-22T10:30")
    start_ms = instant_of("2026-11-22T01:00") + 1
    assert span_ms("1h", 2, now_ms, start_ms) == (instant_of("2026-11-22T02:00"), instant_of("2026-11-22T04:00"))
    exact_ms = instant_of("2026-11-22T01:00")
    assert span_ms("1h", 2, now_ms, exact_ms) == (exact_ms, instant_of("2026-11-22T03:00"))
    assert span_ms("1h", 500, now_ms, exact_ms) == (exact_ms, instant_of("2026-11-22T11:00"))


def test_an_end_takes_in_the_bar_that_opens_at_it():
    now_ms = instant_of("2026-11-22T10:30")
    start_ms, end_ms = instant_of("2026-11-22T01:00"), instant_of("2026-11-22T03:00")
    assert span_ms("1h", 500, now_ms, start_ms, end_ms) == (start_ms, instant_of("2026-11-22T04:00"))
    assert span_ms("1h", 2, now_ms, None, end_ms) == (instant_of("2026-11-22T02:00"), instant_of("2026-11-22T04:00"))


@given(intervals, instants, st.integers(1, 1500), st.none() | instants, st.none() | instants)
def test_a_span_never_runs_backwards(interval, now_ms, limit, start_ms, end_ms):
    first_ms, beyond_ms = span_ms(interval, limit, now_ms, start_ms, end_ms)
    assert first_ms <= beyond_ms
    bars, at = 0, first_ms
    while at < beyond_ms:
        at, bars = bar_end_ms(interval, at), bars + 1
    assert at == beyond_ms and bars <= limit


def test_history_before_the_months_are_counted_does_not_fail():
    assert span_ms("1M", 1500, DAY_MS)[0] == 0
    assert bar_open_ms("1M", int(datetime(1970, 1, 5, tzinfo=UTC).timestamp()) * 1000) == 0
