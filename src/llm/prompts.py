"""Reads the instructions for models from ``config/prompts``; each has a version that is stored with every answer."""

import tomllib
from dataclasses import dataclass
from hashlib import blake2s
from pathlib import Path
from typing import Final

from src.domain.errors import SettingsError
from src.runtime.settings import PROJECT_ROOT

FOLDER: Final = PROJECT_ROOT / "config" / "prompts"
_LONGEST: Final = 8_000


@dataclass(frozen=True, slots=True)
class Prompt:
    """One instruction; ``text`` is sent as it is."""

    name: str
    version: int
    text: str

    @property
    def identity(self) -> str:
        """What is stored with an answer: name, version, and a digest of the text, so that no change goes unnoticed."""
        return f"{self.name}@{self.version}-{blake2s(self.text.encode(), digest_size=4).hexdigest()}"


def read_prompt(name: str, folder: Path = FOLDER) -> Prompt:
    """Return the instruction of that name.

    Raises:
        SettingsError: its file is missing or wrong.
    """
    path = folder / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError((f"config/prompts/{path.name} cannot be used: {error}.",)) from error
    version, text = table.get("version"), table.get("text")
    if set(table) != {"version", "text"} or type(version) is not int or not isinstance(text, str):
        raise SettingsError((f"config/prompts/{path.name} must hold a whole number version and a text, nothing else.",))
    words = " ".join(text.split())
    if version < 1 or not 0 < len(words) <= _LONGEST:
        raise SettingsError(
            (f"config/prompts/{path.name}: version must be at least 1, and the text 1 to {_LONGEST} characters long.",)
        )
    return Prompt(name, version, words)
