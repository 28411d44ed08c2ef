"""Compiles a plain function with numba, together with the plain functions it calls, for tests of equal bits."""

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` compiled; what it calls by name from its own module or others is compiled likewise."""
    names = function.__globals__
    inner = {
        name: compiled(names[name])
        for name in function.__code__.co_names
        if isinstance(names.get(name), FunctionType) and names[name] is not function
    }
    copy = FunctionType(function.__code__, {**names, **inner}, function.__name__)
    return numba.njit(copy)
