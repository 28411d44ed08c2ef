"""The rule of the benchmarks through our kernel, our venue and backtesting.py: the same trades and the same money.

The rule: EMA 12 crosses EMA 26 upwards while RSI 14 is below 70: buy one unit at the next open; out at 2 % below or 5 %
above, the stop first; 0.05 % a side.
"""

import warnings
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from src.backtest.config import PastMarket, Setup
from src.backtest.kernel import KernelTrade, simulate
from src.backtest.kernel_inputs import figures_of
from src.domain.clock import MINUTE_MS
from src.domain.risk import RiskLimits
from src.market_data.columns import Candles
from src.paper_exchange.contracts import CONTRACTS
from src.paper_exchange.model import AlgoRequest, OrderRequest
from src.paper_exchange.venue import Venue
from src.strategy.indicators import RsiState, ema_step, rsi_step
from tests.backtest.past import real
from tests.backtest.test_kernel import RULES, table

pytestmark = pytest.mark.long
WARM = 200
STOP, TARGET, FEE = 0.02, 0.05, 0.0005


@pytest.fixture(scope="module")
def candles() -> Candles:
    """Real prices four times as wild, whose opens are the closes before them: no engine's view of a gap matters."""
    given = real(43_000)
    close = 30_000.0 * np.exp(4.0 * np.log(given.close / given.close[0]))
    opened = np.concatenate(([close[0]], close[:-1]))
    high = np.maximum(opened, close) * (given.high / np.maximum(given.open, given.close))
    low = np.minimum(opened, close) * (given.low / np.minimum(given.open, given.close))
    return Candles(given.open_ms, opened, high, low, close, given.volume, *(given.trades, given.volume, given.volume))


@pytest.fixture(scope="module")
def entries(candles):
    """Rows after whose close the rule buys, by our own steps."""
    fast = slow = np.nan
    state, rows = RsiState(0, np.nan, 0.0, 0.0), []
    for row, close in enumerate(candles.close.tolist()):
        before = fast > slow
        fast, slow = ema_step(fast, close, 12), ema_step(slow, close, 26)
        state, rsi = rsi_step(state, close)
        if row >= WARM and fast > slow and not before and rsi < 70.0:
            rows.append(row)
    return rows


@pytest.fixture(scope="module")
def ours(candles, entries):
    """The kernel's trades."""
    rows = list(zip(candles.open, candles.high, candles.low, candles.close, strict=True))
    series = table(rows, buy_at=entries)._replace(open_ms=candles.open_ms)
    limits = RiskLimits(stop_loss_share=Decimal(str(STOP)), take_profit_share=Decimal(str(TARGET)))
    setup = replace(Setup(rules=RULES, limits=limits, balance=Decimal(10_000_000)), taker_share=Decimal(str(FEE)))
    figures = figures_of(setup, slip_share=0.0)._replace(fixed_quantity=1.0, at_levels=True)
    deals = np.zeros((1_000, len(KernelTrade._fields)))
    count, _, _ = simulate(series, figures, 0, deals, np.zeros(100))
    return [KernelTrade(*row) for row in deals[:count]]


def test_the_kernel_equals_backtesting_py(candles, entries, ours):
    backtesting = pytest.importorskip("backtesting", reason="needs backtesting==0.6.6")
    import pandas as pd

    signal = np.zeros(len(candles))
    signal[entries] = 1.0

    class Rule(backtesting.Strategy):  # type: ignore[name-defined]
        def init(self):
            self.signal = self.I(lambda: signal)

        def next(self):
            if not self.position and self.signal[-1]:
                price = self.data.Close[-1]
                self.buy(size=1, sl=price * (1 - STOP), tp=price * (1 + TARGET))

    names = ("open", "high", "low", "close", "volume")
    frame = pd.DataFrame({name.capitalize(): getattr(candles, name) for name in names})
    frame.index = pd.to_datetime(candles.open_ms, unit="ms")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = backtesting.Backtest(frame, Rule, cash=10_000_000, commission=FEE).run()["_trades"]
    theirs = theirs.sort_values("EntryBar").reset_index(drop=True)
    assert len(ours) == len(theirs) > 20
    assert {deal.reason for deal in ours} == {4.0, 6.0}
    for deal, (_, row) in zip(ours, theirs.iterrows(), strict=True):
        assert candles.place(int(deal.entry_ms)) == row["EntryBar"]
        assert candles.place(int(deal.exit_ms)) == row["ExitBar"]
        assert deal.entry == pytest.approx(row["EntryPrice"], rel=1e-12)
        assert deal.exit == pytest.approx(row["ExitPrice"], rel=1e-12)
        gross = (row["ExitPrice"] - row["EntryPrice"]) * row["Size"]
        fees = (row["ExitPrice"] + row["EntryPrice"]) * row["Size"] * FEE
        assert deal.pnl == pytest.approx(gross - fees, rel=1e-9)
    total = float((theirs["PnL"] - (0.0 if _pays_within(theirs, candles) else _fees(theirs))).sum())
    assert sum(deal.pnl for deal in ours) == pytest.approx(total, rel=1e-9)


def _fees(theirs):
    return (theirs["ExitPrice"] + theirs["EntryPrice"]) * theirs["Size"] * FEE


def _pays_within(theirs, candles):
    """Return whether the library's PnL column has the fees in it already."""
    gross = (theirs["ExitPrice"] - theirs["EntryPrice"]) * theirs["Size"]
    return bool((theirs["PnL"] < gross).all())


def test_the_venue_closes_the_same_trades_at_its_own_touch(candles, entries, ours):
    """A stop on the venue triggers in the millisecond in which the price is there, and sells at the best bid.

    So each exit differs from its level by what the price moves in a millisecond and by a tick; with that difference
    taken out the money is the same to 1e-9. The tick is made tiny, so that entries cost no spread.
    """
    symbol, contract = "BTCUSDT", CONTRACTS["BTCUSDT"]
    tick = Decimal("0.00000001")
    rules = replace(contract.rules, tick_size=tick, price_precision=8)
    venue = Venue(
        PastMarket(symbol, candles), int(candles.open_ms[0]), contracts={symbol: replace(contract, rules=rules)},
        balance=Decimal(10_000_000), taker_share=Decimal(str(FEE)),
    )  # fmt: skip
    venue.open_account("rule")
    adjusted = []
    for number, deal in enumerate(ours):
        venue.advance(int(deal.entry_ms))
        fills = _round_trip(venue, symbol, number, int(deal.exit_ms) + MINUTE_MS)
        assert fills, "the venue closes in the same minute"
        exit_fill = fills[-1]
        assert exit_fill.time_ms // MINUTE_MS == deal.exit_ms // MINUTE_MS
        assert abs(float(exit_fill.price) / deal.exit - 1.0) < 1e-5
        bought = float(sum(fill.price * fill.quantity for fill in fills if fill.side == "BUY"))
        assert bought == pytest.approx(deal.entry, rel=1e-9)
        adjusted.append(deal.exit - bought - FEE * (deal.exit + bought))
    assert sum(adjusted) == pytest.approx(sum(deal.pnl for deal in ours), rel=1e-9)


def _round_trip(venue, symbol, number, until_ms):
    """Buy one unit now, with stop and target on the last price; return all fills until ``until_ms``, when flat."""
    venue.place_order("rule", OrderRequest(symbol, "BUY", "MARKET", quantity=Decimal(1), client_id=f"e{number}"))
    first_id = venue.trades("rule", symbol, limit=1_000)[-1].trade_id
    entry = venue.positions("rule", symbol)[0].entry_price
    for kind, share in (("STOP_MARKET", -STOP), ("TAKE_PROFIT_MARKET", TARGET)):
        level = (entry * (1 + Decimal(str(share)))).quantize(Decimal("0.00000001"))
        venue.place_algo(
            "rule",
            AlgoRequest(symbol, "SELL", kind, trigger_price=level, close_position=True, client_id=f"{kind[0]}{number}"),
        )
    venue.advance(until_ms - 1)
    venue.cancel_all_algo("rule", symbol)
    flat = not venue.positions("rule", symbol)[0].amount
    return venue.trades("rule", symbol, from_id=first_id, limit=1_000) if flat else []
