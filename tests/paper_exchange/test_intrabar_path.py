"""The path inside a minute: where it goes, what it touches and when."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.market import Candle
from src.paper_exchange.intrabar_path import (
    CLOSE_MS,
    MINUTE_MS,
    area_on,
    first_touch,
    path_of,
    price_at,
    price_on,
    range_between,
    scaled,
    touch_on,
)

RISING = Candle(0, 100.0, 112.0, 97.0, 110.0, 1.0)
FALLING = Candle(0, 100.0, 103.0, 88.0, 90.0, 1.0)


@st.composite
def candles(draw: st.DrawFn) -> Candle:
    """Candles of any shape, prices with one decimal."""
    low, high = sorted((draw(st.integers(500, 1500)), draw(st.integers(500, 1500))))
    start, end = draw(st.integers(low, high)), draw(st.integers(low, high))
    return Candle(0, start / 10, high / 10, low / 10, end / 10, 1.0)


@pytest.mark.parametrize("offset", [0, 1, 14_999, 15_000])
def test_the_open_stays_for_fifteen_seconds(offset: int) -> None:
    assert price_at(RISING, offset) == 100.0


def test_a_minute_that_rises_visits_its_low_first_and_one_that_falls_its_high() -> None:
    assert [price_at(RISING, at) for at in (30_000, 45_000, CLOSE_MS)] == [97.0, 112.0, 110.0]
    assert [price_at(FALLING, at) for at in (30_000, 45_000, CLOSE_MS)] == [103.0, 88.0, 90.0]


def test_between_the_corners_the_line_is_straight() -> None:
    assert price_at(RISING, 22_500) == pytest.approx(98.5)
    assert first_touch(RISING, 98.5, rising=False) == 22_500
    assert first_touch(RISING, 104.5, rising=True) == 37_500


@given(candles(), st.integers(480, 1520), st.booleans(), st.integers(0, CLOSE_MS))
def test_the_first_touch_is_the_first_millisecond_at_or_beyond_the_level(
    candle: Candle, tenth: int, rising: bool, start: int
) -> None:
    level = tenth / 10
    sign = 1 if rising else -1
    found = first_touch(candle, level, rising, start)
    if start % 20 == 0:  # the plain search is slow: a twentieth of the cases is enough
        plain = (at for at in range(start, MINUTE_MS) if sign * (price_at(candle, at) - level) >= 0)
        assert found == next(plain, None)
    elif found is not None:
        assert sign * (price_at(candle, found) - level) >= 0
        assert found == start or sign * (price_at(candle, found - 1) - level) < 0


@given(candles(), st.integers(0, CLOSE_MS), st.integers(0, CLOSE_MS), st.integers(0, CLOSE_MS))
def test_the_range_holds_every_price_between(candle: Candle, one: int, two: int, between: int) -> None:
    start, between, end = sorted((one, two, between))
    low, high = range_between(candle, start, end)
    assert low - 1e-9 <= price_at(candle, between) <= high + 1e-9
    assert range_between(candle, 0, CLOSE_MS) == (candle.low, candle.high)


@given(candles(), st.integers(0, MINUTE_MS), st.integers(0, MINUTE_MS))
def test_areas_add_up(candle: Candle, one: int, two: int) -> None:
    path = path_of(candle)
    first, second = sorted((one, two))
    parts = area_on(path, 0, first) + area_on(path, first, second) + area_on(path, second, MINUTE_MS)
    assert math.isclose(parts, area_on(path, 0, MINUTE_MS), rel_tol=1e-12)


def test_a_shock_is_one_jump_and_holds_from_its_millisecond_on() -> None:
    path = scaled(path_of(RISING), 20_000, 0.9)
    assert price_on(path, 19_999) == pytest.approx(price_at(RISING, 19_999))
    assert price_on(path, 20_000) == pytest.approx(price_at(RISING, 20_000) * 0.9)
    assert price_on(path, CLOSE_MS) == pytest.approx(99.0)
    assert touch_on(path, 95.0, False, 0, CLOSE_MS) == 20_000


def test_nothing_is_touched_in_an_empty_stretch() -> None:
    assert first_touch(RISING, 100.0, rising=True, from_offset_ms=CLOSE_MS + 1) is None
