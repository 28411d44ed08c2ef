"""The circuit breaker: when trading must stop, and who may resume it.

It blocks entries only; exits always pass. Anybody may trip it, nobody but a person may reset it. The last event
written is the state; a missing or unreadable one counts as TRIPPED.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple


class BreakerStatus(StrEnum):
    """Whether entries may pass (ARMED) or not (TRIPPED)."""

    ARMED = "ARMED"
    TRIPPED = "TRIPPED"


@dataclass(frozen=True, slots=True)
class BreakerState:
    """The breaker after an event; ``version`` grows by one with each.

    ``trigger`` is the short name of what caused it, ``reason`` one sentence for people, ``since_ms`` the instant
    the status began. ``reset_requested_by`` is empty when nobody has asked for a reset.
    """

    status: BreakerStatus
    reason: str
    trigger: str
    since_ms: int
    actor: str
    version: int = 1
    reset_requested_by: str = ""
    reset_requested_ms: int = 0

    @property
    def tripped(self) -> bool:
        """Whether entries are blocked."""
        return self.status is BreakerStatus.TRIPPED

    @property
    def counted_from_ms(self) -> int:
        """The instant from which losses count; a database's first state was set by no market's clock, so all do."""
        return 0 if self.trigger == "start" else self.since_ms


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """From which figure on the breaker trips by itself."""

    max_consecutive_losses: int = 8
    max_drawdown_share: float = 0.15
    max_loss_rate: float = 0.85
    loss_rate_trades: int = 30
    max_exchange_errors: int = 10
    error_window_s: int = 600
    max_stale_s: float = 600.0
    max_volatility_ratio: float = 15.0

    def __post_init__(self) -> None:
        counts = (self.max_consecutive_losses, self.loss_rate_trades, self.max_exchange_errors, self.error_window_s)
        if min(counts) < 1:
            raise ValueError("counts and windows of the circuit breaker must be at least 1")
        if not (0 < self.max_drawdown_share <= 1 and 0 < self.max_loss_rate <= 1):
            raise ValueError("max_drawdown_share and max_loss_rate must lie in (0, 1]")
        if not (self.max_stale_s > 0 and self.max_volatility_ratio > 1):
            raise ValueError("max_stale_s must be above 0 and max_volatility_ratio above 1")


@dataclass(frozen=True, slots=True)
class RiskFigures:
    """What the breaker looks at.

    Losses, loss rate (over ``loss_rate_trades`` closed trades) and drawdown (share below the highest equity) are
    counted from the instant the breaker was last armed; ``exchange_errors`` within the error window;
    ``stale_s`` is the age of the newest market data; ``volatility_ratio`` the ATR against its own usual value.
    """

    consecutive_losses: int = 0
    drawdown_share: float = 0.0
    loss_rate: float = 0.0
    loss_rate_trades: int = 0
    exchange_errors: int = 0
    stale_s: float = 0.0
    volatility_ratio: float = 1.0


class TripCause(NamedTuple):
    """Why the breaker trips: the trigger's short name and one sentence."""

    trigger: str
    reason: str


class ResetAnswer(NamedTuple):
    """The outcome of a reset request: the state, and why it was refused (empty when it was done)."""

    state: BreakerState
    refused: str


def born(now_ms: int) -> BreakerState:
    """Return the first state of a new database: ARMED."""
    return BreakerState(BreakerStatus.ARMED, "The circuit breaker was set up.", "start", now_ms, "system")


def unreadable(now_ms: int, what: str, version: int = 0) -> BreakerState:
    """Return the state that a missing or damaged record stands for: TRIPPED; ``version`` is the newest there is."""
    reason = f"The state of the circuit breaker cannot be read: {what}."
    return BreakerState(BreakerStatus.TRIPPED, reason, "unreadable", now_ms, "system", version)


def evaluate(figures: RiskFigures, limits: BreakerLimits) -> TripCause | None:
    """Return the first reason to trip, or None. A figure that is not a number trips too."""
    return past_cause(figures, limits) or present_cause(figures, limits)


def past_cause(figures: RiskFigures, limits: BreakerLimits) -> TripCause | None:
    """Return the reason that lies in what was traded, which a person may accept, or None."""
    f = figures
    if f.consecutive_losses >= limits.max_consecutive_losses:
        return TripCause("consecutive_losses", f"{f.consecutive_losses} trades in a row lost money.")
    if not f.drawdown_share < limits.max_drawdown_share:
        return TripCause("drawdown", f"Equity is {f.drawdown_share:.1%} below its highest.")
    if f.loss_rate_trades >= limits.loss_rate_trades and not f.loss_rate < limits.max_loss_rate:
        return TripCause("loss_rate", f"{f.loss_rate:.0%} of the last {f.loss_rate_trades} trades lost money.")
    return None


def present_cause(figures: RiskFigures, limits: BreakerLimits) -> TripCause | None:
    """Return the reason that lies in the present state of exchange and market, or None."""
    f = figures
    if f.exchange_errors >= limits.max_exchange_errors:
        reason = f"The exchange failed {f.exchange_errors} times in {limits.error_window_s} seconds."
        return TripCause("exchange_errors", reason)
    if not f.stale_s < limits.max_stale_s:
        return TripCause("stale_data", f"Market data is {f.stale_s:.0f} seconds old.")
    if not f.volatility_ratio < limits.max_volatility_ratio:
        return TripCause("volatility", f"Volatility is {f.volatility_ratio:.1f} times the usual.")
    return None


def trip(state: BreakerState, cause: TripCause, actor: str, now_ms: int) -> BreakerState:
    """Return the tripped state; a breaker that is tripped already stays exactly as it is."""
    if state.tripped:
        return state
    return BreakerState(BreakerStatus.TRIPPED, cause.reason, cause.trigger, now_ms, actor, state.version + 1)


def request_reset(state: BreakerState, actor: str, now_ms: int) -> BreakerState:
    """Return the state with the request recorded; an armed breaker, or one already asked for, stays as it is."""
    if not state.tripped or state.reset_requested_by:
        return state
    return replace(state, reset_requested_by=actor, reset_requested_ms=now_ms, version=state.version + 1)


def reset(
    state: BreakerState, actor: str, actor_is_person: bool, figures: RiskFigures, limits: BreakerLimits, now_ms: int
) -> ResetAnswer:
    """Return the armed state, or the old one and why not.

    Only a person resets, and not while exchange or market are still in the condition that trips. Losses already
    made do not stand in the way: the person takes them over, and counting begins anew at ``now_ms``.
    """
    if not actor_is_person:
        return ResetAnswer(state, "Only a person can reset the circuit breaker; a reset can be asked for.")
    if not state.tripped:
        return ResetAnswer(state, "")
    cause = present_cause(figures, limits)
    if cause is not None:
        return ResetAnswer(state, f"Not yet: {cause.reason}")
    reason = f"Reset by {actor}."
    return ResetAnswer(BreakerState(BreakerStatus.ARMED, reason, "reset", now_ms, actor, state.version + 1), "")


def as_row(state: BreakerState) -> dict[str, Any]:
    """Return the state as the columns of one event; ``from_events`` reads it back."""
    return {**asdict(state), "status": str(state.status)}


def from_events(rows: Sequence[Mapping[str, Any]], now_ms: int) -> BreakerState:
    """Return the state after the event with the highest version; TRIPPED when there is none or it is damaged.

    Args:
        rows: events as ``as_row`` made them, in any order; further columns are ignored.
        now_ms: the instant from which an unreadable state counts.
    """
    if not rows:
        return unreadable(now_ms, "no event is recorded")
    try:
        last = max(rows, key=lambda row: int(row["version"]))
        return BreakerState(
            status=BreakerStatus(last["status"]),
            reason=str(last["reason"]),
            trigger=str(last["trigger"]),
            since_ms=int(last["since_ms"]),
            actor=str(last["actor"]),
            version=int(last["version"]),
            reset_requested_by=str(last["reset_requested_by"] or ""),
            reset_requested_ms=int(last["reset_requested_ms"] or 0),
        )
    except (KeyError, TypeError, ValueError) as fault:
        versions = [row["version"] for row in rows if isinstance(row.get("version"), int)]
        return unreadable(now_ms, f"an event is damaged ({fault!r})", max(versions, default=0))
