"""Thousands of connections that ask nothing keep nobody from asking: bounded per address, in all, and in time."""

import contextlib
import http.client
import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from src.runtime import connection_limits
from src.runtime.wsgi_server import WsgiServer

SOCKETS = 2_000


def app(environ, start_response):
    """Answer at once, or after a while where the path says so."""
    if environ["PATH_INFO"] == "/slow":
        time.sleep(1.5)
    body = environ["wsgi.input"].read() or b"well"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


@contextlib.contextmanager
def serving() -> Iterator[int]:
    server, stop = (
        WsgiServer(app=app, host="127.0.0.1", port=0, threads=4, refusal=lambda code: ({}, b"refused")),
        threading.Event(),
    )
    thread = threading.Thread(target=server.serve, args=(stop,), daemon=True)
    thread.start()
    try:
        yield server.port
    finally:
        stop.set()
        thread.join(10)


@pytest.fixture
def port() -> Iterator[int]:
    with serving() as port:
        yield port


@contextlib.contextmanager
def held(port: int, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """Hold so many connections that send ``first`` and nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 500)), hard))
    opened = []
    try:
        for _ in range(count):
            opened.append(socket.create_connection(("127.0.0.1", port), timeout=5))
            if first:
                with contextlib.suppress(OSError):  # it gave way already
                    opened[-1].sendall(first)
        yield opened
    finally:
        for each in opened:
            each.close()


def ask(port: int, path: str = "/", body: bytes | None = None) -> tuple[float, bytes]:
    began_s = time.monotonic()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST" if body else "GET", path, body)
        content = connection.getresponse().read()
    return time.monotonic() - began_s, content


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "], ids=["silent", "half a header"])
def test_two_thousand_idle_connections_delay_no_request(port, first):
    with held(port, SOCKETS, first):
        took = [ask(port) for _ in range(8)]
    assert all(content == b"well" for _, content in took)
    assert max(took_s for took_s, _ in took) < 1.0, took


def test_a_connection_being_answered_is_not_closed(port):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/slow")
        with held(port, 400):
            assert connection.getresponse().read() == b"well"


def is_closed(connection: socket.socket, within_s: float) -> bool:
    connection.settimeout(within_s)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize(
    "first", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab"]
)
def test_a_request_must_arrive_in_time(monkeypatch, port, first):
    for name in ("HEADER_WITHIN_S", "BODY_WITHIN_S", "IDLE_S"):
        monkeypatch.setattr(connection_limits, name, 0.5)
    with held(port, 1, first) as (connection,):
        assert is_closed(connection, 5.0)


def test_a_header_that_drips_does_not_live_by_its_drops(monkeypatch, port):
    monkeypatch.setattr(connection_limits, "HEADER_WITHIN_S", 1.0)
    with held(port, 1, b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ") as (connection,):
        began_s = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - began_s < 8.0:
                connection.sendall(b"a")
                time.sleep(0.1)
        assert time.monotonic() - began_s < 6.0


def test_a_kept_connection_asks_again_and_a_body_arrives_whole(port):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        for _ in range(3):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"well"
            time.sleep(0.6)
    assert ask(port, body=b"x" * 60_000)[1] == b"x" * 60_000
