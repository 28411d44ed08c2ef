"""The two operations that change something, both reducing risk: trip the breaker, request a reset.

Each is safe to repeat, is appended to the breaker's history with its actor, and is told in the log with what was
before and after. Nothing here can place an order or arm the breaker.
"""

import logging
from collections.abc import Callable

from src.agents.circuit_breaker_service import change_breaker
from src.api.bot_operations import BREAKER_SCHEMA, bot_ids, breaker_json
from src.api.context import ApiContext, Caller, NotFound, Params
from src.api.serializers import FLAG, Json, closed, plain
from src.domain.circuit_breaker import BreakerState, TripCause, request_reset, trip

log = logging.getLogger(__name__)

CONTROL_SCHEMA = closed(
    {
        "changed": plain(FLAG, "false: it was so already."),
        "before": BREAKER_SCHEMA,
        "after": BREAKER_SCHEMA,
    }
)
Change = Callable[[BreakerState, int], BreakerState]


def trip_breaker(source: ApiContext, asked: Params, caller: Caller) -> Json:
    """Trip the breaker of a bot: no entries any more, exits go on; a tripped one stays as it is."""
    cause = TripCause("agent", asked["reason"])
    return _change(source, asked, caller, "trip", lambda state, now_ms: trip(state, cause, _actor(caller), now_ms))


def ask_for_reset(source: ApiContext, asked: Params, caller: Caller) -> Json:
    """Record the request for a reset by a person; nothing else changes."""

    def change(state: BreakerState, now_ms: int) -> BreakerState:
        return request_reset(state, _actor(caller), now_ms)

    return _change(source, asked, caller, "request reset", change)


def _actor(caller: Caller) -> str:
    return f"api:{caller.name}"[:64]


def _change(source: ApiContext, asked: Params, caller: Caller, action: str, change: Change) -> Json:
    """Append what ``change`` makes of the newest state; start again if another process wrote in between."""
    bot_id, now_ms = asked.get("bot_id") or source.owner.bot_id, source.now_ms()
    if bot_id not in {*bot_ids(source), source.owner.bot_id}:
        raise NotFound(f"There is no bot {bot_id} in this mode and world.")
    with source.writer() as database:
        before, after = change_breaker(database, bot_id, now_ms, lambda state: change(state, now_ms))
    _tell(action, caller, bot_id, asked["reason"], before, after)
    return {"data": {"changed": after != before, "before": breaker_json(before), "after": breaker_json(after)}}


def _tell(action: str, caller: Caller, bot_id: str, reason: str, before: BreakerState, after: BreakerState) -> None:
    log.warning(
        "control: action=%s by=%s bot=%s reason=%r before=%s after=%s version=%s changed=%s",
        action,
        caller.name,
        bot_id,
        reason,
        before.status,
        after.status,
        after.version,
        after != before,
    )
