"""Every card in each of its seven states, seen in a real browser at four widths, dark and light.

The page is loaded once; then the answers of its server are replaced by ones in which every card is in one state, as a
card of the server would be (``test_page.py`` has the server itself bring cards into these states).
"""

import copy
import json
import re
import time

import pytest
from playwright.sync_api import Page, Route, sync_playwright

from src.dashboard.site_pages import EVERYTHING
from src.dashboard.states import State
from tests.dashboard.browsing import FLAGS, OUTSIDE, WIDTHS, Watched, chromium, until, violations
from tests.dashboard.scene import served

pytestmark = pytest.mark.long

REASON = "The source did not answer."
NOTHING = "There is nothing here."
BARE = {"facts": [], "tiles": [], "notes": [], "curve": [], "picture": ""}
NO_CHART = {"candles": [], "volumes": [], "indicators": {}, "marks": [], "levels": [], "sentence": "", "table": None,
            "equity": {"points": [], "against": ""}}  # fmt: skip
SAMPLE = 2
"""Rows of a long table that are looked at: the others are made alike."""

CONTRAST = {("dark", 1440), ("light", 320)}
"""Where contrast is measured: colours do not depend on the width, and it takes most of the time."""

CARDS_SEEN = """() => Object.fromEntries([...document.querySelectorAll('.card')].map(card => {
  const colour = each => getComputedStyle(each).color;
  const soft = colour(card.querySelector('.stamp'));
  const body = card.querySelector('.body') || card;
  return [card.id.replace('card-', ''), {
    state: card.dataset.state, word: card.querySelector('.state').textContent, text: body.innerText,
    instant: (card.querySelector('.age time') || {dateTime: ''}).dateTime, age: card.querySelector('.age').textContent,
    toned: [...body.querySelectorAll('.tone-up, .tone-down')].length,
    coloured: [...body.querySelectorAll('.tone-up, .tone-down')].filter(each => colour(each) !== soft).length,
  }];
}))"""


class Staged:
    """The answers of a server, with every card brought into one state."""

    def __init__(self, snapshot: dict, chart: dict) -> None:
        self.snapshot, self.chart = snapshot, chart
        self.state = "fresh"
        self.number = 0
        for card in snapshot["cards"].values():
            for table in card["tables"]:
                table["rows"] = table["rows"][:SAMPLE]

    def put(self, state: str) -> None:
        """Let every card be in a state from now on."""
        self.state = state
        self.number += 1

    def answer(self, route: Route) -> None:
        """Answer one request of the page."""
        now_ms = round(time.time() * 1000)
        if "/api/chart" in route.request.url:
            content = self._card(self.chart, now_ms)
        else:
            content = copy.deepcopy(self.snapshot)
            beat_ms = now_ms - (60_000 if self.state == "down" else 1_000)
            for source in content["sources"].values():
                source["beat_ms"] = beat_ms
            content["cards"] = {name: self._card(card, now_ms) for name, card in content["cards"].items()}
        headers = {"ETag": f'"{self.number}"', "X-Server-Time-Ms": str(now_ms)}
        route.fulfill(status=200, content_type="application/json", headers=headers, body=json.dumps(content))

    def _card(self, card: dict, now_ms: int) -> dict:
        """Return a card as the server makes it in this state."""
        ages = {"late": 2.0, "stale": 4.0}
        gone_ms = round(ages.get(self.state, 0.0) * card["max_age_s"] * 1000) + 500
        made = copy.deepcopy(card) | {"as_of_ms": now_ms - gone_ms, "source": card["source"] or "bot"}
        for row in (row for table in made.get("tables", []) for row in table["rows"] if "life" in row):
            row["life"]["as_of_ms"] = now_ms - round(ages.get(self.state, 0.0) * row["life"]["max_age_s"] * 1000) - 500
        if self.state == "error":
            made |= {"base": "error", "reason": REASON}
        elif self.state in ("unknown", "empty"):
            made |= {"base": self.state, "reason": NOTHING}
            made |= NO_CHART if "candles" in card else {"tables": []} | (BARE if self.state == "unknown" else {})
            made["as_of_ms"] = None if self.state == "unknown" else made["as_of_ms"]
        return made


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    """A page of a full scene, and the staged answers that it gets from now on."""
    with sync_playwright() as play, served(tmp_path_factory.mktemp("harness")) as made:
        browser = play.chromium.launch(executable_path=chromium(), args=FLAGS)
        made.full()
        made.others()
        seen = Watched(browser, push="no")
        page = seen.open(made)
        seen.chart()
        staged = Staged(*page.evaluate(
            "async () => [await (await fetch('/api/dashboard')).json(), await (await fetch('/api/chart')).json()]"
        ))  # fmt: skip
        page.route(re.compile(r"/api/(dashboard|chart)(\?|$)"), staged.answer)
        yield seen, staged
        assert all(url.startswith((made.address, "data:")) for url in seen.requests)
        browser.close()


def put(page: Page, staged: Staged, state: str) -> dict[str, dict]:
    """Let the page read a state, and return what its cards show."""
    staged.put(state)
    page.evaluate("() => { Dash.ask(); }")
    until(page, f"[...document.querySelectorAll('.card')].every(each => each.dataset.state === '{state}')")
    shown: dict[str, dict] = page.evaluate(CARDS_SEEN)
    return shown


def must_show(name: str, card: dict, state: str) -> None:
    """Assert what a card must show in a state, and what it must not."""
    assert card["state"] == state and card["word"] == state.upper(), name
    if state == "unknown":
        assert card["instant"] == "" and card["age"] == "", name
        without_timeframes = re.sub(r"\b\d+[mhd]\b", "", card["text"])  # the chart's choice of timeframes stays
        assert not re.search(r"\d", without_timeframes), (name, card["text"])
        assert NOTHING in card["text"] and "No open positions" not in card["text"], name
        return
    assert card["instant"] and re.search(r"\d+ (s|min|h|d)\b.* ago$", card["age"]), (name, card["age"])
    if state in ("stale", "down", "error"):
        assert card["coloured"] == 0, name
    if state == "error":
        assert REASON in card["text"] and (name == "chart" or "last good content" in card["text"]), name
    if state == "empty" and name != "chart":
        assert re.search(rf"{re.escape(NOTHING)} \(checked \d+ s ago\)", card["text"]), (name, card["text"])


@pytest.mark.parametrize("state", [str(each) for each in State])
def test_every_card_shows_its_state_in_words_at_every_width_dark_and_light(harness, state):
    seen, staged = harness
    page = seen.page
    shown = put(page, staged, state)
    assert set(shown) == set(EVERYTHING.cards)  # test_pages.py has the cards of the other pages
    for name, card in shown.items():
        must_show(name, card, state)
    if state not in ("empty", "unknown"):
        words = {"fresh": "RUNNING", "error": "—"}.get(state, state.upper())
        assert page.locator("#card-bots .kind-life").all_inner_texts() == [words] * SAMPLE
    if state == "fresh":
        assert sum(card["toned"] for card in shown.values()) > 10
    alarm = page.locator("#alarm")
    assert alarm.is_visible() == (state == "down")
    if state == "down":
        assert alarm.inner_text().startswith("DOWN.") and "LONG 0.1 BTCUSDT" in alarm.inner_text()
    tiles = page.locator("#glance").inner_text()
    assert ("DOWN" in tiles, "—" in tiles) == (state == "down", state in ("unknown",)), tiles
    for theme in ("dark", "light"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; Dash.restyleChart(); }", theme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (theme, width)
            assert page.evaluate(OUTSIDE) == [], (theme, width)
            assert violations(page, contrast=(theme, width) in CONTRAST) == [], (theme, width)
    assert seen.said == []
