"""The same portfolio begun on the first of each month: how much the start day decides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from src.backtest.portfolio_engine import run_portfolio
from src.backtest.portfolio_setup import PortfolioSetup
from src.domain.clock import DAY_MS, utc_text
from src.domain.metrics import DAYS_A_YEAR
from src.market_data.columns import Candles
from src.strategy.targets import PortfolioObservation, Strategy, StrategyWrapper, Target

LEAST_DAYS = 180
"""A run shorter than this says nothing about a year."""


class RememberedTargets(StrategyWrapper):
    """A strategy whose targets are worked out once for each instant; the history must be the same each time."""

    def __init__(self, strategy: Strategy) -> None:
        super().__init__(strategy)
        self._known: dict[int, tuple[Target, ...]] = {}

    def targets(self, observation: PortfolioObservation) -> tuple[Target, ...]:
        """Return the targets of that instant."""
        found = self._known.get(observation.now_ms)
        if found is None:
            found = self._known[observation.now_ms] = self._strategy.targets(observation)
        return found


@dataclass(frozen=True, slots=True)
class Start:
    """One run: from the first of a month to the end. ``yearly_share`` is the return a year, compounded."""

    month: str
    days: int
    return_share: float
    yearly_share: float
    sharpe: float | None
    max_drawdown_share: float


def month_starts(from_ms: int, to_ms: int) -> list[int]:
    """Return the first instants of the months that leave at least ``LEAST_DAYS`` until ``to_ms``."""
    first = datetime.fromtimestamp(from_ms / 1_000, UTC)
    year, month = first.year, first.month
    found: list[int] = []
    while True:
        at = int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1_000
        if at > to_ms - LEAST_DAYS * DAY_MS:
            return found
        if at >= from_ms:
            found.append(at)
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)


def staggered(
    candles: Mapping[str, Candles],
    strategy: Strategy,
    setup: PortfolioSetup,
    span: tuple[int, int],
    funding: Mapping[str, Mapping[int, float]],
    progress: Callable[[int], None] = lambda _done: None,
) -> list[Start]:
    """Return the runs begun on the first of each month of a span, all to its end."""
    remembered = RememberedTargets(strategy)
    found: list[Start] = []
    for number, at in enumerate(month_starts(*span), 1):
        outcome = run_portfolio(candles, remembered, setup, from_ms=at, to_ms=span[1], funding=funding)
        years = outcome.days / DAYS_A_YEAR
        found.append(
            Start(
                month=utc_text(at)[:7],
                days=round(outcome.days),
                return_share=outcome.return_share,
                yearly_share=(1.0 + outcome.return_share) ** (1.0 / years) - 1.0,
                sharpe=outcome.sharpe.value,
                max_drawdown_share=outcome.drawdown.worst_share,
            )
        )
        progress(number)
    return found


def band(starts: list[Start]) -> dict[str, Any]:
    """Return the lowest, middle and highest of each figure over all starts; empty for no start."""
    figures = {"yearly_share": [each.yearly_share for each in starts]}
    figures["sharpe"] = [each.sharpe for each in starts if each.sharpe is not None]
    figures["max_drawdown_share"] = [each.max_drawdown_share for each in starts]
    return {
        name: dict(zip(("lowest", "middle", "highest"), np.quantile(values, (0.0, 0.5, 1.0)).tolist(), strict=True))
        for name, values in figures.items()
        if values
    }
