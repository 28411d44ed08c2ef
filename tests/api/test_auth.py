"""Who comes in: this machine's readers, and whoever holds a key; never a foreign page, host or guesser."""

import logging
from typing import Any

import pytest

from src.api.auth import TRIES_A_MINUTE, Attempts
from src.api.operations import OPERATIONS
from src.domain.clock import ManualClock
from src.domain.errors import SettingsError
from tests.api.made import NOON, ROOT, Made, Maker
from tests.api.test_rest import refused

OPEN = "192.0.2.7"  # an address that others can reach
TRIP = f"{ROOT}/circuit-breaker/trip"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def post(api: Made, path: str = TRIP, body: Any = None, **headers: str) -> Any:
    return api.client.post(path, json={"reason": "a test"} if body is None else body, headers=headers)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:3000", "127.0.0.1:3000", "[::1]:3000", "LOCALHOST", "127.8.8.8"]
)
def test_loopback_answers_to_its_own_names(api: Made, host: str) -> None:
    assert api.get("/health", Host=host).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "192.0.2.7", "127.0.0.1.nip.io:3000", "a@localhost", "", "[::1"]
)
def test_a_foreign_host_is_refused_everywhere(api: Made, host: str) -> None:
    for path in ("/health", "/signals", "/nothing", "/docs"):
        refused(api.get(path, Host=host), 400)


def test_an_open_bind_answers_to_addresses_but_not_to_foreign_names(maker: Maker) -> None:
    api = maker(host="0.0.0.0")
    token = api.keys.create("one", ("read",))
    assert api.get("/signals", Host="198.51.100.4:3000", **bearer(token)).status_code == 200
    refused(api.get("/signals", Host="evil.example", **bearer(token)), 400)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:9999", ""])
def test_a_foreign_origin_is_refused_and_never_allowed(api: Made, origin: str) -> None:
    answer = api.get("/signals", Origin=origin, Host="localhost:3000")
    refused(answer, 403)
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert api.get("/signals", Origin="http://localhost:3000", Host="localhost:3000").status_code == 200


def test_listed_origins_alone_may_read_without_credentials(maker: Maker) -> None:
    api = maker(origins=("https://mine.example",))
    answer = api.get("/signals", Origin="https://mine.example")
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://mine.example"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    ask = {"Origin": "https://mine.example", "Access-Control-Request-Method": "GET"}
    assert "GET" in api.client.options(f"{ROOT}/signals", headers=ask).headers["Access-Control-Allow-Methods"]
    other = api.get("/signals", Origin="https://evil.example")
    refused(other, 403)
    assert "Access-Control-Allow-Origin" not in other.headers


def test_writes_want_json_the_own_site_and_a_key_of_their_scope(api: Made) -> None:
    token = api.keys.create("agent", ("read", "control"))
    refused(post(api), 401)
    refused(post(api, **bearer(api.keys.create("reader", ("read",)))), 403)
    refused(post(api, Origin="https://evil.example", **bearer(token)), 403)
    refused(post(api, **{"Sec-Fetch-Site": "cross-site"}, **bearer(token)), 403)
    text = api.client.post(TRIP, data="reason=x", content_type="text/plain", headers=bearer(token))
    refused(text, 415)
    assert post(api, **bearer(token)).status_code == 200


def test_cookies_open_nothing_and_are_never_set(api: Made) -> None:
    token = api.keys.create("agent", ("read", "control"))
    client = api.client
    for name in ("session", "key", "Authorization"):
        client.set_cookie(name, token)
    answer = client.post(TRIP, json={"reason": "a test"})
    refused(answer, 401)
    assert "Set-Cookie" not in answer.headers
    assert "Set-Cookie" not in api.get("/signals").headers


def test_an_open_bind_wants_a_key_for_all_but_the_probes(maker: Maker) -> None:
    api = maker(host=OPEN)
    token = api.keys.create("one", ("read",))
    for operation in OPERATIONS:
        if operation.method == "GET":
            status = api.get(operation.path).status_code
            assert (status == 200) == (operation.scope == "open"), operation.name
            assert api.get(operation.path, **bearer(token)).status_code == 200
    for path in (f"{ROOT}/openapi.json", f"{ROOT}/docs", "/metrics", "/nowhere"):
        answer = api.client.get(path)
        refused(answer, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert api.get("/health").get_json()["data"]["checks"] == []
    assert api.get("/health", **bearer(token)).get_json()["data"]["checks"] != []


PROXY_HEADERS = [
    "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "Forwarded", "X-Real-IP", "Via",
    "Cf-Connecting-Ip", "CF-Ray", "True-Client-Ip", "X-Client-IP", "X-Cluster-Client-IP", "X-Original-For",
    "Fly-Client-IP", "Fastly-Client-IP", "X-Envoy-External-Address", "X-Amzn-Trace-Id", "X-Forwarded",
]  # fmt: skip


@pytest.mark.parametrize("header", PROXY_HEADERS)
def test_what_came_through_a_proxy_is_not_from_this_machine(api: Made, header: str) -> None:
    refused(api.get("/signals", **{header: "198.51.100.9"}), 401)
    token = api.keys.create("one", ("read",))
    assert api.get("/signals", **{header: "198.51.100.9"}, **bearer(token)).status_code == 200


def test_a_request_in_the_way_of_a_bare_proxy_is_not_from_this_machine(api: Made) -> None:
    """nginx's bare ``proxy_pass`` asks by our own address, adds no header, and speaks HTTP/1.0."""
    refused(api.client.get(f"{ROOT}/signals", environ_overrides={"SERVER_PROTOCOL": "HTTP/1.0"}), 401)


def test_a_public_name_is_answered_under_its_path_with_a_key_and_then_nobody_reads_without_one(maker: Maker) -> None:
    api = maker(public={"bot.example.org": "", "example.org": "/bot"})
    token = api.keys.create("one", ("read",))
    for host, path in (("bot.example.org", ROOT), ("example.org:8443", f"/bot{ROOT}"), ("example.org", ROOT)):
        asked = {"Host": host, "X-Forwarded-Proto": "https"}
        refused(api.client.get(f"{path}/signals", headers=asked), 401)
        assert api.client.get(f"{path}/signals", headers=asked | bearer(token)).status_code == 200
        own = {"Origin": f"https://{host}"} | bearer(token)
        assert api.client.get(f"{path}/signals", headers=asked | own).status_code == 200
    refused(api.get("/signals"), 401)  # also by a loopback name: a proxy may ask like that
    refused(api.get("/signals", Host="evil.example", **bearer(token)), 400)


def test_an_open_bind_without_a_key_does_not_start(maker: Maker) -> None:
    api = maker(host=OPEN)
    from src.api.auth import Authenticator

    authenticator = Authenticator(host="0.0.0.0", origins=(), keys=api.keys, clock=api.clock)
    with pytest.raises(SettingsError, match=r"api_key\.sh create"):
        authenticator.refuse_open_bind()
    api.keys.create("one", ("read",))
    authenticator.refuse_open_bind()


@pytest.mark.parametrize("value", ["Bearer schlüssel", "Bearer", "Bearer ", "Basic YTpi", "\xff\xfe", "Bearer a b c"])
def test_a_strange_header_is_401_and_not_500(api: Made, value: str) -> None:
    answer = api.client.get(f"{ROOT}/signals", headers={"Authorization": value})
    assert refused(answer, 401)["detail"] == "This key opens nothing here."


def test_of_300_wrong_keys_at_most_ten_are_tried(
    api: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token = api.keys.create("one", ("read",))
    tried: list[str] = []
    real = api.keys.verify
    monkeypatch.setattr(api.keys, "verify", lambda key: tried.append(key) or real(key))
    with caplog.at_level(logging.WARNING):
        answers = [api.get("/signals", **bearer(f"key_{number:08x}_{'a' * 43}")) for number in range(300)]
    assert len(tried) <= TRIES_A_MINUTE
    codes = [each.status_code for each in answers]
    assert (codes.count(401), codes.count(429)) == (TRIES_A_MINUTE, 300 - TRIES_A_MINUTE)
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert sum("wrong API key" in record.getMessage() for record in caplog.records) == TRIES_A_MINUTE
    assert not any("a" * 43 in record.getMessage() for record in caplog.records)
    api.clock.advance_to(NOON + 5_000 + 60_000)
    assert api.get("/signals", **bearer(token)).status_code == 200


def test_guesses_at_one_key_from_many_addresses_are_counted_together(api: Made) -> None:
    def guess(number: int) -> int:
        own = {"REMOTE_ADDR": f"127.0.1.{number}"}
        headers = bearer(f"key_00000000_{number:043d}")
        return int(api.client.get(f"{ROOT}/signals", headers=headers, environ_base=own).status_code)

    codes = [guess(number) for number in range(50)]
    assert codes == [401] * TRIES_A_MINUTE + [429] * (50 - TRIES_A_MINUTE)


def test_calls_of_one_key_are_counted_and_the_reader_of_this_machine_is_not(maker: Maker) -> None:
    api = maker(calls_a_minute=3)
    token = api.keys.create("one", ("read",))
    answers = [api.get("/info", **bearer(token)) for _ in range(4)]
    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert answers[0].headers["X-RateLimit-Remaining"] == "2"
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert [api.get("/info").status_code for _ in range(10)] == [200] * 10
    other = api.keys.create("two", ("read",))
    assert api.get("/info", **bearer(other)).status_code == 200


@pytest.mark.parametrize(
    "path", [f"{ROOT}/signals", f"{ROOT}/docs", f"{ROOT}/openapi.json", f"{ROOT}/nothing", "/metrics", "/", "/mcp"]
)
def test_every_answer_carries_what_browsers_must_know(api: Made, path: str) -> None:
    headers = api.client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Server" not in headers


@pytest.mark.parametrize("body", [b"{", b'{"a":' * 20_000 + b"1" + b"}" * 20_000, b"[" * 60_000, b"\xff"])
def test_json_that_is_none_or_nested_too_deep_is_400(api: Made, body: bytes) -> None:
    token = api.keys.create("agent", ("control",))
    answer = api.client.post(TRIP, data=body[: 64 * 1024], content_type="application/json", headers=bearer(token))
    refused(answer, 400)


def test_debugging_is_never_on(api: Made) -> None:
    assert not api.app.debug
    assert not api.app.testing
    for path in ("/console", "/?__debugger__=yes&cmd=resource&f=style.css"):
        refused(api.client.get(path), 404)


def test_attempts_are_forgotten_after_a_minute() -> None:
    clock = ManualClock(NOON)
    attempts = Attempts(clock, 2)
    assert [attempts.note("a"), attempts.note("a")] == [1, 0]
    assert (attempts.wait_s("a"), attempts.wait_s("b")) == (60, 0)
    clock.advance_to(NOON + 59_001)
    assert attempts.wait_s("a") == 1
    clock.advance_to(NOON + 60_000)
    assert attempts.wait_s("a") == 0
