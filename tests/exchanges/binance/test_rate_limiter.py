"""What we ask of the exchange is counted for all processes together, and stops before the exchange would stop it."""

import multiprocessing
import stat
import sys
from pathlib import Path

import pytest

from src.domain.clock import ManualClock
from src.domain.errors import RateLimited
from src.exchanges.binance.rate_limiter import RateLimits, SharedRateLimiter, Urgency

NOON = 1_790_000_040_000  # a whole minute


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON + 1_000)


@pytest.fixture
def budget(tmp_path: Path, clock: ManualClock) -> SharedRateLimiter:
    return SharedRateLimiter(tmp_path / "state" / "budget", clock, limits=RateLimits(100, 10, 20))


def test_routine_stops_before_the_limit_and_leaves_room_for_exits(budget, clock):
    budget.take(80, 0, Urgency.ROUTINE)
    with pytest.raises(RateLimited) as refusal:
        budget.take(1, 0, Urgency.ROUTINE)
    assert refusal.value.retry_after_s == pytest.approx(59.0)
    budget.take(18, 0, Urgency.EXIT)
    with pytest.raises(RateLimited):
        budget.take(1, 0, Urgency.EXIT)
    assert budget.used().weight == 98


def test_entries_stop_before_exits_do(budget):
    for _ in range(8):
        budget.take(0, 1, Urgency.ENTRY)
    with pytest.raises(RateLimited) as refusal:
        budget.take(0, 1, Urgency.ENTRY)
    assert refusal.value.retry_after_s == pytest.approx(9.0)
    budget.take(0, 1, Urgency.EXIT)


def test_a_window_that_is_over_counts_no_more(budget, clock):
    budget.take(80, 8, Urgency.ENTRY)
    clock.advance_to(NOON + 10_000)
    budget.take(0, 8, Urgency.ENTRY)
    assert budget.used().orders_1m == 16
    clock.advance_to(NOON + 60_000)
    budget.take(80, 8, Urgency.ENTRY)
    assert (budget.used().weight, budget.used().orders_1m) == (80, 8)


def test_the_exchanges_own_count_corrects_ours_upwards_only(budget, clock):
    asked_ms = clock.now_ms()
    budget.take(5, 0, Urgency.ROUTINE)
    budget.observe({"X-MBX-USED-WEIGHT-1M": "70", "X-MBX-ORDER-COUNT-10S": "3", "X-MBX-ORDER-COUNT-1M": "4"}, asked_ms)
    budget.observe({"X-MBX-USED-WEIGHT-1M": "2"}, asked_ms)
    used = budget.used()
    assert (used.weight, used.orders_10s, used.orders_1m) == (70, 3, 4)


def test_a_response_of_the_previous_minute_does_not_change_this_ones_count(budget, clock):
    asked_ms = clock.now_ms()
    clock.advance_to(NOON + 61_000)
    budget.observe({"X-MBX-USED-WEIGHT-1M": "99"}, asked_ms)
    assert budget.used().weight == 0


def test_a_ban_holds_for_everything_until_its_instant(budget, clock):
    wait_s = budget.block(NOON + 121_000)
    assert wait_s == pytest.approx(120.0)
    clock.advance_to(NOON + 120_000)
    with pytest.raises(RateLimited):
        budget.take(1, 1, Urgency.EXIT)
    clock.advance_to(NOON + 121_000)
    budget.take(1, 1, Urgency.EXIT)


def test_a_refusal_without_instant_holds_to_the_minutes_end(budget):
    assert budget.block(None) == pytest.approx(59.0)


def test_waits_are_reported_in_wall_seconds(tmp_path, clock):
    fast = SharedRateLimiter(tmp_path / "fast", clock, speed=10.0, limits=RateLimits(100, 10, 20))
    fast.take(80, 0, Urgency.ROUTINE)
    with pytest.raises(RateLimited) as refusal:
        fast.take(1, 0, Urgency.ROUTINE)
    assert refusal.value.retry_after_s == pytest.approx(5.9)


def test_a_record_of_another_market_time_causes_no_ban(tmp_path, clock):
    path = tmp_path / "budget"
    SharedRateLimiter(path, clock).block(NOON + 10**9)
    earlier = SharedRateLimiter(path, ManualClock(NOON - 10**10))
    earlier.take(1, 1, Urgency.EXIT)
    assert earlier.used().weight == 1


def test_a_damaged_file_is_replaced_by_a_new_one(tmp_path, clock):
    path = tmp_path / "budget"
    path.write_bytes(b"not ours")
    budget = SharedRateLimiter(path, clock)
    budget.take(7, 0, Urgency.ROUTINE)
    assert budget.used().weight == 7


def test_the_file_belongs_to_its_owner_alone(tmp_path, clock):
    path = tmp_path / "budget"
    SharedRateLimiter(path, clock)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_where_the_disk_refuses_the_process_counts_for_itself(tmp_path, clock):
    (tmp_path / "file").write_text("")
    budget = SharedRateLimiter(tmp_path / "file" / "budget", clock, limits=RateLimits(100, 10, 20))
    budget.take(80, 0, Urgency.ROUTINE)
    with pytest.raises(RateLimited):
        budget.take(1, 0, Urgency.ROUTINE)


def _take_many(path: Path, count: int) -> None:
    budget = SharedRateLimiter(path, ManualClock(NOON))
    for _ in range(count):
        budget.take(1, 0, Urgency.EXIT)


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="flock")
def test_processes_together_lose_no_count(tmp_path):
    path = tmp_path / "budget"
    workers = [multiprocessing.get_context("spawn").Process(target=_take_many, args=(path, 250)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert SharedRateLimiter(path, ManualClock(NOON)).used().weight == 1_000
