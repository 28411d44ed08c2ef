"""Promises of the indicators: right against two outside libraries, blind to the future, the same compiled."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.domain.market import Candle
from src.strategy import indicators
from src.strategy.indicators import EMPTY, NOT_READY, Indicators, calculate_indicators, ready, step
from tests.candles import random_candles, real_candles
from tests.compiled import compiled

PRICES = {"ema_9", "ema_21", "ema_50", "ema_200", "sma_20", "close", "vwap"} | {
    f"bollinger_{line}" for line in ("upper", "middle", "lower")
}
DISTANCES = {"macd", "macd_signal", "macd_histogram", "atr"}
FIRST_CANDLE = {
    "rsi": 15, "macd": 26, "macd_signal": 34, "macd_histogram": 34, "ema_9": 9, "ema_21": 21, "ema_50": 50,
    "ema_200": 200, "sma_20": 20, "bollinger_upper": 20, "bollinger_middle": 20, "bollinger_lower": 20, "atr": 15,
    "vwap": 14, "stochastic_k": 14, "stochastic_d": 16, "volume_mean": 20, "adx": 28, "close": 1, "volume": 1,
}  # fmt: skip

moves = st.lists(
    st.tuples(st.integers(-40, 40), st.integers(0, 20), st.integers(0, 20), st.integers(0, 500)),
    min_size=201,
    max_size=260,
)


def candles_of(steps: list[tuple[int, int, int, int]], first: float = 1_000.0) -> list[Candle]:
    """Return candles on a grid of 1/4: such prices are exact in binary, and so are their sums."""
    candles, close = [], first
    for minute, (move, above, below, volume) in enumerate(steps):
        opened, close = close, max(close + move / 4, 100.0)
        high, low = max(opened, close) + above / 4, min(opened, close) - below / 4
        candles.append(Candle(minute * 60_000, opened, high, low, close, float(volume)))
    return candles


def folded(candles: list[Candle], take: Callable[..., tuple] = step) -> list[Indicators]:
    state, rows = EMPTY, []
    for candle in candles:
        state, values = take(state, candle.high, candle.low, candle.close, candle.volume)
        rows.append(values)
    return rows


def columns(rows: list[Indicators]) -> dict[str, np.ndarray]:
    table = np.array(rows)
    return {name: table[:, place] for place, name in enumerate(Indicators._fields)}


@pytest.mark.parametrize("name", Indicators._fields)
def test_each_indicator_is_nan_until_it_has_seen_enough_and_a_number_ever_after(name):
    values = columns(folded(random_candles(260)))[name]
    first = FIRST_CANDLE[name] - 1
    assert np.isnan(values[:first]).all()
    assert np.isfinite(values[first:]).all()


def test_ready_after_exactly_two_hundred_candles():
    candles = random_candles(200)
    assert not ready(calculate_indicators(candles[:199]))
    assert ready(calculate_indicators(candles))


def test_no_candles_give_no_value():
    assert all(math.isnan(value) for value in calculate_indicators([]))
    assert not ready(NOT_READY)


def test_flat_market_is_neutral_everywhere():
    values = calculate_indicators([Candle(0, 7.0, 7.0, 7.0, 7.0, 0.0)] * 250)
    assert ready(values)
    assert values.rsi == values.stochastic_k == values.stochastic_d == 50.0
    assert values.atr == values.adx == values.macd == values.macd_histogram == 0.0
    assert values.bollinger_upper == values.bollinger_lower == values.vwap == values.ema_200 == 7.0


def test_rsi_worked_by_hand():
    """Fourteen changes of +2 and -1 in turn: mean gain 1, mean loss 0.5, so 100 * 1 / 1.5."""
    closes = [100.0]
    for change in [2.0, -1.0] * 7:
        closes.append(closes[-1] + change)
    state = EMPTY.rsi
    for close in closes:
        state, rsi = indicators.rsi_step(state, close)
    assert rsi == pytest.approx(200 / 3)
    _, rsi = indicators.rsi_step(state, closes[-1] + 14.0)
    gain, loss = (1 * 13 + 14) / 14, 0.5 * 13 / 14
    assert rsi == pytest.approx(100 * gain / (gain + loss))


def test_a_steady_climb_is_all_trend():
    values = calculate_indicators([Candle(i, 0, 101.0 + i, 99.0 + i, 100.0 + i, 1.0) for i in range(300)])
    assert values.rsi == 100.0
    assert values.adx == pytest.approx(100.0)
    assert values.atr == pytest.approx(2.0)
    assert values.ema_9 > values.ema_21 > values.ema_50 > values.ema_200


@settings(max_examples=25, deadline=None)
@given(moves, st.sampled_from([0.25, 1.0, 8.0, 1024.0]))
def test_indicators_do_not_know_the_unit_of_money(steps, scale):
    plain = candles_of(steps)
    scaled = [
        c._replace(open=c.open * scale, high=c.high * scale, low=c.low * scale, close=c.close * scale) for c in plain
    ]
    one, other = calculate_indicators(plain), calculate_indicators(scaled)
    for name, before, after in zip(Indicators._fields, one, other, strict=True):
        factor = scale if name in PRICES | DISTANCES else 1.0
        assert after == pytest.approx(before * factor, rel=1e-9, abs=1e-9 * factor), name


@settings(max_examples=25, deadline=None)
@given(moves, st.sampled_from([0.5, 3.0, 1_000.0]))
def test_only_volumes_know_the_unit_of_volume(steps, scale):
    plain = candles_of(steps)
    one = calculate_indicators(plain)
    other = calculate_indicators([c._replace(volume=c.volume * scale) for c in plain])
    assert other.volume_mean == pytest.approx(one.volume_mean * scale)
    assert other.vwap == pytest.approx(one.vwap)
    assert other._replace(volume=0, volume_mean=0, vwap=0) == one._replace(volume=0, volume_mean=0, vwap=0)


@settings(max_examples=25, deadline=None)
@given(moves)
def test_bounded_indicators_keep_their_bounds(steps):
    for values in folded(candles_of(steps))[30:]:
        for bounded in (values.rsi, values.stochastic_k, values.stochastic_d, values.adx):
            assert -1e-9 <= bounded <= 100.0 + 1e-9
        assert values.bollinger_lower <= values.bollinger_middle <= values.bollinger_upper
        assert values.atr >= 0.0


@settings(max_examples=25, deadline=None)
@given(moves)
def test_a_market_turned_upside_down_gives_mirrored_indicators(steps):
    plain = candles_of(steps)
    pivot = 200_000.0
    turned = [c._replace(high=pivot - c.low, low=pivot - c.high, close=pivot - c.close) for c in plain]
    one, other = calculate_indicators(plain), calculate_indicators(turned)
    for name in ("rsi", "stochastic_k", "stochastic_d"):
        assert getattr(other, name) == pytest.approx(100.0 - getattr(one, name), abs=1e-6), name
    for name in ("macd", "macd_histogram"):
        assert getattr(other, name) == pytest.approx(-getattr(one, name), abs=1e-6), name
    for name in ("atr", "adx", "volume_mean"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-6), name
    assert other.bollinger_upper == pytest.approx(pivot - one.bollinger_lower)
    assert other.ema_50 == pytest.approx(pivot - one.ema_50)


@settings(max_examples=25, deadline=None)
@given(moves, st.integers(1, 200))
def test_no_indicator_looks_ahead(steps, cut):
    """What is known after ``cut`` candles does not change, whatever comes next."""
    candles = candles_of(steps)
    other_future = candles[:cut] + [c._replace(high=9e6, close=9e6, volume=9e6) for c in candles[cut:]]
    past, changed = folded(candles)[:cut], folded(other_future)[:cut]
    np.testing.assert_array_equal(np.array(past), np.array(changed))


def test_windows_forget_completely():
    """No rounding error is carried along: after a wild hour the windowed values are what they are without it."""
    calm = random_candles(60, seed=3)
    wild = [Candle(0, 1e9, 1e9, 1e-3, 1e9, 1e12)] * 30 + calm
    one, other = calculate_indicators(calm), calculate_indicators(wild)
    for name in ("sma_20", "bollinger_upper", "bollinger_lower", "vwap", "volume_mean", "stochastic_k", "stochastic_d"):
        assert getattr(one, name) == getattr(other, name), name


def assert_agrees_with_ta(candles: list[Candle], start: int) -> None:
    """Hold every indicator from candle ``start`` on against ``ta`` (``start`` late enough for other first means)."""
    pandas = pytest.importorskip("pandas")
    trend, momentum = pytest.importorskip("ta.trend"), pytest.importorskip("ta.momentum")
    volatility, volume = pytest.importorskip("ta.volatility"), pytest.importorskip("ta.volume")
    ours = columns(folded(candles))
    frame = pandas.DataFrame(candles)
    high, low, close, traded = frame["high"], frame["low"], frame["close"], frame["volume"]
    macd = trend.MACD(close)
    band = volatility.BollingerBands(close)
    oscillator = momentum.StochasticOscillator(high, low, close)
    theirs = {
        "rsi": momentum.rsi(close), "macd": macd.macd(), "macd_signal": macd.macd_signal(),
        "macd_histogram": macd.macd_diff(), "ema_9": trend.ema_indicator(close, 9),
        "ema_21": trend.ema_indicator(close, 21), "ema_50": trend.ema_indicator(close, 50),
        "ema_200": trend.ema_indicator(close, 200), "sma_20": trend.sma_indicator(close, 20),
        "bollinger_upper": band.bollinger_hband(), "bollinger_lower": band.bollinger_lband(),
        "atr": volatility.average_true_range(high, low, close),
        "vwap": volume.volume_weighted_average_price(high, low, close, traded),
        "stochastic_k": oscillator.stoch(), "stochastic_d": oscillator.stoch_signal(),
        "adx": trend.adx(high, low, close), "volume_mean": traded.rolling(20).mean(),
    }  # fmt: skip
    scale = float(close.mean())
    for name, series in theirs.items():
        tolerance = 1e-6 * scale if name in PRICES | DISTANCES else 1e-6
        np.testing.assert_allclose(
            ours[name][start:], series.to_numpy()[start:], rtol=1e-7, atol=tolerance, err_msg=name
        )


def assert_agrees_with_talib(candles: list[Candle], start: int) -> None:
    """Hold every indicator from candle ``start`` on against TA-Lib."""
    talib = pytest.importorskip("talib")
    ours = columns(folded(candles))
    high, low, close, volume = (
        np.array([getattr(c, name) for c in candles]) for name in ("high", "low", "close", "volume")
    )
    macd, macd_signal, histogram = talib.MACD(close)
    upper, middle, lower = talib.BBANDS(close, 20)
    k, d = talib.STOCHF(high, low, close, 14, 3)
    theirs = {
        "rsi": talib.RSI(close), "macd": macd, "macd_signal": macd_signal, "macd_histogram": histogram,
        "ema_9": talib.EMA(close, 9), "ema_21": talib.EMA(close, 21), "ema_50": talib.EMA(close, 50),
        "ema_200": talib.EMA(close, 200), "sma_20": talib.SMA(close, 20), "bollinger_upper": upper,
        "bollinger_middle": middle, "bollinger_lower": lower, "atr": talib.ATR(high, low, close),
        "stochastic_k": k, "stochastic_d": d, "adx": talib.ADX(high, low, close), "volume_mean": talib.SMA(volume, 20),
    }  # fmt: skip
    scale = float(close.mean())
    for name, series in theirs.items():
        tolerance = 1e-8 * scale if name in PRICES | DISTANCES else 1e-6
        np.testing.assert_allclose(ours[name][start:], series[start:], rtol=1e-7, atol=tolerance, err_msg=name)


def test_agrees_with_ta():
    assert_agrees_with_ta(random_candles(1_200, seed=5), 900)


def test_agrees_with_talib():
    assert_agrees_with_talib(random_candles(3_500, seed=6), 3_000)


@pytest.mark.long
@pytest.mark.parametrize("name", ["BTCUSDT_um_1m_2023JulAug.parquet", "DOGEUSDT_um_1m_2023JulAug.parquet"])
def test_agrees_with_both_libraries_on_real_candles(name):
    candles = real_candles(name, 10_000)
    assert_agrees_with_ta(candles, 3_000)
    assert_agrees_with_talib(candles, 3_000)


@pytest.mark.long
def test_compiled_and_plain_steps_are_equal_bit_for_bit():
    candles = random_candles(5_000, seed=8)
    plain = np.array(folded(candles))
    fast = np.array([tuple(row) for row in folded(candles, compiled(step))])
    np.testing.assert_array_equal(plain.view(np.int64), fast.view(np.int64))


@pytest.mark.long
def test_compiled_and_plain_steps_are_equal_bit_for_bit_on_real_candles():
    candles = real_candles("BTCUSDT_um_1m_2023JulAug.parquet", 5_000)
    plain = np.array(folded(candles))
    fast = np.array([tuple(row) for row in folded(candles, compiled(step))])
    np.testing.assert_array_equal(plain.view(np.int64), fast.view(np.int64))
