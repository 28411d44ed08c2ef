"""Re-executes a command inside the project's virtual environment when another Python started it.

``src/__init__.py`` and ``src/src.py`` call ``use_project_python`` before anything else of the project is imported, so
it works for ``python3 src/NAME.py``, ``python3 -m src.NAME``, the scripts at the root, and for snippets. Uses only the
standard library.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
ENVIRONMENT: Final = ROOT / ".venv"
_NEEDED: Final = ("pydantic_settings", "numpy", "sqlalchemy", "binance", "aiohttp", "flask", "apiflask", "orjson")
_EX_CONFIG: Final = 78


def use_project_python() -> None:
    """Return if the project's libraries can be imported; else start the same command again with ``.venv``'s Python.

    A command of the project always runs inside ``.venv`` if there is one. A snippet (``python3 -c``, standard input,
    the prompt) cannot be re-executed; it uses the libraries of ``.venv``. Another virtual environment is used if it has
    the libraries. If there is neither environment nor libraries, the environment is created first.

    Exits with 78 and one sentence if the libraries are not available.
    """
    if Path(sys.prefix).resolve() == ENVIRONMENT.resolve():
        return
    elsewhere = sys.prefix != sys.base_prefix
    if find_spec(_NEEDED[0]) is not None if elsewhere else not _own().exists() and _complete():
        return
    if not _own().exists():
        _make_environment()
    if _is_our_command() or (sys.argv[:1] == ["-c"] and not _libraries().is_dir()):
        os.execv(_own(), [str(_own()), *sys.orig_argv[1:]])  # noqa: S606  our own file, no shell
    if not _complete():
        _borrow_libraries()


def _own() -> Path:
    return ENVIRONMENT / "bin" / "python"


def _complete() -> bool:
    """Return whether this Python has the libraries itself, as in the container image."""
    return all(find_spec(name) is not None for name in _NEEDED)


def _is_our_command() -> bool:
    """Return whether a file or module of the project was started, not a snippet or another program."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # what Python calls it while it looks for the module
        place = sys.orig_argv.index("-m") + 1 if "-m" in sys.orig_argv else 0
        return sys.orig_argv[place].split(".")[0] == "src"
    if program in ("", "-", "-c"):
        return False
    path = Path(program).resolve()
    return path.parent in (ROOT, ROOT / "src") or ROOT / "src" in path.parents


def _make_environment() -> None:
    """Create ``.venv`` as the start scripts do; their output goes to standard error."""
    script = ROOT / "scripts" / "lib" / "environment.sh"
    command = ["bash", "-c", 'source "$1" && prepare_environment', "bash", str(script)]
    made = script.exists() and not subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL).returncode  # noqa: S603, PLW1510
    if not made or not _own().exists():
        _refuse("The libraries are not installed: run ./scripts/restart_all.sh once.")


def _borrow_libraries() -> None:
    """Let this Python import the packages of ``.venv``, if it has the same version."""
    if not _libraries().is_dir():
        _refuse(f"This Python is not the version of the project's environment: type {_own()} instead.")
    sys.path.insert(0, str(_libraries()))


def _libraries() -> Path:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return ENVIRONMENT / "lib" / version / "site-packages"


def _refuse(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")
    sys.exit(_EX_CONFIG)
