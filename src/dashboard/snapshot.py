"""Everything the page shows, from one instant of the database.

Ages are not in it: the page counts them itself, from ``as_of_ms`` and the server's time, so that two looks at the
same rows are the same bytes and a screen that nobody feeds grows old by its own clock.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from src.dashboard import (
    cards_account,
    cards_bot,
    cards_bots,
    cards_equity,
    cards_forecasts,
    cards_lab,
    cards_learning,
    cards_market,
    cards_orders,
    cards_performance,
    cards_review,
    cards_rules,
    cards_story,
    cards_system,
    journal,
    settings_card,
)
from src.dashboard.bot_view import TRADING, BotView, FreshnessLimits
from src.dashboard.control import control_card
from src.dashboard.headline import headline
from src.dashboard.page_query import WHOLE, PageQuery
from src.dashboard.site_pages import PAGES
from src.dashboard.states import DataSource, State, state_of
from src.dashboard.widgets import Card
from src.domain.clock import Clock
from src.domain.errors import SettingsError, StoreCorrupt, StoreUnavailable
from src.reporting.pages import Scope
from src.reporting.service import ReportService
from src.runtime.lab_jobs import LabJobs
from src.runtime.rule_loader import named, read_rules
from src.runtime.settings import Settings
from src.strategy.rules import DecisionRules

log = logging.getLogger(__name__)

Builder = Callable[[BotView], Card]
BUILDERS: Final[dict[str, Builder]] = {
    "bots": cards_bots.bots,
    "status": cards_bot.status,
    "positions": cards_account.positions,
    "balance": cards_account.balance,
    "breaker": cards_bot.breaker,
    "reconciliation": cards_bot.reconciliation,
    "performance": cards_account.performance,
    "market": cards_market.market,
    "signals": journal.signals,
    "trades": cards_account.trades,
    "context": cards_market.context,
    "analysis": cards_market.analysis,
    "news": cards_market.news,
    "training": cards_learning.training,
    "costs": cards_learning.costs,
    "control": control_card,
    "journal": journal.journal,
    "equity": cards_equity.equity,
    "orders": cards_orders.orders,
    "fills": cards_orders.fills,
    "funnel": journal.funnel,
    "tradelist": cards_account.trade_list,
    "story": cards_story.story,
    "results": cards_performance.results,
    "curve": cards_performance.curve,
    "calendar": cards_performance.calendar,
    "months": cards_performance.months,
    "breakdown": cards_performance.breakdown,
    "rules": cards_rules.rules,
    "forecasts": cards_forecasts.forecasts,
    "review": cards_review.review,
    "lab": cards_lab.lab,
    "alerts": cards_system.alerts,
    "datasources": cards_system.data_sources,
    "log": cards_system.log_lines,
    "backups": cards_system.backups,
    "settings": settings_card.settings_card,
}
TITLES: Final = {
    "bots": "All bots",
    "status": "Bot status",
    "positions": "Open positions",
    "balance": "Account balance",
    "breaker": "Circuit breaker",
    "reconciliation": "Reconciliation",
    "performance": "Performance",
    "market": "Live market data",
    "signals": "Recent signals",
    "trades": "Recent trades",
    "context": "Market context",
    "analysis": "AI chart analysis",
    "news": "News sentiment",
    "training": "Training",
    "costs": "Costs",
    "control": "Control and audit",
    "journal": "Decision journal",
    "equity": "Equity",
    "orders": "Open orders",
    "fills": "Last fills",
    "funnel": "Why no trade",
    "tradelist": "Closed trades",
    "story": "Trade",
    "results": "Results",
    "curve": "Equity, drawdown and holding",
    "calendar": "Daily PnL",
    "months": "By month",
    "breakdown": "Where it came from",
    "rules": "Rule sets",
    "forecasts": "What each forecaster is worth",
    "review": "Review",
    "lab": "Runs",
    "alerts": "Alerts",
    "datasources": "Data sources",
    "log": "Log",
    "backups": "Backups",
    "settings": "Settings",
}
_DAMAGED = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, IndexError)


class SnapshotService:
    """Makes snapshots; keeps each card's last good content, to be shown, marked as such, while it cannot be read."""

    def __init__(self, reports: ReportService, settings: Settings, clock: Clock, lab: LabJobs | None = None) -> None:
        self._lab = lab
        self._remembered: dict[Any, Any] = {}
        self._reports = reports
        self._settings = settings
        self._account_age_s = read_rules(settings).max_account_age_ms / 1_000
        self._clock = clock
        self._lock = threading.Lock()
        self._good: dict[tuple[str, str], Card] = {}
        self._frame: dict[str, Any] = {}

    @property
    def limits(self) -> FreshnessLimits:
        """How old data may be, by the settings."""
        own = self._settings
        chart_s, news_s = own.chart_interval_minutes * 60.0, own.news_interval_minutes * 60.0
        return FreshnessLimits(self._account_age_s, own.context_cache_s, chart_s, news_s)

    def look(self, reports: ReportService, bot_id: str | None, query: PageQuery = WHOLE) -> BotView:
        """Return a look on behalf of ``bot_id`` (this installation's own bot by default)."""
        now_ms = self._clock.now_ms()
        beats = tuple(reports.bot_status(now_ms))
        chosen = bot_id or self._default_bot(beats)
        own = next((row for row in beats if row["bot_id"] == chosen and row["process"] == TRADING), None)
        known = own or {"mode": self._settings.mode, "world": self._settings.world}
        scope = Scope(chosen, known["mode"], known["world"])
        rules = self._rules_of(own)
        own_settings = self._settings
        return BotView(
            reports, chosen, scope, beats, now_ms, self.limits, chart_dir=own_settings.chart_dir, rules=rules,
            query=query, settings=own_settings, lab=self._lab, remembered=self._remembered,
        )  # fmt: skip

    def _rules_of(self, beat: Mapping[str, Any] | None) -> DecisionRules | None:
        """Return the rule set that a bot says is in force (the settings' before it reported), None if unreadable."""
        name = str((beat or {}).get("details", {}).get("rules") or self._settings.rules)
        try:
            return read_rules(named(self._settings, name))
        except SettingsError:
            return None

    def _default_bot(self, beats: tuple[Mapping[str, Any], ...]) -> str:
        known = [row["bot_id"] for row in beats if row["process"] == TRADING]
        return self._settings.bot_id if self._settings.bot_id in known or not known else str(known[0])

    def snapshot(self, bot_id: str | None = None, query: PageQuery = WHOLE) -> dict[str, Any]:
        """Return the content of the page that ``query`` names, for one bot.

        Where the database cannot be read every card is an error with the last good content, never empty.
        """
        wanted = PAGES[query.page].cards
        try:
            with self._reports.at_one_instant() as reports:
                look = self.look(reports, bot_id, query)
                names = [name for name in wanted if name in BUILDERS and (name != "bots" or len(look.bots) > 1)]
                cards = {name: self._card(name, look) for name in names}
                frame = self._frame_of(look)
        except (StoreUnavailable, StoreCorrupt, *_DAMAGED) as error:
            return self._without_database(bot_id or self._settings.bot_id, wanted, error)
        if look.beat() is not None:
            with self._lock:
                self._frame[look.bot_id] = frame
        return frame | {"page": query.page, "cards": {name: card.as_dict() for name, card in cards.items()}}

    def card(self, name: str, bot_id: str | None, query: PageQuery = WHOLE) -> tuple[Card, State]:
        """Return one card and its state now."""
        with self._reports.at_one_instant() as reports:
            look = self.look(reports, bot_id, query)
            card = self._card(name, look)
            return card, state_of(card, _sources(look).get(card.source), look.wall_ms)

    def _card(self, name: str, look: BotView) -> Card:
        return self._guarded(name, look, BUILDERS[name])

    def _guarded(self, name: str, look: BotView, build: Builder) -> Card:
        """A row that cannot be read spoils its card, never the page."""
        try:
            card = build(look)
        except _DAMAGED as error:
            log.warning("card cannot be made: name=%s reason=%r", name, error)
            return self._last_good(look.bot_id, name, "The rows behind this card cannot be read.")
        if card.base in ("data", "empty") and look.beat() is not None:  # of made-up names nothing is kept
            with self._lock:
                self._good[look.bot_id, name] = card
        return card

    def _last_good(self, bot_id: str, name: str, reason: str) -> Card:
        with self._lock:
            good = self._good.get((bot_id, name))
        if good is None:
            return Card(name, TITLES[name], "error", reason=reason)
        return replace(good, base="error", reason=reason)

    def _frame_of(self, look: BotView) -> dict[str, Any]:
        held = self._guarded_words(look)
        return {
            "bot_id": look.bot_id,
            "bots": _bots(look),
            "mode": look.scope.mode,
            "world": look.scope.world,
            "demo": look.scope.world in ("synthetic", "replay"),
            "live": look.scope.mode == "live",
            "pairs": sorted(look.details.get("cycle_ms") or {}) or list(self._settings.pairs),
            "sources": {name: source.as_dict() for name, source in _sources(look).items()},
            "held": held,
            "headline": self._guarded_headline(look),
            "speed": 1.0 if look.beat() is None else float((look.beat() or {})["speed"]),
            "time_zone": self._settings.time_zone,
            "database": "ok",
        }

    def _guarded_headline(self, look: BotView) -> dict[str, Any]:
        """The sentence on top of every page; without it where its rows cannot be read."""
        try:
            return headline(look).as_dict()
        except _DAMAGED as error:
            log.warning("headline cannot be made: reason=%r", error)
            return {"tone": "bad", "parts": [], "paused": False, "open": 0, "paused_pairs": []}

    def _guarded_words(self, look: BotView) -> list[str] | None:
        """The positions for the alarm; None where nobody can say."""
        try:
            return cards_account.held_words(look) if look.reports.balance(look.scope) else None
        except _DAMAGED as error:
            log.warning("positions cannot be named: reason=%r", error)
            return None

    def _without_database(self, bot_id: str, wanted: tuple[str, ...], error: Exception) -> dict[str, Any]:
        told = str(error) if isinstance(error, StoreUnavailable | StoreCorrupt) else "A row cannot be read."
        log.warning("snapshot without a database: reason=%r", error)
        reason = f"The database cannot be read: {told}" if not told.startswith("The database") else told
        with self._lock:
            known = self._frame.get(bot_id)
            several = (bot_id, "bots") in self._good
        names = [name for name in wanted if name in BUILDERS and (name != "bots" or several)]
        cards = {name: self._last_good(bot_id, name, _without_paths(reason)).as_dict() for name in names}
        frame = known or {
            "bot_id": bot_id,
            "bots": [],
            "mode": self._settings.mode,
            "world": self._settings.world,
            "demo": self._settings.world != "live",
            "live": self._settings.mode == "live",
            "pairs": list(self._settings.pairs),
            "sources": {name: DataSource(name, "The bot").as_dict() for name in ("bot", "charts", "exchange")},
            "held": None,
            "headline": {"tone": "bad", "parts": [], "paused": False, "open": 0},
            "speed": 1.0,
            "time_zone": self._settings.time_zone,
        }
        return frame | {"cards": cards, "database": _without_paths(reason)}


def _without_paths(sentence: str) -> str:
    """Name the database by its file alone: the page says nothing of the machine's folders."""
    return " ".join(part.rpartition("/")[2] if "/" in part and len(part) > 1 else part for part in sentence.split(" "))


def _sources(look: BotView) -> dict[str, DataSource]:
    """Return what brings this bot's data and, where there are several bots, each of them."""
    return look.sources | (cards_bots.bot_sources(look) if len(look.bots) > 1 else {})


def _bots(look: BotView) -> list[dict[str, Any]]:
    """Return every trading bot in the database with its state, for the choice on top of the page."""
    found = []
    for each in look.bots:
        source, money = each.sources["bot"], each.reports.balance(each.scope)
        found.append(
            {
                "bot_id": each.bot_id,
                "mode": each.scope.mode,
                "world": each.scope.world,
                "phase": source.phase,
                "beat_ms": source.beat_ms,
                "down_after_s": source.down_after_s,
                "equity": None if money is None else str(money["equity"]),
            }
        )
    return found


__all__ = ["BUILDERS", "TITLES", "SnapshotService"]
