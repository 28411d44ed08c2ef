"""What the operations rest on: a version that changes with every commit, and the market's own time."""

from contextlib import closing
from pathlib import Path

import pytest

from src.api.caching import AnswerCache, CachedAnswer
from src.api.serializers import Steps, on_step
from src.domain.clock import utc_text
from src.domain.errors import StoreUnavailable
from src.storage.database import TradingDatabase
from tests.api.made import NOON, Made


def test_the_version_changes_with_every_commit_of_anybody_and_with_nothing_else(api: Made) -> None:
    with closing(TradingDatabase(f"sqlite:///{api.path}", read_only=True)) as reader:
        seen = [reader.version()]
        for number in range(1, 4):
            assert reader.version() == seen[-1]
            reader_rows = api.query("SELECT COUNT(*) FROM signals")
            assert reader.version() == seen[-1], reader_rows
            api.add_signal(number)
            seen.append(reader.version())
        assert len(set(seen)) == 4


def test_a_database_in_memory_cannot_tell_its_version() -> None:
    with closing(TradingDatabase("sqlite://")) as database:
        assert database.version() == ""


def test_a_missing_file_is_told_when_the_version_is_asked(tmp_path: Path) -> None:
    absent = TradingDatabase(f"sqlite:///{tmp_path}/none.db", read_only=True)
    with closing(absent) as database, pytest.raises(StoreUnavailable):
        database.version()


def test_the_markets_time_goes_on_from_the_last_sign_of_life_at_its_own_speed(api: Made) -> None:
    assert api.source.now_ms() == NOON + 5_000
    api.beat(timestamp="2023-08-01T00:00:00.000Z", speed=60.0)
    api.clock.advance_to(NOON + 6_000)
    assert utc_text(api.source.now_ms()) == "2023-08-01T00:01:00.000Z"


def test_without_a_sign_of_life_the_machines_time_is_taken(api: Made) -> None:
    api.writer.write(lambda connection: connection.exec_driver_sql("DELETE FROM bot_status"))
    assert api.source.now_ms() == NOON + 5_000


def test_a_damaged_step_is_an_unknown_one(api: Made) -> None:
    api.beat(
        details={"instruments": {"BTCUSDT": {"tick": "0.10"}, "ETHUSDT": {"tick": "x", "step": "1"}, "SOLUSDT": 5}}
    )
    assert api.source.look().steps == {}
    api.beat(details={"instruments": {"BTCUSDT": {"tick": "0.10", "step": "0.001"}}})
    found = api.source.look().steps["BTCUSDT"]
    assert isinstance(found, Steps)
    assert on_step(65_000.05, found.tick) == 65_000.0  # half to even
    assert on_step(65_000.15, found.tick) == 65_000.2


def test_the_memory_for_answers_is_bounded() -> None:
    cache = AnswerCache(most_bytes=1_000)
    for number in range(100):
        cache.put(str(number), CachedAnswer(b"x" * 100, 200, ()))
    cache.put("large", CachedAnswer(b"x" * 900, 200, ()))
    kept = [number for number in range(100) if cache.get(str(number)) is not None]
    assert kept == list(range(90, 100))
    assert cache.get("large") is None
