"""Rules that look at longer candles: minutes passed over change nothing, the kernel trades alike, none foresees."""

from dataclasses import replace

import numpy as np
import pytest

from src.backtest.compiled import compiled
from src.backtest.config import BreakerPolicy, Setup
from src.backtest.engine import LEAST_WARM_UP, run_backtest
from src.backtest.kernel import KernelTrade, simulate
from src.backtest.kernel_inputs import figures_of, make_series
from src.market_data.columns import Candles
from src.runtime.settings import PROJECT_ROOT
from src.strategy.q_agent import QLearningAgent
from src.strategy.rules import DecisionRules, load_rules
from tests.backtest.past import explorer, facts, largest_gap, real

pytestmark = pytest.mark.long
FIRST = LEAST_WARM_UP - 1
SLOW = DecisionRules(
    name="slow",
    candle_interval="15m",
    votes=("macd", "ema", "volume", "trend"),
    min_signal_strength=2,
    agent_must_agree=False,
    cut_losses_on_hold=False,
    allow_short=True,
    calm_volatility_share=0.0015,
    stop_scale=1.5,
    size_scale=0.5,
)


SEEING = replace(SLOW, agent_must_agree=True, allow_short=False, trend_intervals=("1h",))
HASTY = DecisionRules(
    name="hasty", min_signal_strength=2, allow_short=True, min_holding_ms=1_800_000, trend_intervals=("15m", "1h")
)
ALL = (SLOW, SEEING, HASTY)
NAMES = ("veto", "agree and see", "hasty and see")


def trier(rules: DecisionRules) -> QLearningAgent:
    """Return an untaught agent for the rules that tries out a lot."""
    return QLearningAgent.for_rules(rules, 0.0006, 0.3)


def setup_of(rules: DecisionRules) -> Setup:
    return Setup(rules=rules, breaker_policy=BreakerPolicy.OFF)


@pytest.mark.parametrize("rules", ALL, ids=NAMES)
def test_passing_over_quiet_minutes_changes_nothing(rules):
    candles = real(9_000 if rules.candle_interval != "1m" else 5_000)
    fast = run_backtest(candles, setup_of(rules), trier(rules))
    slow = run_backtest(candles, setup_of(rules), trier(rules), every_turn=True)
    assert facts(fast) == facts(slow) and len(fast.trades) > 3
    assert largest_gap(fast, slow) <= 0.1 * max(float(trade.quantity) for trade in fast.trades)
    assert fast.turns_taken < slow.turns_taken


@pytest.mark.parametrize("rules", ALL, ids=NAMES)
def test_the_kernel_makes_the_same_trades(rules):
    candles, setup = real(43_000), setup_of(rules)
    outcome = run_backtest(candles, setup, trier(rules))
    agent = trier(rules)
    series = make_series(candles, agent, FIRST, rules=rules)
    deals = np.zeros((2_000, len(KernelTrade._fields)))
    count, _, equity, _ = compiled(simulate)(series, figures_of(setup), FIRST, deals, np.zeros(100))
    assert count == len(outcome.trades) > 10
    for row, trade in zip(deals, outcome.trades, strict=False):
        deal = KernelTrade(*row)
        assert (deal.sign, deal.entry_ms, deal.exit_ms) == (trade.direction.sign, trade.entry_ms, trade.exit_ms)
        assert deal.quantity == pytest.approx(float(trade.quantity), rel=1e-12)
        assert deal.pnl == pytest.approx(float(trade.pnl), abs=1e-6)
    assert equity == pytest.approx(outcome.end_equity, rel=1e-9)
    assert agent.value.tobytes() == outcome.agent.value.tobytes()


def test_shifting_all_that_comes_later_changes_no_decision_before():
    candles, cut = real(16_000), 12_007
    later = {
        name: np.concatenate((getattr(candles, name)[:cut], getattr(candles, name)[cut:] * 1.07))
        for name in ("open", "high", "low", "close")
    }
    shifted = Candles(**{name: later.get(name, getattr(candles, name)) for name in Candles.__dataclass_fields__})
    one, other = (run_backtest(each, setup_of(SEEING), trier(SEEING)) for each in (candles, shifted))
    until = int(candles.open_ms[cut])
    before = [[record for record in run.records if record.now_ms <= until] for run in (one, other)]
    assert before[0] == before[1] and before[0]


def test_the_patient_rules_trade_seldom_and_small_on_real_candles():
    rules = load_rules((PROJECT_ROOT / "config" / "rules" / "patient_trend.toml").read_text())
    candles = real(254_880, "BTCUSDT_spot_1m_2024H1.parquet")
    outcome = run_backtest(candles, Setup(rules=rules), explorer(0.0))
    assert 1 <= len(outcome.trades) <= 30
    assert outcome.drawdown.worst_share < 0.05
    assert all(trade.quantity * trade.entry_price <= 2_200 for trade in outcome.trades)
