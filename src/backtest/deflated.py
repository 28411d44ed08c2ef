"""The deflated Sharpe ratio: how good the best of many variants is, given how many were tried."""

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_EULER = 0.5772156649015329
_NORMAL = NormalDist()


class Deflated(NamedTuple):
    """The best variant's Sharpe ratio a day, what the best of as many worthless ones is expected to reach, and
    the probability that it is truly above 0 beyond that luck (``None``: too little to judge by). ``tried`` counts
    different variants, those of earlier sittings among them.
    """

    best: float | None
    luck: float | None
    probability: float | None
    tried: int


def daily_ratio(returns: NDArray[np.float64]) -> float:
    """Return mean over deviation of daily returns, 0 where they do not move."""
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return float(returns.mean()) / deviation if deviation > 0.0 else 0.0


def distinct_ratios(rows: Iterable[Sequence[float]]) -> list[float]:
    """Return the daily Sharpe ratio of each series of daily returns, equal series counted once."""
    different = {tuple(round(value, 9) for value in row) for row in rows}
    return [daily_ratio(np.array(row)) for row in sorted(different)]


def deflated_sharpe(best: NDArray[np.float64], ratios: Sequence[float], recorded: int = 1) -> Deflated:
    """Return the deflated Sharpe ratio of the best variant.

    Args:
        best: its daily returns.
        ratios: the daily Sharpe ratios of all different variants that were tried now, its own among them.
        recorded: how many were tried before, the rule set's own figures among them (``tried`` in its file).

    Source:
        D. H. Bailey, M. Lopez de Prado, *The Deflated Sharpe Ratio*, 2014.
    """
    days = len(best)
    tried = len(ratios) + max(recorded, 1) - 1
    if not ratios or days < 30 or best.std() <= 0.0:
        return Deflated(None, None, None, tried)
    ratio, luck = daily_ratio(best), expected_best(tried, scatter_of(ratios, days))
    away = (best - best.mean()) / best.std()
    skew, kurtosis = float((away**3).mean()), float((away**4).mean())
    spread = 1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    if spread <= 0.0:
        return Deflated(ratio, luck, None, tried)
    return Deflated(ratio, luck, _NORMAL.cdf((ratio - luck) * math.sqrt(days - 1) / math.sqrt(spread)), tried)


def scatter_of(ratios: Sequence[float], days: int) -> float:
    """Return how far the daily ratios of worthless variants scatter: never less than chance alone makes them.

    Variants that resemble one another lie close together and say little about luck; the ratio of ``days`` daily
    returns without any worth has a deviation of ``1 / sqrt(days)``.
    """
    seen = float(np.std(np.asarray(ratios), ddof=1)) if len(ratios) > 1 else 0.0
    return max(seen, 1.0 / math.sqrt(days))


def expected_best(tried: int, scatter: float) -> float:
    """Return the Sharpe ratio that the best of ``tried`` worthless variants is expected to show."""
    if tried < 2:
        return 0.0
    first, second = _NORMAL.inv_cdf(1.0 - 1.0 / tried), _NORMAL.inv_cdf(1.0 - 1.0 / (tried * math.e))
    return scatter * ((1.0 - _EULER) * first + _EULER * second)
