"""Adds to the market context what decisions may count beside price: news events and chart opinions."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from src.domain.errors import StoreUnavailable
from src.domain.market import MarketContext
from src.news.events import events_in
from src.news.fetcher import SOURCES_FILE
from src.news.sources import read_sources
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.evidence_repository import EvidenceRepository
from src.strategy.evidence import MOST_NEWS_HOURS

log = logging.getLogger(__name__)

_HOUR_MS: Final = 3_600_000


class EvidenceReader:
    """Reads the evidence anew whenever the context was put together anew.

    Where the database is away, what was read last stays: opinions and events grow old by themselves.
    """

    def __init__(
        self,
        observe: Callable[[], MarketContext],
        store: EvidenceRepository,
        pairs: Sequence[str],
        coins: Mapping[str, Sequence[str]],
    ) -> None:
        self._observe = observe
        self._store = store
        self._pairs = pairs
        self._coins = coins
        self._known: MarketContext | None = None

    def observe(self) -> MarketContext:
        """Return the present context with events and opinions."""
        context, known = self._observe(), self._known
        if known is None or known.as_of_ms != context.as_of_ms:
            known = self._known = self._with_evidence(context, known)
        return known

    def _with_evidence(self, context: MarketContext, before: MarketContext | None) -> MarketContext:
        now_ms = context.as_of_ms
        try:
            headlines = self._store.headlines(now_ms - MOST_NEWS_HOURS * _HOUR_MS, now_ms)
            opinions = self._store.chart_opinions(self._pairs, now_ms)
        except StoreUnavailable as error:
            log.warning("evidence not read, what was known before counts: reason=%s", error)
            kept = context if before is None else before
            return replace(context, events=kept.events, opinions=kept.opinions)
        return replace(context, events=events_in(headlines, self._coins), opinions=opinions)


def build_evidence(
    settings: Settings, observe: Callable[[], MarketContext], database: TradingDatabase, pairs: Sequence[str]
) -> EvidenceReader:
    """Return the reader of the bot's evidence.

    Raises:
        SettingsError: the list of news sources cannot be read.
    """
    coins = read_sources(settings.project_root / SOURCES_FILE).coins
    return EvidenceReader(observe, EvidenceRepository(database), pairs, coins)
