"""The user's whole example for news and sentiment, as printed, and what the news system costs.

Also a check of one's own set-up: ``python3 -m tests.news.test_news_integration`` prints what was found.
"""

import importlib
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from src.llm.cost_report import SpendingRecord, month_of
from src.news.fetcher import NewsFetcher
from src.news.sentiment import NewsSentimentAnalyzer
from src.runtime.settings import Settings
from tests.standins.context import NOW_MS
from tests.standins.news import NewsApiStandIn, RssStandIn

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = """
# Fetch news
from src.news.fetcher import NewsFetcher
fetcher = NewsFetcher()
news = fetcher.get_crypto_news(page=1, page_size=10, days_back=7)

# Analyze sentiment (dual-mode)
from src.news.sentiment import NewsSentimentAnalyzer
analyzer = NewsSentimentAnalyzer()  # Reads USE_LOCAL_SENTIMENT from .env

# Single article
title, description = news['articles'][0]['title'], news['articles'][0]['description']
sentiment = analyzer.analyze_article(title, description)

# Batch analysis
results = analyzer.batch_analyze(news['articles'])
overall = analyzer.get_overall_sentiment(results)
"""
ITEMS = [
    ("Bitcoin surges to a record high on ETF inflows", "https://a.example/1", 5),
    ("Payments giant launches partnership to adopt crypto", "https://a.example/2", 15),
    ("Ether rallies as upgrade goes live on mainnet", "https://a.example/3", 25),
    ("Lending platform hacked, funds stolen", "https://a.example/4", 35),
]


@pytest.fixture
def services(tmp_path, monkeypatch):
    """Stand-ins for a feed and for NewsAPI, and the project's settings pointed at them."""
    feed, api = RssStandIn(ITEMS[:3]), NewsApiStandIn(ITEMS[3:])
    listed = tmp_path / "sources.toml"
    listed.write_text(
        f'[[rss]]\nname="Feed"\nurl="{feed.url}/rss"\n[newsapi]\nquery="bitcoin"\n[coins]\nBTC=["bitcoin"]\n'
    )
    monkeypatch.setattr("src.news.fetcher.SOURCES_FILE", str(listed))
    monkeypatch.setattr("src.domain.clock.SystemClock.now_ms", lambda _: NOW_MS)
    environment = {
        "TRADING_MODE": "paper",
        "PAPER_MARKET": "mirror",
        "CACHE_DIR": str(tmp_path / "cache"),
        "NEWSAPI_BASE_URL": api.url,
        "NEWSAPI_KEY": "news-key",
        "USE_LOCAL_SENTIMENT": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    yield feed, api
    feed.close()
    api.close()


@pytest.mark.parametrize("library", ["feedparser", "requests", "pydantic"])
def test_the_libraries_are_there(library):
    assert importlib.import_module(library)


def test_the_newsapi_key_is_used_and_a_wrong_one_is_said(services):
    _, api = services
    assert NewsFetcher().get_crypto_news()["reasons"] == {}
    assert api.requests[0].headers["x-api-key"] == "news-key"


def test_a_refused_key_costs_newsapi_only(services):
    _, api = services
    api.scenario = "wrong key"
    news = NewsFetcher().get_crypto_news()
    assert len(news["articles"]) == 3
    assert "apiKeyInvalid" in news["reasons"]["NewsAPI"]


def test_the_users_example_runs_as_printed(services):
    found = {}
    exec(compile(EXAMPLE, "example", "exec"), found)  # the text of the document, not of a stranger
    assert list(found["news"])[:3] == ["articles", "total_results", "page"]
    assert (found["news"]["total_results"], found["news"]["page"]) == (4, 1)
    assert list(found["sentiment"])[:4] == ["sentiment", "confidence", "reason", "mode"]
    assert found["sentiment"]["sentiment"] == "bullish"
    assert isinstance(found["sentiment"]["confidence"], int)
    assert found["sentiment"]["mode"] == "LOCAL (Cost-Saving)"
    overall = found["overall"]
    assert overall["overall_sentiment"] == "bullish"
    assert (overall["bullish_count"], overall["bearish_count"], overall["neutral_count"]) == (3, 1, 0)


def test_a_second_batch_comes_from_the_cache(services):
    articles = NewsFetcher().get_crypto_news()["articles"]
    first = NewsSentimentAnalyzer()
    results = first.batch_analyze(articles)
    second = NewsSentimentAnalyzer()
    before = second.get_cache_stats()["hits"]
    assert second.batch_analyze(articles) == results
    assert second.get_cache_stats()["hits"] == before + len(articles)


def test_the_cost_of_both_modes_is_known(services):
    settings = Settings.load()
    premium, saving = (month_of(mode, settings, SpendingRecord({})) for mode in ("premium", "cost-saving"))
    news = {cost.mode: cost.lines[1].usd for cost in (premium, saving)}
    assert news == {"premium": Decimal("0.06"), "cost-saving": Decimal(0)}


@pytest.mark.long
def test_in_the_default_world_the_example_asks_nobody_and_says_so(tmp_path):
    code = "from src.news.fetcher import NewsFetcher; print(NewsFetcher().get_crypto_news())"
    environment = {
        "PATH": "/usr/bin:/bin",
        "TRADING_MODE": "paper",
        "PAPER_MARKET": "synthetic",
        "CACHE_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "synthetic world: real news would speak of another one" in done.stdout


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-v", "-m", "long or not long"]))
