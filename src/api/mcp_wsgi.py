"""Serves the Model Context Protocol inside a WSGI server, and over standard input and output.

The SDK is asynchronous and weighs as much as the rest of the server together, so it is loaded with the first call.
Every call stands alone (no session, no stream), and is answered by the thread that serves it, in an event loop of
that thread: handed to another thread and back, a call waits at each hand for an interpreter that is busy elsewhere.
"""

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from flask import Request, Response

from src.api.context import ApiContext, Caller
from src.api.server import pass_over_what_is_loaded

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

_MOST_TURNS = 100  # of a loop, in which what a call has left to do is done


class McpBridge:
    """Answers ``POST /mcp``; safe to share between threads."""

    def __init__(self, source: ApiContext) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._own = threading.local()
        self._all: list[_Speaker] = []

    def __call__(self, asked: Request, caller: Caller) -> Response:
        """Answer one call; ``caller`` is who asks."""
        return self._speaker().answer(asked, caller)

    def close(self) -> None:
        """End the event loops, when no call is under way any more."""
        with self._lock:
            for each in self._all:
                each.close()
            self._all.clear()

    def _speaker(self) -> "_Speaker":
        """The present thread's, made with its first call."""
        found: _Speaker | None = getattr(self._own, "speaker", None)
        if found is None or found.is_over:
            with self._lock:  # one at a time, since the first also loads the library
                found = self._own.speaker = _Speaker(self._source)
                self._all.append(found)
                pass_over_what_is_loaded()
        return found


class _Speaker:
    """One thread's server of the protocol, in an event loop that runs only while it answers."""

    def __init__(self, source: ApiContext) -> None:
        self._manager = _manager(source)
        self._loop = asyncio.new_event_loop()
        self._ending, ready = asyncio.Event(), asyncio.Event()
        self._living = self._loop.create_task(self._live(ready))
        self._loop.run_until_complete(ready.wait())

    @property
    def is_over(self) -> bool:
        """Whether it was closed, or failed."""
        return self._living.done()

    def answer(self, asked: Request, caller: Caller) -> Response:
        """Answer one call."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": asked.method,
            "scheme": asked.scheme,
            "path": asked.path,
            "raw_path": asked.path.encode(),
            "query_string": asked.query_string,
            "root_path": "",
            "headers": [(name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in asked.headers],
            "client": None,
            "server": None,
            "api.caller": caller,
        }
        return self._loop.run_until_complete(self._ask(scope, asked.get_data()))

    def close(self) -> None:
        """End what lives in the loop; a loop that still answers is left to end with the process."""
        if self._loop.is_running() or self._loop.is_closed():
            return
        self._ending.set()
        self._loop.run_until_complete(self._living)
        self._loop.close()

    async def _live(self, ready: asyncio.Event) -> None:
        """Keep the protocol's server open, in one task from its beginning to its end."""
        async with self._manager.run():
            ready.set()
            await self._ending.wait()

    async def _ask(self, scope: dict[str, Any], body: bytes) -> Response:
        heard = [{"type": "http.request", "body": body, "more_body": False}]
        said: list[Any] = []

        async def receive() -> Any:
            return heard.pop() if heard else await asyncio.Event().wait()  # the caller does not leave

        async def send(message: Any) -> None:
            said.append(message)

        await self._manager.handle_request(scope, receive, send)
        for _ in range(_MOST_TURNS):
            if len(asyncio.all_tasks()) <= 2:  # this one, and the server's life
                break
            await asyncio.sleep(0)
        headers = [(name.decode("latin-1"), text.decode("latin-1")) for name, text in said[0]["headers"]]
        return Response(b"".join(each.get("body", b"") for each in said[1:]), said[0]["status"], headers)


def _manager(source: ApiContext) -> "StreamableHTTPSessionManager":
    """The protocol over HTTP; host, origin and key are checked before it."""
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.server.transport_security import TransportSecuritySettings

    from src.api.auth import MOST_BODY
    from src.api.mcp_tools import Tools, at_once

    return StreamableHTTPSessionManager(
        Tools(source, _caller_of, at_once).server(),
        json_response=True,
        stateless=True,
        max_request_body_size=MOST_BODY,
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )


def _caller_of(context: Any) -> Caller:
    caller: Caller = context.request.scope["api.caller"]
    return caller


def serve_stdio(source: ApiContext, caller: Caller) -> None:
    """Speak the protocol over standard input and output until the input ends."""
    import anyio
    from mcp.server.stdio import stdio_server

    from src.api.mcp_tools import Tools

    server = Tools(source, lambda _: caller).server()

    async def serve() -> None:
        async with stdio_server() as (heard, said):
            await server.run(heard, said, server.create_initialization_options())

    anyio.run(serve)
