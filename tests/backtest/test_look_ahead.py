"""Nothing that happens after an instant changes what was decided at or before it: the whole pipeline, exactly."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.backtest.engine import LEAST_WARM_UP, run_backtest
from src.backtest.kernel_inputs import make_series
from src.domain.clock import MINUTE_MS
from src.market_data.columns import Candles
from src.strategy.q_agent import QLearningAgent
from tests.backtest.past import busy
from tests.candles import random_candles

COUNT = 2_200
SEEING = busy()
SEEING = SEEING.with_rules(replace(SEEING.rules, trend_intervals=("5m",)))
PAST = Candles.of(random_candles(COUNT, seed=11))


def other_future(row: int, seed: int, scale: float) -> Candles:
    """Return the same candles up to ``row``, and from the next one on others that go on from its close."""
    after = Candles.of(random_candles(COUNT - row - 1, seed=seed, price=float(PAST.close[row]) * scale))
    before = PAST.cut(0, row + 1)
    shifted = after.open_ms - after.open_ms[0] + before.open_ms[-1] + MINUTE_MS
    columns = {
        name: np.concatenate((getattr(before, name), getattr(after, name))) for name in Candles.__dataclass_fields__
    }
    columns["open_ms"] = np.concatenate((before.open_ms, shifted))
    return Candles(**columns)


def decided_until(candles: Candles, row: int, every_turn: bool):
    """Return the deeds and equity of all turns up to that after candle ``row``."""
    agent = QLearningAgent.for_rules(SEEING.rules, 0.0006, 0.5)
    outcome = run_backtest(candles, SEEING, agent, every_turn=every_turn)
    last_ms = int(candles.open_ms[row]) + MINUTE_MS
    records = [each for each in outcome.records if each.now_ms <= last_ms]
    return records, outcome.equity[outcome.instants < last_ms].tolist()


@pytest.mark.long
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(LEAST_WARM_UP + 50, COUNT - 50), st.integers(100, 10_000), st.sampled_from((0.9, 1.0, 1.1)))
def test_another_future_changes_no_decision_before_it(row, seed, scale):
    decided, worth = decided_until(PAST, row, every_turn=False)
    again, worth_again = decided_until(other_future(row, seed, scale), row, every_turn=False)
    assert again == decided
    assert worth_again == worth


@pytest.mark.long
def test_nor_does_it_when_every_turn_is_taken():
    row = LEAST_WARM_UP + 500
    assert decided_until(PAST, row, True) == decided_until(other_future(row, 5, 1.1), row, True)


@pytest.mark.long
def test_what_the_kernel_runs_over_knows_no_future_either():
    row = LEAST_WARM_UP + 700
    known, other = (
        make_series(each, QLearningAgent.for_rules(SEEING.rules, 0.0006, 0.5), LEAST_WARM_UP - 1, rules=SEEING.rules)
        for each in (PAST, other_future(row, 5, 0.9))
    )
    for name in ("mark", "side", "strength", "date", "funding"):
        np.testing.assert_array_equal(getattr(known, name)[: row + 1], getattr(other, name)[: row + 1])
    for name in ("action", "confidence"):
        np.testing.assert_array_equal(getattr(known, name)[:, : row + 1], getattr(other, name)[:, : row + 1])
