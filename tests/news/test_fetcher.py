"""News: from every source that answers, asked politely, never from another world."""

import pytest

from src.domain.clock import ManualClock, monotonic_s
from src.domain.errors import SettingsError
from src.news.fetcher import NewsFetcher
from src.news.sources import read_sources
from src.runtime.settings import Settings
from tests.standins.context import NOW_MS
from tests.standins.news import NewsApiStandIn, RssStandIn

FIRST = [
    ("Bitcoin&#8217;s <b>rally</b> goes on and on", "https://a.example/1?utm_source=rss", 30),
    ("Hackers drain a bridge of millions", "https://a.example/2", 60),
    ("Old news of last month again", "https://a.example/3", 60 * 24 * 30),
]
SECOND = [
    ("Hackers drain a bridge of millions", "https://b.example/7", 50),
    ("Ether ETF sees record inflows this week", "https://b.example/8", 10),
]


class World:
    """Two feeds, NewsAPI, and fetchers over them."""

    def __init__(self, folder, monkeypatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.clock = ManualClock(NOW_MS)
        self.one, self.two, self.api = RssStandIn(FIRST), RssStandIn(SECOND), NewsApiStandIn(SECOND[1:])
        self.list = folder / "sources.toml"
        self.list.write_text(
            f'[[rss]]\nname="One"\nurl="{self.one.url}/rss"\n[[rss]]\nname="Two"\nurl="{self.two.url}/rss"\n'
            '[newsapi]\nquery="bitcoin OR ether"\n[coins]\nBTC=["bitcoin"]\nETH=["ether","ethereum"]\n'
        )
        for name, value in {
            "TRADING_MODE": "paper",
            "PAPER_MARKET": "mirror",
            "CACHE_DIR": str(folder / "cache"),
            "NEWSAPI_BASE_URL": self.api.url,
        }.items():
            monkeypatch.setenv(name, value)

    def fetcher(self, **environment: str) -> NewsFetcher:
        for name, value in environment.items():
            self.monkeypatch.setenv(name, value)
        return NewsFetcher(Settings.load(self.folder / "none.env"), self.clock, self.list)


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = World(tmp_path, monkeypatch)
    yield made
    for stand_in in (made.one, made.two, made.api):
        stand_in.close()


def titles(news):
    return [article["title"] for article in news["articles"]]


def test_the_users_call_returns_what_the_user_printed(world):
    news = world.fetcher().get_crypto_news(page=1, page_size=10, days_back=7)
    assert titles(news) == [
        "Ether ETF sees record inflows this week",
        "Bitcoin’s rally goes on and on",
        "Hackers drain a bridge of millions",
    ]
    assert (news["total_results"], news["page"], news["reasons"]) == (3, 1, {})
    first = news["articles"][1]
    assert (first["url"], first["source"], first["coins"]) == ("https://a.example/1", "One", ["BTC"])
    assert first["description"].startswith("About Bitcoin’s rally")
    assert first["published_at"] is not None


def test_pages_divide_the_news_without_loss(world):
    fetcher = world.fetcher()
    pages = [titles(fetcher.get_crypto_news(page, 2)) for page in (1, 2, 3)]
    assert [len(page) for page in pages] == [2, 1, 0]
    for page, size in ((0, 10), (1, 0), (1, 101)):
        with pytest.raises(ValueError, match="page"):
            fetcher.get_crypto_news(page, size)


def test_a_feed_is_asked_once_an_interval_by_all_processes_and_unchanged_ones_send_nothing(world):
    fetchers = [world.fetcher(), world.fetcher()]
    for _ in range(4):
        for fetcher in fetchers:
            assert len(fetcher.get_crypto_news()["articles"]) == 3
        world.clock.advance_to(world.clock.now_ms() + 900_000)
    assert len(world.one.requests) == 4
    assert [request.headers.get("if-none-match") for request in world.one.requests] == [None, *['"v1"'] * 3]
    assert all(request.headers["user-agent"].startswith("ai-crypto-trader") for request in world.one.requests)


def test_what_is_new_in_a_feed_is_seen_at_the_next_round(world):
    fetcher = world.fetcher()
    fetcher.articles()
    world.one.items = [("Something quite new has happened", "https://a.example/9", 0), *FIRST]
    world.one.version = 2
    world.clock.advance_to(NOW_MS + 900_000)
    assert fetcher.articles()[0].title == "Something quite new has happened"


BROKEN = ["html with 200", "server error", "forbidden", "truncated", "gone", "empty feed", "liar", "null"]


@pytest.mark.parametrize("scenario", [*BROKEN, pytest.param("drip", marks=pytest.mark.long)])
def test_a_broken_feed_costs_its_own_articles_and_says_why(world, scenario):
    world.one.scenario = scenario
    news = world.fetcher().get_crypto_news()
    assert titles(news) == ["Ether ETF sees record inflows this week", "Hackers drain a bridge of millions"]
    assert list(news["reasons"]) == ["One"]
    assert news["reasons"]["One"]


def test_a_feed_that_breaks_later_keeps_what_it_said_for_a_day_and_is_left_alone(world):
    fetcher = world.fetcher()
    fetcher.articles()
    world.one.scenario = "server error"
    world.clock.advance_to(NOW_MS + 900_000)
    for _ in range(3):
        assert len(fetcher.get_crypto_news()["articles"]) == 3
    assert len(world.one.requests) == 2
    world.clock.advance_to(NOW_MS + 900_000 + 24 * 3_600_000)
    assert "One" in fetcher.get_crypto_news()["reasons"]


@pytest.mark.long
def test_hanging_feeds_do_not_hold_up_the_others(world):
    world.one.scenario = "hang"
    started_s = monotonic_s()
    assert len(world.fetcher().get_crypto_news()["articles"]) == 2
    assert monotonic_s() - started_s < 9


def test_newsapi_joins_in_with_a_key_in_its_header_and_its_copies_are_joined(world):
    news = world.fetcher(NEWSAPI_KEY="news-key").get_crypto_news()
    assert len(news["articles"]) == 3
    assert {request.headers["x-api-key"] for request in world.api.requests} == {"news-key"}
    assert world.api.requests[0].query["pageSize"] == "100"
    assert "page" not in world.api.requests[0].query


@pytest.mark.long
def test_newsapi_stays_within_a_hundred_requests_a_day(world):
    fetcher = world.fetcher(NEWSAPI_KEY="news-key", NEWS_INTERVAL_MINUTES="5")
    for _ in range(24 * 12):
        fetcher.articles()
        world.clock.advance_to(world.clock.now_ms() + 300_000)
    assert len(world.api.requests) <= 96


@pytest.mark.parametrize(
    ("scenario", "quiet_h", "said"),
    [("used up", 6, "rateLimited"), ("wrong key", 3, "apiKeyInvalid"), ("too many", 3, "maximumResultsReached")],
)
def test_newsapis_refusals_are_understood_and_obeyed(world, scenario, quiet_h, said):
    world.api.scenario = scenario
    fetcher = world.fetcher(NEWSAPI_KEY="news-key")
    assert said in fetcher.get_crypto_news()["reasons"]["NewsAPI"]
    world.clock.advance_to(NOW_MS + quiet_h * 3_600_000 - 1000)
    fetcher.articles()
    assert len(world.api.requests) == 1
    world.clock.advance_to(NOW_MS + quiet_h * 3_600_000 + 1000)
    fetcher.articles()
    assert len(world.api.requests) == 2


def test_news_of_one_coin_are_found_by_name_ticker_and_pair(world):
    fetcher = world.fetcher()
    for coin in ("Bitcoin", "btc", "BTCUSDT"):
        assert titles(fetcher.search_by_coin(coin)) == ["Bitcoin’s rally goes on and on"]
    assert titles(fetcher.search_by_coin("XLM")) == []


def test_top_headlines_come_from_newsapi_with_a_key_and_from_the_feeds_without(world):
    assert len(world.fetcher().get_top_headlines(2)["articles"]) == 2
    found = world.fetcher(NEWSAPI_KEY="news-key").get_top_headlines()
    assert titles(found) == ["Ether ETF sees record inflows this week"]
    assert world.api.requests[-1].path == "/v2/top-headlines"


def test_articles_can_be_filtered_and_summed_up(world):
    fetcher = world.fetcher()
    articles = fetcher.get_crypto_news()["articles"]
    assert [each["source"] for each in fetcher.filter_articles(articles, source="two")] == ["Two"]
    assert len(fetcher.filter_articles(articles, keywords=["hackers", "etf"])) == 2
    summary = fetcher.get_article_summary(articles[0], 60)
    assert summary.startswith("Ether ETF sees record inflows")
    assert len(summary) <= 60


@pytest.mark.parametrize("market", ["synthetic", "synthetic:3"])
def test_in_a_world_of_our_own_nobody_is_asked(world, market):
    news = world.fetcher(PAPER_MARKET=market, NEWSAPI_KEY="news-key").get_crypto_news()
    assert (news["articles"], news["total_results"]) == ([], 0)
    assert "synthetic world" in news["reasons"]["all"]
    assert not (world.one.requests or world.two.requests or world.api.requests)


@pytest.mark.parametrize("text", ["[[rss]]\nname='x'", "[[rss]]\nname='x'\nurl='file:///x'", "= broken", "coins = 1"])
def test_a_wrong_list_of_sources_is_a_wrong_setting(tmp_path, text):
    path = tmp_path / "sources.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"sources\.toml"):
        read_sources(path)


def test_the_shipped_list_has_six_feeds_and_the_paper_exchanges_coins():
    from pathlib import Path

    listed = read_sources(Path(__file__).resolve().parents[2] / "config" / "news_sources.toml")
    assert len(listed.feeds) == 6
    assert {"BTC", "ETH", "SOL", "BNB", "XRP", "DOGE"} <= set(listed.coins)
