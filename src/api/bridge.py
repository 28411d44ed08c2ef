"""Floor 4, wings: the Model Context Protocol inside a WSGI server, and over standard input and output.

The SDK is asynchronous and weighs as much as the rest of the server together, so it is loaded with the first call
and lives in one event loop of its own. Every call stands alone: no session, no stream.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, cast

from src.api.source import Caller, Source

if TYPE_CHECKING:
    from starlette.applications import Starlette

_START_S = 30.0
_STOP_S = 5.0


class McpBridge:
    """A WSGI application that answers ``POST /mcp``; who asks stands in ``environ["api.caller"]``."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ending: asyncio.Event | None = None
        self._living: Future[None] | None = None
        self._answer: Callable[..., Iterable[bytes]] | None = None

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one call."""
        with self._lock:
            answer = self._answer = self._answer or self._begin()
        return answer(environ, start_response)

    def close(self) -> None:
        """End the event loop, if there is one."""
        if self._loop is None or self._ending is None or self._living is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._ending.set)
        self._living.result(_STOP_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_S)
        self._loop = None

    def _begin(self) -> Callable[..., Iterable[bytes]]:
        from a2wsgi import ASGIMiddleware

        app = mcp_app(self._source)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mcp", daemon=True)
        self._thread.start()
        self._ending, ready = asyncio.Event(), threading.Event()
        self._living = asyncio.run_coroutine_threadsafe(_live(app, self._ending, ready), self._loop)
        if not ready.wait(_START_S):
            raise TimeoutError("the protocol's server did not begin")
        return cast(Callable[..., Iterable[bytes]], ASGIMiddleware(cast(Any, app), _STOP_S, self._loop))


async def _live(app: "Starlette", ending: asyncio.Event, ready: threading.Event) -> None:
    """Keep the application's lifespan open, in one task from its beginning to its end."""
    async with app.router.lifespan_context(app):
        ready.set()
        await ending.wait()


def mcp_app(source: Source) -> "Starlette":
    """Return the protocol as an ASGI application; host, origin and key are checked by the door in front of it."""
    from mcp.server.transport_security import TransportSecuritySettings

    from src.api.door import MOST_BODY
    from src.api.tools import Tools

    return (
        Tools(source, _caller_of)
        .server()
        .streamable_http_app(
            streamable_http_path="/mcp",
            json_response=True,
            stateless_http=True,
            max_request_body_size=MOST_BODY,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
    )


def _caller_of(context: Any) -> Caller:
    caller: Caller = context.request.scope["wsgi_environ"]["api.caller"]
    return caller


def serve_stdio(source: Source, caller: Caller) -> None:
    """Speak the protocol over standard input and output until the input ends."""
    import anyio
    from mcp.server.stdio import stdio_server

    from src.api.tools import Tools

    server = Tools(source, lambda _: caller).server()

    async def serve() -> None:
        async with stdio_server() as (heard, said):
            await server.run(heard, said, server.create_initialization_options())

    anyio.run(serve)
