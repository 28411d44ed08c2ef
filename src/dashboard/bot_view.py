"""One look at the database on behalf of one bot: its rows, its scope, and its time on our clock.

A bot lives in the exchange's time, which may run faster than the machine's; ages on the page are the machine's. The
heartbeat, written in both, ties the two together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from src.dashboard.page_query import WHOLE, PageQuery
from src.dashboard.states import DataSource, source_of
from src.domain.clock import instant_of
from src.reporting.pages import Scope
from src.reporting.service import ReportService
from src.runtime.lab_jobs import LabJobs
from src.runtime.settings import Settings
from src.strategy.rules import DecisionRules

TRADING: Final = "trading_bot"
CHARTS: Final = "chart_analysis_bot"
POLL_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class FreshnessLimits:
    """How old data may be, in seconds of the exchange: what the settings say of it."""

    account_s: float
    context_s: float
    chart_s: float
    news_s: float


@dataclass(frozen=True, slots=True)
class BotView:
    """What a card may ask; ``wall_ms`` is now by the machine's clock. ``kept`` are answers already found.

    ``rules`` is the rule set in force, None where its file cannot be read; ``query`` is what the page asks for;
    ``remembered`` outlives a look: answers that are too dear to work out each time.
    """

    reports: ReportService
    bot_id: str
    scope: Scope
    beats: tuple[Mapping[str, Any], ...]
    wall_ms: int
    limits: FreshnessLimits
    kept: dict[str, Any] = field(default_factory=dict)
    chart_dir: Path | None = None
    rules: DecisionRules | None = None
    query: PageQuery = WHOLE
    settings: Settings | None = None
    lab: LabJobs | None = None
    remembered: dict[Any, Any] = field(default_factory=dict)

    def beat(self, process: str = TRADING) -> Mapping[str, Any] | None:
        """Return this bot's last sign of life of a process."""
        return next((row for row in self.beats if row["process"] == process and row["bot_id"] == self.bot_id), None)

    @property
    def sources(self) -> dict[str, DataSource]:
        """The processes that bring this bot's data."""
        bot = source_of("bot", "The trading bot", self.beat())
        return {
            "bot": bot,
            "charts": source_of("charts", "The chart bot", self.beat(CHARTS)),
            "exchange": replace(bot, name="exchange", title="The exchange", beat_ms=self.market_ms),
        }

    @property
    def market_ms(self) -> int | None:
        """When the exchange last sent market data, by the machine's clock; before the first, when the bot started."""
        beat = self.beat()
        return None if beat is None else self.wall_of(beat["last_market"] or beat["started_at"])

    @property
    def candle_interval(self) -> str:
        """The candles that the rules in force look at, empty where they are not known."""
        return "" if self.rules is None else self.rules.candle_interval

    @property
    def bots(self) -> tuple["BotView", ...]:
        """A look on behalf of each trading bot that ever reported to this database, each in its own mode and world."""
        return tuple(
            replace(
                self, bot_id=row["bot_id"], scope=Scope(row["bot_id"], row["mode"], row["world"]), kept={}, rules=None
            )
            for row in self.beats
            if row["process"] == TRADING
        )

    @property
    def turned_ms(self) -> int | None:
        """When the last turn was finished, by the machine's clock; before the first, when the bot started."""
        beat = self.beat()
        if beat is None:
            return None
        return self.wall_of(beat["cycle_finished"] or beat["started_at"])

    @property
    def turn_s(self) -> float:
        """Seconds of the machine's clock within which a new turn, and the page's look at it, are due."""
        beat = self.beat()
        return POLL_S + 5.0 + (60.0 if beat is None else float(beat["interval_s"]) / float(beat["speed"]))

    @property
    def now(self) -> int:
        """The exchange's time now, by the bot's last word."""
        beat = self.beat()
        if beat is None:
            return self.wall_ms
        return instant_of(beat["timestamp"]) + round(
            (self.wall_ms - instant_of(beat["beat_at"])) * float(beat["speed"])
        )

    @property
    def details(self) -> Mapping[str, Any]:
        """What the bot says beside the columns of its status row."""
        beat = self.beat()
        return {} if beat is None else beat["details"] or {}

    def wall_of(self, moment: str | None, process: str = TRADING) -> int | None:
        """Return an instant of the exchange's time by the machine's clock."""
        if not moment:
            return None
        beat = self.beat(process)
        if beat is None:
            return instant_of(moment)
        gone_ms = (instant_of(beat["timestamp"]) - instant_of(moment)) / float(beat["speed"])
        return round(instant_of(beat["beat_at"]) - gone_ms)

    def machine_s(self, exchange_s: float, process: str = TRADING) -> float:
        """Return a length of the exchange's time in seconds of the machine's, with one poll of the page added."""
        beat = self.beat(process)
        return exchange_s / (1.0 if beat is None else float(beat["speed"])) + POLL_S + 5.0

    def since(self, days: float) -> int:
        """Return the instant so many days ago, in the exchange's time."""
        return self.now - round(days * 86_400_000)

    def tick(self, symbol: str) -> Decimal | None:
        """Return the contract's price step, None where the bot did not say."""
        return self._size(symbol, "tick")

    def step(self, symbol: str) -> Decimal | None:
        """Return the contract's quantity step, None where the bot did not say."""
        return self._size(symbol, "step")

    def _size(self, symbol: str, name: str) -> Decimal | None:
        known = (self.details.get("instruments") or {}).get(symbol) or {}
        try:
            return Decimal(known[name]) if name in known else None
        except InvalidOperation:
            return None
