"""Fetches all news sources together: deduplicated, newest first, tagged and filtered.

In a synthetic or replayed market nobody is asked: real news would speak of another world.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from src.domain.clock import DAY_MS, Clock, SystemClock
from src.news.normalise import Article, coins_in, without_copies
from src.news.sources import NewsApiSource, NewsSource, NewsSources, RssSource, published_text, read_sources
from src.runtime.cache import NewsCache
from src.runtime.http_fetch import WebFetcher
from src.runtime.parallel_fetch import ParallelFetcher
from src.runtime.settings import Settings

SOURCES_FILE: Final = "config/news_sources.toml"
_WAIT_S: Final = 8.0
_LARGEST_PAGE: Final = 100


class NewsFetcher:
    """News on crypto from every source that answers; one that does not costs its articles, nothing else.

    ``NewsFetcher()`` takes everything from the project's settings. After each call ``reasons`` says which source
    gave nothing, and why.

    Args:
        settings: keys, folders, interval and world; read from the project when None.
        clock: what tells the age of news; the machine's when None.
        sources_file: list of feeds; ``config/news_sources.toml`` when None.
    """

    def __init__(
        self, settings: Settings | None = None, clock: Clock | None = None, sources_file: Path | None = None
    ) -> None:
        settings = settings or Settings.load()
        self._clock = clock or SystemClock()
        self._world = settings.world
        listed = read_sources(sources_file or settings.project_root / SOURCES_FILE)
        self._coins = listed.coins
        self._newsapi = newsapi_source(settings, self._clock, listed)
        self._sources: list[NewsSource] = list(rss_sources(settings, self._clock, listed))
        if self._newsapi is not None:
            self._sources.append(self._newsapi)
        self._gatherer: ParallelFetcher[list[Article]] = ParallelFetcher(_WAIT_S)
        self.reasons: dict[str, str] = {}

    def articles(self, days_back: float = 7) -> list[Article]:
        """Return the articles of the last ``days_back`` days, one of each story, newest first."""
        if self._world != "live":
            self.reasons = {"all": f"{self._world} world: real news would speak of another one"}
            return []
        found, self.reasons = self._gatherer.gather({source.name: source.read for source in self._sources})
        since_ms = self._clock.now_ms() - int(days_back * DAY_MS)
        return without_copies(each for articles in found.values() for each in articles if each.instant_ms >= since_ms)

    def get_crypto_news(self, page: int = 1, page_size: int = 10, days_back: float = 7) -> dict[str, Any]:
        """Return one page of news.

        Args:
            page: from 1 on.
            page_size: 1 to 100.
            days_back: how old an article may be.

        Returns:
            ``articles`` (as ``as_dict`` makes them), ``total_results``, ``page``, and ``reasons`` for each source
            that gave nothing.
        """
        return self._page(self.articles(days_back), page, page_size)

    def search_by_coin(self, coin: str, page: int = 1, page_size: int = 10, days_back: float = 7) -> dict[str, Any]:
        """Return one page of news that speak of a coin, given by name (``Bitcoin``), ticker or pair (``BTCUSDT``)."""
        wanted = coins_in(coin, self._coins) or (coin.upper().removesuffix("USDT"),)
        tagged = [each for each in self.articles(days_back) if set(each.coins) & set(wanted)]
        return self._page(tagged, page, page_size)

    def get_top_headlines(self, page_size: int = 10) -> dict[str, Any]:
        """Return the newest headlines: NewsAPI's business pages with a key, else the newest of all feeds."""
        if self._newsapi is None or self._world != "live":
            return self.get_crypto_news(1, page_size, days_back=1)
        found, self.reasons = self._gatherer.gather({"NewsAPI top": self._newsapi.headlines})
        return self._page(without_copies(found.get("NewsAPI top", [])), 1, page_size)

    def filter_articles(
        self,
        articles: Iterable[Mapping[str, Any]],
        source: str | None = None,
        keywords: Sequence[str] = (),
    ) -> list[Mapping[str, Any]]:
        """Return the articles of one source (any capitals) that hold one of the keywords, in their order."""
        wanted = [keyword.lower() for keyword in keywords]

        def fits(article: Mapping[str, Any]) -> bool:
            text = f"{article.get('title') or ''} {article.get('description') or ''}".lower()
            right_source = source is None or str(article.get("source") or "").lower() == source.lower()
            return right_source and (not wanted or any(keyword in text for keyword in wanted))

        return [article for article in articles if fits(article)]

    def get_article_summary(self, article: Mapping[str, Any], longest: int = 200) -> str:
        """Return title and the beginning of the description as one line of at most ``longest`` characters."""
        parts = [str(article.get(name) or "") for name in ("title", "description")]
        text = " - ".join(part for part in parts if part)
        return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"

    def _page(self, articles: Sequence[Article], page: int, page_size: int) -> dict[str, Any]:
        if page < 1 or not 1 <= page_size <= _LARGEST_PAGE:
            raise ValueError(f"page counts from 1, page_size lies in 1..{_LARGEST_PAGE}")
        start = (page - 1) * page_size
        return {
            "articles": [as_dict(article) for article in articles[start : start + page_size]],
            "total_results": len(articles),
            "page": page,
            "reasons": dict(self.reasons),
        }


def as_dict(article: Article) -> dict[str, Any]:
    """Return ``title description url source published_at fetched_ms coins identity`` of an article."""
    return {
        "title": article.title,
        "description": article.summary,
        "url": article.url,
        "source": article.source,
        "published_at": published_text(article),
        "fetched_ms": article.fetched_ms,
        "coins": list(article.coins),
        "identity": article.identity,
    }


def rss_sources(settings: Settings, clock: Clock, listed: NewsSources) -> list[RssSource]:
    """Return the feeds of the list, each asked at most once in NEWS_INTERVAL_MINUTES."""
    cache = NewsCache(settings.cache_dir, settings.cache_max_mb / 4, clock)
    every_s = settings.news_interval_minutes * 60.0 - 5.0  # a round that starts a moment early still finds news
    fetcher = WebFetcher()
    return [
        RssSource(name, url, fetcher=fetcher, cache=cache, clock=clock, coins=listed.coins, every_s=every_s)
        for name, url in listed.feeds
    ]


def newsapi_source(settings: Settings, clock: Clock, listed: NewsSources) -> NewsApiSource | None:
    """Return NewsAPI where a key is set, else None."""
    key = settings.newsapi_key.get_secret_value()
    if not key:
        return None
    return NewsApiSource(
        key,
        fetcher=WebFetcher(follow_redirects=False),
        cache=NewsCache(settings.cache_dir, settings.cache_max_mb / 4, clock),
        clock=clock,
        sources=listed,
        base_url=settings.newsapi_base_url,
        every_s=settings.news_interval_minutes * 60.0,
    )
