"""A sample that takes its indicators from the library ``ta``: buy what fell far below its mean, sell at the mean."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from ta.momentum import RSIIndicator
from ta.volatility import BollingerBands

from src.domain.market import Candle
from src.strategy.targets import PortfolioObservation, Target


@dataclass(frozen=True)
class MeanReversion:
    """Hold a pair from a close below its lower Bollinger band with a low RSI until it is back at the middle."""

    window: int = 20
    deviations: float = 2.0
    most_rsi: float = 30.0
    share: float = 0.2

    name = "mean_reversion"
    candle_interval = "1h"
    warm_up_candles = 240
    pairs = ("BTCUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT")

    def targets(self, observation: PortfolioObservation) -> tuple[Target, ...]:
        """Return one target for each pair, in the order of the observation."""
        return tuple(self._target(symbol, candles) for symbol, candles in observation.candles.items())

    def _target(self, symbol: str, candles: Sequence[Candle]) -> Target:
        if len(candles) < self.warm_up_candles:
            return Target(symbol, None, 0.0, f"needs {self.warm_up_candles} candles and has {len(candles)}")
        close = pd.Series([candle.close for candle in candles[-self.warm_up_candles :]])
        bands = BollingerBands(close, self.window, self.deviations)
        low = (close < bands.bollinger_lband()) & (RSIIndicator(close).rsi() < self.most_rsi)
        back = close > bands.bollinger_mavg()
        last_low, last_back = low[low].index.max(), back[back].index.max()  # NaN where there was none
        held = bool(last_low > last_back) or bool(pd.isna(last_back) and low.any())
        reason = f"close {close.iloc[-1]:.6g}, mean {bands.bollinger_mavg().iloc[-1]:.6g}"
        return Target(symbol, self.share if held else 0.0, self.share / 4, reason)
