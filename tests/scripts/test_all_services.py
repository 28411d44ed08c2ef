"""Everything at once, as a person runs it: two bots of two pairs each on one database, secrets that stay secret."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clone import ROOT, SERVICES, Clone, cloned, copy_project
from tests.paper_exchange.running import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

PAIRS = {"one": {"BTCUSDT", "ETHUSDT"}, "two": {"SOLUSDT", "DOGEUSDT"}}
CANARY = "Canary5d0c17Planted"
NOWHERE = "http://127.0.0.1:9"  # nobody listens: what is called there fails, and failures are told
SECRETS = {
    "BOT_CONTROL_PIN": f"{CANARY}Pin",
    "FLASK_SECRET_KEY": f"{CANARY}Flask".ljust(40, "f"),
    "PAPER_API_KEY": f"{CANARY}PaperKey".ljust(64, "k"),
    "PAPER_API_SECRET": f"{CANARY}PaperSecret".ljust(64, "s"),
    "PAPER_CONTROL_TOKEN": f"{CANARY}ControlToken",
    "BINANCE_API_KEY": f"{CANARY}BinanceKey".ljust(64, "b"),
    "BINANCE_SECRET_KEY": f"{CANARY}BinanceSecret".ljust(64, "c"),
    "OPENAI_API_KEY": f"sk-{CANARY}OpenAi",
    "NEWSAPI_KEY": f"{CANARY}News",
    "COINGECKO_API_KEY": f"{CANARY}Gecko",
    "ALERT_PUSH_URL": f"{NOWHERE}/{CANARY}Push",
}
OPEN = {
    "TRADING_MODE": "paper",
    "OPENAI_BASE_URL": f"{NOWHERE}/v1",
    "CHART_INTERVAL_MINUTES": "15",
    "PAPER_SPEED": "60",
    "RULES": "safety_first",
    "TRAINING_CANDLES": "1000",
}
PAGES = (
    *(
        "/",
        "/api/dashboard",
        "/api/bot-status",
        "/api/market-data",
        "/api/chart-analysis",
        "/api/trades",
        "/api/performance",
    ),
    *("/api/positions", "/api/signals", "/api/news", "/api/health", "/api/journal", "/api/chart"),
    *("/api/report?format=html", "/api/report?format=csv", "/api/nothing", "/api/trades?limit=x", "/?bot=two"),
)


@dataclass
class Running:
    """Both bots' folders, and every argument that a process of this machine had meanwhile."""

    one: Clone
    two: Clone
    arguments: set[str]


def write_settings(folder: Path) -> None:
    """Make an ``.env`` in which every secret is a canary."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    for name, value in {**SECRETS, **OPEN}.items():
        text, found = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        text += "" if found else f"\n{name}={value}"
    (folder / ".env").write_text(text, encoding="utf-8")
    (folder / ".env").chmod(0o600)


def listen(arguments: set[str], stop: threading.Event) -> None:
    """Note every command line of the machine that holds the canary, ten times a second."""
    while not stop.wait(0.1):
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = file.read_text(errors="replace")
            except OSError:
                continue
            arguments.add(words if CANARY in words else file.parent.name)


def turns(database: Path) -> dict[tuple[str, str], int]:
    """Return how many turns each bot has written of each pair."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)) as rows:
        found = rows.execute("SELECT bot_id, symbol, COUNT(*) FROM signals GROUP BY 1, 2").fetchall()
    return {(bot, symbol): count for bot, symbol, count in found}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("two bots")
    database = place / "one" / "trading_bot.db"
    arguments: set[str] = set()
    stop = threading.Event()
    listener = threading.Thread(target=listen, args=(arguments, stop), daemon=True)
    with cloned(place / "one", BOT_ID="one", TRADING_PAIRS=",".join(sorted(PAIRS["one"]))) as one:
        write_settings(one.folder)
        settings = {
            "BOT_ID": "two",
            "TRADING_PAIRS": ",".join(sorted(PAIRS["two"])),
            "DATABASE_URL": f"sqlite:///{database}",
        }
        two = Clone(copy_project(place / "two"), one.settings | settings)
        write_settings(two.folder)
        listener.start()
        try:
            done = one.run("restart_all.sh")
            assert done.returncode == 0, done.stdout + done.stderr
            done = two.run("start_rl_bot.sh", "start")
            assert done.returncode == 0, done.stdout + done.stderr
            wanted = {(bot, pair) for bot, pairs in PAIRS.items() for pair in pairs}
            wait_until(lambda: {key for key, count in turns(database).items() if count >= 2} >= wanted, 90, 0.2)
            yield Running(one, two, arguments)
        finally:
            two.run("stop_all.sh")
            stop.set()
            listener.join(5)


def test_all_six_services_are_well_and_told_in_a_line_each(running):
    done = running.one.run("status_all.sh")
    assert (done.returncode, done.stdout.count("✅ running")) == (0, len(SERVICES)), done.stdout


def test_the_api_tells_the_bots_apart(running):
    rows = {bot: running.one.get("MCP_PORT", f"/api/v1/signals?limit=100&bot_id={bot}")["data"] for bot in PAIRS}
    for bot, pairs in PAIRS.items():
        assert {row["bot_id"] for row in rows[bot]} == {bot}
        assert {row["symbol"] for row in rows[bot]} == pairs
    both = running.one.get("MCP_PORT", "/api/v1/signals?limit=500")["data"]
    assert {row["symbol"] for row in both} == PAIRS["one"] | PAIRS["two"]
    assert running.one.get("MCP_PORT", "/api/v1/signals?bot_id=three")["data"] == []
    assert set(PAIRS) <= set(
        re.findall(r'"bot_id": "(\w+)"', json.dumps(running.one.get("MCP_PORT", "/api/v1/bot-status")))
    )


def test_the_page_switches_between_the_bots(running):
    for bot in PAIRS:
        snapshot = running.one.get("DASHBOARD_PORT", f"/api/dashboard?bot={bot}")
        assert snapshot["bot_id"] == bot
        assert {each["bot_id"] for each in snapshot["bots"]} == set(PAIRS)  # what the page offers to switch to
        rows = snapshot["cards"]["bots"]["tables"][0]["rows"]
        assert [row["key"] for row in rows] == [f"bot-{each}" for each in sorted(PAIRS)]
        assert all(row["cells"][1]["text"] == "RUNNING" and row["cells"][5]["raw"] for row in rows)  # and an equity
    for bot, pairs in PAIRS.items():
        answer = running.one.get("DASHBOARD_PORT", f"/api/signals?limit=100&bot={bot}")
        assert answer["bot_id"] == bot
        assert set(re.findall(r'"symbol": "(\w+)"', json.dumps(answer))) == pairs


def test_what_dies_after_restart_all_is_started_again_by_the_watcher_within_half_a_minute(running):
    dead = running.one.pid("mcp_server")
    os.kill(dead, signal.SIGKILL)
    wait_until(lambda: pid_now(running.one, "mcp_server") not in (None, dead), 30, 0.2)
    wait_until(lambda: running.one.run("start_mcp_server.sh", "status").returncode == 0, 30, 0.5)
    watcher = (running.one.folder / "logs" / "watcher_main.log").read_text(encoding="utf-8")
    assert "service died, restarting it: name=mcp_server" in watcher
    assert "did not start" not in watcher and "is not ready" not in watcher


def test_what_was_asked_to_end_by_kill_is_left_stopped_and_told(running):
    """What the user's document types: ``pkill -f`` and ``kill $(cat ...)`` send SIGTERM, and mean it."""
    pid_file = running.one.folder / "logs" / "chart_bot.pid"
    subprocess.run(["bash", "-c", f'kill $(cat "{pid_file}")'], check=True, timeout=10)
    log = running.one.folder / "logs" / "watcher_main.log"
    told = "left stopped: name=chart_bot start_again=./scripts/start_chart_bot.sh start"
    wait_until(lambda: told in log.read_text(encoding="utf-8"), 30, 0.2)
    time.sleep(12)  # two more looks of the watcher
    assert running.one.run("start_chart_bot.sh", "status").returncode == 3
    assert "started: name=chart_bot" not in log.read_text(encoding="utf-8")
    assert running.one.run("start_chart_bot.sh", "start").returncode == 0


def pid_now(clone: Clone, service: str) -> int | None:
    """Return the number in a PID file, None while there is no file."""
    return clone.pid(service) if (clone.folder / "logs" / f"{service}.pid").exists() else None


def test_planted_secrets_appear_nowhere(running):
    """In no log, database, model, report, answer, argument, nor in what a failing start prints."""
    told: dict[str, str] = {}
    paths = running.one.get("MCP_PORT", "/api/v1/openapi.json")["paths"]
    for path in (*paths, "/metrics", "/api/v1/docs", "/api/v1/nothing", "/api/v1/signals?limit=x"):
        told[f"API {path}"] = fetched(running.one, "MCP_PORT", path)
    for path in PAGES:
        told[f"page {path}"] = fetched(running.one, "DASHBOARD_PORT", path)
    for name, words in {
        "wrong setting": {"LEVERAGE": "900"},
        "damaged database": {"DATABASE_URL": damaged(running)},
    }.items():
        done = running.two.run("restart_all.sh", **words)
        assert done.returncode in (65, 78), (name, done.stdout, done.stderr)
        told[name] = done.stdout + done.stderr
    crash = [str(running.two.folder / ".venv/bin/python"), "-c", CRASH]
    crashed = subprocess.run(crash, cwd=running.two.folder, capture_output=True, text=True, timeout=60, check=False)
    told["crash"] = crashed.stdout + crashed.stderr
    assert re.search(r"programming error.*fails with \[hidden\]", told["crash"])
    for clone in (running.one, running.two):
        done = clone.run("stop_all.sh")
        told[f"stop {clone.folder.name}"] = done.stdout + done.stderr
        told |= written(clone.folder)
    told |= {f"argument {number}": words for number, words in enumerate(sorted(running.arguments))}
    assert [name for name, text in told.items() if CANARY in text] == []
    assert {"trading_bot.db", "rl_bot_main.log", "web_dashboard.log", "rl_trading_model.pkl"} <= {
        Path(name).name for name in told
    }


CRASH = """
import sys
from src.runtime.process import run_process
from src.runtime.settings import Settings
def main(stop):
    settings = Settings.load()
    raise RuntimeError(f"fails with {settings.openai_api_key.get_secret_value()} and {settings!r}")
sys.exit(run_process("crash", main))
"""


def damaged(running: Running) -> str:
    """Return the address of a database that is none."""
    file = running.two.folder / "damaged.db"
    file.write_bytes(b"SQLite format 3\0" + b"\xff" * 8_192)
    file.chmod(0o600)
    return f"sqlite:///{file}"


def written(folder: Path) -> dict[str, str]:
    """Return the content of every file that the run left, except the two that are there to hold secrets."""
    kept = {".env", "paper_exchange.json"}
    listed = [path for path in folder.rglob("*") if path.is_file() and ".venv" not in path.relative_to(folder).parts]
    return {str(path): path.read_bytes().decode(errors="replace") for path in listed if path.name not in kept}


def fetched(clone: Clone, port: str, path: str) -> str:
    """Return head and body of an answer, whatever its status."""
    try:
        answer: Any = urllib.request.urlopen(clone.address(port) + path, timeout=20)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return f"{answer.headers}\n{answer.read().decode(errors='replace')}"
