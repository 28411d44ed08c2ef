"""A database file that is gone, replaced or new where there was one is noticed by every process, and told."""

import sqlite3
from contextlib import closing

import pytest

from src.domain.circuit_breaker import BreakerLimits, RiskFigures, as_row, from_events, reset
from src.domain.errors import StoreUnavailable
from src.storage.database import TradingDatabase
from src.storage.rows import Heartbeat

NOW = 1_790_000_000_000


def beat(number: int) -> Heartbeat:
    text = "2026-09-21T13:33:20.000Z"
    return Heartbeat(
        timestamp=text, beat_at=text, process="p", pid=number, started_at=text, phase="waiting", version="1",
        config_hash="x", interval_s=60.0, cycle_no=number,
    )  # fmt: skip


@pytest.fixture
def place(tmp_path):
    return tmp_path / "trading.db"


@pytest.fixture
def database(place):
    with closing(TradingDatabase(f"sqlite:///{place}", patience_s=1.0)) as database:
        database.migrate()
        database.heartbeat(beat(1))
        database.flush()
        yield database


def cycles(place) -> list[int]:
    with closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as connection:
        return [row[0] for row in connection.execute("SELECT cycle_no FROM bot_status")]


def move(place, to) -> None:
    for suffix in ("", "-wal", "-shm"):
        file = place.with_name(place.name + suffix)
        if file.exists():
            file.rename(to.with_name(to.name + suffix))


@pytest.mark.parametrize("read_only", [False, True])
def test_a_deleted_file_is_reported_at_each_access_and_works_again_once_restored(database, place, read_only):
    with closing(TradingDatabase(f"sqlite:///{place}", read_only=read_only)) as other:
        with other.read() as connection:
            connection.exec_driver_sql("SELECT 1")
        aside = place.with_name("aside.db")
        move(place, aside)
        for _ in range(8):
            with pytest.raises(StoreUnavailable, match="is gone while it is in use"), other.read():
                pass
        with pytest.raises(StoreUnavailable):
            database.write(lambda connection: None)
        database.heartbeat(beat(2))
        assert not place.exists(), "an empty database was made without a word"
        move(aside, place)
        with other.read() as connection:
            connection.exec_driver_sql("SELECT 1")
        database.flush(5.0)
        assert cycles(place) == [2]


def test_a_file_that_was_replaced_takes_no_rows_of_another_life_and_readers_take_the_new_one(database, place):
    with closing(TradingDatabase(f"sqlite:///{place}", read_only=True)) as reader:
        with reader.read() as connection:
            connection.exec_driver_sql("SELECT 1")
        move(place, place.with_name("aside.db"))
        with closing(TradingDatabase(f"sqlite:///{place}")) as newer:
            newer.migrate()
            newer.heartbeat(beat(7))
        with pytest.raises(StoreUnavailable, match="was replaced"):
            database.write(lambda connection: None)
        with reader.read() as connection:
            assert connection.exec_driver_sql("SELECT cycle_no FROM bot_status").scalar_one() == 7


def test_a_first_database_is_armed_and_a_second_in_its_place_is_tripped_until_a_person_resets(database, place):
    assert not from_events(database.breaker_events(), NOW).tripped
    database.close()
    for suffix in ("", "-wal", "-shm"):
        place.with_name(place.name + suffix).unlink(missing_ok=True)
    with closing(TradingDatabase(f"sqlite:///{place}")) as second:
        second.migrate()
        state = from_events(second.breaker_events(), NOW)
        assert state.tripped
        assert "there was one before" in state.reason
        second.migrate()
        assert len(second.breaker_events()) == 2
        judged = reset(state, "person:test", True, RiskFigures(), BreakerLimits(), NOW)
        assert second.append_breaker_event(as_row(judged.state), NOW)
        assert not from_events(second.breaker_events(), NOW).tripped
    with closing(TradingDatabase(f"sqlite:///{place}")) as third:
        third.migrate()
        assert not from_events(third.breaker_events(), NOW).tripped


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        ("DELETE FROM circuit_breaker_events", 0),
        ("UPDATE circuit_breaker_events SET status = 'SIDEWAYS'", 1),
        ("UPDATE circuit_breaker_events SET version = 41, since_ms = 'never'", 1),
    ],
)
def test_once_the_breakers_rows_are_gone_or_damaged_a_person_can_reset_it(database, place, damage, left):
    with closing(sqlite3.connect(place)) as connection, connection:
        connection.execute(damage)
    rows = database.breaker_events()
    assert len(rows) == left
    state = from_events(rows, NOW)
    assert state.tripped
    judged = reset(state, "person:test", True, RiskFigures(), BreakerLimits(), NOW)
    assert not judged.refused
    assert database.append_breaker_event(as_row(judged.state), NOW), "changed meanwhile, for ever"
    assert not from_events(database.breaker_events(), NOW).tripped
