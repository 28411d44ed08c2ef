"""The rows that processes hand to the database; each field is the column of that name.

Times are UTC text as ``domain.clock.utc_text`` makes it, ``None`` if the event has not happened. Unknown figures are
``None``, never 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Table, and_

from src.storage.tables import EVERY


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of rows: ``mode`` is paper, testnet or live; ``world`` (the market) is live, synthetic or replay.

    Figures of different owners are never mixed: a profit in a simulated market is not a real one.
    """

    bot_id: str = "main"
    mode: str = "paper"
    world: str = "synthetic"

    def columns(self, symbol: str) -> dict[str, Any]:
        """Return the columns that identify the owner of a row."""
        return {"bot_id": self.bot_id, "mode": self.mode, "world": self.world, "symbol": symbol}

    def rows_of(self, table: Table) -> ColumnElement[bool]:
        """Return the condition that a row of ``table`` is this owner's."""
        return and_(table.c.bot_id == self.bot_id, table.c.mode == self.mode, table.c.world == self.world)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartAnalysis:
    """The result of one chart analysis; ``status`` is ok or error (then ``error`` is one sentence).

    ``analyst`` is local, openai or panel; ``confidence`` high, medium or low; ``overall_score`` 0 to 10. ``prompt`` is
    the instruction's name and version; ``disagreement`` the share of a panel that recommends otherwise.
    """

    timestamp: str
    symbol: str
    interval: str
    candles: int
    analyst: str
    status: str = "ok"
    price: float | None = None
    model: str = ""
    trend: str | None = None
    recommendation: str | None = None
    confidence: str | None = None
    overall_score: float | None = None
    support_levels: list[float] | None = None
    resistance_levels: list[float] | None = None
    technical_signals: Mapping[str, Any] | None = None
    summary: str = ""
    chart_file: str = ""
    error: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    latency_ms: float | None = None
    prompt: str = ""
    counter_argument: str = ""
    disagreement: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelRow:
    """One analyst's answer in a panel's analysis: what it recommends, or why it was not heard (``error``).

    ``role`` is trend, mean_reversion, sceptic, moderator or rules; ``prompt`` name and version of the instruction.
    """

    timestamp: str
    symbol: str
    analysis_id: int
    role: str
    model: str = ""
    prompt: str = ""
    status: str = "ok"
    recommendation: str | None = None
    confidence: str | None = None
    probability_up: float | None = None
    reason: str = ""
    counter_argument: str = ""
    error: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsArticle:
    """One article with its sentiment (bullish, bearish, neutral; None before it was scored).

    ``url_hash`` identifies copies of the same article; ``timestamp`` is when it was fetched. ``confidence`` is
    0 to 100, ``score`` -1 to 1.
    """

    timestamp: str
    url_hash: str
    url: str
    source: str
    title: str
    published_at: str | None = None
    summary: str = ""
    symbols: list[str] = field(default_factory=list)
    world: str = "live"
    sentiment: str | None = None
    confidence: float | None = None
    score: float | None = None
    sentiment_reason: str = ""
    sentiment_mode: str = ""
    prompt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiUsage:
    """One paid or limited call; ``outcome`` is ok, error, refused or timeout; cached calls cost nothing."""

    timestamp: str
    process: str
    service: str
    operation: str
    outcome: str = "ok"
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    cached: bool = False
    latency_ms: float | None = None
    error: str = ""
    symbol: str = EVERY


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """A heartbeat of one process: ``timestamp`` in the exchange's time, ``beat_at`` by the machine's clock.

    ``speed`` is how many seconds of the exchange pass in one of the machine's; ``last_market`` and
    ``last_private`` are the instants of the last market data and the last good answer about the account.
    """

    timestamp: str
    beat_at: str
    process: str
    pid: int
    started_at: str
    phase: str
    version: str
    config_hash: str
    interval_s: float
    speed: float = 1.0
    cycle_no: int = 0
    cycle_started: str | None = None
    cycle_finished: str | None = None
    last_market: str | None = None
    last_private: str | None = None
    last_error: str = ""
    last_error_at: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    symbol: str = EVERY


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStart:
    """The start of a training run; ``source`` is its data (``database`` or a file's name)."""

    timestamp: str
    symbol: str
    source: str
    episodes: int
    seed: int
    samples: int = 0
    data_hash: str = ""
    data_start: str | None = None
    data_end: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEnd:
    """How it ended: ``status`` done, failed or stopped; ``accepted`` says whether the new model took over."""

    finished_at: str
    status: str
    accepted: bool | None = None
    verdict: str = ""
    metrics: Mapping[str, Any] | None = None
    model_file: str = ""
    model_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEpisode:
    """One episode of a run; ``win_rate`` and ``net_return`` are shares, ``exploration`` likewise."""

    timestamp: str
    episode: int
    exploration: float
    reward_mean: float
    trades: int
    win_rate: float | None = None
    net_return: float | None = None
