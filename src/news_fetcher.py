"""The news fetcher under the name users import."""

from src.news.fetcher import (
    NewsFetcher,
    as_dict,
    newsapi_source,
    rss_sources,
)

__all__ = ["NewsFetcher", "as_dict", "newsapi_source", "rss_sources"]
