"""The nudge: told within seconds, few at a time, and whoever leaves makes room; slow clients stop nobody."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
from playwright.sync_api import sync_playwright

from src.dashboard.events import MOST_STREAMS
from tests.dashboard.browsing import FLAGS, chromium, until
from tests.dashboard.scene import PIN, Scene, served
from tests.paper_exchange.running import wait_until
from tests.runtime.test_wsgi_server import ask, held

pytestmark = pytest.mark.long

SLOW = 10
HIDE = (
    "() => { Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});"
    " document.dispatchEvent(new Event('visibilitychange')); }"
)
SHOW = "() => { delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); }"
LISTENS = "Boolean(Dash.state.push) && Dash.state.push.readyState === EventSource.OPEN"


def connect(made: Scene, timeout: float = 10.0) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(made.address.removeprefix("http://"), timeout=timeout)


def status(made: Scene, path: str) -> tuple[int, float]:
    """Return the answer's status and the seconds it took."""
    began_s = time.monotonic()
    with closing(connect(made)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status, time.monotonic() - began_s


@contextmanager
def stream(made: Scene, bot: str = "main") -> Iterator[http.client.HTTPResponse]:
    """An open stream, or what was answered instead."""
    with closing(connect(made)) as connection:
        connection.request("GET", f"/api/events?bot={bot}")
        with closing(connection.getresponse()) as answer:
            yield answer


def next_event(answer: http.client.HTTPResponse) -> str:
    """Return the next line that names an event."""
    for _ in range(50):
        line = answer.readline().decode().strip()
        if line.startswith("event:"):
            return line
    raise AssertionError("no event came")


def test_a_change_is_told_within_seconds_and_another_bots_is_not(full):
    with stream(full) as own, stream(full, "other") as others:
        assert own.getheader("Content-Type").startswith("text/event-stream")
        assert own.readline() == b"retry: 3000\n" and others.readline() == b"retry: 3000\n"
        full.trade(99, entry_ago_s=300)
        assert next_event(own) == "event: changed"
        others.fp.raw._sock.settimeout(2.5)  # type: ignore[attr-defined]
        assert others.readline() == b"\n"
        with pytest.raises(TimeoutError):
            others.readline()


def test_there_are_few_streams_and_whoever_leaves_makes_room(full):
    with ExitStack() as held:
        answers = [held.enter_context(stream(full)) for _ in range(MOST_STREAMS)]
        assert [answer.status for answer in answers] == [200] * MOST_STREAMS
        with stream(full) as refused:
            assert refused.status == 503 and int(refused.getheader("Retry-After")) > 0
        for path in ("/", "/api/dashboard", "/api/health"):
            assert status(full, path)[0] == 200

    def is_free() -> bool:
        with stream(full) as again:
            return again.status == 200

    wait_until(is_free, 5.0, 0.2)


def comes_back(page) -> bool:
    """Show the tab again, when the slots that asking took are free; hidden once more where one was not."""
    page.wait_for_timeout(2_000)
    page.evaluate(SHOW)
    page.wait_for_timeout(500)
    if not page.evaluate(LISTENS):
        page.evaluate(HIDE)
    return bool(page.evaluate(LISTENS))


def test_a_hidden_tab_and_a_closed_one_leave_their_slot(full):
    def wait_for_free(slots: int) -> None:
        def found() -> bool:
            with ExitStack() as held:
                return sum(held.enter_context(stream(full)).status == 200 for _ in range(MOST_STREAMS)) == slots

        wait_until(found, 20.0, 2.0)  # the slots that asking took are free again by then

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.add_init_script("localStorage.setItem('dash-push', 'yes')")
        page.goto(full.address)
        until(page, LISTENS)
        wait_for_free(MOST_STREAMS - 1)
        before = len(asked)
        full.trade(98, pnl="7.77", entry_ago_s=300)
        until(page, "document.querySelector('#card-trades').innerText.includes('7.77')")
        assert any("/api/dashboard" in url for url in asked[before:])
        page.evaluate(HIDE)
        wait_for_free(MOST_STREAMS)
        wait_until(lambda: comes_back(page), 30.0)
        wait_for_free(MOST_STREAMS - 1)
        page.close()
        wait_for_free(MOST_STREAMS)
        browser.close()


def drip(made: Scene, kind: int) -> socket.socket:
    """A client that has begun and does not go on: within the headers, within the body, or without reading."""
    host, _, port = made.address.removeprefix("http://").partition(":")
    client = socket.create_connection((host, int(port)), timeout=10)
    begun = (
        f"GET /api/dashboard HTTP/1.1\r\nHost: {host}\r\nX-Slow: ",
        f"POST /api/login HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{{",
        f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n",
    )[kind]
    client.sendall(begun.encode())
    return client


@pytest.mark.parametrize("kind", range(3), ids=("headers", "body", "not reading"))
def test_ten_slow_clients_stop_nobody(full, kind):
    with ExitStack() as held:
        slow = [held.enter_context(closing(drip(full, kind))) for _ in range(SLOW)]
        for path in ("/", "/api/dashboard", "/api/positions"):
            for client in slow if kind < 2 else ():
                client.sendall(b"x")
            code, took_s = status(full, path)
            assert code == 200 and took_s < 8.0, (path, took_s)


@pytest.mark.parametrize("line", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"x" * 300_000 + b"\r\n\r\n"])
def test_what_is_no_request_is_refused_with_the_same_guard_and_without_a_name(full, line):
    host, _, port = full.address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(line)
        received = b""
        while b'"error"' not in received and (more := client.recv(65_536)):  # head and body may come apart
            received += more
        answer = received.decode()
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.") and head.split()[1] in ("400", "431") and "Content-Security-Policy" in head
    assert "waitress" not in answer.lower() and "Server:" not in head and '"error"' in body


def test_a_server_that_stops_ends_its_streams(tmp_path):
    with ExitStack() as held:
        with served(tmp_path) as made:
            answer = held.enter_context(stream(made))
            assert answer.readline() == b"retry: 3000\n"
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 5.0 and answer.read() == b"\n"


def test_while_two_thousand_connections_ask_nothing_health_answers_and_a_person_logs_in(full):
    port = int(full.address.rpartition(":")[2])
    with held(port, 2_000, b"GET / HTTP/1.1\r\n"):
        for _ in range(5):
            took_s, content = ask(port, "/api/health")
            assert took_s < 1.0, f"health took {took_s:.2f} s"
            assert json.loads(content)["status"] == "healthy"
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as person:
            person.request("POST", "/api/login", json.dumps({"pin": PIN}), {"Content-Type": "application/json"})
            assert person.getresponse().status == 200
