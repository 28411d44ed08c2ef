"""What stops a portfolio's entries: the day's loss limit and the circuit breaker, as live."""

from collections.abc import Iterable
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from src.backtest.config import BreakerPolicy
from src.backtest.portfolio_setup import PortfolioSetup
from src.backtest.portfolio_trades import PairBook
from src.domain.circuit_breaker import BreakerState, RiskFigures, born, evaluate, reset, trip
from src.domain.clock import DAY_MS, utc_day
from src.domain.portfolio import Trade
from src.domain.risk import loss_share


class PortfolioRisk:
    """The account's risk over one run. The breaker looks at each decision, over everything since it was armed."""

    def __init__(self, setup: PortfolioSetup, now_ms: int) -> None:
        self._setup = setup
        self._limit = setup.limits.max_daily_loss_share
        self._state = born(now_ms)
        self._day = -1
        self._day_start = Decimal(0)
        self._hit_day = -1
        self._peak = float(setup.balance)
        self._deepest = 0.0
        self._trades: list[Trade] = []
        self.events: list[BreakerState] = []
        self.loss_days: list[str] = []

    @property
    def least_equity(self) -> float:
        """The equity at which the day's loss reaches its limit."""
        return float(self._day_start * (1 - self._limit))

    def look_at_day(self, now_ms: int, equity: Decimal) -> None:
        """Take the first equity of each UTC day as what its loss is measured from."""
        if now_ms // DAY_MS != self._day:
            self._day, self._day_start = now_ms // DAY_MS, equity
        waits = self._setup.breaker_policy is BreakerPolicy.NEXT_DAY and self._state.tripped
        if waits and now_ms // DAY_MS > self._state.since_ms // DAY_MS:
            answer = reset(self._state, "backtest", True, RiskFigures(), self._setup.breaker, now_ms)
            self._keep(answer.state)
            self._peak, self._deepest = float(equity), 0.0

    def daily_loss_hit(self, now_ms: int, equity: Decimal) -> bool:
        """Return whether the day's loss has reached its limit; written down once a day."""
        if loss_share(self._day_start, equity) < self._limit:
            return False
        if self._hit_day != self._day:
            self._hit_day = self._day
            self.loss_days.append(utc_day(now_ms - 1))
        return True

    def entries_refused(self, now_ms: int) -> str:
        """Return why nothing may be opened or increased now, in words; empty when it may."""
        if self._hit_day == now_ms // DAY_MS:
            return "the day's loss limit was reached; entries wait for the next UTC day"
        return f"the circuit breaker is tripped: {self._state.reason.rstrip('.')}" if self._state.tripped else ""

    def note_equity(self, worth: NDArray[np.float64]) -> None:
        """Follow the highest equity, and how far it was fallen below."""
        peaks = np.maximum.accumulate(np.maximum(worth, self._peak))
        self._deepest = max(self._deepest, float((1.0 - worth / peaks).max()))
        self._peak = float(peaks[-1])

    def note_trades(self, books: Iterable[PairBook]) -> None:
        """Take note of the round trips that have ended."""
        self._trades = sorted((trade for book in books for trade in book.closed), key=lambda trade: trade.exit_ms or 0)

    def evaluate(self, now_ms: int) -> None:
        """Let the breaker look."""
        if self._setup.breaker_policy is BreakerPolicy.OFF or self._state.tripped:
            return
        cause = evaluate(self._figures(), self._setup.breaker)
        if cause is not None:
            self._keep(trip(self._state, cause, "system", now_ms))

    def _figures(self) -> RiskFigures:
        since = [trade for trade in self._trades if (trade.exit_ms or 0) >= self._state.counted_from_ms]
        losses = [trade.pnl < 0 for trade in since]
        in_a_row = next((number for number, lost in enumerate(reversed(losses)) if not lost), len(losses))
        recent = losses[-self._setup.breaker.loss_rate_trades :]
        return RiskFigures(
            consecutive_losses=in_a_row,
            drawdown_share=self._deepest,
            loss_rate=sum(recent) / len(recent) if recent else 0.0,
            loss_rate_trades=len(recent),
        )

    def _keep(self, state: BreakerState) -> None:
        self._state = state
        self.events.append(state)
