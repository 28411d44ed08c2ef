"""Technical indicators, one candle at a time.

Every function takes the state that the last call returned and one more candle; nothing looks at a window of
frames, so live trading, backtest and retraining see the same bits. States are named tuples of numbers: the same
functions compile under numba as they stand (``numba.njit`` on each), which is why they use no keyword arguments,
no defaults and no built-in ``sum``. Until an indicator has seen enough candles its value is NaN.

Sums over a window are taken afresh each time instead of carried along: a carried sum collects rounding errors
and makes a bot that started yesterday disagree with a backtest that started last year.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from src.domain.market import Candle

Ring14 = tuple[float, ...]
Ring20 = tuple[float, ...]

WARM_UP_CANDLES = 200
"""Closed candles until every indicator has a value."""


class RsiState(NamedTuple):
    """What Wilder's RSI must remember between closes."""

    seen: int
    last_close: float
    mean_gain: float
    mean_loss: float


class EmaState(NamedTuple):
    """The running exponential means of the close, and those behind MACD; each starts at its first value."""

    ema_9: float
    ema_12: float
    ema_21: float
    ema_26: float
    ema_50: float
    ema_200: float
    macd_signal: float


class RangeState(NamedTuple):
    """What ATR and ADX must remember: the last candle and Wilder's means of range and directional moves."""

    seen: int
    last_high: float
    last_low: float
    last_close: float
    mean_range: float
    mean_up: float
    mean_down: float
    mean_index: float


class WindowState(NamedTuple):
    """The last candles themselves, oldest first; NaN where none was seen yet."""

    closes: Ring20
    volumes: Ring20
    highs: Ring14
    lows: Ring14
    turnovers: Ring14
    k_before: float
    k_last: float
    k_now: float


class IndicatorState(NamedTuple):
    """All that must be remembered between two candles."""

    seen: int
    rsi: RsiState
    ema: EmaState
    span: RangeState
    window: WindowState


class Indicators(NamedTuple):
    """The indicators after one closed candle; prices in quote currency, NaN where not ready.

    ``rsi``, ``stochastic_k``, ``stochastic_d`` and ``adx`` lie in 0..100; ``volume`` is in base currency.
    """

    rsi: float
    macd: float
    macd_signal: float
    macd_histogram: float
    ema_9: float
    ema_21: float
    ema_50: float
    ema_200: float
    sma_20: float
    bollinger_upper: float
    bollinger_middle: float
    bollinger_lower: float
    atr: float
    vwap: float
    stochastic_k: float
    stochastic_d: float
    volume_mean: float
    adx: float
    close: float
    volume: float


_NAN = math.nan
EMPTY = IndicatorState(
    0,
    RsiState(0, _NAN, 0.0, 0.0),
    EmaState(_NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN),
    RangeState(0, _NAN, _NAN, _NAN, 0.0, 0.0, 0.0, 0.0),
    WindowState((_NAN,) * 20, (_NAN,) * 20, (_NAN,) * 14, (_NAN,) * 14, (_NAN,) * 14, _NAN, _NAN, _NAN),
)
NOT_READY = Indicators(*((_NAN,) * 20))


def wilder_mean(mean: float, value: float, seen: int, period: int) -> float:
    """Return Wilder's running mean after its ``seen``-th value (from 1); the first ``period`` get a plain mean."""
    if seen <= period:
        return mean + value / period
    return mean + (value - mean) / period


def rsi_step(state: RsiState, close: float) -> tuple[RsiState, float]:
    """Take in one close and return the new state and the relative strength index over 14 candles.

    Returns:
        The state, and a value in 0..100; NaN for the first 14 closes, 50 in a flat market.

    Source:
        J. W. Wilder, *New Concepts in Technical Trading Systems*, 1978.
    """
    seen, last_close, mean_gain, mean_loss = state
    if seen == 0:
        return RsiState(1, close, 0.0, 0.0), math.nan
    change = close - last_close
    mean_gain = wilder_mean(mean_gain, change if change > 0.0 else 0.0, seen, 14)
    mean_loss = wilder_mean(mean_loss, -change if change < 0.0 else 0.0, seen, 14)
    after = RsiState(seen + 1, close, mean_gain, mean_loss)
    if seen < 14:
        return after, math.nan
    total = mean_gain + mean_loss
    return after, 50.0 if total == 0.0 else 100.0 * (mean_gain / total)


def ema_step(mean: float, value: float, period: int) -> float:
    """Return the exponential mean after one more value; it starts at the first (``mean`` NaN)."""
    if math.isnan(mean):
        return value
    return mean + (value - mean) * (2.0 / (period + 1.0))


def emas_step(state: EmaState, close: float, seen: int) -> EmaState:
    """Return the exponential means after the ``seen``-th close; MACD's signal line starts at the 26th."""
    ema_12 = ema_step(state.ema_12, close, 12)
    ema_26 = ema_step(state.ema_26, close, 26)
    return EmaState(
        ema_step(state.ema_9, close, 9),
        ema_12,
        ema_step(state.ema_21, close, 21),
        ema_26,
        ema_step(state.ema_50, close, 50),
        ema_step(state.ema_200, close, 200),
        math.nan if seen < 26 else ema_step(state.macd_signal, ema_12 - ema_26, 9),
    )


def range_step(state: RangeState, high: float, low: float, close: float) -> tuple[RangeState, float, float]:
    """Take in one candle and return the new state, the average true range and the ADX, both over 14 candles.

    Returns:
        The state; ATR in quote currency, NaN before 15 candles; ADX in 0..100, NaN before 28, 0 in a flat market.

    Source:
        J. W. Wilder, *New Concepts in Technical Trading Systems*, 1978.
    """
    seen, last_high, last_low, last_close, mean_range, mean_up, mean_down, mean_index = state
    if seen == 0:
        return RangeState(1, high, low, close, 0.0, 0.0, 0.0, 0.0), math.nan, math.nan
    top = high if high > last_close else last_close
    bottom = low if low < last_close else last_close
    rise, fall = high - last_high, last_low - low
    mean_range = wilder_mean(mean_range, top - bottom, seen, 14)
    mean_up = wilder_mean(mean_up, rise if rise > fall and rise > 0.0 else 0.0, seen, 14)
    mean_down = wilder_mean(mean_down, fall if fall > rise and fall > 0.0 else 0.0, seen, 14)
    if seen >= 14:
        moved = mean_up + mean_down
        index = 0.0 if moved == 0.0 else 100.0 * abs(mean_up - mean_down) / moved
        mean_index = wilder_mean(mean_index, index, seen - 13, 14)
    after = RangeState(seen + 1, high, low, close, mean_range, mean_up, mean_down, mean_index)
    return after, mean_range if seen >= 14 else math.nan, mean_index if seen >= 27 else math.nan


def window_step(state: WindowState, high: float, low: float, close: float, volume: float) -> WindowState:
    """Return the windows with one more candle in them and the oldest gone."""
    highs = (*state.highs[1:], high)
    lows = (*state.lows[1:], low)
    return WindowState(
        (*state.closes[1:], close),
        (*state.volumes[1:], volume),
        highs,
        lows,
        (*state.turnovers[1:], (high + low + close) / 3.0 * volume),
        state.k_last,
        state.k_now,
        stochastic_k(highs, lows, close),
    )


def stochastic_k(highs: Ring14, lows: Ring14, close: float) -> float:
    """Return where ``close`` stands between the lowest low (0) and the highest high (100), 50 if they are one."""
    if math.isnan(highs[0]):
        return math.nan
    top, bottom = max(highs), min(lows)
    return 50.0 if top == bottom else 100.0 * ((close - bottom) / (top - bottom))


def mean_and_deviation(values: Ring20) -> tuple[float, float]:
    """Return mean and population standard deviation, in two passes; NaN while a value is missing."""
    total = 0.0
    for value in values:
        total += value
    mean = total / 20.0
    squares = 0.0
    for value in values:
        distance = value - mean
        squares += distance * distance
    return mean, math.sqrt(squares / 20.0)


def volume_means(turnovers: Ring14, volumes: Ring20, close: float) -> tuple[float, float]:
    """Return the volume-weighted price of 14 candles and the mean volume of 20.

    The price is ``close`` where nothing was traded; both are NaN while a candle is missing.
    """
    turnover = 0.0
    for value in turnovers:
        turnover += value
    early, late = 0.0, 0.0
    for value in volumes[:6]:
        early += value
    for value in volumes[6:]:
        late += value
    vwap = turnover / late if late != 0.0 else close
    return vwap, (early + late) / 20.0


def step(
    state: IndicatorState, high: float, low: float, close: float, volume: float
) -> tuple[IndicatorState, Indicators]:
    """Take in one closed candle and return the new state and all indicators.

    Args:
        state: as the last call returned it; ``EMPTY`` at the start.
        high: highest price in quote currency, above 0; ``low`` and ``close`` likewise.
        low: lowest price.
        close: closing price.
        volume: in base currency, 0 or more.

    Returns:
        The state and the indicators; each is NaN until it has seen enough candles (``ready`` asks for all: 200).
    """
    seen = state.seen + 1
    rsi_state, rsi = rsi_step(state.rsi, close)
    ema = emas_step(state.ema, close, seen)
    span, atr, adx = range_step(state.span, high, low, close)
    window = window_step(state.window, high, low, close, volume)
    middle, deviation = mean_and_deviation(window.closes)
    vwap, volume_mean = volume_means(window.turnovers, window.volumes, close)
    macd = ema.ema_12 - ema.ema_26 if seen >= 26 else math.nan
    macd_signal = ema.macd_signal if seen >= 34 else math.nan
    values = Indicators(
        rsi,
        macd,
        macd_signal,
        macd - macd_signal,
        ema.ema_9 if seen >= 9 else math.nan,
        ema.ema_21 if seen >= 21 else math.nan,
        ema.ema_50 if seen >= 50 else math.nan,
        ema.ema_200 if seen >= WARM_UP_CANDLES else math.nan,
        middle,
        middle + 2.0 * deviation,
        middle,
        middle - 2.0 * deviation,
        atr,
        vwap,
        window.k_now,
        (window.k_before + window.k_last + window.k_now) / 3.0,
        volume_mean,
        adx,
        close,
        volume,
    )
    return IndicatorState(seen, rsi_state, ema, span, window), values


def ready(indicators: Indicators) -> bool:
    """Return whether every indicator has a value."""
    for value in indicators:  # noqa: SIM110 - all() over a generator does not compile
        if math.isnan(value):
            return False
    return True


def only_ready(indicators: Indicators | None) -> Indicators | None:
    """Return the indicators, None while one of them has no value."""
    return indicators if indicators is not None and ready(indicators) else None


def calculate_indicators(candles: Iterable[Candle]) -> Indicators:
    """Return the indicators after the last of ``candles`` (oldest first); all NaN without any."""
    state, values = EMPTY, NOT_READY
    for candle in candles:
        state, values = step(state, candle.high, candle.low, candle.close, candle.volume)
    return values


class IndicatorSource(Protocol):
    """What turns the closed candles into the indicators after the last of them."""

    def look(self, candles: Sequence[Candle]) -> Indicators | None:
        """Return the indicators after the last of ``candles`` (oldest first); None before the first candle."""


class IndicatorFold:
    """Takes in each closed candle once; starts anew from all candles when one is missing between two looks."""

    def __init__(self) -> None:
        self._state: IndicatorState = EMPTY
        self._last_open_ms = -1
        self._step_ms = 0
        self._indicators: Indicators | None = None

    def look(self, candles: Sequence[Candle]) -> Indicators | None:
        """Return the indicators after the last of ``candles`` (oldest first); None before the first candle."""
        if not candles:
            return None
        new = self._unseen(candles)
        for candle in new:
            self._state, self._indicators = step(self._state, candle.high, candle.low, candle.close, candle.volume)
        if new:
            self._last_open_ms = new[-1].open_ms
        return self._indicators

    def _unseen(self, candles: Sequence[Candle]) -> Sequence[Candle]:
        if len(candles) > 1:
            self._step_ms = candles[-1].open_ms - candles[-2].open_ms
        behind = (candles[-1].open_ms - self._last_open_ms) // self._step_ms if self._step_ms else len(candles)
        first = len(candles) - behind
        if first >= 0 and (behind == 0 or candles[first].open_ms == self._last_open_ms + self._step_ms):
            return candles[first:]
        self._state = EMPTY
        return candles
