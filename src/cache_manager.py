"""The caches under the name users import."""

from src.runtime.cache import (
    CacheEntry,
    CacheManager,
    MarketDataCache,
    NewsCache,
    SentimentCache,
)

__all__ = ["CacheEntry", "CacheManager", "MarketDataCache", "NewsCache", "SentimentCache"]
