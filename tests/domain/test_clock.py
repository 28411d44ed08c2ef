"""What the clocks promise: the exchange's time, its speed, and no small step back."""

import threading
import time

import pytest

from src.domain.clock import ExchangeClock, ManualClock, instant_of, utc_text


def test_the_first_look_sets_the_clock_back_by_years():
    clock = ExchangeClock(speed=300.0)
    before = clock.now_ms()
    clock.follow(before - 100_000_000_000)
    assert clock.now_ms() < before - 99_000_000_000


def test_a_small_correction_never_turns_time_back():
    clock = ExchangeClock()
    clock.follow(1_000_000)
    first = clock.now_ms()
    clock.follow(999_500)
    assert clock.now_ms() >= first


def test_a_clock_found_far_ahead_is_set_back():
    clock = ExchangeClock()
    clock.follow(10_000_000)
    clock.now_ms()
    clock.follow(1_000_000)
    assert clock.now_ms() < 1_010_000


def test_an_event_from_later_moves_it_on_and_one_from_earlier_does_not():
    clock = ExchangeClock(speed=0.001)
    clock.follow(1_000_000)
    clock.at_least(1_060_000)
    assert clock.now_ms() >= 1_060_000
    clock.at_least(1_010_000)
    assert clock.now_ms() >= 1_060_000


def test_it_runs_as_fast_as_its_speed():
    clock = ExchangeClock(speed=1_000.0)
    clock.follow(0)
    began = time.monotonic()
    clock.wait(threading.Event(), 20_000.0)
    passed_s = time.monotonic() - began
    assert clock.now_ms() == pytest.approx(passed_s * 1_000_000, rel=0.2)


def test_a_manual_clock_refuses_to_run_backwards():
    clock = ManualClock(10)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance_to(9)


def test_instants_survive_the_way_to_text_and_back():
    assert utc_text(instant_of("2026-11-22T10:30:15.123Z")) == "2026-11-22T10:30:15.123Z"
    assert instant_of("2026-11-22T10:30:15") == instant_of("2026-11-22T10:30:15Z")
