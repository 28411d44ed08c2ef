"""Recorded settlements decide in the exact path, in the kernel and in a replay alike, whatever the contract's grid."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from src.backtest.compiled import compiled
from src.backtest.engine import LEAST_WARM_UP, run_backtest
from src.backtest.kernel import KernelTrade, simulate
from src.backtest.kernel_inputs import figures_of, make_series
from src.domain.clock import MINUTE_MS
from src.domain.funding import HOUR_MS, USUAL_RATE
from src.market_data.columns import Candles
from src.paper_exchange.markets.replay import ReplayMarket
from tests.backtest.past import busy, explorer
from tests.candles import START_MS, random_candles

COUNT = 9_000
CANDLES = Candles.of(random_candles(COUNT, seed=11))
SETUP = busy(stop_loss_share=Decimal("0.05"), take_profit_share=Decimal("0.08"), max_daily_loss_share=Decimal("0.5"))
FIRST_HOUR = START_MS // HOUR_MS + 1
RECORDS = {
    "every hour": range(150),
    "every two hours": range(0, 150, 2),
    "eight hours and some between": sorted({*range(0, 150, 8), 21, 22, 35, 67}),
    "odd hours": range(1, 150, 5),
}


def record(name):
    return {(FIRST_HOUR + hour) * HOUR_MS: 0.001 + 0.0001 * (hour % 7) for hour in RECORDS[name]}


def paid(trade, rates):
    """What a trade paid or received by the record alone, at the close before each settlement."""
    total = 0.0
    for instant, rate in rates.items():
        if trade.entry_ms < instant <= (trade.exit_ms or 0):
            price = CANDLES.close[CANDLES.place(instant - MINUTE_MS)]
            total -= float(trade.quantity) * trade.direction.sign * price * rate
    return total


@pytest.mark.parametrize("name", RECORDS)
def test_every_recorded_settlement_is_paid_and_no_other(name):
    rates = record(name)
    outcome = run_backtest(CANDLES, SETUP, explorer(allow_short=True), funding=rates)
    assert len(outcome.trades) > 5
    for trade in outcome.trades:
        assert float(trade.funding) == pytest.approx(paid(trade, rates), rel=0.01, abs=1e-6)
    assert any(trade.funding for trade in outcome.trades)


@pytest.mark.parametrize("name", RECORDS)
def test_passing_over_minutes_and_the_kernel_pay_the_same(name):
    rates = record(name)
    fast = run_backtest(CANDLES, SETUP, explorer(allow_short=True), funding=rates)
    slow = run_backtest(CANDLES, SETUP, explorer(allow_short=True), funding=rates, every_turn=True)
    assert fast.trades == slow.trades and fast.open_trade == slow.open_trade
    first = LEAST_WARM_UP - 1
    series = make_series(CANDLES, explorer(allow_short=True), first, rates)
    deals, daily = np.zeros((2_000, len(KernelTrade._fields))), np.zeros(100)
    count, days, equity, held = compiled(simulate)(series, figures_of(SETUP), first, deals, daily)
    assert count == len(fast.trades)
    funding = deals[:count, KernelTrade._fields.index("funding")]
    np.testing.assert_allclose(funding, [float(trade.funding) for trade in fast.trades], atol=1e-6)
    assert equity == pytest.approx(fast.end_equity, rel=1e-9)
    np.testing.assert_allclose(daily[:days], fast.daily_equity[1:], rtol=1e-9)
    if fast.open_trade is not None:
        assert held.fees == pytest.approx(float(fast.open_trade.fees), abs=1e-6)
        assert held.funding == pytest.approx(float(fast.open_trade.funding), abs=1e-6)


@pytest.mark.parametrize("name", RECORDS)
def test_a_replay_settles_at_the_recorded_instants(tmp_path: Path, name):
    rows = [f"{c[0]},{c[1]},{c[2]},{c[3]},{c[4]},{c[5]}" for c in map(CANDLES.candle, range(COUNT))]
    (tmp_path / "BTCUSDT-1m-2023-11.csv").write_text("\n".join(rows) + "\n")
    rates = record(name)
    told = "".join(f"{instant + 3},8,{rate}\n" for instant, rate in rates.items())
    header = "calc_time,funding_interval_hours,last_funding_rate\n"
    (tmp_path / "BTCUSDT-fundingRate-2023-11.csv").write_text(header + told)
    market = ReplayMarket(sorted(tmp_path.glob("*.csv")))
    found = market.funding_record("BTCUSDT")
    first, last = min(rates), max(rates)
    assert found.between(first, last + 1, 8 * HOUR_MS) == sorted(rates)
    assert all(market.funding_rate("BTCUSDT", instant) == pytest.approx(rate) for instant, rate in rates.items())
    assert market.funding_rate("BTCUSDT", last + 9 * HOUR_MS) == USUAL_RATE


def test_a_gap_of_three_days_costs_no_time_and_changes_nothing():
    hole = slice(4_000, 4_000 + 3 * 1_440)
    kept = np.delete(np.arange(COUNT), hole)
    holed = Candles(*(getattr(CANDLES, name)[kept] for name in Candles.__dataclass_fields__))
    fast = run_backtest(holed, SETUP, explorer(allow_short=True))
    slow = run_backtest(holed, SETUP, explorer(allow_short=True), every_turn=True)
    assert fast.trades == slow.trades and fast.records == slow.records and fast.breaker_events == slow.breaker_events
    assert fast.agent.value.tobytes() == slow.agent.value.tobytes()
    assert fast.turns_taken < slow.turns_taken - 4_000
