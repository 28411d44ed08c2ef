"""Operations about the wider market and the chart analyses."""

from functools import partial

from src.api.context import ApiContext, Caller, NotFound, Params
from src.api.serializers import TEXT, Json, RowShape, closed, listed, nullable
from src.api.trading_operations import paged
from src.storage.tables import chart_analyses, market_context

CONTEXT = RowShape(market_context, leave_out=["symbol"])
CHART = RowShape(chart_analyses, leave_out=["chart_file"])
_VERDICT = nullable(TEXT, "How its scored forecasts compare with chance; null before the first (`/forecasts/scores`).")
CONTEXT_SCHEMA = closed(CONTEXT.schema["properties"] | {"fear_greed_verdict": _VERDICT})
CONTEXTS_SCHEMA = listed(CONTEXT.schema)
CHART_SCHEMA = closed(CHART.schema["properties"] | {"forecast_verdict": _VERDICT})


def current_context(source: ApiContext, asked: Params, _: Caller) -> Json:
    """Return the newest look at the wider market; raises ``NotFound`` before the first."""
    scope = source.scope(asked.get("bot_id"))
    row = source.reports.market_context(scope)
    if row is None:
        raise NotFound("No market context is recorded yet: the trading bot notes it with its first turn.")
    verdict = source.reports.forecast_verdict(scope, "fear_greed")
    return {"data": CONTEXT.json(row, {}) | {"fear_greed_verdict": verdict}}


def context_history(source: ApiContext, asked: Params, _: Caller) -> Json:
    """Return a page of looks at the wider market, newest first."""
    since_ms = source.since_ms(asked["hours"]) or 0
    scope = source.scope(asked.get("bot_id"))
    return paged(source, asked, CONTEXT, partial(source.reports.contexts, scope, since_ms))


def chart_analysis(source: ApiContext, asked: Params, _: Caller) -> Json:
    """Return the newest look at a chart; raises ``NotFound`` before the first."""
    scope = source.scope(asked.get("bot_id"), asked.get("symbol"))
    row = source.reports.chart_analysis(scope)
    if row is None:
        raise NotFound("No chart has been analysed yet: the chart bot does so every quarter of an hour.")
    verdict = source.reports.forecast_verdict(scope, "chart", row["model"] or row["analyst"])
    return {"data": CHART.json(row, source.look().steps) | {"forecast_verdict": verdict}}
