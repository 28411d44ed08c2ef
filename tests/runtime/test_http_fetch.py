"""A source on the web gets our patience for a while, and never leads us into our own network."""

import http.server
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import requests

from src.runtime.http_fetch import SourceRefused, WebFetcher, _PinnedAdapter, _public_address, retry_after_s

Answers = dict[str, tuple[int, str]]


@pytest.fixture
def serve() -> Iterator[Callable[[Answers], str]]:
    """Return a function that serves paths (status; the body, or where it leads) and returns its address."""
    servers = []

    def start(answers: Answers) -> str:
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, text = answers[self.path.partition("?")[0]]
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", text)
                body = f"{text} {self.headers.get('X-Key', 'no key')}".encode()
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_source_may_lead_on_within_itself_but_takes_no_header_along(serve):
    address = serve({"/": (302, "/feed"), "/feed": (200, "news")})
    assert WebFetcher().get(address + "/", {"q": "btc"}, {"X-Key": "mine"}).body == b"news no key"


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]:3000/api/v1/info",
        "http://10.0.0.1/",
        "http://localhost:5000/",
        "//192.168.1.1/",
        "file:///etc/passwd",
        "ftp://example.com/",
    ],
)
def test_a_redirect_into_our_network_or_to_another_protocol_is_refused(serve, target):
    address = serve({"/": (302, target)})
    with pytest.raises(SourceRefused, match="redirects to"):
        WebFetcher().get(address + "/")


def test_one_port_of_this_machine_cannot_redirect_to_another(serve):
    other = serve({"/secret": (200, "secret")})
    with pytest.raises(SourceRefused, match="not a public address"):
        WebFetcher().get(serve({"/": (307, f"{other}/secret")}) + "/")


def test_a_name_is_public_only_when_all_its_addresses_are(monkeypatch):
    def resolving(*addresses):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 0)) for address in addresses]
        monkeypatch.setattr("src.runtime.http_fetch.socket.getaddrinfo", lambda *_, **__: found)
        return bool(_public_address("feeds.example"))

    assert resolving("93.184.216.34", "2606:2800:220:1::1")
    assert not resolving("93.184.216.34", "10.0.0.1")
    for inside in ("127.0.0.1", "169.254.169.254", "100.64.0.1", "fe80::1%eth0", "::ffff:127.0.0.1", "0.0.0.0"):
        assert not resolving(inside), inside
    assert not resolving()


def test_a_name_that_changes_its_meaning_between_check_and_call_leads_nowhere(serve, monkeypatch):
    """Rebinding: asked first, the name is a public address, then this machine; it is asked once."""
    inside = serve({"/secret": (200, "secret")})
    port, asked, real = int(inside.rpartition(":")[2]), [], socket.getaddrinfo

    def resolve(host, *arguments, **named):
        if host != "feeds.example":
            return real(host, *arguments, **named)
        asked.append(host)
        meant = "127.0.0.1" if len(asked) > 1 else "192.88.99.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (meant, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    address = serve({"/": (302, f"http://feeds.example:{port}/secret")})
    with pytest.raises(SourceRefused, match=r"did not answer|cannot be reached"):
        WebFetcher(connect_s=0.3, deadline_s=1.0).get(address + "/")
    assert asked == ["feeds.example"]


def test_a_pinned_address_is_asked_under_the_name_it_was_meant_for(monkeypatch):
    seen = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Host"])
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"news")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        with requests.Session() as session:
            session.mount("http://", _PinnedAdapter("127.0.0.1"))
            answer = session.get(f"http://feeds.example:{server.server_address[1]}/a?b=c", timeout=5)
    finally:
        server.shutdown()
        server.server_close()
    assert answer.content == b"news"
    assert seen == [f"feeds.example:{server.server_address[1]}"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("-5", 0.0),
        ("7", 7.0),
        ("1e12", 43_200.0),
        ("soon", None),
        ("", None),
    ],
)
def test_only_a_finite_wait_is_a_wait(text, seconds):
    assert retry_after_s(text) == seconds


def test_a_redirect_loop_is_refused(serve):
    with pytest.raises(SourceRefused, match="redirects too often"):
        WebFetcher().get(serve({"/": (302, "/")}) + "/")


def test_redirects_are_not_followed_with_a_key(serve):
    address = serve({"/": (302, "/feed"), "/feed": (200, "news")})
    with pytest.raises(SourceRefused, match="HTTP 302"):
        WebFetcher(follow_redirects=False).get(address + "/", headers={"X-Key": "mine"})


def test_too_much_and_no_json_are_refused(serve):
    address = serve({"/": (200, "x" * 5_000), "/page": (200, "<html>")})
    with pytest.raises(SourceRefused, match="more than 4000 bytes"):
        WebFetcher(max_bytes=4_000).get(address + "/")
    with pytest.raises(SourceRefused, match="not JSON"):
        WebFetcher().get(address + "/page").json()
