"""The web application keeps strangers out and tells nobody what it should not: the security list, one test each."""

import hashlib
import json
import logging
import re
import shutil
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import select

from src.dashboard.app import create_app
from src.dashboard.auth import FREE_TRIES
from src.dashboard.context import make_context
from src.dashboard.states import DataSource, state_of
from src.dashboard.widgets import Card
from src.domain.clock import DAY_MS, instant_of
from src.domain.errors import SettingsError
from src.domain.forecasts import Forecast, outcome_of
from src.monitoring.fallback_alerts import FallbackAlerter
from src.monitoring.notifications import Notifier
from src.review.figures import read_figures
from src.review.text import review_text
from src.storage.command_queue import ACTIONS
from src.storage.forecast_repository import ForecastRepository
from src.storage.rows import Owner
from src.storage.tables import control_requests, daily_performance, login_attempts, orders, positions, trades
from tests.dashboard.scene import EVIL, KEY, PIN, SYMBOL, logged_in, scene, settings_for
from tests.paper_exchange.running import ROOT

GETS = (
    "/", "/api/dashboard", "/api/bot-status", "/api/market-data", "/api/chart-analysis", "/api/trades",
    "/api/performance", "/api/positions", "/api/signals", "/api/news", "/api/health", "/api/journal", "/api/chart",
    "/api/session", "/api/report?from=2026-01-01&to=2030-01-01", "/api/control/plan?action=pause",
    "/api/control/rules", "/api/control/aaaaaaaaaaaaaaaaaaaa", "/favicon.ico", "/static/css/dashboard.css",
)  # fmt: skip
WISH = {"action": "pause", "target": "", "bot": "main", "key": "a" * 20}


@pytest.fixture
def full(tmp_path, lived):
    """A dashboard without a server, in place of the served one."""
    shutil.copy(lived, tmp_path / "scene.db")
    with scene(tmp_path) as made:
        made.beat()
        made.beat(process="chart_analysis_bot")
        yield made


@pytest.fixture
def client(full):
    return create_app(full.dashboard_context).test_client()


def test_all_ten_endpoints_of_the_spec_answer(client):
    for path in ("/", "/api/bot-status", "/api/market-data", "/api/chart-analysis", "/api/trades?limit=3",
                 "/api/performance", "/api/positions", "/api/signals?limit=3", "/api/news", "/api/health"):  # fmt: skip
        answer = client.get(path)
        assert answer.status_code == 200, path
    assert len(client.get("/api/trades?limit=3").json["trades"]) == 3
    assert len(client.get("/api/signals?limit=2").json["signals"]) == 2
    assert client.get("/api/news").json["total"] == 3
    assert client.get("/api/bot-status").json["rl_bot"]["running"] is True


def test_the_signals_that_were_not_acted_on_can_be_asked_for(client):
    rows = client.get("/api/signals?acted=false&limit=100").json["signals"]
    assert rows and not any(row["acted"] for row in rows)
    assert all(row["veto"] == "confidence" and row["gates"] for row in rows)


def test_every_answer_carries_the_same_guard(client):
    paths = [*GETS, "/nothing", "/api/nothing", "/static/nothing.js"]
    for path in paths:
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "unsafe" not in policy and "frame-ancestors 'none'" in policy and "default-src 'none'" in policy, path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Referrer-Policy"] == "no-referrer", path
        assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin", path
        assert "Server" not in headers, path


def test_a_failure_shows_no_inside_and_can_be_found_in_the_log(full, monkeypatch, caplog):
    app = create_app(full.dashboard_context)
    monkeypatch.setattr("src.dashboard.endpoints.last_turns", lambda look: 1 / 0)
    with caplog.at_level(logging.ERROR):
        answer = app.test_client().get("/api/market-data")
    assert answer.status_code == 500
    text = answer.get_data(as_text=True)
    assert "Traceback" not in text and "/" not in text and "SELECT" not in text and "division" not in text
    assert answer.json["request_id"] in caplog.text
    fair = app.test_client().get("/api/health").headers
    for name in ("Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control"):
        assert answer.headers[name] == fair[name], name


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:3000"])
def test_no_other_origin_is_ever_allowed_to_read(client, origin):
    for path in ("/", "/api/dashboard", "/static/css/dashboard.css", "/nothing"):
        for method in (client.get, client.options):
            assert "Access-Control-Allow-Origin" not in method(path, headers={"Origin": origin}).headers, path


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:5000", "[::2]", ""])
def test_a_foreign_host_name_is_refused(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1", "[::1]:5000"])
def test_our_own_names_are_welcome(client, host):
    assert client.get("/api/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "kind", "expected"),
    [
        ({"Origin": "http://evil.example"}, "application/json", 403),
        ({"Origin": "null"}, "application/json", 403),
        ({"Sec-Fetch-Site": "cross-site"}, "application/json", 403),
        ({"Sec-Fetch-Site": "same-site"}, "application/json", 403),
        ({}, "text/plain", 415),
        ({}, "application/x-www-form-urlencoded", 415),
        ({}, "application/json", 403),
    ],
)
def test_a_write_that_our_page_did_not_make_is_refused(client, headers, kind, expected):
    token = logged_in(client)
    sent = headers if not headers and kind == "application/json" else headers | token
    for path in ("/api/control", "/api/logout"):
        answer = client.post(path, data=json.dumps(WISH), content_type=kind, headers=sent)
        assert answer.status_code == expected, path


def test_without_the_pin_nothing_can_be_wished(client):
    assert client.post("/api/control", json=WISH).status_code == 401
    assert client.get("/api/control/plan?action=pause").status_code == 401
    assert client.post("/api/control", json=WISH, headers={"X-CSRF-Token": "x"}).status_code == 401


def test_no_get_changes_anything(full, client):
    logged_in(client)
    full.database.flush()

    def content():
        with sqlite3.connect(full.database.name) as connection:
            return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()

    before = content()
    for path in GETS:
        client.get(path)
    full.database.flush()
    assert content() == before


def test_the_cookie_is_for_our_page_alone(full):
    app = create_app(full.dashboard_context)
    plain = app.test_client().post("/api/login", json={"pin": PIN}).headers["Set-Cookie"]
    assert plain.startswith("dashboard_session=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(plain.split("; ")) and "Secure" not in plain
    secure = app.test_client().post("/api/login", json={"pin": PIN}, base_url="https://localhost")
    cookie = secure.headers["Set-Cookie"]
    assert cookie.startswith("__Host-dashboard_session=") and "Secure" in cookie and "Domain" not in cookie
    assert PIN not in plain and "localStorage" not in plain


def test_a_session_is_new_at_each_log_in_and_dead_after_log_out(full):
    app = create_app(full.dashboard_context)
    client = app.test_client()
    first = logged_in(client)
    old = client.get_cookie("dashboard_session").value
    second = logged_in(client)
    new = client.get_cookie("dashboard_session").value
    assert old != new and first != second
    client.set_cookie("dashboard_session", old)
    assert client.get("/api/session").json["logged_in"] is False
    client.set_cookie("dashboard_session", new)
    assert client.post("/api/logout", json={}, headers=second).status_code == 200
    client.set_cookie("dashboard_session", new)
    assert client.get("/api/session").json["logged_in"] is False


def test_a_session_ends_after_an_hour_of_rest_and_after_twelve_in_any_case(full):
    client = create_app(full.dashboard_context).test_client()
    logged_in(client)
    full.clock.ahead_s = 3_590
    assert client.get("/api/session").json["logged_in"] is True
    full.database.flush()
    full.clock.ahead_s += 3_610
    assert client.get("/api/session").json["logged_in"] is False
    logged_in(client)
    began_s = full.clock.ahead_s
    for half_hours in range(1, 24):
        full.clock.ahead_s = began_s + half_hours * 1_800
        assert client.get("/api/session").json["logged_in"] is True, half_hours
        full.database.flush()
    full.clock.ahead_s = began_s + 12 * 3_600 + 1
    assert client.get("/api/session").json["logged_in"] is False


class Post:
    """Who is told: keeps the titles."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def __call__(self, title: str, text: str, urgency: str) -> bool:
        self.titles.append(title.removeprefix("trading suite main: "))
        return True


def test_three_hundred_wrong_pins_reach_the_check_five_times_and_the_right_one_works_after_the_wait(full, caplog):
    client = create_app(full.dashboard_context).test_client()
    with caplog.at_level(logging.WARNING):
        answers = [client.post("/api/login", json={"pin": f"wrong-{number}"}) for number in range(300)]
    codes = [answer.status_code for answer in answers]
    assert codes.count(401) == FREE_TRIES <= 10 and codes.count(429) == 295
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers if answer.status_code == 429)
    assert caplog.text.count("PIN entry is locked") == 1
    assert client.post("/api/login", json={"pin": PIN}).status_code == 429
    full.clock.ahead_s = 31
    assert client.post("/api/login", json={"pin": PIN}).status_code == 200


def test_a_siege_is_one_alert_for_as_long_as_it_lasts_and_over_when_it_is(full, tmp_path):
    client, post = create_app(full.dashboard_context).test_client(), Post()

    def look():
        reporter = FallbackAlerter(full.database, Notifier("main", post), full.clock, tmp_path / "told.json")
        for _ in range(3):
            full.beat(ago_s=-full.clock.ahead_s)
            full.beat(ago_s=-full.clock.ahead_s, process="chart_analysis_bot")
            reporter.look()

    look()
    assert post.titles == []
    for minute in range(30):
        full.clock.ahead_s = minute * 60.0
        for number in range(10):
            client.post("/api/login", json={"pin": f"wrong-{minute}-{number}"})
        look()  # each time another process: a restart tells nobody again
    assert post.titles == ["log in attack: machine"]
    for minute in range(30, 45):
        full.clock.ahead_s = minute * 60.0
        look()
    assert post.titles == ["log in attack: machine", "over: log in attack: machine"]
    rows = full.dashboard_context.reports.rows(select(login_attempts))
    tried = [row for row in rows if row["outcome"] != "refused"]
    assert len(tried) <= 10 and len(rows) <= 40


def test_two_mistakes_are_no_siege(full):
    client, post = create_app(full.dashboard_context).test_client(), Post()
    for pin in ("wrong-1", "wrong-2", PIN):
        client.post("/api/login", json={"pin": pin})
    FallbackAlerter(full.database, Notifier("main", post), full.clock).look()
    assert post.titles == []


def test_a_restart_gives_nobody_new_tries(full):
    client = create_app(full.dashboard_context).test_client()
    for number in range(5):
        client.post("/api/login", json={"pin": f"wrong-{number}"})
    again = create_app(make_context(full.dashboard_context.settings, full.clock, full.database)).test_client()
    assert again.post("/api/login", json={"pin": PIN}).status_code == 429


def test_each_further_wrong_pin_doubles_the_wait(full):
    client = create_app(full.dashboard_context).test_client()
    for number in range(5):
        client.post("/api/login", json={"pin": f"wrong-{number}"})
    full.clock.ahead_s = 31
    assert client.post("/api/login", json={"pin": "wrong"}).status_code == 401
    answer = client.post("/api/login", json={"pin": "wrong"})
    assert answer.status_code == 429 and 55 <= int(answer.headers["Retry-After"]) <= 61


@pytest.mark.parametrize("pin", ["пароль-зима", "\ud83d\ude00", "é" * 60, "\x00" * 8])
def test_a_pin_of_any_letters_is_wrong_and_not_a_fault(client, pin):
    assert client.post("/api/login", json={"pin": pin}).status_code in (400, 401)


def test_neither_pin_nor_token_is_in_the_database_or_the_log(full, caplog):
    client = create_app(full.dashboard_context).test_client()
    with caplog.at_level(logging.DEBUG):
        token = logged_in(client)
        cookie = client.get_cookie("dashboard_session").value
        client.post("/api/login", json={"pin": "wrong-guess-77"})
    full.database.flush()
    content = Path(full.database.name).read_bytes() + Path(full.database.name + "-wal").read_bytes()
    for secret in (PIN, KEY, cookie, token["X-CSRF-Token"], "wrong-guess-77"):
        assert secret.encode() not in content and secret not in caplog.text


@pytest.mark.parametrize("pin", ["", "12345", "123456", "changeme"])
def test_no_empty_short_or_example_pin_ever_opens(tmp_path, pin):
    with scene(tmp_path, bot_control_pin=pin) as made:
        client = create_app(made.dashboard_context).test_client()
        assert client.post("/api/login", json={"pin": pin}).status_code == 503
        assert "BOT_CONTROL_PIN" in client.get("/api/session").json["closed_because"]


def test_an_open_address_needs_strong_secrets_and_then_the_pin_even_to_look(tmp_path):
    with pytest.raises((SettingsError, ValueError), match="BOT_CONTROL_PIN"):
        settings_for(tmp_path, dashboard_host="0.0.0.0", bot_control_pin="")
    with pytest.raises((SettingsError, ValueError), match="FLASK_SECRET_KEY"):
        settings_for(tmp_path, dashboard_host="0.0.0.0", flask_secret_key="short")
    with scene(tmp_path, dashboard_host="0.0.0.0") as made:
        made.full()
        client = create_app(made.dashboard_context).test_client()
        closed = client.get("/", headers={"Host": "192.168.1.7:5000"})
        assert closed.status_code == 200 and SYMBOL not in closed.get_data(as_text=True)
        assert client.get("/api/positions").status_code == client.get("/api/dashboard").status_code == 401
        assert client.get("/api/health").status_code == 200
        logged_in(client)
        assert SYMBOL in client.get("/").get_data(as_text=True)
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_who_comes_through_a_proxy_is_not_this_machine_and_looks_with_the_pin_alone(client, header):
    far = {header: "203.0.113.7"}
    assert client.get("/api/positions").status_code == 200
    assert client.get("/api/positions", headers=far).status_code == 401
    assert client.get("/api/events", headers=far).status_code == 401
    assert SYMBOL not in client.get("/", headers=far).get_data(as_text=True)
    logged_in(client)
    assert client.get("/api/positions", headers=far).status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Forwarded-Proto", "Cf-Connecting-Ip", "True-Client-Ip"])
def test_other_headers_of_proxies_say_the_same(client, header):
    assert client.get("/api/positions", headers={header: "203.0.113.7"}).status_code == 401


def test_a_bare_proxy_that_adds_nothing_is_not_this_machine(client):
    assert client.get("/api/positions", environ_overrides={"SERVER_PROTOCOL": "HTTP/1.0"}).status_code == 401


@pytest.mark.parametrize(("host", "root"), [("bot.example.org", ""), ("example.org", "/bot")])
def test_a_public_name_offers_the_whole_page_under_its_path_to_who_knows_the_pin(tmp_path, host, root):
    with scene(tmp_path, public_hosts="bot.example.org,example.org/bot") as made:
        made.full()
        client = create_app(made.dashboard_context).test_client()
        asked = {"Host": host, "X-Forwarded-Proto": "https"}

        def get(path):
            return client.get(root + path, base_url=f"https://{host}", headers=asked)

        assert get("/api/positions").status_code == 401
        assert client.get("/api/positions").status_code == 401  # nobody reads without the PIN once a name is public
        page = get("/")
        assert page.status_code == 200 and SYMBOL not in page.get_data(as_text=True)
        parts = re.findall(r'(?:href|src|action)="([^"#]+)"', page.get_data(as_text=True))
        absolute = [part for part in parts if part.startswith("/")]
        assert absolute and all(part.startswith(f"{root}/") for part in absolute), absolute
        for part in absolute:
            if "/static/" in part or "favicon" in part:
                assert client.get(part, base_url=f"https://{host}", headers=asked).status_code == 200, part
        if root:
            assert client.get(root, base_url=f"https://{host}", headers=asked).headers["Location"] == f"{root}/"
        origin = asked | {"Origin": f"https://{host}"}
        entered = client.post(f"{root}/api/login", json={"pin": PIN}, base_url=f"https://{host}", headers=origin)
        assert entered.status_code == 200, entered.get_data(as_text=True)
        assert get("/api/positions").status_code == 200
        assert SYMBOL in get("/").get_data(as_text=True)


def test_no_script_of_the_page_names_an_address_by_its_root():
    for script in (ROOT / "static" / "js").glob("*.js"):
        assert not re.findall(r"""["'`]/(?:api|static|favicon)""", script.read_text(encoding="utf-8")), script.name


NONSENSE = [
    "/api/trades?status=nonsense", "/api/trades?cursor=nonsense", "/api/trades?limit=0", "/api/trades?colour=red",
    "/api/trades?limit=1&limit=2", "/api/signals?cursor=%00", "/api/signals?acted=perhaps", "/api/signals?cursor=MQ==",
    "/api/news?cursor=x", "/api/news?limit=1e3", "/api/journal?filter=all&cursor=x", "/api/journal?filter=wrong",
    "/api/dashboard?journal=wrong", "/api/dashboard?bot=..%2f", "/api/chart?symbol=%3Cscript%3E", "/api/chart?symbol=",
    "/api/positions?x=1", "/api/performance?limit=5", "/api/bot-status?bot=" + "a" * 65, "/api/market-data?symbol=A",
    "/api/chart-analysis?a=b", "/api/health?verbose=1",
]  # fmt: skip


@pytest.mark.parametrize("path", NONSENSE)
def test_each_parameter_is_checked_and_what_is_wrong_is_said_in_words(client, path):
    answer = client.get(path)
    assert answer.status_code == 400, answer.get_data(as_text=True)
    said = answer.get_json()["error"]
    assert not any(word in said for word in ("isoformat", "Invalid", "Traceback", "literal", "NoneType")), said
    asked = path.partition("?")[2]
    assert any(each.partition("=")[0] in said for each in asked.split("&")), said


def test_a_body_that_is_too_long_too_deep_or_no_object_is_refused(client):
    assert client.post("/api/login", data=b"x" * 70_000, content_type="application/json").status_code == 413
    assert client.post("/api/login", data="[" * 60_000, content_type="application/json").status_code == 400
    for body in ("[]", "1", '"a"', "{", ""):
        assert client.post("/api/login", data=body, content_type="application/json").status_code == 400, body
    assert client.post("/api/login", json={"pin": 123456}).status_code == 400
    assert client.post("/api/login", json={"pin": "a" * 500}).status_code == 400


@pytest.mark.parametrize(
    "path",
    ["../.env", "..%2f..%2f.env", "css/../../.env", "/etc/passwd", "js/states.js%00.png", "vendor", "css/", "js/.a.js"],
)  # fmt: skip
def test_only_the_listed_files_can_be_had(client, path):
    assert client.get(f"/static/{path}").status_code in (404, 308, 400)


@pytest.mark.parametrize(
    "path",
    [
        "/api/trades?limit=0", "/api/trades?limit=x", "/api/signals?limit=9999", "/api/signals?acted=maybe",
        "/api/trades?cursor=nonsense", "/api/journal?filter=x", "/api/dashboard?journal=x", "/api/report",
        "/api/report?from=2026-02-30&to=2026-03-01", "/api/report?from=2026-03-02&to=2026-03-01",
        "/api/report?from=2026-03-01&to=2026-03-01&format=pdf",
    ],
)  # fmt: skip
def test_nonsense_in_a_query_is_400_with_a_sentence(client, path):
    answer = client.get(path)
    assert answer.status_code == 400 and len(answer.json["error"]) > 10


def test_what_strangers_wrote_is_text_in_the_page(client):
    page = client.get("/").get_data(as_text=True)
    assert EVIL not in page and "&lt;img src=x" in page
    assert not re.search(r"<script[^>]*>[^<]", page) and not re.search(r"<[^>]*\son\w+=", page)
    assert " style=" not in page


def test_debug_is_never_on_and_the_console_does_not_exist(client):
    assert client.application.debug is False and client.application.testing is False
    assert client.get("/console").status_code == 404
    asked = client.get("/?__debugger__=yes&cmd=resource&f=debugger.js")
    assert b"EVALEX" not in asked.get_data() and asked.content_type.startswith("text/html")


def test_names_of_bots_that_do_not_exist_leave_nothing_in_memory(full, client):
    for number in range(20):
        assert client.get(f"/api/dashboard?bot=made-up-{number}").status_code == 200
    client.get("/api/dashboard")
    kept = full.dashboard_context.snapshots
    assert set(kept._frame) == {"main"} == {bot for bot, _ in kept._good}


def test_the_same_content_has_the_same_tag(client):
    first = client.get("/api/dashboard")
    again = client.get("/api/dashboard", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304 and again.get_data() == b"" and int(again.headers["X-Server-Time-Ms"]) > 0


def test_every_wish_is_explained_before_it_is_made(client):
    logged_in(client)
    for action in (*ACTIONS, "start:rl_bot", "stop:rl_bot"):
        target = {"close": SYMBOL, "rules": "safety_first"}.get(action, "")
        answer = client.get(f"/api/control/plan?action={action}&target={target}&bot=main")
        assert answer.status_code == 200 and len(answer.json["says"]) > 40, action
    close = client.get(f"/api/control/plan?action=close&target={SYMBOL}").json["says"]
    assert "SELL of 0.1 BTCUSDT" in close and "6,312.01 USDT" in close and "cancels its stop and target" in close
    for action, target in (("fly", ""), ("rules", "../../.env"), ("close", "NOPE"), ("stop:sshd", ""), ("stop:", "")):
        assert client.get(f"/api/control/plan?action={action}&target={target}").status_code == 404


def test_a_wish_to_a_silent_bot_says_so_and_one_to_nobody_is_refused(full, client):
    token = logged_in(client)
    assert "not responding" not in client.get("/api/control/plan?action=pause").json["says"]
    full.clock.ahead_s = 60
    assert client.get("/api/control/plan?action=pause").json["says"].startswith("The bot is not responding")
    assert "not responding" not in client.get("/api/control/plan?action=start:rl_bot").json["says"]
    for made_up in ("nobody", "'; DROP TABLE trades", "<b>"):
        answer = client.post("/api/control", json=WISH | {"bot": made_up}, headers=token)
        assert answer.status_code == 404 and "nobody to ask" in answer.json["error"]
    assert full.dashboard_context.reports.rows(select(control_requests)) == []


def test_the_same_key_and_the_same_wish_are_one(full, client):
    token = logged_in(client)
    answers = []
    for number in range(20):
        command = WISH | {"action": "close", "target": SYMBOL, "key": f"{number:020d}"}
        answers.append(client.post("/api/control", json=command, headers=token))
    assert {answer.json["key"] for answer in answers} == {"0" * 20}
    assert client.post("/api/control", json=command | {"key": "0" * 20}, headers=token).status_code == 200
    rows = full.dashboard_context.reports.rows(select(control_requests))
    assert len(rows) == 1 and rows[0]["actor"].startswith("person in session ") and rows[0]["origin"] == "127.0.0.1"


def test_live_trading_asks_for_the_symbol_to_be_typed(tmp_path):
    with scene(tmp_path) as made:
        made.owner = Owner("main", "live", "live")
        made.dashboard_context.database.owner = made.owner
        made.full()
        client = create_app(made.dashboard_context).test_client()
        token = logged_in(client)
        command = WISH | {"action": "close", "target": SYMBOL}
        assert client.get(f"/api/control/plan?action=close&target={SYMBOL}").json["type_to_confirm"] == SYMBOL
        assert client.post("/api/control", json=command, headers=token).status_code == 409
        assert client.post("/api/control", json=command | {"confirm": "ETHUSDT"}, headers=token).status_code == 409
        assert client.post("/api/control", json=command | {"confirm": SYMBOL}, headers=token).status_code == 202
        page = client.get("/").get_data(as_text=True)
        assert 'data-mode="live"' in page and "LIVE" in page and "made-up" not in page


def test_the_report_has_every_trade_of_the_period_and_its_sums(full, client):
    day = full.at(0)[:10]
    page = client.get(f"/api/report?from=2026-01-01&to={day}").get_data(as_text=True)
    assert "+67.00" in page and "60.48" in page and "target reached" in page
    assert "gpt-6-luna" in page and "gpt-6-luna" not in client.get("/api/report?from=2020-01-01&to=2020-02-01").text
    table = client.get(f"/api/report?from=2026-01-01&to={day}&format=csv")
    lines = table.get_data(as_text=True).splitlines()
    assert (
        len(lines) == 13
        and lines[0].startswith("id,symbol,side")
        and "attachment" in table.headers["Content-Disposition"]
    )
    assert client.get("/api/report?from=2020-01-01&to=2020-02-01&format=csv").get_data(as_text=True).count("\n") == 1


def test_what_was_paid_in_today_is_no_result_of_today(full):
    def today():
        card, _ = full.dashboard_context.snapshots.card("balance", "main")
        return next(fact.cell.text for fact in card.facts if fact.label == "Today (UTC)")

    assert today().startswith("▲ +120.55")
    full.change(daily_performance, transfers=Decimal("500.25"))
    assert today().startswith("▼ −379.70")


def test_the_states_of_all_bots_are_each_their_own(full):
    full.others()

    def told():
        card, state = full.dashboard_context.snapshots.card("bots", "main")
        snapshot = full.dashboard_context.snapshots.snapshot("main")
        now_ms = full.clock.now_ms()
        sources = {name: DataSource(**source) for name, source in snapshot["sources"].items()}
        lives = [row.life for row in card.tables[0].rows]
        rows = [
            str(state_of(Card("", "", "data", life.as_of_ms, life.max_age_s), sources[life.source], now_ms))
            for life in lives
        ]
        return rows, str(state)

    assert told() == (["fresh", "fresh", "late", "down"], "fresh")
    with full.speaking("alts", "testnet", "testnet"):
        full.beat(ago_s=60, cycle_finished=full.at(61))
    assert told() == (["down", "fresh", "late", "down"], "fresh")
    full.clock.ahead_s = 100
    assert told() == (["down"] * 4, "down")


def test_what_the_exchange_holds_and_the_journal_does_not_know_is_a_difference(full):
    def verdict():
        card, _ = full.dashboard_context.snapshots.card("reconciliation", "main")
        return card.facts[0].cell.text

    assert verdict() == "AGREE"
    full.position("ETHUSDT", own=False)
    assert verdict() == "DIFFER"
    full.clear(positions, trades)
    assert verdict() == "AGREE"
    full.order("UNKNOWN", "exit")
    assert verdict() == "DIFFER"
    full.clear(orders)
    full.beat(details={"differences": {SYMBOL: "the exchange holds more"}})
    assert verdict() == "DIFFER"


def test_an_open_profit_ages_with_the_turn_and_a_flat_account_with_the_look_at_the_exchange(full):
    held = full.dashboard_context.snapshots.snapshot("main")["cards"]
    assert held["balance"]["max_age_s"] == held["positions"]["max_age_s"]
    full.balance(ago_s=1.0, equity="10100.25")
    flat = full.dashboard_context.snapshots.snapshot("main")["cards"]["balance"]
    assert flat["max_age_s"] > held["balance"]["max_age_s"]


def test_the_page_says_what_decides_nothing_and_what_a_silent_agent_means(full):
    def card(name):
        return full.dashboard_context.snapshots.card(name, "main")[0]

    for name in ("analysis", "news"):
        effects = [fact.cell.text for fact in card(name).facts if fact.label == "Effect on orders"]
        assert len(effects) == 1 and "no decision follows from it" in effects[0]
    said = "The agent recommends HOLD in each of the 7 market states it knows."
    assert said not in card("status").notes
    full.beat(details={"agent": said})
    assert said in card("status").notes


def test_the_report_shows_how_the_forecasts_of_the_period_turned_out(full, client):
    made = instant_of(full.at(3_600))
    said = Forecast(SYMBOL, "vote:rsi", made, 900_000, 1, 0.52, 30_000.0)
    ledger = ForecastRepository(full.database)
    ledger.add([said])
    ledger.settle([(said, outcome_of(said, 30_300.0, 0.0012))])
    full.database.flush()
    page = client.get(f"/api/report?from={full.at(86_400)[:10]}&to={full.at(0)[:10]}").get_data(as_text=True)
    assert "vote:rsi" in page and "+0.880" in page and "too few forecasts" in page
    assert "vote:rsi" not in client.get("/api/report?from=2020-01-01&to=2020-02-01").text


def test_the_scoreboard_says_who_is_no_better_than_chance_and_what_a_month_costs(full):
    ledger = ForecastRepository(full.database)
    for number in range(120):
        made = instant_of(full.at(3_600 * (number + 30)))
        said = Forecast(SYMBOL, "chart", made, 3_600_000, 1, 0.6, 30_000.0, "local")
        ledger.add([said])
        ledger.settle([(said, outcome_of(said, 29_900.0 if number % 3 else 30_050.0, 0.0012))])
    full.analysis(ago_s=86_400, cost_usd=Decimal("0.70"))
    full.database.flush()
    card = full.dashboard_context.snapshots.card("forecasts", "main")[0]
    scores, costs = card.tables
    (row,) = [each for each in scores.rows if each.cells[0].text == "chart:local"]
    assert (row.cells[2].text, row.cells[-1].text) == ("120", "no better than chance")
    spent = {each.cells[0].text: [cell.raw for cell in each.cells[1:]] for each in costs.rows}
    week, month = (Decimal(str(raw)) for raw in spent["chart:gpt-6-luna"])
    assert week == Decimal("0.7123") and abs(month - week * 30 / 7) < Decimal("1e-9")
    full.analysis(ago_s=1, analyst="local", model="")
    facts = {fact.label: fact.cell.text for fact in full.dashboard_context.snapshots.card("analysis", "main")[0].facts}
    assert facts["Verdict"] == "no better than chance"


def test_a_panel_s_disagreement_and_its_counter_argument_are_shown(full):
    full.analysis(ago_s=1, analyst="panel", model="", disagreement=0.25, counter_argument="sceptic: funding is crowded")
    facts = {fact.label: fact.cell.text for fact in full.dashboard_context.snapshots.card("analysis", "main")[0].facts}
    assert facts["Panel disagrees"].startswith("25") and facts["Against it"] == "sceptic: funding is crowded"
    assert facts["Verdict"] == "not scored yet"


def test_the_review_has_a_page_of_its_own_that_says_what_the_command_says(full, client):
    look = full.dashboard_context.snapshots.look(full.dashboard_context.reports, "main")
    card = full.dashboard_context.snapshots.card("review", "main")[0]
    day, week = card.tables
    assert {row.cells[0].text for row in day.rows} >= {"Traded", "Refused", "Costs", "Forecasts", "Suggestion"}
    last_ms = look.now
    with full.database.read() as connection:
        figures = read_figures(connection, look.scope, last_ms - 7 * DAY_MS, last_ms)
    lines = [line.strip() for line in review_text(figures, "The last week").splitlines() if line.strip()][1:]
    told = [row.cells[1].text for row in week.rows]
    parts = re.compile("^(Traded|Refused|Costs|Forecasts|Suggestion): ")
    assert told == [parts.sub("", line) for line in lines]
    assert "What the figures say" in client.get("/review").get_data(as_text=True)
