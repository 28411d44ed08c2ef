"""A copy of the project in a folder of its own, run by its scripts as a person runs it, on ports nobody uses."""

import json
import os
import random
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("paper_exchange", "rl_bot", "chart_bot", "mcp_server", "web_dashboard", "watcher")
PORTS = ("PAPER_PORT", "DASHBOARD_PORT", "MCP_PORT")
_SCRIPT_S = 180.0


@dataclass
class Clone:
    """One copy; ``settings`` are its environment's, beside which only a path and a home are known."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def run(self, script: str, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run ``scripts/NAME`` and return what it printed and how it ended."""
        return subprocess.run(
            [str(self.folder / "scripts" / script), *words],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.settings, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SCRIPT_S,
            check=False,
        )

    def pid(self, service: str) -> int:
        """Return the number in a service's PID file."""
        return int((self.folder / "logs" / f"{service}.pid").read_text(encoding="ascii").split()[0])

    def address(self, port: str) -> str:
        """Return ``http://127.0.0.1:PORT`` of one of ``PORTS``."""
        return f"http://127.0.0.1:{self.settings[port]}"

    def get(self, port: str, path: str) -> Any:
        """Return the JSON that one of its servers answers."""
        with urllib.request.urlopen(self.address(port) + path, timeout=20) as answer:
            return json.load(answer)


def environment() -> Path:
    """Return the installed environment beside the project; a test is skipped where there is none."""
    made = ROOT / ".venv"
    if not (made / "installed").exists():
        pytest.skip("run ./scripts/test.sh once: it makes the environment")
    return made.resolve()


def copy_project(folder: Path) -> Path:
    """Copy what belongs to the project into ``folder``, with the environment linked; return it."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-coz", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file() and not name.startswith("tests/"):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    (folder / ".venv").symlink_to(environment())
    return folder


def free_ports(count: int) -> list[int]:
    """Return ports on which nobody listens, below those from which the system takes its own for connections."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe:
            if port not in found and probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
    return found


@contextmanager
def cloned(folder: Path, **settings: str) -> Iterator[Clone]:
    """A copy with free ports and a synthetic market, everything of it stopped at the end."""
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    clone = Clone(copy_project(folder), {**ports, "PAPER_MARKET": "synthetic:5", **settings})
    try:
        yield clone
    finally:
        clone.run("stop_all.sh")
