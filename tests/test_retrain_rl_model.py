"""The command line of retraining: what it prints where, what it writes, and with which code it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from src.runtime.process import single_instance
from src.runtime.settings import PROJECT_ROOT
from src.storage.database import TradingDatabase
from src.storage.rows import Owner
from src.strategy.q_agent import QLearningAgent
from tests.candles import random_candles
from tests.lessons import fill

SCRIPT = PROJECT_ROOT / "retrain_rl_model.py"
SCHEMA = json.loads((PROJECT_ROOT / "docs" / "retraining.schema.json").read_text())


class Place:
    """A folder of its own for one command line: settings, database, models and logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "models" / "rl_trading_model.pkl"
        self.bot_id = f"retrain-{abs(hash(str(folder))) % 10**9}"
        self.database = f"sqlite:///{folder}/t.db"
        (folder / "settings.env").write_text("", encoding="utf-8")
        os.chmod(folder / "settings.env", 0o600)

    def fill(self, count: int, step: float = 0.004) -> None:
        database = TradingDatabase(self.database, Owner(self.bot_id, "paper", "synthetic"))
        database.migrate()
        fill(database, count, step)
        database.close()

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TRADING_MODE": "paper",
            "RULES": "safety_first",
            "BOT_ID": self.bot_id,
            "DATABASE_URL": self.database,
            "MODEL_PATH": str(self.model),
            "LOG_DIR": str(self.folder / "logs"),
            **settings,
        }
        command = [sys.executable, str(SCRIPT), "--env-file", str(self.folder / "settings.env"), *arguments]
        return subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *arguments: str, **settings: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **settings)
        out, error = process.communicate(timeout=100)
        return process.returncode, out, error

    def files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.mark.long
def test_it_retrains_from_the_database_prints_the_analytics_and_keeps_what_it_promises(place):
    place.fill(2_400)
    code, out, error = place.run()
    assert code == 0, error
    for words in (
        "📊 RETRAINING ANALYTICS",
        "🏆 Best Performance:",
        "   Episode: ",
        "   Win Rate: ",
        "   Avg Reward: ",
    ):
        assert words in out
    for words in ("📈 Recent Performance (Last 50 Episodes):", "🎯 Learning Progress:", "⏱️  Training Summary:"):
        assert words in out
    assert "   Episodes: 150" in out and "No trading: +0.00%" in out
    assert "\x1b" not in out + error and error.count("\n") == 1
    assert QLearningAgent.load(place.model).training.candles > 0
    first = place.model.read_bytes()
    code, out, error = place.run("--json")
    told = json.loads(out)
    jsonschema.validate(told, SCHEMA)
    assert (code, told["status"], told["backup_file"] is not None) == (10, "not_better", True)
    assert place.model.read_bytes() == first
    backups = sorted(path.name for path in place.model.parent.glob("rl_trading_model_backup_*.pkl"))
    assert len(backups) == 7  # a copy of the present model, and episodes 50, 100 and 150 of each run
    assert "retraining promoted" in (place.folder / "logs" / "rl_retraining.log").read_text()


def interrupted(process: subprocess.Popen, log: Path) -> tuple[int, str, str]:
    """Press Ctrl-C once the log says that training began; return code, output and errors."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and "begins" in log.read_text():
            process.send_signal(signal.SIGINT)
            break
        time.sleep(0.02)
    out, error = process.communicate(timeout=120)
    return process.returncode, out, error


@pytest.mark.long
def test_ctrl_c_leaves_a_checkpoint_and_resume_ends_at_the_same_model(place, tmp_path_factory):
    whole = Place(tmp_path_factory.mktemp("whole"))
    for each in (place, whole):
        each.fill(1_000)
    order = ("--episodes", "4000", "--force", "--json")
    code, out, error = interrupted(place.start(*order), place.folder / "logs" / "rl_retraining.log")
    assert code == 130, error
    told = json.loads(out)
    jsonschema.validate(told, SCHEMA)
    assert told["status"] == "interrupted" and "--resume" in told["verdict"]
    assert not place.model.exists()
    code, out, error = place.run("--resume", *order)
    assert code == 0, error
    assert whole.run(*order)[0] == 0
    one, other = (QLearningAgent.load(each.model) for each in (place, whole))
    assert one.value.tobytes() == other.value.tobytes() and one.visits.tobytes() == other.visits.tobytes()


@pytest.mark.long
def test_candles_of_a_newcomer_a_forced_model_and_the_way_back(place):
    candles = place.folder / "BTCUSDT-1m.csv"
    rows = (f"{c.open_ms},{c.open},{c.high},{c.low},{c.close},{c.volume}" for c in random_candles(4_000))
    candles.write_text("\n".join(rows))
    code, out, error = place.run("--candles", str(candles), "--episodes", "60")
    assert code == 10, error
    assert "--force" in out and not place.model.exists()
    for seed in ("1", "2"):
        assert place.run("--candles", str(candles), "--episodes", "60", "--force", "--seed", seed)[0] == 0
    second = QLearningAgent.load(place.model).value.tobytes()
    code, out, _ = place.run("--rollback")
    assert (code, QLearningAgent.load(place.model).value.tobytes() != second) == (0, True)
    assert place.run("--rollback")[0] == 0
    assert QLearningAgent.load(place.model).value.tobytes() == second


@pytest.mark.long
def test_a_dry_run_writes_nothing(place):
    place.fill(300)
    before = place.files()
    code, out, error = place.run("--dry-run", "--json")
    told = json.loads(out)
    assert (code, told["samples"], told["trades"], len(told["features"])) == (0, 300, 1, 9), error
    assert place.files() - {"t.db-wal", "t.db-shm"} == before - {"t.db-wal", "t.db-shm"}


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "settings", "code", "words"),
    [
        ((), {}, 66, "at least 50 are needed"),
        (("--rollback",), {}, 66, "no backup"),
        (("--resume",), {}, 66, "at least 50"),
        (("--candles", "nowhere.csv"), {}, 65, "does not say the contract"),
        (("--candles", "BTCUSDT-1m.parquet"), {}, 65, "no such file"),
        (("--migrate", "nowhere.pkl"), {}, 65, "no model"),
        (("--episodes", "0"), {}, 2, "is not between 1"),
        (("--resume", "--rollback"), {}, 2, "not allowed"),
        ((), {"RULES": "no_such_rules"}, 78, "RULES"),
        ((), {"LEVERAGE": "many"}, 78, "LEVERAGE"),
        ((), {"DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:9/none"}, 69, ""),
    ],
)
def test_each_refusal_is_one_sentence_and_its_code(place, arguments, settings, code, words):
    given, out, error = place.run(*arguments, **settings)
    assert given == code, error
    assert error.count(words or error) == 1 and "Traceback" not in error and out == ""


def test_a_strategy_without_an_agent_says_so_and_ends_with_0(place):
    for arguments in ((), ("--dry-run",)):
        code, out, error = place.run(*arguments, RULES="")
        assert (code, error) == (0, "")
        assert "trend_portfolio decides without an agent" in out and "RULES=safety_first" in out
    code, out, _ = place.run("--json", RULES="trend_portfolio")
    assert code == 0 and json.loads(out)["status"] == "no_agent"


@pytest.mark.long
def test_a_file_that_is_too_short_says_how_long_it_must_be(place):
    path = place.folder / "BTCUSDT-1m-2024-01.csv"
    rows = (f"{1_704_067_200_000 + number * 60_000},100,101,99,100,5" for number in range(2_000))
    path.write_text("open_time,open,high,low,close,volume\n" + "\n".join(rows) + "\n", encoding="utf-8")
    code, _, error = place.run("--candles", str(path), RULES="patient_trend")
    assert code == 66
    assert "patient_trend decides on 4h candles" in error and "at least 42 days of one-minute candles" in error


@pytest.mark.long
def test_two_retrainings_of_one_model_exclude_each_other(place):
    with single_instance("retraining", place.model.parent):
        code, _, error = place.run()
    assert code == 75 and "already running" in error


def test_help_begins_with_what_it_does_and_lists_the_codes(place):
    code, out, _ = place.run("--help")
    assert code == 0 and "examples:" in out and "10 trained but not better" in out
