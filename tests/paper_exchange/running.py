"""A paper exchange in a process of its own, for tests that want a real one on a real port."""

import json
import os
import select
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONTROL_TOKEN = "control-token-of-tests"
API_KEY = "paper".ljust(64, "0")
API_SECRET = "paper".ljust(64, "0")
READY_WITHIN_S = 30.0
ENDS_WITHIN_S = 5.0


@dataclass
class PaperExchange:
    """One running exchange: where it listens, and its control paths."""

    process: subprocess.Popen[str]
    host: str
    port: int
    state: Path
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://{self.host}:{self.port}"

    @property
    def socket_address(self) -> str:
        """``ws://127.0.0.1:PORT``."""
        return f"ws://{self.host}:{self.port}"

    def control(self, method: str, path: str, **command: Any) -> Any:
        """Ask the control port: ``control("POST", "faults", kind="delay", delay_ms=500)``."""
        return control(self.address, method, path, **command)

    def fault(self, kind: str, *paths: str, **details: Any) -> Any:
        """Switch a fault on for these paths, once unless ``times`` or ``for_s`` says otherwise."""
        return self.control("POST", "faults", kind=kind, paths=list(paths), **details)

    def now_ms(self) -> int:
        """Return the market's time."""
        return int(self.get("/fapi/v1/time")["serverTime"])

    def get(self, path: str) -> Any:
        """GET a public path."""
        with urllib.request.urlopen(self.address + path, timeout=10) as answer:
            return json.load(answer)

    def stop(self) -> int:
        """Ask it to end (SIGTERM) and return its exit code."""
        self.process.terminate()
        return self.process.wait(ENDS_WITHIN_S)

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self.process.kill()
        self.process.wait(ENDS_WITHIN_S)


def control(address: str, method: str, path: str, **command: Any) -> Any:
    """Ask the control port of the exchange at ``address``."""
    body = json.dumps(command).encode() if method == "POST" else None
    request = urllib.request.Request(
        f"{address}/control/{path}", body, {"X-Control-Token": CONTROL_TOKEN}, method=method
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def environment(**settings: str) -> dict[str, str]:
    """The environment of a child: no setting but these reaches it, neither from .env nor from outside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PAPER_")}
    plain = {"PAPER_BALANCE": "10000", "PAPER_START": "", "PAPER_API_KEY": "", "PAPER_API_SECRET": ""}
    return {**kept, **plain, "PAPER_CONTROL_TOKEN": CONTROL_TOKEN, **settings}


def start(
    state: Path,
    *,
    market: str = "synthetic:7",
    speed: float = 1.0,
    start_at: str = "",
    port: int = 0,
    settings: Mapping[str, str] | None = None,
) -> PaperExchange:
    """Start an exchange on a free port and return it when it answers."""
    options = {"market": market, "speed": speed, "start_at": start_at, "settings": dict(settings or {})}
    process = subprocess.Popen(
        [
            sys.executable, "-m", "src.paper_exchange", "--host", "127.0.0.1", "--port", str(port),
            "--market", market, "--speed", str(speed), "--start", start_at, "--state", str(state),
        ],
        cwd=ROOT,
        env=environment(**options["settings"]),
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    found = _ready_line(process).split("http://")[1].split()[0].partition(":")
    return PaperExchange(process, found[0], int(found[2]), state, options)


def restart(old: PaperExchange) -> PaperExchange:
    """Start one anew on the same state file and the same port."""
    return start(old.state, port=old.port, **old.options)


@contextmanager
def running(state: Path, **options: Any) -> Iterator[PaperExchange]:
    """Start an exchange as ``start`` does, and end it (by its process number) whatever happens."""
    exchange = start(state, **options)
    try:
        yield exchange
    finally:
        if exchange.process.poll() is None:
            exchange.process.terminate()
        try:
            exchange.process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            exchange.kill()


def wait_until(seen: Any, within_s: float = 10.0, every_s: float = 0.02) -> Any:
    """Return the first true answer of ``seen()``; fails after ``within_s``."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        found = seen()
        if found:
            return found
        time.sleep(every_s)
    raise AssertionError(f"not seen within {within_s} s")


def _ready_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], READY_WITHIN_S)
    line = process.stdout.readline() if ready else ""
    if "ready" not in line:
        process.kill()
        raise AssertionError(f"the exchange did not start (exit code {process.wait(5)}): {line}")
    return line
