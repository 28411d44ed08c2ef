"""A synthetic market with the statistical properties of the real one, from a seed.

Any minute of any year can be requested, in any order and in any process: it is a pure function of seed and
minute. Prices, volatility, tails, seasons, volume and correlation are calibrated to Binance 2021-2024, and like
there the past of a price says almost nothing about its direction.
"""

import threading
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from src.domain.errors import DataRefused
from src.domain.market import Candle
from src.paper_exchange.markets.synthetic_coins import COINS
from src.paper_exchange.markets.synthetic_context import COIN_OF, DAY_MS, FUNDING_MS, Context
from src.paper_exchange.markets.synthetic_levels import Levels
from src.paper_exchange.markets.synthetic_minutes import DayCandles, make_day
from src.paper_exchange.markets.whole_hours import hours_of

DEFAULT_SEED = 7
_MINUTE_MS = 60_000
_FIRST_MS = 1_577_836_800_000  # 2020-01-01
_DAYS_KEPT = 10
_LISTS_KEPT = 16
_HOURS_KEPT_DAYS = 400
_MINUTES_A_DAY = 1_440


class SyntheticMarket:
    """Six correlated contracts; holds a few days in memory (about 12 MB) and nothing that must be closed."""

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        """Prepare the world of ``seed``, a whole number of 0 .. 2^63 - 1."""
        if not 0 <= seed < 2**63:
            raise DataRefused(f"the seed of a synthetic market is a whole number from 0 to 2^63 - 1, not {seed}")
        self.symbols = tuple(coin.symbol for coin in COINS)
        self.world = "synthetic"
        self.first_ms = _FIRST_MS
        self.end_ms: int | None = None
        self.lag_ms = 0
        self._seed = seed
        self._levels = Levels(seed)
        self._context = Context(seed, self._levels)
        self._day = lru_cache(maxsize=_DAYS_KEPT)(self._make_day)
        self._candles = lru_cache(maxsize=_LISTS_KEPT)(self._make_candles)
        self._hours = lru_cache(maxsize=_HOURS_KEPT_DAYS)(self._make_hours)
        self._making_hours = threading.Lock()  # several charts asked for at once need the same days

    def candle(self, symbol: str, open_ms: int) -> Candle | None:
        """Return the complete candle of that minute; ``None`` before 2020 and for a time that is not a whole minute."""
        day, within_ms = divmod(open_ms, DAY_MS)
        minute, rest_ms = divmod(within_ms, _MINUTE_MS)
        if rest_ms or open_ms < _FIRST_MS or symbol not in COIN_OF:
            return None
        return self._candles(symbol, day)[minute]

    def candles(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Return the candles with ``start_ms <= open_ms < end_ms``, oldest first."""
        if symbol not in COIN_OF:
            return []
        first = -(-max(start_ms, _FIRST_MS) // _MINUTE_MS)
        beyond = -(-end_ms // _MINUTE_MS)
        found: list[Candle] = []
        while first < beyond:
            day, minute = divmod(first, 1440)
            part = self._candles(symbol, day)[minute : minute + beyond - first]
            found += part
            first += len(part)
        return found

    @property
    def first_hour_ms(self) -> int:
        """The first hour served."""
        return self.first_ms

    def hours(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Return the whole hours with ``start_ms <= open_ms < end_ms``, oldest first.

        A day's minutes are made once for all contracts; only its hours are kept (12 KB a day).
        """
        found: list[Candle] = []
        if symbol not in COIN_OF:
            return found
        first_ms = max(start_ms, _FIRST_MS)
        for day in range(first_ms // DAY_MS, -(-end_ms // DAY_MS)):
            with self._making_hours:
                rows = self._hours(day)[COIN_OF[symbol]]
            found += [row for row in rows if first_ms <= row.open_ms < end_ms]
        return found

    def day(self, day: int) -> DayCandles:
        """Return all six contracts' candles of ``day`` (days since 1970 UTC) as whole numbers."""
        return self._day(day)

    def funding_rate(self, symbol: str, settle_ms: int) -> float:
        """Return the rate of the 8-hour interval that ends at ``settle_ms`` or holds it, as a share.

        Raises:
            KeyError: the market does not have that contract.
        """
        return self._context.funding_rate(COIN_OF[symbol], -(-settle_ms // FUNDING_MS))

    def fear_greed(self, day_ms: int) -> int | None:
        """Return the index dated by the day of ``day_ms``, 5..95: it speaks of the market up to the day before."""
        return self._context.fear_greed(day_ms // DAY_MS)

    def close(self) -> None:
        """Drop the data in memory."""
        self._day.cache_clear()
        self._candles.cache_clear()
        self._hours.cache_clear()

    def _make_day(self, day: int) -> DayCandles:
        return make_day(self._seed, day, self._levels)

    def _make_hours(self, day: int) -> tuple[list[Candle], ...]:
        whole = self._make_day(day)
        return tuple(hours_of(_columns(whole, place, day), 0, _MINUTES_A_DAY) for place in range(len(COINS)))

    def _make_candles(self, symbol: str, day: int) -> list[Candle]:
        rows = zip(*(column.tolist() for column in _columns(self._day(day), COIN_OF[symbol], day)), strict=True)
        return [Candle(*row) for row in rows]


def _columns(whole: DayCandles, place: int, day: int) -> tuple[NDArray[np.generic], ...]:
    """Return the minutes of one contract and day as columns in the order of ``Candle``.

    Whole ticks and steps become the floats nearest to their decimal text.
    """
    prices, sizes = 10.0 ** COINS[place].price_digits, 10.0 ** COINS[place].quantity_digits
    return (
        np.arange(day * DAY_MS, (day + 1) * DAY_MS, _MINUTE_MS),
        whole.open[place] / prices,
        whole.high[place] / prices,
        whole.low[place] / prices,
        whole.close[place] / prices,
        whole.volume[place] / sizes,
        whole.trades[place],
        whole.taker_buy_volume[place] / sizes,
        np.round(whole.quote_volume[place], 5),
    )
