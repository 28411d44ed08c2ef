"""The WebSocket server: subscriptions, routes, and delivery of frames."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from src.domain.clock import monotonic_s
from src.paper_exchange.events import Event, OrderUpdate
from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.feeds import Frame, StreamFeed, open_feed, route_of
from src.paper_exchange.formats_events import event_frame, forced_order_frame, key_expired_frame
from src.paper_exchange.listen_keys import ListenKey
from src.paper_exchange.model import VenueError

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
_NOT_LISTED = -1121
PING_EVERY_S = 180.0
PONG_WITHIN_S = 600.0
MAX_STREAMS = 1024
MAX_MESSAGES_A_SECOND = 10
# A listener that is so many frames behind does not read any more.
MAX_BEHIND = 20_000


@dataclass(eq=False, slots=True)
class Listener:
    """One open socket: its route, what it subscribed to, and the frames that wait for it.

    ``keys`` maps each listen key of the private route to its account, "" for an unknown key.
    """

    socket: web.WebSocketResponse
    route: str
    wrapped: bool
    opened_ms: int
    transport: asyncio.Transport | None
    keys: dict[str, str] = field(default_factory=dict)
    kinds: frozenset[str] = frozenset()
    streams: dict[str, None] = field(default_factory=dict)
    waiting: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    heard_s: float = field(default_factory=monotonic_s)
    pinged_s: float = field(default_factory=monotonic_s)
    second: int = 0
    messages: int = 0

    def send(self, stream: str, raw: bytes) -> None:
        """Queue one frame, wrapped with its stream's name where the socket wants that."""
        if self.waiting.qsize() > MAX_BEHIND:
            self.waiting.put_nowait(None)
            return
        self.waiting.put_nowait(b'{"stream":"%b","data":%b}' % (stream.encode(), raw) if self.wrapped else raw)

    @property
    def account(self) -> str:
        """The account whose events come here, the first of several, "" for none."""
        return next(iter(self.keys.values()), "")

    def key_of(self, account: str) -> str | None:
        """Return the listen key by which the account's events come here, None when they do not."""
        return next((key for key, owner in self.keys.items() if owner == account), None)

    def flows(self, stream: str) -> bool:
        """Return whether a stream flows on this socket's route."""
        return route_of(stream) == ("public" if self.route == "root" else self.route)


@dataclass(slots=True)
class _Source:
    feed: StreamFeed | None
    listeners: dict[Listener, None] = field(default_factory=dict)


class Hub:
    """All open sockets of one exchange."""

    def __init__(self, exchange: PaperExchange) -> None:
        self._exchange = exchange
        self._listeners: dict[Listener, None] = {}
        self._sources: dict[str, _Source] = {}
        exchange.on_events.append(self._tell_events)
        exchange.on_expired_key.append(self._tell_expired)

    def open_sockets(self) -> list[dict[str, Any]]:
        """Return route and streams of every open socket."""
        return [{"route": one.route, "streams": list(one.streams), "account": one.account} for one in self._listeners]

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Serve one socket until it ends; 404 for a path that has none."""
        exchange = self._exchange
        now = exchange.tick()
        plan = _plan(request.path, request.query_string)
        if plan is None:
            return web.Response(status=404)
        route, wrapped, streams = plan
        if not exchange.limits.may_connect(request.remote or "", now):
            return web.Response(status=429)
        if exchange.faults.take(frozenset(("refuse_sockets",)), route):
            return web.Response(status=503)
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=1 << 20)
        try:
            await socket.prepare(request)
        except ConnectionError:  # the client disconnected
            return web.Response(status=499)
        listener = Listener(socket, route, wrapped, now, request.transport)
        if route == "private":
            streams = self._listen_keys(listener, streams, request.query_string)
        self._listeners[listener] = None
        self._subscribe(listener, streams)
        writer = asyncio.create_task(self._write(listener))
        try:
            await self._read(listener)
        finally:
            self._forget(listener)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
        return socket

    def pump(self, now_ms: int) -> None:
        """Send all market frames that are due; called every few milliseconds."""
        for stream, source in list(self._sources.items()):
            if source.feed is None:
                continue
            for frame in _frames_of(source.feed, now_ms):
                self._broadcast(stream, source, orjson.dumps(frame))
        self._look_after(now_ms)

    async def close_all(self, route: str = "", code: int = WSCloseCode.GOING_AWAY) -> int:
        """Close the sockets of one route, or all, and return how many."""
        chosen = [one for one in self._listeners if route in ("", one.route)]
        for one in chosen:
            one.waiting.put_nowait(None)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(one.socket.close(code=code), 0.5)
        return len(chosen)

    def drop_all(self, route: str = "") -> int:
        """Cut the connections of one route, or all, without a word, and return how many."""
        chosen = [one for one in self._listeners if route in ("", one.route)]
        for one in chosen:
            if one.transport is not None:
                one.transport.abort()
        return len(chosen)

    def _listen_keys(self, listener: Listener, names: list[str], query: str) -> list[str]:
        """Return the listen keys in the address, and note which kinds of events it asks for."""
        fields = parse_qs(query)
        listener.kinds = frozenset("/".join(fields.get("events", [])).split("/")) - {""}
        asked = [key for text in fields.get("streams", []) for key in text.split("/")]
        return [key for key in (*names, *asked, *fields.get("listenKey", [])) if key]

    def _subscribe(self, listener: Listener, streams: list[str]) -> None:
        """Start streams; on the private route they are listen keys, and an unknown one sends nothing."""
        if listener.route == "private":
            listener.streams.update(dict.fromkeys(streams))
            listener.keys.update({key: self._exchange.listen_keys.owner(key) or "" for key in streams})
            return
        for stream in streams:
            listener.streams[stream] = None
            if not listener.flows(stream):
                continue
            source = self._sources.get(stream)
            if source is None:
                source = self._sources[stream] = _Source(open_feed(self._exchange, stream))
            source.listeners[listener] = None

    def _unsubscribe(self, listener: Listener, streams: list[str]) -> None:
        for stream in streams:
            listener.streams.pop(stream, None)
            listener.keys.pop(stream, None)
            source = self._sources.get(stream)
            if source is not None:
                source.listeners.pop(listener, None)
                if not source.listeners:
                    del self._sources[stream]

    def _forget(self, listener: Listener) -> None:
        self._unsubscribe(listener, list(listener.streams))
        self._listeners.pop(listener, None)

    def _broadcast(self, stream: str, source: _Source, raw: bytes) -> None:
        for listener in source.listeners:
            if not self._exchange.faults.holds("silence", listener.route):
                listener.send(stream, raw)

    def _tell_events(self, events: list[Event]) -> None:
        for event in events:
            frame = event_frame(event, self._exchange.instruments)
            self._tell_account(event.account, frame["e"], orjson.dumps(frame))
            if isinstance(event, OrderUpdate) and event.trade and event.order.client_id.startswith("autoclose-"):
                forced = orjson.dumps(forced_order_frame(event))
                for stream in (f"{event.order.symbol.lower()}@forceOrder", "!forceOrder@arr"):
                    if stream in self._sources:
                        self._broadcast(stream, self._sources[stream], forced)

    def _tell_account(self, account: str, kind: str, raw: bytes) -> None:
        faults = self._exchange.faults
        if faults.holds("silence", "private"):
            return
        late = faults.take(frozenset(("late",)), "private")
        copies = 2 if faults.take(frozenset(("duplicate",)), "private") else 1
        chosen = [
            (one, key)
            for one in self._listeners
            if (key := one.key_of(account)) is not None and (not one.kinds or kind in one.kinds)
        ]
        for one, key in chosen * copies:
            if late:
                asyncio.get_running_loop().call_later(late[0].delay_ms / 1000, one.send, key, raw)
            else:
                one.send(key, raw)

    def _tell_expired(self, key: ListenKey) -> None:
        raw = orjson.dumps(key_expired_frame(key.key, self._exchange.venue.now_ms))
        self._tell_account(key.account, "listenKeyExpired", raw)
        for one in self._listeners:
            if key.key in one.keys:
                one.keys[key.key] = ""

    def _look_after(self, now_ms: int) -> None:
        """Ping every three minutes; end those that are too old, too quiet, or whose key was closed."""
        now_s = monotonic_s()
        for one in list(self._listeners):
            if now_ms - one.opened_ms >= DAY_MS or now_s - one.heard_s > PONG_WITHIN_S:
                one.waiting.put_nowait(None)
                one.heard_s, one.opened_ms = now_s, now_ms
            elif now_s - one.pinged_s >= PING_EVERY_S:
                one.pinged_s = now_s
                asyncio.ensure_future(_ping(one.socket))  # noqa: RUF006  # ends by itself with the socket

    async def _write(self, listener: Listener) -> None:
        with contextlib.suppress(ConnectionError):
            while (raw := await listener.waiting.get()) is not None:
                await listener.socket.send_frame(raw, WSMsgType.TEXT)
            await listener.socket.close(code=WSCloseCode.GOING_AWAY)

    async def _read(self, listener: Listener) -> None:
        async for message in listener.socket:
            listener.heard_s = monotonic_s()
            if message.type is WSMsgType.PING:
                await listener.socket.pong(message.data)
            elif message.type is WSMsgType.TEXT and not self._take(listener, message.data):
                await listener.socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Too many requests")

    def _take(self, listener: Listener, text: str) -> bool:
        """Answer one message; False when they come too fast."""
        second = int(listener.heard_s)
        listener.messages = listener.messages + 1 if second == listener.second else 1
        listener.second = second
        if listener.messages > MAX_MESSAGES_A_SECOND:
            return False
        listener.waiting.put_nowait(orjson.dumps(self._answer(listener, text)))
        return True

    def _answer(self, listener: Listener, text: str) -> dict[str, Any]:
        try:
            command = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            return {"error": {"code": 3, "msg": f"Invalid JSON: {error}"}}
        if not isinstance(command, dict) or not isinstance(command.get("method"), str):
            return {"error": {"code": 2, "msg": "Invalid request: unknown variant"}}
        names, number = command.get("params", []), command.get("id")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return {"error": {"code": 2, "msg": "Invalid request: params must be strings"}, "id": number}
        if command["method"] == "LIST_SUBSCRIPTIONS":
            return {"result": list(listener.streams), "id": number}
        if command["method"] == "SUBSCRIBE":
            if len(listener.streams) + len(names) > MAX_STREAMS:
                return {"error": {"code": 2, "msg": f"Too many streams: at most {MAX_STREAMS}"}, "id": number}
            self._subscribe(listener, names)
        elif command["method"] == "UNSUBSCRIBE":
            self._unsubscribe(listener, names)
        else:
            return {"error": {"code": 2, "msg": f"Invalid request: unknown method {command['method']}"}, "id": number}
        return {"result": None, "id": number}


async def _ping(socket: web.WebSocketResponse) -> None:
    with contextlib.suppress(ConnectionError):
        await socket.ping()


def _plan(path: str, query: str) -> tuple[str, bool, list[str]] | None:
    """Return route, whether frames are wrapped, and the streams that the address names; None for a wrong address."""
    parts = [part for part in path.split("/") if part]
    route = parts.pop(0) if parts and parts[0] in ("public", "market", "private") else "root"
    if not parts or parts[0] not in ("ws", "stream"):
        return None
    wrapped = parts[0] == "stream"
    names = parts[1:]
    if wrapped and route != "private":
        names = [name for text in parse_qs(query).get("streams", []) for name in text.split("/") if name]
    return route, wrapped, names


def _frames_of(feed: StreamFeed, now_ms: int) -> list[Frame]:
    """Return the feed's frames, none for a delisted contract."""
    try:
        return list(feed.frames(now_ms))
    except VenueError as error:
        if error.code != _NOT_LISTED:
            raise
        return []
