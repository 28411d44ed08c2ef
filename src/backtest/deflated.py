"""The deflated Sharpe ratio: how good the best of many variants is, given how many were tried."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_EULER = 0.5772156649015329
_NORMAL = NormalDist()


class Deflated(NamedTuple):
    """The best variant's Sharpe ratio a day, what the best of as many worthless ones is expected to reach, and
    the probability that it is truly above 0 beyond that luck (``None``: too little to judge by).
    """

    best: float | None
    luck: float | None
    probability: float | None
    tried: int


def daily_ratio(returns: NDArray[np.float64]) -> float:
    """Return mean over deviation of daily returns, 0 where they do not move."""
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return float(returns.mean()) / deviation if deviation > 0.0 else 0.0


def deflated_sharpe(best: NDArray[np.float64], ratios: Sequence[float]) -> Deflated:
    """Return the deflated Sharpe ratio of the best variant.

    Args:
        best: its daily returns.
        ratios: the daily Sharpe ratios of all variants that were tried, its own among them.

    Source:
        D. H. Bailey, M. Lopez de Prado, *The Deflated Sharpe Ratio*, 2014.
    """
    tried, days = len(ratios), len(best)
    if tried < 1 or days < 30 or best.std() <= 0.0:
        return Deflated(None, None, None, tried)
    ratio, luck = daily_ratio(best), expected_best(ratios)
    away = (best - best.mean()) / best.std()
    skew, kurtosis = float((away**3).mean()), float((away**4).mean())
    spread = 1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    if spread <= 0.0:
        return Deflated(ratio, luck, None, tried)
    return Deflated(ratio, luck, _NORMAL.cdf((ratio - luck) * math.sqrt(days - 1) / math.sqrt(spread)), tried)


def expected_best(ratios: Sequence[float]) -> float:
    """Return the Sharpe ratio that the best of as many worthless variants, scattered alike, is expected to show."""
    tried = len(ratios)
    if tried < 2:
        return 0.0
    scatter = float(np.std(np.asarray(ratios), ddof=1))
    first, second = _NORMAL.inv_cdf(1.0 - 1.0 / tried), _NORMAL.inv_cdf(1.0 - 1.0 / (tried * math.e))
    return scatter * ((1.0 - _EULER) * first + _EULER * second)
