"""The table of operations from which REST, the OpenAPI document and the MCP tools are generated."""

from typing import Final

from src.api.bot_operations import STATUS_SCHEMA, SUMMARY_SCHEMA, bot_status_answer, summary
from src.api.context import ApiContext, Caller, Params
from src.api.control_operations import CONTROL_SCHEMA, ask_for_reset, trip_breaker
from src.api.external_signals import EXTERNAL_OPERATIONS
from src.api.forecast_operations import FORECASTS_SCHEMA, SCORES_SCHEMA, list_forecasts, score_forecasts
from src.api.market_operations import (
    CHART_SCHEMA,
    CONTEXT_SCHEMA,
    CONTEXTS_SCHEMA,
    chart_analysis,
    context_history,
    current_context,
)
from src.api.news_operations import NEWS_OPERATIONS
from src.api.operation import ROOT, Operation
from src.api.parameters import (
    ContextHistory,
    ForecastList,
    ForecastPeriod,
    OfBot,
    OfSymbol,
    Period,
    Reason,
    SignalList,
    TradeList,
)
from src.api.serializers import TEXT, Json, closed, listed, plain
from src.api.server_operations import HEALTH_SCHEMA, PROBE_SCHEMA, alive, health, ready
from src.api.trading_operations import (
    PERFORMANCE_SCHEMA,
    SIGNALS_SCHEMA,
    STATS_SCHEMA,
    TRADES_SCHEMA,
    list_signals,
    list_trades,
    signal_stats,
    trades_performance,
)
from src.domain.version import VERSION


def info(source: ApiContext, _: Params, caller: Caller) -> Json:
    """Return what there is to ask and where."""
    endpoints = [
        {
            "method": each.method,
            "path": ROOT + each.path,
            "summary": each.title,
            "scope": each.scope,
            "tool": each.name if each.tool else None,
        }
        for each in OPERATIONS
    ]
    data = {
        "name": "AI crypto trader",
        "version": VERSION,
        "endpoints": endpoints,
        "documentation": f"{ROOT}/docs",
        "openapi": f"{ROOT}/openapi.json",
        "mcp": "/mcp",
        "metrics": "/metrics",
        "scopes": sorted(caller.scopes),
    }
    return {"data": data}


_ENDPOINT_SCHEMA = closed(
    {"method": TEXT, "path": TEXT, "summary": TEXT, "scope": TEXT, "tool": {"type": ["string", "null"]}}
)
_INFO_SCHEMA = closed(
    {
        "name": TEXT,
        "version": TEXT,
        "endpoints": listed(_ENDPOINT_SCHEMA),
        "documentation": TEXT,
        "openapi": TEXT,
        "mcp": TEXT,
        "metrics": TEXT,
        "scopes": plain(listed(TEXT), "What this caller may do."),
    }
)

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        "get_signals",
        "/signals",
        "Signals, newest first",
        "One row for every turn of every pair, HOLD included: what the market said, what the agent recommended, "
        "each gate with its figures, and what was decided. `acted=false` answers why there was no trade.",
        list_signals,
        SIGNALS_SCHEMA,
        SignalList,
        paged=True,
        csv=True,
    ),
    Operation(
        "get_signal_stats",
        "/signals/stats",
        "How many signals of which kind",
        "Counts of signals by type, of those acted upon and of those vetoed, with mean strength and confidence.",
        signal_stats,
        STATS_SCHEMA,
        Period,
        changes="minute",
    ),
    Operation(
        "get_trades",
        "/trades",
        "Trades, newest first",
        "Round trips, entry to exit, with fees, funding and net result; by exit, open ones by entry.",
        list_trades,
        TRADES_SCHEMA,
        TradeList,
        paged=True,
        csv=True,
    ),
    Operation(
        "get_performance",
        "/trades/performance",
        "What trading brought",
        "Win rate, profit factor, averages, expectancy, fees and funding of closed trades; Sharpe, Sortino and "
        "drawdown of the account's daily equity, each with what it rests on. What has no meaning yet is null.",
        trades_performance,
        PERFORMANCE_SCHEMA,
        Period,
        changes="minute",
    ),
    Operation(
        "get_market_context",
        "/market-context",
        "The wider market now",
        "Prices, dominance, fear and greed, trend and regime as last noted; what could not be learned is null and "
        "named in `unknown`.",
        current_context,
        CONTEXT_SCHEMA,
        OfBot,
        tag="Market",
        missing=True,
    ),
    Operation(
        "get_market_context_history",
        "/market-context/history",
        "The wider market in the last hours",
        "Each look at the wider market, newest first.",
        context_history,
        CONTEXTS_SCHEMA,
        ContextHistory,
        tag="Market",
        changes="minute",
        paged=True,
    ),
    Operation(
        "get_chart_analysis",
        "/chart-analysis",
        "The newest look at a chart",
        "What the analyst (local or a vision model) saw in the newest chart: trend, recommendation, levels, score. "
        "It is evidence, never an order.",
        chart_analysis,
        CHART_SCHEMA,
        OfSymbol,
        tag="Market",
        missing=True,
        untrusted=("summary", "technical_signals", "error"),
    ),
    Operation(
        "get_forecasts",
        "/forecasts",
        "Forecasts, newest first",
        "What votes, agent, chart analyst, news and Fear & Greed said of a price: instant, horizon, direction and "
        "probability of a rise; once its end has come, what the market did and what acting on it would have brought.",
        list_forecasts,
        FORECASTS_SCHEMA,
        ForecastList,
        tag="Market",
        paged=True,
    ),
    Operation(
        "get_forecast_scores",
        "/forecasts/scores",
        "How good each forecaster was",
        "Hit rate, Brier score with skill against the base rate, information coefficient, calibration and result after "
        "costs, each with its interval; `verdict` says in words whether the skill can be told apart from chance.",
        score_forecasts,
        SCORES_SCHEMA,
        ForecastPeriod,
        tag="Market",
        changes="minute",
    ),
    *NEWS_OPERATIONS,
    *EXTERNAL_OPERATIONS,
    Operation(
        "get_bot_status",
        "/bot-status",
        "How the bots are",
        "Each bot with the signs of life of its processes, circuit breaker, balance and positions with their stops.",
        bot_status_answer,
        STATUS_SCHEMA,
        OfBot,
        tag="Bots",
        changes="second",
    ),
    Operation(
        "get_summary",
        "/analytics/summary",
        "Everything on one page",
        "Signals, performance, days, equity curve, costs of services, market context and circuit breakers together.",
        summary,
        SUMMARY_SCHEMA,
        Period,
        tag="Bots",
        changes="minute",
    ),
    Operation(
        "get_health",
        "/health",
        "Whether trading goes on",
        "`up`; `degraded` when something beside trading is late; `down` with 503 after two missed cycles, without a "
        "trading bot, or without the database.",
        health,
        HEALTH_SCHEMA,
        tag="Server",
        scope="open",
        changes="second",
        status=True,
    ),
    Operation(
        "get_info",
        "/info",
        "What can be asked",
        "Name, version and every endpoint with its tool.",
        info,
        _INFO_SCHEMA,
        tag="Server",
    ),
    Operation(
        "livez",
        "/livez",
        "Whether this process answers",
        "Touches nothing but itself.",
        alive,
        PROBE_SCHEMA,
        tag="Server",
        scope="open",
        changes="second",
        status=True,
        told=False,
        tool=False,
    ),
    Operation(
        "readyz",
        "/readyz",
        "Whether questions can be answered",
        "503 while the database cannot be read.",
        ready,
        PROBE_SCHEMA,
        tag="Server",
        scope="open",
        changes="second",
        status=True,
        tool=False,
    ),
    Operation(
        "trip_circuit_breaker",
        "/circuit-breaker/trip",
        "Trip the circuit breaker",
        "Stops entries of a bot at once; exits and stops go on. Repeating it changes nothing. Only a person with the "
        "PIN arms it again.",
        trip_breaker,
        CONTROL_SCHEMA,
        Reason,
        tag="Control",
        scope="control",
        missing=True,
    ),
    Operation(
        "request_circuit_breaker_reset",
        "/circuit-breaker/reset-request",
        "Ask a person to reset the circuit breaker",
        "Records the request and its reason; a person with the PIN decides. Repeating it changes nothing.",
        ask_for_reset,
        CONTROL_SCHEMA,
        Reason,
        tag="Control",
        scope="control",
        missing=True,
    ),
)
BY_NAME: Final = {each.name: each for each in OPERATIONS}
