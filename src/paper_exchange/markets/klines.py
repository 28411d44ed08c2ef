"""Aggregates one-minute candles into the exchange's other intervals.

A bar begins on the exchange's grid (weeks on Monday, three days counted from 1970, months on the first; all UTC),
it is reported while it is still open, and a bar without a single minute is left out.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby

from src.domain.clock import DAY_MS
from src.domain.market import INTERVAL_MS, Candle

MONTH = "1M"
WEEK = "1w"
FIXED_MS = INTERVAL_MS | {"3d": 3 * DAY_MS, WEEK: 7 * DAY_MS}
INTERVALS = (*FIXED_MS, MONTH)
_FIRST_MONDAY_MS = 4 * DAY_MS


def bar_open_ms(interval: str, instant_ms: int) -> int:
    """Return the first instant of the bar that holds ``instant_ms``.

    Raises:
        KeyError: the exchange has no such interval.
    """
    if interval == MONTH:
        return _month_ms(instant_ms, 0)
    anchor_ms = _FIRST_MONDAY_MS if interval == WEEK else 0
    return instant_ms - (instant_ms - anchor_ms) % FIXED_MS[interval]


def bar_end_ms(interval: str, open_ms: int) -> int:
    """Return the first instant after the bar that begins at ``open_ms``."""
    return _month_ms(open_ms, 1) if interval == MONTH else open_ms + FIXED_MS[interval]


def aggregate(minutes: Sequence[Candle], interval: str) -> list[Candle]:
    """Return the bars made of ``minutes``, oldest first; the last one is as far as the minutes go.

    Args:
        minutes: one-minute candles in order, gaps allowed; the last may be one that is still open.
        interval: ``1m`` .. ``1M``.
    """
    if interval == "1m":
        return list(minutes)
    grouped = groupby(minutes, key=lambda minute: bar_open_ms(interval, minute.open_ms))
    return [joined(open_ms, group) for open_ms, group in grouped]


def span_ms(
    interval: str, limit: int, now_ms: int, start_ms: int | None = None, end_ms: int | None = None
) -> tuple[int, int]:
    """Return which minutes a request for bars needs: from the first instant, to before the second.

    As the exchange does it: with a start, the first ``limit`` bars that open at it or later; without one, the
    last ``limit`` bars that open at ``end_ms`` or before it (at ``now_ms`` when there is no end, so that the open
    bar is the last). The second instant may lie ahead of ``now_ms``; it is never before the first.
    """
    latest_ms = bar_open_ms(interval, now_ms if end_ms is None else min(end_ms, now_ms))
    beyond_ms = bar_end_ms(interval, latest_ms)
    if start_ms is None:
        return _bars_before_ms(interval, latest_ms, limit - 1), beyond_ms
    first_ms = bar_open_ms(interval, start_ms)
    if first_ms < start_ms:
        first_ms = bar_end_ms(interval, first_ms)
    return first_ms, max(first_ms, min(beyond_ms, _bars_after_ms(interval, first_ms, limit)))


def joined(open_ms: int, group: Iterable[Candle]) -> Candle:
    """Return one candle, opening at ``open_ms``, made of those in ``group``: at least one, in order."""
    _, opens, highs, lows, closes, volumes, trades, takers, quotes = zip(*group, strict=True)
    return Candle(
        open_ms,
        opens[0],
        max(highs),
        min(lows),
        closes[-1],
        round(sum(volumes), 8),
        sum(trades),
        round(sum(takers), 8),
        round(sum(quotes), 8),
    )


def _bars_before_ms(interval: str, open_ms: int, count: int) -> int:
    if interval == MONTH:
        return _month_ms(open_ms, -count)
    return open_ms - count * FIXED_MS[interval]


def _bars_after_ms(interval: str, open_ms: int, count: int) -> int:
    return _month_ms(open_ms, count) if interval == MONTH else open_ms + count * FIXED_MS[interval]


def _month_ms(instant_ms: int, later: int) -> int:
    """Return the beginning of the month ``later`` months after that of ``instant_ms``, not before 1970."""
    moment = datetime.fromtimestamp(instant_ms // 1000, UTC)
    months = max(moment.year * 12 + moment.month - 1 + later, 1970 * 12)
    return int(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1000
