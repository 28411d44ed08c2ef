"""The states of one symbol's position, the table of their transitions, and growing pauses."""

from enum import StrEnum


class PositionState(StrEnum):
    """Where the bot's own position of one symbol stands."""

    FLAT = "FLAT"
    ENTERING = "ENTERING"
    OPEN = "OPEN"
    EXITING = "EXITING"
    UNKNOWN = "UNKNOWN"


class PositionEvent(StrEnum):
    """What moves a position from one state to another."""

    ENTRY_STARTED = "entry started"
    ENTRY_REFUSED = "entry refused"
    ENTRY_FILLED = "entry filled"
    INCREASE_STARTED = "increase started"
    INCREASE_REFUSED = "increase refused"
    OUTCOME_UNKNOWN = "outcome unknown"
    EXIT_STARTED = "exit started"
    CLOSED = "position closed"
    MISMATCH = "exchange and journal differ"
    FOUND_FLAT = "reconciled: flat"
    FOUND_OPEN = "reconciled: open"
    FOUND_EXITING = "reconciled: exit to be continued"


_S, _E = PositionState, PositionEvent
TRANSITIONS: dict[tuple[PositionState, PositionEvent], PositionState] = {
    (_S.FLAT, _E.ENTRY_STARTED): _S.ENTERING,
    (_S.FLAT, _E.FOUND_FLAT): _S.FLAT,
    (_S.FLAT, _E.FOUND_OPEN): _S.OPEN,
    (_S.ENTERING, _E.ENTRY_REFUSED): _S.FLAT,
    (_S.ENTERING, _E.ENTRY_FILLED): _S.OPEN,
    (_S.ENTERING, _E.OUTCOME_UNKNOWN): _S.UNKNOWN,
    (_S.ENTERING, _E.INCREASE_REFUSED): _S.OPEN,
    (_S.OPEN, _E.INCREASE_STARTED): _S.ENTERING,
    (_S.OPEN, _E.EXIT_STARTED): _S.EXITING,
    (_S.OPEN, _E.CLOSED): _S.FLAT,
    (_S.OPEN, _E.MISMATCH): _S.UNKNOWN,
    (_S.OPEN, _E.FOUND_OPEN): _S.OPEN,
    (_S.EXITING, _E.EXIT_STARTED): _S.EXITING,
    (_S.EXITING, _E.CLOSED): _S.FLAT,
    (_S.EXITING, _E.MISMATCH): _S.UNKNOWN,
    (_S.EXITING, _E.FOUND_EXITING): _S.EXITING,
    (_S.UNKNOWN, _E.EXIT_STARTED): _S.EXITING,
    (_S.UNKNOWN, _E.OUTCOME_UNKNOWN): _S.UNKNOWN,
    (_S.UNKNOWN, _E.CLOSED): _S.FLAT,
    (_S.UNKNOWN, _E.FOUND_FLAT): _S.FLAT,
    (_S.UNKNOWN, _E.FOUND_OPEN): _S.OPEN,
    (_S.UNKNOWN, _E.FOUND_EXITING): _S.EXITING,
}
"""All transitions there are; ``docs/execution.md`` shows the same table."""


def next_state(state: PositionState, event: PositionEvent) -> PositionState:
    """Return the state after an event; what the table does not know leads to UNKNOWN, which asks the exchange."""
    return TRANSITIONS.get((state, event), PositionState.UNKNOWN)


class Backoff:
    """A pause that doubles with every failure, up to a longest one; ``failures`` counts them."""

    def __init__(self, first_ms: int, longest_ms: int) -> None:
        self._first_ms, self._longest_ms = first_ms, longest_ms
        self._failed_ms, self._due_ms = 0, 0
        self.failures = 0

    def due(self, now_ms: int) -> bool:
        """Return whether the pause is over; also when the clock was set back to before it began."""
        return not self._failed_ms <= now_ms < self._due_ms

    def fail(self, now_ms: int) -> int:
        """Count a failure and return the pause that begins now, in milliseconds."""
        pause_ms = min(self._first_ms << min(self.failures, 20), self._longest_ms)
        self.failures += 1
        self._failed_ms, self._due_ms = now_ms, now_ms + pause_ms
        return pause_ms

    def wait_until(self, due_ms: int) -> None:
        """Let the present pause end at ``due_ms``."""
        self._due_ms = due_ms

    def reset(self) -> None:
        """Forget the failures: the next attempt is due at once."""
        self._failed_ms, self._due_ms, self.failures = 0, 0, 0
