"""The words for a market's figures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.context.classify import btc_trend, fear_greed_label, market_regime, market_trend, volatility_level

changes = st.none() | st.floats(-60, 60)
indices = st.none() | st.integers(0, 100)


def test_the_users_own_example_gets_the_users_own_words():
    assert market_trend(-2.3, -1.8, 42) == "bearish"
    assert btc_trend(-2.3) == "down_weak"
    assert market_regime(-2.3, -1.8, 42) == "risk_off"
    assert volatility_level(None, -2.3) == "medium"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (3.0, "up_strong"),
        (2.9, "up_weak"),
        (1.0, "up_weak"),
        (0.9, "sideways"),
        (-0.9, "sideways"),
        (-1.0, "down_weak"),
        (-3.0, "down_strong"),
        (None, "unknown"),
    ],
)
def test_btc_trend_changes_its_word_at_one_and_three_percent(change, word):
    assert btc_trend(change) == word


@pytest.mark.parametrize(
    ("btc", "eth", "index", "word"),
    [
        (2, 2, 50, "bullish"),
        (2, -2, 50, "neutral"),
        (2, 2, 10, "neutral"),
        (2, None, None, "bullish"),
        (2, 0, None, "neutral"),
        (-2, -2, None, "bearish"),
        (None, 2, 90, "unknown"),
    ],
)
def test_market_trend_needs_more_than_half_of_the_known_votes(btc, eth, index, word):
    assert market_trend(btc, eth, index) == word


@pytest.mark.parametrize(
    ("btc", "eth", "index", "word"),
    [
        (2, 3, 70, "risk_on"),
        (2, 1, None, "risk_off"),
        (0, 0, 50, "risk_off"),
        (0, 1, 50, "risk_on"),
        (1, None, None, "unknown"),
        (None, 1, 70, "unknown"),
    ],
)
def test_market_regime_is_cautious_in_doubt(btc, eth, index, word):
    assert market_regime(btc, eth, index) == word


def test_realised_volatility_wins_over_the_change():
    assert volatility_level(1.4, 9.0) == "low"
    assert volatility_level(1.5, 0.0) == "medium"
    assert volatility_level(3.0, 0.0) == "high"
    assert volatility_level(None, None) == "unknown"


@given(changes, changes, indices)
def test_fear_never_makes_a_market_more_bullish(btc, eth, index):
    order = ["bearish", "neutral", "bullish"]
    calm, afraid = market_trend(btc, eth, 50), market_trend(btc, eth, 5)
    if btc is not None:
        assert order.index(afraid) <= order.index(calm)
    assert (market_trend(btc, eth, index) == "unknown") == (btc is None)


@given(st.floats(1, 60), st.floats(1, 60))
def test_trend_is_the_same_in_the_mirror(btc, eth):
    assert market_trend(btc, eth, 50) == "bullish"
    assert market_trend(-btc, -eth, 50) == "bearish"


def test_every_index_has_a_word():
    assert [fear_greed_label(value) for value in (0, 26, 50, 60, 100)] == [
        "Extreme Fear",
        "Fear",
        "Neutral",
        "Greed",
        "Extreme Greed",
    ]
