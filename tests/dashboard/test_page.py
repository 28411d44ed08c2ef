"""The page in a real browser: how cards come into their states, reading, keyboard only, control, figures."""

import re
import shutil
from base64 import b64decode
from pathlib import Path

import pytest

from src.dashboard import snapshot
from src.dashboard.page_query import PageQuery
from src.dashboard.site_pages import EVERYTHING, PAGES
from src.dashboard.snapshot import BUILDERS
from src.dashboard.states import state_of
from src.domain.clock import utc_text
from src.storage.command_queue import CommandResult, answer
from src.storage.tables import bot_status, control_requests, market_context, positions, signals, trades, training_runs
from tests.dashboard.browsing import OUTSIDE, WIDTHS, states, until, violations
from tests.dashboard.scene import EVIL, PIN, SYMBOL, Scene, served
from tests.dashboard.test_states import NOW, TABLE

pytestmark = pytest.mark.long

CARDS = EVERYTHING.cards
"""The cards of the page with everything; the one of all bots is shown where there are several. ``test_pages.py`` has
those of the other pages."""
NAMED = tuple(name for name in CARDS if name != "chart")
ALONE = tuple(name for name in CARDS if name != "bots")
PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")
LATE_S, STALE_S = 200.0, 20_000_000.0


# --- the seven states, for each card


def test_the_pages_own_clock_follows_the_same_rules_as_the_server(full, look):
    page = look().open(full)
    for base, age_s, source, expected in TABLE:
        card = {"base": base, "as_of_ms": None if age_s is None else NOW - round(age_s * 1000), "max_age_s": 60}
        found = page.evaluate(
            "([card, source, now]) => Dash.stateOf(card, Dash.isDown(source, now), now)", [card, source.as_dict(), NOW]
        )
        assert found == expected, (base, age_s, source)


def test_every_card_is_fresh_when_everything_was_just_now(several, look):
    seen = look()
    page = seen.open(several)
    seen.chart()
    assert set(states(page)) == set(CARDS)
    assert {name for name, state in states(page).items() if state != "fresh"} == set()
    assert not page.locator("#alarm").is_visible()


def test_every_card_is_unknown_and_shows_no_figure_before_anything_happened(tmp_path, look):
    with served(tmp_path) as made:
        page = look().open(made)
        until(page, "document.querySelector('#card-chart .reason').textContent !== ''")
        assert set(states(page).items()) == {(name, "unknown") for name in ALONE}
        text = page.locator("#cards").inner_text()
        assert "No open positions" not in text and "0.00" not in text and "No trade" not in text
        assert all(page.locator(f"#card-{name} .reason").first.inner_text() for name in ALONE)


def keep_beating(made: Scene) -> None:
    """Let the bots speak now, by the moved clock, with everything else as old as it is."""
    now = utc_text(made.clock.now_ms() - 1_000)
    made.change(bot_status, beat_at=now, timestamp=now, last_market=now)


@pytest.mark.parametrize(("ahead_s", "expected"), [(LATE_S, "late"), (STALE_S, "stale")])
def test_every_card_grows_old_while_the_bots_still_beat(several, look, ahead_s, expected):
    full = several
    own_rhythm = {
        "analysis": 1_500.0, "news": 1_500.0, "training": 4e6, "context": 600.0, "reconciliation": 1_200.0
    }  # fmt: skip
    full.clock.ahead_s = ahead_s
    keep_beating(full)
    if expected == "late":
        for name, seconds in own_rhythm.items():
            full.clock.ahead_s = seconds
            keep_beating(full)
            card, state = full.dashboard_context.snapshots.card(name, "main")
            assert state == "late", (name, card.max_age_s)
        full.clock.ahead_s = ahead_s
        keep_beating(full)
    seen = look()
    page = seen.open(full)
    seen.chart()
    assert set(states(page)) == set(CARDS)
    left_out = set(own_rhythm) if expected == "late" else set()
    wrong = {name: state for name, state in states(page).items() if state != expected and name not in left_out}
    fed_by_a_beat = {"costs"}  # as old as the last beat: silence makes it down, not old
    assert set(wrong) <= fed_by_a_beat
    if expected == "stale":
        for selector in ("#card-positions .tone-up", "#card-balance .tone-up", "#card-trades .tone-down"):
            colours = page.evaluate(
                f"[getComputedStyle(document.querySelector('{selector}')).color,"
                " getComputedStyle(document.querySelector('.facts dt')).color]"
            )
            assert colours[0] == colours[1], selector


def test_a_market_of_past_days_fits_every_width(full, look):
    full.clock.ahead_s = STALE_S  # each instant is told with its day, which is wider
    keep_beating(full)
    page = look().open(full)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
        assert page.evaluate(OUTSIDE) == [], width


def test_costs_grow_late_and_stale_with_the_beat_of_their_bot(full):
    card, _ = full.dashboard_context.snapshots.card("costs", "main")
    for factor, expected in ((0.5, "fresh"), (2, "late"), (4, "stale")):
        assert state_of(card, None, round((card.as_of_ms or 0) + factor * card.max_age_s * 1000)) == expected


def test_every_card_is_empty_when_there_is_really_nothing(tmp_path, look):
    with served(tmp_path) as made:
        made.beat()
        made.beat(process="chart_analysis_bot")
        made.balance()
        page = look().open(made)
        found = states(page)
        for name in ("positions", "performance", "signals", "trades", "news", "costs", "journal"):
            assert found[name] == "empty", name
            assert "(checked" in page.locator(f"#card-{name} .reason").first.inner_text()


def test_the_database_gone_makes_every_card_an_error_with_its_last_good_content(several, look):
    full = several
    seen = look()
    page = seen.open(full)
    seen.chart()
    Path(full.database.name).rename(full.database.name + ".gone")
    for suffix in ("-wal", "-shm"):
        Path(full.database.name + suffix).unlink(missing_ok=True)
    full.database._read_engine.dispose()
    page.click("#refresh")
    until(page, "document.querySelector('#card-balance').dataset.state === 'error'", 15.0)
    found = states(page)
    assert set(found) == set(CARDS) and {name for name, state in found.items() if state != "error"} <= {"chart"}
    assert page.locator("#card-bots .kind-life").all_inner_texts() == ["—"] * 4
    assert "10,120.55" in page.locator("#card-balance").inner_text()
    assert "last good content" in page.locator("#card-balance .reason").inner_text()
    assert (
        "cannot be opened" in page.locator("#alarm").inner_text() or "database" in page.locator("#alarm").inner_text()
    )
    assert str(Path(full.database.name).parent) not in page.content()
    page.reload()
    assert "No open positions" not in page.locator("#cards").inner_text()


def test_a_failed_source_is_an_error_in_its_own_words(full, look):
    full.put(market_context, "*", timestamp=full.at(1), market_trend="unknown", btc_trend="unknown",
             market_regime="unknown", volatility_level="unknown", sources={},
             unknown={"btc_price": "no answer"})  # fmt: skip
    full.analysis(ago_s=1, status="error", error="The model did not answer.", summary="")
    full.change(training_runs, status="failed", verdict="The data had a hole.")
    page = look().open(full)
    found = states(page)
    assert {found[name] for name in ("context", "analysis", "training")} == {"error"}
    assert "no answer" in page.locator("#card-context").inner_text()
    analysis = page.locator("#card-analysis").inner_text()
    assert "The model did not answer." in analysis and "last good content" in analysis and "BUY" in analysis


@pytest.mark.parametrize("name", [name for name in BUILDERS if name not in ("context", "analysis", "training")])
def test_rows_that_cannot_be_read_spoil_their_card_and_no_other(several, name, monkeypatch):
    full = several
    page = next(each.name for each in PAGES.values() if name in each.cards)
    query = PageQuery(page, trade=1)

    def broken(*_arguments):
        raise ValueError("a row is damaged")

    before = full.dashboard_context.snapshots.snapshot("main", query)["cards"]
    failed = {each for each, card in before.items() if card["base"] == "error"}
    monkeypatch.setitem(snapshot.BUILDERS, name, broken)
    cards = full.dashboard_context.snapshots.snapshot("main", query)["cards"]
    assert {each for each, card in cards.items() if card["base"] == "error"} == failed | {name}
    assert cards[name]["facts"] == before[name]["facts"] and cards[name]["tables"] == before[name]["tables"]


# --- down


@pytest.mark.parametrize("width", [390, 1440])
def test_a_silent_bot_is_down_in_words_and_a_reload_never_says_no_positions(several, look, width):
    full = several
    full.clock.ahead_s = 200
    page = look(width).open(full)
    for _ in range(2):
        alarm = page.locator("#alarm")
        assert alarm.get_attribute("role") == "alert" and alarm.is_visible()
        words = alarm.inner_text()
        assert words.startswith("DOWN.") and "has not reported for 3 min" in words and "LONG 0.1 BTCUSDT" in words
        found = states(page)
        assert {name for name in NAMED if found[name] != "down"} <= {"training"}
        assert page.title().startswith("(!) DOWN")
        assert SYMBOL in page.locator("#card-positions").inner_text()
        assert "No open positions" not in page.content().split('id="snapshot"')[0]
        colours = page.evaluate(
            "['#card-positions .tone-up', '.facts dt'].map(s => getComputedStyle(document.querySelector(s)).color)"
        )
        assert colours[0] == colours[1]
        page.reload()


def test_a_flat_bot_that_died_does_not_say_that_it_is_flat(full, look):
    full.clear(positions, trades)
    full.clock.ahead_s = 200
    page = look().open(full)
    assert "No open positions" not in page.locator("#cards").inner_text()
    assert "unknown whether positions are open" in page.locator("#alarm").inner_text()
    assert "there was none" in page.locator("#card-positions").inner_text()


def test_without_scripts_the_page_says_the_same(full, browser):
    full.clock.ahead_s = 200
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(full.address + "/everything")
    assert "DOWN" in page.locator("#alarm").inner_text() and "LONG 0.1 BTCUSDT" in page.locator("#alarm").inner_text()
    assert page.locator("#card-positions").get_attribute("data-state") == "down"
    assert "10,120.55" in page.locator("#card-balance").inner_text()
    context.close()


def test_a_stopped_bot_is_down_at_once(full, look):
    full.change(bot_status, phase="stopped")
    page = look().open(full)
    assert "was stopped" in page.locator("#alarm").inner_text()


def test_a_server_that_dies_makes_the_page_say_so_within_45_seconds(tmp_path, lived, look):
    shutil.copy(lived, tmp_path / "scene.db")
    seen = look()
    with served(tmp_path) as made:
        made.beat()
        page = seen.open(made)
    page.evaluate(
        "() => { Dash.state.failures = 1; Dash.state.heardAt -= 36000; Dash.state.heardWall -= 36000; Dash.draw(); }"
    )
    words = page.locator("#alarm").inner_text()
    assert (
        words.startswith("NO CONTACT.")
        and "server does not answer" in words
        and "DOWN" not in page.title()
        and "LONG 0.1 BTCUSDT" in words
    )
    assert states(page)["positions"] == "down"


# --- reading


def test_colours_for_the_colour_blind_have_enough_contrast_too(full, look):
    for theme in ("dark", "light"):
        page = look(theme=theme, colours="safe").open(full)
        page.evaluate("document.querySelectorAll('tbody tr:nth-child(n+3)').forEach(row => row.remove())")
        assert violations(page) == []


@pytest.mark.parametrize(
    "site", [each for each in PAGES.values() if each is not EVERYTHING], ids=lambda each: each.name
)
def test_every_page_is_light(full, look, site):
    seen = look()
    seen.open(full, f"{site.path}/1" if site.name == "story" else site.path)
    if "chart" in site.cards:
        seen.chart()
    seen.page.wait_for_timeout(1_000)
    weight, requests = seen.bytes, list(seen.requests)
    print(f"{site.name}: {weight:,} bytes in {len(requests)} requests")
    assert len(requests) <= 10, requests
    assert weight <= 130 * 1024, weight
    assert all(url.startswith((full.address, "data:")) for url in requests) and seen.said == []


def test_everything_can_be_reached_and_pressed_by_keyboard(full, look):
    page = look().open(full)
    page.wait_for_selector("#controls button")
    reached = set()
    for _ in range(90):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "(() => { const e = document.activeElement;"
            " return [e.id || `${e.localName} ${e.textContent.slice(0, 14)}`, getComputedStyle(e).outlineStyle]; })()"
        )
        reached.add(name)
        assert outline != "none" or name.startswith("body"), name
    assert {"refresh", "pause"} <= reached and any("Enter the PIN" in each for each in reached)
    page.locator("[data-filter=not_acted]").focus()
    page.keyboard.press("Enter")
    until(page, "document.querySelector('[data-filter=not_acted]').getAttribute('aria-pressed') === 'true'")
    summary = page.locator("#card-journal summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("#card-journal details").first.get_attribute("open") is not None


def test_two_clicks_lead_from_no_trade_to_the_reason(full, look):
    page = look().open(full)
    page.click("[data-filter=not_acted]")
    until(
        page,
        "![...document.querySelectorAll('#card-journal tbody tr')].some(r => r.textContent.includes('ENTER LONG'))",
    )
    page.locator("#card-journal summary").first.click()
    until(page, "document.querySelector('#card-journal details').innerText.includes('Vote: ')")
    told = page.locator("#card-journal details").first.inner_text()
    assert "Gate: confidence" in told and "FAILED: the agent's confidence is 0.21" in told and "Vote: rsi" in told
    rows = page.locator("#card-journal tbody tr").count()
    page.click("#older")
    until(page, f"document.querySelectorAll('#card-journal tbody tr').length > {rows}")


def test_an_open_reason_stays_open_and_focus_stays_where_it_is_over_a_refresh(full, look):
    page = look().open(full)
    page.locator("#card-trades summary").first.click()
    page.locator("#card-trades summary").first.focus()
    page.evaluate("Dash.ask()")
    assert page.locator("#card-trades details").first.get_attribute("open") is not None
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_what_strangers_wrote_is_only_text(full, look):
    page = look().open(full)
    page.wait_for_timeout(500)
    assert EVIL in page.locator("#card-news").inner_text() and page.title() != "1"
    assert page.evaluate("document.querySelectorAll('#cards img').length") == 0


def test_the_analysed_chart_is_loaded_when_somebody_opens_it_and_not_before(tmp_path, lived, look):
    shutil.copy(lived, tmp_path / "scene.db")
    folder, name = tmp_path / "charts", "BTCUSDT_15m_20261122T120000000Z.png"
    folder.mkdir()
    (folder / name).write_bytes(PNG)
    with served(tmp_path, chart_dir=folder) as made:
        made.beat()
        made.beat(process="chart_analysis_bot")
        made.analysis(ago_s=1, chart_file=name)
        seen = look()
        page = seen.open(made)
        assert not any("chart-picture" in url for url in seen.requests)
        page.click("text=Show the chart that was analysed")
        until(page, "(document.querySelector('#card-analysis img') || {naturalWidth: 0}).naturalWidth > 0")
        assert "The chart that the analyst saw" in page.locator("#card-analysis img").get_attribute("alt")
        assert seen.said == []


def test_hidden_amounts_are_nowhere_on_the_screen(full, look):
    seen = look(hide="yes")
    page = seen.open(full)
    seen.chart()
    text = page.locator("#cards").inner_text()
    for figure in ("10,120.55", "10,100.25", "20.30", "12.50", "125.84"):
        assert figure not in text, figure
    assert "•••" in text and "63,120.1" in text


def test_hidden_amounts_stay_hidden_when_the_bot_is_down(full, look):
    full.clock.ahead_s = 200
    alarm = look(hide="yes").open(full).locator("#alarm").inner_text()
    assert "May be open at the exchange: LONG BTCUSDT." in alarm and "62917" not in alarm


def test_gains_and_losses_are_told_by_sign_and_arrow_not_by_colour_alone(full, look):
    page = look().open(full)
    toned = page.evaluate(
        "[...document.querySelectorAll('.kind-amount.tone-up, .kind-amount.tone-down')].map(e => e.textContent)"
    )
    assert len(toned) > 20
    assert all(text[0] in "▲▼·L" and any(sign in text for sign in "+−0L") for text in toned)


def test_times_can_be_shown_in_utc(full, look):
    page = look(zone="utc").open(full)
    until(page, "document.querySelector('#card-trades tbody time').title !== ''")
    shown = page.locator("#card-trades tbody time").first
    assert shown.get_attribute("title").endswith(" UTC") and shown.inner_text() in shown.get_attribute("title")
    assert "UTC" in page.locator("#card-trades .age").inner_text()


def test_pause_stops_asking_and_ages_go_on(full, look):
    seen = look()
    page = seen.open(full)
    page.click("#pause")
    page.wait_for_timeout(300)
    before = len(seen.requests)
    page.evaluate("() => { Dash.state.nextAt = 0; }")
    page.wait_for_timeout(2_500)
    assert len(seen.requests) == before and "Paused" in page.locator("#countdown").inner_text()
    page.reload()
    until(page, "document.querySelector('#pause').getAttribute('aria-pressed') === 'true'")


def test_the_countdown_counts_down_to_the_next_look(full, look):
    seen = look()
    page = seen.open(full)
    first = int("".join(filter(str.isdigit, page.locator("#countdown").inner_text())))
    page.wait_for_timeout(2_200)
    second = int("".join(filter(str.isdigit, page.locator("#countdown").inner_text())))
    assert 25 <= first <= 30 and 1 <= first - second <= 4
    before = len(seen.requests)
    page.evaluate("() => { Dash.state.nextAt = performance.now(); }")
    page.wait_for_timeout(2_000)
    assert any("/api/dashboard" in url for url in seen.requests[before:])


def test_several_bots_stand_on_one_page(several, look):
    page = look().open(several)
    options = page.locator("#bot option").all_inner_texts()
    assert len(options) == 4 and "main" in options[1] and "DOWN" in options[3]
    page.select_option("#bot", "alts")
    page.wait_for_url("**/everything?bot=alts")
    assert "5,077.12" in page.locator("#card-balance").inner_text()


@pytest.mark.parametrize("scripts", [True, False])
def test_all_bots_are_told_in_a_row_each_with_and_without_scripts(several, browser, scripts):
    context = browser.new_context(java_script_enabled=scripts, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(several.address + "/everything")
    rows = page.locator("#card-bots tbody tr")
    told = [rows.nth(number).inner_text() for number in range(4)]
    assert [rows.nth(number).get_attribute("data-key") for number in range(4)] == [
        "bot-alts", "bot-main", "bot-night-owl", "bot-retired"
    ]  # fmt: skip
    for words, expected in zip(told, (
        ("RUNNING", "testnet", "2 open, 1 WITHOUT STOP", "5,077.12", "▼ −23.38", "ARMED", "ENTER LONG", "Opening a"),
        ("RUNNING", "paper, synthetic", "1 open, with stop", "10,120.55", "▲ +120.55", "ARMED", "NOT DONE", "not"),
        ("LATE", "flat", "10,100.25", "▲ +10.25", "TRIPPED", "NOT DONE", "not followed"),
        ("STOPPED", "1 d 1 h", "—"),
    ), strict=True):  # fmt: skip
        assert [each for each in expected if each not in words] == [], words
    assert page.locator("#card-bots a[aria-current]").all_inner_texts() == ["main"]
    page.click("#card-bots a:text('alts')")
    page.wait_for_url("**/everything?bot=alts")
    assert page.locator("#card-bots a[aria-current]").all_inner_texts() == ["alts"]
    assert "5,077.12" in page.locator("#card-balance").inner_text()
    context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_longest_names_and_the_largest_sums_of_bots_fit(several, look, width):
    with several.speaking("n" * 32, "testnet", "testnet"):
        several.beat()
        several.balance(equity="123456789.12")
        several.day("23456789.12", "123456789.12")
    page = look(width).open(several)
    until(page, "document.querySelectorAll('#card-bots tbody tr').length === 5")
    assert "123,456,789.12" in page.locator("#card-bots").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OUTSIDE) == []


def test_a_click_anywhere_in_a_row_opens_its_bot(several, look):
    page = look(390).open(several)
    page.click("#card-bots [data-key=bot-night-owl] [data-label=Breaker]")
    page.wait_for_url("**/everything?bot=night-owl")
    until(page, "document.querySelector('#bot').value === 'night-owl'")


def test_one_bot_that_falls_silent_is_down_among_bots_that_run_by_the_pages_own_clock_too(several, look):
    seen = look(paused="yes")
    page = seen.open(several)
    assert page.locator("[data-key=bot-alts] .kind-life").inner_text() == "RUNNING"
    with several.speaking("alts"):
        several.beat(ago_s=50)
    page.click("#refresh")
    until(page, "document.querySelector('[data-key=bot-alts]').dataset.state === 'down'")
    assert page.locator("[data-key=bot-alts] .kind-life").inner_text() == "DOWN"
    assert page.locator("[data-key=bot-main] .kind-life").inner_text() == "RUNNING"
    assert states(page)["bots"] == "fresh"
    words = r"DOWN: bot alts has not reported for (50|5\d) s\."
    assert re.fullmatch(words, page.locator("#alarm").inner_text()), "a retired bot, or one that is late, is no alarm"
    assert page.title().startswith("(!) DOWN")
    context = page.context.browser.new_context(java_script_enabled=False)
    bare = context.new_page()
    bare.goto(several.address + "/everything")
    assert re.fullmatch(words, bare.locator("#alarm").inner_text())
    context.close()
    page.evaluate("() => { Dash.state.heardAt -= 100000; Dash.state.heardWall -= 100000; Dash.draw(); }")
    assert page.locator("[data-key=bot-main] .kind-life").inner_text() == "LATE"


def test_hidden_amounts_are_hidden_in_the_row_of_every_bot(several, look):
    told = look(hide="yes").open(several).locator("#card-bots").inner_text()
    assert told.count("•••") == 6 and "2 open, 1 WITHOUT STOP" in told
    assert not any(figure in told for figure in ("5,077", "23.38", "10,1", "10.25", "120.55"))


def test_one_bot_alone_has_no_table_of_bots_until_another_comes(full, look):
    seen = look()
    page = seen.open(full)
    assert "bots" not in page.evaluate("Dash.state.snapshot.cards")
    assert not page.locator("#card-bots").is_visible() and not page.locator("#bots").is_visible()
    glance = page.locator("#glance").bounding_box()
    assert glance["y"] < 130
    full.others()
    page.click("#refresh")
    until(page, "document.querySelectorAll('#card-bots tbody tr').length === 4")
    assert page.locator("#card-bots").is_visible() and page.locator("#bots").is_visible()
    assert page.locator("#glance").bounding_box()["y"] > glance["y"] + 100 and seen.said == []


# --- control


def test_the_pin_opens_and_a_wish_is_explained_before_it_is_made(full, look):
    page = look().open(full)
    page.click("text=Enter the PIN to control the bot")
    page.fill("#pin", "wrong-pin-1")
    page.click("#ask-do")
    until(page, "document.querySelector('#ask-answer').textContent.includes('wrong')")
    page.fill("#pin", PIN)
    page.keyboard.press("Enter")
    page.click(f"text=Close {SYMBOL}")
    until(page, "document.querySelector('#ask').open")
    assert "Sends a market SELL of 0.1 BTCUSDT" in page.locator("#ask-says").inner_text()
    assert violations(page) == []
    page.click("#ask-do")
    until(page, "document.querySelector('#ask-answer').textContent.includes('Waiting')")
    rows = full.dashboard_context.reports.rows(control_requests.select())
    assert [(row["action"], row["target"], row["status"]) for row in rows] == [("close", SYMBOL, "waiting")]
    answer(full.database, rows[0]["id"], CommandResult("done", "The position in BTCUSDT is closed."), full.now_ms)
    full.database.flush()
    until(page, "document.querySelector('#ask-answer').textContent.startsWith('DONE')", 5.0)
    page.click("#ask-close")
    until(page, "document.querySelector('#card-control').textContent.includes('is closed')")
    tokens = page.evaluate("JSON.stringify(localStorage)")
    assert "csrf" not in tokens and "session" not in tokens
    page.click("text=Log out")
    page.wait_for_selector("text=Enter the PIN to control the bot")


def test_actions_that_rest_on_old_prices_cannot_be_pressed(full, look):
    seen = look()
    page = seen.open(full)
    page.click("text=Enter the PIN to control the bot")
    page.fill("#pin", PIN)
    page.click("#ask-do")
    page.wait_for_selector(f"text=Close {SYMBOL}")
    full.clock.ahead_s = 200
    page.click("#refresh")
    until(page, "document.querySelector('#card-positions').dataset.state === 'down'")
    assert page.locator(f"#controls button:has-text('Close {SYMBOL}')").is_disabled()
    assert page.locator(f"#card-positions button:has-text('Close {SYMBOL}')").is_disabled()


# --- figures


def test_the_charts_last_rsi_is_the_bots(full, look):
    seen = look()
    page = seen.open(full)
    seen.chart()
    newest = full.dashboard_context.reports.rows(signals.select().order_by(signals.c.timestamp.desc()).limit(1))[0]
    data = page.evaluate("async () => (await fetch('/api/chart')).json()")
    assert data["indicators"]["rsi"][-1] == newest["rsi"]
    assert f"RSI {newest['rsi']:.2f}" in page.locator("#chart").get_attribute("aria-label")
    assert [level["kind"] for level in data["levels"]][:4] == ["entry", "stop", "target", "liquidation"]
    assert data["candles"][-1][4] == newest["close"]
    assert len(data["marks"]) >= 12
