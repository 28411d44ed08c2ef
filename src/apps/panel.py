"""Puts the panel of analysts together: who is asked by which prompt, and what they see beside the chart."""

from typing import Final

from src.charts.panel import AnalystPanel, Panelist, panel_roles
from src.charts.panel_schema import MODERATOR, PanelFacts, QuotedHeadline
from src.charts.vision_analyst import Resize
from src.domain.clock import DAY_MS
from src.domain.errors import ExchangeError, StoreUnavailable
from src.exchanges.binance.client import BinanceClient
from src.llm.budgeted_model import paid_model
from src.llm.prompts import read_prompt
from src.llm.usage_ledger import UsageLedger
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.evidence_repository import EvidenceRepository
from src.strategy.evidence import coin_of

_HOUR_MS: Final = 3_600_000
_WAIT_SHARE: Final = 2.5  # of the timeout: who is asked a second time still has a chance


class PanelFactsReader:
    """Reads what a panel is told beside the chart; a source that is away leaves its figure unknown."""

    def __init__(self, client: BinanceClient, store: EvidenceRepository) -> None:
        self._client = client
        self._store = store

    def read(self, symbol: str) -> PanelFacts:
        """Return funding rate, open interest and the day's headlines of a pair's coin."""
        return PanelFacts(self._funding_rate(symbol), self._open_interest(symbol), self._headlines(symbol))

    def _funding_rate(self, symbol: str) -> float | None:
        try:
            return float(self._client.mark_price(symbol).funding_rate)
        except ExchangeError:
            return None

    def _open_interest(self, symbol: str) -> float | None:
        try:
            return float(self._client.open_interest(symbol))
        except ExchangeError:
            return None

    def _headlines(self, symbol: str) -> tuple[QuotedHeadline, ...]:
        now_ms = self._client.clock.now_ms()
        try:
            found = self._store.headlines_of(coin_of(symbol), now_ms - DAY_MS, now_ms)
        except StoreUnavailable:
            return ()
        return tuple(
            QuotedHeadline(title, source, round((now_ms - read_ms) / _HOUR_MS, 1), sentiment)
            for title, source, read_ms, sentiment in reversed(found)
        )


def build_panel(
    settings: Settings, ledger: UsageLedger, resize: Resize, client: BinanceClient, database: TradingDatabase
) -> AnalystPanel:
    """Return the panel that the settings ask for (PANEL_MODELS); all models share one budget.

    Raises:
        SettingsError: a prompt cannot be read.
    """
    named = dict(part.split("=", 1) for part in settings.panel_models.split(",") if part)
    members = {
        role: Panelist(role, paid_model(settings, ledger, model), read_prompt(f"panel_{role}"))
        for role, model in panel_roles(named, settings.openai_model).items()
    }
    moderator = members.pop(MODERATOR, None)
    facts = PanelFactsReader(client, EvidenceRepository(database))
    wait_s = _WAIT_SHARE * settings.openai_timeout_s
    return AnalystPanel(list(members.values()), moderator=moderator, resize=resize, facts=facts.read, wait_s=wait_s)
