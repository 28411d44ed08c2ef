"""A portfolio backtest: the same trades as an independent calculation, fast path against every minute, money kept."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from src.backtest.config import BreakerPolicy
from src.backtest.portfolio_engine import run_portfolio
from src.backtest.portfolio_setup import PortfolioSetup
from src.domain.errors import DataRefused
from src.domain.orders import Side
from src.market_data.columns import Candles
from src.paper_exchange.contracts import CONTRACTS
from src.strategy.target_rules import PortfolioLimits
from src.strategy.trend_portfolio import TrendPortfolio, TrendPortfolioRules
from tests.backtest.portfolio_past import DAY, START_MS, instant, made_minutes, real_funding, real_minutes
from tests.real_closes import EIGHT_HOURS_MS
from tests.trend_oracle import trades as oracle_trades

SHORT = TrendPortfolioRules(history_days=6, look_back_days=(1, 3, 6), target_volatility=0.4)
"""The same strategy with little history, and large enough for its limits to matter within days."""
NO_LIMITS = PortfolioSetup(
    limits=PortfolioLimits(stop_loss_share=Decimal("0.33"), max_daily_loss_share=Decimal("0.9")),
    breaker_policy=BreakerPolicy.OFF,
)


def fills_of(outcome):
    return [
        (fill.symbol, fill.time_ms, fill.side, fill.quantity, fill.price, fill.fee)
        for book in outcome.books.values()
        for fill in book.fills
    ]


@pytest.fixture(scope="module")
def crashed():
    """Twelve days, the last six traded; two pairs fall by a fifth on the ninth, within ten minutes."""
    return made_minutes(12, crash_minute=9 * DAY + 100, crash=0.80)


def test_every_minute_looked_at_gives_the_same_result_to_the_last_digit(crashed):
    setup = PortfolioSetup()
    span = {"from_ms": START_MS + 8 * DAY * 60_000, "to_ms": START_MS + 10 * DAY * 60_000}
    fast = run_portfolio(crashed, TrendPortfolio(SHORT), setup, **span)
    slow = run_portfolio(crashed, TrendPortfolio(SHORT), setup, **span, every_minute=True)
    assert fills_of(fast) == fills_of(slow)
    assert fast.trades == slow.trades
    np.testing.assert_array_equal(fast.instants, slow.instants)
    np.testing.assert_allclose(fast.equity, slow.equity, rtol=0, atol=1e-6)
    assert {trade.exit_reason for trade in fast.trades} & {"early_stop", "daily_loss"}
    assert fast.daily_loss_days == slow.daily_loss_days == ("2023-01-10",)
    assert all(each.pairs[0].orders == () for each in fast.decisions if "loss limit" in each.pairs[0].reason)


def test_the_disaster_stop_closes_what_falls_too_fast_for_the_early_stop():
    """Within one second of marks the price is beyond both: whoever comes first closes, and the loss is bounded."""
    minutes = made_minutes(12, crash_minute=9 * DAY + 100, crash=0.6)
    limits = PortfolioLimits(early_stop_share=Decimal(1), max_daily_loss_share=Decimal("0.9"))
    outcome = run_portfolio(
        minutes, TrendPortfolio(SHORT), PortfolioSetup(limits=limits, breaker_policy=BreakerPolicy.OFF)
    )
    stopped = [trade for trade in outcome.trades if trade.exit_reason in ("stop_loss", "early_stop")]
    assert stopped
    for trade in stopped:
        assert trade.exit_price is not None
        assert trade.exit_price > trade.entry_price * Decimal("0.7")


def test_money_is_conserved(crashed):
    outcome = run_portfolio(crashed, TrendPortfolio(SHORT), PortfolioSetup())
    trades = [*outcome.trades, *outcome.open_trades]
    assert len(outcome.trades) >= 3
    assert any(book.open_trip is None or book.open_trip.fills > 1 for book in outcome.books.values())
    for symbol, book in outcome.books.items():
        own = [trade for trade in trades if trade.symbol == symbol]
        assert sum((trade.fees for trade in own), Decimal(0)) == book.fees
        assert sum((trade.funding for trade in own), Decimal(0)) == book.funding
        if book.amount == 0:
            assert abs(sum((trade.pnl for trade in own), Decimal(0)) - book.cash) < Decimal("1e-12")
    total = sum(values[-1] for values in outcome.pair_results.values())
    assert outcome.end_equity == pytest.approx(10_000 + total, abs=1e-6)


def test_the_venue_agrees_with_the_books(crashed):
    from src.backtest.portfolio_engine import _Run

    run = _Run(crashed, TrendPortfolio(SHORT), PortfolioSetup(), {}, every_minute=False)
    outcome = run.run(None, None)
    account = run._account
    wallet = account.exchange.account().wallet_balance
    realized = sum((trade.pnl for trade in outcome.trades), Decimal(0))
    realized += sum((trade.pnl for trade in outcome.open_trades), Decimal(0))
    assert wallet == pytest.approx(Decimal(10_000) + realized, abs=Decimal("1e-5"))
    assert float(account.equity()) == pytest.approx(outcome.end_equity, abs=0.001)


def test_a_stop_stands_for_every_position_at_each_decision(crashed):
    from src.backtest.portfolio_engine import _Run

    class Watched(_Run):
        def _pass(self, now, until):
            held = self._account.positions()
            stops = {
                order.symbol: order
                for symbol in self._account.books
                for order in self._account.exchange.open_orders(symbol)
            }
            assert set(stops) == set(held)
            for symbol, position in held.items():
                assert stops[symbol].close_position
                away = 1 - stops[symbol].trigger_price / position.entry_price
                assert Decimal("0.32") < away <= Decimal("0.33")
            seen.append(len(held))
            super()._pass(now, until)

    seen: list[int] = []
    Watched(crashed, TrendPortfolio(SHORT), NO_LIMITS, {}, every_minute=False).run(None, None)
    assert max(seen) == 3


def test_trades_equal_an_independent_calculation_on_real_candles():
    first, last = instant("2023-05-01"), instant("2024-03-01")
    minutes, funding = real_minutes(first, last), real_funding()
    outcome = run_portfolio(minutes, TrendPortfolio(), NO_LIMITS, funding=funding)
    closes, opens = columns_of(minutes, last)
    rates = pd.DataFrame(
        {pair: [funding[pair].get(int(at) + EIGHT_HOURS_MS, 0.0001) for at in closes.index] for pair in closes},
        closes.index,
    )
    rules = {pair: CONTRACTS[pair].rules for pair in closes}
    expected = oracle_trades(
        closes, opens, rates,
        {pair: float(each.step_size) for pair, each in rules.items()},
        {pair: float(each.min_notional) for pair, each in rules.items()},
    )  # fmt: skip
    found = pd.DataFrame(
        [
            (fill.time_ms - EIGHT_HOURS_MS, fill.symbol, float(fill.quantity) * (1 if fill.side is Side.BUY else -1))
            for book in outcome.books.values()
            for fill in book.fills
        ],
        columns=["closed_candle", "pair", "quantity"],
    ).groupby(["closed_candle", "pair"]).quantity.sum()  # fmt: skip
    wanted = expected.set_index(["closed_candle", "pair"]).quantity
    wanted = wanted[wanted.index.get_level_values(0) < closes.index[-1]]
    assert len(wanted) > 100
    assert set(found.index) == set(wanted.index)
    slack = np.maximum(0.01 * wanted.abs(), [2 * float(rules[pair].step_size) for _, pair in wanted.index])
    assert ((found.reindex(wanted.index) - wanted).abs() <= slack).all()


def columns_of(minutes: dict[str, Candles], last: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    closes, opens = {}, {}
    for pair, each in minutes.items():
        grouped = pd.DataFrame({"open": each.open, "close": each.close}).groupby(each.open_ms // EIGHT_HOURS_MS)
        closes[pair], opens[pair] = grouped.close.last(), grouped.open.first()
    frames = pd.DataFrame(closes), pd.DataFrame(opens).shift(-1)
    for frame in frames:
        frame.index = frame.index * EIGHT_HOURS_MS
    return frames


def test_too_little_history_is_refused_in_one_sentence():
    with pytest.raises(DataRefused, match="needs 240 closed 8h candles of a pair before it can decide"):
        run_portfolio(made_minutes(3), TrendPortfolio(), PortfolioSetup())


def test_an_unknown_contract_is_refused():
    minutes = made_minutes(12)
    with pytest.raises(DataRefused, match="NOSUCHUSDT"):
        run_portfolio({"NOSUCHUSDT": minutes["BTCUSDT"]}, TrendPortfolio(SHORT), PortfolioSetup())


@pytest.mark.parametrize(("balance", "traded", "told"), [("50", 1, 6), ("300", 5, 5), ("1000", 6, 1), ("10000", 6, 0)])
def test_small_accounts_trade_what_they_can_and_are_told_what_the_rest_would_need(balance, traded, told):
    """An order that the exchange would refuse raises here: none may be sent."""
    minutes, funding = real_minutes(instant("2023-08-01"), instant("2024-02-01")), real_funding()
    setup = PortfolioSetup(balance=Decimal(balance))
    outcome = run_portfolio(minutes, TrendPortfolio(), setup, funding=funding)
    reasons = {(pair.target.symbol, pair.reason) for taken in outcome.decisions for pair in taken.pairs}
    too_small = {symbol for symbol, reason in reasons if "needs an equity of about" in reason}
    assert sum(bool(book.fills) for book in outcome.books.values()) == traded
    assert len(too_small) == told
