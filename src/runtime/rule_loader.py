"""Loads the rule set that the settings name, with the values that the settings override.

A set's own figures hold. One that is written in ``.env`` or the environment wins over the file, and wherever it says
something else than the file, ``changed_figures`` says so.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from src.domain.errors import SettingsError
from src.domain.risk import RiskLimits
from src.runtime.settings import PROJECT_ROOT, Settings
from src.runtime.strategy_loader import STRATEGIES, LoadedStrategy, load_strategy, read_strategy_file, strategy_names
from src.strategy.rules import DecisionRules, limits_under, load_rules, unreachable_parts
from src.strategy.target_rules import TargetRules, load_target_rules

_FOLDER: Final = PROJECT_ROOT / "config" / "rules"
_FIGURES: Final = {
    "min_signal_threshold": "min_signal_strength",
    "min_confidence": "min_confidence",
    "exit_confidence": "exit_confidence",
    "allow_short": "allow_short",
    "max_candle_age_s": "max_candle_age_ms",
    "max_mark_age_s": "max_mark_age_ms",
    "max_account_age_s": "max_account_age_ms",
}
"""The settings that may stand in for a figure of the rules, and that figure."""

_SHARES: Final = {
    "stop_loss_percentage": ("stop_scale", "stop_loss_share"),
    "take_profit_percentage": ("target_scale", "take_profit_share"),
    "position_percentage": ("size_scale", "position_share"),
}
"""The shares that a rule set scales as long as nobody writes them: the scale, and the limit of risk it acts on."""


@dataclass
class RuleSets:
    """The rule sets there are: how one is read by name, which is in force, which the settings name.

    ``changes`` tells which figures of a named set the settings change.
    """

    read: Callable[[str], tuple[DecisionRules, RiskLimits]]
    configured: str
    current: str
    changes: Callable[[str], tuple[str, ...]] = lambda _name: ()


def read_rules(settings: Settings) -> DecisionRules:
    """Return the named set of decision rules, with those figures changed that the settings name.

    Raises:
        SettingsError: the file is missing or wrong, or a partial target lies beyond the target.
    """
    rules = replace(_of_file(settings), **_set_figures(settings))
    late = unreachable_parts(rules, limits_under(rules, settings.risk_limits))
    if late:
        raise SettingsError((f"RULES: {late}.",))
    return rules


def refuse_unnamed(settings: Settings) -> None:
    """Raise ``SettingsError`` where money would be traded by rules that nobody chose.

    The sentence names the sets there are and what each has shown.
    """
    if settings.mode != "live" or "rules" in settings.model_fields_set:
        return
    known = (
        load_rules(path.read_text(encoding="utf-8")) for path in sorted(_FOLDER.glob("*.toml")) if _is_of_votes(path)
    )
    sets = "; ".join(f"{rules.name} ({rules.shown or 'nothing shown yet'})" for rules in known)
    reason = f"RULES names no strategy, and live trading starts only with one that you chose. There are: {sets}."
    raise SettingsError((f"{reason} What the figures rest on is in docs/results.md.",))


def named(settings: Settings, rules: str) -> Settings:
    """Return the settings as they would be with another ``RULES``."""
    return settings.model_copy(update={"rules": rules})


def load_rule_sets(settings: Settings) -> RuleSets:
    """Return the sets that a person may choose among while the bot runs."""
    return RuleSets(
        lambda name: other_rules(settings, name),
        settings.rules,
        settings.rules,
        lambda name: changed_figures(named(settings, name)),
    )


def other_rules(settings: Settings, name: str) -> tuple[DecisionRules, RiskLimits]:
    """Return another named set and the limits of risk under it, for a bot that is running.

    Raises:
        SettingsError: there is no such set.
    """
    rules = read_rules(named(settings, name))
    return rules, limits_under(rules, settings.risk_limits)


def changed_figures(settings: Settings) -> tuple[str, ...]:
    """Return what the settings change in the named set of rules, such as ``MIN_SIGNAL_THRESHOLD=2 instead of 3``.

    Raises:
        SettingsError: as ``read_rules``.
    """
    rules, changed = _of_file(settings), _set_figures(settings)
    figures = tuple(
        f"{name.upper()}={_in_words(getattr(settings, name))} instead of {_in_words(_as_setting(name, rules))}"
        for name, figure in _FIGURES.items()
        if figure in changed and changed[figure] != getattr(rules, figure)
    )
    return figures + tuple(_changed_shares(settings, rules))


def _changed_shares(settings: Settings, rules: DecisionRules) -> Iterator[str]:
    """The written shares that differ from what the set makes of the defaults; a set may leave a share alone."""
    defaults = {limit: Settings.model_fields[name].default for name, (_, limit) in _SHARES.items()}
    meant = limits_under(rules, replace(settings.risk_limits, **defaults))
    for name, (scale, limit) in _SHARES.items():
        value = getattr(settings, name)
        if name in settings.model_fields_set and getattr(rules, scale) != 1.0 and value != getattr(meant, limit):
            yield f"{name.upper()}={_in_words(value)} instead of {_in_words(getattr(meant, limit))}"


def _of_file(settings: Settings) -> DecisionRules:
    path = settings.rules_path
    if path.stem != settings.rules or not path.is_file():
        known = ", ".join(sorted(each.stem for each in _FOLDER.glob("*.toml") if _is_of_votes(each)))
        raise SettingsError((f"RULES: there are no rules named {settings.rules!r}; known are {known}.",))
    try:
        return load_rules(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError((f"RULES: {path.name} cannot be used: {error}.",)) from error


def _is_of_votes(path: Path) -> bool:
    try:
        load_rules(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _set_figures(settings: Settings) -> dict[str, Any]:
    given = {name: getattr(settings, name) for name in _FIGURES}
    written = {scale: 1.0 for name, (scale, _) in _SHARES.items() if name in settings.model_fields_set}
    return written | {
        _FIGURES[name]: int(value * 1_000) if name.endswith("_s") else value
        for name, value in given.items()
        if value is not None
    }


def _as_setting(name: str, rules: DecisionRules) -> Any:
    figure = getattr(rules, _FIGURES[name])
    return figure / 1_000 if name.endswith("_s") else figure


def _in_words(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


_TARGET_LIMITS: Final = {
    "leverage": "leverage",
    "stop_loss_percentage": "stop_loss_share",
    "early_stop_percentage": "early_stop_share",
    "max_daily_loss_percentage": "max_daily_loss_share",
}
"""The settings that may stand in for a limit of a target strategy's rule set, and that limit."""


def read_target_rules(settings: Settings, name: str, folder: Path = STRATEGIES) -> TargetRules:
    """Return the named rule set of a target strategy, with those figures changed that the settings name.

    ``folder`` holds the users' strategies: one of that name is loaded, which runs its file.

    Raises:
        SettingsError: the file is missing or wrong, or a limit cannot be.
        StrategyFailed: a user's strategy cannot be loaded.
    """
    rules = _target_rules_of_file(name, folder)
    changed = {limit: getattr(settings, field) for field, limit in _set_target_limits(settings)}
    pairs = settings.pairs if _names_pairs(settings) else rules.pairs
    try:
        return replace(rules, limits=replace(rules.limits, **changed), pairs=pairs)
    except ValueError as error:
        raise SettingsError((f"{name}: {error} (limits that .env names win over the rule set's).",)) from error


def changed_target_figures(settings: Settings, name: str, folder: Path = STRATEGIES) -> tuple[str, ...]:
    """Return what the settings change in a target strategy's rule set, such as ``LEVERAGE=5 instead of 3``."""
    rules = _target_rules_of_file(name, folder)
    limits = tuple(
        f"{field.upper()}={getattr(settings, field)} instead of {getattr(rules.limits, limit)}"
        for field, limit in _set_target_limits(settings)
        if getattr(settings, field) != getattr(rules.limits, limit)
    )
    if not _names_pairs(settings) or settings.pairs == rules.pairs:
        return limits
    return (*limits, f"TRADING_PAIRS={','.join(settings.pairs)} instead of {','.join(rules.pairs)}")


def target_rule_names() -> tuple[str, ...]:
    """Return the names of the rule sets of target strategies."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml") if not _is_of_votes(path)))


def rules_of_strategy(strategy: LoadedStrategy) -> TargetRules:
    """Return a user's strategy as a rule set, with the pairs and limits of its class."""
    return TargetRules(
        name=strategy.name,
        description=strategy.description,
        tried=strategy.tried,
        pairs=strategy.pairs,
        limits=strategy.limits,
        own=strategy,
    )


def _target_rules_of_file(name: str, folder: Path) -> TargetRules:
    path = _FOLDER / f"{name}.toml"
    if name not in target_rule_names():
        own = strategy_names(folder)
        if name in own:
            return rules_of_strategy(load_strategy(read_strategy_file(name, folder)))
        known = ", ".join((*target_rule_names(), *own))
        raise SettingsError((f"There is no strategy of targets named {name!r}; known are {known}.",))
    try:
        return load_target_rules(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError((f"{path.name} cannot be used: {error}.",)) from error


def _set_target_limits(settings: Settings) -> list[tuple[str, str]]:
    return [(field, limit) for field, limit in _TARGET_LIMITS.items() if field in settings.model_fields_set]


def _names_pairs(settings: Settings) -> bool:
    return bool(settings.trading_pairs)
