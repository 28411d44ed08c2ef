"""Entries that wait as makers over past candles: passing over quiet minutes changes nothing, and fees are a maker's."""

from dataclasses import replace
from decimal import Decimal

import pytest

from src.backtest.config import Setup
from src.backtest.engine import run_backtest
from src.backtest.sweep_exact import exact_path_notice, needs_exact_path
from src.backtest.variants import parse_grid, variants
from src.market_data.columns import Candles
from tests.backtest.past import busy, explorer, facts, largest_gap
from tests.candles import random_candles

CANDLES = Candles.of(random_candles(2_300, seed=4))


def waiting(wait_ms: int, **rules: object) -> Setup:
    setup = busy(take_profit_share=Decimal("0.006"))
    return setup.with_rules(replace(setup.rules, entry_order="maker", maker_wait_ms=wait_ms, **rules))


@pytest.mark.parametrize("setup", [waiting(45_000), waiting(130_000), waiting(45_000, trailing_stop_share=0.0015)])
def test_passing_over_quiet_minutes_changes_nothing(setup):
    fast = run_backtest(CANDLES, setup, explorer(0.5, True))
    slow = run_backtest(CANDLES, setup, explorer(0.5, True), every_turn=True)
    assert facts(fast) == facts(slow)
    tick = float(setup.listed.rules.tick_size)
    assert largest_gap(fast, slow) <= tick * max(float(trade.quantity) for trade in fast.trades)
    assert len(fast.trades) > 10


def entry_fees(wait_ms: int) -> list[float]:
    """Return the fees of each trade as a share of its entry's value; its exit costs five basis points."""
    trades = run_backtest(CANDLES, waiting(wait_ms), explorer(0.5, True)).trades
    return [float(trade.fees / (trade.quantity * trade.entry_price)) for trade in trades]


def test_an_entry_that_waits_pays_a_makers_fee_and_one_that_runs_out_of_time_a_takers():
    assert max(entry_fees(10_000)) > 0.00095 and min(entry_fees(10_000)) > 0.00095, "prices stand still so long"
    assert min(entry_fees(45_000)) < 0.00072


def test_a_sweep_runs_them_on_the_exact_path():
    tried = variants(parse_grid(["entry_order=market,maker"]))
    assert needs_exact_path(waiting(45_000)) and "1 of 2" in exact_path_notice(busy(), tried)
