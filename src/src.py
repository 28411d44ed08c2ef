"""Lets ``python3 src/NAME.py`` import the package as ``src``: run that way, this file is found under the name.

Python then puts this folder, not the project's, in front of ``sys.path``. Setting ``__path__`` makes the module
that was found (this one) stand for the package around it, so ``from src.domain import ...`` works from any folder.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parent)]

from src.runtime.venv_reexec import use_project_python

use_project_python()
