"""The synthetic market has the habits of the real one: every band that real stretches of Binance showed holds.

``pytest -m long -s`` prints the figures.
"""

from functools import lru_cache

import numpy as np
import pytest

from src.domain.clock import DAY_MS, instant_of
from src.paper_exchange.markets.synthetic import SyntheticMarket
from src.paper_exchange.markets.synthetic_coins import COINS
from src.paper_exchange.markets.synthetic_levels import Levels
from tests.paper_exchange.candle_statistics import (
    BANDS,
    DAY,
    Minutes,
    held,
    local_sigma,
    statistics,
    table,
    variance_ratio,
)
from tests.shared_data import shared_file

pytestmark = pytest.mark.long

SEEDS = (7, 1, 2026)
DAYS = 180
LAST_DAY = instant_of("2026-11-22") // DAY_MS

# Correlation of one-minute returns of six perpetuals, Binance 2023-07-18 .. 08-17.
REAL_CORRELATION = np.array(
    [
        [1.00, 0.82, 0.66, 0.59, 0.56, 0.49],
        [0.82, 1.00, 0.67, 0.62, 0.57, 0.51],
        [0.66, 0.67, 1.00, 0.53, 0.58, 0.49],
        [0.59, 0.62, 0.53, 1.00, 0.49, 0.44],
        [0.56, 0.57, 0.58, 0.49, 1.00, 0.47],
        [0.49, 0.51, 0.49, 0.44, 0.47, 1.00],
    ]
)


@lru_cache(maxsize=len(SEEDS))
def stretch(seed):
    """Return the minutes of each coin over ``DAYS`` days of one seed, and the share of buyers in BTC's volume."""
    market = SyntheticMarket(seed)
    days = [market.day(day) for day in range(LAST_DAY - DAYS, LAST_DAY)]
    fields = ("open", "high", "low", "close", "volume")
    coins = tuple(
        Minutes(*(np.concatenate([getattr(day, name)[place] for day in days]).astype(float) for name in fields))
        for place in range(len(COINS))
    )
    bought = np.concatenate([day.taker_buy_volume[0] for day in days])
    trades = np.concatenate([day.trades[0] for day in days])
    return coins, bought / coins[0].volume, trades


@lru_cache(maxsize=len(SEEDS))
def figures(seed):
    """Return the statistics of BTC over the stretch of one seed."""
    return statistics(stretch(seed)[0][0])


def test_every_band_of_the_real_market_holds():
    columns = {f"seed {seed}": figures(seed) for seed in SEEDS}
    print("\n" + table(columns))
    missed = [
        f"{name} of {title}: {column[name]:.3f} is outside {low}..{high}"
        for name, (low, high) in BANDS.items()
        for title, column in columns.items()
        if not low <= column[name] <= high
    ]
    assert missed == []


def test_the_statistics_are_the_ones_the_bands_were_measured_with():
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(shared_file("BTCUSDT_spot_1m_2023.parquet"))
    stretch_2023 = frame[(frame.open_time >= instant_of("2023-03-25")) & (frame.open_time < instant_of("2023-10-16"))]
    found = statistics(Minutes(*(stretch_2023[name].to_numpy() for name in ("open", "high", "low", "close", "volume"))))
    published = {"sd 1m bp": 5.12, "kurtosis 1m": 227.2, "kurtosis 1h": 37.23, "kurtosis 1D": 2.55, "hill left": 2.53}
    published |= {"acf |r| 1": 0.411, "acf |r| 1440": 0.097, "corr |r| volume": 0.662, "sd log volume": 1.09}
    published |= {"range / |close - open|": 1.48, "day drawdown q99 %": 6.36, "acf log hourly RV 24": 0.437}
    for name, value in published.items():
        assert found[name] == pytest.approx(value, rel=0.01), name


@pytest.mark.parametrize("seed", SEEDS)
def test_the_coins_move_together_as_the_real_ones(seed):
    returns = np.array([coin.returns for coin in stretch(seed)[0]])
    by_minute, by_hour = np.corrcoef(returns), np.corrcoef([held(row, 60) for row in returns])
    print(f"\nseed {seed}: correlation of minutes\n{by_minute.round(2)}\nof hours, against BTC {by_hour[0].round(2)}")
    assert np.abs(by_minute - REAL_CORRELATION).max() < 0.08
    assert np.abs(by_hour - by_minute).max() < 0.10
    daily = [np.corrcoef(returns[:2, k * DAY : (k + 1) * DAY])[0, 1] for k in range(DAYS - 1)]
    assert 0.55 < np.quantile(daily, 0.01) < np.quantile(daily, 0.99) < 0.95


@pytest.mark.parametrize("seed", SEEDS)
def test_no_coin_runs_ahead_of_another(seed):
    returns = np.array([coin.returns for coin in stretch(seed)[0]])
    for lag in (1, 2, 3):
        ahead = np.corrcoef(returns[:, :-lag], returns[:, lag:])[: len(COINS), len(COINS) :]
        assert np.abs(ahead).max() < 0.02


def test_past_prices_do_not_predict_the_direction():
    """As measured on the real one: nearly a free walk, if anything with a slight reversal."""
    spans = (5, 15, 60, 240)
    ratios = np.array([[variance_ratio(stretch(seed)[0][0].returns, span) for span in spans] for seed in SEEDS])
    print("\nvariance ratios of", dict(zip(SEEDS, ratios.round(3).tolist(), strict=True)))
    assert np.abs(ratios - 0.97).max() < 0.15
    assert 0.93 < ratios.mean(axis=0).min() < ratios.mean(axis=0).max() < 1.02


@pytest.mark.parametrize("minutes", [5, 60, 240])
def test_a_jump_is_neither_walked_back_nor_followed(minutes):
    """Pools all coins and seeds; the mean move after a jump must lie within 3.5 standard errors of nought."""
    drifts = []
    for seed in SEEDS:
        for coin in stretch(seed)[0][:2]:
            r = coin.returns
            local = local_sigma(r)
            jumps = np.flatnonzero(np.abs(r[-len(local) :]) > 7.0 * local) + len(r) - len(local)
            path = np.concatenate([[0.0], np.cumsum(r)])
            jumps = jumps[jumps + 1 + minutes < len(path)]
            drifts.append(np.sign(r[jumps]) * (path[jumps + 1 + minutes] - path[jumps + 1]))
    pooled = np.concatenate(drifts)
    error = pooled.std() / np.sqrt(len(pooled))
    print(f"\n{len(pooled)} jumps, {minutes} minutes later {pooled.mean() * 1e4:.2f} bp on, +- {error * 1e4:.2f}")
    assert len(pooled) > 500
    assert abs(pooled.mean()) < 3.5 * error


def test_the_previous_days_direction_does_not_predict_either():
    products = []
    for seed in range(1, 25):
        levels = Levels(seed)
        path = np.array([levels.levels(day)[0] for day in range(LAST_DAY - 1500, LAST_DAY)])
        moves = np.diff(path) / np.diff(path).std()
        products.append(moves[1:] * moves[:-1])
    pooled = np.concatenate(products)
    assert abs(pooled.mean()) < 4.0 * pooled.std() / np.sqrt(len(pooled))


@pytest.mark.parametrize("seed", SEEDS)
def test_buyers_and_trades_go_with_the_move_they_make(seed):
    coins, share, trades = stretch(seed)
    r, volume = coins[0].returns, coins[0].volume
    assert 0.45 < share.mean() < 0.52
    assert 0.15 < share.std() < 0.25
    assert 0.3 < np.corrcoef(r, share[1:])[0, 1] < 0.5
    assert abs(np.corrcoef(r[1:], share[1:-1])[0, 1]) < 0.02
    assert 0.84 < np.corrcoef(np.log(trades), np.log(volume))[0, 1] < 0.98
    assert 0.60 < np.corrcoef(np.log(volume[1:]), np.log(volume[:-1]))[0, 1] < 0.85


@pytest.mark.parametrize("seed", SEEDS)
def test_hours_and_weekdays_are_as_lively_as_the_real_ones(seed):
    size = np.abs(np.concatenate([[0.0], stretch(seed)[0][0].returns]))
    minutes = np.arange(len(size))
    hourly = np.array([size[minutes // 60 % 24 == hour].mean() for hour in range(24)]) / size.mean()
    weekday = ((minutes // DAY) + LAST_DAY - DAYS + 3) % 7
    weekend = size[weekday >= 5].mean() / size.mean()
    quarters = np.mean([size[minutes % 60 == k].mean() for k in (0, 15, 30, 45)]) / size.mean()
    print(f"\nseed {seed}: 14 UTC {hourly[14]:.2f}, 04 UTC {hourly[4]:.2f}, weekend {weekend:.2f}, 15s {quarters:.2f}")
    assert 1.15 < hourly[14] < 1.6
    assert 0.62 < hourly[4] < 0.9
    assert 0.6 < weekend < 0.9
    assert 1.08 < quarters < 1.25
