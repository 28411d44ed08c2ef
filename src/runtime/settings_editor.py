"""Changes settings in ``.env``: validated as a whole like at start-up, written atomically.

A change with which the suite would not start is refused. Secrets can be set but are never returned.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

from dotenv import dotenv_values
from pydantic import SecretStr

from src.domain.errors import SettingsError
from src.runtime.env_file import changes_in, edited, read_env, value_in, write_env
from src.runtime.settings import Settings, origin_of

MOST_CHANGES: Final = 50
LONGEST_VALUE: Final = 500
HIDDEN: Final = "(hidden)"
LOCKED: Final = frozenset({"BOT_CONTROL_PIN", "FLASK_SECRET_KEY", "DATABASE_URL", "BOT_ID"})
"""Changed only in the file: with them a dashboard user could admit others or point the bot at other data."""


@dataclass(frozen=True, slots=True)
class SettingView:
    """One setting for display; ``value`` of a secret says whether it is set."""

    name: str
    value: str
    default: str
    meaning: str
    origin: str
    secret: bool
    locked: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """One change, before and after; secrets are hidden."""

    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A validated change: its differences, its problems, and the file's new content (None if refused)."""

    differences: tuple[Difference, ...]
    problems: tuple[str, ...]
    content: bytes | None = None


def setting_views(settings: Settings, env_file: Path) -> list[SettingView]:
    """Return every setting in the order in which they are declared."""
    file_names = _names_in(env_file)
    found = []
    for name, field in type(settings).model_fields.items():
        value, default = getattr(settings, name), field.get_default()
        secret = isinstance(value, SecretStr) or name in type(settings).UNHASHED
        shown = ("set" if _text(value) else "not set") if secret else _text(value)
        usual = "" if secret else _text(default)
        origin = origin_of(name, file_names)
        meaning = field.description or ""
        found.append(SettingView(name.upper(), shown, usual, meaning, origin, secret, name.upper() in LOCKED))
    return found


def draft(settings: Settings, env_file: Path, wanted: Mapping[str, str]) -> Draft:
    """Return the effect of a change; nothing is written. ``EnvMissing`` if there is no file."""
    problems = _unwritable(settings, env_file, wanted)
    content = read_env(env_file)
    changes = changes_in(content, wanted)
    secret = _secrets(settings)
    told = tuple(
        Difference(each.name, *(HIDDEN, HIDDEN) if each.name in secret else (each.old or "", each.new))
        for each in changes
    )
    if problems or not changes:
        return Draft(told, tuple(problems or ("Nothing would change.",)))
    new = edited(content, changes)
    problems = _problems(type(settings), new, wanted)
    return Draft(told, tuple(problems), None if problems else new)


def apply(env_file: Path, checked: Draft) -> Path:
    """Write a draft without problems in one step; return the backup's path."""
    if checked.content is None:
        raise SettingsError(checked.problems or ("Nothing to write.",))
    return write_env(env_file, checked.content)


def _unwritable(settings: Settings, env_file: Path, wanted: Mapping[str, str]) -> list[str]:
    known = {name.upper() for name in type(settings).model_fields}
    file_names = _names_in(env_file)
    problems = []
    if len(wanted) > MOST_CHANGES:
        problems.append(f"Change at most {MOST_CHANGES} settings at once.")
    for name, value in wanted.items():
        if name not in known:
            problems.append(f"There is no setting {name[:40]!r}.")
        elif name in LOCKED:
            problems.append(f"{name} can only be changed in .env itself.")
        elif origin_of(name, file_names) == "environment":
            problems.append(f"{name} is set in the environment, which overrides .env: change it there.")
        elif len(value) > LONGEST_VALUE or not value.isprintable():
            problems.append(f"{name} must be one line of at most {LONGEST_VALUE} characters.")
    return problems


def _problems(kind: type[Settings], content: bytes, wanted: Mapping[str, str]) -> list[str]:
    """Read the new content as at start-up, and return what would prevent a start."""
    written = dotenv_values(stream=StringIO(content.decode("utf-8-sig", errors="replace")))
    odd = [name for name, value in wanted.items() if (written.get(name) or "") != value]
    if odd:
        return [f"{', '.join(odd)} cannot be written like this: leave out quotes, # and surrounding spaces."]
    descriptor, name = tempfile.mkstemp(prefix="settings-", suffix=".env")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        kind.load(path)
    except SettingsError as error:
        return [problem.replace(str(path), ".env").replace(path.name, ".env") for problem in error.problems]
    finally:
        path.unlink(missing_ok=True)
    return []


def _names_in(env_file: Path) -> frozenset[str]:
    if not env_file.is_file():
        return frozenset()
    content = read_env(env_file)
    return frozenset(name.upper() for name in Settings.model_fields if value_in(content, name.upper()))


def _secrets(settings: Settings) -> frozenset[str]:
    hidden = {name for name, value in settings if isinstance(value, SecretStr)} | set(settings.UNHASHED)
    return frozenset(name.upper() for name in hidden)


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Path):
        return value.name if value.is_absolute() else str(value)
    return "" if value is None else str(value)
