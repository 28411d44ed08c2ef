"""Tells the page that something changed (server-sent events); the page then fetches the snapshot.

A stream holds a thread of the server, so there are few at a time, and each ends after five minutes: losing one loses
nothing but a few seconds.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from flask import Blueprint, Response, current_app, request
from sqlalchemy import func, select
from werkzeug.exceptions import ServiceUnavailable

from src.dashboard.context import DashboardContext, dashboard_context
from src.dashboard.states import DOWN_AFTER_S, ENDED
from src.domain.clock import instant_of, monotonic_s
from src.domain.errors import StoreCorrupt, StoreUnavailable
from src.storage.tables import bot_status, control_requests, positions, signals, trades

blueprint = Blueprint("events", __name__)

MOST_STREAMS: Final = 6
"""Of the server's threads; the others answer requests. A seventh tab polls."""
_LOOK_EVERY_S: Final = 1.0
_PING_EVERY_S: Final = 15.0
_LASTS_S: Final = 300.0
_AGAIN_MS: Final = 3_000


class Streams:
    """The streams of one application: how many may be open, and whether they must end."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(MOST_STREAMS)
        self._ended = threading.Event()

    def take(self) -> Callable[[], None]:
        """Take a slot and return what gives it back; 503 while all are taken."""
        if not self._free.acquire(blocking=False):
            raise ServiceUnavailable("Enough streams are open: poll instead.", retry_after=30)
        return self._free.release

    def wait(self, seconds: float) -> bool:
        """Wait; return whether the streams must end."""
        return self._ended.wait(seconds)

    def end(self) -> None:
        """Let every stream end: the server is stopping."""
        self._ended.set()


@blueprint.get("/api/events")
def events() -> Response:
    """Return a stream of ``changed`` events for ``bot``; 503 while as many as may be are open."""
    here, bot = dashboard_context(), request.args.get("bot", "")[:64] or dashboard_context().settings.bot_id
    streams: Streams = current_app.extensions["streams"]
    give_back = streams.take()
    left = request.environ.get("waitress.client_disconnected", _never)
    answer = Response(_stream(here, bot, lambda s: streams.wait(s) or left()), content_type="text/event-stream")
    answer.call_on_close(give_back)
    answer.headers["X-Accel-Buffering"] = "no"
    return answer


def _never() -> bool:
    """What a server that cannot tell says of whether the browser left."""
    return False


def _stream(here: DashboardContext, bot: str, ends_within: Callable[[float], bool]) -> Iterator[str]:
    """Yield an event for each change until the stream's time is up, the browser left or the server stops."""
    began_s = pinged_s = monotonic_s()
    seen = _version(here, bot)
    yield f"retry: {_AGAIN_MS}\n\n"
    while monotonic_s() - began_s < _LASTS_S and not ends_within(_LOOK_EVERY_S):
        now = _version(here, bot)
        if now != seen:
            seen, pinged_s = now, monotonic_s()
            yield f"event: changed\ndata: {now}\n\n"
        elif monotonic_s() - pinged_s >= _PING_EVERY_S:
            pinged_s = monotonic_s()
            yield ": still here\n\n"


def _version(here: DashboardContext, bot: str) -> str:
    """Return a text that changes when the bot took a turn, traded, or answered."""
    newest = [  # along the index of time: the greatest id would have to be sought among all
        select(table.c.id)
        .where(table.c.bot_id == bot)
        .order_by(table.c.timestamp.desc(), table.c.id.desc())
        .limit(1)
        .scalar_subquery()
        for table in (signals, trades, positions)
    ]
    last_answer = select(func.max(control_requests.c.finished_at)).where(control_requests.c.bot_id == bot)
    beats = select(bot_status).where(bot_status.c.bot_id == bot).order_by(bot_status.c.process)
    try:
        with here.database.read() as connection:
            row = connection.execute(select(*newest, last_answer.scalar_subquery())).one()
            alive = [_alive(dict(each)) for each in connection.execute(beats).mappings()]
    except (StoreUnavailable, StoreCorrupt):
        return "unknown"
    return "-".join(str(each or 0) for each in (*row, *alive))


def _alive(beat: Mapping[str, Any]) -> str:
    """What of a heartbeat concerns the page at once: a start, an end, the last turn, an exchange that fell silent."""
    market = beat["last_market"] or beat["started_at"]
    silent_s = (instant_of(beat["timestamp"]) - instant_of(market)) / 1000 / float(beat["speed"])
    ended = beat["phase"] if beat["phase"] in ENDED else ""
    return f"{beat['started_at']}{ended}{beat['cycle_finished']}{silent_s > DOWN_AFTER_S / 2}"
