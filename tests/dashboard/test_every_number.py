"""Every number on every page is the API's and the database's; a number that no rule names fails."""

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Page, sync_playwright
from sqlalchemy import update

from src.api.auth import Authenticator
from src.api.context import ApiContext
from src.api.keys import KeyStore
from src.api.rest import build_app
from src.dashboard.app import create_app
from src.domain.clock import SystemClock
from src.storage.command_queue import CommandResult, answer, pending, take
from src.storage.database import TradingDatabase
from src.storage.rows import ApiUsage
from src.storage.tables import trades
from tests.dashboard import number_rules_pages  # noqa: F401 - adds its rules
from tests.dashboard.browsing import FLAGS, Watched, chromium, until
from tests.dashboard.number_rules import LABELS, RULES, TEXTS, Book, Expected, Gone, Reading, length, moment, rules_for
from tests.dashboard.scene import OWNER, Scene, logged_in, served

pytestmark = pytest.mark.long

ADDRESSES = ("/trade", "/journal", "/performance", "/strategies", "/system", "/trades/3", "/everything")
COLLECT = (Path(__file__).parent / "numbers.js").read_text(encoding="utf-8")
ETHER = {"tick": "0.01", "step": "0.01", "base": "ETH"}
EIGHT_DECIMALS = 5.1e-9
"""REST writes eight decimals at most."""


def lived(made: Scene) -> None:
    """Let much have happened, with no two figures alike, and halves that must be rounded to even."""
    mark = {"mark": "3391.335", "as_of": made.at(3), "funding_rate": "-0.00025", "next_funding": made.at(-3_600)}
    told = made.details()
    details = {"marks": told["marks"] | {"ETHUSDT": mark}, "instruments": told["instruments"] | {"ETHUSDT": ETHER}}
    made.beat(cycle_no=12_345, details=details | {"cycle_ms": {"BTCUSDT": 0.9, "ETHUSDT": 1.1}})
    made.beat(process="chart_analysis_bot")
    for ago_s, equity in ((3_000, "10011.005"), (2_000, "10150"), (1_000, "10087.4"), (4, "10120.555")):
        made.balance(ago_s, equity)
    made.day("9987.65", "10120.555")
    made.position()
    made.position(
        "ETHUSDT", "SHORT", quantity=Decimal("1.25"), entry_price=Decimal("3402.115"), unrealized_pnl=Decimal("13.475"),
        mark_price=Decimal("3391.335"), stop_price=Decimal("3470.16"), target_price=Decimal("3232.01"),
        liquidation_price=Decimal("3711.4"), leverage=7,
    )  # fmt: skip
    own = update(trades).where(trades.c.symbol == "ETHUSDT").values(quantity=Decimal("1.25"))
    made.database.write(lambda connection: connection.execute(own))
    made.order()
    made.order("UNKNOWN", "entry")
    for number in range(12):
        pnl = Decimal("12.345") + number if number % 3 else Decimal("-8.255") - number
        made.trade(
            number, pnl=str(pnl), entry_ago_s=3_000 - 213 * number, fees=Decimal("5.0451") + number,
            funding=Decimal("0.115") * (number - 4), quantity=Decimal("0.1") + Decimal(number) / 1000,
            pnl_percent=pnl / 7, entry_price=Decimal("62917.1") + number, stop_price=Decimal("61658.7") - number,
            signal_id=number + 1,
        )  # fmt: skip
    made.turns(40, "ETHUSDT")
    made.turns(60)
    made.context()
    made.analysis()
    made.news(count=4)
    made.training()
    made.usage()
    made.database.record_api_usage(
        ApiUsage(timestamp=made.at(50), process="chart_analysis_bot", service="openai", operation="chart", cached=True,
                 model="gpt-6-luna", input_tokens=0, output_tokens=0, cost_usd=Decimal("0.00005"))
    )  # fmt: skip
    made.others()
    made.database.flush()


def controlled(made: Scene) -> None:
    """Let a person have shown the PIN and wished for something that was done."""
    client = create_app(made.dashboard_context).test_client()
    command = {"action": "pause", "target": "", "bot": "main", "key": "w" * 20}
    assert client.post("/api/control", json=command, headers=logged_in(client)).status_code == 202
    for row in pending(made.database, "main"):
        assert take(made.database, row["id"], made.clock.now_ms())
        answer(
            made.database, row["id"], CommandResult("done", "Entries are paused since turn 12345."), made.clock.now_ms()
        )
    made.database.flush()


@dataclass
class Walked:
    """One full page, read once."""

    made: Scene
    page: Page
    book: Book
    pages: dict[str, tuple[list[Reading], tuple[float, float]]]
    """By address: what was read, and the page's own time, in seconds, before and after."""

    @property
    def readings(self) -> list[tuple[Reading, tuple[float, float]]]:
        """Every reading with the time between which it was made."""
        return [(reading, between) for readings, between in self.pages.values() for reading in readings]


def read(seen: Watched, made: Scene, path: str) -> tuple[list[Reading], tuple[float, float]]:
    """Open a page, unfold all that can be unfolded, and read every figure on it."""
    made.clock.ahead_s = (made.now_ms - SystemClock().now_ms()) / 1000  # walking takes longer than data stay fresh
    page = seen.open(made, path)
    if page.locator("#card-chart").count():
        seen.chart()
    unfold = "document.querySelectorAll('main details').forEach(each => { each.open = true; })"
    page.evaluate(unfold)
    page.wait_for_timeout(300)
    page.evaluate(unfold)  # what stands in a folded table can be unfolded, too
    if page.locator("#card-chart").count():
        until(page, "document.querySelector('#chart-table tbody')")
    page.wait_for_timeout(300)
    before_ms = page.evaluate("Dash.now()")
    readings = [Reading(**each) for each in page.evaluate(COLLECT)]
    return readings, (before_ms / 1000, page.evaluate("Dash.now()") / 1000)


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk")
    with sync_playwright() as play, served(folder) as made:
        lived(made)
        controlled(made)
        browser = play.chromium.launch(executable_path=chromium(), args=FLAGS)
        seen = Watched(browser, zone="utc", paused="yes")
        page = seen.open(made)
        pages = {path: read(seen, made, path) for path in ADDRESSES}
        yield Walked(made, page, Book(folder / "scene.db"), pages)
        assert seen.said == []
        browser.close()


def told(expected: Expected, reading: Reading, between: tuple[float, float]) -> bool:
    """Return whether a reading says what its rule expects."""
    if isinstance(expected, str):
        return reading.text == expected.strip()
    if reading.raw and reading.raw != expected.instant:
        return False
    at_s = moment(expected.instant).timestamp()
    passed = [length(second - at_s) for second in range(int(between[0]) - 4, int(between[1]) + 2)]
    if isinstance(expected, Gone):
        known = bool(reading.raw) or bool(expected.before)
        return known and reading.text in {f"{expected.before}{each}{expected.after}" for each in passed}
    then, now = datetime.fromtimestamp(at_s, UTC), datetime.fromtimestamp(between[0], UTC)
    clock = f"{then:%H:%M:%S}" if then.date() == now.date() else f"{then:%Y-%m-%d %H:%M}"
    stamp = f"{then:%H:%M:%S} UTC"
    whole = {f"as of {stamp}, {each} ago" for each in passed}
    return reading.text in {clock, stamp} | whole


def test_every_number_on_the_page_is_the_databases(walked):
    assert len(walked.readings) > 800
    unruled, wrong, used = [], [], set()
    for reading, between in walked.readings:
        if reading.place in LABELS or any(re.fullmatch(each, reading.place) for each in TEXTS):
            continue
        rules = list(rules_for(reading.place))
        if len(rules) != 1:
            unruled.append((reading.place, reading.text, len(rules)))
            continue
        pattern, made, words = rules[0]
        used.add(pattern.pattern)
        expected = made(walked.book, *words)
        if not told(expected, reading, between):
            wrong.append((reading, expected))
    assert unruled == []
    assert wrong == []
    assert {pattern.pattern for pattern, _ in RULES} - used == set()
    print(f"walked over {len(walked.readings)} numbers by {len(used)} rules")


def test_a_number_that_no_rule_names_is_found(walked):
    added = """where => { const more = document.createElement('p'); more.id = 'more'; more.textContent = 'Alpha 42';
        document.querySelector(where).append(more); }"""
    for where in ("#card-balance .body", "#card-chart", "#glance", "header"):
        walked.page.evaluate(added, where)
        found = [each for each in walked.page.evaluate(COLLECT) if each["text"] == "Alpha 42"]
        walked.page.evaluate("document.querySelector('#more').remove()")
        assert len(found) == 1, where
        place = found[0]["place"]
        assert place not in LABELS and list(rules_for(place)) == [], place


@pytest.fixture
def rest(walked, tmp_path) -> FlaskClient:
    """The REST API over the same database."""
    made = walked.made
    url = made.database.name if "://" in made.database.name else f"sqlite:///{made.database.name}"
    source = ApiContext(TradingDatabase(url, OWNER, read_only=True), made.clock, lambda: TradingDatabase(url, OWNER))
    authenticator = Authenticator(
        host="127.0.0.1",
        origins=(),
        keys=KeyStore(tmp_path / "keys.json", made.clock),
        clock=made.clock,
        calls_a_minute=1_200,
        tries_a_minute=10,
    )
    return build_app(source, authenticator).test_client()


def same(row: dict[str, Any], api: dict[str, Any]) -> int:
    """Assert that every figure of a row that the API has, too, is the same; return how many there were."""
    both = [name for name in row if name in api and isinstance(row[name], int | float) and name != "id"]
    for name in both:
        assert float(api[name]) == pytest.approx(row[name], abs=EIGHT_DECIMALS), name
    return len(both)


def test_the_api_says_the_same_numbers_as_the_database_that_the_page_was_held_against(walked, rest):
    book = walked.book

    def data(path: str) -> Any:
        reply = rest.get(f"/api/v1/{path}{'&' if '?' in path else '?'}bot_id={book.bot_id}")
        assert reply.status_code == 200, reply.get_data(as_text=True)
        return reply.get_json()["data"]

    for table, path, least in (("signals", "signals?limit=100", 20), ("trades", "trades?limit=100", 6)):
        rows = data(path)
        assert len(rows) == book.value(f"SELECT COUNT(*) FROM {table}")
        assert all(same(book.row(table, row["id"]), row) >= least for row in rows)
    assert same(book.newest("market_context"), data("market-context")) >= 5
    analysis = data("chart-analysis")
    assert same(book.newest("chart_analyses"), analysis) >= 4
    processes = {row["process"]: row for row in data("bot-status")["bots"][0]["processes"]}
    assert same(book.beat, processes["trading_bot"]) >= 4
    figures = data("trades/performance")
    closed = book.all("SELECT pnl, fees, funding FROM trades WHERE status = 'closed'")
    for api, column in (("net_pnl", "pnl"), ("fees", "fees"), ("funding", "funding")):
        total = sum((Decimal(str(row[column])) for row in closed), Decimal(0))
        assert Decimal(str(figures[api])) == total, api
    assert figures["trades"] == len(closed) and figures["wins"] == sum(row["pnl"] > 0 for row in closed)
    assert figures["equity"] == book.newest("account_balance")["equity"]
    assert data("analytics/summary")["open_positions"] == book.value("SELECT COUNT(*) FROM positions")


def test_the_dashboards_own_endpoints_say_the_same(walked):
    client = create_app(walked.made.dashboard_context).test_client()
    book = walked.book
    held = client.get("/api/positions").get_json()["positions"]
    assert len(held) == 2
    for row in held:
        assert same(book.one("SELECT * FROM positions WHERE symbol = ?", row["symbol"]), row) >= 8
    chart = client.get("/api/chart").get_json()
    newest = book.newest("signals", "symbol = 'BTCUSDT'")
    for name, values in chart["indicators"].items():
        assert values[-1] == newest[name], name
    assert chart["candles"][-1][4] == newest["close"] and len(chart["candles"]) == 500


def test_a_number_changed_behind_the_page_is_seen(walked, tmp_path):
    """The walk itself: one figure in a copy of the database moved by two hundredths, and a rule says so."""
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(walked.made.database.name)) as whole, closing(sqlite3.connect(copy)) as other:
        whole.backup(other)
        other.execute("UPDATE account_balance SET equity = equity + 0.02")
        other.commit()
    moved = Book(copy)
    wrong = {
        reading.place
        for reading, between in walked.readings
        for _, made, words in rules_for(reading.place)
        if not told(made(moved, *words), reading, between)
    }
    assert {"balance fact Equity", "tile balance 0 most", "equity fact Equity now"} <= wrong
