"""Adds to the market context what other programs said of contracts lately."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from src.apps.evidence import build_evidence
from src.domain.clock import Clock
from src.domain.errors import StoreUnavailable
from src.domain.market import MarketContext
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.external_signals import signals_since

log = logging.getLogger(__name__)

_OLDEST_MS: Final = 86_400_000  # older than any rule set counts


class ExternalSignalReader:
    """Reads the signals anew with every observation; where the database is away there are none.

    Args:
        observe: returns the context without them.
        database: where the API server wrote them.
        clock: the exchange's.
    """

    def __init__(self, observe: Callable[[], MarketContext], database: TradingDatabase, clock: Clock) -> None:
        self._observe = observe
        self._database = database
        self._clock = clock

    def observe(self) -> MarketContext:
        """Return the present context with the signals of the last day."""
        now_ms = self._clock.now_ms()
        try:
            said = signals_since(self._database, now_ms - _OLDEST_MS, now_ms)
        except StoreUnavailable as error:
            log.warning("external signals not read: reason=%s", error)
            said = ()
        context = self._observe()
        return replace(context, external=said) if said else context


def context_reader(
    settings: Settings,
    observe: Callable[[], MarketContext],
    database: TradingDatabase,
    pairs: Sequence[str],
    clock: Clock,
) -> Callable[[], MarketContext]:
    """Return what adds evidence and external signals to the context; raises ``SettingsError`` as ``build_evidence``."""
    evidence = build_evidence(settings, observe, database, pairs)
    return ExternalSignalReader(evidence.observe, database, clock).observe
