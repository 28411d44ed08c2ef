"""Monthly cost of the suite's models: from recorded usage where there is any, else from the price table."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from sqlalchemy import func, select

from src.domain.clock import DAY_MS, instant_of, utc_text
from src.domain.errors import StoreCorrupt, StoreUnavailable
from src.llm.pricing import (
    MONTH_DAYS,
    PRICES_AS_OF,
    chart_calls,
    is_own_server,
    monthly_cost_usd,
    news_calls,
    price_of,
)
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.tables import api_usage

CHART_OPERATION: Final = "chart"
NEWS_OPERATION: Final = "news"
_KINDS: Final = {"chart": CHART_OPERATION, "news": NEWS_OPERATION, "text": NEWS_OPERATION}
"""How operations in ``api_usage`` begin; headlines are the only text that is asked about."""
SERVICE: Final = "openai"
_CENT: Final = Decimal("0.01")
_LEAST_RECORD_MS: Final = DAY_MS
_PICTURE: Final[tuple[int, int, Literal["low", "high"]]] = (1200, 900, "high")

Mode = Literal["premium", "cost-saving", "free"]


@dataclass(frozen=True, slots=True)
class ModelSpending:
    """What one kind of call cost in the last 30 days: ``days`` is how long there has been a record of it."""

    calls: int
    cost_usd: Decimal
    days: float


@dataclass(frozen=True, slots=True)
class CostLine:
    """One component's month; ``usd`` is None where the model's price is not known. ``basis`` says how it is known."""

    component: str
    model: str
    usd: Decimal | None
    basis: str


@dataclass(frozen=True, slots=True)
class ModeCost:
    """A mode's month, line by line."""

    mode: Mode
    lines: tuple[CostLine, ...]

    @property
    def total_usd(self) -> Decimal | None:
        """The sum to the cent, or None where a part of it is not known."""
        parts = [line.usd for line in self.lines]
        return None if None in parts else sum((part for part in parts if part is not None), Decimal(0)).quantize(_CENT)


@dataclass(frozen=True, slots=True)
class SpendingRecord:
    """What was recorded: spending by kind and model, and the present month's sum. Empty where nothing could be read."""

    spending: Mapping[tuple[str, str], ModelSpending]
    month_usd: Decimal = Decimal(0)
    note: str = ""


MODE_SETTINGS: Final[Mapping[Mode, Mapping[str, str]]] = {
    "premium": {"USE_LOCAL_SENTIMENT": "false", "CHART_ANALYST": ""},
    "cost-saving": {"USE_LOCAL_SENTIMENT": "true", "CHART_ANALYST": ""},
    "free": {"USE_LOCAL_SENTIMENT": "true", "CHART_ANALYST": "local"},
}
"""What each mode writes; an empty CHART_ANALYST means the model where there is a key, else the local analyst."""


def current_mode(settings: Settings) -> Mode | None:
    """Return the mode that the settings ask for; None for a mixture (charts on this machine, news by a model)."""
    if settings.chart_analyst != "local":
        return "cost-saving" if settings.use_local_sentiment else "premium"
    return "free" if settings.use_local_sentiment else None


def model_reachable(settings: Settings) -> bool:
    """Return whether there is a key, or a server of one's own, to ask a model at all."""
    return bool(settings.openai_api_key.get_secret_value() or settings.openai_base_url)


def month_of(mode: Mode, settings: Settings, ledger: SpendingRecord) -> ModeCost:
    """Return what a month in this mode costs with these settings."""
    charts = _free("Chart Analysis") if mode == "free" else _charts(settings, ledger)
    news = _news(settings, ledger) if mode == "premium" else _free("News Sentiment")
    return ModeCost(mode, (charts, news, _free("Market Data"), _free("Binance API")))


def read_ledger(settings: Settings, now_ms: int) -> SpendingRecord:
    """Return what the database recorded in the last 30 days and in the present UTC month."""
    since, month = utc_text(now_ms - MONTH_DAYS * DAY_MS), utc_text(now_ms)[:7]
    columns = api_usage.c
    query = (
        select(columns.operation, columns.model, func.count(), func.sum(columns.cost_usd), func.min(columns.timestamp))
        .where(columns.service == SERVICE, columns.timestamp >= since, columns.cached.is_(False))
        .group_by(columns.operation, columns.model)
    )
    try:
        with closing(TradingDatabase(settings.database_url, read_only=True)) as database:
            with database.read() as connection:
                rows = [tuple(row) for row in connection.execute(query)]
            month_usd = database.month_cost_usd(month, SERVICE)
    except (StoreUnavailable, StoreCorrupt) as error:
        return SpendingRecord({}, note=f"no record: {error}")
    return SpendingRecord(_summed(rows, now_ms), month_usd.quantize(_CENT))


def _summed(rows: list[tuple[str, str, int, Decimal, str]], now_ms: int) -> dict[tuple[str, str], ModelSpending]:
    spending: dict[tuple[str, str], ModelSpending] = {}
    for operation, model, calls, cost, first in rows:
        kind = next((kind for start, kind in _KINDS.items() if operation.startswith(start)), operation)
        before = spending.get((kind, model), ModelSpending(0, Decimal(0), 0.0))
        days = max((now_ms - instant_of(first)) / DAY_MS, before.days)
        spending[kind, model] = ModelSpending(before.calls + calls, before.cost_usd + Decimal(cost), days)
    return spending


def _charts(settings: Settings, ledger: SpendingRecord) -> CostLine:
    recorded = ledger.spending.get((CHART_OPERATION, settings.openai_model))
    calls = chart_calls(settings.chart_interval_minutes, len(settings.pairs))
    table = monthly_cost_usd(settings.openai_model, calls, _PICTURE)
    return _line("Chart Analysis", settings.openai_model, settings, recorded, table)


def _news(settings: Settings, ledger: SpendingRecord) -> CostLine:
    recorded = ledger.spending.get((NEWS_OPERATION, settings.openai_news_model))
    table = monthly_cost_usd(settings.openai_news_model, news_calls())
    return _line("News Sentiment", settings.openai_news_model, settings, recorded, table)


def _line(
    component: str, model: str, settings: Settings, recorded: ModelSpending | None, table: Decimal | None
) -> CostLine:
    if recorded is not None and recorded.days * DAY_MS >= _LEAST_RECORD_MS:
        days = min(recorded.days, float(MONTH_DAYS))
        usd = recorded.cost_usd * MONTH_DAYS / Decimal(str(days))
        return CostLine(component, model, usd.quantize(_CENT), f"recorded: {recorded.calls} calls in {days:.1f} days")
    if settings.openai_base_url and (price_of(model) is None or is_own_server(settings.openai_base_url)):
        return CostLine(component, model, Decimal(0), "your own server")
    if table is None:
        return CostLine(component, model, None, f"no price known for {model}")
    return CostLine(component, model, table.quantize(_CENT), f"price table of {PRICES_AS_OF}, every call made")


def _free(component: str) -> CostLine:
    return CostLine(component, "", Decimal(0), "free")
