"""The synthetic market: one seed is one world, whoever asks, whenever, in whatever order."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.domain.clock import DAY_MS, MINUTE_MS, instant_of
from src.domain.errors import DataRefused
from src.paper_exchange.markets import open_market
from src.paper_exchange.markets.synthetic import SyntheticMarket
from src.paper_exchange.markets.synthetic_coins import COINS
from src.paper_exchange.markets.synthetic_levels import Levels
from tests.shared_data import ROOT

DAY = instant_of("2026-11-22") // DAY_MS
MIDNIGHT_MS = DAY * DAY_MS
FUNDING_MS = 8 * 60 * MINUTE_MS
PINNED_DAY = "857bfb910e7a1c5c130f10bdfc42ef9cd854c735e9b220eefa474bc0ccbe2567"


@pytest.fixture(scope="module")
def market():
    return SyntheticMarket(7)


def digest(market, day):
    """Return a hash of a day's candles as whole numbers of ticks, steps and trades."""
    whole = market.day(day)
    told = hashlib.sha256()
    for rows in (whole.open, whole.high, whole.low, whole.close, whole.volume, whole.trades, whole.taker_buy_volume):
        told.update(rows.astype("<i8").tobytes())
    return told.hexdigest()


def test_a_day_of_a_seed_is_the_same_on_every_machine(market):
    assert digest(market, DAY) == PINNED_DAY


def test_another_process_sees_the_same_day(market):
    code = (
        "from tests.paper_exchange.test_synthetic import DAY, SyntheticMarket, digest;"
        "print(digest(SyntheticMarket(7), DAY + 300))"
    )
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == digest(market, DAY + 300)


def test_the_order_of_asking_changes_nothing():
    forwards, backwards = SyntheticMarket(3), SyntheticMarket(3)
    days = [DAY - 700, DAY - 1, DAY, DAY + 400]
    assert [digest(forwards, day) for day in days] == [digest(backwards, day) for day in days[::-1]][::-1]


def test_another_seed_is_another_world(market):
    assert digest(SyntheticMarket(8), DAY) != digest(market, DAY)


@settings(max_examples=60, deadline=None)
@given(minute=st.integers(0, 3 * 1440), symbol=st.sampled_from([coin.symbol for coin in COINS]))
def test_one_candle_equals_the_same_candle_of_a_range(market, minute, symbol):
    open_ms = MIDNIGHT_MS + minute * MINUTE_MS
    around = market.candles(symbol, open_ms - 2 * MINUTE_MS, open_ms + 2 * MINUTE_MS)
    assert [candle.open_ms for candle in around] == [open_ms + k * MINUTE_MS for k in (-2, -1, 0, 1)]
    assert around[2] == market.candle(symbol, open_ms)


def test_a_range_takes_in_its_start_and_leaves_out_its_end(market):
    candles = market.candles("ETHUSDT", MIDNIGHT_MS - 1, MIDNIGHT_MS + MINUTE_MS)
    assert [candle.open_ms for candle in candles] == [MIDNIGHT_MS]
    assert market.candles("ETHUSDT", MIDNIGHT_MS, MIDNIGHT_MS) == []


@pytest.mark.parametrize("symbol", [coin.symbol for coin in COINS])
def test_every_candle_is_possible_and_on_the_grid(market, symbol):
    coin = next(coin for coin in COINS if coin.symbol == symbol)
    for candle in market.candles(symbol, MIDNIGHT_MS - 2 * DAY_MS, MIDNIGHT_MS):
        prices = candle[1:5]
        assert all(price == round(price, coin.price_digits) for price in prices)
        assert 0 < candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high
        assert candle.low < candle.high
        assert candle.volume == round(candle.volume, coin.quantity_digits) > 0
        assert 0 <= candle.taker_buy_volume <= candle.volume
        assert candle.trades >= 1
        assert candle.low <= candle.quote_volume / candle.volume <= candle.high + 1e-9


@pytest.mark.parametrize("place", range(len(COINS)))
def test_a_minute_opens_at_the_close_before_or_one_tick_beside_it_also_at_midnight(market, place):
    days = [market.day(DAY + k) for k in range(4)]
    opened = np.concatenate([day.open[place] for day in days])
    close = np.concatenate([day.close[place] for day in days])
    gaps = opened[1:] - close[:-1]
    assert np.abs(gaps).max() == 1
    assert 0.4 < (gaps == 0).mean() < 0.6


def test_nothing_is_served_before_2020_between_minutes_or_of_other_contracts(market):
    assert market.candle("BTCUSDT", market.first_ms) is not None
    assert market.candle("BTCUSDT", market.first_ms - MINUTE_MS) is None
    assert market.candle("BTCUSDT", MIDNIGHT_MS + 1) is None
    assert market.candle("ADAUSDT", MIDNIGHT_MS) is None
    assert market.candles("ADAUSDT", MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS) == []
    assert market.candles("BTCUSDT", market.first_ms - DAY_MS, market.first_ms) == []
    assert market.end_ms is None


@pytest.mark.parametrize("seed", range(1, 9))
def test_prices_stay_in_bounds_for_decades(seed):
    levels = Levels(seed)
    path = np.array([levels.levels(day) for day in range(DAY - 2400, DAY + 9000, 25)])
    assert 0.3 < np.abs(path).max() < 1.25  # log price; the standard deviation is 0.23


@pytest.mark.parametrize("seed", range(1, 9))
def test_bitcoin_costs_what_it_may_cost_in_2026(seed):
    assert 45_000 < SyntheticMarket(seed).candle("BTCUSDT", MIDNIGHT_MS).close < 150_000


def test_funding_is_mostly_one_basis_point_and_slow(market):
    rates = np.array([market.funding_rate("BTCUSDT", MIDNIGHT_MS - k * FUNDING_MS) for k in range(2400)]) * 1e4
    assert 0.25 < np.isclose(rates, 1.0).mean() < 0.55
    assert 0.4 < rates.mean() < 1.3
    assert 0.06 < (rates < 0).mean() < 0.22
    assert -30.0 <= rates.min() < -0.5
    assert 3.0 < rates.max() <= 30.0
    assert 0.7 < np.corrcoef(rates[1:], rates[:-1])[0, 1] < 0.92


def test_the_rate_of_an_interval_is_one_number_of_eight_decimals(market):
    rate = market.funding_rate("SOLUSDT", MIDNIGHT_MS)
    assert rate == market.funding_rate("SOLUSDT", MIDNIGHT_MS - FUNDING_MS + 1) == round(rate, 8)
    instants = [MIDNIGHT_MS - k * FUNDING_MS for k in range(40)]
    bitcoin, ether = ([market.funding_rate(symbol, at) for at in instants] for symbol in ("BTCUSDT", "ETHUSDT"))
    assert bitcoin != ether


def test_fear_and_greed_restates_yesterday(market):
    days = range(DAY - 900, DAY)
    index = np.array([market.fear_greed(day * DAY_MS) for day in days])
    closes = np.array([market.day(day).close[0, -1] for day in range(DAY - 120, DAY)])
    moves, changes = np.diff(np.log(closes)), np.diff(index[-120:])
    assert index.min() >= 5 and index.max() <= 95
    assert 15 < index.std() < 28
    assert np.corrcoef(index[1:], index[:-1])[0, 1] > 0.94
    assert np.corrcoef(changes[1:], moves[:-1])[0, 1] > 0.45
    assert abs(np.corrcoef(changes, moves)[0, 1]) < 0.25


def test_the_setting_names_the_seed():
    asked = open_market("synthetic:11").candle("XRPUSDT", MIDNIGHT_MS)
    assert asked == SyntheticMarket(11).candle("XRPUSDT", MIDNIGHT_MS)
    assert open_market("synthetic").candle("XRPUSDT", MIDNIGHT_MS) == SyntheticMarket().candle("XRPUSDT", MIDNIGHT_MS)


@pytest.mark.parametrize("spec", ["synthetic:x", "synthetic:-1", f"synthetic:{2**63}", "tape", "", "replay:"])
def test_a_setting_that_names_no_market_is_refused(spec):
    with pytest.raises(DataRefused):
        open_market(spec)
