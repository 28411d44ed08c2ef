"""Promises of the signal: six votes that can be read, counted honestly, and mirrored."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.strategy.indicators import EMPTY, NOT_READY, Indicators, step
from src.strategy.signals import SignalSide, generate_signal, signal_code
from src.strategy.votes import FIRST_VOTES, VOTE_NAMES, VOTES, vote_values, votes_mask
from tests.candles import random_candles, real_candles
from tests.compiled import compiled

NEUTRAL = Indicators(
    rsi=50.0, macd=0.0, macd_signal=0.0, macd_histogram=0.0, ema_9=100.0, ema_21=100.0, ema_50=100.0, ema_200=100.0,
    sma_20=100.0, bollinger_upper=110.0, bollinger_middle=100.0, bollinger_lower=90.0, atr=1.0, vwap=100.0,
    stochastic_k=50.0, stochastic_d=50.0, volume_mean=10.0, adx=10.0, close=100.0, volume=10.0,
)  # fmt: skip
BUYING = {
    "rsi": {"rsi": 29.9},
    "macd": {"macd": 1.0, "macd_histogram": 0.5},
    "ema": {"close": 104.0, "ema_9": 103.0, "ema_21": 102.0, "ema_50": 101.0},
    "bollinger": {"bollinger_lower": 100.5},
    "volume": {"volume": 20.1, "vwap": 99.0},
    "trend": {"adx": 25.1, "ema_200": 99.0},
}
ALL = votes_mask(VOTE_NAMES)
QUARTERS = st.integers(200, 600).map(lambda quarters: quarters / 4)  # exact in binary, also when mirrored


def bands_in_order(values: Indicators) -> Indicators:
    lower, upper = sorted((values.bollinger_lower, values.bollinger_upper))
    return values._replace(bollinger_lower=lower, bollinger_upper=upper)


anything = st.builds(Indicators, **dict.fromkeys(Indicators._fields, QUARTERS)).map(bands_in_order)


def mirrored(values: Indicators) -> Indicators:
    """Return the indicators of the market turned upside down around a price of 100."""
    prices = {
        name: 200.0 - getattr(values, name)
        for name in ("ema_9", "ema_21", "ema_50", "ema_200", "sma_20", "bollinger_middle", "vwap", "close")
    }
    return values._replace(
        rsi=100.0 - values.rsi,
        stochastic_k=100.0 - values.stochastic_k,
        stochastic_d=100.0 - values.stochastic_d,
        macd=-values.macd,
        macd_signal=-values.macd_signal,
        macd_histogram=-values.macd_histogram,
        bollinger_upper=200.0 - values.bollinger_lower,
        bollinger_lower=200.0 - values.bollinger_upper,
        **prices,
    )


def test_a_neutral_market_has_six_silent_votes():
    signal = generate_signal(NEUTRAL)
    assert (signal.side, signal.strength) == (SignalSide.HOLD, 0)
    assert [vote.name for vote in signal.votes] == list(VOTE_NAMES)
    assert [vote.vote for vote in signal.votes] == [0] * 6


@pytest.mark.parametrize("name", VOTE_NAMES)
def test_each_vote_speaks_alone_for_its_own_reason(name):
    """The named indicator buys, its mirror image sells, and no other vote stirs."""
    values = NEUTRAL._replace(**BUYING[name])
    expected = [1 if each == name else 0 for each in VOTE_NAMES]
    assert list(vote_values(values)) == expected
    assert list(vote_values(mirrored(values))) == [-vote for vote in expected]
    assert (generate_signal(values).side, generate_signal(values).strength) == (SignalSide.HOLD, 1)


@pytest.mark.parametrize(
    ("figures", "vote"),
    [
        ({"rsi": 30.0}, 0),
        ({"rsi": 70.0}, 0),
        ({"macd": 1.0, "macd_histogram": -0.5}, 0),
        ({"macd": -1.0, "macd_histogram": 0.5}, 0),
        ({"close": 101.0, "ema_9": 103.0, "ema_21": 102.0, "ema_50": 100.0}, 0),
        ({"bollinger_lower": 100.0}, 0),
        ({"volume": 20.0, "vwap": 99.0}, 0),
        ({"volume": 30.0, "vwap": 100.0}, 0),
        ({"adx": 25.0, "ema_200": 99.0}, 0),
    ],
)
def test_at_the_edge_no_vote_is_cast(figures, vote):
    assert set(vote_values(NEUTRAL._replace(**figures))) == {vote}


def test_every_combination_of_votes_is_counted():
    """All 729: side by majority of at least two, ties HOLD, strength the winner's or the larger camp's count."""
    for votes in product((-1, 0, 1), repeat=6):
        buys, sells = votes.count(1), votes.count(-1)
        sign, strength = signal_code(votes, ALL)
        assert strength == max(buys, sells)
        if buys == sells or strength < 2:
            assert sign == 0
        else:
            assert sign == (1 if buys > sells else -1)


@given(anything)
def test_buy_and_sell_are_mirror_images(values):
    one, other = generate_signal(values), generate_signal(mirrored(values))
    assert [vote.vote for vote in other.votes] == [-vote.vote for vote in one.votes]
    assert (other.side.sign, other.strength) == (-one.side.sign, one.strength)


@given(anything, st.sampled_from(Indicators._fields))
def test_while_one_indicator_is_missing_nothing_is_said(values, missing):
    signal = generate_signal(values._replace(**{missing: math.nan}))
    assert (signal.side, signal.strength) == (SignalSide.HOLD, 0)
    assert all(vote.vote == 0 and "not enough" in vote.because for vote in signal.votes)


def test_missing_indicators_cast_no_vote_in_the_numeric_core_either():
    assert vote_values(NOT_READY) == (0, 0, 0, 0, 0, 0)


@given(anything)
def test_strength_is_the_number_of_votes_that_agree(values):
    signal = generate_signal(values)
    assert signal.counts[0] == [vote.vote for vote in signal.votes].count(1)
    if signal.side is not SignalSide.HOLD:
        assert signal.strength == [vote.vote for vote in signal.votes].count(signal.side.sign)


def test_reasons_carry_the_figures_that_were_looked_at():
    reasons = " ".join(vote.because for vote in generate_signal(NEUTRAL._replace(rsi=12.3, volume=77.0)).votes)
    for figure in ("12.3", "77", "VWAP 100", "ADX 10.0", "90 to 110"):
        assert figure in reasons


def shares(candles) -> tuple[float, float]:
    """Return the shares of ready minutes with a BUY and a SELL of strength 3 or more."""
    state, counts, minutes = EMPTY, [0, 0], 0
    for candle in candles:
        state, values = step(state, candle.high, candle.low, candle.close, candle.volume)
        if math.isnan(values.ema_200):
            continue
        minutes += 1
        sign, strength = signal_code(vote_values(values), ALL)
        if strength >= 3 and sign != 0:
            counts[sign < 0] += 1
    return counts[0] / minutes, counts[1] / minutes


@pytest.mark.long
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT"])
def test_strong_signals_are_rare_but_not_absent_in_real_minutes(symbol):
    for share in shares(real_candles(f"{symbol}_um_1m_2023JulAug.parquet", 43_000)):
        assert 0.02 < share < 0.12


@pytest.mark.long
def test_compiled_votes_equal_the_plain_ones():
    fast, state = compiled(vote_values), EMPTY
    for candle in random_candles(2_000, seed=4):
        state, values = step(state, candle.high, candle.low, candle.close, candle.volume)
        assert tuple(fast(values)) == vote_values(values)
    fast_code = compiled(signal_code)
    all_votes = list(product((-1, 0, 1), repeat=6))
    np.testing.assert_array_equal([fast_code(v, ALL) for v in all_votes], [signal_code(v, ALL) for v in all_votes])


@given(anything)
def test_the_registry_and_the_compiled_call_list_give_the_same_votes(values):
    assert vote_values(values) == tuple(rule.value(values) for rule in VOTES)


def test_each_vote_stands_once_with_a_value_and_a_reason():
    assert len(set(VOTE_NAMES)) == len(VOTES)
    for rule in VOTES:
        assert rule.value(NEUTRAL._replace(**BUYING[rule.name])) == 1
        assert any(character.isdigit() for character in rule.reason(NEUTRAL))


def test_files_without_names_of_votes_were_trained_over_todays_votes():
    assert FIRST_VOTES == VOTE_NAMES, "a vote was added: models that name no votes are refused from now on"
