"""Reads the rule sets of strategies of targets from ``config/rules``."""

from functools import lru_cache
from pathlib import Path
from typing import Final

from src.domain.errors import SettingsError
from src.runtime.settings_fields import PROJECT_ROOT
from src.strategy.rules import load_rules
from src.strategy.target_rules import TargetRules, load_target_rules

RULES_FOLDER: Final = PROJECT_ROOT / "config" / "rules"


def target_rule_names() -> tuple[str, ...]:
    """Return the names of the rule sets of target strategies."""
    return tuple(sorted(path.stem for path in RULES_FOLDER.glob("*.toml") if not _is_of_votes(path)))


def target_rules_of_file(name: str, others: tuple[str, ...] = ()) -> TargetRules:
    """Return the named rule set as its file says it; ``others`` are further names that a refusal shall mention.

    Raises:
        SettingsError: there is none, or it cannot be used.
    """
    path = RULES_FOLDER / f"{name}.toml"
    if name not in target_rule_names():
        known = ", ".join((*target_rule_names(), *others))
        raise SettingsError((f"There is no target strategy named {name!r}; available: {known}.",))
    try:
        return load_target_rules(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError((f"{path.name} cannot be used: {error}.",)) from error


@lru_cache(maxsize=16)
def pairs_of(name: str) -> tuple[str, ...]:
    """Return the pairs that a strategy of targets names; none for votes, and where its file cannot be used.

    Whoever reads the rules themselves says why it cannot be used.
    """
    if name not in target_rule_names():
        return ()
    try:
        return target_rules_of_file(name).pairs
    except SettingsError:
        return ()


def _is_of_votes(path: Path) -> bool:
    try:
        load_rules(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
