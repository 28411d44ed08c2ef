"""What a user's strategy must offer, which targets it may return, and what becomes of one that fails."""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from src.domain.errors import StrategyFailed
from src.domain.market import INTERVAL_MS
from src.strategy.target_rules import PortfolioLimits
from src.strategy.targets import PortfolioObservation, Strategy, StrategyWrapper, Target

MOST_SHARE = 3.0
"""The largest notional of one pair, as a multiple of equity, that a target may ask for."""
MOST_WARM_UP = 5_000
_INTERVALS = tuple(INTERVAL_MS)[1:]  # of single minutes nothing has been shown to earn its costs
_KINDS = (bool, int, float, str)


def misfit(strategy: object) -> str:
    """Return why an instance of a user's class cannot be used, in words; empty when it can."""
    made_how = getattr(strategy, "__dataclass_params__", None)
    if made_how is None or not made_how.frozen:
        return "the class must be a frozen dataclass: write @dataclass(frozen=True) above it"
    for name in ("name", "candle_interval", "warm_up_candles", "pairs"):
        if not hasattr(strategy, name):
            return f"the class has no {name}"
    held: Any = strategy
    if held.candle_interval not in _INTERVALS:
        return f"candle_interval is {held.candle_interval!r}; known are {', '.join(_INTERVALS)}"
    if type(held.warm_up_candles) is not int or not 1 <= held.warm_up_candles <= MOST_WARM_UP:
        return f"warm_up_candles is {held.warm_up_candles!r}; it must be a whole number in 1..{MOST_WARM_UP:,}"
    pairs = held.pairs
    if not isinstance(pairs, tuple) or not pairs or not all(isinstance(each, str) for each in pairs):
        return 'pairs must be a tuple of names, such as ("BTCUSDT",)'
    if not isinstance(getattr(held, "limits", PortfolioLimits()), PortfolioLimits):
        return "limits must be PortfolioLimits of src.strategy.target_rules"
    odd = [each.name for each in fields(held) if type(getattr(held, each.name)) not in _KINDS]
    return f"the figure {odd[0]} must be a number, a text, True or False" if odd else ""


def fault_of(found: object, symbols: Sequence[str]) -> str:
    """Return what is wrong with the targets of these pairs, in words; empty when they can be traded."""
    if not isinstance(found, tuple | list) or not all(isinstance(each, Target) for each in found):
        return f"targets() must return one Target for each pair, and it returned {type(found).__name__}"
    named = [each.symbol for each in found]
    if named != list(symbols):
        return f"targets() must return one target for each pair in the order {', '.join(symbols)}, not {named}"
    return next((fault for each in found if (fault := _fault_of_one(each))), "")


def _fault_of_one(target: Target) -> str:
    weight, band = target.weight, target.band
    if weight is not None and not _is_number(weight):
        return f"the target of {target.symbol} is {weight!r}, which is no number"
    if weight is not None and abs(weight) > MOST_SHARE:
        return f"the target of {target.symbol} is {weight:g} times the equity; at most {MOST_SHARE:g} is allowed"
    if not _is_number(band) or band < 0:
        return f"the band of {target.symbol} is {band!r}; it must be a number of at least 0"
    if not isinstance(target.reason, str) or not target.reason.strip():
        return f"the target of {target.symbol} gives no reason"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def plain(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Return targets with plain floats, whatever kind of number a strategy worked them out with."""
    return tuple(
        replace(each, weight=None if each.weight is None else float(each.weight), band=float(each.band))
        for each in targets
    )


class GuardedStrategy(StrategyWrapper):
    """A strategy whose failure is a HOLD: what is held stays, with its stop, and nothing new is opened."""

    def __init__(self, strategy: Strategy) -> None:
        super().__init__(strategy)
        self._failure = ""

    @property
    def failure(self) -> str:
        """Why its last decision failed, in one sentence; empty when it did not."""
        return self._failure

    def targets(self, observation: PortfolioObservation) -> tuple[Target, ...]:
        """Return one target for each pair: the strategy's, or none to trade where it failed."""
        try:
            found = self._strategy.targets(observation)
        except StrategyFailed as error:
            self._failure = str(error)
            return tuple(Target(each, None, 0.0, f"holds: {self._failure}") for each in observation.candles)
        self._failure = ""
        return found
