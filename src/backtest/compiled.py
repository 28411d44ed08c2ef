"""Floor 4, wing: compiles the live loop's own functions, with all that they call, so that past years pass in seconds.

There is no second implementation: what runs compiled is the source of ``indicators``, ``signals``, ``rl_state``,
``rl_table`` and ``decision_rules`` as it stands, equal bit for bit (tested). Machine code is kept on disk under a
hash of those sources: a change of any of them compiles anew.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numba

_ROOT = Path(__file__).resolve().parents[2]
_SOURCES = ("src/*.py", "src/core/*.py", "src/backtest/*.py")
_made: dict[Callable[..., Any], Callable[..., Any]] = {}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` compiled together with the plain functions it calls by name; it frees the interpreter."""
    if function not in _made:
        _keep_code_apart()
        names = function.__globals__
        inner = {
            name: compiled(names[name])
            for name in function.__code__.co_names
            if isinstance(names.get(name), FunctionType) and names[name] is not function
        }
        copy = FunctionType(function.__code__, {**names, **inner}, function.__name__)
        copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
        _made[function] = numba.njit(copy, nogil=True, cache=True, error_model="numpy")
    return _made[function]


def _keep_code_apart() -> None:
    """Give the machine code of these very sources a folder of its own: the library looks at one file alone."""
    if _made:
        return
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _SOURCES for path in _ROOT.glob(pattern)):
        digest.update(path.read_bytes())
    vars(numba.config)["CACHE_DIR"] = str(_ROOT / "state" / "compiled" / digest.hexdigest()[:16])
