"""The circuit-breaker tools under the name users import; they live in ``src.agents.circuit_breaker_tools``."""

from src.agents.circuit_breaker_tools import (
    CheckCircuitBreakerTool,
    GetCircuitBreakerHistoryTool,
    GetRiskMetricsTool,
    RequestCircuitBreakerResetTool,
    TripCircuitBreakerTool,
    tools_for,
)

__all__ = [
    "CheckCircuitBreakerTool",
    "GetCircuitBreakerHistoryTool",
    "GetRiskMetricsTool",
    "RequestCircuitBreakerResetTool",
    "TripCircuitBreakerTool",
    "tools_for",
]
