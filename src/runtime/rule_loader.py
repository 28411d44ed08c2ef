"""Loads the rule set that the settings name, with the values that the settings override.

A setting in ``.env`` or the environment overrides the rule set's own value; ``changed_figures`` lists each one that
differs.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from src.domain.errors import SettingsError, StrategyFailed
from src.domain.risk import RiskLimits
from src.runtime.settings import Settings
from src.runtime.strategy_loader import STRATEGIES, LoadedStrategy, load_strategy, read_strategy_file, strategy_names
from src.runtime.strategy_process import checked_rules
from src.runtime.target_files import RULES_FOLDER, target_rule_names, target_rules_of_file
from src.strategy.rules import DecisionRules, limits_under, load_rules, unreachable_parts
from src.strategy.target_rules import TargetRules, is_target_rules, load_target_rules

_FIGURES: Final = {
    "min_signal_threshold": "min_signal_strength",
    "min_confidence": "min_confidence",
    "exit_confidence": "exit_confidence",
    "allow_short": "allow_short",
    "max_candle_age_s": "max_candle_age_ms",
    "max_mark_age_s": "max_mark_age_ms",
    "max_account_age_s": "max_account_age_ms",
}
"""The settings that can override a value of the rules, and that value."""

_SHARES: Final = {
    "stop_loss_percentage": ("stop_scale", "stop_loss_share"),
    "take_profit_percentage": ("target_scale", "take_profit_share"),
    "position_percentage": ("size_scale", "position_share"),
}
"""The shares that a rule set scales unless they are set: the scale, and the risk limit it applies to."""


_NEVER_MS: Final = 1 << 60


@dataclass
class RuleSets:
    """The available rule sets: how one is read by name, which is active, which the settings name.

    ``changes`` returns which values of a named set the settings override.
    """

    read: Callable[[str], tuple[DecisionRules, RiskLimits]]
    configured: str
    current: str
    changes: Callable[[str], tuple[str, ...]] = lambda _name: ()


def read_rules(settings: Settings) -> DecisionRules:
    """Return the named set of decision rules, with the values that the settings override.

    Raises:
        SettingsError: the file is missing or wrong, or a partial target lies beyond the target.
    """
    if names_targets(settings):
        return turn_rules(trading_target_rules(settings))
    rules = replace(_of_file(settings), **_set_figures(settings))
    late = unreachable_parts(rules, limits_under(rules, settings.risk_limits))
    if late:
        raise SettingsError((f"RULES: {late}.",))
    return rules


def names_targets(settings: Settings) -> bool:
    """Return whether ``RULES`` names a strategy of targets."""
    return settings.rules in (*target_rule_names(), *strategy_names())


def trading_target_rules(settings: Settings, stop: threading.Event | None = None) -> TargetRules:
    """Return the strategy of targets that ``RULES`` names, as it may trade, with the figures that the settings name.

    A user's own is not run in this process: it has passed its check, and decides in a process of its own, which
    ``stop`` ends.

    Raises:
        SettingsError: the file is missing or wrong, or a user's strategy has not passed its check.
    """
    if settings.rules not in strategy_names():
        return read_target_rules(settings, settings.rules)
    try:
        return _with_settings(settings, checked_rules(settings.state_dir, settings.rules, stop or threading.Event()))
    except StrategyFailed as error:
        raise SettingsError((f"RULES: {error}",)) from error


def turn_rules(rules: TargetRules) -> DecisionRules:
    """Return what a pair's minute turn needs under a strategy of targets: ages of data, and votes that never decide."""
    return DecisionRules(
        name=rules.name,
        description=rules.description,
        tried=rules.tried,
        shown=rules.shown,
        min_signal_strength=6,
        agent_must_agree=False,
        min_confidence=1.0,
        exit_confidence=1.0,
        cut_losses_on_hold=False,
        min_holding_ms=_NEVER_MS,
    )


def read_limits(settings: Settings, rules: DecisionRules) -> RiskLimits:
    """Return the limits of risk in force: those of the strategy's file, or the settings' as the votes scale them."""
    if names_targets(settings):
        return trading_target_rules(settings).limits.risk_limits()
    return limits_under(rules, settings.risk_limits)


def refuse_unnamed(settings: Settings) -> None:
    """Raise ``SettingsError`` if live trading would use rules that were not chosen explicitly.

    The sentence names the available sets and the results of each.
    """
    if settings.mode != "live" or "rules" in settings.model_fields_set:
        return
    known = [_any_rules(path) for path in sorted(RULES_FOLDER.glob("*.toml"))]
    sets = "; ".join(f"{rules.name} ({rules.shown or 'no results yet'})" for rules in known)
    reason = f"RULES is not set, and live trading needs an explicit choice. Available: {sets}."
    raise SettingsError((f"{reason} The evidence for these figures is in docs/results.md.",))


def named(settings: Settings, rules: str) -> Settings:
    """Return the settings with another ``RULES``."""
    return settings.model_copy(update={"rules": rules})


def load_rule_sets(settings: Settings) -> RuleSets:
    """Return the sets that can be selected while the bot runs."""
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
    targets = (*target_rule_names(), *strategy_names())
    if name != settings.rules and (name in targets or settings.rules in targets):
        ways = f"{settings.rules} and {name} decide in different ways"
        raise SettingsError((f"{ways}: write RULES={name} into .env and restart the bot.",))
    rules = read_rules(named(settings, name))
    return rules, limits_under(rules, settings.risk_limits)


def changed_figures(settings: Settings) -> tuple[str, ...]:
    """Return what the settings override in the named rule set, such as ``MIN_SIGNAL_THRESHOLD=2 instead of 3``.

    Raises:
        SettingsError: as ``read_rules``.
    """
    if names_targets(settings):
        own = trading_target_rules(settings) if settings.rules in strategy_names() else None
        return changed_target_figures(settings, settings.rules, written=own)
    rules, changed = _of_file(settings), _set_figures(settings)
    figures = tuple(
        f"{name.upper()}={_in_words(getattr(settings, name))} instead of {_in_words(_as_setting(name, rules))}"
        for name, figure in _FIGURES.items()
        if figure in changed and changed[figure] != getattr(rules, figure)
    )
    return figures + tuple(_changed_shares(settings, rules))


def _changed_shares(settings: Settings, rules: DecisionRules) -> Iterator[str]:
    """Return the set shares that differ from the rule set's scaled defaults."""
    defaults = {limit: Settings.model_fields[name].default for name, (_, limit) in _SHARES.items()}
    meant = limits_under(rules, replace(settings.risk_limits, **defaults))
    for name, (scale, limit) in _SHARES.items():
        value = getattr(settings, name)
        if name in settings.model_fields_set and getattr(rules, scale) != 1.0 and value != getattr(meant, limit):
            yield f"{name.upper()}={_in_words(value)} instead of {_in_words(getattr(meant, limit))}"


def _of_file(settings: Settings) -> DecisionRules:
    path = settings.rules_path
    if path.stem != settings.rules or not path.is_file():
        known = ", ".join(sorted(each.stem for each in RULES_FOLDER.glob("*.toml")))
        raise SettingsError((f"RULES: there are no rules named {settings.rules!r}; available: {known}.",))
    try:
        return load_rules(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError((f"RULES: {path.name} cannot be used: {error}.",)) from error


def _any_rules(path: Path) -> DecisionRules | TargetRules:
    text = path.read_text(encoding="utf-8")
    return load_target_rules(text) if is_target_rules(text) else load_rules(text)


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
"""The settings that can override a limit of a target strategy's rule set, and that limit."""


def read_target_rules(settings: Settings, name: str, folder: Path = STRATEGIES) -> TargetRules:
    """Return the named rule set of a target strategy, with the values that the settings override.

    ``folder`` holds the users' strategies: one of that name is loaded, which runs its file.

    Raises:
        SettingsError: the file is missing or wrong, or a limit is impossible.
        StrategyFailed: a user's strategy cannot be loaded.
    """
    return _with_settings(settings, _target_rules_of_file(name, folder))


def _with_settings(settings: Settings, rules: TargetRules) -> TargetRules:
    changed = {limit: getattr(settings, field) for field, limit in _set_target_limits(settings)}
    pairs = settings.pairs if _names_pairs(settings) else rules.pairs
    try:
        return replace(rules, limits=replace(rules.limits, **changed), pairs=pairs)
    except ValueError as error:
        raise SettingsError((f"{rules.name}: {error} (limits in .env override the rule set's).",)) from error


def changed_target_figures(
    settings: Settings, name: str, folder: Path = STRATEGIES, written: TargetRules | None = None
) -> tuple[str, ...]:
    """Return what the settings override in a target strategy's rule set, such as ``LEVERAGE=5 instead of 3``.

    ``written`` is the rule set where it is at hand, so that its file is not read.
    """
    rules = written or _target_rules_of_file(name, folder)
    limits = tuple(
        f"{field.upper()}={getattr(settings, field)} instead of {getattr(rules.limits, limit)}"
        for field, limit in _set_target_limits(settings)
        if getattr(settings, field) != getattr(rules.limits, limit)
    )
    if not _names_pairs(settings) or settings.pairs == rules.pairs:
        return limits
    return (*limits, f"TRADING_PAIRS={','.join(settings.pairs)} instead of {','.join(rules.pairs)}")


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
    """Return the named rule set, or the user's strategy of that name, as its file says it."""
    if name in target_rule_names() or name not in strategy_names(folder):
        return target_rules_of_file(name, strategy_names(folder))
    return rules_of_strategy(load_strategy(read_strategy_file(name, folder)))


def _set_target_limits(settings: Settings) -> list[tuple[str, str]]:
    return [(field, limit) for field, limit in _TARGET_LIMITS.items() if field in settings.model_fields_set]


def _names_pairs(settings: Settings) -> bool:
    return bool(settings.trading_pairs)
