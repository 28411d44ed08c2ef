"""The port of a strategy: from closed candles to the share of equity to hold in each pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from src.domain.funding import FundingRate
from src.domain.market import Candle


@dataclass(frozen=True, slots=True)
class PortfolioObservation:
    """All that a strategy over several pairs may know at ``now_ms``.

    ``candles`` holds the closed candles of the strategy's own interval, oldest first, by symbol. The first candle of
    each history must stay the same from call to call: smoothed figures depend on where a history begins. ``funding``
    holds what was settled until now, oldest first; a pair without a record has no entry.
    """

    now_ms: int
    candles: Mapping[str, Sequence[Candle]]
    funding: Mapping[str, Sequence[FundingRate]] = field(default_factory=dict)


class SpanForecast(NamedTuple):
    """What one look-back says: ``channel`` is -1, 0 or 1; ``momentum`` lies in -1..1."""

    days: int
    channel: int
    momentum: float


@dataclass(frozen=True, slots=True)
class Target:
    """What a strategy wants to hold of one pair.

    ``weight`` is the signed notional as a share of equity, None where the strategy cannot say: then what is held
    stays. ``band`` is how far the held share may be away from ``weight`` before it is traded. ``signal`` is the
    forecast that the weight comes from, ``volatility`` the yearly one, both NaN where unknown.
    """

    symbol: str
    weight: float | None
    band: float
    reason: str
    signal: float = float("nan")
    volatility: float = float("nan")
    spans: tuple[SpanForecast, ...] = ()


class Strategy(Protocol):
    """Turns closed candles into targets. A pure function of its observation: the same candles, the same targets."""

    @property
    def name(self) -> str:
        """The name of the rule set."""

    @property
    def candle_interval(self) -> str:
        """The candles it looks at, such as ``8h``; it decides when one closes."""

    @property
    def warm_up_candles(self) -> int:
        """How many closed candles a pair needs before it has a target."""

    def targets(self, observation: PortfolioObservation) -> tuple[Target, ...]:
        """Return one target for each pair of the observation, in its order."""


class StrategyWrapper:
    """What a strategy that wraps another one says of itself: name, candles and warm-up are those of the other."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy

    @property
    def name(self) -> str:
        """The name of the strategy."""
        return self._strategy.name

    @property
    def candle_interval(self) -> str:
        """The candles it looks at."""
        return self._strategy.candle_interval

    @property
    def warm_up_candles(self) -> int:
        """How many closed candles a pair needs before it has a target."""
        return self._strategy.warm_up_candles


class UserStrategy(Strategy, Protocol):
    """A strategy of a user's file: a frozen dataclass whose fields are its figures."""

    @property
    def pairs(self) -> tuple[str, ...]:
        """The pairs that it is made for; settings and options may name others."""

    @property
    def figures(self) -> Mapping[str, Any]:
        """The figures in force, by name."""
