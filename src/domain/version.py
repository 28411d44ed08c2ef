"""The suite's version, the only one: pyproject.toml, the API, every process and ``--version`` tell it."""

from typing import Final

VERSION: Final = "0.1.0"
