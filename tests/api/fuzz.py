"""A fuzzer that reads the contract, let at the API: python -m tests.api.fuzz [--examples 200] [--seed 1]

Runs schemathesis with all its checks at every operation, as a reader without a key and as the holder of a key with
the scope ``control``. Prints how many calls were made, what was found, and a hash of all rows before and after: a
reader changes none, the holder of the key the circuit breaker's events alone. Ends 1 with a finding or a change.
"""

import argparse
import hashlib
import logging
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from src.api.server import ApiServer
from tests.api.made import Made, make, state_of

_EVENTS = "circuit_breaker_events"
_LONGEST_S = 3_600


@dataclass(frozen=True)
class Fuzzed:
    """What came of a run: calls made and passed, the tool's last words, hashes of the rows before and after."""

    calls: int
    passed: int
    clean: bool
    words: str
    before: str
    after: str
    took_s: float

    @property
    def good(self) -> bool:
        """Whether nothing was found and nothing changed."""
        return self.clean and 0 < self.calls == self.passed and self.before == self.after


def fuzz_as_reader(folder: Path, examples: int, seed: int = 1) -> Fuzzed:
    """Ask everything without a key, deeds too, which must be refused; no row may change."""
    made = make(folder, tries_a_minute=10**9)
    try:
        return _fuzz(made, folder, examples, seed)
    finally:
        made.close()


def fuzz_as_holder(folder: Path, examples: int, seed: int = 1) -> Fuzzed:
    """Ask everything with a key of the scope ``control``; only the breaker's events may change."""
    made = make(folder, calls_a_minute=10**9, tries_a_minute=10**9)
    token = made.keys.create("fuzzer", ("read", "control"))
    try:
        return _fuzz(made, folder, examples, seed, "-H", f"Authorization: Bearer {token}", leave_out=_EVENTS)
    finally:
        made.close()


def _fuzz(made: Made, folder: Path, examples: int, seed: int, *options: str, leave_out: str = "") -> Fuzzed:
    tool = str(Path(sys.executable).with_name("schemathesis"))
    wanted = ("--max-examples", str(examples), "--seed", str(seed), "--checks", "all", "--no-color")
    before, began = _hash(made, leave_out), time.monotonic()
    with _served(made) as address:
        done = subprocess.run(
            [tool, "run", address, *wanted, *options], cwd=folder, capture_output=True, text=True, timeout=_LONGEST_S
        )
    took_s = time.monotonic() - began
    counts = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    calls, passed = (int(counts[1]), int(counts[2])) if counts else (0, 0)
    words = done.stdout[-6_000:] + done.stderr[-2_000:]
    return Fuzzed(calls, passed, done.returncode == 0, words, before, _hash(made, leave_out), took_s)


@contextmanager
def _served(made: Made) -> Iterator[str]:
    """The API on a real port of this process; yields the address of its contract."""
    server, stop = ApiServer(made.app, "127.0.0.1", 0), threading.Event()
    thread = threading.Thread(target=server.serve, args=(stop,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}/api/v1/openapi.json"
    finally:
        stop.set()
        thread.join(10)


def _hash(made: Made, leave_out: str) -> str:
    rows = [table for table in state_of(made) if table[0] != leave_out]
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def main() -> int:
    """Fuzz and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=200, help="of each operation")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("src.api").setLevel(logging.ERROR)  # hundreds of wrong keys are meant to be wrong
    good = True
    for name, fuzz in (("a reader without a key", fuzz_as_reader), ("a holder of the control key", fuzz_as_holder)):
        with tempfile.TemporaryDirectory() as folder:
            done = fuzz(Path(folder), options.examples, options.seed)
        good = good and done.good
        print(f"{name}: {done.calls} calls, {done.passed} passed, {done.took_s:.0f} s")
        print(f"  rows before {done.before[:16]}, after {done.after[:16]}", flush=True)
        if not done.good:
            print(done.words)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
