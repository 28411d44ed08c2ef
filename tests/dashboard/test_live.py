"""The page in front of real processes: a bot that is killed, stopped or hung, and twenty hands on one button."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import blake2s
from http.cookies import SimpleCookie
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.dashboard.browsing import FLAGS, chromium, until
from tests.dashboard.scene import KEY, PIN
from tests.paper_exchange.running import ROOT, wait_until
from tests.suite.running import BUSY, Bot, suite

pytestmark = pytest.mark.long

ENDS = ("killed", "stopped", "hung")
HANGING = """
import os, sys, threading
from pathlib import Path
import src.apps.trading_bot as bot
from src.runtime.process import run_process
take = bot.Trader.run_trading_cycle
def turn(self):
    if Path(os.environ["HANG"]).exists():
        threading.Event().wait()
    return take(self)
bot.Trader.run_trading_cycle = turn
sys.exit(run_process("trading_bot", bot.main))
"""
OWN = "DOWN. The bot"
"""How the alarm of a page begins that is about its own bot, not about another."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def dashboard(bot: Bot):
    """The real process on the bot's database; yields its address."""
    port = free_port()
    own = {"DASHBOARD_PORT": str(port), "BOT_CONTROL_PIN": PIN, "FLASK_SECRET_KEY": KEY}
    with (bot.folder / "web.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "src/web_dashboard.py"], cwd=ROOT, env=bot.environment() | own, stdout=log, stderr=log
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: b"ready" in (bot.folder / "web.log").read_bytes(), 20)
        yield address, process
    finally:
        process.terminate()
        process.wait(10)


def sibling(first: Bot, name: str) -> Bot:
    """Another bot on the same exchange and database, of a name that no other run has."""
    folder = first.folder / name
    folder.mkdir()
    unique = f"{name}-{blake2s(str(folder).encode(), digest_size=4).hexdigest()}"
    return Bot(folder, first.settings | {"BOT_ID": unique, "DATABASE_URL": f"sqlite:///{first.database}"})


def start_hanging(bot: Bot) -> None:
    with (bot.folder / "bot.log").open("ab") as log:
        bot.process = subprocess.Popen(
            [sys.executable, "-c", HANGING], cwd=ROOT, stdout=log, stderr=log,
            env=bot.environment() | {"PYTHONPATH": str(ROOT), "HANG": str(bot.folder / "hang")},
        )  # fmt: skip


def test_a_bot_killed_stopped_or_hung_is_down_on_the_page_within_45_seconds_also_under_a_siege(tmp_path):
    with suite(tmp_path, speed=20.0, TRAINING_CANDLES="1000") as (_, first), sync_playwright() as play:
        bots = {name: sibling(first, name) for name in ENDS}
        try:
            for name, bot in bots.items():
                start_hanging(bot) if name == "hung" else bot.start()
            with dashboard(bots["killed"]) as (address, _):
                browser = play.chromium.launch(executable_path=chromium(), args=FLAGS)
                wait_until(lambda: all("Trading Cycle" in bot.log for bot in bots.values()), 40)
                _watch_them_end(browser, address, bots)
                _see_the_siege_told_once(bots["killed"], Person(address))
                browser.close()
        finally:
            for bot in bots.values():
                if bot.alive:
                    bot.process.send_signal(signal.SIGCONT)
                    bot.kill()


def _watch_them_end(browser, address: str, bots: dict[str, Bot]) -> None:
    pages = {}
    for name, bot in bots.items():
        pages[name] = browser.new_page()
        pages[name].goto(f"{address}/?bot={bot.settings['BOT_ID']}")
    for name, page in pages.items():
        assert not page.locator("#alarm").is_visible(), (name, page.locator("#alarm").inner_text())
    began_s = time.monotonic()
    bots["killed"].kill()
    os.kill(bots["stopped"].process.pid, signal.SIGSTOP)
    (bots["hung"].folder / "hang").touch()
    _besiege(address)
    seen_s: dict[str, float] = {}
    while len(seen_s) < len(pages) and time.monotonic() - began_s < 60:
        for name, page in pages.items():
            if name not in seen_s and OWN in page.locator("#alarm").inner_text():
                seen_s[name] = time.monotonic() - began_s
        pages["hung"].wait_for_timeout(250)
    print("seconds until DOWN:", {name: round(each, 1) for name, each in seen_s.items()})
    assert set(seen_s) == set(ENDS) and max(seen_s.values()) <= 45.0, seen_s
    for page in pages.values():
        page.reload(wait_until="commit")
        for _ in ("as the server drew it", "as the scripts draw it"):
            page.wait_for_selector("footer", state="attached")
            assert OWN in page.locator("#alarm").inner_text()
            assert "No open positions" not in page.locator("body").inner_text()
            until(page, "document.querySelector('#countdown').textContent !== ''")
    os.kill(bots["stopped"].process.pid, signal.SIGCONT)
    back = pages["stopped"]
    wait_until(lambda: back.click("#refresh") or OWN not in back.locator("#alarm").inner_text(), 20.0, 0.5)
    assert back.locator("#alarm").inner_text().count("DOWN: bot") == 2, "of the two others every page tells, too"


def _besiege(address: str) -> None:
    """Try 300 PINs at once: at most ten are looked at, the right one among them is not."""
    with ThreadPoolExecutor(10) as hands:
        tries = (f"wrong-{number}" for number in range(300))
        answers = list(hands.map(lambda pin: Person(address).ask("/api/login", pin=pin), tries))
    codes = [status for status, _, _ in answers]
    assert codes.count(401) <= 10 and codes.count(401) + codes.count(429) == 300
    assert all(int(headers["Retry-After"]) >= 1 for status, _, headers in answers if status == 429)
    assert Person(address).ask("/api/login", pin=PIN)[0] == 429


def _see_the_siege_told_once(bot: Bot, person: "Person") -> None:
    wait_until(lambda: person.ask("/api/login", pin=PIN)[0] == 200, 40.0, 0.5)
    said = (bot.folder / "web.log").read_text()
    assert said.count("alert raised: log in attack") == 1, said[-3000:]


class Person:
    """A browser without a screen: cookie, token and JSON."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.headers = {"Content-Type": "application/json"}

    def ask(self, path: str, **body: str):
        """Return status and JSON of a GET, or of a POST where there is a body."""
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(self.address + path, data, self.headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), error.headers

    def log_in(self) -> None:
        """Show the PIN."""
        status, told, headers = self.ask("/api/login", pin=PIN)
        assert status == 200
        cookie = SimpleCookie(headers["Set-Cookie"])["dashboard_session"].value
        self.headers |= {"Cookie": f"dashboard_session={cookie}", "X-CSRF-Token": told["csrf"]}


def test_twenty_hands_on_close_send_one_order_and_a_pause_holds(tmp_path):
    busy = BUSY | {"ALLOW_SHORT": "true", "MIN_CONFIDENCE": "0"}
    soon_enters = "2026-11-20T12:06:00"  # at 12:09, and again at 12:31
    with suite(tmp_path, speed=6.0, start_at=soon_enters, **busy) as (exchange, bot), dashboard(bot) as (address, web):
        bot.start()
        person = Person(address)
        wait_until(lambda: bot.rows("SELECT id FROM trades WHERE status = 'open'"), 300, 0.1)
        person.log_in()
        trade, symbol = bot.rows("SELECT id, symbol FROM trades WHERE status = 'open'")[0]

        def click(number: int):
            return person.ask("/api/control", action="close", target=symbol, key=f"{number:020d}", bot="", confirm="")

        with ThreadPoolExecutor(20) as hands:
            answers = list(hands.map(click, range(20)))
        assert {status for status, _, _ in answers} <= {200, 202}
        key = answers[0][1]["key"]
        wait_until(lambda: person.ask(f"/api/control/{key}")[1]["status"] in ("done", "refused"), 20, 0.2)
        person.ask("/api/control", action="pause", target="", key="p" * 20, bot="", confirm="")
        wait_until(lambda: person.ask(f"/api/control/{'p' * 20}")[1]["status"] == "done", 20, 0.2)
        wait_until(lambda: bot.rows(f"SELECT id FROM trades WHERE id = {trade} AND status = 'closed'"), 10)
        reason, exit_id = bot.rows(f"SELECT exit_reason, exit_client_id FROM trades WHERE id = {trade}")[0]
        entered, left = bot.rows(f"SELECT entry_time, exit_time FROM trades WHERE id = {trade}")[0]
        exits = bot.rows(
            f"SELECT client_id FROM orders WHERE purpose = 'exit' AND timestamp BETWEEN '{entered}' AND '{left}'"
        )
        assert reason == "by_hand" and exits == [(exit_id,)]
        assert exchange.control("GET", "client_ids")[exit_id] == 1
        commands = bot.rows("SELECT action, status, actor, origin FROM control_requests WHERE action = 'close'")
        assert [row[:2] for row in commands if row[1] == "done"] == [("close", "done")]
        assert all(row[2].startswith("person in session") and row[3] == "127.0.0.1" for row in commands)
        _same_figures(person, bot)
        _small(web)


def _same_figures(person: Person, bot: Bot) -> None:
    """The chart's last RSI is the bot's, and the page's balance the database's."""
    chart = person.ask("/api/chart")[1]
    rsi, at = bot.rows("SELECT rsi, timestamp FROM signals ORDER BY id DESC LIMIT 1")[0]
    if chart["last_turn"] == at:  # else the bot has taken a turn in between
        assert chart["indicators"]["rsi"][-1] == rsi
    assert len(chart["candles"]) == 500


def _small(web: subprocess.Popen) -> None:
    status = Path(f"/proc/{web.pid}/status").read_text()
    print("dashboard:", next(line for line in status.splitlines() if "VmRSS" in line))
