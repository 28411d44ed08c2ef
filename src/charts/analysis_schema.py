"""The input (chart) and the output (analysis) of every analyst."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, get_args

from src.domain.market import Candle
from src.strategy.indicators import EMPTY, Indicators, step

Lean = Literal["bullish", "bearish", "neutral"]
Advice = Literal["BUY", "SELL", "HOLD"]
Grade = Literal["high", "medium", "low"]
RsiCondition = Literal["overbought", "oversold", "neutral"]

MOST_LEVELS: Final = 3
MARGIN_SHARE: Final = 0.02
"""How far beyond the visible prices a level may lie, as a share of their range."""
_SAME_PRICE_SHARE: Final = 0.0005  # a level this close to the price is both support and resistance


@dataclass(frozen=True, slots=True)
class TechnicalSignals:
    """The signals of three indicators."""

    ema_alignment: Lean
    rsi_condition: RsiCondition
    macd_signal: Lean

    def as_dict(self) -> dict[str, str]:
        """Return the three by name."""
        return {
            "ema_alignment": self.ema_alignment,
            "rsi_condition": self.rsi_condition,
            "macd_signal": self.macd_signal,
        }


@dataclass(frozen=True, slots=True)
class ChartObservation:
    """One opinion on one chart.

    ``overall_score`` is 0 (bearish) to 10 (bullish), 5 is neither. Levels are prices, the nearest first.
    """

    trend: Lean
    recommendation: Advice
    confidence: Grade
    support_levels: tuple[float, ...]
    resistance_levels: tuple[float, ...]
    technical_signals: TechnicalSignals
    overall_score: float
    reason: str

    def __post_init__(self) -> None:
        signals = self.technical_signals
        chosen = (
            (self.trend, Lean),
            (self.recommendation, Advice),
            (self.confidence, Grade),
            (signals.ema_alignment, Lean),
            (signals.rsi_condition, RsiCondition),
            (signals.macd_signal, Lean),
        )
        for value, kind in chosen:
            if value not in get_args(kind):
                raise ValueError(f"{value!r} is none of {', '.join(get_args(kind))}")
        if not 0.0 <= self.overall_score <= 10.0:
            raise ValueError(f"overall_score {self.overall_score} is not in 0..10")


@dataclass(frozen=True, slots=True)
class ChartView:
    """One chart: the visible candles, oldest first, and the indicators after each of them.

    The indicators include candles before the first visible one, so they have settled.
    """

    symbol: str
    interval: str
    candles: tuple[Candle, ...]
    indicators: tuple[Indicators, ...]

    def __post_init__(self) -> None:
        if not self.candles or len(self.candles) != len(self.indicators):
            raise ValueError("a chart needs candles, and indicators for each of them")

    @property
    def price(self) -> float:
        """The last close."""
        return self.candles[-1].close

    @property
    def lowest(self) -> float:
        """The lowest price seen."""
        return min(candle.low for candle in self.candles)

    @property
    def highest(self) -> float:
        """The highest price seen."""
        return max(candle.high for candle in self.candles)

    @property
    def latest(self) -> Indicators:
        """The indicators after the last candle."""
        return self.indicators[-1]


def view_of(symbol: str, interval: str, candles: Sequence[Candle], seen: int = 120) -> ChartView:
    """Return the view of the last ``seen`` of ``candles``; all of them feed the indicators."""
    state = EMPTY
    values: list[Indicators] = []
    for candle in candles:
        state, now = step(state, candle.high, candle.low, candle.close, candle.volume)
        values.append(now)
    return ChartView(symbol, interval, tuple(candles[-seen:]), tuple(values[-seen:]))


def visible_levels(view: ChartView, levels: Iterable[float], below: bool) -> tuple[float, ...]:
    """Return those of ``levels`` that the chart can show, the nearest to the price first, at most three.

    Dropped are invalid prices, levels outside the visible range (by more than 2 % of it), levels on the wrong side of
    the price (a support above it), and duplicates.

    Args:
        view: the chart they were read from.
        levels: prices as claimed.
        below: True for supports, False for resistances.
    """
    slack = (view.highest - view.lowest) * MARGIN_SHARE
    lowest, highest = view.lowest - slack, view.highest + slack
    same = view.price * _SAME_PRICE_SHARE
    good = {
        level
        for level in levels
        if math.isfinite(level)
        and lowest <= level <= highest
        and (level <= view.price + same if below else level >= view.price - same)
    }
    return tuple(sorted(good, key=lambda level: abs(level - view.price))[:MOST_LEVELS])


def technical_signals(latest: Indicators) -> TechnicalSignals:
    """Return the signals of EMAs, RSI and MACD; neutral if they are not ready."""
    return TechnicalSignals(_alignment(latest), _rsi_condition(latest.rsi), _macd_lean(latest))


def _alignment(latest: Indicators) -> Lean:
    """All faster means above all slower ones, or all below."""
    means = (latest.ema_9, latest.ema_21, latest.ema_50, latest.ema_200)
    pairs = list(pairwise(means))
    if all(fast > slow for fast, slow in pairs):
        return "bullish"
    return "bearish" if all(fast < slow for fast, slow in pairs) else "neutral"


def _rsi_condition(rsi: float) -> RsiCondition:
    if rsi >= 70.0:
        return "overbought"
    return "oversold" if rsi <= 30.0 else "neutral"


def _macd_lean(latest: Indicators) -> Lean:
    if latest.macd_histogram > 0.0:
        return "bullish"
    return "bearish" if latest.macd_histogram < 0.0 else "neutral"
