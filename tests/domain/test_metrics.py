"""Figures mean what they say, are unknown when they mean nothing, and agree with a second calculation."""

import math
import statistics
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.metrics import (
    Ratio,
    TradeResult,
    TradeSums,
    daily_returns,
    drawdown,
    sharpe,
    sortino,
    sum_trades,
    trade_figures,
)

cents = st.integers(-10_000_000, 10_000_000).map(lambda each: Decimal(each) / 100)
results = st.lists(st.builds(TradeResult, st.uuids().map(str), cents, cents.map(abs), cents), max_size=30)
shares = st.floats(-0.2, 0.2).map(lambda each: round(each, 6))
many_days = st.lists(shares, min_size=30, max_size=120)


@given(results, st.data())
def test_a_trade_split_in_two_changes_no_figure(trades: list[TradeResult], data: st.DataObject) -> None:
    parts = []
    for trade in trades:
        cut = data.draw(st.integers(0, 100)) / Decimal(100)
        first = TradeResult(trade.entry, trade.pnl * cut, trade.fees * cut, trade.funding * cut)
        rest = TradeResult(trade.entry, trade.pnl - first.pnl, trade.fees - first.fees, trade.funding - first.funding)
        parts += [first, rest]
    assert trade_figures(sum_trades(parts)) == trade_figures(sum_trades(trades))


@given(results, results)
def test_sums_of_two_periods_are_the_sums_of_both(early: list[TradeResult], late: list[TradeResult]) -> None:
    assert sum_trades(early) + sum_trades(late) == sum_trades(early + late)


@given(results)
def test_trade_figures_agree_with_a_second_calculation(trades: list[TradeResult]) -> None:
    figures = trade_figures(sum_trades(trades))
    pnls = [float(trade.pnl) for trade in trades]
    gains, losses = [each for each in pnls if each > 0], [each for each in pnls if each < 0]
    assert float(figures.net_pnl) == pytest.approx(math.fsum(pnls), rel=1e-9, abs=1e-9)
    assert figures.win_rate == (len(gains) / len(pnls) if pnls else None)
    assert figures.profit_factor == (pytest.approx(math.fsum(gains) / -math.fsum(losses), rel=1e-9) if losses else None)
    for mine, theirs in ((figures.average_win, gains), (figures.average_loss, losses), (figures.expectancy, pnls)):
        assert (mine is None) == (not theirs)
        assert mine is None or float(mine) == pytest.approx(statistics.fmean(theirs), rel=1e-9, abs=1e-7)


def test_without_trades_nothing_is_claimed() -> None:
    figures = trade_figures(TradeSums())
    assert (figures.win_rate, figures.profit_factor, figures.average_win, figures.expectancy) == (None,) * 4


def test_without_a_loss_the_profit_factor_is_unknown_not_infinite() -> None:
    assert trade_figures(sum_trades([TradeResult("a", Decimal(5))])).profit_factor is None


def test_a_trade_that_brought_nothing_is_neither_won_nor_lost() -> None:
    figures = trade_figures(sum_trades([TradeResult("a", Decimal(0)), TradeResult("b", Decimal(1))]))
    assert (figures.trades, figures.wins, figures.losses, figures.win_rate) == (2, 1, 0, 0.5)


@given(many_days)
def test_sharpe_agrees_with_a_second_calculation(days: list[float]) -> None:
    mine = sharpe(days)
    if len(set(days)) == 1:
        assert mine.value is None
        return
    mean, deviation = statistics.fmean(days), statistics.stdev(days)
    assert mine.value == pytest.approx(mean / deviation * math.sqrt(365), rel=1e-9, abs=1e-9)
    assert (mine.n, mine.basis, mine.annualisation) == (len(days), "daily_equity", 365)


@given(many_days)
def test_sortino_agrees_with_a_second_calculation(days: list[float]) -> None:
    mine = sortino(days)
    squares = math.fsum(min(day, 0.0) ** 2 for day in days)
    if squares == 0.0:
        assert mine.value is None
        return
    expected = math.fsum(days) / len(days) / math.sqrt(squares / len(days)) * math.sqrt(365)
    assert mine.value == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("ratio", [sharpe, sortino])
def test_fewer_than_thirty_days_have_no_ratio(ratio: object) -> None:
    answer: Ratio = ratio([0.01, -0.01] * 14 + [0.02])
    assert (answer.value, answer.ci95, answer.n) == (None, None, 29)
    assert answer.reason == "29 of at least 30 daily returns"


def test_an_equity_that_does_not_move_has_no_ratio() -> None:
    assert sharpe([0.0] * 40).value is None
    assert sharpe([0.001] * 40).value is None
    assert sortino([0.001] * 40).value is None


@pytest.mark.parametrize(("ratio", "seed"), [(sharpe, 1), (sortino, 2)])
def test_the_interval_holds_the_true_ratio_about_95_times_in_100(ratio: object, seed: int) -> None:
    chance = np.random.default_rng(seed)
    mean, deviation, days = 0.001, 0.02, 365
    long_run: Ratio = ratio(chance.standard_t(6, 2_000_000) * deviation * math.sqrt(4 / 6) + mean)
    inside = 0
    for _ in range(1_000):
        low, high = ratio(chance.standard_t(6, days) * deviation * math.sqrt(4 / 6) + mean).ci95
        inside += low <= long_run.value <= high
    assert 930 <= inside <= 970


@given(many_days, st.floats(1.0, 1e6))
def test_ratios_do_not_know_the_unit_of_money(days: list[float], scale: float) -> None:
    equity = 10_000.0 * np.cumprod([1.0, *(1.0 + day for day in days)])
    np.testing.assert_allclose(daily_returns(equity * scale), daily_returns(equity), atol=1e-12)
    one, other = drawdown(equity), drawdown(equity * scale)
    assert one == pytest.approx(other, abs=1e-12)


@given(many_days)
def test_drawdown_agrees_with_a_second_calculation(days: list[float]) -> None:
    equity, highest, worst, below = 1.0, 1.0, 0.0, 0.0
    points = [equity]
    for day in days:
        equity *= 1.0 + day
        points.append(equity)
        highest = max(highest, equity)
        below = (highest - equity) / highest
        worst = max(worst, below)
    assert drawdown(points) == pytest.approx((worst, below), abs=1e-9)


def test_drawdown_of_nothing_is_nothing() -> None:
    assert drawdown([]) == (0.0, 0.0)


def test_money_paid_in_is_no_profit() -> None:
    np.testing.assert_allclose(daily_returns([100.0, 160.0, 80.0], [0.0, 50.0, -80.0]), [0.1, 0.0])


@pytest.mark.parametrize("equity", [[100.0, 0.0], [100.0, -1.0], [100.0, math.nan]])
def test_an_equity_that_is_gone_is_refused(equity: list[float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        daily_returns(equity)


def test_a_ratio_tells_what_it_rests_on() -> None:
    answer = sharpe([0.01, -0.005] * 20).as_dict()
    assert set(answer) == {"value", "n", "ci95", "reason", "basis", "annualisation"}
    assert answer["ci95"][0] < answer["value"] < answer["ci95"][1]
