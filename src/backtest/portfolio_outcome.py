"""What a portfolio backtest brought: equity over time, each pair's part, trades, and every decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from src.backtest.portfolio_trades import PairBook
from src.backtest.result import daily_closes
from src.domain.circuit_breaker import BreakerState
from src.domain.clock import DAY_MS
from src.domain.metrics import Drawdown, Ratio, daily_returns, drawdown, sharpe, sortino
from src.domain.portfolio import Trade
from src.strategy.order_plan import PairPlan

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DecisionTaken:
    """One decision: when, what the account was worth at closed candles, and the plan of each pair."""

    now_ms: int
    equity: Decimal
    pairs: tuple[PairPlan, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PortfolioOutcome:
    """One run. ``instants`` are whole minutes (UTC ms) and ``equity`` the account's worth at each, at mark price.

    ``marks`` are the instants between which holdings did not change (decisions, and the ends of their blocks);
    ``pair_results`` holds each pair's result so far at them, ``exposure`` the gross notional as a share of equity.
    """

    strategy: str
    symbols: tuple[str, ...]
    start_equity: Decimal
    from_ms: int
    instants: Instants
    equity: Floats
    marks: Instants
    pair_results: Mapping[str, Floats]
    exposure: Floats
    books: Mapping[str, PairBook]
    decisions: tuple[DecisionTaken, ...]
    breaker_events: tuple[BreakerState, ...]
    daily_loss_days: tuple[str, ...]

    @property
    def trades(self) -> tuple[Trade, ...]:
        """The round trips that ended, oldest entry first."""
        every = [trade for book in self.books.values() for trade in book.closed]
        return tuple(sorted(every, key=lambda trade: (trade.entry_ms, trade.symbol)))

    @property
    def open_trades(self) -> tuple[Trade, ...]:
        """The round trips that were still open at the end."""
        return tuple(trade for book in self.books.values() if (trade := book.open_trade) is not None)

    @property
    def end_equity(self) -> float:
        """The account's worth at the end."""
        return float(self.equity[-1]) if len(self.equity) else float(self.start_equity)

    @property
    def return_share(self) -> float:
        """Gain over the whole run as a share of the start."""
        return self.end_equity / float(self.start_equity) - 1.0

    @property
    def days(self) -> float:
        """The length of the run in days."""
        return (int(self.instants[-1]) - self.from_ms) / DAY_MS if len(self.instants) else 0.0

    @property
    def daily_equity(self) -> Floats:
        """Equity at the start and at the end of each UTC day (the last one as far as it went)."""
        return daily_closes(self.instants, self.equity, float(self.start_equity))

    @property
    def daily_returns(self) -> Floats:
        """The returns of each UTC day as shares."""
        return np.asarray(daily_returns(self.daily_equity))

    @property
    def sharpe(self) -> Ratio:
        """Yearly Sharpe ratio of the daily returns with its interval."""
        return sharpe(self.daily_returns)

    @property
    def sortino(self) -> Ratio:
        """Yearly Sortino ratio of the daily returns with its interval."""
        return sortino(self.daily_returns)

    @property
    def drawdown(self) -> Drawdown:
        """The deepest fall below the highest equity, minute by minute."""
        return drawdown(np.concatenate(([float(self.start_equity)], self.equity)))
