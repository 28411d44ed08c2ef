"""A small scripted HTTP server on the loopback that answers as a test tells it: Binance's manners alone."""

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

DROP = "drop"
HANG = "hang"


@dataclass(frozen=True)
class Answer:
    """One scripted reply; ``body`` is sent as JSON, or as it is when it is text; DROP and HANG send nothing."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What was asked: method, path, parameters of query and body together, and header fields."""

    method: str
    path: str
    parameters: dict[str, str]
    headers: dict[str, str]


class StandIn:
    """The server; ``script`` sets the replies of a path in order (the last one stays)."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.base_url = ""
        self._script: dict[tuple[str, str], list[Answer | Callable[[Request], Answer]]] = defaultdict(list)
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def script(self, method: str, path: str, *answers: Answer | Callable[[Request], Answer]) -> None:
        self._script[method, path] = list(answers)

    def asked(self, method: str, path: str) -> list[Request]:
        return [each for each in self.requests if (each.method, each.path) == (method, path)]

    def __enter__(self) -> "StandIn":
        self._thread.start()
        assert self._started.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(5)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        self.base_url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
        self._started.set()
        await self._ended.wait()
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        parameters = dict(request.query) | dict(parse_qsl(await request.text()))
        seen = Request(request.method, request.path, parameters, dict(request.headers))
        self.requests.append(seen)
        waiting = self._script[request.method, request.path]
        if not waiting:
            return web.json_response(
                {"code": -5000, "msg": f"no script for {request.method} {request.path}"}, status=404
            )
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        answer = answer(seen) if callable(answer) else answer
        if answer.body == HANG:
            await self._ended.wait()
        if answer.body in (DROP, HANG):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        return web.Response(text=text, status=answer.status, headers=answer.headers, content_type="application/json")
