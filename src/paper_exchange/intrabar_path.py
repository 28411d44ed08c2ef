"""The path of the last price within one minute; pure, shared by server and backtest.

A path is a row of vertices ``(offset_ms, price)`` joined by straight lines. The price stays at the open for 15 s
(so that what is ordered right after a close meets the next open, however late it arrives), reaches the first
extreme at 30 s, the second at 45 s and the close at 59.999 s. The low comes first in a minute that does not fall.
Time is whole milliseconds throughout: a level is touched at the first millisecond whose price is at or beyond it.
"""

import math
from itertools import pairwise

from src.domain.market import Candle

MINUTE_MS = 60_000
HOLD_MS = 15_000
FIRST_EXTREME_MS = 30_000
SECOND_EXTREME_MS = 45_000
CLOSE_MS = 59_999

Path = tuple[tuple[int, float], ...]


def path_of(candle: Candle) -> Path:
    """Return the five vertices of a one-minute candle."""
    rises = candle.close >= candle.open
    first, second = (candle.low, candle.high) if rises else (candle.high, candle.low)
    return (
        (0, candle.open),
        (HOLD_MS, candle.open),
        (FIRST_EXTREME_MS, first),
        (SECOND_EXTREME_MS, second),
        (CLOSE_MS, candle.close),
    )


def price_at(candle: Candle, offset_ms: int) -> float:
    """Return the last price ``offset_ms`` after the candle's open (0..59,999), not rounded."""
    return price_on(path_of(candle), offset_ms)


def first_touch(candle: Candle, level: float, rising: bool, from_offset_ms: int = 0) -> int | None:
    """Return the first offset from ``from_offset_ms`` on at which the price is at or beyond ``level``.

    Args:
        candle: one minute.
        level: price in quote.
        rising: True asks for ``price >= level``, False for ``price <= level``.
        from_offset_ms: where to begin, included.

    Returns:
        Milliseconds after the open, or None when the minute does not touch the level.
    """
    return touch_on(path_of(candle), level, rising, from_offset_ms, CLOSE_MS)


def range_between(candle: Candle, from_ms: int, to_ms: int) -> tuple[float, float]:
    """Return the lowest and the highest price between two offsets, both included."""
    return range_on(path_of(candle), from_ms, to_ms)


def price_on(path: Path, offset_ms: int) -> float:
    """Return the price at an offset; before the first vertex its price, after the last one that one's."""
    start = path[0]
    for vertex in path:
        if vertex[0] > offset_ms:
            return _between(start, vertex, offset_ms)
        start = vertex
    return start[1]


def touch_on(path: Path, level: float, rising: bool, from_ms: int, to_ms: int) -> int | None:
    """Return the first offset in ``from_ms..to_ms`` whose price is at or beyond ``level``, or None."""
    if from_ms > to_ms:
        return None
    sign = 1.0 if rising else -1.0
    for start, end in _pieces(path, from_ms, to_ms):
        if sign * (start[1] - level) >= 0:
            return start[0]
        if sign * (end[1] - level) >= 0:
            return _crossing(path, start, end, level, sign)
    return None


def range_on(path: Path, from_ms: int, to_ms: int) -> tuple[float, float]:
    """Return the lowest and the highest price on the offsets ``from_ms..to_ms``."""
    prices = [price_on(path, from_ms), price_on(path, to_ms)]
    prices += [price for offset, price in path if from_ms < offset <= to_ms]
    return min(prices), max(prices)


def area_on(path: Path, from_ms: int, to_ms: int) -> float:
    """Return the integral of the price over ``from_ms..to_ms`` in price times milliseconds."""
    return sum((end[0] - start[0]) * (start[1] + end[1]) / 2.0 for start, end in _pieces(path, from_ms, to_ms))


def scaled(path: Path, from_ms: int, factor: float) -> Path:
    """Return the path with all prices from ``from_ms`` on multiplied: a jump within one millisecond."""
    if from_ms <= 0:
        return tuple((offset, price * factor) for offset, price in path)
    before = tuple(vertex for vertex in path if vertex[0] < from_ms - 1)
    after = tuple((offset, price * factor) for offset, price in path if offset > from_ms)
    here = price_on(path, from_ms)
    return (*before, (from_ms - 1, price_on(path, from_ms - 1)), (from_ms, here * factor), *after)


def _pieces(path: Path, from_ms: int, to_ms: int) -> list[tuple[tuple[int, float], tuple[int, float]]]:
    inner = [vertex for vertex in path if from_ms < vertex[0] < to_ms]
    points = [(from_ms, price_on(path, from_ms)), *inner, (to_ms, price_on(path, to_ms))]
    return list(pairwise(points)) if from_ms < to_ms else [(points[0], points[0])]


def _between(start: tuple[int, float], end: tuple[int, float], offset_ms: int) -> float:
    if offset_ms <= start[0]:
        return start[1]
    return start[1] + (end[1] - start[1]) * ((offset_ms - start[0]) / (end[0] - start[0]))


def _crossing(path: Path, start: tuple[int, float], end: tuple[int, float], level: float, sign: float) -> int:
    """The analytic crossing, moved to the first millisecond that has the level by ``price_on``'s own arithmetic."""
    exact = start[0] + (level - start[1]) / (end[1] - start[1]) * (end[0] - start[0])
    offset = min(max(math.floor(exact) - 1, start[0]), end[0])
    while offset < end[0] and sign * (price_on(path, offset) - level) < 0:
        offset += 1
    return offset
