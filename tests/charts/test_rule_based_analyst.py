"""The free analyst: deterministic, honest about what it is, right where the market leaves no doubt."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.charts.analysis_schema import ChartObservation, ChartView, TechnicalSignals, view_of, visible_levels
from src.charts.rule_based_analyst import (
    MARK,
    divergence,
    read_chart,
    slope_atr,
    swing_highs,
    swing_levels,
    swing_lows,
)
from src.domain.market import Candle
from src.strategy.indicators import calculate_indicators
from tests.candles import random_candles
from tests.chart_samples import START_MS, wave, wave_view


def turned(candles, pivot=60_000.0):
    """The same market upside down."""
    return [
        Candle(c.open_ms, pivot - c.open, pivot - c.low, pivot - c.high, pivot - c.close, c.volume) for c in candles
    ]


def test_the_same_candles_give_the_same_reading():
    assert read_chart(wave_view()) == read_chart(wave_view())


def test_it_says_that_it_is_no_model():
    assert read_chart(wave_view()).reason.startswith(MARK)
    assert "no model" in MARK


def test_a_steady_rise_reads_bullish_and_a_fall_bearish():
    rise, fall = (read_chart(wave_view(drift=drift, swing=0.001)) for drift in (0.0005, -0.0005))
    assert (rise.trend, rise.technical_signals.ema_alignment) == ("bullish", "bullish")
    assert (fall.trend, fall.technical_signals.ema_alignment) == ("bearish", "bearish")
    assert rise.overall_score > 5.0 > fall.overall_score
    assert rise.recommendation != "SELL" and fall.recommendation != "BUY"


def test_a_flat_market_reads_neutral_with_low_confidence():
    candles = [Candle(START_MS + at * 900_000, 100.0, 100.0, 100.0, 100.0, 1.0) for at in range(300)]
    reading = read_chart(view_of("BTCUSDT", "15m", candles))
    assert (reading.trend, reading.recommendation, reading.confidence) == ("neutral", "HOLD", "low")
    assert reading.overall_score == 5.0
    assert reading.support_levels == reading.resistance_levels == ()


def test_too_few_candles_read_neutral_and_do_not_crash():
    for count in (1, 2, 10, 40):
        reading = read_chart(view_of("BTCUSDT", "15m", wave(count)))
        assert 0.0 <= reading.overall_score <= 10.0
    assert "slope unknown" in read_chart(view_of("BTCUSDT", "15m", wave(1))).reason


def test_a_wave_turns_at_its_crests_and_troughs():
    view = wave_view(swing=0.01, count=405)
    (support, *_), (resistance, *_) = swing_levels(view, below=True), swing_levels(view, below=False)
    assert support == pytest.approx(30_000 * 0.99, rel=0.002)
    assert resistance == pytest.approx(30_000 * 1.01, rel=0.002)


def test_swings_overtop_their_neighbours():
    candles = wave(200)
    for swing in swing_highs(candles):
        around = candles[swing.at - 3 : swing.at + 4]
        assert swing.price == max(each.high for each in around)
    for swing in swing_lows(candles):
        assert swing.price == min(each.low for each in candles[swing.at - 3 : swing.at + 4])


@given(st.integers(1, 10_000), st.integers(1, 400))
def test_any_market_gives_a_reading_within_its_own_chart(seed, count):
    view = view_of("BTCUSDT", "1m", random_candles(count, seed))
    reading = read_chart(view)
    assert 0.0 <= reading.overall_score <= 10.0
    assert all(view.lowest <= level <= view.price for level in reading.support_levels)
    assert all(view.price <= level <= view.highest for level in reading.resistance_levels)
    assert list(reading.support_levels) == sorted(reading.support_levels, reverse=True)
    assert list(reading.resistance_levels) == sorted(reading.resistance_levels)
    assert len(reading.support_levels) <= 3 and len(reading.resistance_levels) <= 3


@given(st.integers(1, 10_000))
def test_the_market_upside_down_reads_upside_down(seed):
    candles = random_candles(300, seed)
    one, other = (view_of("BTCUSDT", "1m", each) for each in (candles, turned(candles)))
    assert slope_atr(other) == pytest.approx(-slope_atr(one), abs=1e-6)
    mirrored = {"bullish": "bearish", "bearish": "bullish", "neutral": "neutral"}
    assert divergence(other) == mirrored[divergence(one)]
    assert read_chart(other).overall_score == pytest.approx(10.0 - read_chart(one).overall_score, abs=0.11)


@given(st.integers(1, 10_000), st.floats(0.01, 100.0))
def test_the_slope_does_not_know_the_unit_of_money(seed, scale):
    candles = random_candles(200, seed)
    dearer = [
        Candle(c.open_ms, c.open * scale, c.high * scale, c.low * scale, c.close * scale, c.volume) for c in candles
    ]
    one, other = (slope_atr(view_of("BTCUSDT", "1m", each)) for each in (candles, dearer))
    assert other == pytest.approx(one, rel=1e-6, abs=1e-9)


def test_a_higher_high_on_a_tired_rsi_is_a_bearish_divergence():
    steep = [100 + 3 * at for at in range(40)]  # a strong rise, then a pause, then a weak new high
    pause = [steep[-1] - 2 * at for at in range(1, 12)]
    weak = [pause[-1] + (0.4 if at % 2 else 2.6) * (1 if at % 3 else -0.8) for at in range(1, 2)]
    climb = [weak[-1] + at * 1.9 - (3 if at % 4 == 0 else 0) for at in range(1, 15)]
    closes = [*[100.0] * 200, *steep, *pause, *weak, *climb, climb[-1] - 3, climb[-1] - 5, climb[-1] - 7, climb[-1] - 9]
    candles = [Candle(START_MS + at * 900_000, c, c + 0.1, c - 0.1, c, 1.0) for at, c in enumerate(closes)]
    assert max(climb) > max(steep)
    assert divergence(view_of("BTCUSDT", "15m", candles)) == "bearish"


def test_the_view_shows_what_the_bot_sees():
    candles = random_candles(500)
    view = view_of("BTCUSDT", "1m", candles, seen=100)
    assert len(view.candles) == len(view.indicators) == 100
    assert view.latest == calculate_indicators(candles)


def test_levels_are_believed_only_where_the_chart_can_show_them():
    view = wave_view()
    span = view.highest - view.lowest
    inside = view.price - 0.1 * span
    claimed = [inside, inside, view.lowest - span, math.nan, math.inf, view.price + 0.1 * span, -1.0]
    assert visible_levels(view, claimed, below=True) == (inside,)


@pytest.mark.parametrize(
    "wrong", [{"trend": "up"}, {"recommendation": "buy"}, {"confidence": "sure"}, {"overall_score": 11.0}]
)
def test_a_reading_outside_the_schema_cannot_be_made(wrong):
    good = read_chart(wave_view())
    values = {name: getattr(good, name) for name in ChartObservation.__dataclass_fields__} | wrong
    with pytest.raises(ValueError, match=r"none of|not in"):
        ChartObservation(**values)


def test_signals_outside_the_schema_cannot_be_made_into_a_reading():
    good = read_chart(wave_view())
    values = {name: getattr(good, name) for name in ChartObservation.__dataclass_fields__}
    with pytest.raises(ValueError, match="none of"):
        ChartObservation(**values | {"technical_signals": TechnicalSignals("bullish", "hot", "neutral")})


def test_a_view_needs_candles():
    with pytest.raises(ValueError, match="needs candles"):
        ChartView("BTCUSDT", "15m", (), ())
