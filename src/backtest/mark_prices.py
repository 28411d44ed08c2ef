"""Mark prices within a minute, from the intrabar path that the paper exchange uses."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Prices = tuple[float, float, float, float]
"""Open, high, low, close of one minute."""


def marks_within(before: Prices, minute: Prices) -> NDArray[Any]:
    """Return the mark price at each whole second of a minute, 0 to 59: the mean of the last price over 30 s.

    The same as the paper exchange's within rounding (it has corners on the tick and eight decimals). Compiles.
    """
    marks = np.empty(60)
    for second in range(60):
        marks[second] = mark_at(before, minute, second * 1_000.0)
    return marks


def mark_at(before: Prices, minute: Prices, offset_ms: float) -> float:
    """Return the mark price at an instant of a minute, given the minute before it. Compiles under numba."""
    area = area_until(minute, offset_ms) - area_until(minute, max(0.0, offset_ms - 30_000.0))
    if offset_ms < 30_000.0:
        area += area_until(before, 60_000.0) - area_until(before, 30_000.0 + offset_ms)
    return area / 30_000.0


def last_at(minute: Prices, offset_ms: float) -> float:
    """Return the last price at an instant of a minute. Compiles under numba."""
    opened, high, low, close = minute
    first, second = (low, high) if close >= opened else (high, low)
    if offset_ms <= 15_000.0:
        return opened
    if offset_ms <= 30_000.0:
        return opened + (first - opened) * ((offset_ms - 15_000.0) / 15_000.0)
    if offset_ms <= 45_000.0:
        return first + (second - first) * ((offset_ms - 30_000.0) / 15_000.0)
    if offset_ms < 59_999.0:
        return second + (close - second) * ((offset_ms - 45_000.0) / 14_999.0)
    return close


def area_until(minute: Prices, offset_ms: float) -> float:
    """Return the integral of the last price over the minute's first ``offset_ms``. Compiles under numba."""
    opened, high, low, close = minute
    first, second = (low, high) if close >= opened else (high, low)
    here = last_at(minute, offset_ms)
    if offset_ms <= 15_000.0:
        return opened * offset_ms
    area = opened * 15_000.0
    if offset_ms <= 30_000.0:
        return area + (opened + here) * 0.5 * (offset_ms - 15_000.0)
    area += (opened + first) * 7_500.0
    if offset_ms <= 45_000.0:
        return area + (first + here) * 0.5 * (offset_ms - 30_000.0)
    area += (first + second) * 7_500.0
    if offset_ms < 59_999.0:
        return area + (second + here) * 0.5 * (offset_ms - 45_000.0)
    return area + (second + close) * 7_499.5 + close * (offset_ms - 59_999.0)
