"""The pages of the dashboard: address, title, and which cards stand where."""

from dataclasses import dataclass
from typing import Final

Zones = tuple[tuple[str, tuple[str, ...]], ...]
"""Where cards stand, in reading order: (kind of zone, names of its cards)."""


@dataclass(frozen=True, slots=True)
class SitePage:
    """One page: its name, address, title, what it is for, and its cards by zone."""

    name: str
    path: str
    title: str
    purpose: str
    zones: Zones
    glance: bool = False

    @property
    def cards(self) -> tuple[str, ...]:
        """The names of the page's cards, in reading order."""
        return tuple(name for _, names in self.zones for name in names)


OVERVIEW: Final = SitePage(
    "overview", "/", "Overview", "What the bot does, holds and made today.",
    (
        ("all", ("bots",)),
        ("wide", ("positions", "equity", "trades")),
        ("side", ("balance", "signals", "performance", "status")),
        ("even", ("market", "context", "analysis", "breaker")),
    ),
    glance=True,
)  # fmt: skip
TRADE: Final = SitePage(
    "trade", "/trade", "Trade", "Chart, positions, orders and fills of one pair.",
    (("full", ("chart", "positions", "orders", "fills")),),
)  # fmt: skip
JOURNAL: Final = SitePage(
    "journal", "/journal", "Journal", "Every decision and every trade, and why.",
    (("full", ("funnel", "journal", "tradelist")),),
)  # fmt: skip
PERFORMANCE: Final = SitePage(
    "performance", "/performance", "Performance", "What trading brought, and where it came from.",
    (("full", ("results", "curve", "calendar")), ("pair", ("months", "breakdown"))),
)  # fmt: skip
STRATEGIES: Final = SitePage(
    "strategies", "/strategies", "Strategies", "What the bot follows, and what each forecaster is worth.",
    (("full", ("rules", "forecasts")), ("pair", ("training", "news"))),
)  # fmt: skip
REVIEW: Final = SitePage(
    "review", "/review", "Review", "A day and a week in sentences: traded, refused, paid, foretold.",
    (("full", ("review",)),),
)  # fmt: skip
LAB: Final = SitePage(
    "lab", "/lab", "Lab", "Backtests, sweeps and retraining, run from here.", (("full", ("lab",)),)
)  # fmt: skip
SYSTEM: Final = SitePage(
    "system", "/system", "System", "Services, log, alerts, backups, costs and control.",
    (
        ("full", ("control",)),
        ("pair", ("alerts", "breaker", "reconciliation", "datasources")),
        ("full", ("log",)),
        ("pair", ("costs", "backups")),
    ),
)  # fmt: skip
SETTINGS: Final = SitePage(
    "settings", "/settings", "Settings", "Every setting, its meaning, bounds and origin.", (("full", ("settings",)),)
)  # fmt: skip
STORY: Final = SitePage(
    "story", "/trades", "Trade", "One trade from signal to exit.", (("full", ("story",)),)
)  # fmt: skip
EVERYTHING: Final = SitePage(
    "everything", "/everything", "Everything", "All cards on one page.",
    (
        ("all", ("bots",)),
        ("wide", ("positions", "chart", "equity", "market", "trades")),
        ("side", ("balance", "signals", "performance", "status", "breaker", "reconciliation")),
        ("even", ("analysis", "context", "news", "training")),
        ("full", ("journal", "costs", "control")),
    ),
    glance=True,
)  # fmt: skip
MENU: Final = (OVERVIEW, TRADE, JOURNAL, PERFORMANCE, STRATEGIES, REVIEW, LAB, SYSTEM)
PAGES: Final = {page.name: page for page in (*MENU, SETTINGS, STORY, EVERYTHING)}
