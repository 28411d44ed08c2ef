"""Checks a strategy file in a process that is ended when a call takes too long, and notes what passed."""

import json
import selectors
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from src.domain.clock import monotonic_s
from src.domain.errors import StrategyFailed
from src.runtime.settings import PROJECT_ROOT
from src.runtime.strategy_loader import StrategyFile

CALL_LIMIT_S: Final = 10.0
_SLICE_S: Final = 0.2


def check_strategy(file: StrategyFile, limit_s: float = CALL_LIMIT_S) -> dict[str, Any]:
    """Return the facts of a strategy that passes every check.

    Args:
        file: as it was read; the process that checks it reads it again, and refuses other bytes.
        limit_s: the longest that loading it or one decision may take.

    Raises:
        StrategyFailed: the first check that it does not pass, in one sentence.
    """
    command = [sys.executable, "-m", "src.backtest.strategy_probe", file.name, str(file.path.parent.resolve())]
    command.append(file.digest)
    with subprocess.Popen(  # noqa: S603 - our own module, no shell
        command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as child:
        try:
            answer = _outcome(child, file, limit_s)
        finally:
            child.kill()
    if "refused" in answer:
        raise StrategyFailed(str(answer["refused"]))
    facts: dict[str, Any] = answer["passed"]
    return facts


def _outcome(child: "subprocess.Popen[bytes]", file: StrategyFile, limit_s: float) -> Mapping[str, Any]:
    doing = "starting"
    for line in _lines(child, limit_s):
        if line is None:
            raise StrategyFailed(f"{file.path.name} took more than {limit_s:g} s for one call ({doing}).")
        answer = json.loads(line)
        if "doing" not in answer:
            return dict(answer)
        doing = answer["doing"]
    ended = child.wait()
    raise StrategyFailed(f"{file.path.name} ended the process that checked it ({doing}, exit {ended}).")


def _lines(child: "subprocess.Popen[bytes]", limit_s: float) -> Iterator[bytes | None]:
    """Yield the lines of the report, None when the next one is late; what the strategy prints is read and dropped."""
    unread, until_s = b"", monotonic_s() + limit_s + 10.0  # starting Python is not the strategy's doing
    with selectors.DefaultSelector() as ready:
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                ready.register(stream, selectors.EVENT_READ)
        while ready.get_map():
            for key, _ in ready.select(_SLICE_S):
                piece = key.fileobj.read1(65_536)  # type: ignore[union-attr]
                if not piece:
                    ready.unregister(key.fileobj)
                elif key.fileobj is child.stdout:
                    *whole, unread = (unread + piece).split(b"\n")
                    for line in whole:
                        until_s = monotonic_s() + limit_s
                        yield line
            if monotonic_s() >= until_s:
                yield None
                return


def facts_rows(file: StrategyFile, facts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return what the check found, a row for each thing that was proved."""
    figures = " ".join(f"{name}={value}" for name, value in facts["figures"].items()) or "none"
    alike = f"{facts['compared']} decisions"
    return [
        ("class", f"{facts['class']}: {facts['interval']} candles, {facts['warm_up']} of them to begin with"),
        ("pairs", ", ".join(facts["pairs"])),
        ("figures", figures),
        ("looks ahead", f"no: {alike} unchanged with other later candles, and with none"),
        ("deterministic", f"yes: {alike} the same when run anew, and with the pairs in another order"),
        ("outside access", "none: no file, socket, process or clock"),
        ("input", f"unchanged by {facts['decisions']} decisions"),
        ("targets", f"numbers within limits; other than 0 in {facts['invested']:.0%} of all"),
        ("slowest decision", f"{facts['slowest_ms']:g} ms"),
    ]
