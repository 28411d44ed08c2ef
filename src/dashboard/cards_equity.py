"""The equity card: what the account is worth over time, and what holding instead would have made."""

from decimal import Decimal
from typing import Any, Final

from sqlalchemy import select

from src.dashboard.bot_view import BotView
from src.dashboard.widgets import Card, Fact, Plot, PlotSeries, amount, number, share
from src.domain.clock import instant_of
from src.reporting.equity import EquityPoint
from src.storage.tables import signals

_EQUITY_POINTS: Final = 150
_DAYS: Final = 30
_WEEK: Final = 7


def equity(look: BotView) -> Card:
    """Return equity, drawdown and holding of the last 30 days, or turn by turn within the last week."""
    if look.turned_ms is None:
        return Card("equity", "Equity", reason="No bot has reported yet.")
    pair = next(iter(sorted(look.details.get("cycle_ms") or {})), "")
    points = equity_points(look, pair, _DAYS)
    if not points:
        return Card("equity", "Equity", "empty", look.turned_ms, look.turn_s, reason="No equity is recorded yet.")
    return Card("equity", "Equity", "data", look.turned_ms, look.turn_s, facts=last_facts(points[-1], pair),
                plots=equity_plots(points, pair))  # fmt: skip


def last_facts(last: tuple[int, float, float, float | None], pair: str) -> tuple[Fact, ...]:
    """Return the newest point in figures."""
    facts = [Fact("Equity now", amount(last[1])), Fact("Below its highest", share(-last[2], 2))]
    if last[3] is not None:
        facts.append(Fact(f"Holding {pair} instead", amount(last[3])))
    return tuple(facts)


def equity_plots(points: list[tuple[int, float, float, float | None]], pair: str) -> tuple[Plot, ...]:
    """Return the drawings of equity with holding, and of drawdown."""
    money = [PlotSeries("Equity", tuple((at, value) for at, value, _, _ in points))]
    held = tuple((at, value) for at, _, _, value in points if value is not None)
    if held:
        money.append(PlotSeries(f"Holding {pair}", held, "soft", dashed=True))
    fall = PlotSeries("Drawdown", tuple((at, value * 100) for at, _, value, _ in points), "down")
    low, high = _ends(money)
    deepest, _ = _ends([fall])
    return (
        Plot("lines", "Equity", tuple(money), says="What the account was worth over time.", top=high, bottom=low),
        Plot("lines", "Drawdown", (fall,), "%", "Fall below the highest equity until then.", f"{_ends([fall])[1]} %",
             f"{deepest} %"),
    )  # fmt: skip


def _ends(series: list[PlotSeries]) -> tuple[str, str]:
    """Return the lowest and the highest value of some lines as texts."""
    values = [value for each in series for _, value in each.points if value is not None]
    return number(min(values), 2).text, number(max(values), 2).text


def equity_points(look: BotView, symbol: str, days: int | None) -> list[tuple[int, float, float, float | None]]:
    """Return instant in ms, equity, its fall below the highest until then, and what holding would have made of it.

    Money paid in or out moves the highest with it, and lies beside what is held.
    """
    points = _curve(look, days)
    first: EquityPoint | None = None
    first_price: float | None = None
    earned = Decimal("-Infinity")
    found = []
    for moment_ms, point in points:
        first, earned = first or point, max(earned, point.equity - point.transferred)
        seen, highest = _price_at(look, symbol, point.moment), earned + point.transferred
        first_price = first_price or seen
        paid = float(point.transferred - first.transferred)
        hold = None if seen is None or not first_price else float(first.equity) * seen / first_price + paid
        fall = 0.0 if not highest else float(point.equity / highest) - 1.0
        found.append((moment_ms, float(point.equity), fall, hold))
    return found


def _curve(look: BotView, days: int | None) -> list[tuple[int, EquityPoint]]:
    since_ms = 0 if days is None else look.since(days)
    points = look.reports.equity_curve(look.scope, since_ms, look.now, _EQUITY_POINTS)
    if len(points) <= _WEEK:  # too few days for a line: every few turns of the week
        points = look.reports.equity_curve(look.scope, look.since(_WEEK), look.now, _EQUITY_POINTS)
    fine = [point for point in points if len(point[0]) > 10]
    if not fine:  # longer than a week: days; their end is midnight
        points = [point._replace(moment=f"{point.moment}T23:59:59.999Z") for point in points]
    return sorted({instant_of(point.moment): point for point in points}.items())


def _price_at(look: BotView, symbol: str, moment: str) -> Any:
    query = (
        select(signals.c.price)
        .where(*look.scope.account.conditions(signals), signals.c.symbol == symbol, signals.c.timestamp <= moment)
        .order_by(signals.c.timestamp.desc(), signals.c.id.desc())
        .limit(1)
    )
    rows = look.reports.rows(query)
    return None if not rows else rows[0]["price"]
