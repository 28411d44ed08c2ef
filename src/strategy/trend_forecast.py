"""Follows the trend of one pair, candle by candle: channel states, momentum and volatility.

Each smoothed figure is a mean with weights that halve over its half-life, taken over all candles seen so far (the
weights are divided by their sum), so that the first candles are not favoured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from src.domain.market import Candle
from src.strategy.targets import SpanForecast

DAYS_A_YEAR = 365


@dataclass(frozen=True, slots=True)
class ForecastRules:
    """The figures of a trend forecast; half-lives of the averages are shares of each look-back."""

    candles_a_day: int = 3
    look_back_days: tuple[int, ...] = (5, 10, 20, 40, 80)
    fast_half_life_share: float = 0.35
    slow_half_life_share: float = 1.4
    momentum_scale: float = 1.5
    volatility_half_life_days: float = 20.0
    least_volatility: float = 0.15

    def __post_init__(self) -> None:
        if not self.look_back_days or min(self.look_back_days) < 1:
            raise ValueError("look_back_days must be whole days, at least one of them")
        if not 0 < self.fast_half_life_share < self.slow_half_life_share:
            raise ValueError("need 0 < fast_half_life_share < slow_half_life_share")
        if not (self.momentum_scale > 0 and self.volatility_half_life_days > 0 and 0 < self.least_volatility < 10):
            raise ValueError("momentum_scale, volatility_half_life_days and least_volatility must be above 0")


class Smoothed(NamedTuple):
    """An exponentially weighted mean: the weighted sum and the sum of the weights."""

    total: float = 0.0
    weight: float = 0.0

    def take(self, value: float, keep: float) -> "Smoothed":
        """Return the mean with one more value; ``keep`` is what remains of older weights at each step."""
        return Smoothed(self.total * keep + value, self.weight * keep + 1.0)

    @property
    def mean(self) -> float:
        """The weighted mean, NaN before the first value."""
        return self.total / self.weight if self.weight else math.nan


def kept(half_life: float) -> float:
    """Return what remains of a weight after one step; ``half_life`` in steps."""
    return math.exp(-math.log(2.0) / half_life)


class Channel(NamedTuple):
    """A channel's state: 1 after a closing high, -1 after a closing low, 0 otherwise; ``level`` ends the state."""

    state: int = 0
    level: float = 0.0


def channel_after(before: Channel, close: float, low: float, high: float) -> Channel:
    """Return the state after a close, given the lowest and highest close of the look-back, this one included.

    While a state lasts its level is the middle of the channel, and only moves in the trade's favour.

    Source:
        R. Donchian's channel; the exit at its middle follows T. Zarattini, A. Pagani, A. Barbon, *Catching Crypto
        Trends*, 2025.
    """
    middle = (low + high) / 2.0
    if close >= high > low:
        return Channel(1, max(before.level, middle) if before.state > 0 else middle)
    if close <= low < high:
        return Channel(-1, min(before.level, middle) if before.state < 0 else middle)
    if before.state > 0:
        level = max(before.level, middle)
        return Channel(1, level) if close >= level else Channel()
    if before.state < 0:
        level = min(before.level, middle)
        return Channel(-1, level) if close <= level else Channel()
    return before


@dataclass(slots=True)
class PairTrend:
    """The trend of one pair after the candles taken so far. ``last_return`` is the newest log return, else NaN."""

    rules: ForecastRules
    count: int = 0
    last_return: float = math.nan
    _log: float = math.nan
    _closes: list[float] = field(default_factory=list)
    _square: Smoothed = field(default_factory=Smoothed)
    _fast: list[Smoothed] = field(default_factory=list)
    _slow: list[Smoothed] = field(default_factory=list)
    _channels: list[Channel] = field(default_factory=list)

    def __post_init__(self) -> None:
        spans = self.rules.look_back_days
        self._fast, self._slow = [Smoothed()] * len(spans), [Smoothed()] * len(spans)
        self._channels = [Channel()] * len(spans)

    def take(self, close: float) -> None:
        """Take in one closing price, above 0."""
        rules = self.rules
        log = math.log(close)
        self.last_return = log - self._log
        self._log = log
        if self.count:
            keep = kept(rules.volatility_half_life_days * rules.candles_a_day)
            self._square = self._square.take(self.last_return * self.last_return, keep)
        self.count += 1
        self._remember(close)
        for place, days in enumerate(rules.look_back_days):
            steps = days * rules.candles_a_day
            self._fast[place] = self._fast[place].take(log, kept(rules.fast_half_life_share * steps))
            self._slow[place] = self._slow[place].take(log, kept(rules.slow_half_life_share * steps))
            if self.count >= steps:
                window = self._closes[-steps:]
                self._channels[place] = channel_after(self._channels[place], close, min(window), max(window))

    def _remember(self, close: float) -> None:
        self._closes.append(close)
        longest = max(self.rules.look_back_days) * self.rules.candles_a_day
        if len(self._closes) > 2 * longest:
            del self._closes[:-longest]

    @property
    def volatility(self) -> float:
        """The yearly volatility, at least the rules' least; NaN before the second candle."""
        if not self._square.weight:
            return math.nan
        yearly = math.sqrt(self._square.mean * self.rules.candles_a_day * DAYS_A_YEAR)
        return max(yearly, self.rules.least_volatility)

    def spans(self) -> tuple[SpanForecast, ...]:
        """Return what each look-back says now."""
        daily = self.volatility / math.sqrt(DAYS_A_YEAR)
        rows = zip(self.rules.look_back_days, self._channels, self._fast, self._slow, strict=True)
        return tuple(
            SpanForecast(days, channel.state, self._momentum(days, daily, fast.mean - slow.mean))
            for days, channel, fast, slow in rows
        )

    def _momentum(self, days: int, daily: float, distance: float) -> float:
        return math.tanh(self.rules.momentum_scale * distance / (daily * math.sqrt(days)))


def signal_of(spans: tuple[SpanForecast, ...]) -> float:
    """Return the long-only signal in 0..1: half channel, half momentum, each the mean over all look-backs."""
    channel = sum(each.channel for each in spans) / len(spans)
    momentum = sum(each.momentum for each in spans) / len(spans)
    return max(0.0, 0.5 * channel + 0.5 * momentum)


class TrendReader:
    """The signal of one pair's candles as they close; takes in each closed candle once, in order."""

    def __init__(self, rules: ForecastRules, least_candles: int) -> None:
        """``least_candles`` is how many must have closed before there is a signal."""
        self._rules = rules
        self._least = least_candles
        self._trend = PairTrend(rules)
        self._taken = 0
        self._last_ms = -1
        self._signal: float | None = None

    def look(self, candles: Sequence[Candle]) -> float | None:
        """Return the signal (0 to 1) after the last of ``candles``, None while there are too few.

        A history that does not go on from what was seen is taken in anew.
        """
        if not candles or candles[-1].open_ms == self._last_ms:
            return self._signal
        if self._last_ms < candles[0].open_ms:
            self._trend, self._taken, self._last_ms = PairTrend(self._rules), 0, -1
        for candle in candles:
            self.take(candle)
        return self._signal

    def take(self, candle: Candle) -> float | None:
        """Take in one closed candle, unless it was taken before; return the signal as ``look``."""
        if candle.open_ms > self._last_ms:
            self._trend.take(candle.close)
            self._taken, self._last_ms = self._taken + 1, candle.open_ms
            self._signal = signal_of(self._trend.spans()) if self._taken >= self._least else None
        return self._signal
