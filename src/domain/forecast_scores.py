"""How good forecasts were: hit rate, Brier score and skill, information coefficient, calibration.

All intervals are 95 %. They take the forecasts as independent: those of one forecaster on one pair do not overlap
(``forecasts.OpenForecasts``); on several pairs at once they move together, and the true intervals are wider.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Interval = tuple[float, float]

Z: Final = 1.959963984540054
"""The normal quantile that leaves 2.5 % on either side."""
FEWEST: Final = 30
"""With fewer settled forecasts no verdict is given."""
BETTER, NO_BETTER = "better than chance", "no better than chance"
UNDECIDED, TOO_FEW = "not shown to be better than chance", "too few forecasts"
_BINS: Final = 10


@dataclass(frozen=True, slots=True)
class Settled:
    """The settled forecasts of one forecaster as columns of equal length, in any order."""

    probability: Array
    direction: Array
    return_share: Array
    net_share: Array
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """The forecasts whose probability of a rise lay in one tenth: the mean said, and how often the price did rise."""

    mean_probability: float
    risen_share: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How good one forecaster was.

    ``hit_rate`` is the share whose direction was right (no move is a miss); ``base_rate`` how often the price rose;
    ``brier`` the mean squared error of the probability, ``brier_base`` that of always saying the base rate, and
    ``skill`` = 1 - brier / brier_base, above 0 when the forecaster tells more than the base rate does;
    ``information_coefficient`` the rank correlation (Spearman) of what was said and the return; ``net_mean`` what
    acting on one forecast brought on average after costs. What has no meaning yet is None.
    """

    settled: int
    hits: int
    cost_usd: float
    hit_rate: float | None = None
    hit_interval: Interval | None = None
    base_rate: float | None = None
    brier: float | None = None
    brier_base: float | None = None
    skill: float | None = None
    skill_interval: Interval | None = None
    information_coefficient: float | None = None
    information_interval: Interval | None = None
    net_mean: float | None = None
    net_interval: Interval | None = None
    cost_per_settled: float | None = None
    calibration: tuple[CalibrationBin, ...] = ()

    @property
    def verdict(self) -> str:
        """The skill in words: ``BETTER``, ``NO_BETTER``, ``UNDECIDED`` or ``TOO_FEW``."""
        if self.settled < FEWEST or self.skill_interval is None:
            return TOO_FEW
        low, high = self.skill_interval
        return BETTER if low > 0.0 else NO_BETTER if high < 0.0 else UNDECIDED


def score(settled: Settled) -> Score:
    """Return the figures of one forecaster's settled forecasts."""
    count = len(settled.probability)
    if count == 0:
        return Score(settled=0, hits=0, cost_usd=settled.cost_usd)
    hits = int(np.count_nonzero(settled.direction * settled.return_share > 0.0))
    risen = (settled.return_share > 0.0).astype(np.float64)
    base = float(risen.mean())
    errors, base_errors = (settled.probability - risen) ** 2, (base - risen) ** 2
    brier, brier_base = float(errors.mean()), float(base_errors.mean())
    skill, skill_interval = _skill(errors, base_errors)
    found = rank_correlation(settled.probability, settled.return_share)
    return Score(
        settled=count,
        hits=hits,
        hit_rate=hits / count,
        hit_interval=wilson(hits, count),
        base_rate=base,
        brier=brier,
        brier_base=brier_base,
        skill=skill,
        skill_interval=skill_interval,
        information_coefficient=found,
        information_interval=None if found is None else _fisher(found, count),
        net_mean=float(settled.net_share.mean()),
        net_interval=_mean_interval(settled.net_share),
        cost_usd=settled.cost_usd,
        cost_per_settled=settled.cost_usd / count,
        calibration=calibration(settled.probability, risen),
    )


def wilson(hits: int, count: int) -> Interval:
    """Return Wilson's score interval of a share of ``hits`` among ``count``, at least 1.

    Source:
        E. B. Wilson, *Probable Inference, the Law of Succession, and Statistical Inference*, 1927.
    """
    share, spread = hits / count, Z * Z / count
    middle = (share + spread / 2.0) / (1.0 + spread)
    half = Z * math.sqrt(share * (1.0 - share) / count + spread / (4.0 * count)) / (1.0 + spread)
    return middle - half, middle + half


def rank_correlation(first: Array, second: Array) -> float | None:
    """Return Spearman's rank correlation, ties sharing their mean rank; None where one of both never varies."""
    a, b = _ranks(first), _ranks(second)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return None if scale == 0.0 else float((a * b).sum()) / scale


def calibration(probability: Array, risen: Array) -> tuple[CalibrationBin, ...]:
    """Return the calibration curve, a point for each tenth of probability in which something was said."""
    places = np.minimum((probability * _BINS).astype(np.int64), _BINS - 1)
    found = (places == place for place in range(_BINS))
    return tuple(
        CalibrationBin(float(probability[inside].mean()), float(risen[inside].mean()), int(inside.sum()))
        for inside in found
        if inside.any()
    )


def _skill(errors: Array, base_errors: Array) -> tuple[float | None, Interval | None]:
    """Return the skill, and its interval from the scatter of the paired differences."""
    reference = float(base_errors.mean())
    if reference == 0.0:
        return None, None
    gains = (base_errors - errors) / reference
    return float(gains.mean()), _mean_interval(gains)


def _mean_interval(values: Array) -> Interval | None:
    if len(values) < 2:
        return None
    half = Z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def _fisher(correlation: float, count: int) -> Interval | None:
    """Return the interval of a correlation by Fisher's transformation; None for three pairs or fewer."""
    if count <= 3:
        return None
    if abs(correlation) >= 1.0:
        return correlation, correlation
    middle, half = math.atanh(correlation), Z / math.sqrt(count - 3.0)
    return math.tanh(middle - half), math.tanh(middle + half)


def _ranks(values: Array) -> Array:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts).astype(np.float64)
    ranks: Array = (last - (counts - 1.0) / 2.0)[place]
    return ranks
