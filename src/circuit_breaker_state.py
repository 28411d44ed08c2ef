"""The circuit breaker's state under the name users import."""

from src.domain.circuit_breaker import (
    BreakerLimits,
    BreakerState,
    BreakerStatus,
    ResetAnswer,
    RiskFigures,
    TripCause,
    as_row,
    born,
    evaluate,
    from_events,
    past_cause,
    present_cause,
    request_reset,
    reset,
    trip,
    unreadable,
)

__all__ = [
    "BreakerLimits",
    "BreakerState",
    "BreakerStatus",
    "ResetAnswer",
    "RiskFigures",
    "TripCause",
    "as_row",
    "born",
    "evaluate",
    "from_events",
    "past_cause",
    "present_cause",
    "request_reset",
    "reset",
    "trip",
    "unreadable",
]
