"""A synthetic market with the statistical properties of the real one, from a seed.

Any minute of any year can be requested, in any order and in any process: it is a pure function of seed and
minute. Prices, volatility, tails, seasons, volume and correlation are calibrated to Binance 2021-2024, and like
there the past of a price says almost nothing about its direction.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from src.domain.errors import DataRefused
from src.domain.market import Candle
from src.paper_exchange.markets.synthetic_coins import COINS
from src.paper_exchange.markets.synthetic_context import COIN_OF, DAY_MS, FUNDING_MS, Context
from src.paper_exchange.markets.synthetic_levels import Levels
from src.paper_exchange.markets.synthetic_minutes import DayCandles, make_day

DEFAULT_SEED = 7
_MINUTE_MS = 60_000
_FIRST_MS = 1_577_836_800_000  # 2020-01-01
_DAYS_KEPT = 10
_LISTS_KEPT = 16


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

    def _make_day(self, day: int) -> DayCandles:
        return make_day(self._seed, day, self._levels)

    def _make_candles(self, symbol: str, day: int) -> list[Candle]:
        place = COIN_OF[symbol]
        coin, whole = COINS[place], self._day(day)
        prices, sizes = 10.0**coin.price_digits, 10.0**coin.quantity_digits
        opens_ms = range(day * DAY_MS, (day + 1) * DAY_MS, _MINUTE_MS)
        columns = (
            _scaled(whole.open[place], prices),
            _scaled(whole.high[place], prices),
            _scaled(whole.low[place], prices),
            _scaled(whole.close[place], prices),
            _scaled(whole.volume[place], sizes),
            whole.trades[place].tolist(),
            _scaled(whole.taker_buy_volume[place], sizes),
            np.round(whole.quote_volume[place], 5).tolist(),
        )
        return [Candle(*row) for row in zip(opens_ms, *columns, strict=True)]


def _scaled(whole: NDArray[np.int64], units: float) -> list[float]:
    """Return whole ticks or steps as the floats nearest to their decimal text."""
    return list((whole / units).tolist())
