"""News sources: RSS feeds by default, NewsAPI with a key. Each is polled rarely and politely.

Answers lie in the shared cache, so that several processes and restarts cost one request; an unchanged feed answers
304. Nothing a feed says is opened or followed.
"""

import logging
import threading
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from src.domain.clock import Clock, instant_of, monotonic_s, utc_text
from src.domain.errors import SettingsError, SourceUnavailable
from src.news.feed_parsing import entry_ms, parse_feed
from src.news.normalise import Article, made_article
from src.runtime.cache import CacheManager
from src.runtime.http_fetch import SourceRefused, WebAnswer, WebFetcher

log = logging.getLogger(__name__)

NEWSAPI_URL: Final = "https://newsapi.org"
_KEEP_S: Final = 86_400.0
_HOUR_S: Final = 3_600.0
_MOST_ITEMS: Final = 100
_PAUSE_S: Final = 0.1
_QUIET_S: Final = 300.0
_NEWSAPI_QUIET_S: Final = {"rateLimited": 6 * _HOUR_S, "apiKeyExhausted": 6 * _HOUR_S}
_NEWSAPI_HOPELESS_S: Final = 3 * _HOUR_S
_NEWSAPI_LEAST_S: Final = 900.0  # 96 of 100 requests a day, 48 of 50 in twelve hours


class NewsSource(Protocol):
    """A source of news."""

    @property
    def name(self) -> str:
        """The source's name as shown."""

    def read(self) -> list[Article]:
        """Return the articles it has now; ``SourceUnavailable`` with the reason where it is away."""


@dataclass(frozen=True, slots=True)
class NewsSources:
    """What ``config/news_sources.toml`` says: feeds as (name, address), the query of NewsAPI, words of coins."""

    feeds: tuple[tuple[str, str], ...]
    query: str
    language: str
    coins: Mapping[str, Sequence[str]]


def read_sources(path: Path) -> NewsSources:
    """Return the sources written in a TOML file.

    Raises:
        SettingsError: the file cannot be read, or a feed has no name or no http(s) address.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        feeds = tuple((str(each["name"]), str(each["url"])) for each in document.get("rss", ()))
        coins = {str(coin): [str(word) for word in words] for coin, words in document.get("coins", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError((f"{path.name} cannot be used: {type(error).__name__} {error}.",)) from error
    wrong = [name for name, url in feeds if not url.startswith(("http://", "https://"))]
    if wrong:
        raise SettingsError(tuple(f"The feed {name} in {path.name} needs an http(s) address." for name in wrong))
    newsapi = document.get("newsapi", {})
    return NewsSources(feeds, str(newsapi.get("query", "crypto")), str(newsapi.get("language", "en")), coins)


class RssSource:
    """One feed, by conditional requests.

    Args:
        name, url: as in the list of sources.
        cache: keeps articles, validators and refusals for all processes.
        every_s: how long an answer is good, in seconds.
        coins: words that tag an article.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        fetcher: WebFetcher,
        cache: CacheManager,
        clock: Clock,
        coins: Mapping[str, Sequence[str]],
        every_s: float = 900.0,
    ) -> None:
        self.name = name
        self._url = url
        self._fetcher = fetcher
        self._cache = cache
        self._clock = clock
        self._coins = coins
        self._every_s = every_s

    def read(self) -> list[Article]:
        """Return the feed's articles; while it is away, those of its last answer, up to a day old."""
        return _politely(self._cache, self.name, self._url, self._every_s, self._fetch)

    def _fetch(self) -> list[dict[str, Any]]:
        kept = self._cache.peek(f"kept:{self._url}") or {}
        asked = {"If-None-Match": kept.get("etag"), "If-Modified-Since": kept.get("modified")}
        answer = self._fetcher.get(self._url, headers={name: value for name, value in asked.items() if value})
        if answer.status == 304:
            if "articles" not in kept:
                raise SourceRefused(f"{self.name} says nothing changed, but nothing is known")
            articles = kept["articles"]
        else:
            articles = [asdict(article) for article in self._parsed(answer)]
        record = {"articles": articles, "etag": kept.get("etag"), "modified": kept.get("modified")}
        if answer.status == 200:
            record |= {"etag": answer.headers.get("etag"), "modified": answer.headers.get("last-modified")}
        self._cache.set(f"kept:{self._url}", record, _KEEP_S)
        return list(articles)

    def _parsed(self, answer: WebAnswer) -> list[Article]:
        feed = parse_feed(answer.body, answer.headers, answer.url or self._url)
        # A page that asks for a browser parses without a complaint, to nothing.
        if not feed.get("version") or not feed.entries:
            raise SourceRefused(f"{self.name} sent no feed")
        now_ms = self._clock.now_ms()
        made = (
            made_article(
                title=str(entry.get("title", "")),
                url=str(entry.get("link", "")),
                source=self.name,
                fetched_ms=now_ms,
                published_ms=entry_ms(entry),
                summary=str(entry.get("summary", "")),
                coins=self._coins,
            )
            for entry in feed.entries[:_MOST_ITEMS]
        )
        return [article for article in made if article is not None]


class NewsApiSource:
    """newsapi.org: one combined query at most every 15 minutes, page 1 only; a day late on the free plan."""

    name = "NewsAPI"

    def __init__(
        self,
        api_key: str,
        *,
        fetcher: WebFetcher,
        cache: CacheManager,
        clock: Clock,
        sources: NewsSources,
        base_url: str = "",
        every_s: float = _NEWSAPI_LEAST_S,
    ) -> None:
        self._key = api_key
        self._fetcher = fetcher
        self._cache = cache
        self._clock = clock
        self._sources = sources
        self._root = (base_url or NEWSAPI_URL).rstrip("/")
        self._every_s = max(every_s, _NEWSAPI_LEAST_S)
        self._last_s = -_PAUSE_S

    def read(self) -> list[Article]:
        """Return the newest articles on the combined query."""
        wanted = {"q": self._sources.query, "searchIn": "title,description", "sortBy": "publishedAt"}
        key = f"newsapi:everything:{self._sources.query}"
        wanted |= {"language": self._sources.language, "pageSize": str(_MOST_ITEMS)}
        return _politely(self._cache, self.name, key, self._every_s, lambda: self._fetch("/v2/everything", wanted))

    def headlines(self, category: str = "business", country: str = "us") -> list[Article]:
        """Return the top headlines of a category that speak of a known coin; asked at most once an hour."""
        wanted = {"category": category, "country": country, "pageSize": str(_MOST_ITEMS)}
        key = f"newsapi:top:{country}:{category}"
        found = _politely(self._cache, self.name, key, _HOUR_S, lambda: self._fetch("/v2/top-headlines", wanted))
        return [article for article in found if article.coins]

    def _fetch(self, path: str, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
        threading.Event().wait(max(self._last_s + _PAUSE_S - monotonic_s(), 0.0))
        self._last_s = monotonic_s()
        try:
            answer = self._fetcher.get(f"{self._root}{path}", wanted, {"X-Api-Key": self._key}).json()
        except SourceRefused as error:
            raise _newsapi_refusal(error) from error
        rows = answer.get("articles") if isinstance(answer, dict) and answer.get("status") == "ok" else None
        if not isinstance(rows, list):
            raise SourceRefused(f"{self.name} sent another shape than documented")
        made = (self._made(row) for row in rows if isinstance(row, dict))
        return [asdict(article) for article in made if article is not None]

    def _made(self, row: Mapping[str, Any]) -> Article | None:
        source = row.get("source")
        name = source.get("name") if isinstance(source, dict) else None
        return made_article(
            title=str(row.get("title") or ""),
            url=str(row.get("url") or ""),
            source=str(name or self.name),
            fetched_ms=self._clock.now_ms(),
            published_ms=_instant_or_none(row.get("publishedAt")),
            summary=str(row.get("description") or ""),
            coins=self._sources.coins,
        )


def article_from(record: Mapping[str, Any]) -> Article:
    """Return the article that ``asdict`` was called on."""
    return Article(**{**record, "coins": tuple(record["coins"])})


def published_text(article: Article) -> str | None:
    """Return when an article was published as ISO 8601 UTC, or None where unknown."""
    return None if article.published_ms is None else utc_text(article.published_ms)


def _politely(cache: CacheManager, name: str, key: str, every_s: float, fetch: Any) -> list[Article]:
    """Return cached or fresh articles; a refusal is remembered for all, and the last answer stands in meanwhile."""

    def ask() -> list[dict[str, Any]]:
        refusal = cache.peek(f"quiet:{key}")
        if refusal is not None:
            raise SourceUnavailable(str(refusal))
        try:
            return list(fetch())
        except SourceRefused as error:
            wait_s = max(error.retry_after_s or 0.0, _QUIET_S)
            cache.set(f"quiet:{key}", str(error), wait_s)
            log.warning("news source away: source=%s retry_in_s=%.0f reason=%s", name, wait_s, error)
            raise

    try:
        records = cache.get_or_fetch(f"fresh:{key}", ask, every_s, wait_s=5.0)
    except SourceUnavailable:
        kept = cache.peek(f"kept:{key}")
        if not kept:
            raise
        records = kept["articles"]
    return [article_from(record) for record in records]


def _newsapi_refusal(error: SourceRefused) -> SourceRefused:
    """Return NewsAPI's refusal in its own words; 426 is about the account here, not about the protocol."""
    try:
        said = WebAnswer(error.status, error.body).json()
    except SourceRefused:
        return error
    if not isinstance(said, dict) or "code" not in said:
        return error
    code = str(said["code"])
    hopeless_s = _NEWSAPI_HOPELESS_S if error.status in {400, 401, 426} else 0.0
    wait_s = max(error.retry_after_s or 0.0, _NEWSAPI_QUIET_S.get(code, hopeless_s))
    return SourceRefused(f"NewsAPI: {code}, {str(said.get('message', ''))[:160]}", error.status, wait_s)


def _instant_or_none(text: Any) -> int | None:
    try:
        return instant_of(str(text))
    except ValueError:
        return None
