"""One day of synthetic candles, all six contracts at once, between the levels of its two midnights.

Each source of news gets a variance for every minute (slow volatility, seasons, bursts, and now and then a shock),
scaled so that the day's total is the one its level was drawn with; then normal moves of these variances are bent
into a bridge. Given the variances this is the exact law of a free walk: no minute foretells the direction of
another, and a jump is not walked back. On top of it the last trade of a minute bounces a little around the price,
which gives the slight reversal of real minutes (variance ratio about 0.97): far less than a trade costs.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.paper_exchange.markets.synthetic_chance import Floats, normals, smooth_normals, uniforms
from src.paper_exchange.markets.synthetic_coins import COINS, LOADINGS
from src.paper_exchange.markets.synthetic_levels import (
    HOUR_SIGMA,
    HOURS,
    MINUTE_SIGMA,
    MINUTES,
    SOURCES,
    Levels,
    VolatilityFactor,
)

WholeNumber = NDArray[np.int64]

BURST = VolatilityFactor(0.66, 13.0)  # memory in minutes
_BURST_SHARED = 0.8  # correlation of the sources' bursts with the market's
_SHOCK_FREEDOM = 6.0  # degrees of freedom of the minutes' Student t
_LARGEST_SHOCK = 225.0  # of a minute's variance: 15 of its ordinary standard deviations

MINUTE_SIGMA_OF_HOUR = np.array(
    [
        (1.15, 1.13, 1.10, 1.07, 0.98, 1.10, 1.07, 1.02, 0.98, 0.97, 1.03, 1.01, 0.98, 0.93, 0.88),
        (1.16, 1.09, 1.04, 1.00, 0.94, 1.04, 1.02, 0.98, 0.97, 0.92, 1.04, 0.96, 0.95, 0.91, 0.86),
        (1.21, 1.14, 1.07, 1.05, 0.97, 1.08, 1.03, 0.99, 0.96, 0.94, 1.03, 0.99, 0.96, 0.93, 0.88),
        (1.13, 1.08, 1.02, 0.98, 0.93, 1.03, 1.00, 0.94, 0.93, 0.90, 0.97, 0.94, 0.91, 0.88, 0.86),
    ]
).ravel()

# What the streams of chance are for; a source or a coin adds its number.
_SHARED_BURST, _BURST, _MOVE, _GAP, _WICK_UP, _WICK_DOWN = 200, 210, 225, 230, 240, 250
_SHARED_ACTIVITY, _ACTIVITY, _NOISE, _TRADES, _TAKER, _TAKER_NOISE, _SHOCK, _BOUNCE = (
    260,
    270,
    280,
    290,
    300,
    310,
    320,
    330,
)

_CALM_MOVE_SHARE = 0.055  # a minute that moves less than this share of its sigma leaves the last price where it was
_BOUNCE_SHARE = 0.12  # of a sigma: distance of a minute's last trade from the price it represents
_GAP_CHANCE = 0.25  # of opening one tick above the close before, and as much of one below

_PRICE_UNITS = np.array([10.0**coin.price_digits for coin in COINS])[:, None]
_VOLUME_UNITS = np.array([10.0**coin.quantity_digits for coin in COINS])[:, None]
_USUAL_LOG_PRICE = np.log([coin.usual_price for coin in COINS])
_USUAL_SIGMA = MINUTE_SIGMA * np.sqrt((LOADINGS**2).sum(axis=1))[:, None]
_USUAL_VOLUME = np.array([coin.usual_volume for coin in COINS])[:, None]
_USUAL_TRADE = np.array([coin.usual_trade for coin in COINS])[:, None]
_WICK = np.array([coin.wick for coin in COINS])[:, None]


@dataclass(frozen=True, slots=True)
class DayCandles:
    """The candles of one day as whole numbers: rows are coins (as in ``COINS``), columns minutes.

    Prices count ticks, volumes steps of the contract; ``quote_volume`` is money.
    """

    open: WholeNumber
    high: WholeNumber
    low: WholeNumber
    close: WholeNumber
    volume: WholeNumber
    trades: WholeNumber
    taker_buy_volume: WholeNumber
    quote_volume: Floats


def make_day(seed: int, day: int, levels: Levels) -> DayCandles:
    """Return the candles of ``day`` (days since 1970 UTC) in the world of ``seed``."""
    chance = _Chance(seed, day)
    total = levels.variances(day)[:, None]
    calm = np.exp(2.0 * _log_tempo(chance, levels))
    calm *= total / calm.sum(axis=1, keepdims=True)
    variances = calm * _shocks(chance)
    variances *= total / variances.sum(axis=1, keepdims=True)
    sigma = np.sqrt(LOADINGS**2 @ variances)
    calm_sigma = np.sqrt(LOADINGS**2 @ calm)
    start, end = levels.levels(day), levels.levels(day + 1)
    moves = LOADINGS @ _bridge(chance, variances, end - start)
    bounce = _BOUNCE_SHARE * calm_sigma * chance.normal(_BOUNCE, len(COINS))
    before, close = _closes(LOADINGS @ start, LOADINGS @ end, moves, bounce, calm_sigma)
    return _dressed(chance, before, close, sigma, calm_sigma)


class _Chance:
    """The streams of one day: each call returns rows of 1,440 numbers."""

    def __init__(self, seed: int, day: int) -> None:
        self.seed, self.day = seed, day
        self._first = day * MINUTES

    def even(self, stream: int, rows: int) -> Floats:
        """Return numbers between 0 and 1."""
        return uniforms(self.seed, stream, self._first * rows, MINUTES * rows).reshape(rows, MINUTES)

    def normal(self, stream: int, rows: int) -> Floats:
        """Return standard normal numbers."""
        return normals(self.seed, stream, self._first * rows, MINUTES * rows).reshape(rows, MINUTES)

    def smooth(self, stream: int, rows: int, memory: float) -> Floats:
        """Return standard normal numbers that are correlated over ``memory`` minutes, each row independent."""
        return np.array([smooth_normals(self.seed, stream + k, self._first, MINUTES, memory) for k in range(rows)])


def _log_tempo(chance: _Chance, levels: Levels) -> Floats:
    """Return the log volatility of every source and minute, seasons and bursts included, shocks not."""
    seasons = np.log(np.repeat(HOUR_SIGMA, 60) * np.tile(MINUTE_SIGMA_OF_HOUR, HOURS))
    shared = chance.smooth(_SHARED_BURST, 1, BURST.memory)
    own = chance.smooth(_BURST, SOURCES, BURST.memory)
    bursts = _BURST_SHARED * shared + math.sqrt(1.0 - _BURST_SHARED**2) * own
    return np.asarray(levels.log_sigma(chance.day, 60) + seasons + BURST.swing * bursts)


def _shocks(chance: _Chance) -> Floats:
    """Return what each minute's variance is multiplied by: the inverse of a chi-squared number, mean 1."""
    chi_squared = -2.0 * np.log(chance.even(_SHOCK, 3 * SOURCES).reshape(3, SOURCES, MINUTES)).sum(axis=0)
    return np.asarray(np.minimum((_SHOCK_FREEDOM - 2.0) / chi_squared, _LARGEST_SHOCK))


def _bridge(chance: _Chance, variances: Floats, change: Floats) -> Floats:
    """Return the moves of each source: normal, of these variances, and adding up to ``change``."""
    free = np.sqrt(variances) * chance.normal(_MOVE, SOURCES)
    missing = (change - free.sum(axis=1)) / variances.sum(axis=1)
    return np.asarray(free + variances * missing[:, None])


def _closes(
    start: Floats, end: Floats, moves: Floats, bounce: Floats, calm_sigma: Floats
) -> tuple[WholeNumber, WholeNumber]:
    """Return the close before the day and the closes of its minutes, in ticks.

    Both midnights come from the levels alone, so that neighbouring days agree on them to the tick.
    """
    path = (_USUAL_LOG_PRICE + start)[:, None] + np.cumsum(moves, axis=1) + bounce
    path[:, -1] = _USUAL_LOG_PRICE + end
    felt = np.abs(moves) > _CALM_MOVE_SHARE * calm_sigma
    felt[:, 0] = felt[:, -1] = True
    last_felt = np.maximum.accumulate(np.where(felt, np.arange(MINUTES), 0), axis=1)
    return _ticks((_USUAL_LOG_PRICE + start)[:, None]), _ticks(np.take_along_axis(path, last_felt, axis=1))


def _ticks(log_price: Floats) -> WholeNumber:
    return np.asarray(np.maximum(np.rint(np.exp(log_price) * _PRICE_UNITS), 1.0).astype(np.int64))


def _dressed(chance: _Chance, before: WholeNumber, close: WholeNumber, sigma: Floats, calm_sigma: Floats) -> DayCandles:
    """Return whole candles around the closes: opens, wicks, volume, trades and who began them."""
    coins = len(COINS)
    dice = chance.even(_GAP, coins)
    gap = (dice > 1.0 - _GAP_CHANCE).astype(np.int64) - (dice < _GAP_CHANCE)
    opened = np.hstack([before, close[:, :-1]]) + gap
    wick = _WICK * 0.5 * (0.4 * sigma + 0.6 * calm_sigma) * close
    above = np.rint(wick * np.log(chance.even(_WICK_UP, coins)) ** 2).astype(np.int64)
    below = np.rint(wick * np.log(chance.even(_WICK_DOWN, coins)) ** 2).astype(np.int64)
    high = np.maximum(opened, close) + above
    low = np.maximum(np.minimum(opened, close) - below, 1)
    low -= (high == low) & (low > 1)
    volume = _volume(chance, np.log(high / low), calm_sigma)
    trades = _trades(chance, volume)
    share = _taker_share(chance, np.log(close / opened) / sigma)
    mean_price = (opened + high + low + close) / (4.0 * _PRICE_UNITS)
    return DayCandles(
        opened,
        high,
        low,
        close,
        volume,
        trades,
        np.rint(volume * share).astype(np.int64),
        np.asarray(volume / _VOLUME_UNITS * mean_price),
    )


def _volume(chance: _Chance, width: Floats, calm_sigma: Floats) -> WholeNumber:
    """Return the volume in steps: it follows volatility and the candle's range, with its own random factor."""
    unrest = np.log(calm_sigma / _USUAL_SIGMA)
    surprise = np.log(width / calm_sigma)
    mood = 0.34 * chance.smooth(_SHARED_ACTIVITY, 1, 300.0) + 0.34 * chance.smooth(_ACTIVITY, len(COINS), 30.0)
    noise = 0.38 * chance.normal(_NOISE, len(COINS))
    volume = _USUAL_VOLUME * np.exp(1.1 * unrest + 0.48 * surprise + mood + noise)
    return np.asarray(np.maximum(np.rint(volume * _VOLUME_UNITS), 1.0).astype(np.int64))


def _trades(chance: _Chance, volume: WholeNumber) -> WholeNumber:
    """Return the number of trades: more volume is more trades, and somewhat larger ones."""
    usual = _USUAL_VOLUME / _USUAL_TRADE
    relative = volume / (_VOLUME_UNITS * _USUAL_VOLUME)
    count = usual * relative**0.75 * np.exp(0.36 * chance.normal(_TRADES, len(COINS)))
    return np.asarray(np.clip(np.rint(count), 1, volume).astype(np.int64))


def _taker_share(chance: _Chance, move: Floats) -> Floats:
    """Return which share of the volume buyers began: more when the price rose (``move`` in sigmas)."""
    habit = 0.30 * chance.smooth(_TAKER, len(COINS), 20.0) + 0.85 * chance.normal(_TAKER_NOISE, len(COINS))
    return np.asarray(1.0 / (1.0 + np.exp(0.05 - 0.45 * move - habit)))
