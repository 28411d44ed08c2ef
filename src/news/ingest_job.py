"""One news round: fetch, score, store. The chart-analysis process runs it every few minutes."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from src.domain.clock import utc_text
from src.news.fetcher import NewsFetcher, as_dict
from src.news.normalise import Article
from src.news.sentiment import NewsSentimentAnalyzer
from src.storage.rows import NewsArticle

log = logging.getLogger(__name__)


class NewsStore(Protocol):
    """Where articles are kept."""

    def save_news(self, articles: Sequence[NewsArticle]) -> int:
        """Write the articles and return how many were new."""


@dataclass(frozen=True, slots=True)
class NewsIngestResult:
    """What one round brought: articles seen, new among them, the overall mood, and who gave nothing and why."""

    seen: int
    new: int
    overall: Mapping[str, Any]
    reasons: Mapping[str, str]


class NewsIngestJob:
    """Fetches, judges and keeps news; a source or model that is away costs its part, never the round."""

    def __init__(self, fetcher: NewsFetcher, analyzer: NewsSentimentAnalyzer, store: NewsStore) -> None:
        self._fetcher = fetcher
        self._analyzer = analyzer
        self._store = store
        self._known: set[str] = set()

    def run_round(self, days_back: float = 1) -> NewsIngestResult:
        """Take one round and return what it brought; ``StoreUnavailable`` when nothing could be kept."""
        articles = self._fetcher.articles(days_back)
        results = self._analyzer.batch_analyze([as_dict(article) for article in articles])
        rows = [
            record_of(article, result)
            for article, result in zip(articles, results, strict=True)
            if article.identity not in self._known
        ]
        new = self._store.save_news(rows) if rows else 0
        self._known = {article.identity for article in articles}
        overall = self._analyzer.get_overall_sentiment(results)
        reasons = dict(self._fetcher.reasons)
        log.info(
            "news round: seen=%d new=%d overall=%s confidence=%s away=%d",
            len(articles),
            new,
            overall["overall_sentiment"],
            overall["confidence"],
            len(reasons),
        )
        return NewsIngestResult(len(articles), new, overall, reasons)


def record_of(article: Article, result: Mapping[str, Any]) -> NewsArticle:
    """Return the row of an article with its verdict."""
    return NewsArticle(
        timestamp=utc_text(article.fetched_ms),
        url_hash=article.identity,
        url=article.url,
        source=article.source,
        title=article.title,
        published_at=None if article.published_ms is None else utc_text(article.published_ms),
        summary=article.summary,
        symbols=list(article.coins),
        sentiment=str(result["sentiment"]),
        confidence=float(result["confidence"]),
        score=float(result["score"]),
        sentiment_reason=str(result["reason"]),
        sentiment_mode=str(result["mode"]),
        prompt=str(result.get("prompt", "")),
    )
