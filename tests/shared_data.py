"""Where the tests find real candles: the folder ``../shared/data`` beside the checkout, never in the project."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def shared_folder() -> Path:
    """Return the folder of real data (``SHARED_DATA`` or ``../shared/data``), which may not exist."""
    return Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))


def shared_file(name: str) -> Path:
    """Return the file of that name; skips the test, saying why, where it is missing."""
    path = shared_folder() / name
    if not path.is_file():
        pytest.skip(f"needs {name} in ../shared/data beside the checkout")
    return path
