"""Operations about forecasts: what was said of prices, and how good each forecaster was."""

from dataclasses import asdict
from functools import partial
from typing import Any

from src.api.context import ApiContext, Caller, Params
from src.api.serializers import COUNT, INSTANT, NUMBER, TEXT, Json, RowShape, closed, listed, nullable, plain
from src.api.trading_operations import paged
from src.reporting.forecasts import ForecasterScore, ForecastFilter
from src.storage.tables import forecasts

FORECAST = RowShape(forecasts)
FORECASTS_SCHEMA = listed(FORECAST.schema)
_INTERVAL: Json = {"anyOf": [{"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}, {"type": "null"}]}
_BIN = closed(
    {
        "mean_probability": plain(NUMBER, "What was said on average."),
        "risen_share": plain(NUMBER, "How often the price did rise."),
        "count": COUNT,
    }
)
SCORE = closed(
    {
        "name": plain(TEXT, "Forecaster and model: vote:rsi, chart:local."),
        "forecaster": TEXT,
        "model": TEXT,
        "horizon_s": plain(COUNT, "How far ahead it looks, in seconds."),
        "settled": COUNT,
        "open": COUNT,
        "missed": plain(COUNT, "Forecasts whose end no candle tells."),
        "first": nullable(INSTANT),
        "last": nullable(INSTANT),
        "verdict": plain(TEXT, "The skill in words: better than chance, no better than chance, not shown, too few."),
        "hits": COUNT,
        "hit_rate": nullable(NUMBER, "Share of forecasts whose direction was right."),
        "hit_interval": plain(_INTERVAL, "Wilson, 95 %."),
        "base_rate": nullable(NUMBER, "How often the price rose, whatever was said."),
        "brier": nullable(NUMBER, "Mean squared error of the probability of a rise."),
        "brier_base": nullable(NUMBER, "The same of always saying the base rate."),
        "skill": nullable(NUMBER, "1 - brier / brier_base: above 0 it tells more than the base rate does."),
        "skill_interval": plain(_INTERVAL, "95 %."),
        "information_coefficient": nullable(NUMBER, "Rank correlation of what was said with the return."),
        "information_interval": plain(_INTERVAL, "95 %."),
        "net_mean": nullable(NUMBER, "What acting on one forecast brought on average after costs, as a share."),
        "net_interval": plain(_INTERVAL, "95 %."),
        "cost_usd": plain(NUMBER, "Money spent on asking for the opinions."),
        "cost_per_settled": nullable(NUMBER),
        "calibration": plain(listed(_BIN), "A point for each tenth of probability in which something was said."),
    }
)
SCORES_SCHEMA = listed(SCORE)


def list_forecasts(source: ApiContext, asked: Params, _: Caller) -> Json:
    """Return a page of forecasts, newest first."""
    wanted = ForecastFilter(
        scope=source.scope(asked.get("bot_id"), asked.get("symbol")),
        source=asked["source"],
        forecaster=asked.get("forecaster"),
        status=asked.get("status"),
        start=asked.get("start_date"),
        end=asked.get("end_date"),
    )
    return paged(source, asked, FORECAST, partial(source.reports.forecasts, wanted))


def score_forecasts(source: ApiContext, asked: Params, _: Caller) -> Json:
    """Return the scoreboard."""
    scope = source.scope(asked.get("bot_id"), asked.get("symbol"))
    lines = source.reports.forecast_scores(scope, asked["source"], source.since_ms(asked.get("hours")))
    return {"data": [score_json(each) for each in lines]}


def score_json(line: ForecasterScore) -> Json:
    """Return one line of the scoreboard as an answer holds it."""
    figures: dict[str, Any] = asdict(line.score)
    told = {name: list(value) if isinstance(value, tuple) else value for name, value in figures.items()}
    return {
        "name": line.name,
        "forecaster": line.forecaster,
        "model": line.model,
        "horizon_s": line.horizon_s,
        "open": line.open,
        "missed": line.missed,
        "first": line.first,
        "last": line.last,
        "verdict": line.score.verdict,
        **told,
    }
