"""Sentiment of stored headlines over time, one line for each hour or day in which articles were fetched."""

from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import Connection, Integer, cast, func

from src.reporting.pages import NewsFilter, news_queries
from src.storage.tables import news_articles

Step = Literal["hour", "day"]
_CLASSES: Final = ("bullish", "bearish", "neutral")
_PREFIX: Final = {"hour": 13, "day": 10}  # characters of the UTC text that name the interval
_REST: Final = {"hour": ":00:00.000Z", "day": "T00:00:00.000Z"}


@dataclass(frozen=True, slots=True)
class SentimentInterval:
    """What was fetched in one interval; ``mean_score`` is -1 to 1, None where no article was scored."""

    start: str
    articles: int
    bullish: int
    bearish: int
    neutral: int
    scored: int
    mean_score: float | None


def read_sentiment(connection: Connection, wanted: NewsFilter, step: Step) -> list[SentimentInterval]:
    """Return the intervals with articles, oldest first; an article counts when the suite learned of it."""
    column = news_articles.c
    start = func.substr(column.timestamp, 1, _PREFIX[step]).label("start")
    (query,) = news_queries(wanted)
    counted = (
        query.with_only_columns(
            start,
            func.count().label("articles"),
            *(
                func.sum(cast(column.sentiment == name, Integer)).label(name)
                for name in ("bullish", "bearish", "neutral")
            ),
            func.count(column.score).label("scored"),
            func.avg(column.score).label("mean_score"),
        )
        .group_by(start)
        .order_by(start)
    )
    return [
        SentimentInterval(
            start=row["start"] + _REST[step],
            articles=row["articles"],
            bullish=row["bullish"] or 0,
            bearish=row["bearish"] or 0,
            neutral=row["neutral"] or 0,
            scored=row["scored"],
            mean_score=row["mean_score"],
        )
        for row in connection.execute(counted).mappings()
    ]
