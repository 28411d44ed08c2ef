"""The pages behind the menu in a real browser: each page in each state, the shell on all of them, what is drawn."""

import json
import re
import shutil
import time
from decimal import Decimal

import pytest

from src.dashboard.cards_rules import rule_files, switchable
from src.dashboard.site_pages import EVERYTHING, MENU, PAGES
from src.dashboard.states import State
from src.domain.clock import utc_text
from src.storage.command_queue import CommandResult, answer
from src.storage.tables import bot_status, chart_analyses, control_requests, orders, signals, trade_notes, trades
from tests.dashboard.browsing import OUTSIDE, WIDTHS, until, violations
from tests.dashboard.scene import EVIL, MINUTE_MS, PIN, SEEN, SYMBOL, served

pytestmark = pytest.mark.long

ADDRESSES = {
    page.name: f"{page.path}/1" if page.name == "story" else page.path for page in PAGES.values() if page != EVERYTHING
}

# --- every page in every state


class Staged:
    """Answers of the server with every card brought into one state."""

    def __init__(self, snapshot: dict) -> None:
        self.snapshot, self.state, self.number = snapshot, "fresh", 0

    def answer(self, route) -> None:
        """Answer one request of the page."""
        now_ms, self.number = round(time.time() * 1000), self.number + 1
        content = json.loads(json.dumps(self.snapshot))
        for source in content["sources"].values():
            source["beat_ms"] = now_ms - (60_000 if self.state == "down" else 1_000)
        for card in content["cards"].values():
            self._bring(card, now_ms)
        headers = {"ETag": f'"{self.number}"', "X-Server-Time-Ms": str(now_ms)}
        route.fulfill(status=200, content_type="application/json", headers=headers, body=json.dumps(content))

    def _bring(self, card: dict, now_ms: int) -> None:
        late = {"late": 2.0, "stale": 4.0}.get(self.state, 0.0)
        for row in (row for table in card["tables"] for row in table["rows"] if "life" in row):
            row["life"] |= {"as_of_ms": now_ms - 500, "source": "bot"}
        card |= {"base": "data", "source": card["source"] or "bot", "max_age_s": min(card["max_age_s"] or 60.0, 1e6)}
        card["as_of_ms"] = now_ms - round(late * card["max_age_s"] * 1000) - 500
        if self.state in ("error", "unknown", "empty"):
            card |= {"base": self.state, "reason": "There is nothing here."}
        if self.state == "unknown":
            card["as_of_ms"] = None


@pytest.mark.parametrize("name", ADDRESSES)
def test_every_page_shows_every_state_in_words_at_every_width_dark_and_light(tmp_path, lived, look, name):
    shutil.copy(lived, tmp_path / "scene.db")
    with served(tmp_path) as made:
        made.beat()
        made.beat(process="chart_analysis_bot")
        made.beat(process="watcher")
        seen = look(push="no")
        page = seen.open(made, ADDRESSES[name])
        staged = Staged(page.evaluate("JSON.parse(document.querySelector('#snapshot').textContent)"))
        page.route(re.compile(r"/api/dashboard(\?|$)"), staged.answer)
        cards = "[...document.querySelectorAll('.card:not(#card-chart):not([hidden])')]"
        for state in State:
            staged.state = str(state)
            page.evaluate("() => { Dash.ask(); }")
            until(page, f"{cards}.every(each => each.dataset.state === '{state}')")
            words = page.evaluate(f"{cards}.map(each => each.querySelector('.state').textContent)")
            assert set(words) == {state.upper()}, name
            colours = page.evaluate(
                f"{cards}.flatMap(each => [...each.querySelectorAll('.body .tone-up, .body .tone-down')].map("
                "e => getComputedStyle(e).color === getComputedStyle(each.querySelector('.stamp')).color))"
            )
            assert all(colours) or state not in ("stale", "down", "error"), (name, state)
            for theme in ("dark", "light"):
                page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
                for width in WIDTHS:
                    page.set_viewport_size({"width": width, "height": 900})
                    assert page.evaluate("document.documentElement.scrollWidth") <= width, (state, theme, width)
                    assert page.evaluate(OUTSIDE) == [], (state, theme, width)
                width = 1440 if theme == "dark" else 390
                page.set_viewport_size({"width": width, "height": 900})
                assert violations(page, contrast=state in ("fresh", "down")) == [], (state, theme)
        assert seen.said == []
        assert all(url.startswith((made.address, "data:")) for url in seen.requests)


# --- the shell


@pytest.mark.parametrize("name", ADDRESSES)
def test_every_page_has_the_sentence_and_both_actions_in_reach_of_a_thumb(full, look, name):
    page = look(390).open(full, ADDRESSES[name])
    assert page.locator("#headline").inner_text().startswith("Long BTCUSDT, stop confirmed.")
    assert re.search(r"Next decision \d\d:\d\d UTC, (in \d+ s|due now)", page.locator("#headline").inner_text())
    for button in ("#entries", "#close-all"):
        box = page.locator(button).bounding_box()
        assert box["y"] > 700 and box["height"] >= 44 and box["y"] + box["height"] <= 900, button
    menu = page.locator("#menu").bounding_box()
    assert menu["y"] + menu["height"] >= 895
    assert page.locator("#menu [aria-current]").count() == (0 if name == "story" else 1)


def test_the_menu_leads_to_every_page_and_keeps_the_bot(several, look):
    page = look().open(several, "/?bot=alts")
    for site in MENU:
        page.click(f"#menu a[data-page={site.name}]")
        page.wait_for_url(f"**{site.path}?bot=alts")
        assert page.title().endswith(f"{site.title} – Trading bot")
        assert page.evaluate("Dash.state.snapshot.bot_id") == "alts"


def test_the_sentence_names_a_missing_stop_a_pause_and_a_tripped_breaker(full, look):
    full.clear(orders)
    full.beat(details={"pause": "entries are paused by person"})
    full.breaker("TRIPPED", "losses", "4 losses in a row")
    page = look().open(full, "/")
    words = page.locator("#headline").inner_text()
    assert "NO CONFIRMED STOP for BTCUSDT" in words and "Circuit breaker tripped: 4 losses in a row." in words
    assert "Entries are paused." in words and page.locator("#headline").get_attribute("data-tone") == "bad"
    assert page.locator("#entries").inner_text() == "Resume entries"


def test_close_all_takes_two_clicks_and_the_pin_from_any_page(full, look):
    page = look(390).open(full, "/journal")
    page.click("#close-all")
    for digit in "12":
        page.click(f"#ask-keys [data-digit='{digit}']")
    assert page.input_value("#pin") == "12" and page.evaluate("document.activeElement.id") == "pin"
    page.fill("#pin", PIN)
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#ask-says').textContent.includes('closes 1 position at the market')")
    page.click("#ask-do")
    until(page, "document.querySelector('#ask-answer').textContent.includes('is doing it')")
    rows = full.dashboard_context.reports.rows(control_requests.select().order_by(control_requests.c.id))
    assert [(row["action"], row["target"]) for row in rows] == [("close_all", ""), ("pause", ""), ("close", SYMBOL)]
    for row in rows[1:]:
        answer(full.database, row["id"], CommandResult("done", "Done."), full.now_ms)
    full.database.flush()
    until(page, "document.querySelector('#ask-answer').textContent.startsWith('DONE')", 8.0)
    assert "closed: BTCUSDT" in page.locator("#ask-answer").inner_text()


def test_keys_lead_through_the_pages_and_can_be_switched_off(full, look):
    page = look().open(full, "/")
    page.keyboard.press("?")
    until(page, "document.querySelector('#help').open")
    assert "Keyboard shortcuts" in page.locator("#help").inner_text()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("j")
    page.wait_for_url("**/journal")
    until(page, "window.Dash && Dash.state.snapshot")
    page.evaluate("localStorage.setItem('dash-keys', 'no')")
    page.keyboard.press("?")
    page.wait_for_timeout(200)
    assert not page.evaluate("document.querySelector('#help').open")


def test_pair_timeframe_and_filters_survive_a_reload(full, look):
    seen = look()
    page = seen.open(full, "/trade")
    seen.chart()
    page.click("#chart-frame [data-frame='15m']")
    until(page, "document.querySelector('#chart-says').textContent.includes('15m candles')")
    page.reload()
    seen.chart()
    until(page, "document.querySelector('#chart-says').textContent.includes('15m candles')")
    page = seen.open(full, "/journal")
    page.click("[data-filter=acted]")
    until(page, "location.search.includes('journal=acted')")
    page.reload()
    until(page, "document.querySelector('[data-filter=acted]').getAttribute('aria-pressed') === 'true'")
    shown = page.locator("#card-journal tbody tr").all_inner_texts()
    assert shown and all("ENTER LONG" in row for row in shown)


def test_the_page_is_live_by_push_without_a_click(full, look):
    page = look().open(full, "/")
    until(page, "Dash.state.push && Dash.state.push.readyState === 1")
    page.evaluate("() => { Dash.state.nextAt = performance.now() + 600000; }")
    full.see()
    full.put(signals, **full._turn(SYMBOL, SEEN - 1, True) | {"timestamp": full.at(-1)})
    full.beat(cycle_no=999, cycle_finished=full.at(1))
    until(page, "document.querySelector('#card-status').textContent.includes('turn 999')", 8.0)


def test_the_dashboard_can_be_installed_and_caches_nothing(full, look):
    page = look().open(full, "/")
    told = page.evaluate("async () => (await fetch('/manifest.webmanifest')).json()")
    assert told["display"] == "standalone" and told["start_url"] == "/"
    assert page.evaluate("async () => (await navigator.serviceWorker.getRegistrations()).length") == 0


# --- what was drawn and was not so


def test_indicators_and_candles_are_of_one_timeframe_and_named(full, look):
    full.change(signals, candle_interval="4h", rsi=1.0, ema_50=1.0)
    seen = look()
    page = seen.open(full, "/trade")
    seen.chart()
    data = page.evaluate("async () => (await fetch('/api/chart')).json()")
    assert data["timeframe"] == "1m" and min(value for value in data["indicators"]["ema_50"] if value) > 1_000
    assert "1m candles" in page.locator("#chart-says").inner_text()
    hour = page.evaluate("async () => (await fetch('/api/chart?timeframe=1h')).json()")
    assert {b[0] - a[0] for a, b in zip(hour["candles"], hour["candles"][1:], strict=False)} == {3_600}
    page = seen.open(full, "/everything")
    assert "4h" in page.locator("#card-market").inner_text()
    assert {row.split("\n")[0] for row in page.locator("#card-journal [data-label=Candles]").all_inner_texts()} == {
        "4h"
    }


def test_votes_that_do_not_count_are_not_counted(full, look):
    votes = [
        {"name": name, "vote": 0, "because": because}
        for name, because in (
            ("rsi", "RSI 50 (not counted: +0)"), ("macd", "MACD"), ("ema", "EMA"), ("bollinger", "b (not counted: -1)"),
            ("volume", "v (not counted: +1)"), ("trend", "ADX"),
        )
    ]  # fmt: skip
    full.change(signals, votes=votes, strength=0, signal_type="HOLD")
    page = look().open(full, "/everything")
    assert set(page.locator("#card-signals [data-label=Votes]").all_inner_texts()) == {"0 of 3"}
    assert "0 of 3" in page.locator("#card-market").inner_text() and "of 6" not in page.locator("main").inner_text()


def test_turns_taken_on_stale_candles_bend_no_line(tmp_path, look):
    with served(tmp_path) as made:
        made.beat()
        made.turns(60)
        last = made.candles[-30]
        stale = {"close": last.close, "volume": last.volume, "rsi": made.indicators[-30].rsi, "ema_50": 12_345.0}
        query = signals.update().where(signals.c.instant_ms > last.open_ms + 2 * MINUTE_MS).values(**stale)
        made.database.write(lambda connection: connection.execute(query))
        seen = look()
        page = seen.open(made, "/trade")
        seen.chart()
        data = page.evaluate("async () => (await fetch('/api/chart')).json()")
        line = data["indicators"]["ema_50"]
        steps = [abs(b - a) / a for a, b in zip(line[-28:], line[-27:], strict=False)]
        assert max(steps) < 0.01, "no line plunges on a single candle after an outage"


def test_an_exchange_that_is_away_is_said_at_the_top_within_45_seconds_and_no_card_is_fresh(full, look):
    seen = look()
    page = seen.open(full, "/everything")
    assert not page.locator("#alarm").is_visible()
    full.clock.ahead_s = 40  # the bot goes on beating, but has heard nothing of the exchange since
    now = utc_text(full.clock.now_ms() - 1_000)
    full.change(bot_status, beat_at=now, timestamp=now)
    page.click("#refresh")
    until(page, "!document.querySelector('#alarm').hidden")
    words = page.locator("#alarm").inner_text()
    assert words.startswith("EXCHANGE NOT REACHABLE.") and "no market data for 4" in words, words
    for name in ("market", "positions", "balance", "reconciliation"):
        assert page.locator(f"#card-{name}").get_attribute("data-state") == "down", name
    assert page.locator("#card-status").get_attribute("data-state") in ("fresh", "late")
    assert page.title().startswith("(!) EXCHANGE NOT REACHABLE")
    bare = page.context.browser.new_context(java_script_enabled=False).new_page()
    bare.goto(full.address)
    assert bare.locator("#alarm").inner_text().startswith("EXCHANGE NOT REACHABLE.")
    bare.context.close()


def test_a_page_left_alone_asks_by_its_own_clock_before_it_calls_the_exchange_away(full, look):
    seen = look(push="no")
    page = seen.open(full, "/")
    before = len([url for url in seen.requests if "/api/dashboard" in url])
    page.evaluate(
        "() => { Dash.state.heardAt -= 12000; Dash.state.heardWall -= 12000;"
        " Dash.state.snapshot.sources.exchange.beat_ms = Dash.now() - 37000; Dash.draw(); }"
    )
    page.wait_for_timeout(1_500)
    assert len([url for url in seen.requests if "/api/dashboard" in url]) > before
    assert not page.locator("#alarm").is_visible(), "the server knows better"


def test_the_age_of_the_market_is_that_of_its_own_prices(full, look):
    marks = {SYMBOL: full.details()["marks"][SYMBOL] | {"as_of": full.at(116)}}
    full.beat(details={"marks": marks})
    page = look().open(full, "/everything")
    age = page.locator("#card-market .age").inner_text()
    assert re.search(r"(1 min (5\d|[6-9]\d)|2 min \d+) s ago|1 min 5\d s ago", age), age
    assert page.locator("#card-market").get_attribute("data-state") == "late"


def test_the_time_axis_of_the_equity_is_linear(tmp_path, look):
    with served(tmp_path) as made:
        made.beat()
        made.turns(10)
        for ago_s, equity in ((9_936, "10000"), (8, "10100"), (4, "10120"), (0, "10110")):
            made.balance(ago_s, equity)
        page = look().open(made, "/")
        line = page.locator("#card-equity polyline[data-series=Equity]").get_attribute("points")
        xs = [float(point.split(",")[0]) for point in line.split()]
        whole = xs[-1] - xs[0]
        shares = [(x - xs[0]) / whole for x in xs]
        assert shares == pytest.approx([0.0, 9_928 / 9_936, 9_932 / 9_936, 1.0], abs=0.002)


def test_the_gravest_reason_stands_first_in_the_journal(full, look):
    gates = [
        {"name": "signal", "passed": False, "detail": "the signal is HOLD of strength 1, needed is BUY of 3"},
        {"name": "breaker", "passed": False, "detail": "the circuit breaker is TRIPPED: 4 losses in a row"},
        {"name": "halt", "passed": True, "detail": "none"},
        {"name": "candle", "passed": False, "detail": "the candle is 900.0 s old, allowed are 150 s"},
        {"name": "mark", "passed": False, "detail": "the mark is 900.0 s old, allowed are 30 s"},
    ]
    full.change(signals, gates=gates, reason="Waiting for a strong signal (now HOLD of strength 1).", acted=False,
                veto="", decision="HOLD", outcome="")  # fmt: skip
    page = look().open(full, "/journal")
    why = page.locator("#card-journal tbody tr").first.inner_text()
    assert "No entry: the circuit breaker is TRIPPED: 4 losses in a row (and 2 more safety checks failed)" in why
    page.locator("#card-journal summary").first.click()
    until(page, "document.querySelector('#card-journal details').innerText.includes('Gate: ')")
    told = page.locator("#card-journal details").first.inner_text()
    assert told.index("Gate: breaker") < told.index("Gate: candle") < told.index("Gate: signal")
    funnel = page.locator("#card-funnel").inner_text()
    assert re.search(r"breaker\s+60\s+60", funnel) and "60" in page.locator("#card-funnel tbody").last.inner_text()


def test_performance_with_trades_gives_no_reason_for_having_none(full, look):
    page = look().open(full, "/")
    told = page.evaluate("async () => (await fetch('/api/performance')).json()")
    assert told["performance"]["trades"] == 12 and told["reason"] == ""


def test_an_analyst_whose_chart_has_not_moved_is_not_late(full, look):
    full.change(bot_status, cycle_finished=full.at(4))
    full.change(chart_analyses, timestamp=full.at(7_200))
    page = look().open(full, "/")
    assert page.locator("#card-analysis").get_attribute("data-state") == "fresh"


def test_a_bot_that_was_restarted_leaves_a_trace_on_the_page(full, look):
    full.beat(started_at=full.at(130))
    page = look().open(full, "/")
    assert re.search(r"Bot started 2 min \d+ s ago", page.locator("#headline").inner_text())
    assert page.locator("#card-status dt:text('Started')").count() == 1


def test_a_market_that_runs_faster_labels_its_two_clocks(full, look):
    full.beat(speed=60.0)
    page = look().open(full, "/")
    assert (
        "market time runs 60×: times in tables are market time, ages are real time"
        in page.locator("#mode").inner_text()
    )


def test_with_several_pairs_price_and_decision_in_the_tiles_are_of_one_pair(full, look):
    full.beat(details={"cycle_ms": {SYMBOL: 0.9, "ETHUSDT": 0.9}})
    full.see()
    full.put(signals, **full._turn("ETHUSDT", SEEN - 1, False) | {"timestamp": full.at(-2)})
    page = look().open(full, "/everything")
    tiles = page.locator("#glance .tile").all_inner_texts()
    price = next(tile for tile in tiles if tile.startswith(SYMBOL))
    decision = next(tile for tile in tiles if tile.startswith("Last decision"))
    assert SYMBOL in price and SYMBOL in decision and "ETHUSDT" not in decision


# --- what can be done from the pages


def log_in(page) -> None:
    page.fill("#pin", PIN)
    page.keyboard.press("Enter")


def test_a_trade_has_an_address_of_its_own_with_its_story_and_a_note(full, look):
    full.order("FILLED", "entry")
    full.change(orders, finished=True, status="FILLED", average_price=Decimal("62917.1"))
    number = full.dashboard_context.reports.rows(trades.select().where(trades.c.status == "open"))[0]["id"]
    page = look().open(full, "/")
    page.locator("#card-trades a.kind-link").first.click()
    page.wait_for_url("**/trades/*")
    page.goto(f"{full.address}/trades/{number}")
    until(page, "window.Dash && Dash.state.snapshot && document.querySelector('#countdown').textContent")
    story = page.locator("#card-story").inner_text()
    assert "From signal to exit" in story and "Position opened" in story and "Entry order" in story
    page.fill("#note", f"Late entry {EVIL}")
    page.fill("#tags", "late-entry #news")
    page.click("#note-save")
    log_in(page)
    until(page, "document.querySelector('#note-says').textContent === 'Saved.'")
    until(page, "document.querySelector('#card-story').textContent.includes('#news')")
    assert EVIL in page.locator("#card-story .notes").inner_text() and page.title() != "1"
    rows = full.dashboard_context.reports.rows(trade_notes.select())
    assert [(row["trade_id"], row["tags"]) for row in rows] == [(number, ["late-entry", "news"])]
    assert page.evaluate("document.querySelectorAll('#cards img').length") == 0


def test_the_journal_is_searched_by_text_and_by_gate(full, look):
    page = look().open(full, "/journal")
    page.fill("#search [name=text]", "opening a LONG")
    page.click("#search button")
    page.wait_for_url("**/journal?text=*")
    until(page, "document.querySelectorAll('#card-journal tbody tr').length > 0")
    assert all("Opening a long" in row for row in page.locator("#card-journal tbody tr").all_inner_texts())
    page.goto(f"{full.address}/journal?gate=confidence")
    until(page, "window.Dash && document.querySelectorAll('#card-journal tbody tr').length > 0")
    assert all("NOT DONE" in row for row in page.locator("#card-journal tbody tr").all_inner_texts())
    page.goto(f"{full.address}/journal?text=no-such-word-anywhere")
    until(page, "document.querySelector('#card-journal .reason')")
    assert "No decision matches these filters." in page.locator("#card-journal .reason").inner_text()


def test_the_log_is_shown_by_level_and_text_and_is_only_text(tmp_path, look):
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "rl_bot.log").write_text(
        "2026-11-22T10:30:15.000Z INFO trader: entering: symbol=BTCUSDT\n"
        f"2026-11-22T10:30:16.000Z WARNING trader: {EVIL} cannot mend\n"
        "2026-11-22T10:30:17.000Z ERROR store: gone \x1b[31m api_key=abcdef123456\n"
    )
    with served(tmp_path, log_dir=folder) as made:
        page = look().open(made, "/system?level=WARNING")
        text = page.locator("#card-log").inner_text()
        assert EVIL in text and "entering" not in text and "abcdef123456" not in text and "\x1b" not in text
        assert page.title() != "1" and page.evaluate("document.querySelectorAll('#cards img').length") == 0
        with (folder / "rl_bot.log").open("a") as file:
            file.write("2026-11-22T10:30:18.000Z ERROR store: a line that came later\n")
        until(page, "document.querySelector('#card-log').textContent.includes('came later')", 9.0)
        page.fill("#log-form [name=text]", "mend")
        page.click("#log-form button")
        page.wait_for_url("**text=mend**")
        assert page.locator("#card-log tbody tr").count() == 1


def test_a_setting_is_checked_shown_as_a_difference_and_written_with_a_backup(tmp_path, lived, look):
    env = tmp_path / ".env"
    env.write_text("LEVERAGE=10\nNEWSAPI_KEY=very-secret-key\n")
    env.chmod(0o600)
    with served(tmp_path, env_file=env) as made:
        made.beat()
        page = look().open(made, "/settings")
        assert "very-secret-key" not in page.content()
        page.select_option("#settings-name", "LEVERAGE")
        page.fill("#settings-value", "500")
        page.click("#settings-check")
        log_in(page)
        until(page, "document.querySelector('#settings-says').textContent.includes('LEVERAGE is wrong')")
        page.fill("#settings-value", "7")
        page.click("#settings-check")
        until(page, "document.querySelector('#settings-says').textContent.includes('LEVERAGE: 10 → 7')")
        assert env.read_text().startswith("LEVERAGE=10")
        page.click("#settings-apply")
        until(page, "document.querySelector('#settings-says').textContent.startsWith('Written')")
        assert env.read_text() == "LEVERAGE=7\nNEWSAPI_KEY=very-secret-key\n"
        assert (tmp_path / ".env.bak").read_text().startswith("LEVERAGE=10") and env.stat().st_mode & 0o077 == 0


def test_a_run_of_the_lab_is_started_refused_twice_watched_and_stopped(tmp_path, look):
    with served(tmp_path, state_dir=tmp_path / "state") as made:
        made.beat()
        page = look().open(made, "/lab")
        page.select_option("#lab-form [name=kind]", "backtest")
        page.fill("#lab-form [name=pair]", "NOSUCHPAIR")
        page.click("#lab-start")
        log_in(page)
        until(page, "document.querySelector('#lab-says').textContent.includes('was started')", 20.0)
        page.click("#lab-start")
        until(page, "document.querySelector('#lab-says').textContent.includes('Another run is under way')", 20.0)
        page.click("#lab-stop")
        until(page, "/stopped|No run/.test(document.querySelector('#lab-says').textContent)", 20.0)
        until(page, "/STOPPED|FAILED/.test(document.querySelector('#card-lab').innerText)", 20.0)
        assert made.dashboard_context.lab.jobs()[0].job.arguments[:3] == ("run", "--pair", "NOSUCHPAIR")


def test_only_rule_sets_that_the_bot_can_switch_to_are_offered(full, look):
    page = look().open(full, "/strategies")
    text = page.locator("#card-rules").inner_text()
    assert "safety_first" in text and "in force" in text and "patient_trend" in text
    page = look().open(full, "/system")
    page.click("text=Enter the PIN to control the bot")
    log_in(page)
    page.wait_for_selector("#controls button:has-text('Log out')")
    offered = page.evaluate("async () => Object.keys((await (await fetch('/api/control/rules')).json()).rules)")
    view_rules = rule_files(full.dashboard_context.settings)
    why = switchable(full.dashboard_context.settings, view_rules)
    assert offered == [name for name in view_rules if not why[name]]


# --- tasks of a first visit, counted in clicks


def test_the_worst_trade_and_why_take_three_clicks_at_most(full, look):
    page = look().open(full, "/")
    page.click("#menu a[data-page=journal]")
    until(page, "document.querySelectorAll('#card-tradelist tbody tr').length > 0")
    worst = page.locator("#card-tradelist tbody tr", has_text="−8.25").first
    worst.locator("a").click()
    page.wait_for_url("**/trades/*")
    text = page.locator("#card-story").inner_text()
    assert "▼ −8.25" in text and "target reached" in text and "Fees" in text
