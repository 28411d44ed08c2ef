"""Moved stops, partial targets and the time stop over past candles: passing over quiet minutes changes nothing."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from src.backtest.config import Setup
from src.backtest.engine import run_backtest
from src.backtest.reports import write_report
from src.market_data.columns import Candles
from tests.backtest.past import busy, explorer, facts, largest_gap, real
from tests.candles import random_candles

D = Decimal
ALL = {
    "trailing_stop_share": 0.0012,
    "trailing_after_share": 0.002,
    "break_even_after_share": 0.0012,
    "take_partial": ((0.001, 0.4), (0.0025, 0.3)),
    "max_holding_ms": 5_400_000,
}
EACH = [
    {"trailing_stop_share": 0.0015},
    {"trailing_stop_share": 0.002, "trailing_after_share": 0.001},
    {"break_even_after_share": 0.0015},
    {"take_partial": ((0.0015, 0.5),)},
    {"max_holding_ms": 2_700_000},
    ALL,
]


def following(exits: dict[str, object], **limits: object) -> Setup:
    setup = busy(take_profit_share=D("0.006"), **limits)
    return setup.with_rules(replace(setup.rules, **exits))


def both(candles: Candles, setup: Setup, short: bool = True) -> list[str]:
    fast = run_backtest(candles, setup, explorer(0.5, short))
    slow = run_backtest(candles, setup, explorer(0.5, short), every_turn=True)
    assert facts(fast) == facts(slow)
    tick = float(setup.listed.rules.tick_size)
    assert largest_gap(fast, slow) <= tick * max(float(trade.quantity) for trade in fast.trades)
    return [trade.exit_reason for trade in fast.trades]


@pytest.mark.parametrize("exits", EACH, ids=lambda exits: "+".join(exits))
def test_each_exit_is_the_same_with_and_without_passing_over_minutes(exits):
    reasons = both(Candles.of(random_candles(2_300, seed=4)), following(exits))
    assert len(reasons) > 10


@pytest.mark.long
@pytest.mark.parametrize("exits", [ALL, EACH[1]], ids=["all", "trailing"])
def test_three_real_days_with_every_reason(exits):
    reasons = both(real(5_500), following(exits))
    expected = {"trailing_stop", "stop_loss"} if exits is not ALL else {"trailing_stop", "break_even"}
    assert set(reasons) >= expected - {"stop_loss"}


def test_a_part_is_booked_in_the_trade_and_the_wallet_agrees():
    candles = Candles.of(random_candles(2_300, seed=4))
    setup = following(ALL)
    outcome = run_backtest(candles, setup, explorer(0.5, True))
    assert outcome.open_trade is None or outcome.open_trade.fees > 0
    booked = sum((trade.pnl for trade in outcome.trades), D(0))
    if outcome.open_trade is None:
        assert abs(float(setup.balance + booked) - outcome.equity[-1]) < 1e-6
    assert {trade.exit_reason for trade in outcome.trades} & {"trailing_stop", "break_even"}


def test_a_report_of_a_run_with_exits_can_be_written(tmp_path):
    candles = Candles.of(random_candles(2_300, seed=4))
    setup = following(ALL)
    facts = write_report(tmp_path, run_backtest(candles, setup, explorer(0.5, True)), setup, candles)
    told = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert told["rules"]["take_partial"] == [[0.001, 0.4], [0.0025, 0.3]]
    assert told["limits"]["exits"]["trailing_stop_share"] == 0, "the account's own; the set's stand among its rules"
    assert set(facts["exit_reasons"]) & {"trailing_stop", "break_even", "time_stop"}
