"""The cache: fresh, whole, bounded, one fetch for many askers, and never in the way."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.clock import ManualClock, SystemClock, monotonic_s
from src.domain.errors import SourceUnavailable
from src.runtime.cache import CacheManager, MarketDataCache, NewsCache, SentimentCache

ROOT = Path(__file__).resolve().parents[2]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture
def clock():
    return ManualClock(1_000_000_000_000)


@pytest.fixture
def cache(tmp_path, clock):
    return CacheManager(tmp_path, "prices", ttl_s=300, clock=clock)


def files_of(cache_folder: Path, suffix: str) -> list[Path]:
    return list(cache_folder.rglob(f"*{suffix}"))


def test_an_entry_is_good_until_its_last_millisecond(cache, clock):
    cache.set("BTC", 65432.1)
    clock.advance_to(clock.now_ms() + 299_999)
    assert cache.get("BTC") == 65432.1
    clock.advance_to(clock.now_ms() + 1)
    assert cache.get("BTC") is None


def test_an_entry_can_be_given_a_life_of_its_own(cache, clock):
    cache.set("BTC", 1, ttl_s=10)
    clock.advance_to(clock.now_ms() + 10_000)
    assert cache.get("BTC") is None


@given(key=st.text(), value=json_values)
def test_what_goes_in_comes_out_under_any_key(tmp_path_factory, key, value):
    cache = CacheManager(tmp_path_factory.mktemp("cache"))
    cache.set(key, value)
    entry = cache.lookup(key)
    assert entry is not None
    assert (entry.key, entry.value) == (key, value)


def test_another_process_sees_the_entry(cache, tmp_path, clock):
    cache.set("BTC", {"price": 1.5})
    assert CacheManager(tmp_path, "prices", clock=clock).get("BTC") == {"price": 1.5}
    assert CacheManager(tmp_path, "news", clock=clock).get("BTC") is None


def test_an_entry_from_the_future_of_a_replayed_market_is_not_believed(cache, tmp_path, clock):
    cache.set("BTC", 1)
    earlier = CacheManager(tmp_path, "prices", clock=ManualClock(clock.now_ms() - 60_000))
    assert earlier.get("BTC") is None


def test_a_value_that_is_no_json_is_a_fault_of_the_caller(cache):
    with pytest.raises(ValueError, match="not JSON compliant"):
        cache.set("BTC", float("nan"))
    with pytest.raises(TypeError):
        cache.set("BTC", object())
    assert cache.get("BTC") is None


def test_get_or_fetch_fetches_once_and_then_remembers(cache):
    calls = []
    for _ in range(3):
        assert cache.get_or_fetch("BTC", lambda: calls.append(1) or 42) == 42
    assert len(calls) == 1
    assert (cache.get_stats()["hits"], cache.get_stats()["misses"]) == (2, 1)


def test_a_stored_none_is_a_value_not_a_gap(cache):
    calls = []
    for _ in range(2):
        assert cache.get_or_fetch("nothing", lambda: calls.append(1)) is None
    assert len(calls) == 1


def test_a_failed_fetch_is_passed_on_and_leaves_nothing_behind(cache, tmp_path):
    def fail():
        raise SourceUnavailable("away")

    with pytest.raises(SourceUnavailable, match="away"):
        cache.get_or_fetch("BTC", fail)
    assert cache.get_or_fetch("BTC", lambda: 7) == 7
    assert not files_of(tmp_path, ".lock")


def test_waiting_too_long_for_another_fetch_is_an_error(cache):
    entered, release = threading.Event(), threading.Event()
    holder = threading.Thread(target=cache.get_or_fetch, args=("BTC", lambda: entered.set() or release.wait(5)))
    holder.start()
    assert entered.wait(5)
    with pytest.raises(SourceUnavailable, match="another process"):
        cache.get_or_fetch("BTC", lambda: 1, wait_s=0.05)
    assert cache.get_or_fetch("ETH", lambda: 2, wait_s=0.05) == 2  # another key is not held up
    release.set()
    holder.join(5)
    assert cache.get("BTC") is True


def test_patterns_forget_what_they_match_and_nothing_else(cache):
    for key in ("price:BTC", "price:ETH", "fear"):
        cache.set(key, 1)
    assert cache.invalidate_pattern("price:*") == 2
    assert (cache.get("price:BTC"), cache.get("fear")) == (None, 1)
    assert cache.delete("fear")
    assert not cache.delete("fear")
    cache.set("a", 1)
    assert cache.clear() == 1


def test_cleanup_removes_expired_entries_and_leftovers_of_killed_writers(cache, tmp_path, clock):
    cache.set("old", 1, ttl_s=1)
    cache.set("young", 2)
    folder = tmp_path / "prices"
    for name in ("dead.1-1.tmp", "dead.lock"):
        (folder / name).write_text("x")
    clock.advance_to(clock.now_ms() + 2_000)
    assert cache.cleanup_expired() == 1
    assert cache.get("young") == 2
    assert (folder / "dead.1-1.tmp").exists()  # may be somebody's work of this very second
    assert len(files_of(tmp_path, ".json")) == 1


def test_leftovers_go_when_they_are_old(cache, tmp_path, monkeypatch):
    cache.set("young", 2)
    for name in ("dead.1-1.tmp", "dead.lock"):
        (tmp_path / "prices" / name).write_text("x")
    later_ms = SystemClock().now_ms() + 61_000
    monkeypatch.setattr(SystemClock, "now_ms", lambda _: later_ms)
    cache.cleanup_expired()
    assert not files_of(tmp_path, ".tmp")
    assert not files_of(tmp_path, ".lock")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]\n1", b'{"key": "BTC"}\n1', b"\xff\xfe\n", b'{"key": 1}\n'])
def test_a_damaged_file_is_a_gap_that_the_next_fetch_fills(cache, tmp_path, damage):
    cache.set("BTC", 1)
    files_of(tmp_path, ".json")[0].write_bytes(damage)
    assert cache.get("BTC") is None
    assert cache.invalidate_pattern("*") in {0, 1}
    assert cache.get_or_fetch("BTC", lambda: 2) == 2


def test_a_disk_that_refuses_costs_the_cache_never_the_answer(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    cache = CacheManager(blocked, "prices")
    assert cache.get_or_fetch("BTC", lambda: 5) == 5
    assert not cache.set("BTC", 5)
    assert "cache not written" in caplog.text


def test_size_stays_within_its_bound_and_what_expires_last_stays(tmp_path, clock):
    cache = CacheManager(tmp_path, "small", max_mb=1, clock=clock)
    for number in range(600):
        cache.set(f"key {number}", "x" * 3000, ttl_s=100 + number)
    stats = cache.get_stats()
    assert stats["size_bytes"] <= stats["max_bytes"]
    assert stats["evictions"] > 0
    assert cache.get("key 599") is not None
    assert cache.get("key 0") is None


def test_a_value_too_large_for_the_cache_is_not_kept(tmp_path, caplog):
    cache = CacheManager(tmp_path, "small", max_mb=0.1)
    assert not cache.set("novel", "x" * 20_000)
    assert "too large" in caplog.text


def test_statistics_survive_the_process(cache, tmp_path, clock):
    cache.set("BTC", 1)
    for _ in range(3):
        cache.get("BTC")
    cache.get("ETH")
    cache.get_stats()
    stats = CacheManager(tmp_path, "prices", clock=clock).get_stats()
    assert (stats["hits"], stats["misses"], stats["writes"], stats["entries"]) == (3, 1, 1, 1)
    assert stats["hit_rate"] == 0.75
    assert CacheManager(tmp_path, "untouched").get_stats()["hit_rate"] is None


def test_a_peek_is_no_question(cache):
    cache.set("note", 1)
    assert (cache.peek("note"), cache.peek("nothing")) == (1, None)
    assert cache.get_stats()["hit_rate"] is None


@pytest.mark.parametrize(
    ("made", "ttl_s"),
    [
        (MarketDataCache, 300),
        (NewsCache, 3600),
        (SentimentCache, 86_400),
        (lambda folder: SentimentCache(folder, cost_saving=False), 3600),
    ],
)
def test_the_special_caches_have_the_specified_lifetimes(tmp_path, made, ttl_s):
    assert made(tmp_path).ttl_s == ttl_s


HAMMER = """
import sys
from pathlib import Path
from src.runtime.cache import CacheManager
from src.domain.clock import monotonic_s
folder, start_s = Path(sys.argv[1]), float(sys.argv[2])
cache = CacheManager(folder, "hot")
def fetch():
    with (folder / "fetches").open("a") as file:
        file.write("x")
    import threading
    threading.Event().wait(0.3)
    return 42
while monotonic_s() < start_s:
    pass
print({cache.get_or_fetch("key", fetch) for _ in range(200)})
"""

WRITER = """
import sys
from src.runtime.cache import CacheManager
cache = CacheManager(sys.argv[1], "torn", max_mb=64)
print("ready", flush=True)
for number in range(10**9):
    cache.set(f"key {number % 5}", {"number": number, "body": "y" * 50_000})
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.long
def test_eight_processes_hammering_one_key_cause_one_fetch(tmp_path):
    begin_s = str(monotonic_s() + 2.0)
    workers = [start(HAMMER, str(tmp_path), begin_s) for _ in range(8)]
    assert [worker.communicate(timeout=60)[0].strip() for worker in workers] == ["{42}"] * 8
    assert (tmp_path / "fetches").read_text() == "x"
    stats = CacheManager(tmp_path, "hot").get_stats()
    assert (stats["misses"], stats["writes"]) == (1, 1)


@pytest.mark.long
def test_a_writer_killed_at_any_instant_leaves_a_readable_cache(tmp_path):
    for attempt in range(10):
        worker = start(WRITER, str(tmp_path))
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        threading.Event().wait(0.02 + 0.013 * attempt)
        worker.send_signal(signal.SIGKILL)
        worker.communicate(timeout=10)
        for path in files_of(tmp_path, ".json"):
            head, body = path.read_bytes().split(b"\n", 1)
            assert json.loads(head)["key"].startswith("key ")
            assert len(json.loads(body)["body"]) == 50_000
    survivor = CacheManager(tmp_path, "torn")
    assert survivor.get_or_fetch("key 0", lambda: "fresh", wait_s=1.0) is not None
    assert survivor.set("key 0", 1)
    assert survivor.get_stats()["writes"] > 10


@pytest.mark.long
def test_a_fetcher_killed_while_it_holds_the_key_does_not_hold_it_for_ever(tmp_path):
    code = HAMMER.replace("wait(0.3)", "wait(60)").replace("while", "print('ready', flush=True)\nwhile")
    worker = start(code, str(tmp_path), "0")
    assert worker.stdout is not None
    worker.stdout.readline()
    until_s = monotonic_s() + 10
    while not (tmp_path / "fetches").exists() and monotonic_s() < until_s:
        threading.Event().wait(0.02)
    worker.send_signal(signal.SIGKILL)
    worker.communicate(timeout=10)
    assert CacheManager(tmp_path, "hot").get_or_fetch("key", lambda: 7, wait_s=1.0) == 7
