"""Compiles the live functions and everything they call with numba, for speed over past years.

There is no second implementation: what runs compiled is the source of ``indicators``, ``signals``, ``rl_state``,
``rl_table`` and ``decision_rules`` as it stands, equal bit for bit (tested). Machine code is kept on disk under a hash
of the files it was made from: a change of any of them compiles anew.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import numba

_FOLDER = Path(__file__).resolve().parents[2] / "state" / "compiled"
_made: dict[Callable[..., Any], Callable[..., Any]] = {}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` compiled together with the plain functions it calls by name; it frees the interpreter."""
    if function not in _made:
        names = function.__globals__
        inner = {name: compiled(called) for name, called in _called(function)}
        copy = FunctionType(function.__code__, {**names, **inner}, function.__name__)
        copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
        # The library's own watch is kept over one file alone, not over those of the functions called.
        vars(numba.config)["CACHE_DIR"] = str(_FOLDER / _digest(function))
        _made[function] = numba.njit(copy, nogil=True, cache=True, error_model="numpy")
    return _made[function]


def _called(function: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    names = function.__globals__
    for name in function.__code__.co_names:
        if isinstance(names.get(name), FunctionType) and names[name] is not function:
            yield name, names[name]


def _digest(function: Callable[..., Any]) -> str:
    """Return a hash of the files in which ``function`` and all that it calls are written, and of their constants."""
    seen: set[Callable[..., Any]] = set()
    waiting = [function]
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            waiting += (called for _, called in _called(each))
    digest = hashlib.sha256()
    for file in sorted({each.__code__.co_filename for each in seen}):
        digest.update(Path(file).read_bytes())
    for name, value in sorted({each for function in seen for each in _constants(function)}):
        digest.update(f"{name}={value!r};".encode())
    return digest.hexdigest()[:16]


def _constants(function: Callable[..., Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers that ``function`` reads by name: they may be imported from a file that it does not call."""
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, int | float):
            yield name, value
