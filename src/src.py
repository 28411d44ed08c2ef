"""Lets ``python3 src/NAME.py`` import the package as ``src``: run that way, this file is found under the name.

Python then puts this folder, not the project's, in front of ``sys.path``. The two lines below make the module
that was found (this one) stand for the package around it, so ``from src.domain import ...`` works from any folder.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parent)]
