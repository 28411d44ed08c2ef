"""Market time: how it runs, stands, jumps, ends and survives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.paper_exchange.market_clock import Anchor, MarketClock

START = 1_700_000_000_000


class Wall:
    """A wall clock by hand: seconds passed, and how far the machine's date was corrected."""

    def __init__(self):
        self.passed_s = 0.0
        self.corrected_ms = 0

    def wall_ms(self):
        return START + round(self.passed_s * 1000) + self.corrected_ms

    def monotonic(self):
        return 500.0 + self.passed_s


def market_clock(wall, speed=1.0, anchor=None, end_ms=None):
    anchor = anchor or Anchor(START, wall.wall_ms())
    return MarketClock(anchor, speed, end_ms, wall_ms=wall.wall_ms, monotonic=wall.monotonic)


@given(speed=st.floats(0.1, 10_000), seconds=st.floats(0, 1e5))
def test_one_wall_second_is_speed_market_seconds(speed, seconds):
    wall = Wall()
    clock = market_clock(wall, speed)
    wall.passed_s = seconds
    assert clock.now_ms() == pytest.approx(START + seconds * speed * 1000, abs=2)


def test_a_correction_of_the_machines_date_moves_no_market():
    wall = Wall()
    clock = market_clock(wall)
    wall.corrected_ms = 3_600_000
    assert clock.now_ms() == START


def test_time_lost_while_it_was_down_is_caught_up():
    wall = Wall()
    kept = market_clock(wall, 10.0).anchor()
    wall.passed_s = 60.0
    assert market_clock(wall, 10.0, kept).now_ms() == START + 600_000


def test_a_machine_whose_date_went_back_loses_no_market_time():
    wall = Wall()
    kept = market_clock(wall).anchor()
    wall.corrected_ms = -3_600_000
    assert market_clock(wall, 1.0, kept).now_ms() == START


def test_frozen_time_stands_also_over_a_restart():
    wall = Wall()
    clock = market_clock(wall, 5.0)
    clock.freeze()
    wall.passed_s = 100.0
    assert clock.now_ms() == START
    again = market_clock(wall, 5.0, clock.anchor())
    assert (again.now_ms(), again.frozen) == (START, True)
    again.resume()
    wall.passed_s = 101.0
    assert again.now_ms() == START + 5_000


def test_a_jump_goes_forwards_only():
    wall = Wall()
    clock = market_clock(wall)
    clock.advance_to(START + 60_000)
    assert clock.now_ms() == START + 60_000
    with pytest.raises(ValueError, match="backwards"):
        clock.advance_to(START)


def test_a_recording_stands_still_at_its_end():
    wall = Wall()
    clock = market_clock(wall, 300.0, end_ms=START + 10_000)
    assert not clock.finished
    wall.passed_s = 1.0
    assert (clock.now_ms(), clock.finished) == (START + 10_000, True)


def test_speed_must_be_above_nothing():
    with pytest.raises(ValueError, match="speed"):
        market_clock(Wall(), 0.0)
