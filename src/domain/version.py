"""The version of the suite: the one place that names it; ``pyproject.toml`` reads it here."""

from typing import Final

VERSION: Final = "1.0.0"
VERSION_LINE: Final = f"ai-crypto-trader {VERSION}"  # what every program answers to --version
