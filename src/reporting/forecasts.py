"""Read models of the forecasts: pages, and scores by forecaster."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
from sqlalchemy import ColumnElement, Connection, Select, case, func, select

from src.domain.clock import utc_text
from src.domain.forecast_scores import Score, Settled, score
from src.reporting.pages import Scope, utc_bound
from src.storage.tables import api_usage, chart_analyses, forecasts, panel_answers

LIVE: Final = "live"
PAST: Final = "past"
_KEPT: Final = 64
_CHART: Final = "chart"
_PANEL: Final = "panel"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastFilter:
    """Which forecasts; ``source`` is live or past (filled from past candles), ``status`` open, settled or missed."""

    scope: Scope = field(default_factory=Scope)
    source: str = LIVE
    forecaster: str | None = None
    status: str | None = None
    start: str | None = None
    end: str | None = None


@dataclass(frozen=True, slots=True)
class ForecasterScore:
    """The score of one forecaster, model and horizon.

    ``missed`` are forecasts without a candle at their end; ``first`` and ``last`` the times of the settled ones.
    """

    forecaster: str
    model: str
    horizon_s: int
    open: int
    missed: int
    first: str | None
    last: str | None
    score: Score

    @property
    def name(self) -> str:
        """Forecaster and model in one word: ``vote:rsi``, ``chart:local``."""
        return f"{self.forecaster}:{self.model}" if self.model else self.forecaster


@lru_cache(_KEPT)
def forecast_queries(wanted: ForecastFilter) -> tuple[Select[Any], ...]:
    """Return the query for the forecasts wanted; ``ValueError`` for a date that is none."""
    c = forecasts.c
    conditions = [*wanted.scope.conditions(forecasts), c.source == wanted.source]
    if wanted.forecaster is not None:
        conditions.append(c.forecaster == wanted.forecaster)
    if wanted.status is not None:
        conditions.append(c.status == wanted.status)
    if wanted.start is not None:
        conditions.append(c.timestamp >= utc_bound(wanted.start))
    if wanted.end is not None:
        conditions.append(c.timestamp < utc_bound(wanted.end))
    return (select(forecasts).where(*conditions),)


def read_scores(
    connection: Connection,
    scope: Scope,
    source: str = LIVE,
    since_ms: int | None = None,
    until_ms: int | None = None,
    *,
    forecaster: str | None = None,
    model: str = "",
) -> list[ForecasterScore]:
    """Return the scores of the scope, one line for each forecaster, model and horizon, by name.

    Args:
        connection: of the database.
        scope: bot, mode, world and pair; without a pair the forecasts of all pairs stand in one line.
        source: live, or past.
        since_ms: only forecasts made from then on.
        until_ms: only forecasts made before.
        forecaster: only this one, of this ``model``.
        model: see ``forecaster``.
    """
    c = forecasts.c
    wanted = [*scope.conditions(forecasts), c.source == source]
    if forecaster is not None:
        wanted += [c.forecaster == forecaster, c.model == model]
    if since_ms is not None:
        wanted.append(c.timestamp >= utc_text(since_ms))
    if until_ms is not None:
        wanted.append(c.timestamp < utc_text(until_ms))
    spent = _spent(connection, scope, since_ms) if source == LIVE else {}
    figures = _settled_figures(connection, wanted)
    lines = []
    for row in connection.execute(_counts(wanted)).mappings():
        key = (row["forecaster"], row["model"], row["horizon_s"])
        columns = np.array(figures.get(key, ()), np.float64).reshape(-1, 4).T
        paid = spent.get((row["forecaster"], row["model"]))
        cost = float(row["cost_usd"] or 0) if paid is None else paid
        found = score(Settled(columns[0], columns[1], columns[2], columns[3], cost))
        lines.append(ForecasterScore(*key, row["open"], row["missed"], row["first"], row["last"], found))
    return lines


def verdicts(scores: Iterable[ForecasterScore]) -> dict[str, str]:
    """Return each forecaster's verdict by its name; of several horizons the one with most settled forecasts counts."""
    best: dict[str, ForecasterScore] = {}
    for each in scores:
        if each.name not in best or each.score.settled > best[each.name].score.settled:
            best[each.name] = each
    return {name: each.score.verdict for name, each in best.items()}


def _counts(wanted: list[ColumnElement[bool]]) -> Select[Any]:
    c = forecasts.c
    settled_at = case((c.status == "settled", c.timestamp))
    return (
        select(
            c.forecaster, c.model, c.horizon_s,
            func.sum(case((c.status == "open", 1), else_=0)).label("open"),
            func.sum(case((c.status == "missed", 1), else_=0)).label("missed"),
            func.min(settled_at).label("first"),
            func.max(settled_at).label("last"),
            func.sum(c.cost_usd).label("cost_usd"),
        )
        .where(*wanted)
        .group_by(c.forecaster, c.model, c.horizon_s)
        .order_by(c.forecaster, c.model, c.horizon_s)
    )  # fmt: skip


def _settled_figures(
    connection: Connection, wanted: list[ColumnElement[bool]]
) -> dict[tuple[str, str, int], list[tuple[float, ...]]]:
    """Return probability, direction, return and net return of every settled forecast by forecaster."""
    c = forecasts.c
    query = select(
        c.forecaster, c.model, c.horizon_s, c.probability, c.direction, c.return_share, c.net_share
    ).where(*wanted, c.status == "settled")  # fmt: skip
    found: dict[tuple[str, str, int], list[tuple[float, ...]]] = {}
    for forecaster, model, horizon_s, *figures in connection.execute(query):
        found.setdefault((forecaster, model, horizon_s), []).append(tuple(figures))
    return found


def _spent(connection: Connection, scope: Scope, since_ms: int | None) -> dict[tuple[str, str], float]:
    """Return what each chart analyst, and each analyst of a panel, cost, also where it recommended nothing."""
    c, p = chart_analyses.c, panel_answers.c
    model = case((c.analyst == _PANEL, _PANEL), else_=c.model)
    charts = select(model, func.sum(c.cost_usd)).where(*scope.conditions(chart_analyses), model != "").group_by(model)
    panel = select(p.role, p.model, func.sum(p.cost_usd)).where(*scope.conditions(panel_answers), p.model != "")
    panel = panel.group_by(p.role, p.model)
    if since_ms is not None:
        charts, panel = charts.where(c.timestamp >= utc_text(since_ms)), panel.where(p.timestamp >= utc_text(since_ms))
    found = {(_CHART, name): float(spent or 0) for name, spent in connection.execute(charts)}
    return found | {(f"{_PANEL}:{role}", name): float(spent or 0) for role, name, spent in connection.execute(panel)}


def spent_by_name(connection: Connection, scope: Scope, since_ms: int) -> dict[str, float]:
    """Return what each forecaster that costs anything came to, in US dollars: chart analysts, panel, news by model."""
    u = api_usage.c
    news = (
        select(u.model, func.sum(u.cost_usd))
        .where(*scope.conditions(api_usage), u.timestamp >= utc_text(since_ms), u.operation == "text")
        .group_by(u.model)
    )
    found = {
        f"{forecaster}:{model}": spent for (forecaster, model), spent in _spent(connection, scope, since_ms).items()
    }
    found |= {f"news:{model}": float(spent or 0) for model, spent in connection.execute(news)}
    return {name: spent for name, spent in found.items() if spent > 0.0}
