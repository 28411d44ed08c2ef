"""A person's way through the page of a running suite: start, pause, see why, resume, close, trip, reset, stop."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from src.storage.rows import Owner
from src.storage.tables import control_requests
from tests.dashboard.browsing import FLAGS, chromium, until, violations
from tests.dashboard.scene import PIN, SYMBOL, served
from tests.paper_exchange.running import wait_until
from tests.project_copy import ProjectCopy, project_copy
from tests.suite.running import BUSY, free_port

pytestmark = pytest.mark.long

EAGER = """name = "eager"
description = "Enters on a single vote and keeps what it has: for tests."
min_signal_strength = 1
min_confidence = 0.0
exit_confidence = 1.0
allow_short = true
cut_losses_on_hold = false
min_holding_ms = 86400000
stop_scale = 3.0
target_scale = 3.0
"""
CALM = """name = "calm"
description = "Enters when all six votes agree: for tests."
min_signal_strength = 6
min_confidence = 1.0
exit_confidence = 1.0
allow_short = true
cut_losses_on_hold = false
min_holding_ms = 86400000
"""


@dataclass
class Journey:
    """A browser on the page of one project copy."""

    page: Page
    project: ProjectCopy

    def rows(self, query: str) -> list[tuple]:
        """Return rows of the project's database."""
        address = f"file:{self.project.folder / 'trading_bot.db'}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=10)) as connection:
            return connection.execute(query).fetchall()

    def log_in(self) -> None:
        """Show the PIN."""
        self.page.click("text=Enter the PIN to control the bot")
        self.page.fill("#pin", PIN)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("#controls button:has-text('Log out')")

    def command(self, label: str, says: str, within_s: float = 75.0) -> str:
        """Press a button, read what will happen, do it, and return what came of it."""
        self.page.locator("#controls").get_by_role("button", name=label, exact=True).click()
        until(self.page, "document.querySelector('#ask').open")
        assert says in self.page.locator("#ask-says").inner_text()
        self.page.click("#ask-do")
        final = "/^(DONE|FAILED|REFUSED|EXPIRED)/.test(document.querySelector('#ask-answer').textContent)"
        until(self.page, final, within_s)
        answer = self.page.locator("#ask-answer").inner_text()
        self.page.click("#ask-close")
        return answer

    def refresh_until(self, expression: str, within_s: float = 40.0) -> None:
        """Look again, as a person would, until something is seen."""

        def seen() -> bool:
            self.page.click("#refresh")
            self.page.wait_for_timeout(400)
            return bool(self.page.evaluate(expression))

        wait_until(seen, within_s, 0.3)


@pytest.fixture
def journey(tmp_path) -> Iterator[Journey]:
    web, exchange = free_port(), free_port()
    settings = BUSY | {
        "TRADING_MODE": "paper", "PAPER_MARKET": "synthetic:7", "PAPER_SPEED": "30", "PAPER_PORT": str(exchange),
        "DASHBOARD_PORT": str(web), "BOT_CONTROL_PIN": PIN, "RULES": "calm", "BOT_ID": "journey",
    }  # fmt: skip
    named_by_rules = ("MIN_SIGNAL_THRESHOLD", "MIN_CONFIDENCE")
    kept = {name: value for name, value in settings.items() if name not in named_by_rules}
    with project_copy(tmp_path / "a folder", **kept) as project:
        for text in (EAGER, CALM):
            name = text.split('"')[1]
            (project.folder / "config" / "rules" / f"{name}.toml").write_text(text)
        started = project.run("start_web_dashboard.sh", "start")
        assert started.returncode == 0, started.stdout + started.stderr
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium(), args=FLAGS)
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{web}/everything")
            yield Journey(page, project)
            browser.close()


def recorded(project: ProjectCopy, service: str) -> Path:
    return project.folder / "logs" / f"{service}.pid"


@pytest.mark.timeout(480)
def test_a_person_starts_pauses_sees_why_resumes_closes_trips_resets_and_stops(journey):
    page, project = journey.page, journey.project
    journey.log_in()
    assert "DONE" in journey.command("Start paper exchange", "scripts/start_paper_exchange.sh")
    assert recorded(project, "paper_exchange").exists()
    assert "already running" in journey.command("Start paper exchange", "waits until it is well")
    assert "DONE" in journey.command("Start trading bot", "scripts/start_rl_bot.sh")
    assert "DONE" in journey.command("Pause entries", "no new position until entries are resumed")
    journey.refresh_until(
        "[...document.querySelectorAll('#controls button')].some(e => e.textContent.includes('eager'))"
    )
    assert "DONE" in journey.command("Switch to rules eager", "Enters on a single vote")
    refuses_and_says_why(journey)
    assert "DONE" in journey.command(f"Pause {SYMBOL}", "Other pairs go on")
    journey.refresh_until(
        f"[...document.querySelectorAll('#controls button')].some(e => e.textContent === 'Resume {SYMBOL}')"
    )
    assert "All pairs are still paused." in journey.command(f"Resume {SYMBOL}", "may open positions in")
    assert "DONE" in journey.command("Resume entries", "may open positions again")
    closes_by_hand(journey)
    assert journey.command("Trip the breaker", "blocks every new entry").startswith(
        "DONE: The circuit breaker is TRIPPED"
    )
    journey.refresh_until("document.querySelector('#card-breaker').innerText.includes('TRIPPED')")
    assert journey.command("Reset the breaker", "accepted and counted anew") == "DONE: The circuit breaker is ARMED."
    assert "DONE" in journey.command("Stop trading bot", "open positions stay open")
    assert not recorded(project, "rl_bot").exists()
    journey.refresh_until("document.querySelector('#alarm').innerText.includes('was stopped')")
    assert "DONE" in journey.command("Stop paper exchange", "The bot cannot trade and will say so")
    assert not recorded(project, "paper_exchange").exists()
    is_all_written_down(journey)
    kept = page.evaluate("document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)")
    assert "session" not in kept and "csrf" not in kept and PIN not in kept


def refuses_and_says_why(journey: Journey) -> None:
    """The bot wants to enter and may not: the journal says who paused it."""
    refused = "SELECT gates FROM signals WHERE acted = 0 AND gates LIKE '%entries are paused by person in session%'"
    wait_until(lambda: journey.rows(refused), 60, 0.3)
    gate = next(each for each in json.loads(journey.rows(refused)[0][0]) if each["name"] == "halt")
    assert not gate["passed"]
    journey.page.click("[data-filter=not_acted]")
    shown = "document.querySelector('#card-journal').innerText.includes('halt')"
    journey.refresh_until(shown)
    row = journey.page.locator("#card-journal tbody tr", has_text="halt").first
    row.locator("summary").first.click()
    until(journey.page, "document.querySelector('#card-journal').innerText.includes('paused by person in session')")
    assert journey.rows("SELECT id FROM trades") == []


def closes_by_hand(journey: Journey) -> None:
    """A position that the bot opened is closed by the page's button, by one order."""
    wait_until(lambda: journey.rows("SELECT id FROM trades WHERE status = 'open'"), 240, 0.3)
    journey.refresh_until(
        f"document.querySelector('#controls [data-action=close][data-target={SYMBOL}]:not(:disabled)') !== null"
    )
    assert "DONE" in journey.command(f"Close {SYMBOL}", "Sends a market")
    closed = "SELECT exit_client_id FROM trades WHERE exit_reason = 'by_hand'"
    ((order,),) = wait_until(lambda: journey.rows(closed), 10)
    assert journey.rows(f"SELECT COUNT(*) FROM orders WHERE client_id = '{order}' AND purpose = 'exit'") == [(1,)]


def is_all_written_down(journey: Journey) -> None:
    """Each wish stands in the audit: who, from where, before and after, and on the page."""
    found = journey.rows(
        "SELECT action, status, actor, origin, timestamp, finished_at FROM control_requests ORDER BY id"
    )
    assert [row[0] for row in found] == [
        "start:paper_exchange", "start:paper_exchange", "start:rl_bot", "pause", "rules", "pause", "resume",
        "resume", "close", "trip", "reset", "stop:rl_bot", "stop:paper_exchange",
    ]  # fmt: skip
    assert {row[1] for row in found} == {"done"}
    assert all(row[2].startswith("person in session ") and row[3] == "127.0.0.1" for row in found)
    assert all(row[5] >= row[4] for row in found)
    audit = journey.page.locator("#card-control").inner_text()
    assert "stop:paper_exchange" in audit and "DONE" in audit


def test_live_trading_wants_the_symbol_typed_before_the_bot_hears_of_it(tmp_path):
    with served(tmp_path) as made, sync_playwright() as play:
        made.owner = made.dashboard_context.database.owner = Owner("main", "live", "live")
        made.full()
        browser = play.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page()
        page.goto(made.address + "/everything")
        way = Journey(page, ProjectCopy(tmp_path))
        way.log_in()
        page.locator("#controls").get_by_role("button", name=f"Close {SYMBOL}", exact=True).click()
        until(page, "document.querySelector('#ask').open")
        assert f"type {SYMBOL}" in page.locator("#ask-typed").inner_text()
        for typed in ("", "ETHUSDT"):
            page.fill("#typed", typed)
            page.click("#ask-do")
            until(page, f"document.querySelector('#ask-answer').textContent.includes('type {SYMBOL} to confirm')")
            until(page, "!document.querySelector('#ask-do').disabled")
            assert made.dashboard_context.reports.rows(control_requests.select()) == []
        page.fill("#typed", SYMBOL.lower())
        page.click("#ask-do")
        until(page, "document.querySelector('#ask-answer').textContent.includes('Waiting')")
        assert [row["target"] for row in made.dashboard_context.reports.rows(control_requests.select())] == [SYMBOL]
        browser.close()


def test_the_period_report_is_opened_from_the_page_and_fits_every_screen(tmp_path):
    with served(tmp_path) as made, sync_playwright() as play:
        made.full()
        browser = play.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page()
        page.goto(made.address + "/everything")
        page.fill("input[name=from]", "2026-01-01")
        page.fill("input[name=to]", made.at(0)[:10])
        page.locator("button[value=html]").click()
        page.wait_for_url("**/api/report?*")
        assert "+67.00" in page.locator("#report").inner_text()
        for width in (1440, 390, 320):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert violations(page) == []
        browser.close()


AMOUNTS = ("67.00", "60.48", "12.50", "8.25", "5.04", "0.100", "0.0123")
"""What the trades of the scene brought, cost and weighed, and what a model was paid."""


def test_the_period_report_hides_amounts_where_the_page_does_also_on_paper_and_in_the_file(tmp_path):
    with served(tmp_path) as made, sync_playwright() as play:
        made.full()
        browser = play.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_context(accept_downloads=True).new_page()

        def reported() -> tuple[str, str, list[str]]:
            """What the report shows on the screen and on paper, and its file, behind the page's own buttons."""
            page.goto(made.address + "/everything")
            page.fill("input[name=from]", "2026-01-01")
            page.fill("input[name=to]", made.at(0)[:10])
            with page.expect_download() as loading:
                page.locator("button[value=csv]").click()
            file = loading.value
            page.locator("button[value=html]").click()
            page.wait_for_url("**/api/report?*")
            screen = page.locator("#report").inner_text()
            page.emulate_media(media="print")
            paper = page.content()
            page.emulate_media(media="screen")
            lines = Path(file.path()).read_text(encoding="utf-8").splitlines()
            return screen, paper, [file.suggested_filename, page.title(), *lines]

        screen, paper, lines = reported()
        assert all(figure in screen for figure in AMOUNTS) and "•••" not in paper
        assert ",quantity,leverage,gross_pnl,fees,funding,pnl,pnl_percent," in lines[2] and "without" not in lines[0]
        page.goto(made.address + "/everything")
        page.click(".menu summary")
        page.check("#hide")
        assert page.locator("#csv").inner_text() == "Trades as CSV, without amounts"
        screen, paper, lines = reported()
        assert [figure for figure in AMOUNTS if figure in screen or figure in paper] == []
        assert "Amounts are hidden" in screen and "62,917.1" in screen and "•••" in screen
        assert lines[0].endswith("_without_amounts.csv") and len(lines) == 15
        assert ",exit_price,leverage,pnl_percent,exit_reason," in lines[2]
        page.goto(made.address + "/everything")
        page.click(".menu summary")
        page.uncheck("#hide")
        screen, _, lines = reported()
        assert "+67.00" in screen and ",pnl," in lines[2]
        browser.close()


def test_hidden_amounts_are_not_even_drawn_by_the_server(tmp_path):
    with served(tmp_path) as made, sync_playwright() as play:
        made.full()
        made.clock.ahead_s = 200
        browser = play.chromium.launch(executable_path=chromium(), args=FLAGS)
        context = browser.new_context(java_script_enabled=False)
        context.add_cookies([{"name": "dash-hide", "value": "yes", "url": made.address}])
        page = context.new_page()
        page.goto(made.address + "/everything")
        body = page.locator("#cards").inner_html() + page.locator("#alarm").inner_html()
        for figure in ("10,120.55", "10120.55", "10,100.25", "20.30", "12.50", "125.84", "0.1 BTCUSDT"):
            assert figure not in body, figure
        assert "•••" in body and "LONG BTCUSDT" in body and "63,120.1" in body
        browser.close()
