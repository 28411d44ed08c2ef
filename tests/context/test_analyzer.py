"""The context: right figures from the right sources, and honest gaps."""

import logging
from decimal import Decimal

import pytest

from src.context.analyzer import (
    MarketContextAnalyzer,
    build_analyzer,
    check_report,
    context_from,
    missing_figures,
    world_of,
)
from src.context.sources import PaperWorld, coingecko_sources, fear_greed_sources
from src.context.ticker_24h import day_figures
from src.domain.clock import DAY_MS, ManualClock, monotonic_s
from src.domain.errors import ExchangeUnavailable
from src.domain.market import Candle, MarketContext
from src.runtime.cache import CacheManager
from src.runtime.http_fetch import WebFetcher
from src.runtime.settings import Settings
from tests.standins.context import NOW_MS, AlternativeMeStandIn, CoinGeckoStandIn, CoinMarketCapStandIn
from tests.standins.server import Reply, StandIn

STEP_MS = 900_000
HOUR_MS = 3_600_000


def candles_until(now_ms: int, count: int = 97, first: float = 100.0, last: float = 110.0) -> list[Candle]:
    """Return closed quarter-hours, the price going evenly from ``first`` to ``last``."""
    end = now_ms // STEP_MS * STEP_MS
    closes = [first + (last - first) * at / max(count - 1, 1) for at in range(count)]
    return [Candle(end - (count - at) * STEP_MS, close, close, close, close, 1.0) for at, close in enumerate(closes)]


class Exchange:
    """Candles on demand; counts the calls."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.calls: list[tuple[str, str, int]] = []
        self.away = False
        self.count = 97

    def __call__(self, symbol: str, interval: str, limit: int) -> list[Candle]:
        self.calls.append((symbol, interval, limit))
        if self.away:
            raise ExchangeUnavailable("no route to the exchange")
        return candles_until(self.clock.now_ms(), min(limit, self.count))


class Store:
    """Remembers what was saved."""

    def __init__(self) -> None:
        self.saved: list[MarketContext] = []

    def save_market_context(self, context: MarketContext) -> None:
        self.saved.append(context)


class World:
    """All the stand-ins, an analyzer over them, and a clock to turn."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.clock = ManualClock(NOW_MS)
        self.exchange = Exchange(self.clock)
        self.index, self.second, self.gecko = AlternativeMeStandIn(), CoinMarketCapStandIn(), CoinGeckoStandIn()
        self.store = Store()

    def analyzer(self, wait_s: float = 3.0, key: str = "") -> MarketContextAnalyzer:
        """Return a new analyzer, as another process would have it."""
        cache = CacheManager(self.folder, "market_data", clock=self.clock)
        fetcher = WebFetcher(connect_s=0.5, deadline_s=0.5)
        prices, dominance = coingecko_sources(fetcher, cache, self.clock, self.gecko.url, key)
        return MarketContextAnalyzer(
            self.clock,
            self.exchange,
            fear_greed=fear_greed_sources(fetcher, cache, self.clock, self.index.url, self.second.url),
            prices=prices,
            dominance=dominance,
            store=self.store,
            wait_s=wait_s,
        )


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    for stand_in in (made.index, made.second, made.gecko):
        stand_in.close()


def test_the_users_dictionary_comes_out_with_the_users_names(world):
    context = world.analyzer().get_market_context()
    assert list(context)[:10] == [
        "btc_price",
        "btc_change_24h",
        "eth_price",
        "eth_change_24h",
        "btc_dominance",
        "fear_greed_index",
        "market_trend",
        "btc_trend",
        "market_regime",
        "volatility_level",
    ]
    assert (context["btc_price"], context["btc_change_24h"]) == (65432.10, -2.3)
    assert (context["eth_price"], context["eth_change_24h"]) == (3254.80, -1.8)
    assert (context["btc_dominance"], context["fear_greed_index"]) == (54.2, 42)
    assert (context["market_trend"], context["btc_trend"]) == ("bearish", "down_weak")
    assert context["market_regime"] == "risk_off"
    assert context["sources"]["fear_greed_index"] == "alternative.me"
    assert context["sources"]["btc_price"] == "CoinGecko"
    assert context["unknown"] == {}


def test_every_key_method_of_the_user_answers(world):
    analyzer = world.analyzer()
    assert analyzer.get_fear_greed_index() == 42
    assert analyzer.get_btc_eth_prices()["eth_price"] == 3254.80
    assert analyzer.calculate_btc_dominance() == 54.2
    assert analyzer.determine_market_trend(-2.3, -1.8, 42) == "bearish"
    assert analyzer.determine_market_regime(-2.3, -1.8, 42) == "risk_off"
    analyzer.save_to_database(analyzer.get_market_context())
    analyzer.save_to_database(analyzer.observe())
    assert world.store.saved == [analyzer.observe()] * 2


def test_saving_without_a_database_is_a_fault_of_the_caller(world):
    analyzer = MarketContextAnalyzer(world.clock, world.exchange)
    with pytest.raises(ValueError, match="without a database"):
        analyzer.save_to_database(analyzer.observe())


def test_sources_are_asked_as_seldom_as_they_want_by_all_processes_together(world):
    first, second = world.analyzer(), world.analyzer()
    start_ms = world.clock.now_ms()
    while world.clock.now_ms() < start_ms + 2 * HOUR_MS:
        first.observe()
        second.observe()
        world.clock.advance_to(world.clock.now_ms() + 60_000)
    assert len(world.index.requests) == 2
    assert len(world.second.requests) == 0
    assert len(world.gecko.requests) == 2 * 12  # ten minutes apart, two questions
    assert len(world.exchange.calls) == 2 * 2 * 8  # a quarter-hour apart, two coins, two processes


def test_a_demo_key_travels_in_its_header_and_nowhere_else(world):
    world.analyzer(key="demo-key").observe()
    assert {request.headers["x-cg-demo-api-key"] for request in world.gecko.requests} == {"demo-key"}
    assert all("demo-key" not in str(request.query) for request in world.gecko.requests)


BROKEN = ["html with 200", "truncated", "server error", "forbidden", "wrong types", "drip", "null", "hang"]


@pytest.mark.parametrize("scenario", BROKEN)
def test_with_every_source_broken_the_exchange_stands_in_and_the_rest_is_unknown(world, scenario):
    for source in (world.index, world.second, world.gecko):
        source.scenario = scenario
    started_s = monotonic_s()
    context = world.analyzer().observe()
    assert monotonic_s() - started_s < 3.5
    assert (context.btc_price, round(context.btc_change_24h, 6)) == (110.0, 10.0)
    assert dict(context.sources)["btc_price"] == "exchange"
    assert context.fear_greed_index is None
    assert context.btc_dominance is None
    assert set(dict(context.unknown)) == {"btc_dominance", "fear_greed_index"}
    assert all(dict(context.unknown).values())
    assert context.market_trend == "bullish"


def test_with_nothing_at_all_everything_is_unknown_and_nothing_is_raised(world):
    for source in (world.index, world.second, world.gecko):
        source.close()
    world.exchange.away = True
    context = world.analyzer().observe()
    figures = [context.btc_price, context.btc_change_24h, context.eth_price, context.eth_change_24h]
    assert figures == [None] * 4
    words = {context.market_trend, context.btc_trend, context.market_regime, context.volatility_level}
    assert words == {"unknown"}
    assert len(context.unknown) == 6
    assert "no route to the exchange" in dict(context.unknown)["btc_price"]


def test_a_hanging_source_costs_no_more_than_the_wait_and_is_not_asked_twice(world):
    world.gecko.scenario = "hang"
    analyzer = world.analyzer(wait_s=0.2)
    for _ in range(3):
        started_s = monotonic_s()
        assert analyzer.observe().fear_greed_index == 42
        assert monotonic_s() - started_s < 0.4
        world.clock.advance_to(world.clock.now_ms() + 300_000)
    assert len(world.gecko.requests) == 2


@pytest.mark.parametrize(
    ("scenario", "quiet_s"),
    [("rate limit", 90), ("rate limit with 200", 60), ("wrong key", 3600), ("server error", 300)],
)
def test_a_refusing_source_is_left_alone_as_long_as_it_wants(world, scenario, quiet_s):
    world.gecko.scenario = scenario
    world.analyzer().observe()
    assert len(world.gecko.requests) == 2
    world.clock.advance_to(NOW_MS + quiet_s * 1000 - 1)
    world.analyzer().observe()
    assert len(world.gecko.requests) == 2
    world.clock.advance_to(NOW_MS + quiet_s * 1000 + 1)
    world.gecko.scenario = "ok"
    assert world.analyzer().observe().btc_dominance == 54.2
    assert len(world.gecko.requests) == 4


@pytest.mark.parametrize("scenario", ["rate limit", "wrong key", "wrong host"])
def test_coingeckos_own_words_reach_the_reason(world, scenario):
    world.gecko.scenario = scenario
    said = {"rate limit": "exceeded", "wrong key": "API Key Missing", "wrong host": "root URL"}[scenario]
    assert said in dict(world.analyzer().observe().unknown)["btc_dominance"]


def test_an_unknown_coin_and_a_null_change_are_gaps_that_the_exchange_fills(world):
    world.gecko.scenario = "null change"
    context = world.analyzer().observe()
    assert dict(context.sources)["btc_price"] == "CoinGecko"
    assert dict(context.sources)["btc_change_24h"] == "exchange"
    world.gecko.scenario = "unknown id"
    world.clock.advance_to(NOW_MS + 600_001)
    context = world.analyzer().observe()
    assert dict(context.sources)["btc_price"] == "exchange"
    assert context.btc_dominance == 54.2


@pytest.mark.parametrize("scenario", ["empty", "error with 200", "rate limit", *BROKEN[:5]])
def test_the_second_house_speaks_when_the_first_is_away_and_is_named(world, scenario):
    world.index.scenario = scenario
    context = world.analyzer().observe()
    assert context.fear_greed_index == 40
    assert dict(context.sources)["fear_greed_index"] == "CoinMarketCap"


@pytest.mark.parametrize("value", ["101", "-1", "12.5", "nan", "high", ""])
def test_an_impossible_index_is_refused(world, value):
    world.index.value = value
    world.second.scenario = "code with 200"
    context = world.analyzer().observe()
    assert context.fear_greed_index is None
    assert "alternative.me" in dict(context.unknown)["fear_greed_index"]
    assert "1011" in dict(context.unknown)["fear_greed_index"]


@pytest.mark.parametrize("hours", [-27, 3])
def test_an_index_of_the_day_before_yesterday_or_of_tomorrow_is_refused(world, hours):
    world.index.day_ms = NOW_MS + hours * HOUR_MS
    assert dict(world.analyzer().observe().sources)["fear_greed_index"] == "CoinMarketCap"


def test_the_days_index_stays_true_while_its_house_is_away_so_that_two_series_do_not_mix(world):
    world.analyzer().observe()
    world.index.scenario = "server error"
    world.clock.advance_to(NOW_MS + 10 * HOUR_MS)
    assert dict(world.analyzer().observe().sources)["fear_greed_index"] == "alternative.me"
    world.clock.advance_to(NOW_MS + 20 * HOUR_MS)  # 03:00 of the next day: 27 h old
    world.second.scenario = "server error"
    assert world.analyzer().observe().fear_greed_index is None


def test_an_outage_is_one_log_line_per_try_not_one_per_turn(world, caplog):
    world.gecko.scenario = "server error"
    analyzer = world.analyzer()
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            analyzer.observe()
            world.clock.advance_to(world.clock.now_ms() + 60_000)
    assert len([record for record in caplog.records if "source away" in record.message]) == 2  # prices, dominance


def test_figures_need_a_whole_day_of_candles():
    assert day_figures(candles_until(NOW_MS, 97), "btc")["btc_change_24h"] == pytest.approx(10.0)
    assert set(day_figures(candles_until(NOW_MS, 96), "btc")) == {"btc_price"}
    with_gap = candles_until(NOW_MS, 97)
    del with_gap[0]
    assert set(day_figures(with_gap, "btc")) == {"btc_price"}


def test_a_flat_day_has_no_volatility_and_a_jumping_one_has():
    flat = candles_until(NOW_MS, 97, 100.0, 100.0)
    assert day_figures(flat, "btc")["btc_volatility_24h"] == 0.0
    jump = [*flat[:-1], flat[-1]._replace(close=float(Decimal("105")))]
    assert day_figures(jump, "btc")["btc_volatility_24h"] == pytest.approx(4.879, abs=1e-3)


def test_old_candles_make_no_figures(world):
    stale = candles_until(NOW_MS - 2 * HOUR_MS)
    context = MarketContextAnalyzer(world.clock, lambda *_: stale).observe()
    assert context.btc_price is None
    assert "min old" in dict(context.unknown)["btc_price"]


def test_a_young_market_has_a_price_and_says_why_it_has_no_change(world):
    world.exchange.count = 10
    context = MarketContextAnalyzer(world.clock, world.exchange, world="synthetic").observe()
    assert context.btc_price == 110.0
    unknown = dict(context.unknown)
    assert unknown["btc_change_24h"] == "less than 24 hours of candles"
    assert unknown["btc_dominance"] == "synthetic world"
    assert unknown["fear_greed_index"] == "synthetic world"


def test_a_context_survives_its_dictionary(world):
    context = world.analyzer().observe()
    assert context_from(context.as_dict()) == context


def test_the_self_check_shows_each_figure_with_source_and_age(world):
    world.second.scenario = world.index.scenario = "server error"
    analyzer = world.analyzer()
    lines = check_report(analyzer)
    assert lines[1] == "btc_price             65,432.10   CoinGecko, 0 min old"
    assert lines[6].startswith("fear_greed_index unknown: 127.0.0.1")
    assert lines[7] == "market trend     bearish   btc down_weak"
    assert missing_figures(analyzer.observe()) == ["fear_greed_index"]
    world.index.scenario = "ok"
    world.clock.advance_to(NOW_MS + 600_000)
    assert check_report(world.analyzer())[6] == "fear_greed_index      42 (Fear)   alternative.me, 430 min old"


@pytest.mark.parametrize(("market", "expected"), [("synthetic", "synthetic"), ("synthetic:5", "synthetic")])
def test_a_synthetic_world_asks_nobody_outside(world, tmp_path, monkeypatch, market, expected):
    for name, stand_in in (("FNG", world.index), ("CMC", world.second), ("COINGECKO", world.gecko)):
        monkeypatch.setenv(f"{name}_BASE_URL", stand_in.url)
    monkeypatch.setenv("TRADING_MODE", "paper")
    monkeypatch.setenv("PAPER_MARKET", market)
    monkeypatch.setenv("PAPER_PORT", "9")  # discard: nobody listens
    settings = Settings.load(tmp_path / "none.env")
    assert world_of(settings) == expected
    context = build_analyzer(settings, world.clock, world.exchange).observe()
    assert context.world == expected
    assert set(dict(context.sources).values()) == {"exchange"}
    assert missing_figures(context) == []
    assert not (world.index.requests or world.second.requests or world.gecko.requests)


class PaperExchange(StandIn):
    """The paper exchange's own door to the mood of its world."""

    def reply_to(self, request):
        """Answer the index, or 404 for a market that has none."""
        if request.path != "/paper/v1/fear_greed" or self.scenario == "none":
            return Reply({"code": -1000, "msg": "This market has no Fear & Greed index."}, 404)
        return Reply({"value": 31, "as_of_ms": NOW_MS // DAY_MS * DAY_MS, "value_classification": "Fear"})


def test_a_paper_world_gives_its_own_mood_where_it_has_one(world):
    with PaperExchange() as paper:
        source = PaperWorld(WebFetcher(), world.clock, paper.url)
        analyzer = MarketContextAnalyzer(world.clock, world.exchange, fear_greed=[source], world="replay")
        context = analyzer.observe()
        assert context.fear_greed_index == 31
        assert dict(context.sources)["fear_greed_index"] == "paper exchange"
        paper.scenario = "none"
        world.clock.advance_to(NOW_MS + 3_600_000)
        assert dict(analyzer.observe().unknown)["fear_greed_index"] == "this market has no Fear & Greed index"


def test_the_mirror_is_the_live_world(world, tmp_path, monkeypatch):
    for name, stand_in in (("FNG", world.index), ("CMC", world.second), ("COINGECKO", world.gecko)):
        monkeypatch.setenv(f"{name}_BASE_URL", stand_in.url)
    monkeypatch.setenv("TRADING_MODE", "paper")
    monkeypatch.setenv("PAPER_MARKET", "mirror")
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))
    context = build_analyzer(Settings.load(tmp_path / "none.env"), world.clock, world.exchange).observe()
    assert (context.world, context.fear_greed_index) == ("live", 42)
