"""The card of the scoreboard: what each forecaster is worth, and what it costs in a month."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from src.dashboard.bot_view import BotView
from src.dashboard.forecast_table import scoreboard
from src.dashboard.widgets import Card, Cell, Fact, Row, Table, amount, count, words
from src.domain.clock import DAY_MS
from src.domain.forecast_scores import NO_BETTER
from src.reporting.forecasts import ForecasterScore, spent_by_name

DAYS: Final = 30
COST_DAYS: Final = 7
_FRESH_MS: Final = 120_000  # a scoreboard of many thousand forecasts is not worked out at every look


class _Known(NamedTuple):
    made_ms: int
    scores: Sequence[ForecasterScore]
    costs: Mapping[str, float]


def forecasts(look: BotView) -> Card:
    """Return the scoreboard of the last 30 days, and what each forecaster costs."""
    title = "What each forecaster is worth"
    if look.turned_ms is None:
        return Card("forecasts", title, reason="No bot has reported yet.")
    known = _known(look)
    if not known.scores:
        nothing = "Nobody has made a forecast yet."
        return Card("forecasts", title, "empty", look.turned_ms, look.turn_s + _FRESH_MS / 1000, reason=nothing)
    weak = sum(each.score.verdict == NO_BETTER for each in known.scores)
    facts = (
        Fact("Since", Cell(f"{DAYS} days")),
        Fact("Forecasters", count(len(known.scores))),
        Fact("No better than chance", count(weak)),
    )
    tables = [scoreboard(known.scores, "Settled forecasts, after costs")]
    if known.costs:
        tables.append(_costs(known.costs))
    age_s = look.turn_s + _FRESH_MS / 1000
    return Card("forecasts", title, "data", look.turned_ms, age_s, facts=facts, tables=tuple(tables))


def _known(look: BotView) -> _Known:
    """Return the scoreboard of a bot's last 30 days, and what its forecasters cost in the last seven."""
    key = ("forecasts", look.scope)
    known = look.remembered.get(key)
    if known is None or not 0 <= look.wall_ms - known.made_ms < _FRESH_MS:
        scores = look.reports.forecast_scores(look.scope, since_ms=look.now - DAYS * DAY_MS)
        since_ms = look.now - COST_DAYS * DAY_MS
        costs = look.reports.read(lambda connection: spent_by_name(connection, look.scope, since_ms))
        known = look.remembered[key] = _Known(look.wall_ms, scores, costs)
    return known


def _costs(costs: Mapping[str, float]) -> Table:
    rows = tuple(
        Row(
            (words(name), amount(spent, "USD", 4), amount(spent * DAYS / COST_DAYS, "USD", 2)),
            key=f"cost-{name}",
        )
        for name, spent in sorted(costs.items())
    )
    caption = f"What asking them costs: {COST_DAYS} days, and a month at that rate"
    return Table(caption, ("Forecaster", f"{COST_DAYS} days", f"{DAYS} days"), rows, (1, 2), look="small")
