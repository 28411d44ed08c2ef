"""The scoreboard's figures against an independent calculation with pandas, to 1e-9, and where they have no meaning."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.domain.forecast_scores import (
    BETTER,
    FEWEST,
    NO_BETTER,
    TOO_FEW,
    UNDECIDED,
    Settled,
    rank_correlation,
    score,
    wilson,
)

EXACT = 1e-9


def settled(count, seed=1, skill=0.0, coarse=True):
    """Return forecasts whose direction is right with probability 0.5 + skill, with ties as real ones have them."""
    chance = np.random.default_rng(seed)
    moved = chance.normal(0.0, 0.01, count)
    moved[::7] = 0.0
    right = chance.random(count) < 0.5 + skill
    direction = np.where(right, np.sign(moved), -np.sign(moved))
    direction[direction == 0] = 1.0
    sure = chance.choice([0.02, 0.05, 0.1], count) if coarse else chance.random(count) * 0.5
    return Settled(0.5 + direction * sure, direction, moved, direction * moved - 0.0012, 3.5)


def by_pandas(found):
    """The same figures from their formulas, by another library and another order of steps."""
    frame = pd.DataFrame(
        {"p": found.probability, "d": found.direction, "r": found.return_share, "net": found.net_share}
    )
    frame["up"] = (frame.r > 0).astype(int)
    frame["hit"] = (frame.d * frame.r > 0).astype(int)
    n, z = len(frame), 1.959963984540054
    rate, base = frame.hit.mean(), frame.up.mean()
    root = z * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    brier, reference = ((frame.p - frame.up) ** 2).mean(), base * (1 - base)
    gain = ((base - frame.up) ** 2 - (frame.p - frame.up) ** 2) / reference
    rank = frame.p.rank().corr(frame.r.rank())
    curve = frame.groupby((frame.p * 10).astype(int).clip(upper=9)).agg(said=("p", "mean"), up=("up", "mean"))
    return {
        "hit_rate": rate,
        "hit": tuple((rate + z**2 / (2 * n) + side * root) / (1 + z**2 / n) for side in (-1, 1)),
        "base_rate": base,
        "brier": brier,
        "brier_base": reference,
        "skill": 1 - brier / reference,
        "skill_interval": tuple(gain.mean() + side * z * gain.sem() for side in (-1, 1)),
        "ic": rank,
        "ic_interval": tuple(np.tanh(np.arctanh(rank) + side * z / math.sqrt(n - 3)) for side in (-1, 1)),
        "net": frame.net.mean(),
        "net_interval": tuple(frame.net.mean() + side * z * frame.net.sem() for side in (-1, 1)),
        "curve": list(curve.itertuples(index=False, name=None)),
    }


@pytest.mark.parametrize("coarse", [True, False])
@pytest.mark.parametrize(("count", "seed", "skill"), [(5, 1, 0.0), (40, 2, 0.1), (5_000, 3, 0.03), (20_000, 4, -0.02)])
def test_every_figure_agrees_with_pandas(count, seed, skill, coarse):
    found = settled(count, seed, skill, coarse)
    ours, theirs = score(found), by_pandas(found)
    got = {
        "hit_rate": ours.hit_rate,
        "hit": ours.hit_interval,
        "base_rate": ours.base_rate,
        "brier": ours.brier,
        "brier_base": ours.brier_base,
        "skill": ours.skill,
        "skill_interval": ours.skill_interval,
        "ic": ours.information_coefficient,
        "ic_interval": ours.information_interval,
        "net": ours.net_mean,
        "net_interval": ours.net_interval,
        "curve": [(each.mean_probability, each.risen_share) for each in ours.calibration],
    }
    for name, value in theirs.items():
        np.testing.assert_allclose(np.array(got[name]), np.array(value), rtol=0, atol=EXACT, err_msg=name)
    assert sum(each.count for each in ours.calibration) == ours.settled == count
    assert ours.cost_per_settled == pytest.approx(3.5 / count, abs=EXACT)


def test_nothing_settled_says_nothing():
    none = np.zeros(0)
    empty = score(Settled(none, none, none, none))
    assert (empty.settled, empty.hits, empty.cost_usd, empty.calibration) == (0, 0, 0.0, ())
    assert (empty.hit_rate, empty.skill, empty.information_coefficient, empty.cost_per_settled) == (None,) * 4
    assert empty.verdict == TOO_FEW


def test_one_forecast_and_a_market_that_only_rises_have_no_skill_to_speak_of():
    one = np.ones(1)
    single = score(Settled(one * 0.6, one, one * 0.01, one * 0.0088))
    assert (single.hit_rate, single.skill, single.skill_interval, single.information_coefficient) == (
        1.0,
        None,
        None,
        None,
    )
    rising = score(Settled(np.full(50, 0.6), np.ones(50), np.full(50, 0.01), np.zeros(50)))
    assert rising.brier_base == 0.0 and rising.skill is None and rising.verdict == TOO_FEW


def test_a_price_that_does_not_move_is_a_miss_and_no_rise():
    still = score(Settled(np.array([0.6, 0.4]), np.array([1.0, -1.0]), np.zeros(2), np.full(2, -0.0012)))
    assert (still.hits, still.base_rate) == (0, 0.0)


@pytest.mark.parametrize(
    ("skill", "count", "verdict"),
    [(0.3, 3_000, BETTER), (-0.3, 3_000, NO_BETTER), (0.3, FEWEST - 1, TOO_FEW)],
)
def test_the_verdict_follows_the_interval_of_the_skill(skill, count, verdict):
    assert score(settled(count, 5, skill)).verdict == verdict


def test_a_coin_that_says_hardly_anything_is_undecided():
    chance = np.random.default_rng(8)
    moved = chance.normal(0, 1, 400)
    said = chance.choice([-1.0, 1.0], 400)
    assert score(Settled(0.5 + said * 0.001, said, moved, said * moved)).verdict == UNDECIDED


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775327998), (10, 10, 0.7224672002, 1.0), (5, 10, 0.2365930905, 0.7634069095)],
)
def test_wilson_at_its_ends(hits, count, low, high):
    assert wilson(hits, count) == pytest.approx((low, high), abs=1e-9)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=40), st.floats(0.1, 50))
@settings(max_examples=60)
def test_the_rank_correlation_does_not_know_the_unit_and_is_symmetric(pairs, scale):
    first, second = (np.array(column, float) for column in zip(*pairs, strict=True))
    found = rank_correlation(first, second)
    assert found == rank_correlation(second, first)
    scaled = rank_correlation(first * scale, second + scale)
    assert (found is None) == (scaled is None)
    if found is not None:
        assert scaled == pytest.approx(found, abs=EXACT)
        assert -1.0 - EXACT <= found <= 1.0 + EXACT
