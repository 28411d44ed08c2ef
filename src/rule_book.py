"""Floor 3, shell: reads the named set of rules that the settings choose, with the figures that the settings change."""

from dataclasses import replace

from src.core.errors import SettingsError
from src.decision_rules import DecisionRules, load_rules
from src.settings import Settings


def read_rules(settings: Settings) -> DecisionRules:
    """Return the named set of decision rules, with the figures that the settings may change.

    Raises:
        SettingsError: the file is missing or wrong.
    """
    try:
        rules = load_rules(settings.rules_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError((f"RULES: {settings.rules_path.name} cannot be used: {error}.",)) from error
    return replace(
        rules,
        min_signal_strength=settings.min_signal_threshold,
        min_confidence=settings.min_confidence,
        exit_confidence=settings.exit_confidence,
        allow_short=settings.allow_short,
        max_candle_age_ms=int(settings.max_candle_age_s * 1_000),
        max_mark_age_ms=int(settings.max_mark_age_s * 1_000),
        max_account_age_ms=int(settings.max_account_age_s * 1_000),
    )
