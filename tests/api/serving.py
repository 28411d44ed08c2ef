"""The real server in a process of its own, on a filled database and a free port."""

import http.client
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import blake2s
from pathlib import Path
from typing import Any

from src.api.keys import KEYS_FILE
from src.domain.clock import SystemClock
from src.storage.database import TradingDatabase
from tests.api.made import beat, template
from tests.api.rows import OWNER
from tests.paper_exchange.running import ROOT, wait_until
from tests.suite.running import free_port

CANARY = "canary7" * 8  # what must never be seen


@dataclass
class Server:
    """One running server."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    @property
    def address(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All it has said."""
        return (self.folder / "server.log").read_text(encoding="utf-8")

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Any:
        """Return status, headers and body of one answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def answers(self) -> bool:
        """Return whether it answers yet."""
        try:
            return bool(self.ask("/api/v1/livez")[0] == 200)
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(12)


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """The environment of the server: nothing of this machine's own ``.env`` reaches it."""
    own = {
        "TRADING_MODE": "paper",
        "PAPER_MARKET": "synthetic",
        "BOT_ID": "api-" + blake2s(str(folder).encode(), digest_size=6).hexdigest(),  # two runs at once are two bots
        "DATABASE_URL": f"sqlite:///{folder}/api.db",
        "LOG_DIR": str(folder / "logs"),
        "STATE_DIR": str(folder / "state"),
        "LOG_LEVEL": "INFO",
        "MCP_HOST": "127.0.0.1",
        "MCP_PORT": "0",
        "FLASK_SECRET_KEY": CANARY,
        "BOT_CONTROL_PIN": "canary-pin-77",
        "PAPER_API_SECRET": CANARY[::-1],
        "API_CORS_ORIGINS": "",
    }
    return {**os.environ, **own, **settings}


def fill(folder: Path) -> None:
    """Put a filled database into the folder, with a bot that has just given a sign of life."""
    shutil.copy(template(), folder / "api.db")
    with closing(TradingDatabase(f"sqlite:///{folder}/api.db", OWNER)) as database:
        beat(database, SystemClock().now_ms())


def launch(folder: Path, port: int, **settings: str) -> subprocess.Popen[bytes]:
    """Start the server's process with its words in ``server.log``."""
    with (folder / "server.log").open("ab") as log:
        own = environment(folder, MCP_PORT=str(port), **settings)
        return subprocess.Popen([sys.executable, "src/mcp_server.py"], cwd=ROOT, env=own, stdout=log, stderr=log)


def keys_file(folder: Path) -> Path:
    """Where the server has its keys."""
    return folder / "state" / KEYS_FILE


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[Server]:
    """A server that answers; ended by its process number."""
    fill(folder)
    port = free_port()
    server = Server(launch(folder, port, **settings), port, folder)
    try:
        wait_until(lambda: server.process.poll() is not None or server.answers(), 60, 0.05)
        assert server.process.poll() is None, server.log
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait(5)
