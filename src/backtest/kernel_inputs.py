"""Prepares, once for all variants, what the kernel runs over: signals, advice, mark prices, dates."""

from collections.abc import Mapping, Sequence

import numpy as np

from src.backtest.compiled import compiled
from src.backtest.config import PastContexts, Setup
from src.backtest.fast_forward import Block, Tables, advice, mark_after
from src.backtest.kernel import FUNDING, MIDNIGHT, Array, KernelFigures, KernelSeries
from src.backtest.past_timeframes import LearningColumns, PastCandleAggregator, PastHigherTimeframeTrend
from src.backtest.pipeline import Pipeline, exploration_tries, fold_block
from src.domain.clock import DAY_MS, MINUTE_MS
from src.domain.errors import SettingsError
from src.domain.funding import FundingRecord
from src.domain.market import INTERVAL_MS, MarketContext
from src.market_data.columns import Candles
from src.strategy.q_agent import QLearningAgent, context_code
from src.strategy.q_state import REGIMES
from src.strategy.q_table import learn_one
from src.strategy.rules import DecisionRules, thresholds
from src.strategy.votes import votes_mask

_ANY_RULES = DecisionRules()


def regimes(candles: Candles, contexts: PastContexts, trends: Array | int = 0) -> Array:
    """Return ``context_code`` as known at the turn after each candle, with ``trends`` as ``trends_code`` there."""
    codes = np.zeros(len(candles), dtype=np.int64)
    if contexts:
        turns = (candles.open_ms + MINUTE_MS).tolist()
        codes = np.array([context_code(contexts.at(at)) for at in turns], dtype=np.int64)
    return codes + REGIMES * trends


def slow_past(candles: Candles, rules: DecisionRules) -> PastCandleAggregator | None:
    """Return the longer candles that the rules look at, None where those are the minutes themselves."""
    interval_ms = INTERVAL_MS[rules.candle_interval]
    return None if interval_ms == MINUTE_MS else PastCandleAggregator(candles, interval_ms)


def lessons_of(
    candles: Candles, pipeline: Pipeline, slow: PastCandleAggregator | None, regime: Array, rules: DecisionRules
) -> LearningColumns:
    """Return what signal and agent perceive after each minute; that of the pipeline fills up as it goes on."""
    if slow is not None:
        return slow.lessons(candles, regime, rules.votes)
    seen = pipeline.seen
    return LearningColumns(seen.side, seen.strength, seen.state, seen.volatility, candles.open_ms, candles.close)


def perceived_block(candles: Candles, pipeline: Pipeline, lessons: LearningColumns, agent: QLearningAgent) -> Block:
    """Return the columns that the passing of turns looks at; what is perceived fills up as the pipeline goes on."""
    c = candles
    tries = exploration_tries(agent.seed, agent.exploration_rate, lessons.open_ms)
    return Block(
        c.open_ms, c.open, c.high, c.low, c.close, lessons.side, lessons.strength, lessons.state,
        pipeline.seen.volatility, tries, lessons.open_ms, lessons.close,
    )  # fmt: skip


def tables_of(agent: QLearningAgent) -> Tables:
    """Return the agent's arrays (which learn in place) and figures."""
    return Tables(
        agent.value, agent.mean_square, agent.visits, float(agent.learning_rate), float(agent.discount),
        float(agent.one_way_cost_share), agent.lowest, float(agent.exploration_confidence),
    )  # fmt: skip


def make_series(
    candles: Candles,
    agent: QLearningAgent,
    first: int,
    funding: Mapping[int, float] | None = None,
    contexts: Sequence[MarketContext] = (),
    funding_ms: int = 28_800_000,
    rules: DecisionRules = _ANY_RULES,
) -> KernelSeries:
    """Return the columns of one contract; the agent learns from the turn after candle ``first`` on.

    Args:
        candles: one-minute candles; before ``first`` they warm the indicators up.
        agent: gives its advice at each turn as it stands then, for each position, and learns.
        first: row of the first turn's candle.
        funding: rates by settlement instant; the recorded instants decide, the usual rate fills holes.
        contexts: as in ``run_backtest``.
        funding_ms: time between settlements where none is recorded.
        rules: whose candle interval and votes count; variants of one series share them.
    """
    trends = PastHigherTimeframeTrend(candles, rules.trend_intervals)
    regime, slow = regimes(candles, PastContexts(contexts), trends.codes), slow_past(candles, rules)
    pipeline = Pipeline(candles, regime, compiled(fold_block), votes_mask(rules.votes))
    pipeline.reach(len(candles) - 1)
    lessons = lessons_of(candles, pipeline, slow, regime, rules)
    block, count = perceived_block(candles, pipeline, lessons, agent), len(candles)
    marks, action, confidence = np.empty(count), np.zeros((3, count), np.int8), np.zeros((3, count))
    compiled(fill_marks)(block, marks)
    compiled(advise_all)(block, tables_of(agent), first, INTERVAL_MS[rules.candle_interval], action, confidence)
    turns = candles.open_ms + MINUTE_MS
    settled, rates = settlements(turns, FundingRecord(funding), funding_ms)
    date = np.where(turns % DAY_MS == 0, MIDNIGHT, 0) + np.where(settled, FUNDING, 0)
    return KernelSeries(
        candles.open_ms, candles.open, candles.high, candles.low, candles.close, candles.volume, marks,
        date.astype(np.int8), rates, block.side, block.strength, action, confidence, lessons.volatility,
    )  # fmt: skip


def settlements(turns: Array, record: FundingRecord, every_ms: int) -> tuple[Array, Array]:
    """Return for each turn whether funding is settled at it, and the share settled (0 elsewhere)."""
    settled, rates = np.zeros(len(turns), dtype=bool), np.zeros(len(turns))
    due = record.between(int(turns[0]), int(turns[-1]) + 1, every_ms) if len(turns) else []
    for instant in due:
        row = int(np.searchsorted(turns, instant))
        if turns[row] == instant:
            settled[row], rates[row] = True, record.rate(instant)
    return settled, rates


def fill_marks(block: Block, marks: Array) -> None:
    """Write the mark price of the turn after each candle, eight decimals. Compiles under numba."""
    for row in range(len(marks)):
        marks[row] = np.floor(mark_after(block, row) * 1e8 + 0.5) / 1e8


def advise_all(block: Block, tables: Tables, first: int, step_ms: int, action: Array, confidence: Array) -> None:
    """Write the agent's advice at each turn for a short, no and a long position; it learns on. Compiles."""
    last = -1
    for row in range(first, len(block.close) - 1):  # the last candle is only traded in
        for sign in range(-1, 2):
            action[sign + 1, row], confidence[sign + 1, row] = advice(block, row, tables, sign)
        state = block.state[row]
        if state < 0 or (last >= 0 and block.lesson_ms[row] == block.lesson_ms[last]):
            continue
        if last >= 0 and block.lesson_ms[row] - block.lesson_ms[last] == step_ms:
            learn_one(
                block.state[last], block.lesson_close[row] / block.lesson_close[last] - 1.0, state, tables.value,
                tables.mean_square, tables.visits, tables.learning_rate, tables.discount, tables.cost, tables.lowest,
            )  # fmt: skip
        last = row


def figures_of(setup: Setup, slip_share: float = -1.0) -> KernelFigures:
    """Return a setup as the kernel's numbers; by default with the paper exchange's spread and depth.

    Raises:
        SettingsError: it has exits that the kernel does not know.
    """
    rules, limits = setup.listed.rules, setup.limits_in_force
    if limits.exits.any or limits.entry.maker_wait_ms:
        raise SettingsError(
            (f"{setup.rules.name} has exits beside stop and target, or enters as a maker: run it on the exact path.",)
        )
    return KernelFigures(
        t=thresholds(setup.rules, limits),
        position_share=float(limits.position_share),
        leverage=float(limits.leverage),
        max_daily_loss_share=float(limits.max_daily_loss_share),
        taker_share=float(setup.taker_share),
        slip_share=slip_share,
        balance=float(setup.balance),
        tick=float(rules.tick_size),
        step=float(rules.step_size),
        min_quantity=float(rules.min_quantity),
        max_quantity=float(rules.max_market_quantity),
        min_notional=float(rules.min_notional),
        fixed_quantity=0.0,
        at_levels=False,
        calm_volatility_share=setup.rules.calm_volatility_share,
    )
