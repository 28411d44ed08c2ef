"""Floor 3, shell: reads the named set of rules that the settings choose, with the figures that the settings change.

A set's own figures hold. One that is written in ``.env`` or the environment wins over the file, and wherever it says
something else than the file, ``changed_figures`` says so.
"""

from dataclasses import replace
from typing import Any, Final

from src.core.errors import SettingsError
from src.decision_rules import DecisionRules, load_rules
from src.settings import PROJECT_ROOT, Settings

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


def read_rules(settings: Settings) -> DecisionRules:
    """Return the named set of decision rules, with those figures changed that the settings name.

    Raises:
        SettingsError: the file is missing or wrong.
    """
    return replace(_of_file(settings), **_set_figures(settings))


def named(settings: Settings, rules: str) -> Settings:
    """Return the settings as they would be with another ``RULES``."""
    return settings.model_copy(update={"rules": rules})


def changed_figures(settings: Settings) -> tuple[str, ...]:
    """Return what the settings change in the named set of rules, such as ``MIN_SIGNAL_THRESHOLD=2 instead of 3``.

    Raises:
        SettingsError: as ``read_rules``.
    """
    rules, changed = _of_file(settings), _set_figures(settings)
    return tuple(
        f"{name.upper()}={_in_words(getattr(settings, name))} instead of {_in_words(_as_setting(name, rules))}"
        for name, figure in _FIGURES.items()
        if figure in changed and changed[figure] != getattr(rules, figure)
    )


def _of_file(settings: Settings) -> DecisionRules:
    path = settings.rules_path
    if path.stem != settings.rules or not path.is_file():
        known = ", ".join(sorted(each.stem for each in _FOLDER.glob("*.toml")))
        raise SettingsError((f"RULES: there are no rules named {settings.rules!r}; known are {known}.",))
    try:
        return load_rules(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError((f"RULES: {path.name} cannot be used: {error}.",)) from error


def _set_figures(settings: Settings) -> dict[str, Any]:
    given = {name: getattr(settings, name) for name in _FIGURES}
    return {
        _FIGURES[name]: int(value * 1_000) if name.endswith("_s") else value
        for name, value in given.items()
        if value is not None
    }


def _as_setting(name: str, rules: DecisionRules) -> Any:
    figure = getattr(rules, _FIGURES[name])
    return figure / 1_000 if name.endswith("_s") else figure


def _in_words(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"
