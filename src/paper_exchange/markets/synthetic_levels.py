"""Synthetic prices at each midnight, and each day's volatility.

Eight independent sources of news (the whole market, the smaller coins together, and each coin alone) move six
prices. A source's level is a fading sum of its last 1,280 daily changes: it has no beginning, stays within bounds
over decades and is found for any day without walking there. What happens inside a day is a bridge between two
levels (``synthetic_minutes``).
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from src.paper_exchange.markets.synthetic_chance import Floats, between_nodes, decay_weights, normals, smooth_normals

SOURCES = 8
MINUTES = 1440
HOURS = 24
_CHUNK_DAYS = 256
_FADE_DAYS = 160.0
_FADE_SPAN = 8.0

MINUTE_SIGMA = 5.2e-4  # of the market's source in an ordinary minute
WEEKDAY_SIGMA = np.array([1.07, 1.12, 1.15, 1.10, 1.09, 0.73, 0.75])  # Monday first
HOUR_SIGMA = np.array(
    [
        (1.07, 0.97, 0.89, 0.80, 0.76, 0.77, 0.78, 0.82, 0.89, 0.85, 0.85, 0.87),
        (1.06, 1.21, 1.35, 1.30, 1.25, 1.14, 1.13, 1.14, 1.11, 1.05, 1.02, 0.95),
    ]
).ravel()

_DAILY_CHANGE, _WEEKS_LONG, _DAYS_LONG, _HOURS_LONG, _OWN = 80, 100, 101, 102, 110


class VolatilityFactor(NamedTuple):
    """One factor of log volatility: how far it swings (standard deviation) and how long it remembers."""

    swing: float
    memory: float


SLOW = VolatilityFactor(0.22, 10.0)  # memory in days
MIDDLE = VolatilityFactor(0.24, 40.0)  # in hours
QUICK = VolatilityFactor(0.36, 5.0)  # in hours
OWN = VolatilityFactor(0.10, 4.0)  # in days, each source for itself


class LevelBlock(NamedTuple):
    """What is known of 256 days: rows are sources, columns days."""

    changes: Floats
    variances: Floats


class Levels:
    """The daily skeleton of one seed; instances share nothing and keep a few hundred kilobytes of caches."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._chunk = lru_cache(maxsize=64)(self._make_chunk)
        self._chunk_levels = lru_cache(maxsize=8)(self._make_levels)

    def levels(self, day: int) -> Floats:
        """Return the log level of each source at the midnight that begins ``day`` (days since 1970)."""
        chunk, place = divmod(day, _CHUNK_DAYS)
        return self._chunk_levels(chunk)[:, place]

    def variances(self, day: int) -> Floats:
        """Return the variance of each source's change over ``day``."""
        chunk, place = divmod(day, _CHUNK_DAYS)
        return self._chunk(chunk).variances[:, place]

    def log_sigma(self, day: int, steps_an_hour: int) -> Floats:
        """Return each source's log volatility through ``day`` (seasons and the minutes' own bursts left out)."""
        return _log_sigma(self._seed, day, 1, steps_an_hour)

    def _make_chunk(self, chunk: int) -> LevelBlock:
        first = chunk * _CHUNK_DAYS
        variances = _day_variances(self._seed, first, _CHUNK_DAYS)
        shocks = [normals(self._seed, _DAILY_CHANGE + k, first, _CHUNK_DAYS) for k in range(SOURCES)]
        return LevelBlock(np.sqrt(variances) * np.array(shocks), variances)

    def _make_levels(self, chunk: int) -> Floats:
        weights = decay_weights(_FADE_DAYS, _FADE_SPAN)
        back = math.ceil(len(weights) / _CHUNK_DAYS)
        changes = np.hstack([self._chunk(c).changes for c in range(chunk - back, chunk + 1)])
        known = changes[:, back * _CHUNK_DAYS - len(weights) : -1]  # a level holds the days before it
        return np.array([np.convolve(row, weights, "valid") for row in known])


def _day_variances(seed: int, first: int, count: int) -> Floats:
    """Return the variance of each source's change, one column a day: the mean over its hours."""
    hourly = np.exp(2.0 * _log_sigma(seed, first, count, 1)).reshape(SOURCES, count, HOURS)
    weekdays = WEEKDAY_SIGMA[(np.arange(first, first + count) + 3) % 7]  # 1970 began on a Thursday
    scale = MINUTE_SIGMA**2 * MINUTES * weekdays**2
    return np.asarray((hourly * HOUR_SIGMA**2).mean(axis=2) * scale)


def _log_sigma(seed: int, first: int, days: int, steps_an_hour: int) -> Floats:
    """Return log volatility without seasons: rows are sources, columns ``days * 24 * steps_an_hour`` instants."""
    hours = days * HOURS + 1
    slow = SLOW.swing * smooth_normals(seed, _WEEKS_LONG, first, days + 1, SLOW.memory)
    middle = MIDDLE.swing * smooth_normals(seed, _DAYS_LONG, first * HOURS, hours, MIDDLE.memory)
    quick = QUICK.swing * smooth_normals(seed, _HOURS_LONG, first * HOURS, hours, QUICK.memory)
    own = [OWN.swing * smooth_normals(seed, _OWN + k, first, days + 1, OWN.memory) for k in range(SOURCES)]
    by_day = between_nodes(slow + np.array(own), HOURS * steps_an_hour)
    by_hour = between_nodes(middle + quick, steps_an_hour)
    return np.asarray(by_day + by_hour)
