"""The same migrations, the same suite, and two bots of two folders on one real PostgreSQL server."""

import os
import subprocess
import sys
from contextlib import closing
from decimal import Decimal

import pytest
from sqlalchemy import func, select

from src.domain.clock import SystemClock
from src.reporting.pages import Scope, SignalFilter
from src.reporting.service import ReportService
from src.runtime.settings import Settings
from src.storage.backup import make_backup, restore_backup
from src.storage.database import TradingDatabase
from src.storage.tables import bot_status, orders, positions, signals, trades
from tests.paper_exchange.running import ROOT, wait_until
from tests.postgres_server import PASSWORD, postgres
from tests.suite.running import BUSY, suite, wallet

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
SUITES = (
    "tests/storage/test_database.py",
    "tests/storage/test_journal_repository.py",
    "tests/reporting/test_service.py",
)


@pytest.fixture(scope="module")
def server():
    with postgres() as url:
        yield url


def test_database_journal_and_reports_keep_their_promises_on_postgresql(server):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "long or not long",
            "-k",
            "postgresql and not milliseconds",
            "-p",
            "no:cacheprovider",
            *SUITES,
        ],
        cwd=ROOT,
        env={**os.environ, "TEST_POSTGRES_URL": server},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    last = done.stdout.strip().splitlines()[-1:]
    print(*last)
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.count(".") >= 40


@pytest.fixture
def empty(server):
    """The address of the database, with all tables gone."""
    from src.storage.tables import metadata

    with closing(TradingDatabase(server)) as database:
        database.write(metadata.drop_all)
        database.write(lambda connection: connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version"))
    return server


def test_two_bots_of_two_folders_share_one_database_and_each_keeps_its_own_books(empty, tmp_path):
    places = [tmp_path / name for name in ("north", "south")]
    for place in places:
        place.mkdir()
    options = {"speed": 200.0, "DATABASE_URL": empty, **BUSY}
    north, south = ({**options, "BOT_ID": place.name} for place in places)
    with suite(places[0], **north) as (exchange_1, bot_1), suite(places[1], **south) as (exchange_2, bot_2):
        bot_1.start()
        bot_2.start()  # both find no tables, and one of them makes them
        with closing(TradingDatabase(empty, read_only=True)) as database:

            def closed(name):
                with database.read() as rows:
                    query = select(func.count()).select_from(trades)
                    return rows.execute(query.where(trades.c.bot_id == name, trades.c.status == "closed")).scalar()

            wait_until(lambda: "Cycle #3" in bot_1.log and "Cycle #3" in bot_2.log, 60, 0.1)
            wait_until(lambda: closed("north") >= 1 and closed("south") >= 1, 120, 0.3)
            assert bot_1.stop() == 0
            assert bot_2.stop() == 0

            reports, wall_ms = ReportService(database), SystemClock().now_ms()
            assert {row["bot_id"]: row["phase"] for row in reports.bot_status(wall_ms)} == {
                "north": "stopped",
                "south": "stopped",
            }
            for name, exchange in (("north", exchange_1), ("south", exchange_2)):
                assert booked(database, name) == wallet(exchange) - Decimal(10_000)
                pages = reports.signals(SignalFilter(scope=Scope(bot_id=name)), limit=5)
                assert {row["bot_id"] for row in pages.rows} == {name}
                assert not reports.breaker(name, wall_ms).tripped
            both = reports.signal_stats(Scope()).total
            assert both == sum(reports.signal_stats(Scope(bot_id=name)).total for name in ("north", "south"))
        for bot in (bot_1, bot_2):
            assert PASSWORD not in bot.log
            assert not bot.database.exists()


def booked(database, name):
    """What a bot's journal says was earned, to the 8th decimal, as the paper exchange reckons."""
    with database.read() as rows:
        table = trades.c
        closed = rows.execute(select(table.pnl).where(table.bot_id == name, table.status == "closed")).scalars().all()
        opened = rows.execute(select(table.fees).where(table.bot_id == name, table.status == "open")).scalars().all()
    return sum(closed, Decimal(0)) - sum(opened, Decimal(0))


def test_a_dump_comes_back_and_the_password_is_in_no_argument(empty, tmp_path, monkeypatch):
    monkeypatch.setattr("src.storage.backup.PROJECT_ROOT", tmp_path)
    env = tmp_path / ".env"
    env.write_text(f"DATABASE_URL={empty}\nMODEL_PATH={tmp_path}/m.pkl\n")
    settings = Settings.load(env)
    with closing(TradingDatabase(empty)) as database:
        database.migrate()
    seen = []
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda words, **more: (seen.append(words), real(words, **more))[1])
    archive = make_backup(settings, tmp_path / "b", keep=1)
    with closing(TradingDatabase(empty)) as database:
        for table in (signals, orders, positions, bot_status):
            database.write(lambda connection, table=table: table.drop(connection))
    said = restore_backup(settings, archive)
    assert seen
    assert PASSWORD not in str(seen) + str(said)
    with closing(TradingDatabase(empty)) as database, database.read() as rows:
        assert rows.execute(select(func.count()).select_from(signals)).scalar() == 0
