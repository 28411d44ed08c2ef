"""The variants of a sweep: which parameters vary, in all combinations or sampled at random."""

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from src.backtest.config import Setup
from src.domain.errors import SettingsError
from src.domain.risk import RiskLimits
from src.strategy.rules import DecisionRules

Variant = tuple[tuple[str, str], ...]
"""Names of figures and their values as texts, in the order of the grid."""

_WORDS = ("name", "description", "tried", "shown", "evidence")
_RULES = {each.name: type(each.default) for each in fields(DecisionRules) if each.name not in _WORDS}
_LIMITS = {each.name: type(each.default) for each in fields(RiskLimits) if each.name not in ("exits", "entry")}
KINDS: Mapping[str, type] = _RULES | _LIMITS
"""The figures of votes that can be varied, with the kind of each: rules and limits."""


def parse_grid(words: Sequence[str], kinds: Mapping[str, type] = KINDS) -> dict[str, tuple[str, ...]]:
    """Return the values of each figure from words such as ``stop_loss_share=0.01,0.02`` or ``votes=ema+trend,macd``.

    ``kinds`` names the figures there are, with the kind of each: those of rules of votes and their limits by default.

    Raises:
        SettingsError: a name that is no rule and no limit, no values, or one that is no value of its kind.
    """
    grid: dict[str, tuple[str, ...]] = {}
    for word in words:
        name, _, values = word.partition("=")
        parts = tuple(part.strip() for part in values.split(",") if part.strip())
        if name not in kinds:
            raise SettingsError((f"{name!r} can not be varied; known are {', '.join(kinds)}.",))
        if not parts:
            raise SettingsError((f"{word!r} names no values; write {name}=A,B,C.",))
        grid[name] = _without_duplicates(name, parts, kinds[name])
    return grid


def _without_duplicates(name: str, parts: Sequence[str], kind: type) -> tuple[str, ...]:
    """Return the texts whose values differ, each as it was first written: 5, 5.0 and 5 again are one try."""
    first: dict[object, str] = {}
    for part in parts:
        first.setdefault(value_of(name, part, kind), part)
    return tuple(first.values())


def variants(grid: Mapping[str, Sequence[str]], sample: int = 0, seed: int = 7) -> list[Variant]:
    """Return all combinations of a grid, or ``sample`` different ones by chance, always the same for a seed."""
    total = math.prod(len(values) for values in grid.values())
    if not sample or sample >= total:
        return list(_all(grid))
    chosen = sorted(random.Random(seed).sample(range(total), sample))  # noqa: S311 - no secret depends on it
    return [_numbered(grid, number) for number in chosen]


def _all(grid: Mapping[str, Sequence[str]]) -> Iterator[Variant]:
    for values in itertools.product(*grid.values()):
        yield tuple(zip(grid, values, strict=True))


def _numbered(grid: Mapping[str, Sequence[str]], number: int) -> Variant:
    pairs = []
    for name, values in reversed(list(grid.items())):
        number, place = divmod(number, len(values))
        pairs.append((name, values[place]))
    return tuple(reversed(pairs))


def varied(setup: Setup, variant: Variant) -> Setup:
    """Return the setup with a variant's figures.

    Raises:
        SettingsError: a value cannot be.
    """
    rules: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for name, text in variant:
        kind = _RULES.get(name) or _LIMITS[name]
        (rules if name in _RULES else limits)[name] = value_of(name, text, kind)
    try:
        return replace(setup, rules=replace(setup.rules, **rules), limits=replace(setup.limits, **limits))
    except ValueError as error:
        raise SettingsError((f"{label(variant)}: {error}.",)) from error


def label(variant: Variant) -> str:
    """Return a variant in words, as it stands in tables."""
    return " ".join(f"{name}={value}" for name, value in variant) or "as given"


def value_of(name: str, text: str, kind: type) -> Any:
    """Return the value that a text of a grid means; ``SettingsError`` where it is none of its kind."""
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if name == "take_partial":
            return tuple(_pair(each) for each in text.split("+"))
        if kind is tuple:
            return tuple(text.split("+"))
        return Decimal(text) if kind is Decimal else kind(text)
    except (KeyError, ValueError, InvalidOperation) as error:
        raise SettingsError((f"{name}={text} is no value of kind {kind.__name__}.",)) from error


def _pair(text: str) -> tuple[float, float]:
    """Return a pair of move and part written as ``0.03:0.5``."""
    move, _, part = text.partition(":")
    return float(move), float(part)
