"""The HTTP server: REST and WebSockets on one port, authentication, rate limits, answers."""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from aiohttp import web

from src.domain.clock import utc_text
from src.paper_exchange.control import Control
from src.paper_exchange.exchange import SAVE_EVERY_S, PaperExchange
from src.paper_exchange.faults import ANSWERS, REQUEST_KINDS, Fault
from src.paper_exchange.gateway import ENDPOINTS, Gateway, Usage
from src.paper_exchange.model import VenueError
from src.paper_exchange.rest_call import Endpoint, Security
from src.paper_exchange.signing import check_age, check_signature, mandatory, merged_parameters
from src.paper_exchange.streams import Hub
from src.paper_exchange.websocket_api import WEBSOCKET_API_PATH, WebSocketApi

log = logging.getLogger(__name__)

BEAT_S = 0.02
_JSON = "application/json"


class Server:
    """The network side of one exchange."""

    def __init__(self, exchange: PaperExchange) -> None:
        self._exchange = exchange
        self._hub = Hub(exchange)
        self._control = Control(exchange, self._hub)
        self._gateway = Gateway(exchange)
        self._websocket_api = WebSocketApi(exchange, self._gateway)
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")

    def application(self) -> web.Application:
        """Return what aiohttp serves; every path is handled by one entry point."""
        application = web.Application(client_max_size=1 << 20)
        application.router.add_route("*", "/{path:.*}", self._enter)
        return application

    async def beat(self) -> None:
        """Advance the venue with market time and send due events. Ends only by a failure."""
        ended = False
        while True:
            await asyncio.sleep(BEAT_S)
            self._hub.pump(self._exchange.tick())
            if self._exchange.market_clock.finished and not ended:
                ended = True
                log.info("recording ended: market time stopped at %s", utc_text(self._exchange.venue.now_ms))

    async def keep(self) -> None:
        """Keep what changed on the disk, a few times a second at most. Ends only by a failure."""
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            if self._exchange.save_is_due():
                await self._exchange.save_beside(self._disk)
            else:
                await self._exchange.sync_beside(self._disk)

    async def end(self) -> None:
        """Say goodbye to all sockets."""
        await self._hub.close_all()
        await self._websocket_api.close_all()
        self._gateway.close()
        self._disk.shutdown(wait=True)

    async def _enter(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            if request.path.rstrip("/") == WEBSOCKET_API_PATH:
                return await self._websocket_api.accept(request)
            return await self._hub.accept(request)
        if request.path.startswith("/control/"):
            return await self._control.answer(request)
        name = f"{request.method} {request.path}"
        endpoint = ENDPOINTS.get(name)
        if endpoint is None:
            return _error(-5000, f"Path {request.path}, Method {request.method} is invalid", 404)
        self._exchange.limits.note(name, self._exchange.tick())
        query = request.raw_path.partition("?")[2]
        try:
            body = await request.text() if request.can_read_body else ""
        except ConnectionError:  # the client disconnected during the request
            return web.Response(status=499)
        parameters = merged_parameters(query, body)
        faults = [fault for fault in self._exchange.faults.take(REQUEST_KINDS, name) if not _exempt(fault, parameters)]
        for fault in faults:
            await asyncio.sleep(fault.delay_ms / 1000)
        worst = next((fault for fault in faults if fault.kind != "delay"), None)
        if worst is not None and not worst.placed:
            return await self._misbehave(request, worst)
        answer = await self._answer(request, endpoint, parameters, query, body)
        return answer if worst is None else await self._misbehave(request, worst)

    async def _misbehave(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.kind == "hang":
            await asyncio.Event().wait()
        if fault.kind == "lost":
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        status, body = ANSWERS[fault.kind]
        if isinstance(body, str):
            return web.Response(text=body, status=status, content_type="text/html")
        return _reply(body, status)

    async def _answer(
        self, request: web.Request, endpoint: Endpoint, parameters: Mapping[str, str], query: str, body: str
    ) -> web.Response:
        usage = Usage()
        try:
            found = await self._gateway.answer(
                endpoint,
                parameters,
                request.remote or "",
                identify=lambda: self._account(request, endpoint, parameters, query, body),
                usage=usage,
            )
        except VenueError as refusal:
            return _error(refusal.code, refusal.msg, refusal.http_status, _headers(usage))
        return _reply(found, 200, _headers(usage))

    def _account(
        self, request: web.Request, endpoint: Endpoint, parameters: Mapping[str, str], query: str, body: str
    ) -> str:
        """Return the account that asks, "" where anybody may; raises ``VenueError`` for an unknown key."""
        if endpoint.security is Security.NONE:
            return ""
        key = request.headers.get("X-MBX-APIKEY")
        secret = self._exchange.config.keys.secret_of(key)
        if endpoint.security.signed:
            if not parameters.get("signature"):
                raise mandatory("signature")
            check_age(parameters, self._exchange.wire_ms(), self._exchange.market_clock.speed)
            check_signature(parameters, query, body, secret)
        return key or ""


def _headers(usage: Usage) -> dict[str, str]:
    headers: dict[str, str] = {}
    if usage.weight_1m is not None:
        headers["X-MBX-USED-WEIGHT-1M"] = str(usage.weight_1m)
    if usage.orders is not None:
        headers["X-MBX-ORDER-COUNT-10S"] = str(usage.orders.ten_seconds)
        headers["X-MBX-ORDER-COUNT-1M"] = str(usage.orders.minute)
    return headers


def _exempt(fault: Fault, parameters: Mapping[str, str]) -> bool:
    """Throttling spares what only reduces risk."""
    reducing = "true" in (parameters.get("reduceOnly", "").lower(), parameters.get("closePosition", "").lower())
    return fault.kind == "throttled" and reducing


def _reply(found: Any, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(found), status=status, headers=headers, content_type=_JSON)


def _error(code: int, msg: str, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    return _reply({"code": code, "msg": msg}, status, headers)
