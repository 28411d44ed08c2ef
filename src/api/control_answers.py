"""Floor 4, wings: the two things a caller may change, both in the safe direction: trip the breaker, ask for a reset.

Each is safe to repeat, is appended to the breaker's history with its actor, and is told in the log with what was
before and after. Nothing here can place an order or arm the breaker.
"""

import logging
from collections.abc import Callable

from src.api.bot_answers import BREAKER_SCHEMA, bot_ids, breaker_json
from src.api.shapes import FLAG, Json, closed, plain
from src.api.source import Asked, Caller, NothingThere, Source
from src.circuit_breaker_state import BreakerState, Cause, as_row, from_events, request_reset, trip
from src.core.errors import StoreUnavailable

log = logging.getLogger(__name__)

CONTROL_SCHEMA = closed(
    {
        "changed": plain(FLAG, "false: it was so already."),
        "before": BREAKER_SCHEMA,
        "after": BREAKER_SCHEMA,
    }
)
_TRIES = 10
Change = Callable[[BreakerState, int], BreakerState]


def trip_breaker(source: Source, asked: Asked, caller: Caller) -> Json:
    """Trip the breaker of a bot: no entries any more, exits go on; a tripped one stays as it is."""
    cause = Cause("agent", asked["reason"])
    return _change(source, asked, caller, "trip", lambda state, now_ms: trip(state, cause, _actor(caller), now_ms))


def ask_for_reset(source: Source, asked: Asked, caller: Caller) -> Json:
    """Note the wish that a person resets the breaker; nothing else changes."""

    def change(state: BreakerState, now_ms: int) -> BreakerState:
        return request_reset(state, _actor(caller), now_ms)

    return _change(source, asked, caller, "request reset", change)


def _actor(caller: Caller) -> str:
    return f"api:{caller.name}"[:64]


def _change(source: Source, asked: Asked, caller: Caller, deed: str, change: Change) -> Json:
    """Append what ``change`` makes of the newest state; begin anew where somebody else wrote in between."""
    bot_id, now_ms = asked.get("bot_id") or source.owner.bot_id, source.now_ms()
    if bot_id not in {*bot_ids(source), source.owner.bot_id}:
        raise NothingThere(f"There is no bot {bot_id} in this mode and world.")
    with source.writer() as database:
        for _ in range(_TRIES):
            before = from_events(database.breaker_events(bot_id, limit=1), now_ms)
            after = change(before, now_ms)
            if after == before or database.append_breaker_event(as_row(after), now_ms, bot_id):
                _tell(deed, caller, bot_id, asked["reason"], before, after)
                data = {"changed": after != before, "before": breaker_json(before), "after": breaker_json(after)}
                return {"data": data}
    raise StoreUnavailable("The circuit breaker is being changed by others at this moment: try again.")


def _tell(deed: str, caller: Caller, bot_id: str, reason: str, before: BreakerState, after: BreakerState) -> None:
    log.warning(
        "control: deed=%s by=%s bot=%s reason=%r before=%s after=%s version=%s changed=%s",
        deed,
        caller.name,
        bot_id,
        reason,
        before.status,
        after.status,
        after.version,
        after != before,
    )
