"""What can be changed from the pages: only with PIN and token, never a path, never a secret, never half a file."""

import json

import pytest

from src.dashboard.app import create_app
from src.runtime.lab_jobs import checked_arguments
from src.runtime.log_reader import read_log
from src.runtime.settings_editor import HIDDEN, LOCKED
from src.storage.tables import control_requests, trade_notes
from tests.dashboard.scene import logged_in, scene

POSTS = {
    "/api/trades/1/note": {"note": "x", "tags": []},
    "/api/settings/check": {"changes": {"LEVERAGE": "7"}},
    "/api/settings/apply": {"changes": {"LEVERAGE": "7"}},
    "/api/backups": {},
    "/api/backups/verify": {"name": "backup-main-20261122T103015000Z.tar.gz"},
    "/api/lab": {
        "kind": "backtest",
        "pair": "BTCUSDT",
        "rules": "safety_first",
        "from": "2024-01-01",
        "to": "2024-02-01",
    },
    "/api/lab/stop": {"id": "20261122T103015000Z"},
}
TRAVERSALS = ("../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "backup-../../x.tar.gz", "a\0b", "")


@pytest.fixture
def made(tmp_path):
    env = tmp_path / ".env"
    env.write_text("LEVERAGE=10\nNEWSAPI_KEY=canary-key-1234567890\n")
    env.chmod(0o600)
    with scene(tmp_path, env_file=env) as each:
        each.beat()
        each.balance()
        each.position()
        yield each


@pytest.fixture
def client(made):
    return create_app(made.dashboard_context).test_client()


@pytest.mark.parametrize("path", POSTS)
def test_nothing_is_changed_without_the_pin_or_without_the_token(made, client, path):
    before = made.dashboard_context.env_file.read_bytes()
    assert client.post(path, json=POSTS[path]).status_code == 401
    logged_in(client)
    assert client.post(path, json=POSTS[path]).status_code == 403
    assert client.post(path, json=POSTS[path], headers={"X-CSRF-Token": "0" * 64}).status_code == 403
    assert client.get(path).status_code in (404, 405)
    assert (
        made.dashboard_context.env_file.read_bytes() == before
        and made.dashboard_context.reports.rows(trade_notes.select()) == []
    )
    assert made.dashboard_context.lab.jobs() == []


@pytest.mark.parametrize("path", POSTS)
def test_requests_from_other_sites_and_of_other_kinds_are_refused(client, path):
    token = logged_in(client)
    foreign = token | {"Origin": "https://evil.example"}
    assert client.post(path, json=POSTS[path], headers=foreign).status_code == 403
    assert client.post(path, json=POSTS[path], headers=token | {"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post(path, data="x", headers=token, content_type="text/plain").status_code == 415


@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_name_leads_out_of_its_folder(made, client, tmp_path, name):
    token = logged_in(client)
    assert client.post("/api/backups/verify", json={"name": name}, headers=token).status_code == 404
    for query in ({"log": name}, {"page": name}, {"timeframe": name}):
        answer = client.get("/api/dashboard", query_string={"page": "system"} | query)
        assert b"root:" not in answer.get_data()
    with pytest.raises(ValueError, match="no such log"):
        read_log(tmp_path, name or "x", "INFO", "", 10)
    for field in ("pair", "rules"):
        given = {"kind": "backtest", "from": "2024-01-01", "to": "2024-01-02", "pair": "BTCUSDT", "rules": "a"}
        if name:
            with pytest.raises(ValueError, match=field):
                checked_arguments("backtest", given | {field: name}, "x")


def test_a_run_can_be_given_no_option_of_its_program():
    given = {"from": "2024-01-01", "to": "2024-01-02", "pair": "BTCUSDT", "rules": "--model"}
    with pytest.raises(ValueError, match="rules"):
        checked_arguments("backtest", given, "x")
    line, report = checked_arguments("backtest", given | {"rules": "safety_first"}, "20240101T000000000Z")
    assert line[0] == "run" and "--model" not in line and report.startswith("backtest-BTCUSDT-safety_first-")
    assert checked_arguments("retraining", {"episodes": 5}, "x")[0] == ["--json", "--no-color", "--episodes", "5"]
    for wrong in ({"episodes": "5; rm"}, {"episodes": True}, {"episodes": 10**9}):
        with pytest.raises(ValueError, match="episodes"):
            checked_arguments("retraining", wrong, "x")


def test_a_secret_can_be_set_and_is_never_answered(made, client):
    token = logged_in(client)
    wanted = {"changes": {"NEWSAPI_KEY": "another-canary-0987654321"}}
    checked = client.post("/api/settings/check", json=wanted, headers=token)
    written = client.post("/api/settings/apply", json=wanted, headers=token)
    page = client.get("/settings")
    for answer in (checked, written, page, client.get("/api/dashboard?page=settings")):
        assert answer.status_code == 200
        assert b"canary" not in answer.get_data()
    assert checked.json["changes"] == [{"name": "NEWSAPI_KEY", "old": HIDDEN, "new": HIDDEN}]
    assert "another-canary" in made.dashboard_context.env_file.read_text()
    audit = made.dashboard_context.reports.rows(control_requests.select())
    assert [(row["action"], row["target"]) for row in audit] == [("settings", "NEWSAPI_KEY")]
    assert "canary" not in json.dumps(audit, default=str)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"LEVERAGE": "500"}, "LEVERAGE is wrong"),
        ({"NO_SUCH": "1"}, "There is no setting"),
        ({"LEVERAGE": "7\nBOT_CONTROL_PIN=123456"}, "must be one line"),
        ({"TIME_ZONE": "UTC # comment"}, "cannot be written like this"),
        ({"POSITION_PERCENTAGE": "0.5"}, "exceeds MAX_TOTAL_POSITION_PERCENTAGE"),
        *(({name: "whatever-1234567"}, "in .env itself") for name in sorted(LOCKED)),
    ],
)
def test_a_change_that_would_not_start_is_refused_whole(made, client, changes, problem):
    before = made.dashboard_context.env_file.read_bytes()
    for path in ("/api/settings/check", "/api/settings/apply"):
        answer = client.post(path, json={"changes": changes}, headers=logged_in(client))
        assert answer.status_code == 422 and problem in " ".join(answer.json["problems"]), answer.json
        assert str(made.dashboard_context.env_file.parent) not in answer.get_data(as_text=True)
    assert made.dashboard_context.env_file.read_bytes() == before


def test_what_the_environment_sets_is_changed_there(made, client, monkeypatch):
    monkeypatch.setenv("LEVERAGE", "10")
    answer = client.post("/api/settings/check", json={"changes": {"LEVERAGE": "7"}}, headers=logged_in(client))
    assert "set in the environment" in answer.json["problems"][0]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"note": "x" * 2_001, "tags": []}, "at most 2,000"),
        ({"note": 5, "tags": []}, "note must be text"),
        ({"note": "", "tags": ["<b>"]}, "A tag is"),
        ({"note": "", "tags": ["a"] * 11}, "at most 10"),
        ({"note": "", "tags": "a"}, "tags must be a list"),
    ],
)
def test_a_note_is_text_of_a_known_length(client, given, problem):
    answer = client.post("/api/trades/1/note", json=given, headers=logged_in(client))
    assert answer.status_code == 400 and problem in answer.json["error"]


def test_a_note_belongs_to_a_trade_that_exists(client):
    token = logged_in(client)
    assert client.post("/api/trades/999999/note", json={"note": "x", "tags": []}, headers=token).status_code == 404


@pytest.mark.parametrize(
    "query", ["period=x", "level=x", "trade=-1", "trade=9e9", "text=" + "x" * 81, "pair=%00", "page=x"]
)
def test_a_page_refuses_nonsense_with_a_sentence(client, query):
    answer = client.get(f"/api/dashboard?{query}")
    assert answer.status_code == 400 and len(answer.json["error"]) > 10


def test_a_page_that_others_can_reach_shows_the_pin_field_alone(made):
    client = create_app(made.dashboard_context).test_client()
    for path in (
        "/",
        "/trade",
        "/journal",
        "/performance",
        "/strategies",
        "/review",
        "/lab",
        "/system",
        "/settings",
        "/trades/1",
    ):
        answer = client.get(path, headers={"X-Forwarded-For": "203.0.113.9"})
        text = answer.get_data(as_text=True)
        assert answer.status_code == 200 and "Enter the PIN" in text
        assert "10,120.55" not in text and "BTCUSDT" not in text, path
    assert client.get("/api/dashboard?page=system", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 401
