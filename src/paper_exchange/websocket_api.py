"""The WebSocket API: sessions, and the REST endpoints' answers in its envelope."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.faults import ANSWERS, REQUEST_KINDS, Fault
from src.paper_exchange.gateway import ENDPOINTS, Gateway, Usage
from src.paper_exchange.limits import ORDERS_1M_LIMIT, ORDERS_10S_LIMIT, WEIGHT_LIMIT
from src.paper_exchange.model import VenueError
from src.paper_exchange.public_keys import is_ed25519
from src.paper_exchange.rest_call import Endpoint, Security
from src.paper_exchange.signing import check_age, check_text_signature, mandatory

WEBSOCKET_API_PATH = "/ws-fapi/v1"
PING_EVERY_S = 180.0
DAY_S = 86_400.0
LOGON_WEIGHT = 2
Fields = dict[str, str]

METHODS: dict[str, Endpoint] = {
    method: ENDPOINTS[name]
    for method, name in {
        "ping": "GET /fapi/v1/ping",
        "time": "GET /fapi/v1/time",
        "exchangeInfo": "GET /fapi/v1/exchangeInfo",
        "depth": "GET /fapi/v1/depth",
        "ticker.price": "GET /fapi/v2/ticker/price",
        "ticker.book": "GET /fapi/v1/ticker/bookTicker",
        "order.place": "POST /fapi/v1/order",
        "order.modify": "PUT /fapi/v1/order",
        "order.cancel": "DELETE /fapi/v1/order",
        "order.status": "GET /fapi/v1/order",
        "algoOrder.place": "POST /fapi/v1/algoOrder",
        "algoOrder.cancel": "DELETE /fapi/v1/algoOrder",
        "account.balance": "GET /fapi/v2/balance",
        "v2/account.balance": "GET /fapi/v3/balance",
        "account.status": "GET /fapi/v2/account",
        "v2/account.status": "GET /fapi/v3/account",
        "account.position": "GET /fapi/v2/positionRisk",
        "v2/account.position": "GET /fapi/v3/positionRisk",
        "userDataStream.start": "POST /fapi/v1/listenKey",
        "userDataStream.ping": "PUT /fapi/v1/listenKey",
        "userDataStream.stop": "DELETE /fapi/v1/listenKey",
    }.items()
}


@dataclass(eq=False, slots=True)
class ApiSession:
    """One connection: when it began, and the key that logged on, if one did."""

    socket: web.WebSocketResponse
    address: str
    connected_ms: int
    rate_limits: bool
    key: str = ""
    authorized_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One message: its id (echoed), its method and its parameters as texts."""

    number: str | int | None
    method: str
    fields: Fields


class WebSocketApi:
    """Answers the requests of all connections to ``/ws-fapi/v1``."""

    def __init__(self, exchange: PaperExchange, gateway: Gateway) -> None:
        self._exchange = exchange
        self._gateway = gateway
        self._sessions: dict[ApiSession, None] = {}
        self._session_methods: dict[str, Callable[[ApiSession, Request, Usage], Any]] = {
            "session.logon": self._log_on,
            "session.status": self._status,
            "session.logout": self._log_out,
        }

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends, or has lasted a day."""
        exchange, now = self._exchange, self._exchange.tick()
        if not exchange.limits.may_connect(request.remote or "", now):
            return web.Response(status=429)
        socket = web.WebSocketResponse(heartbeat=PING_EVERY_S, compress=False, max_msg_size=1 << 20)
        try:
            await socket.prepare(request)
        except ConnectionError:  # the client disconnected
            return web.Response(status=499)
        wants_limits = request.query.get("returnRateLimits", "true").lower() != "false"
        session = ApiSession(socket, request.remote or "", now, wants_limits)
        self._sessions[session] = None
        try:
            async with asyncio.timeout(DAY_S / exchange.market_clock.speed):
                await self._serve(session)
        except TimeoutError:
            await socket.close(code=WSCloseCode.GOING_AWAY)
        finally:
            del self._sessions[session]
        return socket

    async def close_all(self) -> None:
        """Close every connection."""
        for session in list(self._sessions):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(session.socket.close(code=WSCloseCode.GOING_AWAY), 0.5)

    async def _serve(self, session: ApiSession) -> None:
        """Answer messages, each in a separate task, so that a slow one does not delay the others."""
        tasks: set[asyncio.Task[None]] = set()
        async for message in session.socket:
            if message.type is WSMsgType.TEXT:
                task = asyncio.create_task(self._reply(session, message.data))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        for task in tasks:
            task.cancel()

    async def _reply(self, session: ApiSession, text: str) -> None:
        usage = Usage()
        number: str | int | None = None
        try:
            request = read_request(text)
            number = request.number
            answer = {"status": 200, "result": await self._answer(session, request, usage)}
        except VenueError as refusal:
            answer = _refusal(refusal)
        except _NoAnswer:
            return
        envelope = {"id": number, **answer}
        if session.rate_limits:
            envelope["rateLimits"] = rate_limits(usage)
        with contextlib.suppress(ConnectionError):
            await session.socket.send_frame(orjson.dumps(envelope), WSMsgType.TEXT)

    async def _answer(self, session: ApiSession, request: Request, usage: Usage) -> Any:
        own = self._session_methods.get(request.method)
        if own is not None:
            return own(session, request, usage)
        endpoint = METHODS.get(request.method)
        if endpoint is None:
            raise VenueError(-1020, f"The method {request.method} is not supported.")
        self._exchange.limits.note(f"WS {request.method}", self._exchange.tick())
        return await self._beside_faults(request, lambda: self._performed(session, endpoint, request, usage))

    def _performed(self, session: ApiSession, endpoint: Endpoint, request: Request, usage: Usage) -> Awaitable[Any]:
        return self._gateway.answer(
            endpoint,
            request.fields,
            session.address,
            identify=lambda: self._account(session, endpoint.security, request.fields),
            usage=usage,
        )

    async def _beside_faults(self, request: Request, perform: Callable[[], Awaitable[Any]]) -> Any:
        """Let the faults that tests switched on for ``WS METHOD`` have their effect."""
        faults = self._exchange.faults.take(REQUEST_KINDS, f"WS {request.method}")
        for fault in faults:
            await asyncio.sleep(fault.delay_ms / 1000)
        worst = next((fault for fault in faults if fault.kind != "delay"), None)
        if worst is None:
            return await perform()
        if worst.placed:
            await perform()
        raise _fault_error(worst)

    def _account(self, session: ApiSession, security: Security, fields: Fields) -> str:
        """Return the account that asks; the session's own where the request names no key."""
        if security is Security.NONE:
            return ""
        key = fields.get("apiKey") or session.key
        secret = self._exchange.config.keys.secret_of(key or None)
        if security.signed:
            check_age(fields, self._exchange.wire_ms(), self._exchange.market_clock.speed)
            if not session.key or "signature" in fields or key != session.key:
                _check(fields, secret)
        return key

    def _log_on(self, session: ApiSession, request: Request, usage: Usage) -> dict[str, Any]:
        """``session.logon``: with an Ed25519 key alone."""
        now = self._exchange.tick()
        usage.weight_1m = self._exchange.limits.charge(session.address, LOGON_WEIGHT, now)
        key = request.fields.get("apiKey")
        secret = self._exchange.config.keys.secret_of(key)
        if not is_ed25519(secret):
            raise VenueError(-4056, "Invalid api key type.")
        check_age(request.fields, self._exchange.wire_ms(), self._exchange.market_clock.speed)
        _check(request.fields, secret)
        session.key, session.authorized_ms = key or "", self._exchange.wire_ms()
        return self._session_state(session)

    def _status(self, session: ApiSession, request: Request, usage: Usage) -> dict[str, Any]:
        """``session.status``."""
        usage.weight_1m = self._exchange.limits.charge(session.address, LOGON_WEIGHT, self._exchange.tick())
        return self._session_state(session)

    def _log_out(self, session: ApiSession, request: Request, usage: Usage) -> dict[str, Any]:
        """``session.logout``: the connection stays."""
        usage.weight_1m = self._exchange.limits.charge(session.address, LOGON_WEIGHT, self._exchange.tick())
        session.key, session.authorized_ms = "", None
        return self._session_state(session)

    def _session_state(self, session: ApiSession) -> dict[str, Any]:
        return {
            "apiKey": session.key or None,
            "authorizedSince": session.authorized_ms,
            "connectedSince": session.connected_ms,
            "returnRateLimits": session.rate_limits,
            "serverTime": self._exchange.wire_ms(),
        }


class _NoAnswer(Exception):
    """A fault of tests: the request is never answered."""


def read_request(text: str) -> Request:
    """Return the request that a message holds; -1013 for anything else."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("method"), str):
        raise VenueError(-1013, "Invalid message.")
    number, parameters = found.get("id"), found.get("params", {})
    if not isinstance(parameters, dict) or not isinstance(number, str | int | None):
        raise VenueError(-1013, "Invalid message.")
    return Request(number, found["method"], _texts(parameters))


def _texts(parameters: dict[str, Any]) -> Fields:
    """Parameters as REST would have brought them; null was not sent."""
    return {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in parameters.items()
        if value is not None
    }


def _check(fields: Mapping[str, str], secret: str) -> None:
    """Check the signature over all parameters in the order of their names."""
    given = fields.get("signature")
    if not given:
        raise mandatory("signature")
    payload = "&".join(f"{name}={value}" for name, value in sorted(fields.items()) if name != "signature")
    check_text_signature(payload, given, secret)


def _fault_error(fault: Fault) -> Exception:
    """What a fault makes of the answer: a refusal, or none at all for a request that hangs or is lost."""
    status, body = ANSWERS.get(fault.kind, (0, None))
    if not isinstance(body, dict):
        return _NoAnswer()
    return VenueError(body["code"], body["msg"], status)


def _refusal(refusal: VenueError) -> dict[str, Any]:
    return {"status": refusal.http_status, "error": {"code": refusal.code, "msg": refusal.msg}}


def rate_limits(usage: Usage) -> list[dict[str, Any]]:
    """Return the limits with their usage; an order has no weight, which Binance reports as -1."""
    weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
    if usage.orders is None:
        return [{**weight, "limit": WEIGHT_LIMIT, "count": usage.weight_1m or 0}]
    rows = (
        ("SECOND", 10, ORDERS_10S_LIMIT, usage.orders.ten_seconds),
        ("MINUTE", 1, ORDERS_1M_LIMIT, usage.orders.minute),
    )
    orders = [
        {"rateLimitType": "ORDERS", "interval": interval, "intervalNum": number, "limit": limit, "count": count}
        for interval, number, limit, count in rows
    ]
    return [{**weight, "limit": -1, "count": -1}, *orders]
