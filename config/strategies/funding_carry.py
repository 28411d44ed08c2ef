"""A sample: short where longs pay much funding, long where shorts do; it is meant to earn the payment, not the move."""

from collections.abc import Sequence
from dataclasses import dataclass

from src.domain.funding import FundingRate
from src.strategy.targets import PortfolioObservation, Target


@dataclass(frozen=True)
class FundingCarry:
    """Hold the side that is paid while the mean rate of the last settlements is beyond ``least_rate``."""

    settlements: int = 9
    least_rate: float = 0.0002
    share: float = 0.2

    name = "funding_carry"
    candle_interval = "8h"
    warm_up_candles = 10
    pairs = ("BTCUSDT", "SOLUSDT", "BNBUSDT", "DOGEUSDT")

    def targets(self, observation: PortfolioObservation) -> tuple[Target, ...]:
        """Return one target for each pair, in the order of the observation."""
        return tuple(self._target(symbol, observation.funding.get(symbol, ())) for symbol in observation.candles)

    def _target(self, symbol: str, settled: Sequence[FundingRate]) -> Target:
        if len(settled) < self.settlements:
            return Target(symbol, None, 0.0, f"needs {self.settlements} settlements and knows {len(settled)}")
        mean = sum(each.rate for each in settled[-self.settlements :]) / self.settlements
        weight = 0.0 if abs(mean) < self.least_rate else -self.share if mean > 0 else self.share
        return Target(symbol, weight, self.share / 4, f"mean funding {mean:.4%} over {self.settlements} settlements")
