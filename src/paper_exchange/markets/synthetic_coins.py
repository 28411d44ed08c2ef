"""The six contracts of the synthetic market, and how news moves them."""

from typing import NamedTuple

import numpy as np


class Coin(NamedTuple):
    """One contract: its price range, tick grid, and trading parameters."""

    symbol: str
    usual_price: float
    price_digits: int  # the tick is 10 ** -price_digits
    quantity_digits: int
    usual_volume: float  # median of a minute, base asset
    usual_trade: float  # median size of one trade, base asset
    wick: float  # mean length of each wick as a share of the minute's sigma


COINS = (
    Coin("BTCUSDT", 82_000.0, 1, 3, 38.0, 0.045, 0.20),
    Coin("ETHUSDT", 2_900.0, 2, 3, 720.0, 0.55, 0.20),
    Coin("SOLUSDT", 150.0, 2, 2, 6_500.0, 9.0, 0.32),
    Coin("BNBUSDT", 850.0, 2, 2, 240.0, 0.7, 0.24),
    Coin("XRPUSDT", 2.2, 4, 1, 380_000.0, 600.0, 0.36),
    Coin("DOGEUSDT", 0.18, 5, 0, 2_600_000.0, 3_500.0, 0.36),
)

# Correlation of each coin's minutes with the news of the whole market and of the smaller coins: a two-factor fit
# of the correlations measured on Binance in 2023. The rest is the coin's own news.
_MARKET = np.array([0.899, 0.912, 0.735, 0.670, 0.620, 0.550])
_SMALLER = np.array([0.0, 0.0, 0.29, 0.18, 0.40, 0.31])
_LIVELINESS = np.array([1.0, 1.12, 1.55, 1.05, 1.45, 1.60])  # sigma as a multiple of BTC's

# Rows are coins, columns sources: market, smaller coins, then each coin's own.
LOADINGS = _LIVELINESS[:, None] * np.hstack(
    [_MARKET[:, None], _SMALLER[:, None], np.diag(np.sqrt(1.0 - _MARKET**2 - _SMALLER**2))]
)
