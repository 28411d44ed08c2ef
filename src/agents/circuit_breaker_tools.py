"""Agent tools for the circuit breaker: check it and the risk figures, trip it, request a reset.

There is no tool that resets and none that orders. Who acts is fixed when a tool is made, never an argument that a
model could choose; whatever a model says, the worst it can do is stop entries.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from src.agents.circuit_breaker_service import CircuitBreakerService
from src.agents.tool_base import BaseTool, ToolFailure
from src.domain.circuit_breaker import BreakerState
from src.domain.clock import utc_text
from src.domain.errors import StoreCorrupt, StoreUnavailable

_MOST_TRIPS: Final = 3


class NoArguments(BaseModel):
    """A tool that needs to be told nothing."""

    model_config = ConfigDict(extra="forbid")


class HistoryArguments(BaseModel):
    """How many events to show."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(10, ge=1, le=50, description="how many events, newest first")


class ReasonArguments(BaseModel):
    """Why, in a sentence that a person will read."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    reason: str = Field(min_length=10, max_length=300, description="one sentence with the figures it rests on")


def never_cached(_arguments: Any = None, _result: Any = None) -> bool:
    """Return False: a state of a minute ago is worse than none."""
    return False


class _CircuitBreakerTool(BaseTool):
    """A tool that calls the circuit-breaker service in the name of ``actor``."""

    breaker_service: Any = Field(exclude=True, repr=False)
    actor: str = Field(exclude=True, max_length=64)
    args_schema: type[BaseModel] = NoArguments
    cache_function: Any = never_cached

    def _answer(self, ask: Callable[[CircuitBreakerService], Any]) -> Any:
        """Return the answer as JSON, or a failure as the value that it is."""
        try:
            return json.dumps(ask(self.breaker_service), ensure_ascii=False)
        except (StoreUnavailable, StoreCorrupt) as error:
            return ToolFailure(message=f"{error} Take entries to be stopped until this is known.")


class CheckCircuitBreakerTool(_CircuitBreakerTool):
    """Reads the breaker's state."""

    name: str = "check_circuit_breaker"
    description: str = "Read whether entries may pass (ARMED) or not (TRIPPED), why, since when, and the version."

    def _run(self, **_unused: Any) -> Any:  # CrewAI checks no argument where a schema has none
        return self._answer(lambda breaker_service: state_json(breaker_service.state()))


class GetRiskMetricsTool(_CircuitBreakerTool):
    """Reads the risk figures beside their limits."""

    name: str = "get_risk_metrics"
    description: str = (
        "Read losses in a row, loss rate, drawdown, the day's loss, equity and open positions, beside the limits at "
        "which the bot trips the breaker by itself. Shares are of 1: 0.15 is 15 %."
    )

    def _run(self, **_unused: Any) -> Any:  # CrewAI checks no argument where a schema has none
        return self._answer(lambda breaker_service: breaker_service.figures())


class GetCircuitBreakerHistoryTool(_CircuitBreakerTool):
    """Reads the breaker's last events."""

    name: str = "get_circuit_breaker_history"
    description: str = "Read the last events of the circuit breaker with their reasons and actors, newest first."
    args_schema: type[BaseModel] = HistoryArguments

    def _run(self, *, limit: int = 10) -> Any:
        return self._answer(lambda breaker_service: breaker_service.history(limit))


class TripCircuitBreakerTool(_CircuitBreakerTool):
    """Trips the breaker: the safe direction."""

    name: str = "trip_circuit_breaker"
    description: str = (
        "Stop all new entries now; open positions keep their stops and may be closed. Use it when the figures, or "
        "several independent sources, speak of a danger that the bot cannot see. Never to take a profit, never for "
        "one headline. Only a person can undo it."
    )
    args_schema: type[BaseModel] = ReasonArguments
    max_usage_count: int | None = _MOST_TRIPS

    def _run(self, *, reason: str) -> Any:
        return self._answer(lambda breaker_service: state_json(breaker_service.trip(reason, self.actor)))


class RequestCircuitBreakerResetTool(_CircuitBreakerTool):
    """Asks a person to reset the breaker."""

    name: str = "request_circuit_breaker_reset"
    description: str = (
        "Ask a person to reset the tripped circuit breaker once the danger has passed. It stays TRIPPED until a "
        "person with the PIN has looked at it: asking changes nothing else."
    )
    args_schema: type[BaseModel] = ReasonArguments
    max_usage_count: int | None = _MOST_TRIPS

    def _run(self, *, reason: str) -> Any:
        return self._answer(lambda breaker_service: state_json(breaker_service.ask_for_reset(reason, self.actor)))


READING: Final = (CheckCircuitBreakerTool, GetRiskMetricsTool, GetCircuitBreakerHistoryTool)
ACTING: Final = (TripCircuitBreakerTool, RequestCircuitBreakerResetTool)
TOOLS: Final[dict[str, type[_CircuitBreakerTool]]] = {
    str(kind.model_fields["name"].default): kind for kind in (*READING, *ACTING)
}


def state_json(state: BreakerState) -> dict[str, Any]:
    """Return a state as tools tell it."""
    return {
        "status": str(state.status),
        "can_trade": not state.tripped,
        "reason": state.reason,
        "since": utc_text(state.since_ms),
        "actor": state.actor,
        "version": state.version,
        "reset_requested_by": state.reset_requested_by or None,
    }


def tools_for(actor: str, names: list[str], breaker_service: CircuitBreakerService) -> list[_CircuitBreakerTool]:
    """Return the named tools in the name of ``actor``; ``KeyError`` for one that does not exist."""
    kinds: list[Any] = [TOOLS[name] for name in names]
    return [kind(breaker_service=breaker_service, actor=f"agent:{actor}"[:64]) for kind in kinds]
