"""Floor 4, wing: teaches the agent from past candles, compiled; the same lessons as at the bot's first start."""

import copy
import hashlib

import numpy as np

from src.backtest.compiled import compiled
from src.backtest.pipeline import Pipeline, fold_block
from src.backtest.slow_past import longer
from src.core.clock import MINUTE_MS
from src.core.market import INTERVAL_MS
from src.market_data.columns import Candles
from src.rl_model import QLearningAgent, Training
from src.rl_table import learn_pass

REGIMES = 3
PASSES = 2


def teach_past(agent: QLearningAgent, candles: Candles, passes: int = PASSES) -> int:
    """Let the agent learn from one-minute candles ``passes`` times over; return the lessons of one time.

    It learns on candles of its own interval, made of the minutes. What regime the market's context showed is not known
    of the past, so each lesson is given for all of them.
    """
    interval_ms = INTERVAL_MS[agent.candle_interval]
    candles = candles if interval_ms == MINUTE_MS else longer(candles, interval_ms)
    returns = np.zeros(len(candles))
    returns[:-1] = candles.close[1:] / candles.close[:-1] - 1.0
    lessons = 0
    for regime in range(REGIMES):
        pipeline = Pipeline(candles, np.full(len(candles), regime, np.int64), compiled(fold_block))
        pipeline.reach(len(candles) - 1)
        lessons += agent.train(pipeline.seen.state, returns, passes, compiled(learn_pass))
    agent.training = Training(
        first_ms=int(candles.open_ms[0]),
        last_ms=int(candles.open_ms[-1]),
        candles=len(candles),
        data_sha256=hashlib.sha256(np.ascontiguousarray(candles.close).tobytes()).hexdigest(),
    )
    return lessons


def copy_of(agent: QLearningAgent) -> QLearningAgent:
    """Return an agent that knows the same and learns on its own."""
    return copy.deepcopy(agent)
