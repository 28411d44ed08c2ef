"""Waitress around a WSGI application: bounded threads and bodies, no server header, graceful shutdown.

Slow clients block no thread: one loop reads requests and writes responses; a thread is used only while it makes a
response.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer, create_server
from waitress.task import ErrorTask, WSGITask

from src.domain.clock import monotonic_s
from src.runtime.connection_limits import ConnectionLimits

_NO_LIMIT: Final = 1_000_000  # waitress would stop accepting connections altogether: see ConnectionLimits
_SLOW_CLIENT_S: Final = 30
_LARGEST_BUFFERED: Final = 1024 * 1024  # larger bodies are refused by the application itself
_LOOK_S: Final = 0.25
_LAST_TURNS, _LAST_TURN_S = 10, 0.02

Refusal = Callable[[int], tuple[Mapping[str, str], bytes]]
"""Returns headers and body of the response to a malformed request (a broken line, an endless header)."""


class _KeptTask(WSGITask):  # type: ignore[misc]
    def set_close_on_finish(self) -> None:
        """Keep the connection open after a response without a body (304), which ends with its headers."""
        asked = self.request.headers.get("CONNECTION", "").lower()
        if self.has_body or self.version != "1.1" or asked == "close":
            super().set_close_on_finish()


def _channel_class(refusal: Refusal, limits: ConnectionLimits) -> type[Any]:
    """Return the channel class with the application's own refusals, no Server header, and limits."""

    class _RefusalTask(ErrorTask):  # type: ignore[misc]
        def execute(self) -> None:
            error = self.request.error
            headers, body = refusal(error.code)
            self.status = f"{error.code} {error.reason}"
            self.response_headers.extend(headers.items())
            self.set_close_on_finish()
            self.content_length = len(body)
            self.write(body)

    class _Channel(HTTPChannel):  # type: ignore[misc]
        task_class = _KeptTask
        error_task_class = _RefusalTask

        def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None) -> None:
            self.since_s, self.served = monotonic_s(), False
            super().__init__(server, sock, addr, adj, map=map)
            limits.admit(self, list(server.active_channels.values()))

    return _Channel


class WsgiServer:
    """One application on one address.

    Args:
        app: a WSGI application.
        host: the address to bind to.
        port: 0 takes any free one; ``port`` then says which. ``OSError`` where it is taken.
        threads: how many responses are made at once.
        refusal: the response to a malformed request.
        watched: read one request ahead, so that a stream can learn that its client left
            (``waitress.client_disconnected`` in the environment).
    """

    def __init__(
        self, *, app: Callable[..., Any], host: str, port: int, threads: int, refusal: Refusal, watched: bool = False
    ) -> None:
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a queued request is not worth a log line
        self._sockets: dict[int, Any] = {}
        self._limits = ConnectionLimits()
        self._server = create_server(
            app,
            map=self._sockets,
            host=host,
            port=port,
            threads=threads,
            ident=None,
            connection_limit=_NO_LIMIT,
            channel_timeout=_SLOW_CLIENT_S,
            channel_request_lookahead=int(watched),
            max_request_body_size=_LARGEST_BUFFERED,
            clear_untrusted_proxy_headers=False,  # the authenticator must see that there was a proxy
        )
        self._listeners = [each for each in self._sockets.values() if isinstance(each, TcpWSGIServer)]
        for listener in self._listeners:
            listener.channel_class = _channel_class(refusal, self._limits)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listeners[0].effective_port)

    def serve(self, stop: threading.Event) -> None:
        """Serve until ``stop`` is set; requests in progress are finished and answered first."""
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
        self._limits.sweep(each for each in list(self._sockets.values()) if isinstance(each, HTTPChannel))
