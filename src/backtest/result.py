"""The result of a backtest: decisions, trades, equity after every turn, and costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from src.domain.circuit_breaker import BreakerState
from src.domain.clock import DAY_MS
from src.domain.metrics import (
    Drawdown,
    Ratio,
    TradeFigures,
    TradeResult,
    daily_returns,
    drawdown,
    sharpe,
    sortino,
    sum_trades,
    trade_figures,
)
from src.domain.portfolio import Trade
from src.execution.journal import InMemoryJournal, Turn
from src.strategy.decision import Verdict
from src.strategy.q_agent import QLearningAgent


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """A turn that did not hold: what was decided, by how much, and why."""

    now_ms: int
    verdict: Verdict
    quantity: Decimal
    exit_reason: str
    reason: str


@dataclass
class PastJournal(InMemoryJournal):
    """The journal of a long run: of the turns it keeps only those that acted."""

    records: list[RecordedDecision] = field(default_factory=list)
    trips: list[BreakerState] = field(default_factory=list)
    on_turn: Callable[[Turn], None] = lambda _turn: None

    def record_turn(self, turn: Turn) -> None:
        """Keep the turn if it acts, and pass it to the listener."""
        decision = turn.decision
        if decision.verdict is not Verdict.HOLD:
            record = RecordedDecision(
                turn.observation.now_ms, decision.verdict, decision.quantity, decision.exit_reason, decision.reason
            )
            self.records.append(record)
        self.on_turn(turn)

    def trip_breaker(self, state: BreakerState) -> None:
        """Keep every event of the breaker."""
        self.trips.append(state)
        super().trip_breaker(state)


@dataclass(frozen=True, slots=True, eq=False)
class BacktestResult:
    """One run. ``instants`` are the turns (UTC ms) and ``equity`` the account's worth at each, at mark price.

    ``trades`` are closed, oldest first; ``open_trade`` is what was still held at the end. ``turns_taken`` counts the
    turns of the live trader, the others could only hold. ``agent`` is as the last turn left it.
    """

    symbol: str
    start_equity: Decimal
    instants: NDArray[np.int64]
    equity: NDArray[np.float64]
    trades: tuple[Trade, ...]
    open_trade: Trade | None
    records: tuple[RecordedDecision, ...]
    breaker_events: tuple[BreakerState, ...]
    turns_taken: int
    agent: QLearningAgent

    @property
    def end_equity(self) -> float:
        """The account's worth at the last turn."""
        return float(self.equity[-1]) if len(self.equity) else float(self.start_equity)

    @property
    def return_share(self) -> float:
        """Gain over the whole run as a share of the start."""
        return self.end_equity / float(self.start_equity) - 1.0

    @property
    def trade_figures(self) -> TradeFigures:
        """The figures of the closed trades."""
        return trade_figures(sum_trades(results(self.trades)))

    @property
    def daily_equity(self) -> NDArray[np.float64]:
        """Equity at the start and at the end of each UTC day (the last one as far as it went)."""
        return daily_closes(self.instants, self.equity, float(self.start_equity))

    @property
    def sharpe(self) -> Ratio:
        """Yearly Sharpe ratio of the daily returns with its interval."""
        return sharpe(daily_returns(self.daily_equity))

    @property
    def sortino(self) -> Ratio:
        """Yearly Sortino ratio of the daily returns with its interval."""
        return sortino(daily_returns(self.daily_equity))

    @property
    def drawdown(self) -> Drawdown:
        """The deepest fall below the highest equity, over all turns."""
        return drawdown(np.concatenate(([float(self.start_equity)], self.equity)))


def results(trades: Sequence[Trade]) -> list[TradeResult]:
    """Return what each trade brought, for ``core.metrics``."""
    return [TradeResult(trade.entry_client_id, trade.pnl, trade.fees, trade.funding) for trade in trades]


def daily_closes(instants: NDArray[np.int64], equity: NDArray[np.float64], start_equity: float) -> NDArray[np.float64]:
    """Return the equity at the start, then at the last turn at or before the end of each UTC day, in order.

    The first day is the one that the first turn lies in, also when it is the day's first instant.
    """
    if not len(instants):
        return np.array([start_equity])
    days = np.maximum(-(-instants // DAY_MS), instants[0] // DAY_MS + 1)  # a turn at midnight closes the day before it
    last_of_day = np.flatnonzero(np.append(np.diff(days) > 0, True))
    closing = np.arange(days[0], days[-1] + 1)
    rows = np.searchsorted(days[last_of_day], closing, side="right") - 1
    return np.concatenate(([start_equity], equity[last_of_day[rows]]))
