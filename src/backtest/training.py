"""Trains the agent on past candles, compiled; the same updates as at the bot's first start."""

import hashlib
from collections.abc import Iterable

import numpy as np

from src.backtest.compiled import compiled
from src.backtest.engine import LEAST_WARM_UP
from src.backtest.past_timeframes import longer, trends_known
from src.backtest.pipeline import Pipeline, fold_block
from src.domain.clock import MINUTE_MS
from src.domain.market import INTERVAL_MS
from src.market_data.columns import Candles
from src.strategy.q_agent import QLearningAgent, Training
from src.strategy.q_state import REGIMES
from src.strategy.q_table import learn_pass
from src.strategy.rules import DecisionRules

PASSES = 2


def warm_up_ms(rules: Iterable[DecisionRules]) -> int:
    """Return how long before its first turn a run wants candles: 1,000 of the longest that any of the rules look at."""
    lengths = [INTERVAL_MS[name] for each in rules for name in (each.candle_interval, *each.trend_intervals)]
    return LEAST_WARM_UP * max(lengths, default=MINUTE_MS)


def teach_past(agent: QLearningAgent, minutes: Candles, from_ms: int = 0, passes: int = PASSES) -> int:
    """Let the agent learn from one-minute candles ``passes`` times over; return the lessons of one time.

    It learns on candles of its own interval, made of the minutes; those before ``from_ms`` only warm the indicators
    up. What regime the market's context showed is not known of the past, so each lesson is given for all of them.
    """
    interval_ms = INTERVAL_MS[agent.candle_interval]
    candles = minutes if interval_ms == MINUTE_MS else longer(minutes, interval_ms)
    trends = trends_known(minutes, agent.trend_intervals, candles.open_ms + interval_ms)
    heard = candles.open_ms >= from_ms
    if not heard.any():
        return 0
    returns = np.zeros(len(candles))
    returns[:-1] = candles.close[1:] / candles.close[:-1] - 1.0
    lessons = 0
    for regime in range(REGIMES):
        pipeline = Pipeline(candles, regime + REGIMES * trends, compiled(fold_block))
        pipeline.reach(len(candles) - 1)
        states = np.where(heard, pipeline.seen.state, -1)
        lessons += agent.train(states, returns, passes, compiled(learn_pass))
    taught = candles.between(from_ms, int(candles.open_ms[-1]) + 1)
    agent.training = Training(
        first_ms=int(taught.open_ms[0]),
        last_ms=int(taught.open_ms[-1]),
        candles=len(taught),
        data_sha256=hashlib.sha256(np.ascontiguousarray(taught.close).tobytes()).hexdigest(),
    )
    return lessons
