"""What a guided search may vary: figures with their candidate values, or ranges between two numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Protocol

from src.backtest.variants import Variant, parse_grid, value_of
from src.domain.errors import SettingsError

_DIGITS = 4


class Suggests(Protocol):
    """The part of an Optuna trial that proposes values."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Return a whole number in ``low..high``."""

    def suggest_float(self, name: str, low: float, high: float) -> float:
        """Return a number in ``low..high``."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Return one of the choices."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One figure. ``values`` are its candidates (numbers in their order); without any it lies in ``low..high``."""

    name: str
    kind: type
    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0

    def suggested(self, trial: Suggests) -> str:
        """Return the text of a value that the trial proposes."""
        if self.values and self.kind in (int, float, Decimal):
            return self.values[trial.suggest_int(self.name, 0, len(self.values) - 1)]  # the order of numbers is known
        if self.values:
            return trial.suggest_categorical(self.name, self.values)
        if self.kind is int:
            return str(trial.suggest_int(self.name, round(self.low), round(self.high)))
        return f"{trial.suggest_float(self.name, self.low, self.high):.{_DIGITS}g}"


def parse_space(words: Sequence[str], kinds: Mapping[str, type]) -> tuple[Dimension, ...]:
    """Return the dimensions of words such as ``share=0.1..0.5`` (a range) or ``days=10,20,40`` (candidates).

    Raises:
        SettingsError: a name that cannot be varied, no values, or one that is none of its kind.
    """
    return tuple(_dimension(word, kinds) for word in words)


def _dimension(word: str, kinds: Mapping[str, type]) -> Dimension:
    name, _, values = word.partition("=")
    low, dots, high = values.partition("..")
    if not dots:
        found = parse_grid([word], kinds)[name]
        kind = kinds[name]
        ordered = sorted(found, key=Decimal) if kind in (int, float, Decimal) else found
        return Dimension(name, kind, tuple(ordered))
    parse_grid([f"{name}={low},{high}"], kinds)  # refuses what cannot be varied, and ends that are no values
    kind = kinds[name]
    try:
        ends = Decimal(low), Decimal(high)
    except InvalidOperation as error:
        raise SettingsError((f"{word!r}: a range needs two numbers, such as {name}=0.1..0.5.",)) from error
    if kind not in (int, float, Decimal) or not ends[0] < ends[1]:
        raise SettingsError((f"{word!r}: a range needs a figure that is a number, and a lower end first.",))
    value_of(name, low, kind)
    return Dimension(name, kind, (), float(ends[0]), float(ends[1]))


def suggested(space: Sequence[Dimension], trial: Suggests) -> Variant:
    """Return the variant that a trial proposes."""
    return tuple((each.name, each.suggested(trial)) for each in space)
