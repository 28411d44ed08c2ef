"""One stand-in server: 127.0.0.1, port 0, counts its requests, and fails on demand in the ways of the web."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

HTML = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>checking your browser</body></html>"


@dataclass(frozen=True)
class Request:
    """One GET as the stand-in saw it; header names in lower case."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Reply:
    """What is sent back; ``drip`` sends the body byte by byte, ``truncated`` promises more than it sends."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drip: bool = False
    truncated: bool = False

    def content(self) -> bytes:
        """Return the body as bytes; anything but bytes is sent as JSON."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class StandIn:
    """A service on loopback; subclasses answer ``reply_to``. ``scenario`` names the failure to show."""

    scenarios: ClassVar[dict[str, Reply]] = {
        "html with 200": Reply(HTML, headers={"Content-Type": "text/html"}),
        "truncated": Reply(b'{"data": [{"value": "4', truncated=True),
        "server error": Reply(b"<html><center><h1>502 Bad Gateway</h1></center></html>", 502),
        "forbidden": Reply(HTML, 403),
        "wrong types": Reply(["not", "an", "object"]),
        "drip": Reply(b"{" + b" " * 10_000 + b"}", drip=True),
        "null": Reply(b"null"),
    }

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.scenario = "ok"
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The base address, without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def reply_to(self, request: Request) -> Reply:
        """Answer as the service does when all is well, or in a scenario of its own."""
        raise NotImplementedError

    def close(self) -> None:
        """Let hanging requests go and stop."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> "StandIn":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, request: Request) -> Reply:
        self.requests.append(request)
        if self.scenario == "hang":
            self._released.wait(30)
        return self.scenarios.get(self.scenario) or self.reply_to(request)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = stand_in._answer(Request(parts.path, dict(parse_qsl(parts.query)), headers))
                content = reply.content()
                self.close_connection = True
                try:
                    self.send_response(reply.status)
                    self.send_header("Connection", "close")
                    self.send_header("Content-Length", str(len(content) + (100 if reply.truncated else 0)))
                    for name, value in reply.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    for piece in _pieces(content, reply.drip):
                        self.wfile.write(piece)
                        if reply.drip and stand_in._released.wait(0.05):
                            return
                except (BrokenPipeError, ConnectionResetError):
                    return

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


def _pieces(content: bytes, drip: bool) -> Iterator[bytes]:
    return iter([content]) if not drip else (content[at : at + 1] for at in range(len(content)))
