"""Runs blocking fetches in parallel with one overall timeout."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Generic, TypeVar

from src.domain.clock import monotonic_s
from src.domain.errors import SourceUnavailable, SuiteError

T = TypeVar("T")


class ParallelFetcher(Generic[T]):
    """Fetches in background threads; a source that is late keeps running and is not asked again meanwhile.

    Args:
        wait_s: the longest duration of ``gather``, in wall seconds.
    """

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._running: dict[str, Future[T]] = {}

    def gather(self, asked: Mapping[str, Callable[[], T]]) -> tuple[dict[str, T], dict[str, str]]:
        """Return the answers by name, and the reasons for missing ones (``SourceUnavailable`` or too slow)."""
        until_s = monotonic_s() + self._wait_s
        for name, ask in asked.items():
            if name not in self._running:
                self._running[name] = _in_background(ask)
        found: dict[str, T] = {}
        refused: dict[str, str] = {}
        for name in asked:
            try:
                found[name] = self._running[name].result(max(until_s - monotonic_s(), 0.0))
            except SourceUnavailable as error:
                refused[name] = str(error)
            except TimeoutError:
                refused[name] = f"no answer within {self._wait_s:g} s"
                continue
            del self._running[name]
        return found, refused


def _in_background(ask: Callable[[], T]) -> Future[T]:
    """Start ``ask`` in a daemon thread: even resolving a host name may hang."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(ask())
        except SuiteError as error:
            future.set_exception(error)
        finally:
            if not future.done():  # an error in our own code: the thread prints its traceback
                future.set_exception(RuntimeError("a source failed with an unexpected exception"))

    threading.Thread(target=work, name="source", daemon=True).start()
    return future
