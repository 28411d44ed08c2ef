"""The market context of the traded pair, assembled from several sources.

Every figure names its source; a missing one is None with the reason and never stops a turn. In a synthetic or replayed
market all figures come from that market; external sources do not apply and are not used.
"""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any, Final, Protocol

from src.charts.latest_analysis import Evidence, evidence_reader
from src.context.classify import btc_trend, fear_greed_label, market_regime, market_trend, volatility_level
from src.context.sources import (
    ContextSource,
    PaperDominance,
    PaperWorld,
    SourceReading,
    coingecko_sources,
    fear_greed_sources,
)
from src.context.ticker_24h import Candles, Ticker24h
from src.domain.clock import Clock, utc_text
from src.domain.errors import ExchangeError, SettingsError, SourceUnavailable
from src.domain.market import MarketContext
from src.runtime.cache import CacheManager
from src.runtime.http_fetch import WebFetcher
from src.runtime.parallel_fetch import ParallelFetcher
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.rows import Owner

log = logging.getLogger(__name__)

_EX_UNAVAILABLE: Final = 69  # sysexits.h
_EX_CONFIG: Final = 78
_FIGURES: Final = (
    "btc_price",
    "btc_change_24h",
    "eth_price",
    "eth_change_24h",
    "btc_dominance",
    "fear_greed_index",
)
_PRICE_FIGURES: Final = _FIGURES[:4]


class ContextStore(Protocol):
    """Where contexts are kept."""

    def save_market_context(self, context: MarketContext) -> None:
        """Keep one context; ``StoreUnavailable`` when that is not possible now."""


class MarketContextAnalyzer:
    """Assembles the context, at most once in ``cache_s``, within at most ``wait_s``.

    ``MarketContextAnalyzer()`` takes everything from the project's settings.

    Args:
        clock: the exchange's clock.
        candles: called as ``candles(symbol, interval, limit)``; the last closed candles, oldest first. Without clock
            or candles, all the others are the settings' as well.
        fear_greed: sources of the index, first choice first.
        prices: BTC and ETH from external sources; the exchange's own candles replace missing figures.
        dominance: BTC's share from external sources.
        store: where ``save_to_database`` writes.
        charts: the latest chart opinion on each pair.
        world: ``live``, ``synthetic`` or ``replay``.
        cache_s: maximum age of a context, in seconds of ``clock``: until the next full multiple, so that two runs over
            the same market see the same contexts.
        wait_s: how long to wait for all sources together, in wall seconds.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        candles: Candles | None = None,
        *,
        fear_greed: Sequence[ContextSource] = (),
        prices: ContextSource | None = None,
        dominance: ContextSource | None = None,
        store: ContextStore | None = None,
        charts: Callable[[], Evidence] = tuple,
        world: str = "live",
        cache_s: float = 300.0,
        wait_s: float = 3.0,
    ) -> None:
        if clock is None or candles is None:
            self.__dict__.update(vars(_configured()))
            return
        self._clock = clock
        self._store = store
        self._charts = charts
        self._world = world
        self._cache_ms = int(cache_s * 1000)
        self._index_sources = list(fear_greed)
        self._price_source = prices
        self._dominance_source = dominance
        self._days = {
            "btc": Ticker24h(candles, clock, "BTCUSDT", "btc"),
            "eth": Ticker24h(candles, clock, "ETHUSDT", "eth"),
        }
        self._gatherer: ParallelFetcher[SourceReading] = ParallelFetcher(wait_s)
        self._context: MarketContext | None = None
        self._readings: dict[str, SourceReading] = {}

    def observe(self) -> MarketContext:
        """Return the present context; missing figures are None, with the reason in ``unknown``."""
        now_ms = self._clock.now_ms()
        context = self._context
        if context is None or now_ms // self._cache_ms != context.as_of_ms // self._cache_ms:
            context = self._context = self._assemble(now_ms)
        return context

    def get_market_context(self) -> dict[str, Any]:
        """Return the context as a dictionary: the ten figures, then ``as_of_ms world sources unknown``."""
        return self.observe().as_dict()

    def get_fear_greed_index(self) -> int | None:
        """Return the index, 0 (extreme fear) to 100 (extreme greed), or None where unknown."""
        return self.observe().fear_greed_index

    def get_btc_eth_prices(self) -> dict[str, float | None]:
        """Return ``btc_price btc_change_24h eth_price eth_change_24h`` (dollars, percent), None where unknown."""
        context = self.observe()
        return {name: getattr(context, name) for name in _PRICE_FIGURES}

    def calculate_btc_dominance(self) -> float | None:
        """Return BTC's share of the capitalisation of all coins in percent, or None where unknown."""
        return self.observe().btc_dominance

    def determine_market_trend(
        self, btc_change_24h: float | None, eth_change_24h: float | None, fear_greed_index: int | None = None
    ) -> str:
        """Return ``bullish``, ``bearish``, ``neutral`` or ``unknown``; see ``context_rules.market_trend``."""
        return market_trend(btc_change_24h, eth_change_24h, fear_greed_index)

    def determine_market_regime(
        self, btc_change_24h: float | None, eth_change_24h: float | None, fear_greed_index: int | None = None
    ) -> str:
        """Return ``risk_on``, ``risk_off`` or ``unknown``; see ``context_rules.market_regime``."""
        return market_regime(btc_change_24h, eth_change_24h, fear_greed_index)

    def save_to_database(self, context: MarketContext | Mapping[str, Any]) -> None:
        """Keep a context, as ``observe`` or ``get_market_context`` returned it.

        Raises:
            StoreUnavailable: the database refuses just now.
            ValueError: no database was handed in.
        """
        if self._store is None:
            raise ValueError("this analyzer was built without a database")
        self._store.save_market_context(context if isinstance(context, MarketContext) else context_from(context))

    def reading_of(self, figure: str) -> SourceReading | None:
        """Return the reading behind a figure of the present context, or None if unknown."""
        return self._readings.get(figure)

    def _assemble(self, now_ms: int) -> MarketContext:
        readings, reasons = self._ask_all()
        values = {name: readings[name].figures[name] for name in _FIGURES if name in readings}
        volatility = readings["btc_day"].figures.get("btc_volatility_24h") if "btc_day" in readings else None
        btc, eth, index = values.get("btc_change_24h"), values.get("eth_change_24h"), values.get("fear_greed_index")
        mood = None if index is None else int(index)
        self._readings = {name: readings[name] for name in values}
        return MarketContext(
            btc_price=values.get("btc_price"),
            btc_change_24h=btc,
            eth_price=values.get("eth_price"),
            eth_change_24h=eth,
            btc_dominance=values.get("btc_dominance"),
            fear_greed_index=mood,
            market_trend=market_trend(btc, eth, mood),
            btc_trend=btc_trend(btc),
            market_regime=market_regime(btc, eth, mood),
            volatility_level=volatility_level(volatility, btc),
            as_of_ms=now_ms,
            world=self._world,
            sources=tuple((name, readings[name].source) for name in values),
            unknown=tuple((name, reasons.get(name, "no source")) for name in _FIGURES if name not in values),
            charts=self._charts(),
        )

    def _ask_all(self) -> tuple[dict[str, SourceReading], dict[str, str]]:
        """Return the reading to use for each figure, and the reasons for missing ones."""
        asked: dict[str, Callable[[], SourceReading]] = {"btc": self._days["btc"].read, "eth": self._days["eth"].read}
        if self._index_sources:
            asked["index"] = self._read_index
        if self._price_source is not None:
            asked["prices"] = self._price_source.read
        if self._dominance_source is not None:
            asked["dominance"] = self._dominance_source.read
        found, refused = self._gatherer.gather(asked)
        elsewhere = f"{self._world} world" if self._world != "live" else "no source"
        readings, reasons = _chosen(found, refused, elsewhere)
        if "btc" in found:
            readings["btc_day"] = found["btc"]
        return readings, reasons

    def _read_index(self) -> SourceReading:
        reasons = []
        for source in self._index_sources:
            try:
                return source.read()
            except SourceUnavailable as error:
                reasons.append(str(error))
        raise SourceUnavailable("; ".join(reasons))


def _chosen(
    found: Mapping[str, SourceReading], refused: Mapping[str, str], elsewhere: str
) -> tuple[dict[str, SourceReading], dict[str, str]]:
    readings: dict[str, SourceReading] = {}
    reasons: dict[str, str] = {}
    asked_for = {
        "btc_price": ("prices", "btc"),
        "btc_change_24h": ("prices", "btc"),
        "eth_price": ("prices", "eth"),
        "eth_change_24h": ("prices", "eth"),
        "btc_dominance": ("dominance",),
        "fear_greed_index": ("index",),
    }
    for figure, names in asked_for.items():
        reading = next((found[name] for name in names if name in found and figure in found[name].figures), None)
        if reading is not None:
            readings[figure] = reading
            continue
        said = [refused[name] for name in names if name in refused]
        missing = ["less than 24 hours of candles"] if any(name in found for name in names) else [elsewhere]
        reasons[figure] = "; ".join(said or missing)
    return readings, reasons


def context_from(values: Mapping[str, Any]) -> MarketContext:
    """Return the context that ``as_dict`` was called on."""
    known = {each.name: values[each.name] for each in fields(MarketContext) if each.name in values}
    for name in ("sources", "unknown", "charts"):
        known[name] = tuple(dict(known.get(name, {})).items())
    return MarketContext(**known)


def world_of(settings: Settings) -> str:
    """Return the kind of market: ``live`` (also for the mirror), ``synthetic`` or ``replay``."""
    return settings.world


def build_analyzer(
    settings: Settings, clock: Clock, candles: Candles, store: ContextStore | None = None
) -> MarketContextAnalyzer:
    """Return an analyzer with the sources for the settings' market."""
    world = world_of(settings)
    charts = evidence_reader(store, settings, clock) if isinstance(store, TradingDatabase) else tuple
    if world != "live":
        own = PaperWorld(WebFetcher(), clock, settings.paper_url)
        return MarketContextAnalyzer(
            clock,
            candles,
            fear_greed=[own],
            dominance=PaperDominance(WebFetcher(), settings.paper_url) if world == "synthetic" else None,
            store=store,
            charts=charts,
            world=world,
            cache_s=settings.context_cache_s,
        )
    cache = CacheManager(settings.cache_dir, "market_data", 300.0, settings.cache_max_mb / 4, clock)
    key = settings.coingecko_api_key.get_secret_value()
    keyed = WebFetcher(follow_redirects=False)
    prices, dominance = coingecko_sources(keyed, cache, clock, settings.coingecko_base_url, key)
    return MarketContextAnalyzer(
        clock,
        candles,
        fear_greed=fear_greed_sources(WebFetcher(), cache, clock, settings.fng_base_url, settings.cmc_base_url),
        prices=prices,
        dominance=dominance,
        store=store,
        charts=charts,
        cache_s=settings.context_cache_s,
    )


def _configured() -> MarketContextAnalyzer:
    """The analyzer of the project's settings; the figures of an unavailable exchange stay unknown."""
    from src.exchanges.binance.client import BinanceClient

    settings = Settings.load()
    client = BinanceClient.from_settings(settings)
    with suppress(ExchangeError):
        client.sync_clock()
    owner = Owner(settings.bot_id, settings.mode, settings.world)
    return build_analyzer(settings, client.clock, client.candles, TradingDatabase(settings.database_url, owner))


def check_report(analyzer: MarketContextAnalyzer) -> list[str]:
    """Return one line per figure: value, source and age, or why it is unknown; then the classification."""
    context = analyzer.observe()
    lines = [f"world            {context.world}   at {utc_text(context.as_of_ms)}"]
    for name in _FIGURES:
        reading, reason = analyzer.reading_of(name), dict(context.unknown).get(name)
        if reading is None:
            lines.append(f"{name:<16} unknown: {reason}")
            continue
        word = f" ({reading.label or fear_greed_label(int(reading.figures[name]))})" if name == _FIGURES[-1] else ""
        age_min = max(context.as_of_ms - reading.as_of_ms, 0) / 60_000
        value = f"{reading.figures[name]:,.{0 if word else 2}f}{word}"
        lines.append(f"{name:<16} {value:>14}   {reading.source}, {age_min:.0f} min old")
    return [
        *lines,
        f"market trend     {context.market_trend}   btc {context.btc_trend}",
        f"market regime    {context.market_regime}   volatility {context.volatility_level}",
    ]


def missing_figures(context: MarketContext) -> list[str]:
    """Return the unknown figures that should be known in this market."""
    expected = _FIGURES if context.world == "live" else _PRICE_FIGURES
    return [name for name, _ in context.unknown if name in expected]


def main() -> int:
    """Show the context of the project's settings; return 0, 69 where a figure is missing, 78 for wrong settings."""
    from src.exchanges.binance.client import BinanceClient

    try:
        settings = Settings.load()
        client = BinanceClient.from_settings(settings)
        client.sync_clock()
    except SettingsError as error:
        sys.stderr.write("\n".join(error.problems) + "\n")
        return _EX_CONFIG
    except ExchangeError as error:
        hint = ": start it with ./scripts/start_paper_exchange.sh" if settings.mode == "paper" else ""
        sys.stderr.write(f"The exchange cannot be asked, {error}{hint}.\n")
        return _EX_UNAVAILABLE
    analyzer = build_analyzer(settings, client.clock, client.candles)
    sys.stdout.write("\n".join(check_report(analyzer)) + "\n")
    missing = missing_figures(analyzer.observe())
    if missing:
        sys.stderr.write(f"Missing: {', '.join(missing)}; the bot trades on without them.\n")
    return _EX_UNAVAILABLE if missing else 0
