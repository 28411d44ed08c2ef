"""What the caches save: one day of the suite's questions to the outside, against stand-ins on loopback.

``python3 -m benchmarks.cache`` plays 24 hours with a clock of its own: two bots that want the context every minute,
and a chart process that reads the news every 15 minutes and judges every headline it sees.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from src.context.analyzer import MarketContextAnalyzer, build_analyzer
from src.domain.clock import DAY_MS, ManualClock, monotonic_s
from src.domain.market import Candle
from src.news.fetcher import NewsFetcher, as_dict
from src.news.sentiment import NewsSentimentAnalyzer
from src.runtime.cache import CacheManager
from src.runtime.settings import Settings
from tests.standins.context import NOW_MS, AlternativeMeStandIn, CoinGeckoStandIn, CoinMarketCapStandIn
from tests.standins.news import RssStandIn
from tests.standins.server import StandIn

MINUTE_MS = 60_000
BOTS = 2
FEEDS = 6
ITEMS = 20
NEW_ITEM_EVERY_MIN = 90
STEP_MS = 15 * MINUTE_MS


@dataclass(frozen=True)
class Saved:
    """One kind of question: how often the suite had it, how often it went out, and how often in full."""

    kind: str
    asked: int
    sent: int
    full: int

    @property
    def saved_share(self) -> float:
        """The share of questions that did not go out."""
        return 1 - self.sent / self.asked


class Feeds:
    """Six feeds that bring something new now and then."""

    def __init__(self) -> None:
        self.feeds = [RssStandIn([]) for _ in range(FEEDS)]
        for at, feed in enumerate(self.feeds):
            feed.items = [self._item(at, -number) for number in range(ITEMS)]

    def advance(self, minute: int) -> None:
        """Let each feed drop its oldest item for a new one, each at its own time."""
        for at, feed in enumerate(self.feeds):
            if (minute + 13 * at) % NEW_ITEM_EVERY_MIN == 0:
                feed.items = [self._item(at, minute), *feed.items[:-1]]
                feed.version += 1

    def _item(self, feed: int, minute: int) -> tuple[str, str, int]:
        title = f"Bitcoin story of feed {feed} at minute {minute} of the day"
        return title, f"https://feed{feed}.example/{minute}", -minute if minute > 0 else -minute * 60


def play(folder: Path) -> tuple[list[Saved], dict[str, dict[str, Any]]]:
    """Play the day and return what was saved, and the statistics of each cache."""
    index, second, gecko, feeds = AlternativeMeStandIn(), CoinMarketCapStandIn(), CoinGeckoStandIn(), Feeds()
    listed = folder / "sources.toml"
    rows = (f'[[rss]]\nname="Feed {at}"\nurl="{feed.url}/rss"\n' for at, feed in enumerate(feeds.feeds))
    listed.write_text("".join(rows) + '[coins]\nBTC=["bitcoin"]\n')
    settings = pointed_at(folder, index, second, gecko)
    clock = ManualClock(NOW_MS)
    bots = [build_analyzer(settings, clock, lambda *_: candles(clock)) for _ in range(BOTS)]
    fetcher, analyzer = NewsFetcher(settings, clock, listed), NewsSentimentAnalyzer(settings, clock=clock)
    judged = 0
    for minute in range(1_440):
        index.day_ms = clock.now_ms() // DAY_MS * DAY_MS
        feeds.advance(minute)
        observe(bots)
        if minute % 15 == 0:
            articles = fetcher.articles(days_back=2)
            judged += len(analyzer.batch_analyze([as_dict(article) for article in articles]))
        clock.advance_to(clock.now_ms() + MINUTE_MS)
    verdicts = analyzer.get_cache_stats()
    rounds = [request for feed in feeds.feeds for request in feed.requests]
    full = len(rounds) - sum(unchanged(feed) for feed in feeds.feeds)
    saved = [
        Saved("Fear & Greed", BOTS * 1_440, len(index.requests), len(index.requests)),
        Saved("CoinGecko, prices and dominance", 2 * BOTS * 1_440, len(gecko.requests), len(gecko.requests)),
        Saved("feeds", FEEDS * 96, len(rounds), full),
        Saved("headlines judged", judged, verdicts["misses"], verdicts["misses"]),
    ]
    for stand_in in (index, second, gecko, *feeds.feeds):
        stand_in.close()
    names = ("market_data", "news", "sentiment")
    return saved, {name: CacheManager(settings.cache_dir, name, clock=clock).get_stats() for name in names}


def observe(bots: Sequence[MarketContextAnalyzer]) -> None:
    """Let each bot look once."""
    for bot in bots:
        bot.observe()


def unchanged(feed: RssStandIn) -> int:
    """Return how many of a feed's requests carried the newest validator of their time: they got 304."""
    tags = [request.headers.get("if-none-match") for request in feed.requests]
    return sum(tag is not None and tag == after for tag, after in pairwise(tags))


def pointed_at(folder: Path, index: StandIn, second: StandIn, gecko: StandIn) -> Settings:
    """Return settings whose outside is on loopback."""
    given = {"TRADING_MODE": "paper", "PAPER_MARKET": "mirror", "CACHE_DIR": str(folder / "cache")}
    given |= {"FNG_BASE_URL": index.url, "CMC_BASE_URL": second.url, "COINGECKO_BASE_URL": gecko.url}
    os.environ.update(given)
    return Settings.load(folder / "none.env")


def candles(clock: ManualClock) -> list[Candle]:
    """Return a flat day of quarter-hours that closed by now."""
    end = clock.now_ms() // STEP_MS * STEP_MS
    return [Candle(end - at * STEP_MS, 100.0, 100.0, 100.0, 100.0, 1.0) for at in range(97, 0, -1)]


def main() -> int:
    """Print the table."""
    console = Console(width=100)
    with tempfile.TemporaryDirectory() as folder:
        started_s = monotonic_s()
        saved, stats = play(Path(folder))
    table = Table("question", "asked a day", "sent", "answered in full", "saved", title="one day, two bots")
    for each in saved:
        table.add_row(each.kind, f"{each.asked:,}", f"{each.sent:,}", f"{each.full:,}", f"{each.saved_share:.1%}")
    asked, sent = sum(each.asked for each in saved), sum(each.sent for each in saved)
    table.add_section()
    table.add_row("all", f"{asked:,}", f"{sent:,}", f"{sum(each.full for each in saved):,}", f"{1 - sent / asked:.1%}")
    console.print(table)
    for name, each in stats.items():  # type: ignore[assignment]
        rate = "none" if each["hit_rate"] is None else f"{each['hit_rate']:.1%}"
        console.print(f"cache {name}: hit rate {rate}, {each['entries']} entries, {each['size_bytes'] / 1e6:.2f} MB")
    console.print(f"played in {monotonic_s() - started_s:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
