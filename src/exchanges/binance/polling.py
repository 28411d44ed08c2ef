"""Runs blocking REST calls for an event loop: a small thread pool with retries."""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from src.domain.clock import monotonic_s
from src.domain.errors import ExchangeError, ExchangeUnavailable, OrderRefused

log = logging.getLogger(__name__)
Result = TypeVar("Result")

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 30.0
_LONGEST_REFUSED_WAIT_S = 600.0  # a call that the exchange certainly refuses (a delisted contract) is repeated rarely


class BlockingCallPool:
    """Daemon threads for calls that must not block the loop.

    A ``SuiteError`` is passed to the caller; any other exception ends its thread, so that it is noticed.
    """

    def __init__(self, count: int) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._count = count

    def start(self) -> None:
        """Start the threads."""
        for number in range(self._count):
            threading.Thread(target=self._work, name=f"rest-{number}", daemon=True).start()

    async def do(self, ask: Callable[[], Result]) -> Result:
        """Return what ``ask`` returns, called in another thread."""
        answer: Future[Result] = Future()
        self._calls.put((ask, answer))
        return await asyncio.wrap_future(answer)

    def close(self) -> None:
        """Let the threads end once they are idle."""
        for _ in range(self._count):
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            ask, answer = call
            if not answer.set_running_or_notify_cancel():
                continue
            with suppress(RuntimeError):  # the calling loop was closed meanwhile
                try:
                    result = ask()
                except ExchangeError as error:
                    answer.set_exception(error)
                else:
                    answer.set_result(result)


@dataclass(slots=True)
class PollingTask:
    """A call made whenever ``is_due`` returns True: ``ask`` in a thread, ``use`` with its result in the loop.

    ``interval_s`` is the minimum number of wall seconds between two calls; it grows after a failure, which is logged
    once.
    """

    name: str
    is_due: Callable[[], bool]
    ask: Callable[[], Any]
    use: Callable[[Any], None]
    interval_s: float = 0.0
    running: bool = False
    failures: int = 0
    not_before_s: float = 0.0
    last_error: str = ""

    def ready(self) -> bool:
        """Return whether it should run now."""
        return not self.running and monotonic_s() >= self.not_before_s and self.is_due()

    async def run(self, hands: BlockingCallPool) -> None:
        """Make the call; never raises for a failure of the exchange."""
        self.running = True
        try:
            answer = await hands.do(self.ask)
        except ExchangeError as error:
            self._note_failure(error)
        else:
            if self.failures:
                log.info("rest call works again: name=%s failures=%d", self.name, self.failures)
            self.failures, self.last_error = 0, ""
            self.not_before_s = monotonic_s() + self.interval_s
            self.use(answer)
        finally:
            self.running = False

    def _note_failure(self, error: ExchangeError) -> None:
        self.last_error = str(error)
        if not self.failures:
            log.warning("rest call failed: name=%s reason=%s", self.name, error)
        told_s = error.retry_after_s if isinstance(error, ExchangeUnavailable) else 0.0
        longest_s = _LONGEST_REFUSED_WAIT_S if isinstance(error, OrderRefused) else _LONGEST_WAIT_S
        wait_s = min(longest_s, _FIRST_WAIT_S * 2.0 ** min(self.failures, 10))
        self.failures += 1
        self.not_before_s = monotonic_s() + max(wait_s, told_s)
