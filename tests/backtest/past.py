"""Past candles for the tests of the backtest: real ones where they are at hand, and setups that trade a lot."""

from dataclasses import replace
from decimal import Decimal

import numpy as np

from src.backtest.config import BreakerPolicy, Setup
from src.backtest.result import BacktestResult
from src.domain.risk import RiskLimits
from src.market_data.columns import Candles
from src.strategy.q_agent import QLearningAgent
from src.strategy.rules import DecisionRules
from tests.candles import real_candles

REAL = "BTCUSDT_um_1m_2023JulAug.parquet"


def real(count: int, name: str = REAL, skip: int = 0) -> Candles:
    """Return real one-minute candles; skips the test where they are missing."""
    candles = Candles.of(real_candles(name, skip + count))
    return candles.cut(skip, skip + count)


def explorer(rate: float = 0.5, allow_short: bool = False, seed: int = 7) -> QLearningAgent:
    """Return an untaught agent that tries out a lot, so that there are trades."""
    return QLearningAgent(exploration_rate=rate, allow_short=allow_short, seed=seed)


def busy(**limits: object) -> Setup:
    """Return a setup with near stops and targets, both sides, and no breaker in the way."""
    near = RiskLimits(
        leverage=20,
        position_share=Decimal("0.10"),
        max_total_share=Decimal("0.9"),
        stop_loss_share=Decimal("0.003"),
        take_profit_share=Decimal("0.004"),
        max_daily_loss_share=Decimal("0.04"),
    )
    rules = DecisionRules(
        name="busy", min_signal_strength=2, allow_short=True, cut_losses_on_hold=False, min_holding_ms=1_800_000
    )
    return Setup(rules=rules, limits=replace(near, **limits), breaker_policy=BreakerPolicy.OFF)


def facts(outcome: BacktestResult) -> dict[str, object]:
    """Return all that must be the same in two runs; equity within what a rounded mark price makes of it."""
    return {
        "trades": outcome.trades,
        "open": outcome.open_trade,
        "deeds": outcome.records,
        "breaker": outcome.breaker_events,
        "instants": outcome.instants.tolist(),
        "tables": [each.tobytes() for each in (outcome.agent.value, outcome.agent.mean_square, outcome.agent.visits)],
    }


def largest_gap(first: BacktestResult, second: BacktestResult) -> float:
    """Return the largest difference between two runs' equity, in quote."""
    return float(np.abs(first.equity - second.equity).max())
