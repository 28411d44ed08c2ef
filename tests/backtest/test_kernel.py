"""The compiled kernel trades as the exact path does, on real candles, and each rule of it on a small table."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from src.backtest.compiled import compiled
from src.backtest.config import BreakerPolicy, Setup
from src.backtest.engine import LEAST_WARM_UP, run_backtest
from src.backtest.kernel import KernelFigures, KernelSeries, KernelTrade, simulate
from src.backtest.kernel_inputs import figures_of, make_series
from src.domain.risk import RiskLimits
from src.strategy.rules import EXIT_REASONS, FIRST_EXIT_CODE, DecisionRules
from tests.backtest.past import busy, explorer, real

FIRST = LEAST_WARM_UP - 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("setup", "short", "rate"),
    [
        (busy(), True, 0.5),
        (busy(early_stop_share=Decimal(1)), True, 0.5),
        (busy(max_daily_loss_share=Decimal("0.01")), True, 0.5),
        (Setup(breaker_policy=BreakerPolicy.OFF), False, 0.5),
        (Setup(breaker_policy=BreakerPolicy.OFF), False, 0.0),
    ],
)
def test_every_trade_is_the_exact_path_s(setup, short, rate):
    candles = real(43_000)
    outcome = run_backtest(candles, setup, explorer(rate, short))
    agent = explorer(rate, short)
    series = make_series(candles, agent, FIRST)
    deals, daily = np.zeros((2_000, len(KernelTrade._fields))), np.zeros(100)
    count, days, equity, _ = compiled(simulate)(series, figures_of(setup), FIRST, deals, daily)
    assert count == len(outcome.trades) > 0
    for row, trade in zip(deals, outcome.trades, strict=False):
        deal = KernelTrade(*row)
        reason = EXIT_REASONS[int(deal.reason) - FIRST_EXIT_CODE]
        assert (deal.sign, deal.entry_ms, deal.exit_ms) == (trade.direction.sign, trade.entry_ms, trade.exit_ms)
        assert trade.exit_reason in (reason, reason.replace("_sell", "_buy"))
        assert deal.quantity == pytest.approx(float(trade.quantity), rel=1e-12)
        assert deal.entry == pytest.approx(float(trade.entry_price), rel=1e-12)
        assert deal.exit == pytest.approx(float(trade.exit_price), rel=1e-12)
        assert deal.pnl == pytest.approx(float(trade.pnl), abs=1e-6)
    np.testing.assert_allclose(daily[:days], outcome.daily_equity[1:], rtol=1e-9)
    assert equity == pytest.approx(outcome.end_equity, rel=1e-9)
    assert agent.value.tobytes() == outcome.agent.value.tobytes()


RULES = DecisionRules(min_signal_strength=1, allow_short=True, cut_losses_on_hold=False)
LIMITS = RiskLimits(stop_loss_share=Decimal("0.02"), take_profit_share=Decimal("0.05"))


def table(rows, buy_at=(), sell_at=()):
    """Return a series of (open, high, low, close) with a signal, and an agent that agrees, after some rows."""
    opened, high, low, close = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    count = len(rows)
    side = np.zeros(count, np.int8)
    side[list(buy_at)], side[list(sell_at)] = 1, -1
    times = 1_700_000_040_000 + 60_000 * np.arange(count)
    zeros = np.zeros(count)
    return KernelSeries(
        times, opened, high, low, close, np.full(count, 1e6), close.copy(), np.zeros(count, np.int8), zeros, side,
        np.abs(side), np.array([side] * 3, np.int8), np.ones((3, count)), zeros,
    )  # fmt: skip


def deals_of(series, **figures) -> list[KernelTrade]:
    base = replace(Setup(rules=RULES, limits=LIMITS), taker_share=Decimal(0))
    given: KernelFigures = figures_of(base, slip_share=0.0)._replace(fixed_quantity=1.0, **figures)
    deals = np.zeros((20, len(KernelTrade._fields)))
    count, _, _, _ = simulate(series, given, 0, deals, np.zeros(10))
    return [KernelTrade(*row) for row in deals[:count]]


FLAT = (100.0, 100.0, 100.0, 100.0)


def flat(price):
    return (price, price, price, price)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # stop and target in one candle: the stop first
        ([FLAT, FLAT, (100.0, 106.0, 97.0, 100.0), FLAT], (98.0, 4.0)),
        ([FLAT, FLAT, (100.0, 105.0, 99.0, 104.0), FLAT], (105.0, 6.0)),
        # opened beyond the level: at the open
        ([FLAT, FLAT, (97.0, 97.0, 96.0, 96.0), FLAT], (97.0, 4.0)),
        ([FLAT, FLAT, (107.0, 108.0, 107.0, 108.0), FLAT], (107.0, 6.0)),
    ],
)
def test_levels_fill_at_their_price_or_at_an_open_beyond(rows, expected):
    (deal,) = deals_of(table(rows, buy_at=[0]), at_levels=True)
    assert (deal.entry, deal.exit, deal.reason) == (100.0, *expected)


def test_a_signal_is_filled_at_the_next_open():
    rows = [FLAT, (101.0, 101.0, 101.0, 101.0), (101.0, 102.0, 101.0, 102.0), flat(103.0), flat(103.0)]
    (deal,) = deals_of(table(rows, buy_at=[0], sell_at=[2]))
    assert (deal.entry, deal.exit, deal.reason, deal.pnl) == (101.0, 103.0, 7.0, 2.0)


def test_the_early_stop_looks_at_the_mark_price_of_whole_seconds():
    """The last price falls from 100 at 15 s to 90 at 30 s; the 30 s mean reaches 98.4 some seconds later."""
    rows = [FLAT, FLAT, (100.0, 100.0, 90.0, 90.0), flat(90.0), flat(90.0)]
    (deal,) = deals_of(table(rows, buy_at=[0]))
    assert deal.reason == 5.0
    assert (deal.exit_ms - deal.entry_ms) % 1_000 == 0
    assert 90.0 < deal.exit < 98.4


def test_what_is_short_wins_when_the_price_falls():
    rows = [FLAT, FLAT, (100.0, 100.0, 97.0, 97.0), flat(97.0), flat(97.0)]
    (deal,) = deals_of(table(rows, sell_at=[0], buy_at=[2]))
    assert (deal.sign, deal.pnl) == (-1.0, 3.0)


def test_costs_are_fee_on_both_sides_and_the_slip_against_us():
    rows = [FLAT, FLAT, flat(101.0), flat(101.0), flat(101.0)]
    (deal,) = deals_of(table(rows, buy_at=[0], sell_at=[2]), taker_share=0.001, slip_share=0.002)
    assert deal.entry == pytest.approx(100.2)
    assert deal.exit == pytest.approx(101.0 * 0.998)
    assert deal.fees == pytest.approx(0.001 * (deal.entry + deal.exit))
    assert deal.pnl == pytest.approx(deal.exit - deal.entry - deal.fees)


def test_a_position_whose_stop_could_not_stand_is_closed_at_once():
    rows = [FLAT, flat(103.0), flat(103.0), flat(103.0)]
    (deal,) = deals_of(table(rows, buy_at=[0]))
    assert (deal.reason, deal.entry_ms) == (10.0, deal.exit_ms)
