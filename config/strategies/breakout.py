"""A sample: buy the highest close of some weeks, leave at the lowest close of fewer."""

from collections.abc import Sequence
from dataclasses import dataclass

from src.domain.market import Candle
from src.strategy.targets import PortfolioObservation, Target


@dataclass(frozen=True)
class Breakout:
    """Hold a pair from its highest close of ``entry_days`` until its lowest close of ``exit_days``."""

    entry_days: int = 20
    exit_days: int = 10
    share: float = 0.25

    name = "breakout"
    candle_interval = "8h"
    pairs = ("BTCUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT")

    @property
    def warm_up_candles(self) -> int:
        """Three candles a day; four entry windows, so that the last entry or exit is among them."""
        return 4 * self.entry_days * 3

    def targets(self, observation: PortfolioObservation) -> tuple[Target, ...]:
        """Return one target for each pair, in the order of the observation."""
        return tuple(self._target(symbol, candles) for symbol, candles in observation.candles.items())

    def _target(self, symbol: str, candles: Sequence[Candle]) -> Target:
        if len(candles) < self.warm_up_candles:
            return Target(symbol, None, 0.0, f"needs {self.warm_up_candles} candles and has {len(candles)}")
        closes = [candle.close for candle in candles[-self.warm_up_candles :]]
        held, since = self._walk(closes)
        reason = f"{'above a high' if held else 'below a low'} for {since} candles" if since else "no breakout yet"
        return Target(symbol, self.share if held else 0.0, self.share / 4, reason)

    def _walk(self, closes: list[float]) -> tuple[bool, int]:
        """Return whether the pair is held after these closes, and for how many candles that has been so."""
        enter, leave, held, since = self.entry_days * 3, self.exit_days * 3, False, 0
        for place in range(enter, len(closes)):
            close, before = closes[place], held
            if close >= max(closes[place - enter : place]):
                held = True
            elif close <= min(closes[place - leave : place]):
                held = False
            since = since + 1 if held is before else 1
        return held, since
