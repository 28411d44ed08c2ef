"""The REST client of python-binance without the optional parts that cost memory.

``import binance`` also loads an asynchronous client with aiohttp, RSA keys and a date parser: 17 MB and a third of a
second that a bot with REST and HMAC does not need. These parts are loaded when they are used.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader, find_spec, module_from_spec
from types import ModuleType
from typing import Any, Final

_SIGNING: Final = ("PublicKey.RSA", "PublicKey.ECC", "Hash.SHA256", "Signature.pkcs1_15", "Signature.eddsa")
_LATE: Final = frozenset({"dateparser", "pytz", *(f"Crypto.{name}" for name in _SIGNING)})


class _LateFinder(MetaPathFinder):
    """Finds the modules of ``_LATE``, to be loaded at their first use."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return what the usual finder returns, with a loader that waits; None for every other module."""
        spec = PathFinder.find_spec(name, path, target) if name in _LATE else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


class _LatePackage(ModuleType):
    """The package ``binance``, whose ``__init__`` runs at the first access to a name that only it defines."""

    def __getattr__(self, name: str) -> Any:
        """Run ``__init__``, then return the attribute."""
        spec = self.__spec__
        if name.startswith("__") or spec is None or spec.loader is None:
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]  # from now on it is an ordinary package
        spec.loader.exec_module(self)
        return getattr(self, name)


@contextmanager
def _only_what_is_used() -> Iterator[None]:
    """A context in which imports of the parts above are deferred; no effect if the library is already loaded."""
    spec = None if "binance" in sys.modules else find_spec("binance")
    if spec is not None:
        package = module_from_spec(spec)
        package.__class__ = _LatePackage
        sys.modules["binance"] = package
    finder = _LateFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


with _only_what_is_used():
    from binance.client import Client
    from binance.exceptions import BinanceAPIException, BinanceRequestException

__all__ = ["BinanceAPIException", "BinanceRequestException", "Client"]
