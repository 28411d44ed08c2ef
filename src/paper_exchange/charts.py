"""Candles of every interval of last price, mark price and premium, and 24-hour statistics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.domain.clock import DAY_MS, MINUTE_MS
from src.domain.market import Candle
from src.paper_exchange.intrabar_path import CLOSE_MS, FIRST_EXTREME_MS, HOLD_MS, SECOND_EXTREME_MS
from src.paper_exchange.markets import Market
from src.paper_exchange.markets.klines import FIXED_MS, MONTH, aggregate, bar_end_ms, joined, span_ms
from src.paper_exchange.markets.whole_hours import HOUR_MS, HourlyMarket
from src.paper_exchange.prices import MARK_WINDOW_MS, Prices

_WHOLE_DAYS = frozenset(("1d", "3d", "1w", MONTH))
_PIECE_MINUTES = 10 * 1_440
_VERTICES = np.array([0, HOLD_MS, FIRST_EXTREME_MS, SECOND_EXTREME_MS, CLOSE_MS, MINUTE_MS], dtype=np.float64)
_SECONDS: NDArray[np.float64] = np.arange(0.0, 60_000.0, 1_000.0)

Floats = NDArray[np.float64]
Reader = Callable[[int, int], list[Candle]]


@dataclass(frozen=True, slots=True)
class KlineRange:
    """The requested bars: startTime, endTime and limit."""

    start_ms: int | None
    end_ms: int | None
    limit: int


class Charts:
    """Reads candles of one market; ``now`` tells the market instant up to which they are known."""

    def __init__(self, market: Market, quotes: Prices, now: Callable[[], int]) -> None:
        self._market = market
        self._quotes = quotes
        self._now = now
        self._days: dict[tuple[str, int], Candle] = {}
        self._running: dict[tuple[str, str], tuple[int, int, list[Candle]]] = {}

    def minutes(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Return the closed minutes in ``start_ms <= open_ms < end_ms``, oldest first."""
        end_ms = min(end_ms, self._now() // MINUTE_MS * MINUTE_MS)
        candles = self._market.candles(symbol, start_ms, end_ms) if start_ms < end_ms else []
        shocks = self._quotes.shocks.get(symbol)
        if not shocks:
            return candles
        first_ms = min(from_ms for from_ms, _ in shocks) - MINUTE_MS
        return [self._shocked(symbol, row) if row.open_ms > first_ms else row for row in candles]

    def _shocked(self, symbol: str, candle: Candle) -> Candle:
        minute = self._quotes.minute(symbol, candle.open_ms)
        return candle._replace(open=minute.path[0][1], high=minute.high, low=minute.low, close=minute.path[-1][1])

    def running_minute(self, symbol: str) -> Candle | None:
        """Return the present minute as far as it has gone; None in a gap."""
        now = self._now()
        if self._market.candle(symbol, now // MINUTE_MS * MINUTE_MS) is None:
            return None
        return self._quotes.running_candle(symbol, now)

    def bars(self, symbol: str, interval: str, span: KlineRange) -> list[Candle]:
        """Return bars of the last price; the last one may still be open."""
        by_hours = self._by_hours if FIXED_MS.get(interval, 0) >= HOUR_MS else self._known
        read = self._by_days if interval in _WHOLE_DAYS else by_hours
        market, long = self._market, read != self._known
        first_ms = market.first_hour_ms if long and isinstance(market, HourlyMarket) else market.first_ms
        return self._collect(interval, span, lambda start_ms, end_ms: read(symbol, start_ms, end_ms), first_ms)

    def mark_bars(self, symbol: str, interval: str, span: KlineRange) -> list[Candle]:
        """Return bars of the mark price, sampled at whole seconds; ``trades`` is the number of samples."""
        return self._collect(
            interval, span, lambda start_ms, end_ms: self._mark_minutes(symbol, start_ms, end_ms), self._market.first_ms
        )

    def premium_bars(self, symbol: str, interval: str, span: KlineRange) -> list[Candle]:
        """Return bars of the premium: the funding rate of each bar's interval, for the premium is not modelled."""
        return [self._premium(symbol, bar) for bar in self.bars(symbol, interval, span)]

    def _premium(self, symbol: str, bar: Candle) -> Candle:
        settle_ms = self._quotes.next_funding_ms(symbol, bar.open_ms)
        rate = float(self._quotes.funding_rate(symbol, settle_ms))
        return Candle(bar.open_ms, rate, rate, rate, rate, 0.0)

    def bar(self, symbol: str, interval: str, open_ms: int) -> Candle | None:
        """Return one bar, closed or running; None in a gap. The closed part of a running bar is remembered."""
        end_ms = min(bar_end_ms(interval, open_ms), self._now() // MINUTE_MS * MINUTE_MS)
        known_open, upto_ms, parts = self._running.get((symbol, interval), (-1, open_ms, []))
        if known_open != open_ms:
            upto_ms, parts = open_ms, []
        if upto_ms < end_ms:
            fresh = parts + self.minutes(symbol, upto_ms, end_ms)
            parts = [joined(open_ms, fresh)] if fresh else []
            self._running[symbol, interval] = (open_ms, end_ms, parts)
        running = self.running_minute(symbol) if self._now() < bar_end_ms(interval, open_ms) else None
        parts = [*parts, running] if running else parts
        return joined(open_ms, parts) if parts else None

    def last_day(self, symbol: str) -> Candle | None:
        """Return the last 24 hours as one bar, from the minute that began then to now."""
        now = self._now()
        start_ms = now // MINUTE_MS * MINUTE_MS - DAY_MS + MINUTE_MS
        known_open, _, parts = self._running.get((symbol, "24h"), (-1, 0, []))
        if known_open != start_ms:
            closed = self.minutes(symbol, start_ms, now)
            parts = [joined(start_ms, closed)] if closed else []
            self._running[symbol, "24h"] = (start_ms, now, parts)
        running = self.running_minute(symbol)
        parts = [*parts, running] if running else parts
        return joined(start_ms, parts) if parts else None

    def _known(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Closed minutes, and the running one where it belongs to the span."""
        candles = self.minutes(symbol, start_ms, end_ms)
        running_ms = self._now() // MINUTE_MS * MINUTE_MS
        if start_ms <= running_ms < end_ms and (running := self.running_minute(symbol)):
            return [*candles, running]
        return candles

    def _by_hours(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Closed hours as one candle each where the market tells them so, and minutes before and after them."""
        first_ms = -(-start_ms // HOUR_MS) * HOUR_MS
        shocks = self._quotes.shocks.get(symbol, ())
        known_to_ms = min([self._now(), end_ms, *(from_ms - MINUTE_MS for from_ms, _ in shocks)])
        beyond_ms = known_to_ms // HOUR_MS * HOUR_MS
        if not isinstance(self._market, HourlyMarket) or first_ms >= beyond_ms:
            return self._known(symbol, start_ms, end_ms)
        before = self._known(symbol, start_ms, first_ms) if start_ms < first_ms else []
        after = self._known(symbol, beyond_ms, end_ms) if beyond_ms < end_ms else []
        return [*before, *self._market.hours(symbol, first_ms, beyond_ms), *after]

    def _by_days(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Whole days as one candle each, remembered: a year of days would read half a million minutes each time."""
        today_ms = self._now() // DAY_MS * DAY_MS
        found: list[Candle] = []
        for day_ms in range(start_ms // DAY_MS * DAY_MS, min(end_ms, today_ms + DAY_MS), DAY_MS):
            known = self._days.get((symbol, day_ms))
            if known is None:
                parts = self._by_hours(symbol, day_ms, day_ms + DAY_MS)
                if not parts:
                    continue
                known = joined(day_ms, parts)
                if day_ms < today_ms and not self._quotes.shocks:
                    self._days[symbol, day_ms] = known
            found.append(known)
        return found

    def _collect(self, interval: str, span: KlineRange, read: Reader, first_ms: int) -> list[Candle]:
        """Read piece by piece until there are ``limit`` bars, so that a gap costs no rows."""
        if span.start_ms is None:
            return self._backwards(interval, span, read, first_ms)
        return self._forwards(interval, max(span.start_ms, first_ms), span, read)

    def _forwards(self, interval: str, from_ms: int, span: KlineRange, read: Reader) -> list[Candle]:
        now, found = self._now(), list[Candle]()
        while (missing := span.limit - len(found)) > 0:
            first_ms, beyond_ms = span_ms(interval, missing, now, from_ms, span.end_ms)
            if first_ms >= beyond_ms:
                break
            found += aggregate(read(first_ms, beyond_ms), interval)
            from_ms = beyond_ms
        return found

    def _backwards(self, interval: str, span: KlineRange, read: Reader, oldest_ms: int) -> list[Candle]:
        now, end_ms, found = self._now(), span.end_ms, list[Candle]()
        while (missing := span.limit - len(found)) > 0:
            first_ms, beyond_ms = span_ms(interval, missing, now, None, end_ms)
            if beyond_ms <= oldest_ms:
                break
            found[:0] = aggregate(read(max(first_ms, oldest_ms), beyond_ms), interval)
            end_ms = first_ms - 1
        return found

    def _mark_minutes(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        found: list[Candle] = []
        for piece_ms in range(start_ms, end_ms, _PIECE_MINUTES * MINUTE_MS):
            piece_end_ms = min(end_ms, piece_ms + _PIECE_MINUTES * MINUTE_MS)
            found += self._mark_piece(symbol, piece_ms, piece_end_ms)
        return found

    def _mark_piece(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Mark candles of closed minutes from the very paths that ``Prices`` uses, and of the running one."""
        candles = self.minutes(symbol, start_ms - MINUTE_MS, end_ms)
        found = _mark_candles(candles)
        now = self._now()
        running_ms = now // MINUTE_MS * MINUTE_MS
        if start_ms <= running_ms < end_ms and self._market.candle(symbol, running_ms) is not None:
            seconds = range(running_ms, now + 1, 1_000)
            found.append(_as_candle(running_ms, [self._quotes.mark(symbol, second) for second in seconds]))
        return [candle for candle in found if candle.open_ms >= start_ms]


def _as_candle(open_ms: int, marks: Sequence[float]) -> Candle:
    return Candle(open_ms, marks[0], max(marks), min(marks), marks[-1], 0.0, len(marks))


def _mark_candles(candles: list[Candle]) -> list[Candle]:
    """The mark candle of each minute but the first, which only lends its second half."""
    if len(candles) < 2:
        return []
    areas, prices = _areas(candles)
    half_ago: Floats = _SECONDS - MARK_WINDOW_MS
    lent: Floats = areas[:-1, -1:] - _area_until(areas[:-1], prices[:-1], half_ago + MINUTE_MS)
    upto = _area_until(areas[1:], prices[1:], _SECONDS)
    own: Floats = upto - _area_until(areas[1:], prices[1:], half_ago)
    marks: Floats = np.where(half_ago < 0.0, upto + lent, own) / MARK_WINDOW_MS
    rows = zip(candles[1:], marks[:, 0], marks.max(axis=1), marks.min(axis=1), marks[:, -1], strict=True)
    return [Candle(row.open_ms, float(a), float(b), float(c), float(d), 0.0, 60) for row, a, b, c, d in rows]


def _areas(candles: list[Candle]) -> tuple[Floats, Floats]:
    """Area under each minute's path up to each vertex, and the prices there."""
    table = np.array([candle[1:5] for candle in candles])
    opens, highs, lows, closes = table.T
    rises = closes >= opens
    first, second = np.where(rises, lows, highs), np.where(rises, highs, lows)
    prices = np.stack([opens, opens, first, second, closes, closes], axis=1)
    steps = np.diff(_VERTICES) * (prices[:, 1:] + prices[:, :-1]) / 2.0
    areas = np.concatenate([np.zeros((len(candles), 1)), np.cumsum(steps, axis=1)], axis=1)
    return areas, prices


def _area_until(areas: Floats, prices: Floats, offsets: Floats) -> Floats:
    offsets = np.clip(offsets, 0.0, MINUTE_MS)
    place = np.clip(np.searchsorted(_VERTICES, offsets, side="right") - 1, 0, len(_VERTICES) - 2)
    run = offsets - _VERTICES[place]
    slope = (prices[:, place + 1] - prices[:, place]) / (_VERTICES[place + 1] - _VERTICES[place])
    return np.asarray(areas[:, place] + run * (prices[:, place] + slope * run / 2.0), dtype=np.float64)
