"""Floor 4, wings: waitress around the application: bounded threads and bodies, no name in the answers, a clean end."""

import logging
import secrets
import threading
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer, create_server
from waitress.task import ErrorTask, WSGITask

from src.api.door import HEADERS, MOST_BODY
from src.api.problems import MEDIA_TYPE, document

THREADS = 6
_CONNECTIONS = 200
_SLOW_CLIENT_S = 30
_LOOK_S = 0.25
_LAST_TURNS, _LAST_TURN_S = 10, 0.02


class _ProblemTask(ErrorTask):  # type: ignore[misc]
    """What waitress itself refuses (a broken request line, an endless header) has the shape of all refusals."""

    def execute(self) -> None:
        error = self.request.error
        request_id = secrets.token_hex(6)
        body = document(error.code, "The request cannot be understood.", "", request_id)
        self.status = f"{error.code} {error.reason}"
        own = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", "X-Request-ID": request_id}
        self.response_headers.extend([*HEADERS.items(), *own.items()])
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _KeptTask(WSGITask):  # type: ignore[misc]
    def set_close_on_finish(self) -> None:
        """Let the connection stay after an answer without a body (304), which ends with its head."""
        asked = self.request.headers.get("CONNECTION", "").lower()
        if self.has_body or self.version != "1.1" or asked == "close":
            super().set_close_on_finish()


class _Channel(HTTPChannel):  # type: ignore[misc]
    task_class = _KeptTask
    error_task_class = _ProblemTask


class WebServer:
    """One application on one address.

    Args:
        app: a WSGI application.
        host: the address to bind to.
        port: 0 takes any free one; ``port`` then says which.
    """

    def __init__(self, app: Callable[..., Any], host: str, port: int) -> None:
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # that a call waits its turn is no event
        self._sockets: dict[int, Any] = {}
        self._server = create_server(
            app,
            map=self._sockets,
            host=host,
            port=port,
            threads=THREADS,
            ident=None,
            connection_limit=_CONNECTIONS,
            channel_timeout=_SLOW_CLIENT_S,
            max_request_body_size=4 * MOST_BODY,
            clear_untrusted_proxy_headers=False,  # the door must see that there was a proxy
        )
        self._listeners = [each for each in self._sockets.values() if isinstance(each, TcpWSGIServer)]
        for listener in self._listeners:
            listener.channel_class = _Channel

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listeners[0].effective_port)

    def serve(self, stop: threading.Event) -> None:
        """Answer until ``stop`` is set; calls in flight are finished and their answers handed over first."""
        while not stop.is_set():
            self._turn(_LOOK_S)
        for listener in self._listeners:
            listener.accepting = False
        self._server.task_dispatcher.shutdown()
        for _ in range(_LAST_TURNS):
            self._turn(_LAST_TURN_S)
        wasyncore.close_all(self._sockets)

    def _turn(self, timeout_s: float) -> None:
        wasyncore.loop(timeout_s, use_poll=True, map=self._sockets, count=1)
