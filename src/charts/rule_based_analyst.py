"""Analyses a chart by rules: swing points, slope, alignment, divergence. Free, without a model.

The same candles always give the same reading. Five figures between -1 and 1 are added up with fixed weights; how far
they agree is the confidence. Nothing here was fitted to results, and the analysis says so.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from src.charts.analysis_schema import (
    Advice,
    ChartObservation,
    ChartView,
    Grade,
    Lean,
    RsiCondition,
    TechnicalSignals,
    technical_signals,
    visible_levels,
)
from src.domain.market import Candle

MARK: Final = "By rules, no model"
_REACH: Final = 3  # candles on either side that a swing point must exceed
_CLUSTER_ATR: Final = 0.75  # swing points this close (in ATR) are one level
_STEEP_ATR: Final = 6.0  # a regression line that moves this many ATR over the chart is a full trend
_ADVISE_FROM: Final = 0.35
_TREND_FROM: Final = 0.2
_FULL_AGREEMENT: Final = 0.75
_SOME_AGREEMENT: Final = 0.4
_WEIGHTS: Final = {"slope": 0.3, "alignment": 0.25, "momentum": 0.2, "rsi": 0.1, "divergence": 0.15}
_LEANS: Final[dict[Lean, float]] = {"bullish": 1.0, "bearish": -1.0, "neutral": 0.0}
_REVERSALS: Final[dict[RsiCondition, float]] = {"overbought": -1.0, "oversold": 1.0, "neutral": 0.0}


class Swing(NamedTuple):
    """A turning point: the candle's place in the view, and its extreme price."""

    at: int
    price: float


def read_chart(view: ChartView) -> ChartObservation:
    """Return the reading of a chart; a chart too short for the indicators reads as neutral with low confidence."""
    signals = technical_signals(view.latest)
    scores = _scores(view, signals)
    total = sum(_WEIGHTS[name] * score for name, score in scores.items())
    return ChartObservation(
        trend=_trend(scores),
        recommendation=_advice(total),
        confidence=_grade(scores, total),
        support_levels=swing_levels(view, below=True),
        resistance_levels=swing_levels(view, below=False),
        technical_signals=signals,
        overall_score=round(5.0 + 5.0 * total, 1),
        reason=_reason(view, scores, signals),
    )


def swing_highs(candles: Sequence[Candle], reach: int = _REACH) -> list[Swing]:
    """Return the candles whose high no neighbour within ``reach`` reaches, oldest first; of equals the first."""
    return _swings([candle.high for candle in candles], reach)


def swing_lows(candles: Sequence[Candle], reach: int = _REACH) -> list[Swing]:
    """Return the candles whose low no neighbour within ``reach`` reaches, oldest first; of equals the first."""
    return [Swing(at, -price) for at, price in _swings([-candle.low for candle in candles], reach)]


def swing_levels(view: ChartView, below: bool) -> tuple[float, ...]:
    """Return up to three prices where the market turned, the nearest first.

    Turning points of both kinds count, for a broken resistance becomes a support. Those closer together than
    three quarters of an ATR are one level at their mean.
    """
    turns = sorted(swing.price for swing in (*swing_highs(view.candles), *swing_lows(view.candles)))
    digits = _digits(view.price)
    means = [round(sum(group) / len(group), digits) for group in _clusters(turns, _gap(view))]
    means = [min(max(mean, view.lowest), view.highest) for mean in means]
    side = [mean for mean in means if (mean < view.price if below else mean > view.price)]
    return visible_levels(view, side, below)


def slope_atr(view: ChartView) -> float:
    """Return by how many ATR the line through the closes (least squares) rises over the whole chart; NaN without."""
    closes = [candle.close for candle in view.candles]
    count = len(closes)
    if count < 2 or not view.latest.atr > 0.0:
        return math.nan
    middle = (count - 1) / 2.0
    mean = sum(closes) / count
    rise = sum((at - middle) * (close - mean) for at, close in enumerate(closes))
    return rise / sum((at - middle) ** 2 for at in range(count)) * (count - 1) / view.latest.atr


def divergence(view: ChartView) -> Lean:
    """Return the divergence of price and RSI: bullish for lower lows with a rising RSI, bearish for the opposite.

    Only the last two turning points of a kind count; where both kinds diverge, the later one does (neither does
    where one wild candle made both).
    """
    highs, lows = swing_highs(view.candles)[-2:], swing_lows(view.candles)[-2:]
    bearish = _parts(view, highs, falling=False)
    bullish = _parts(view, lows, falling=True)
    if bearish and bullish:
        bearish, bullish = highs[-1].at > lows[-1].at, lows[-1].at > highs[-1].at
    if bearish:
        return "bearish"
    return "bullish" if bullish else "neutral"


def _scores(view: ChartView, signals: TechnicalSignals) -> dict[str, float]:
    """Return the five figures, each from -1 (bearish) to 1 (bullish)."""
    slope = slope_atr(view)
    return {
        "slope": 0.0 if math.isnan(slope) else max(-1.0, min(1.0, slope / _STEEP_ATR)),
        "alignment": _LEANS[signals.ema_alignment],
        "momentum": _LEANS[signals.macd_signal],
        "rsi": _REVERSALS[signals.rsi_condition],
        "divergence": _LEANS[divergence(view)],
    }


def _trend(scores: dict[str, float]) -> Lean:
    direction = (scores["slope"] + scores["alignment"]) / 2.0
    if direction >= _TREND_FROM:
        return "bullish"
    return "bearish" if direction <= -_TREND_FROM else "neutral"


def _advice(total: float) -> Advice:
    if total >= _ADVISE_FROM:
        return "BUY"
    return "SELL" if total <= -_ADVISE_FROM else "HOLD"


def _grade(scores: dict[str, float], total: float) -> Grade:
    """Return the agreement of the non-neutral scores; low without any."""
    spoken = sum(_WEIGHTS[name] * abs(score) for name, score in scores.items())
    agreement = abs(total) / spoken if spoken > 0.0 else 0.0
    if spoken >= 0.5 and agreement >= _FULL_AGREEMENT:
        return "high"
    return "medium" if spoken >= 0.3 and agreement >= _SOME_AGREEMENT else "low"


def _reason(view: ChartView, scores: dict[str, float], signals: TechnicalSignals) -> str:
    slope = slope_atr(view)
    moved = "slope unknown" if math.isnan(slope) else f"closes moved {slope:+.1f} ATR over {len(view.candles)} candles"
    rsi = "unknown" if math.isnan(view.latest.rsi) else f"{view.latest.rsi:.0f}"
    parts = [moved, f"EMAs {signals.ema_alignment}", f"MACD {signals.macd_signal}", f"RSI {rsi}"]
    if scores["divergence"]:
        parts.append(f"{'bullish' if scores['divergence'] > 0 else 'bearish'} divergence of RSI")
    return f"{MARK}: {', '.join(parts)}."


def _swings(heights: list[float], reach: int) -> list[Swing]:
    found = []
    for at in range(reach, len(heights) - reach):
        before, after = heights[at - reach : at], heights[at + 1 : at + 1 + reach]
        if heights[at] > max(before) and heights[at] >= max(after):
            found.append(Swing(at, heights[at]))
    return found


def _clusters(prices: Sequence[float], gap: float) -> list[list[float]]:
    """Part sorted prices where two neighbours lie further apart than ``gap``; no group grows wider than two gaps."""
    groups: list[list[float]] = []
    for price in prices:
        if groups and price - groups[-1][-1] <= gap and price - groups[-1][0] <= 2.0 * gap:
            groups[-1].append(price)
        else:
            groups.append([price])
    return groups


def _gap(view: ChartView) -> float:
    atr = view.latest.atr
    return _CLUSTER_ATR * atr if atr > 0.0 else (view.highest - view.lowest) / 40.0


def _parts(view: ChartView, swings: Sequence[Swing], falling: bool) -> bool:
    """Return whether price, but not RSI, made a new extreme at the second swing."""
    if len(swings) < 2:
        return False
    first, second = swings
    rsi_first, rsi_second = view.indicators[first.at].rsi, view.indicators[second.at].rsi
    if falling:
        return second.price < first.price and rsi_second > rsi_first
    return second.price > first.price and rsi_second < rsi_first


def _digits(price: float) -> int:
    """Return the decimals that show a price to seven significant digits, none below 0."""
    return max(0, 7 - math.floor(math.log10(price)) - 1) if price > 0.0 else 0
