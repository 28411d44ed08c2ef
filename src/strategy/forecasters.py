"""What votes, agent, chart analyst, news, Fear & Greed and other programs say, as forecasts that can be scored.

Who gives no probability is given one here, fixed and close to one half: a vote claims little. Whether it claims too
much is for the scoreboard to say. Who says nothing (a vote of 0, HOLD, mixed news) makes no forecast.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from src.domain.evidence import PanelistOpinion
from src.domain.forecasts import HORIZONS_MS, Forecast, horizon_for
from src.strategy.q_agent import Action, Recommendation
from src.strategy.votes import VOTE_NAMES, VoteValues

AGENT, SIGNAL, FEAR_GREED, NEWS, CHART, PANEL = "agent", "signal", "fear_greed", "news", "chart", "panel"
EXTERNAL: Final = "external"
TREND = "trend"
DAY_MS: Final = HORIZONS_MS["1d"]
_VOTE_EDGE: Final = 0.02
_SIGNAL_EDGE: Final = 0.01  # for each vote that agrees
_AGENT_EDGE: Final = 0.10  # at a confidence of 1
_LEANING_EDGE: Final = 0.01
_GRADES: Final = {"low": 0.02, "medium": 0.05, "high": 0.10}
_NEWS_EDGE: Final = 0.10  # at a mean score of 1
_NEWS_LEAN: Final = 0.05  # mean scores nearer to 0 say nothing
_FEWEST_NEWS: Final = 3
_TREND_EDGE: Final = 0.05  # at a signal of 1
_MIDDLE_INDEX, _INDEX_SCALE = 50, 500.0


class ForecastContext(NamedTuple):
    """Where and when something is said: the pair, the close of the last candle that was known, and its price.

    ``interval_ms`` is the length of the candles that it was read from.
    """

    symbol: str
    made_ms: int
    price: float
    interval_ms: int


def of_votes(at: ForecastContext, votes: VoteValues, sign: int, strength: int) -> list[Forecast]:
    """Return a forecast of each vote that is not 0, and one of the signal they add up to unless it is HOLD."""
    said = [_said(at, f"vote:{name}", vote, _VOTE_EDGE) for name, vote in zip(VOTE_NAMES, votes, strict=True) if vote]
    return [*said, _said(at, SIGNAL, sign, _SIGNAL_EDGE * strength)] if sign else said


def of_agent(at: ForecastContext, advice: Recommendation, position_sign: int, one_way_cost: float) -> Forecast | None:
    """Return what the agent expects of the price, None while it does not know the state.

    A recommended entry or exit is a forecast with the confidence behind it. HOLD still tells which way its table
    leans: what a long position is worth to it against none, costs aside. A random try tells only that.
    """
    if advice.state < 0:
        return None
    sign = {Action.BUY: 1, Action.SELL: -1, Action.HOLD: 0}[advice.action]
    if sign and not advice.explored:
        return _said(at, AGENT, sign, _AGENT_EDGE * advice.confidence)
    leaning = _leaning(advice, position_sign, one_way_cost)
    return None if leaning == 0.0 else _said(at, AGENT, 1 if leaning > 0.0 else -1, _LEANING_EDGE)


def of_chart(
    at: ForecastContext, advice: str, grade: str, analyst: str, cost_usd: Decimal = Decimal(0)
) -> Forecast | None:
    """Return an analyst's BUY or SELL as a forecast, None for HOLD.

    Args:
        at: ``interval_ms`` is that of the chart.
        advice: BUY, SELL or HOLD.
        grade: low, medium or high.
        analyst: ``local``, or the model's name.
        cost_usd: what the analysis cost.
    """
    sign = {"BUY": 1, "SELL": -1}.get(advice, 0)
    return _said(at, CHART, sign, _GRADES.get(grade, 0.0), analyst, cost_usd) if sign else None


def of_panelist(at: ForecastContext, said: PanelistOpinion) -> Forecast | None:
    """Return what one analyst of a panel recommends as a forecast with the probability that it gave, None for HOLD."""
    sign = {"BUY": 1, "SELL": -1}.get(said.recommendation, 0)
    edge = min(abs(said.probability_up - 0.5), 0.5)
    return _said(at, f"{PANEL}:{said.role}", sign, edge, said.model, said.cost_usd) if sign else None


def of_news(
    at: ForecastContext, scores: Sequence[float], reader: str, cost_usd: Decimal = Decimal(0)
) -> Forecast | None:
    """Return the mood of the last day's articles as a forecast for the next day, None where it is mixed or too thin.

    ``scores`` lie between -1 (bearish) and 1 (bullish); ``reader`` is ``local`` or ``model``.
    """
    if len(scores) < _FEWEST_NEWS:
        return None
    mean = max(-1.0, min(1.0, sum(scores) / len(scores)))
    if abs(mean) < _NEWS_LEAN:
        return None
    return _said(at, NEWS, 1 if mean > 0 else -1, _NEWS_EDGE * abs(mean), reader, horizon_ms=DAY_MS)


def of_external(at: ForecastContext, source: str, direction: int) -> Forecast | None:
    """Return what another program said of the contract as a forecast, None where it said neither."""
    return _said(at, EXTERNAL, direction, _VOTE_EDGE, source) if direction else None


def of_fear_greed(at: ForecastContext, index: int | None) -> Forecast | None:
    """Return the index, read as a trend that goes on (greed up, fear down), as a forecast for the next day."""
    if index is None or index == _MIDDLE_INDEX:
        return None
    away = index - _MIDDLE_INDEX
    return _said(at, FEAR_GREED, 1 if away > 0 else -1, abs(away) / _INDEX_SCALE, horizon_ms=DAY_MS)


def of_trend(at: ForecastContext, signal: float | None) -> Forecast | None:
    """Return the trend portfolio's signal (0 to 1, long only) as a forecast for the next day, None where it is 0."""
    if signal is None or not signal > 0.0:
        return None
    return _said(at, TREND, 1, _TREND_EDGE * min(signal, 1.0), horizon_ms=DAY_MS)


def _leaning(advice: Recommendation, position_sign: int, one_way_cost: float) -> float:
    """Return what being long is worth against being flat (short against flat, with the sign turned, if short)."""
    hold, buy, sell = advice.values
    if position_sign == 0:
        return buy + one_way_cost - hold
    return hold - (sell + one_way_cost) if position_sign > 0 else buy + one_way_cost - hold


def _said(
    at: ForecastContext,
    forecaster: str,
    sign: int,
    edge: float,
    model: str = "",
    cost_usd: Decimal = Decimal(0),
    horizon_ms: int | None = None,
) -> Forecast:
    horizon_ms = horizon_ms or horizon_for(at.interval_ms)
    return Forecast(
        at.symbol, forecaster, at.made_ms, horizon_ms, sign, 0.5 + sign * edge, at.price, model, cost_usd
    )  # fmt: skip
