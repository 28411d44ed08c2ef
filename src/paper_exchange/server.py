"""The HTTP server: REST and WebSockets on one port, authentication, rate limits, answers."""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from aiohttp import web

from src.domain.clock import utc_text
from src.paper_exchange import rest_account, rest_algo, rest_charts, rest_context, rest_market, rest_orders
from src.paper_exchange.control import Control
from src.paper_exchange.exchange import SAVE_EVERY_S, PaperExchange
from src.paper_exchange.faults import ANSWERS, REQUEST_KINDS, Fault
from src.paper_exchange.model import VenueError
from src.paper_exchange.rest_call import Call, Endpoint, Security
from src.paper_exchange.signing import check_age, check_signature, mandatory, merged_parameters
from src.paper_exchange.streams import Hub

log = logging.getLogger(__name__)

BEAT_S = 0.02
ENDPOINTS: dict[str, Endpoint] = {
    endpoint.name: endpoint
    for room in (rest_market, rest_charts, rest_account, rest_orders, rest_algo, rest_context)
    for endpoint in room.ENDPOINTS
}
_CHANGING = frozenset(
    endpoint.name
    for endpoint in ENDPOINTS.values()
    if endpoint.method != "GET" and endpoint.path != "/fapi/v1/order/test"
)
_JSON = "application/json"


class Server:
    """The network side of one exchange."""

    def __init__(self, exchange: PaperExchange) -> None:
        self._exchange = exchange
        self._hub = Hub(exchange)
        self._control = Control(exchange, self._hub)
        self._side = ThreadPoolExecutor(max_workers=1, thread_name_prefix="charts")
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")
        repeated = exchange.repeat(self._repeat)
        if repeated:
            log.info("journal carried out again: commands=%d", repeated)

    def application(self) -> web.Application:
        """Return what aiohttp serves; every path leads to one door."""
        application = web.Application(client_max_size=1 << 20)
        application.router.add_route("*", "/{path:.*}", self._enter)
        return application

    async def beat(self) -> None:
        """Keep time: let the venue go on and send what is due. Ends only by a failure."""
        ended = False
        while True:
            await asyncio.sleep(BEAT_S)
            self._hub.pump(self._exchange.tick())
            if self._exchange.pace.finished and not ended:
                ended = True
                log.info("recording ended: market time stands at %s", utc_text(self._exchange.venue.now_ms))

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
        self._side.shutdown(wait=False, cancel_futures=True)
        self._disk.shutdown(wait=True)

    async def _enter(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
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
        except ConnectionError:  # whoever asked is gone in the middle of the question
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
        exchange, address, headers = self._exchange, request.remote or "", dict[str, str]()
        now = exchange.tick()
        try:
            if endpoint.funding_pool:
                exchange.limits.charge_funding(address, now)
            else:
                weight = endpoint.weight_of(parameters)
                headers["X-MBX-USED-WEIGHT-1M"] = str(exchange.limits.charge(address, weight, now))
            account = self._account(request, endpoint, parameters, query, body)
            if endpoint.orders != (0, 0):
                count = exchange.limits.charge_orders(account, *endpoint.orders, now)
                headers["X-MBX-ORDER-COUNT-10S"] = str(count.ten_seconds)
                headers["X-MBX-ORDER-COUNT-1M"] = str(count.minute)
            found = await self._perform(endpoint, Call(parameters, account, now))
        except VenueError as refusal:
            return _error(refusal.code, refusal.msg, refusal.http_status, headers)
        return _reply(found, 200, headers)

    def _account(
        self, request: web.Request, endpoint: Endpoint, parameters: Mapping[str, str], query: str, body: str
    ) -> str:
        """Return the account that asks, "" where anybody may; raises ``VenueError`` for a stranger."""
        if endpoint.security is Security.NONE:
            return ""
        key = request.headers.get("X-MBX-APIKEY")
        secret = self._exchange.config.keys.secret_of(key)
        if endpoint.security.signed:
            if not parameters.get("signature"):
                raise mandatory("signature")
            check_age(parameters, self._exchange.wire_ms(), self._exchange.pace.speed)
            check_signature(parameters, query, body, secret)
        return key or ""

    async def _perform(self, endpoint: Endpoint, call: Call) -> Any:
        """Carry out the request; what changes something is on the disk before it happens."""
        exchange = self._exchange
        if endpoint.long is not None and endpoint.long(call.parameters):
            return await asyncio.get_running_loop().run_in_executor(self._side, endpoint.handler, exchange, call)
        if endpoint.name not in _CHANGING:
            return endpoint.handler(exchange, call)
        exchange.remember(call.account, endpoint.name, _kept(call.parameters))
        try:
            return endpoint.handler(exchange, call)
        finally:
            exchange.publish()

    def _repeat(self, name: str, account: str, parameters: dict[str, str]) -> None:
        """Carry out a command of the journal; one that was refused then is refused now."""
        endpoint = ENDPOINTS[name]
        try:
            endpoint.handler(self._exchange, Call(parameters, account, self._exchange.venue.now_ms))
        except VenueError as refusal:
            log.debug("refused again: endpoint=%s code=%d", name, refusal.code)


def _kept(parameters: Mapping[str, str]) -> dict[str, str]:
    """What the journal keeps of a request: everything but its signature."""
    return {name: value for name, value in parameters.items() if name != "signature"}


def _exempt(fault: Fault, parameters: Mapping[str, str]) -> bool:
    """Throttling spares what only reduces risk."""
    reducing = "true" in (parameters.get("reduceOnly", "").lower(), parameters.get("closePosition", "").lower())
    return fault.kind == "throttled" and reducing


def _reply(found: Any, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(found), status=status, headers=headers, content_type=_JSON)


def _error(code: int, msg: str, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    return _reply({"code": code, "msg": msg}, status, headers)
