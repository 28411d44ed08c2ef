"""The two strategies that everything is compared with: holding nothing, and holding everything."""

from dataclasses import dataclass

from src.strategy.targets import PortfolioObservation, Target


@dataclass(frozen=True, slots=True)
class AlwaysFlat:
    """Holds nothing."""

    name: str = "always_flat"
    candle_interval: str = "1d"
    warm_up_candles: int = 1

    def targets(self, observation: PortfolioObservation) -> tuple[Target, ...]:
        """Return a target of 0 for each pair."""
        return tuple(Target(symbol, 0.0, 0.0, "holds nothing") for symbol in observation.candles)


@dataclass(frozen=True, slots=True)
class BuyAndHold:
    """Holds all pairs in equal parts of the equity at leverage 1, bought once; its band leaves drifting alone."""

    name: str = "buy_and_hold"
    candle_interval: str = "1d"
    warm_up_candles: int = 1
    kept_share: float = 0.01

    def targets(self, observation: PortfolioObservation) -> tuple[Target, ...]:
        """Return the same share for each pair; a hundredth stays free for fees."""
        share = (1.0 - self.kept_share) / max(len(observation.candles), 1)
        return tuple(Target(symbol, share, 0.98 * share, "equal parts") for symbol in observation.candles)
