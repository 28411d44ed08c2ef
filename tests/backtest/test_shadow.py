"""A shadow portfolio is a backtest that goes on: the same fills, minute by minute, also across a restart."""

import json

import numpy as np
import pytest

from src.backtest.config import BreakerPolicy
from src.backtest.portfolio_engine import run_portfolio
from src.backtest.portfolio_setup import PortfolioSetup, closed_candles
from src.backtest.shadow import ShadowMarket, ShadowPortfolio
from src.strategy.peers import AlwaysFlat, BuyAndHold
from src.strategy.trend_portfolio import TrendPortfolio, TrendPortfolioRules
from tests.backtest.portfolio_past import DAY, START_MS, made_minutes

SHORT = TrendPortfolioRules(history_days=6, look_back_days=(1, 3, 6), target_volatility=0.4)
SETUP = PortfolioSetup(breaker_policy=BreakerPolicy.OFF)
FIRST = START_MS + 8 * DAY * 60_000
DAYS = 3
KNOWN = 3  # minutes before the first


@pytest.fixture(scope="module")
def past():
    """Twelve days; two pairs fall by a fifth on the ninth, within ten minutes."""
    return made_minutes(12, crash_minute=9 * DAY + 100, crash=0.80)


def passed(past, strategy, days=DAYS, restart_at=None):
    """Return the shadow portfolio after so many days; it is saved and taken up again at a minute."""
    market = ShadowMarket(tuple(past))
    history = {symbol: closed_candles(each, strategy.candle_interval) for symbol, each in past.items()}
    first = int(np.searchsorted(next(iter(past.values())).open_ms, FIRST))
    for back in range(KNOWN):
        add(market, past, first - back)
    shadow = ShadowPortfolio(strategy, market, SETUP, FIRST)
    equity = []
    for number in range(days * DAY):
        if number == restart_at:
            saved = json.loads(json.dumps(shadow.state()))
            market = ShadowMarket(tuple(past))
            for back in range(KNOWN):
                add(market, past, first + number - back)
            shadow = ShadowPortfolio(strategy, market, SETUP, 0, saved)
        add(market, past, first + number + 1)
        shadow.pass_minute(history)
        equity.append(float(shadow.equity))
    return shadow, equity


def add(market, past, row):
    for symbol, each in past.items():
        market.add(symbol, each.candle(row))


def backtest(past, strategy, days=DAYS):
    return run_portfolio(past, strategy, SETUP, from_ms=FIRST, to_ms=FIRST + days * DAY * 60_000)


def fills_of(books):
    return [(fill.symbol, fill.time_ms, fill.side, fill.quantity, fill.price) for each in books for fill in each.fills]


@pytest.fixture(scope="module")
def whole(past):
    return passed(past, TrendPortfolio(SHORT))


def test_it_is_the_backtest_minute_by_minute(past, whole):
    shadow, equity = whole
    outcome = backtest(past, TrendPortfolio(SHORT))
    assert fills_of(shadow._account.books.values()) == fills_of(outcome.books.values())
    np.testing.assert_allclose(equity, outcome.equity, rtol=0, atol=1e-3)
    assert shadow.trades == len(outcome.trades) > 2
    assert {trade.exit_reason for trade in outcome.trades} & {"early_stop", "daily_loss"}
    assert shadow.deepest_share == pytest.approx(outcome.drawdown.worst_share, abs=1e-7)
    assert [row[1] for row in shadow.daily] == pytest.approx(outcome.daily_equity[1 : 1 + len(shadow.daily)].tolist())


@pytest.mark.parametrize("minute", [0, 1, 100, DAY + 95, DAY + 105, 2 * DAY])
def test_a_restart_changes_nothing(past, whole, minute):
    before, equity = whole
    shadow, again = passed(past, TrendPortfolio(SHORT), restart_at=minute)
    np.testing.assert_allclose(again, equity, rtol=0, atol=1e-9)
    assert (shadow.daily, shadow.deepest_share, shadow.started_ms) == (before.daily, before.deepest_share, FIRST)


def test_the_two_that_everything_is_compared_with(past):
    flat, equity = passed(past, AlwaysFlat(), days=1)
    assert set(equity) == {10_000.0}
    assert (flat.trades, flat.deepest_share) == (0, 0.0)
    _, held = passed(past, BuyAndHold(), days=1)
    np.testing.assert_allclose(held, backtest(past, BuyAndHold(), days=1).equity, rtol=0, atol=1e-3)
    assert held[0] < 10_000.0 < sum(held) / len(held) * 1.2


def test_a_minute_that_is_missing_is_a_gap(past):
    market = ShadowMarket(tuple(past))
    shadow = ShadowPortfolio(BuyAndHold(), market, SETUP, FIRST)
    first = int(np.searchsorted(next(iter(past.values())).open_ms, FIRST))
    history = {symbol: closed_candles(each, "1d") for symbol, each in past.items()}
    for number in range(-1, 6):
        if number not in (2, 3):
            add(market, past, first + number)
        if number != 1:
            add(market, past, first + number + 1)
        if number >= 0:
            shadow.pass_minute(history)
    assert shadow.now_ms == FIRST + 6 * 60_000
    assert float(shadow.equity) > 9_000.0
