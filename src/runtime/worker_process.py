"""Worker subprocess: JSON-lines requests over a socketpair; killed on timeout, stopped when idle.

Large libraries (drawing, model client, feeds) are loaded only there, so the parent stays small, and no request can
block it. The worker's log goes where the parent's goes. It ends by itself when the parent does.
"""

import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from src.domain.clock import monotonic_s
from src.domain.errors import SuiteError

log = logging.getLogger(__name__)

_LONGEST_LINE: Final = 4_000_000
_SLICE_S: Final = 0.2
_GRACE_S: Final = 2.0


class WorkerRequestFailed(SuiteError):
    """The worker did not complete the request: it reported an error, died, or took too long."""


class WorkerProcess:
    """The parent's side; use it from one thread.

    Args:
        module: run as ``python -m module``; serves with ``requests``.
        folder: where it runs, the project's root.
        arguments: passed to it; no secrets, since other users can read them.
    """

    def __init__(self, module: str, folder: Path, arguments: tuple[str, ...] = ()) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._unread = b""

    @property
    def pid(self) -> int | None:
        """The worker's PID, None while there is none."""
        return self._process.pid if self._process else None

    def ask(
        self,
        request: dict[str, Any],
        deadline_s: float,
        stop: threading.Event,
        while_waiting: Callable[[], object] = lambda: None,
    ) -> dict[str, Any]:
        """Send one request and return the answer; starts the worker when there is none.

        Args:
            request: any JSON object.
            deadline_s: after so many wall seconds the child is killed.
            stop: when set, the child gets two seconds to finish.
            while_waiting: called five times a second meanwhile.

        Raises:
            WorkerRequestFailed: it reported an error, died, was too late, or ``stop`` was set.
        """
        try:
            self._send(request)
            answer = json.loads(self._wait(deadline_s, stop, while_waiting))
        except OSError as error:
            self.end(0.0)
            raise WorkerRequestFailed(f"the worker process for {request.get('request')} has ended ({error})") from error
        if not answer.get("ok"):
            raise WorkerRequestFailed(str(answer.get("error") or "no reason given"))
        return dict(answer)

    def end(self, grace_s: float = _GRACE_S) -> None:
        """Stop the worker: it ends when its request is done, or is killed after ``grace_s``."""
        process, self._process = self._process, None
        if self._line is not None:
            self._line.close()
            self._line = None
        self._unread = b""
        if process is None:
            return
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _send(self, request: dict[str, Any]) -> None:
        if self._process is None or self._process.poll() is not None:
            self.end(0.0)
            self._start()
        if self._line is None:
            raise OSError("no line to it")
        self._line.sendall(json.dumps(request).encode() + b"\n")

    def _start(self) -> None:
        own, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                self._command, cwd=self._folder, stdin=other.fileno()
            )
        own.settimeout(_SLICE_S)
        self._line = own

    def _wait(self, deadline_s: float, stop: threading.Event, while_waiting: Callable[[], object]) -> bytes:
        until_s = monotonic_s() + deadline_s
        stopping = False
        while True:
            head, found, rest = self._unread.partition(b"\n")
            if found:
                self._unread = rest
                return head
            while_waiting()
            if stop.is_set() and not stopping:
                stopping, until_s = True, min(until_s, monotonic_s() + _GRACE_S)
            if monotonic_s() >= until_s:
                self.end(0.0)
                raise WorkerRequestFailed(
                    "stopped before it was done" if stopping else f"not done within {deadline_s:.0f} s"
                )
            self._read_some()

    def _read_some(self) -> None:
        if self._line is None:
            raise OSError("no line to it")
        try:
            piece = self._line.recv(65_536)
        except TimeoutError:
            return
        if not piece:
            raise ConnectionError("it ended")
        self._unread += piece
        if len(self._unread) > _LONGEST_LINE:
            raise ConnectionError("its answer has no end")


@contextmanager
def requests() -> Iterator[tuple[Iterator[dict[str, Any]], Callable[[dict[str, Any]], None]]]:
    """The worker's side: yield the requests as they come, until the parent disconnects, and the way to answer."""
    with socket.socket(fileno=0) as line, line.makefile("rb") as incoming:

        def asked() -> Iterator[dict[str, Any]]:
            for text in incoming:
                yield dict(json.loads(text))

        def answer(said: dict[str, Any]) -> None:
            with suppress(ConnectionError):  # the parent died meanwhile: there are no further requests, either
                line.sendall(json.dumps(said).encode() + b"\n")

        yield asked(), answer
