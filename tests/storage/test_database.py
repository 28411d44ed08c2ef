"""The database under bad conditions: locked, full, damaged, foreign, killed; nothing acknowledged is ever lost."""

import multiprocessing
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.exc import IntegrityError

from src.domain.clock import utc_text
from src.domain.errors import StoreCorrupt, StoreUnavailable, StoreUnwritable
from src.storage.connections import StoreLocked
from src.storage.database import TradingDatabase, describe, main, self_check
from src.storage.engine import revision_of
from src.storage.migrations import configuration
from src.storage.rows import Heartbeat, NewsArticle, TrainingEnd, TrainingEpisode, TrainingStart
from src.storage.tables import (
    REVISION,
    account_balance,
    bot_status,
    circuit_breaker_events,
    metadata,
    news_articles,
    orders,
    signals,
    trades,
    training_episodes,
    training_runs,
)
from tests.reporting.test_service import signal_row, trade_row

NOW = 1_795_343_400_000
BALANCE = {
    "timestamp": utc_text(NOW),
    "bot_id": "main",
    "mode": "paper",
    "world": "synthetic",
    "symbol": "*",
    "wallet_balance": Decimal(1),
    "available_balance": Decimal(1),
    "unrealized_pnl": Decimal(0),
    "equity": Decimal(1),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.db"


@pytest.fixture
def database(path: Path) -> Iterator[TradingDatabase]:
    with closing(TradingDatabase(f"sqlite:///{path}")) as database:
        database.migrate()
        yield database


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the database as another program would."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def balance(number: int) -> Any:
    """Work that writes one balance whose equity is ``number``."""
    return lambda connection: connection.execute(insert(account_balance), BALANCE | {"equity": Decimal(number)})


def equities(database: TradingDatabase) -> list[int]:
    with database.read() as connection:
        return [
            int(row[0]) for row in connection.execute(select(account_balance.c.equity).order_by(account_balance.c.id))
        ]


# --- the tables


def test_the_migrations_make_exactly_the_tables_that_are_declared(database: TradingDatabase) -> None:
    assert len(metadata.tables) >= 14
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []


def test_the_newest_migration_is_the_revision_of_this_version(database: TradingDatabase) -> None:
    assert ScriptDirectory.from_config(configuration()).get_current_head() == REVISION
    with database.read() as connection:
        assert revision_of(connection) == REVISION


def test_migrating_twice_changes_nothing_and_arms_no_breaker_again(database: TradingDatabase) -> None:
    database.write(lambda connection: connection.execute(circuit_breaker_events.delete()))
    database.migrate()
    assert database.breaker_events() == []


def test_a_database_of_a_newer_version_is_left_alone(database: TradingDatabase) -> None:
    database.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(StoreUnavailable, match="another version"):
        database.migrate()


def test_the_sql_of_the_manual_runs_as_printed(database: TradingDatabase, path: Path) -> None:
    rows = [trade_row(number) for number in range(400)]
    database.write(lambda connection: connection.execute(insert(trades), rows))
    with closing(sqlite3.connect(path)) as plain:
        last = plain.execute("SELECT * FROM trades ORDER BY timestamp DESC LIMIT 10").fetchall()
        some = plain.execute(
            "SELECT side, entry_price, exit_price, pnl FROM trades ORDER BY timestamp DESC LIMIT 20"
        ).fetchall()
        days = plain.execute(
            "SELECT DATE(timestamp) as date, SUM(pnl) as daily_pnl FROM trades "
            "GROUP BY DATE(timestamp) ORDER BY date DESC"
        ).fetchall()
    assert (len(last), len(some), some[0][:2]) == (10, 20, (rows[-1]["side"], 65_000))
    expected: dict[str, Decimal] = {}
    for row in rows:
        day = row["timestamp"][:10]
        expected[day] = expected.get(day, Decimal(0)) + row["pnl"]
    assert [(day, round(total, 2)) for day, total in days] == [
        (day, float(total)) for day, total in sorted(expected.items(), reverse=True)
    ]


# --- money

money = st.builds(
    lambda sign, digits, places: sign * Decimal(digits).scaleb(-places),
    st.sampled_from((1, -1)),
    st.integers(0, 10**15 - 1),
    st.integers(0, 12),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=money)
def test_stored_money_is_fetched_to_the_last_digit(database: TradingDatabase, value: Decimal) -> None:
    def there_and_back(connection: Connection) -> Any:
        number = connection.execute(insert(account_balance), BALANCE | {"equity": value}).inserted_primary_key[0]
        found = connection.execute(select(account_balance.c.equity).where(account_balance.c.id == number)).scalar_one()
        alike = connection.execute(select(account_balance.c.id).where(account_balance.c.equity == value)).all()
        connection.execute(account_balance.delete())
        return found, len(alike)

    assert database.write(there_and_back) == (value, 1)


def test_a_wallet_of_ten_million_keeps_its_eight_decimals_and_adds_up(database: TradingDatabase) -> None:
    for equity in ("9999999.99999999", "0.00000001", "0.1", "0.2"):
        database.write(
            lambda connection, equity=equity: connection.execute(
                insert(account_balance), BALANCE | {"equity": Decimal(equity)}
            )
        )
    with database.read() as connection:
        small = select(func.sum(account_balance.c.equity)).where(account_balance.c.equity < 1)
        assert connection.execute(small).scalar() == Decimal("0.30000001")
        assert connection.execute(select(func.max(account_balance.c.equity))).scalar() == Decimal("9999999.99999999")


@pytest.mark.parametrize("value", [0.1, Decimal("NaN"), Decimal("Infinity"), "1"])
def test_inexact_amounts_are_refused(database: TradingDatabase, value: Any) -> None:
    with pytest.raises(Exception, match="finite Decimal"):
        database.write(lambda connection: connection.execute(insert(account_balance), BALANCE | {"equity": value}))


def test_more_than_fifteen_digits_are_rounded_half_to_even(database: TradingDatabase) -> None:
    row = BALANCE | {"equity": Decimal(200_000) / Decimal(3)}
    database.write(lambda connection: connection.execute(insert(account_balance), row))
    with database.read() as connection:
        assert connection.execute(select(account_balance.c.equity)).scalar() == Decimal("66666.6666666667")


# --- the file


def test_the_file_is_ours_alone_and_written_through(database: TradingDatabase, path: Path) -> None:
    database.write(balance(1))
    for name in (path, path.with_name("t.db-wal"), path.with_name("t.db-shm")):
        assert name.stat().st_mode & 0o777 == 0o600, name
    with database._engine.connect() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert found == ["wal", 2, 1]


def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    path.touch(0o644)
    TradingDatabase(f"sqlite:///{path}").close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_reader_can_write_nothing_and_creates_no_file(database: TradingDatabase, path: Path) -> None:
    with closing(TradingDatabase(f"sqlite:///{path}", read_only=True)) as reader:
        assert equities(reader) == []
        with pytest.raises(StoreUnwritable):
            reader.write(balance(1))
    with closing(TradingDatabase(f"sqlite:///{path}.none", read_only=True)) as reader, pytest.raises(StoreUnwritable):
        equities(reader)
    assert not Path(f"{path}.none").exists()


def test_a_folder_with_odd_characters_is_a_folder_too(tmp_path: Path) -> None:
    odd = tmp_path / "a ?#%20b"
    odd.mkdir()
    with closing(TradingDatabase(f"sqlite:///{quote(str(odd))}/t.db")) as database:
        database.migrate()
    assert (odd / "t.db").is_file()


def test_an_in_memory_database_reads_what_was_written_in_the_background() -> None:
    with closing(TradingDatabase("sqlite://")) as database:
        database.migrate()
        database.write_later(balance(7))
        assert (equities(database), database.name, database.pending) == ([7], "memory", 0)


def test_a_missing_driver_is_reported_in_one_sentence() -> None:
    with pytest.raises(StoreUnavailable, match="driver"):
        TradingDatabase("nosuchdatabase://host/x")


# --- locks, and writing behind


def test_a_lock_is_waited_for_as_long_as_the_caller_has_patience(database: TradingDatabase, path: Path) -> None:
    with locked(path):
        began = time.monotonic()
        with pytest.raises(StoreLocked, match="locked by another program"):
            database.write(balance(1), patience_s=0.3)
        assert 0.25 <= time.monotonic() - began < 2.0
    assert database.write(lambda connection: 5, patience_s=0.0) == 5


def test_readers_are_not_stopped_by_a_lock(database: TradingDatabase, path: Path) -> None:
    database.write(balance(3))
    with locked(path):
        assert equities(database) == [3]


def test_background_writes_survive_a_lock_in_order(database: TradingDatabase, path: Path) -> None:
    with locked(path):
        began = time.monotonic()
        for number in range(250):
            database.write_later(balance(number))
        assert time.monotonic() - began < 1.0, "the caller does not wait for the lock"
        with pytest.raises(StoreLocked, match="250 rows are still waiting"):
            database.flush(patience_s=0.1)
    database.flush()
    assert equities(database) == list(range(250))


def test_closing_writes_the_queued_rows(path: Path) -> None:
    database = TradingDatabase(f"sqlite:///{path}")
    database.migrate()
    for number in range(30):
        database.write_later(balance(number))
    database.close()
    with closing(TradingDatabase(f"sqlite:///{path}", read_only=True)) as reader:
        assert equities(reader) == list(range(30))


def test_after_closing_everything_is_in_the_one_file(path: Path) -> None:
    database = TradingDatabase(f"sqlite:///{path}")
    database.migrate()
    database.write(balance(1))
    assert equities(database) == [1]
    database.close()
    assert {name.name for name in path.parent.iterdir()} == {"t.db", "t.db-made"}  # the mark says that there was one


def test_a_full_queue_refuses_instead_of_forgetting(path: Path) -> None:
    database = TradingDatabase(f"sqlite:///{path}")
    database.migrate()
    database._most_waiting = 5
    with locked(path):
        for number in range(5):
            database.write_later(balance(number))
        with pytest.raises(StoreUnavailable, match="5 rows wait"):
            database.write_later(balance(5))
    database.close()
    with closing(TradingDatabase(f"sqlite:///{path}", read_only=True)) as reader:
        assert equities(reader) == list(range(5))


def test_an_unwritable_row_is_logged_and_does_not_block_the_others(database: TradingDatabase, path: Path) -> None:
    with locked(path):
        database.write_later(balance(1))
        database.write_later(lambda connection: connection.execute(insert(account_balance), BALANCE | {"equity": None}))
        database.write_later(balance(2))
    with pytest.raises(IntegrityError):
        database.flush()
    database.flush()
    assert equities(database) == [1, 2]


def test_a_failed_transaction_leaves_nothing_behind(database: TradingDatabase) -> None:
    def half(connection: Connection) -> None:
        balance(1)(connection)
        raise KeyError("stop")

    with pytest.raises(KeyError):
        database.write(half)
    assert equities(database) == []


def test_four_threads_write_at_once_and_no_row_is_lost(database: TradingDatabase) -> None:
    threads = [threading.Thread(target=lambda: [database.write(balance(1)) for _ in range(25)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(equities(database)) == 100


# --- damage


def test_a_file_that_is_no_database_is_called_damaged(path: Path) -> None:
    path.write_bytes(b"this is not a database" * 500)
    with (
        closing(TradingDatabase(f"sqlite:///{path}")) as database,
        pytest.raises(StoreCorrupt, match="restore a backup"),
    ):
        database.migrate()


def test_a_damaged_page_is_found_by_the_check(path: Path) -> None:
    with closing(TradingDatabase(f"sqlite:///{path}")) as database:
        database.migrate()
        rows = [signal_row(number) for number in range(500)]
        database.write(lambda connection: connection.execute(insert(signals), rows))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 40_000)
    with closing(TradingDatabase(f"sqlite:///{path}")) as database, pytest.raises(StoreCorrupt, match="damaged"):
        database.check()


def test_a_database_without_tables_says_what_to_do(path: Path) -> None:
    with (
        closing(TradingDatabase(f"sqlite:///{path}")) as database,
        pytest.raises(StoreUnavailable, match="no tables yet"),
    ):
        equities(database)


def full_disk(path: Path, answers: Any) -> None:
    """In a process of its own: the file may grow no more, as on a full disk; then it may again."""
    with closing(TradingDatabase(f"sqlite:///{path}", patience_s=1.0)) as database:
        database.migrate()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = path.with_name("t.db-wal").stat().st_size + 50_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            for number in range(100_000):
                database.write(balance(number))
        except StoreUnavailable as error:
            answers.put((number, type(error).__name__, str(error)))
        database.write_later(balance(-1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        database.flush()
        database.check()


@pytest.mark.long
def test_a_full_disk_loses_nothing_and_is_reported_in_one_sentence(path: Path) -> None:
    answers = multiprocessing.get_context("spawn").Queue()
    child = multiprocessing.get_context("spawn").Process(target=full_disk, args=(path, answers))
    child.start()
    written, kind, sentence = answers.get(timeout=60)
    child.join(60)
    assert (child.exitcode, kind) == (0, "StoreUnwritable")
    assert "disk" in sentence
    with closing(TradingDatabase(f"sqlite:///{path}", read_only=True)) as reader:
        assert equities(reader) == [*range(written), -1]


# --- what the other processes write


def article(number: int, sentiment: str | None = None) -> NewsArticle:
    return NewsArticle(timestamp=utc_text(NOW), url_hash=f"{number:064x}", url=f"https://x.test/{number}", source="rss",
                       title="Bitcoin", sentiment=sentiment, confidence=80.0 if sentiment else None)  # fmt: skip


def test_an_article_is_kept_once_and_takes_over_its_sentiment(database: TradingDatabase) -> None:
    assert database.save_news([article(number) for number in range(250)]) == 250
    assert database.save_news([article(1, "bullish"), article(2, "bearish"), article(999)]) == 1
    assert database.save_news([article(1, "bearish")]) == 0
    with database.read() as connection:
        query = (
            select(news_articles.c.sentiment).where(news_articles.c.sentiment.is_not(None)).order_by(news_articles.c.id)
        )
        assert [row[0] for row in connection.execute(query)] == ["bullish", "bearish"]


def test_a_heartbeat_is_one_row_a_process(database: TradingDatabase) -> None:
    for cycle in range(3):
        database.heartbeat(Heartbeat(timestamp=utc_text(NOW), beat_at=utc_text(NOW), process="trading_bot", pid=1,
                                     started_at=utc_text(NOW), phase="x", version="1", config_hash="a", interval_s=60,
                                     cycle_no=cycle, details={"pairs": ["BTCUSDT"]}))  # fmt: skip
    database.flush()
    with database.read() as connection:
        (row,) = connection.execute(select(bot_status)).all()
    assert (row.cycle_no, row.details) == (2, {"pairs": ["BTCUSDT"]})


def test_a_training_run_is_recorded_from_start_to_end(database: TradingDatabase) -> None:
    run = database.start_training(
        TrainingStart(timestamp=utc_text(NOW), symbol="BTCUSDT", source="database", episodes=150, seed=7)
    )
    episodes = [
        TrainingEpisode(timestamp=utc_text(NOW), episode=each, exploration=0.1, reward_mean=1.0, trades=3)
        for each in range(150)
    ]
    database.record_episodes(run, episodes)
    database.finish_training(
        run, TrainingEnd(finished_at=utc_text(NOW), status="done", accepted=False, verdict="worse")
    )
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(training_episodes)).scalar() == 150
        row = connection.execute(select(training_runs)).one()
    assert (row.status, row.accepted, row.verdict) == ("done", False, "worse")
    with pytest.raises(IntegrityError):
        database.record_episodes(run + 1, episodes[:1])


def test_pruning_takes_the_old_but_never_trades_days_or_unfinished_orders(database: TradingDatabase) -> None:
    order = {
        "timestamp": utc_text(0),
        "updated_at": utc_text(0),
        "bot_id": "m",
        "mode": "paper",
        "world": "live",
        "symbol": "B",
        "purpose": "entry",
        "kind": "MARKET",
        "side": "BUY",
        "quantity": Decimal(1),
        "status": "NEW",
    }
    rows = [signal_row(number) for number in range(250)]

    def fill(connection: Connection) -> None:
        connection.execute(insert(signals), rows)
        connection.execute(insert(trades), [trade_row(number) for number in range(10)])
        connection.execute(insert(orders), [order | {"client_id": str(end), "finished": end} for end in (True, False)])

    database.write(fill)
    cut = rows[230]["instant_ms"]
    assert database.prune(cut) == 231
    with database.read() as connection:
        counts = [
            connection.execute(select(func.count()).select_from(table)).scalar() for table in (signals, trades, orders)
        ]
    assert counts == [20, 10, 1]


# --- the self-check


def test_the_self_check_prints_its_report(path: Path) -> None:
    told = "\n".join(self_check(f"sqlite:///{path}"))
    for piece in (str(path), "wal", "circuit_breaker_events", "none yet", "integrity    ok"):
        assert piece in told
    with closing(TradingDatabase(f"sqlite:///{path}")) as database:
        database.write(lambda connection: connection.execute(insert(trades), trade_row(1)))
        assert any("BTCUSDT" in line or "ETHUSDT" in line for line in describe(database))


@pytest.mark.parametrize(
    ("trouble", "code", "sentence"),
    [
        ("none", 0, "integrity"),
        ("corrupt", 65, "damaged"),
        ("locked", 75, "locked"),
        ("unwritable", 73, "cannot be written"),
    ],
)
def test_the_self_check_ends_with_the_code_of_its_trouble(
    path: Path,
    trouble: str,
    code: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{path if trouble != 'unwritable' else path / 'no' / 't.db'}")
    monkeypatch.setattr("src.storage.database.CHECK_PATIENCE_S", 0.2)
    with closing(TradingDatabase(f"sqlite:///{path}")) as database:
        database.migrate()
        if trouble == "locked":
            database.write(lambda connection: connection.execute(text("DELETE FROM alembic_version")))
    if trouble == "corrupt":
        path.write_bytes(b"x" * 8192)
    if trouble == "locked":
        with locked(path):
            assert main() == code
    else:
        assert main() == code
    told = capsys.readouterr()
    assert sentence in told.out + told.err
    assert trouble == "none" or len(told.err.splitlines()) == 1


@pytest.mark.long
def test_the_documented_self_check_runs_from_any_folder(path: Path, tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[2] / "src" / "database.py"
    environment = os.environ | {"DATABASE_URL": f"sqlite:///{path}"}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "fourteen" not in done.stdout and "signals" in done.stdout


# --- several processes


def migrate_and_write(path: Path, name: int, count: int) -> None:
    with closing(TradingDatabase(f"sqlite:///{path}", patience_s=30.0)) as database:
        database.migrate()
        for number in range(count):
            database.write(balance(name * 1_000_000 + number))
            database.write_later(balance(name * 1_000_000 + 500_000 + number))


@pytest.mark.long
def test_four_processes_start_at_once_and_each_keeps_all_its_rows_in_order(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=migrate_and_write, args=(path, name, 300)) for name in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0] * 4
    with closing(TradingDatabase(f"sqlite:///{path}")) as database:
        database.check()
        found = equities(database)
        assert len(database.breaker_events()) == 1
    for name in range(4):
        for start in (0, 500_000):
            low = name * 1_000_000 + start
            assert [each for each in found if low <= each < low + 500_000] == list(range(low, low + 300))


def write_until_killed(path: Path, pipe: Any) -> None:
    database = TradingDatabase(f"sqlite:///{path}", patience_s=30.0)
    database.migrate()
    start = max(equities(database), default=0)
    for number in range(start + 2, start + 1_000_000, 2):

        def pair(connection: Connection, number: int = number) -> None:
            balance(number - 1)(connection)
            balance(number)(connection)

        database.write(pair)
        pipe.send(number)


@pytest.mark.long
def test_kill_9_at_any_instant_loses_nothing_acknowledged_and_halves_nothing(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    acknowledged = 0
    for turn_no in range(40):
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=write_until_killed, args=(path, theirs))
        child.start()
        theirs.close()
        assert ours.poll(30), "the child wrote nothing"
        time.sleep(0.001 * (turn_no * 7 % 40))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        while ours.poll():
            try:
                acknowledged = ours.recv()
            except EOFError:
                break
        with closing(TradingDatabase(f"sqlite:///{path}")) as database:
            database.check()
            found = equities(database)
        assert found == list(range(1, len(found) + 1))
        assert len(found) % 2 == 0 and len(found) >= acknowledged


@pytest.mark.long
def test_a_lock_of_thirty_seconds_loses_no_write(database: TradingDatabase, path: Path) -> None:
    with locked(path):
        began = time.monotonic()
        number = 0
        while time.monotonic() - began < 30:
            database.write_later(balance(number))
            number += 1
            time.sleep(0.05)
    database.flush()
    assert equities(database) == list(range(number))


# --- PostgreSQL, where there is one


@pytest.mark.long
@pytest.mark.skipif("TEST_POSTGRES_URL" not in os.environ, reason="set TEST_POSTGRES_URL to an empty database")
def test_the_same_tables_and_rows_on_postgresql() -> None:
    with closing(TradingDatabase(os.environ["TEST_POSTGRES_URL"])) as database:
        database.migrate()
        database.migrate()
        database.check()
        database.write(lambda connection: connection.execute(account_balance.delete()))
        database.write_later(balance(3))
        database.flush()
        assert equities(database) == [3]
        with database.read() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert describe(database)
