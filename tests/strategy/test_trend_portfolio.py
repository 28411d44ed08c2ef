"""The trend portfolio against an independent calculation, on real candles, and the laws that hold for any candles."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.domain.market import Candle
from src.strategy.target_rules import PortfolioLimits, TargetRules, load_target_rules
from src.strategy.targets import PortfolioObservation
from src.strategy.trend_portfolio import TrendPortfolio, TrendPortfolioRules
from tests.real_closes import EIGHT_HOURS_MS, real_closes
from tests.trend_oracle import weights

RULES_FILE = Path(__file__).resolve().parents[2] / "config" / "rules" / "trend_portfolio.toml"


def candles_of(closes: pd.Series) -> list[Candle]:
    return [Candle(int(at), close, close, close, close, 1.0) for at, close in closes.dropna().items()]


def targets_over_time(closes: pd.DataFrame, strategy: TrendPortfolio) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return weight and band after each close, as the strategy says them when it is asked after every candle."""
    histories = {pair: candles_of(closes[pair]) for pair in closes}
    weight, band = closes * np.nan, closes * np.nan
    for at in closes.index:
        known = {pair: [each for each in rows if each.open_ms <= at] for pair, rows in histories.items()}
        for target in strategy.targets(PortfolioObservation(int(at) + EIGHT_HOURS_MS, known)):
            weight.loc[at, target.symbol] = np.nan if target.weight is None else target.weight
            band.loc[at, target.symbol] = np.nan if target.weight is None else target.band
    return weight, band


def made_closes(seed: int, count: int, pairs: int = 3) -> pd.DataFrame:
    dice = np.random.default_rng(seed)
    common = dice.normal(0.0, 0.01, (count, 1))
    steps = common + dice.normal(0.0005, 0.015, (count, pairs))
    prices = 100.0 * np.exp(np.cumsum(steps, axis=0))
    return pd.DataFrame(prices, np.arange(count) * EIGHT_HOURS_MS, [f"P{number}USDT" for number in range(pairs)])


def test_targets_equal_an_independent_calculation_on_real_candles():
    closes = real_closes().iloc[-900:]  # all six pairs, 300 days
    weight, band = targets_over_time(closes, TrendPortfolio())
    expected_weight, expected_band = weights(closes)
    assert weight.notna().sum().min() > 600
    np.testing.assert_allclose(weight.to_numpy(), expected_weight.to_numpy(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(band.to_numpy(), expected_band.to_numpy(), rtol=0, atol=1e-9)
    assert weight.max().max() > 0.1
    assert (weight == 0).sum().sum() > 100


def test_pairs_that_begin_later_join_when_they_have_their_history():
    closes = made_closes(5, 560)
    closes.iloc[:200, 2] = np.nan
    weight, band = targets_over_time(closes, TrendPortfolio())
    expected_weight, expected_band = weights(closes)
    np.testing.assert_allclose(weight.to_numpy(), expected_weight.to_numpy(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(band.to_numpy(), expected_band.to_numpy(), rtol=0, atol=1e-9)
    assert weight.iloc[438, 2] != weight.iloc[438, 2]  # 239 candles: not yet
    assert weight.iloc[439, 2] == weight.iloc[439, 2]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 1_000.0))
def test_targets_do_not_know_the_unit_of_a_price(seed, scale):
    closes = made_closes(seed, 300, 2)
    plain = last_targets(closes)
    for pair, weight in last_targets(closes * scale).items():
        assert weight == pytest.approx(plain[pair], abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_candle_by_candle_is_the_same_as_all_at_once(seed, step):
    closes = made_closes(seed, 300, 2)
    strategy, histories = TrendPortfolio(), {pair: candles_of(closes[pair]) for pair in closes}
    for known in [*range(1, 300, step), 300]:
        seen = strategy.targets(PortfolioObservation(0, {pair: rows[:known] for pair, rows in histories.items()}))
    assert {each.symbol: each.weight for each in seen} == last_targets(closes)


def last_targets(closes: pd.DataFrame) -> dict[str, float | None]:
    observation = PortfolioObservation(0, {pair: candles_of(closes[pair]) for pair in closes})
    return {each.symbol: each.weight for each in TrendPortfolio().targets(observation)}


def test_another_history_is_taken_in_anew():
    closes, others = made_closes(1, 300, 2), made_closes(2, 300, 2)
    strategy = TrendPortfolio()
    for frame in (closes, others, closes.iloc[10:]):
        seen = strategy.targets(PortfolioObservation(0, {pair: candles_of(frame[pair]) for pair in frame}))
        assert {each.symbol: each.weight for each in seen} == last_targets(frame)


def test_weights_keep_their_caps():
    closes = pd.DataFrame(
        {f"P{number}USDT": 100.0 * np.exp(0.002 * np.arange(400) * (1 + number / 10)) for number in range(3)},
        np.arange(400) * EIGHT_HOURS_MS,
    )
    rules = TrendPortfolioRules(target_volatility=0.9)
    observation = PortfolioObservation(0, {pair: candles_of(closes[pair]) for pair in closes})
    seen = [each.weight or 0.0 for each in TrendPortfolio(rules).targets(observation)]
    assert max(seen) <= 0.6
    assert math.isclose(sum(seen), 1.0, rel_tol=1e-12)


def test_a_pair_without_history_says_how_much_it_needs():
    closes = made_closes(3, 20, 1)
    target = TrendPortfolio().targets(PortfolioObservation(0, {"P0USDT": candles_of(closes["P0USDT"])}))[0]
    assert target.weight is None
    assert target.reason == "needs 240 closed 8h candles and has 20"


def test_the_shipped_file_holds_the_figures_of_the_code():
    rules = load_target_rules(RULES_FILE.read_text(encoding="utf-8"))
    assert rules.strategy == TrendPortfolioRules()
    assert rules.limits == PortfolioLimits()
    assert rules.pairs == TargetRules().pairs
    assert rules.name == RULES_FILE.stem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = 'x'", "kind must be"),
        ("kind = 'trend_portfolio'\nfoo = 1", "unknown figure foo"),
        ("kind = 'trend_portfolio'\n[strategy]\ngain = 'much'", "gain in [strategy] must be of kind float"),
        ("kind = 'trend_portfolio'\n[strategy]\nhistory_days = 3", "history_days must be at least"),
        ("kind = 'trend_portfolio'\n[limits]\nleverage = 3.5", "leverage in [limits] must be of kind int"),
        ("kind = 'trend_portfolio'\n[limits]\nleverage = 10", "liquidation would come first"),
        ("kind = 'trend_portfolio'\ntried = 0", "tried must be at least 1"),
        ("kind = 'trend_portfolio'\npairs = []", "pairs must name at least one"),
    ],
)
def test_wrong_figures_are_named(text, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        load_target_rules(text)
