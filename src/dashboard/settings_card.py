"""The card of all settings: value, default, meaning and origin of each; secrets only as set or not."""

from typing import Final

from src.dashboard.bot_view import BotView
from src.dashboard.widgets import Card, Cell, Fact, Row, Table, count, word, words
from src.runtime.settings import ENV_FILE
from src.runtime.settings_editor import SettingView, setting_views

_TONES: Final = {"environment": "warn", "file": "", "default": ""}


def settings_card(look: BotView) -> Card:
    """Return every setting of this installation as the dashboard read them at its start."""
    title = "Settings"
    if look.settings is None:
        return Card("settings", title, source="", reason="The settings are not known.")
    views = setting_views(look.settings, ENV_FILE)
    rows = tuple(_row(view) for view in views)
    facts = (
        Fact("Settings", count(len(views))),
        Fact("Changed in .env", count(sum(view.origin == "file" for view in views))),
        Fact("Set in the environment", count(sum(view.origin == "environment" for view in views))),
    )
    columns = ("Setting", "Value", "Default", "Origin", "What may stand there")
    table = Table("As this dashboard read them at its start", columns, rows, look="settings")
    notes = ("Every setting is read at the start of a process: a change takes effect with the next restart.",)
    return Card("settings", title, "data", look.wall_ms // 60_000 * 60_000, 3_600.0, "", facts=facts, tables=(table,),
                notes=notes)  # fmt: skip


def _row(view: SettingView) -> Row:
    value = word(view.value.upper(), "good" if view.value == "set" else "") if view.secret else words(view.value)
    cells = (
        words(view.name),
        value,
        words(view.default),
        Cell(view.origin, tone=_TONES[view.origin], raw=view.origin),
        words(view.meaning),
    )
    return Row(cells, key=f"setting-{view.name}")
