"""The card of the rule sets: what each is in words and figures, and which can be switched to now."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from src.dashboard.bot_view import BotView
from src.dashboard.control import rule_sets
from src.dashboard.widgets import Card, Cell, Row, Table, Tile, word, words
from src.domain.errors import SettingsError
from src.runtime.settings import Settings
from src.runtime.target_files import target_rule_names, target_rules_of_file
from src.strategy.rules import DecisionRules, load_rules

NEEDS_MODEL: Final = "Needs a model of its own: write RULES into .env, retrain and restart."
_FIGURES: Final = (
    ("candle_interval", "Candles that are decided on"),
    ("votes", "Votes that count"),
    ("min_signal_strength", "Votes needed to enter"),
    ("exit_signal_strength", "Votes against to exit (0: as many as to enter)"),
    ("agent_must_agree", "Agent must agree"),
    ("min_confidence", "Agent's confidence to enter"),
    ("exit_confidence", "Agent's confidence to exit"),
    ("allow_short", "Short positions"),
    ("cut_losses_on_hold", "Close a losing position on HOLD"),
    ("min_holding_ms", "Shortest holding time"),
    ("stop_scale", "Stop, multiple of the setting"),
    ("target_scale", "Target, multiple of the setting"),
    ("size_scale", "Size, multiple of the setting"),
    ("calm_volatility_share", "Full size up to a volatility of"),
    ("trend_intervals", "Longer trends the agent sees"),
)


def rule_files(settings: Settings) -> dict[str, DecisionRules]:
    """Return the rule sets that can be read, by the name of their file."""
    found = {}
    for path in sorted(_folder(settings).glob("*.toml")):
        try:
            found[path.stem] = load_rules(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # a set that cannot be read cannot be chosen; the bot says so where it is asked for
    return found


def switchable(settings: Settings, names: Mapping[str, object]) -> dict[str, str]:
    """Return for each name why the running bot cannot switch to it, empty where it can."""
    like = "" if settings.mode == "paper" else settings.rules
    possible = rule_sets(_folder(settings), like)
    return {name: "" if name in possible else NEEDS_MODEL for name in names}


def _folder(settings: Settings) -> Path:
    return settings.project_root / "config" / "rules"


def rules(look: BotView) -> Card:
    """Return all rule sets side by side; figures that differ from those in force are marked."""
    settings = look.settings
    if settings is None:
        return Card("rules", "Rule sets", source="", reason="The settings are not known.")
    sets = rule_files(settings)
    current = str(look.details.get("rules") or settings.rules)
    refusals = switchable(settings, {name: None for name in sets if name != current})
    columns = ("Figure", *(f"{name}{', in force' if name == current else ''}" for name in sets))
    said = (words("In words"), *(words(each.description) for each in sets.values()))
    body = [Row(said, key="rule-words")]
    body += [_figure_row(field, title, sets, sets.get(current)) for field, title in _FIGURES]
    body.append(_switch_row(sets, current, refusals))
    table = Table("What each rule set says; * differs from the set in force", columns, tuple(body))
    targets = _targets_table(current)
    tile = Tile("Rules", words(current), Cell(f"{look.candle_interval} candles" if look.candle_interval else ""))
    seen = look.turned_ms if look.turned_ms is not None else look.wall_ms
    return Card("rules", "Rule sets", "data", seen, look.turn_s, "bot", tables=(targets, table), tiles=(tile,))


def _targets_table(current: str) -> Table:
    """Return the strategies of targets, from their files: which is in force, what each does and has shown."""
    rows = []
    for name in target_rule_names():
        try:
            rules = target_rules_of_file(name)
        except SettingsError as error:
            rows.append(Row((words(name), words(""), words(str(error)), *[words("")] * 3), key=f"targets-{name}"))
            continue
        force = word("in force", "good") if name == current else words("write RULES into .env and restart")
        limits = f"leverage {rules.limits.leverage}, stop {float(rules.limits.stop_loss_share) * 100:g} %"
        cells = (
            words(name),
            force,
            words(rules.description),
            words(", ".join(rules.pairs)),
            words(limits),
            words(rules.shown),
        )
        rows.append(Row(cells, key=f"targets-{name}"))
    columns = ("Strategy", "In force", "In words", "Pairs", "Limits", "What it has shown")
    return Table("Strategies of targets: what share of equity to hold of each pair", columns, tuple(rows))


def _figure_row(field: str, title: str, sets: Mapping[str, DecisionRules], present: DecisionRules | None) -> Row:
    cells = [words(title)]
    for each in sets.values():
        shown = _shown(field, getattr(each, field))
        differs = present is not None and getattr(each, field) != getattr(present, field)
        cells.append(Cell(f"{shown} *" if differs else shown, tone="warn" if differs else "", raw=shown))
    return Row(tuple(cells), key=f"rule-{field}")


def _switch_row(sets: Mapping[str, DecisionRules], current: str, refusals: Mapping[str, str]) -> Row:
    cells = [words("Switch while running")]
    for name in sets:
        if name == current:
            cells.append(words("in force"))
        else:
            cells.append(Cell(refusals[name] or "possible", tone="" if refusals[name] else "good"))
    return Row(tuple(cells), key="rule-switch")


def _shown(field: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    if field == "min_holding_ms":
        return f"{value / 3_600_000:g} h" if value else "none"
    if field == "calm_volatility_share":
        return f"{value * 100:g} %" if value else "any"
    return f"{value:g}" if isinstance(value, float) else str(value)
