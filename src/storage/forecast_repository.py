"""The forecasts in the database and their outcomes."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final, Literal

from sqlalchemy import Connection, bindparam, select, update

from src.domain.clock import instant_of, utc_text
from src.domain.evidence import ChartOpinion, PanelistOpinion
from src.domain.forecasts import Forecast, Judged, Outcome
from src.storage.database import TradingDatabase
from src.storage.engine import BATCH, insert_or
from src.storage.tables import chart_analyses, forecasts, news_articles, panel_answers

Source = Literal["live", "past"]
OPEN, SETTLED, MISSED = "open", "settled", "missed"
_KEY: Final = ("bot_id", "mode", "world", "source", "symbol", "forecaster", "model", "horizon_s", "timestamp")
_FIGURES: Final = ("status", "outcome_price", "return_share", "net_share")
_SETTLE: Final = (
    update(forecasts)
    .where(*(forecasts.c[name] == bindparam(f"key_{name}") for name in _KEY))
    .values({name: bindparam(f"new_{name}") for name in _FIGURES})
)


class ForecastRepository:
    """The forecasts of one owner (that of ``database``). One process writes them.

    Every method may raise ``StoreUnavailable`` or ``StoreCorrupt``; those that write *in the background* return at
    once.
    """

    def __init__(self, database: TradingDatabase, source: Source = "live") -> None:
        self._database = database
        self._owner = database.owner
        self._source: Source = source

    def open(self) -> list[Forecast]:
        """Return the forecasts that are not judged yet."""
        wanted = (self._owner.rows_of(forecasts), forecasts.c.source == self._source, forecasts.c.status == OPEN)
        with self._database.read() as connection:
            return [_forecast(row) for row in connection.execute(select(forecasts).where(*wanted)).mappings()]

    def add(self, made: Sequence[Forecast]) -> None:
        """Write forecasts, in the background; an existing one stays unchanged."""
        rows = [self._row(each) for each in made]
        if rows:
            self._database.write_later(lambda connection: _insert(connection, rows))

    def settle(self, judged: Sequence[Judged]) -> None:
        """Write the outcomes of forecasts, in the background; None means that there is no candle for it."""
        changes = [self._change(*each) for each in judged]
        if changes:
            self._database.write_later(lambda connection: connection.execute(_SETTLE, changes))

    def fill(self, judged: Iterable[Judged]) -> int:
        """Write forecasts with their outcomes, in batches, and return how many were new."""
        rows = [self._row(each) | _figures(outcome) for each, outcome in judged]
        pieces = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        return sum(self._database.write(partial(_insert, rows=piece)) for piece in pieces)

    def chart_opinion(self, symbol: str) -> ChartOpinion | None:
        """Return the newest good look at the chart of ``symbol``, None before the first."""
        c = chart_analyses.c
        query = (
            select(c.timestamp, c.interval, c.analyst, c.model, c.recommendation, c.confidence, c.cost_usd)
            .where(self._owner.rows_of(chart_analyses), c.symbol == symbol, c.status == "ok")
            .order_by(c.timestamp.desc(), c.id.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        return ChartOpinion(
            made_ms=instant_of(row["timestamp"]),
            interval=row["interval"],
            analyst=row["model"] or row["analyst"],
            recommendation=row["recommendation"] or "HOLD",
            confidence=row["confidence"] or "",
            cost_usd=row["cost_usd"],
            symbol=symbol,
        )

    def panel_opinions(self, symbol: str, made_ms: int) -> list[PanelistOpinion]:
        """Return what the models of a panel said of the chart of ``symbol`` at that instant; none without a panel."""
        c = panel_answers.c
        query = select(
            c.timestamp, chart_analyses.c.interval, c.role, c.model, c.recommendation, c.probability_up, c.cost_usd
        )
        query = query.join(chart_analyses, chart_analyses.c.id == c.analysis_id).where(
            self._owner.rows_of(panel_answers), c.symbol == symbol, c.timestamp == utc_text(made_ms), c.status == "ok",
            c.model != "", c.probability_up.is_not(None),
        )  # fmt: skip
        with self._database.read() as connection:
            return [PanelistOpinion(instant_of(at), *said) for at, *said in connection.execute(query.order_by(c.id))]

    def news_scores(self, since_ms: int, until_ms: int) -> dict[str, list[float]]:
        """Return the scores of the articles known in that time, by scorer: ``local`` or ``model``."""
        c = news_articles.c
        since, until = utc_text(since_ms), utc_text(until_ms)
        judged = (c.world == self._owner.world, c.score.is_not(None))
        known = (c.published_at >= since, c.published_at <= until, c.timestamp <= until)
        query = select(c.sentiment_mode, c.score).where(*judged, *known)
        found: dict[str, list[float]] = {}
        with self._database.read() as connection:
            for mode, score in connection.execute(query):
                found.setdefault("local" if str(mode).startswith("LOCAL") else "model", []).append(score)
        return found

    def _row(self, each: Forecast) -> dict[str, Any]:
        return self._owner.columns(each.symbol) | {
            "timestamp": utc_text(each.made_ms),
            "source": self._source,
            "forecaster": each.forecaster,
            "model": each.model,
            "horizon_s": each.horizon_ms // 1_000,
            "direction": each.direction,
            "probability": each.probability,
            "price": each.price,
            "cost_usd": each.cost_usd,
            "due_at": utc_text(each.due_ms),
            "status": OPEN,
            "outcome_price": None,
            "return_share": None,
            "net_share": None,
        }

    def _change(self, each: Forecast, outcome: Outcome | None) -> dict[str, Any]:
        row = self._row(each)
        new = _figures(outcome)
        return {f"key_{name}": row[name] for name in _KEY} | {f"new_{name}": new[name] for name in _FIGURES}


def _figures(outcome: Outcome | None) -> dict[str, Any]:
    if outcome is None:
        return {"status": MISSED, "outcome_price": None, "return_share": None, "net_share": None}
    return {
        "status": SETTLED,
        "outcome_price": outcome.price,
        "return_share": outcome.return_share,
        "net_share": outcome.net_share,
    }


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> int:
    statement = insert_or(connection, forecasts).on_conflict_do_nothing()
    return sum(connection.execute(statement, row).rowcount for row in rows)


def _forecast(row: Any) -> Forecast:
    return Forecast(
        symbol=row["symbol"],
        forecaster=row["forecaster"],
        made_ms=instant_of(row["timestamp"]),
        horizon_ms=row["horizon_s"] * 1_000,
        direction=row["direction"],
        probability=row["probability"],
        price=row["price"],
        model=row["model"],
        cost_usd=row["cost_usd"],
    )
