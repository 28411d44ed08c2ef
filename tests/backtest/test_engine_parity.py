"""Passing over quiet minutes changes nothing: decisions, trades, breaker and the agent's tables are the same bits."""

from dataclasses import replace
from decimal import Decimal

import pytest

from src.backtest.config import BreakerPolicy, Setup
from src.backtest.engine import run_backtest
from src.domain.market import MarketContext
from src.strategy.decision import Verdict
from tests.backtest.past import busy, explorer, facts, largest_gap, real

pytestmark = pytest.mark.long


def both(candles, setup, short=False, rate=0.5, **given):
    fast = run_backtest(candles, setup, explorer(rate, short), **given)
    slow = run_backtest(candles, setup, explorer(rate, short), every_turn=True, **given)
    assert facts(fast) == facts(slow)
    tick = float(setup.listed.rules.tick_size)
    most = max((float(trade.quantity) for trade in fast.trades), default=1.0)
    assert largest_gap(fast, slow) <= tick * most
    assert fast.turns_taken < slow.turns_taken
    return fast


def test_the_spec_s_rules_with_a_breaker_that_trips_and_is_reset():
    outcome = both(real(6_000), Setup())
    assert {event.trigger for event in outcome.breaker_events} >= {"consecutive_losses", "reset"}
    assert outcome.trades


def test_near_stops_and_targets_on_both_sides():
    outcome = both(real(4_500), busy(), short=True)
    assert {trade.exit_reason for trade in outcome.trades} >= {"early_stop", "take_profit"}
    assert {trade.direction.sign for trade in outcome.trades} == {1, -1}
    assert any(trade.funding for trade in outcome.trades)


def test_a_stop_that_the_exchange_fires_before_the_early_one():
    outcome = both(real(3_500), busy(early_stop_share=Decimal(1)), short=True)
    assert "stop_loss" in {trade.exit_reason for trade in outcome.trades}


def test_liquidation_when_the_stop_lies_too_far_for_the_leverage():
    setup = replace(busy(leverage=125, stop_loss_share=Decimal("0.02")), margin_type="ISOLATED")
    outcome = both(real(4_500), setup, short=True)
    assert "liquidation" in {trade.exit_reason for trade in outcome.trades}


def test_a_gap_of_eighty_minutes_and_frozen_candles():
    """2023-03-24: spot stood still, then had no candles; data older than ten minutes trips the breaker."""
    skip = 82 * 1_440 - 1_500
    candles = real(4_500, "BTCUSDT_spot_1m_2023.parquet", skip)
    setup = replace(busy(), breaker_policy=BreakerPolicy.NEXT_DAY)
    outcome = both(candles, setup, short=True)
    assert "stale_data" in {event.trigger for event in outcome.breaker_events}


def test_a_day_that_loses_too_much_ends_the_day():
    outcome = both(real(5_000), busy(max_daily_loss_share=Decimal("0.01")), short=True)
    closed_by_loss = [record for record in outcome.records if record.exit_reason == "daily_loss"]
    assert closed_by_loss
    for record in closed_by_loss:
        day = record.now_ms // 86_400_000
        later = [each for each in outcome.records if each.now_ms > record.now_ms and each.now_ms // 86_400_000 == day]
        assert all(each.verdict is Verdict.CLOSE for each in later)


def test_a_context_that_changes_its_regime():
    candles = real(4_500)
    contexts = [
        MarketContext(None, None, None, None, None, None, "up", "up", regime, "low", int(candles.open_ms[at]))
        for at, regime in ((900, "risk_on"), (2_000, "risk_off"), (3_500, "unknown"))
    ]
    with_context = both(candles, busy(), short=True, contexts=contexts)
    without = run_backtest(candles, busy(), explorer(0.5, True))
    assert with_context.agent.visits.tolist() != without.agent.visits.tolist()


def test_an_agent_that_never_tries_anything_but_knows_something():
    candles = real(12_000)
    outcome = both(candles, Setup(breaker_policy=BreakerPolicy.OFF), rate=0.0)
    assert outcome.turns_taken < 1_000
