"""Mark prices within a minute, from the intrabar path that the paper exchange uses."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.paper_exchange.intrabar_path import CLOSE_MS, FIRST_EXTREME_MS, HOLD_MS, MINUTE_MS, SECOND_EXTREME_MS
from src.paper_exchange.prices import MARK_WINDOW_MS

MINUTE, WINDOW = float(MINUTE_MS), float(MARK_WINDOW_MS)
HOLD, FIRST, SECOND, CLOSE = float(HOLD_MS), float(FIRST_EXTREME_MS), float(SECOND_EXTREME_MS), float(CLOSE_MS)
RISE, TURN, LAST = FIRST - HOLD, SECOND - FIRST, CLOSE - SECOND
"""How long the price takes from the open to the first extreme, to the second, and to the close, in milliseconds."""

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
    area = area_until(minute, offset_ms) - area_until(minute, max(0.0, offset_ms - WINDOW))
    if offset_ms < WINDOW:
        area += area_until(before, MINUTE) - area_until(before, MINUTE - WINDOW + offset_ms)
    return area / WINDOW


def last_at(minute: Prices, offset_ms: float) -> float:
    """Return the last price at an instant of a minute. Compiles under numba."""
    opened, high, low, close = minute
    first, second = (low, high) if close >= opened else (high, low)
    if offset_ms <= HOLD:
        return opened
    if offset_ms <= FIRST:
        return opened + (first - opened) * ((offset_ms - HOLD) / RISE)
    if offset_ms <= SECOND:
        return first + (second - first) * ((offset_ms - FIRST) / TURN)
    if offset_ms < CLOSE:
        return second + (close - second) * ((offset_ms - SECOND) / LAST)
    return close


def area_until(minute: Prices, offset_ms: float) -> float:
    """Return the integral of the last price over the minute's first ``offset_ms``. Compiles under numba."""
    opened, high, low, close = minute
    first, second = (low, high) if close >= opened else (high, low)
    here = last_at(minute, offset_ms)
    if offset_ms <= HOLD:
        return opened * offset_ms
    area = opened * HOLD
    if offset_ms <= FIRST:
        return area + (opened + here) * 0.5 * (offset_ms - HOLD)
    area += (opened + first) * (0.5 * RISE)
    if offset_ms <= SECOND:
        return area + (first + here) * 0.5 * (offset_ms - FIRST)
    area += (first + second) * (0.5 * TURN)
    if offset_ms < CLOSE:
        return area + (second + here) * 0.5 * (offset_ms - SECOND)
    return area + (second + close) * (0.5 * LAST) + close * (offset_ms - CLOSE)
