"""Re-executes a script inside the project's virtual environment when another Python started it.

Knows the standard library alone: it runs before anything else can be imported.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_NEEDED: Final = "pydantic_settings"
_EX_CONFIG: Final = 78


def use_project_python() -> None:
    """Return where the libraries are at hand; else start the same command again with ``.venv``'s Python.

    Exits with 78 and one sentence where there is no such environment, or where it lacks the libraries too.
    """
    if find_spec(_NEEDED) is not None:
        return
    own = ROOT / ".venv" / "bin" / "python"
    if own.exists() and Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        os.execv(own, [str(own), *sys.orig_argv[1:]])  # noqa: S606  our own file, no shell
    sys.stderr.write("The libraries are not installed: run ./scripts/restart_all.sh once.\n")
    sys.exit(_EX_CONFIG)
