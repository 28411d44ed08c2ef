"""Operations about news: stored headlines, and their sentiment over time. Their text is that of strangers."""

from dataclasses import asdict
from functools import partial
from typing import Final, cast

from src.api.context import ApiContext, Caller, Params
from src.api.operation import Operation
from src.api.parameters import NewsList, NewsPeriod
from src.api.serializers import COUNT, INSTANT, NUMBER, Json, RowShape, closed, listed, nullable, number, plain
from src.api.trading_operations import paged
from src.domain.clock import utc_text
from src.reporting.news_sentiment import Step
from src.reporting.pages import NewsFilter
from src.storage.tables import news_articles

ARTICLE = RowShape(news_articles)
_INTERVAL_SCHEMA = closed(
    {
        "start": plain(INSTANT, "UTC."),
        "articles": plain(COUNT, "Fetched in this interval."),
        "bullish": COUNT,
        "bearish": COUNT,
        "neutral": COUNT,
        "scored": plain(COUNT, "Of them with a score."),
        "mean_score": nullable(NUMBER, "-1 (bearish) to 1 (bullish); null where no article was scored."),
    }
)


def list_news(source: ApiContext, asked: Params, _: Caller) -> Json:
    """Return a page of articles, last fetched first."""
    wanted = NewsFilter(
        world=source.owner.world,
        source=asked.get("source"),
        sentiment=asked.get("sentiment"),
        coin=asked.get("coin"),
        text=asked.get("text"),
        start=asked.get("start_date"),
        end=asked.get("end_date"),
    )
    return paged(source, asked, ARTICLE, partial(source.reports.news, wanted))


def news_sentiment(source: ApiContext, asked: Params, _: Caller) -> Json:
    """Return the sentiment of the articles fetched since, by hour or day."""
    wanted = NewsFilter(
        world=source.owner.world,
        source=asked.get("source"),
        coin=asked.get("coin"),
        text=asked.get("text"),
        start=utc_text(source.since_ms(asked["hours"]) or 0),
    )
    found = source.reports.news_sentiment(wanted, cast(Step, asked["step"]))
    return {"data": [asdict(each) | {"mean_score": number(each.mean_score)} for each in found]}


NEWS_OPERATIONS: Final = (
    Operation(
        "get_news",
        "/news",
        "News articles, last fetched first",
        "Stored headlines with source, coins and the sentiment read from them. `timestamp` is when the suite fetched "
        "an article, `published_at` what its source says. A synthetic or replayed market has no news of its own.",
        list_news,
        listed(ARTICLE.schema),
        NewsList,
        tag="Market",
        paged=True,
        untrusted=("title", "summary", "sentiment_reason", "source", "url"),
    ),
    Operation(
        "get_news_sentiment",
        "/news/sentiment",
        "Sentiment of the news over time",
        "Counts and mean score of the articles fetched in each hour or day; intervals without articles are left out.",
        news_sentiment,
        listed(_INTERVAL_SCHEMA),
        NewsPeriod,
        tag="Market",
        changes="minute",
    ),
)
