"""The trading suite: one package for each domain; the modules beside them are the names that users call."""

from src.runtime.venv_reexec import use_project_python

use_project_python()
