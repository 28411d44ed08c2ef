"""An installation of version 0.1.0 goes on under the present code: settings, database, model, paper account.

``tests/fixtures/version_0_1_0.tar.gz`` was written by that version's own programs: a paper account with an open
long and its stop, four closed trades, 280 turns, a trained model and an ``.env`` with secrets made for the test.
"""

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.paper_exchange.running import wait_until
from tests.project_copy import project_copy
from tests.suite.running import free_port

ARCHIVE = Path(__file__).resolve().parents[1] / "fixtures" / "version_0_1_0.tar.gz"

pytestmark = pytest.mark.long


def rows(database: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(query).fetchall()


def test_what_version_0_1_0_left_behind_is_taken_over(tmp_path):
    with project_copy(tmp_path / "project") as copy:
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(copy.folder, filter="data")
        settings = (copy.folder / "env").read_text(encoding="utf-8").replace("31907", str(free_port()))
        (copy.folder / ".env").write_text(settings, encoding="utf-8")
        database = copy.folder / "trading_bot.db"
        entered = rows(database, "SELECT entry_price, quantity, side FROM trades WHERE status = 'open'")
        turns = rows(database, "SELECT count(*) FROM signals")[0][0]
        for script in ("start_paper_exchange.sh", "start_rl_bot.sh"):
            started = copy.run(script, "start")
            assert started.returncode == 0, started.stdout + started.stderr
        wait_until(lambda: rows(database, "SELECT count(*) FROM signals")[0][0] >= turns + 3, 60, 0.5)
        kept = rows(database, "SELECT entry_price, quantity, side FROM trades ORDER BY timestamp")
        log = "".join(path.read_text(encoding="utf-8") for path in (copy.folder / "logs").glob("*bot*.log"))
        stopped = copy.run("start_rl_bot.sh", "stop")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert rows(database, "SELECT count(*) FROM signals")[0][0] >= turns + 3
    assert entered and set(entered) <= set(kept), "the open trade of the old version is still in the journal"
    assert rows(database, "SELECT count(*) FROM trades WHERE status = 'closed'")[0][0] >= 4
    assert "rejected" not in log and "retrain it" not in log, log[-3000:]
    assert (copy.folder / "models" / "rl_trading_model.pkl").exists()
