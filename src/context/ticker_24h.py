"""One coin's last 24 hours from the exchange's candles, for the market context."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from src.context.sources import SourceReading
from src.domain.clock import Clock
from src.domain.errors import ExchangeError, SourceUnavailable
from src.domain.market import INTERVAL_MS, Candle

Candles = Callable[[str, str, int], Sequence[Candle]]

_INTERVAL: Final = "15m"
_STEP_MS: Final = INTERVAL_MS[_INTERVAL]
_DAY_CANDLES: Final = 96
_OLDEST_CANDLE_MS: Final = 3 * _STEP_MS


class Ticker24h:
    """BTC or ETH over the last 24 hours by the exchange's own closed 15-minute candles.

    Figures: ``NAME_price`` (last close), ``NAME_change_24h`` (percent) and ``NAME_volatility_24h`` (root of the
    day's summed squared log returns, in percent). Asked again only when a new candle must have closed.
    """

    name = "exchange"

    def __init__(self, candles: Candles, clock: Clock, symbol: str, prefix: str) -> None:
        self._candles = candles
        self._clock = clock
        self._symbol = symbol
        self._prefix = prefix
        self._last: SourceReading | None = None

    def read(self) -> SourceReading:
        """Return the day's figures; ``SourceUnavailable`` when the exchange is away or its candles are old."""
        now_ms = self._clock.now_ms()
        if self._last is not None and 0 <= now_ms - self._last.as_of_ms < _STEP_MS:
            return self._last
        try:
            candles = list(self._candles(self._symbol, _INTERVAL, _DAY_CANDLES + 1))
        except ExchangeError as error:
            raise SourceUnavailable(f"the exchange gives no {self._symbol} candles: {error}") from error
        if not candles:
            raise SourceUnavailable(f"the exchange has no {self._symbol} candles yet")
        as_of_ms = candles[-1].open_ms + _STEP_MS
        age_min = (now_ms - as_of_ms) // 60_000
        if age_min * 60_000 > _OLDEST_CANDLE_MS:
            raise SourceUnavailable(f"the exchange's {self._symbol} candles are {age_min} min old")
        self._last = SourceReading(day_figures(candles, self._prefix), self.name, as_of_ms)
        return self._last


def day_figures(candles: Sequence[Candle], prefix: str) -> dict[str, float]:
    """Return price, change and volatility over the last 24 hours of 15-minute candles, as far as they reach.

    Change and volatility are missing when the candle of exactly 24 hours before the last one is.
    """
    last = candles[-1]
    figures = {f"{prefix}_price": last.close}
    day = [each for each in candles if each.open_ms >= last.open_ms - _DAY_CANDLES * _STEP_MS]
    if day[0].open_ms == last.open_ms - _DAY_CANDLES * _STEP_MS:
        squares = (math.log(after.close / before.close) ** 2 for before, after in pairwise(day))
        figures[f"{prefix}_change_24h"] = (last.close / day[0].close - 1) * 100
        figures[f"{prefix}_volatility_24h"] = math.sqrt(sum(squares)) * 100
    return figures
