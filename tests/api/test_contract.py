"""A fuzzer that reads the contract finds nothing that breaks it, and a reader leaves nothing behind."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from src.api.serving import WebServer
from tests.api.made import Made, make, state_of

pytestmark = pytest.mark.long

EXAMPLES = 200  # of each operation


@contextmanager
def served(made: Made) -> Iterator[str]:
    """The API on a real port of this process."""
    server, stop = WebServer(made.app, "127.0.0.1", 0), threading.Event()
    thread = threading.Thread(target=server.serve, args=(stop,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}/api/v1/openapi.json"
    finally:
        stop.set()
        thread.join(10)


def fuzz(address: str, folder: Path, *options: str) -> None:
    """Run schemathesis with all its checks; fails with what it found."""
    tool = str(Path(sys.executable).with_name("schemathesis"))
    wanted = ("--max-examples", str(EXAMPLES), "--seed", "1", "--checks", "all", "--no-color")
    done = subprocess.run(
        [tool, "run", address, *wanted, *options], cwd=folder, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-6000:]
    counts = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert counts is not None, done.stdout[-2000:]
    assert int(counts[1]) == int(counts[2]) > EXAMPLES


def test_a_reader_finds_no_fault_and_changes_nothing(tmp_path: Path) -> None:
    made = make(tmp_path, tries_a_minute=10**6)
    before = state_of(made)
    with served(made) as address:
        fuzz(address, tmp_path)
    assert state_of(made) == before
    made.close()


def test_a_holder_of_the_control_key_finds_no_fault(tmp_path: Path) -> None:
    made = make(tmp_path, calls_a_minute=10**6, tries_a_minute=10**6)
    token = made.keys.create("fuzzer", ("read", "control"))
    with served(made) as address:
        fuzz(address, tmp_path, "--include-method", "POST", "-H", f"Authorization: Bearer {token}")
    assert made.query("SELECT status FROM circuit_breaker_events WHERE bot_id = 'main' ORDER BY id DESC LIMIT 1")
    made.close()
