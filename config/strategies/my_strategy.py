"""An example to begin with: hold what is above its slow average and rising. Copy it under another name, or change it.

A strategy is one frozen dataclass. Its fields are figures that a sweep may vary; ``targets`` says for each pair which
share of equity to hold: 0.3 is long 30 %, -0.3 short, 0 flat, None leaves what is held as it is. It sees closed candles
alone, keeps nothing between two calls, and reads nothing but its argument. docs/strategies.md tells the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from src.domain.market import Candle
from src.strategy.indicators import calculate_indicators
from src.strategy.targets import PortfolioObservation, Target


@dataclass(frozen=True)
class MyStrategy:
    """Hold a pair while its 21-candle average is above its 50-candle one and its trend is strong enough."""

    share: float = 0.3
    least_adx: float = 20.0

    name = "my_strategy"
    candle_interval = "4h"
    warm_up_candles = 250
    pairs = ("BTCUSDT", "SOLUSDT")

    def targets(self, observation: PortfolioObservation) -> tuple[Target, ...]:
        """Return one target for each pair, in the order of the observation."""
        return tuple(self._target(symbol, candles) for symbol, candles in observation.candles.items())

    def _target(self, symbol: str, candles: Sequence[Candle]) -> Target:
        if len(candles) < self.warm_up_candles:
            return Target(symbol, None, 0.0, f"needs {self.warm_up_candles} candles and has {len(candles)}")
        now = calculate_indicators(candles[-self.warm_up_candles :])
        rising = now.ema_21 > now.ema_50 and now.adx >= self.least_adx
        reason = f"EMA 21 at {now.ema_21:.6g}, EMA 50 at {now.ema_50:.6g}, ADX {now.adx:.0f}"
        return Target(symbol, self.share if rising else 0.0, self.share / 4, reason)
