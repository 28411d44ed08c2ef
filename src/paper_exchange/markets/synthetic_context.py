"""Funding rates and a Fear & Greed index for the synthetic prices.

Both follow the prices of days that are over, as the real ones do, and know nothing of those to come.
"""

import math
from functools import lru_cache

import numpy as np

from src.paper_exchange.markets.synthetic_chance import decay_weights, normals, smooth_normals
from src.paper_exchange.markets.synthetic_coins import COINS, LOADINGS
from src.paper_exchange.markets.synthetic_levels import Levels

FUNDING_MS = 28_800_000
DAY_MS = 86_400_000
_BPS = 1e-4
_FUNDING_CAP_BPS = 30.0
_FUNDING_MOOD, _INDEX_NOISE = 400, 420

# Distribution of a rate, in bp, as measured on Binance 2021-2024: BTC, ETH and DOGE, SOL without the week in
# which FTX fell, BNB (which seldom pays). XRP was measured for four months only and is given DOGE's.
_SHARES = (0.0, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.85, 0.9, 0.95, 0.99, 0.999, 1.0)
_BTC = (-11.9, -3.13, -1.01, -0.36, -0.07, 0.23, 0.44, 0.71, 1.0, 1.0, 1.0, 1.0, 1.37, 2.91, 5.43, 7.81, 8.8)
_ETH = (-30.0, -17.97, -2.37, -0.76, -0.22, 0.13, 0.36, 0.56, 0.79, 1.0, 1.0, 1.0, 1.16, 2.65, 5.26, 7.51, 10.2)
_SOL = (-30.0, -20.0, -9.0, -3.5, -1.8, -0.6, 0.02, 0.47, 0.98, 1.0, 1.0, 1.0, 1.69, 3.27, 6.92, 9.85, 11.9)
_BNB = (-20.9, -19.66, -12.26, -7.15, -4.22, -1.62, -0.55, 0.0, 0.0, 0.0, 0.0, 0.54, 1.24, 2.12, 4.55, 6.75, 10.0)
_DOGE = (-5.1, -3.2, -1.65, -0.55, -0.06, 0.4, 0.78, 1.0, 1.0, 1.0, 1.0, 1.0, 1.86, 3.32, 6.42, 8.76, 10.3)
_RATES = (_BTC, _ETH, _SOL, _BNB, _DOGE, _DOGE)

_USUAL_DAY = 0.026 * np.sqrt((LOADINGS**2).sum(axis=1))  # standard deviation of a coin's daily log return
_TREND_WEIGHTS = decay_weights(3.0, 4.0) / np.linalg.norm(decay_weights(3.0, 4.0))
_TREND_SHARE = 0.5  # correlation of the rate's mood with the trend of the days before
_MOOD_MEMORY = 9.0  # settlements

_INDEX_MEAN, _INDEX_KEPT = 47.0, 0.97
_INDEX_PER_SIGMA, _INDEX_NOISE_SWING = 3.15, 3.9
_INDEX_DAYS = 200


class Context:
    """Funding and sentiment of one synthetic world; pure functions of the instant, the last few hundred kept."""

    def __init__(self, seed: int, levels: Levels) -> None:
        self._seed, self._levels = seed, levels
        self.funding_rate = lru_cache(maxsize=512)(self._funding_rate)
        self.fear_greed = lru_cache(maxsize=64)(self._fear_greed)

    def _funding_rate(self, coin: int, settlement: int) -> float:
        """Return the rate of settlement number ``settlement`` (8 h each since 1970), as a share.

        It uses the days that were over when the interval began, so it may be shown from then on.
        """
        last_day = (settlement - 1) * FUNDING_MS // DAY_MS - 1
        returns = self._daily_sigmas(coin, last_day, len(_TREND_WEIGHTS))
        trend = float(np.clip(returns[::-1] @ _TREND_WEIGHTS, -3.0, 3.0))
        mood = float(smooth_normals(self._seed, _FUNDING_MOOD + coin, settlement, 1, _MOOD_MEMORY)[0])
        blend = _TREND_SHARE * trend + math.sqrt(1.0 - _TREND_SHARE**2) * mood
        share = 0.5 * (1.0 + math.erf(blend / math.sqrt(2.0)))
        rate_bps = float(np.interp(share, _SHARES, _RATES[coin]))
        return round(min(max(rate_bps, -_FUNDING_CAP_BPS), _FUNDING_CAP_BPS) * _BPS, 8)

    def _fear_greed(self, day: int) -> int:
        """Return the index dated ``day`` (days since 1970): it restates the market up to the day before."""
        moved = self._daily_sigmas(0, day - 1, _INDEX_DAYS)
        noise = normals(self._seed, _INDEX_NOISE, day - _INDEX_DAYS + 1, _INDEX_DAYS)
        news = _INDEX_PER_SIGMA * np.clip(moved, -3.0, 3.0) + _INDEX_NOISE_SWING * noise
        kept = _INDEX_KEPT ** np.arange(_INDEX_DAYS - 1, -1, -1)
        return round(min(max(_INDEX_MEAN + float(news @ kept), 5.0), 95.0))

    def _daily_sigmas(self, coin: int, last_day: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return a coin's daily log returns of ``count`` days up to ``last_day``, in usual daily sigmas."""
        levels = [self._levels.levels(day) for day in range(last_day - count + 1, last_day + 2)]
        returns = np.diff(np.array(levels) @ LOADINGS[coin])
        return np.asarray(returns / _USUAL_DAY[coin])


COIN_OF = {coin.symbol: place for place, coin in enumerate(COINS)}
