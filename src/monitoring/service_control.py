"""Starts and stops services for page and chat: a fixed list of scripts, each called without a shell."""

import logging
import subprocess
import threading
from pathlib import Path
from typing import Final

from src.storage.command_queue import DONE, FAILED, CommandResult

log = logging.getLogger(__name__)

SERVICE_VERBS: Final = ("start", "stop", "restart")
SERVICES: Final = {
    "rl_bot": "the trading bot",
    "chart_bot": "the chart bot",
    "mcp_server": "the API server",
    "paper_exchange": "the paper exchange",
}
_TIMEOUT_S: Final = 100.0  # a start waits a minute for its service to be well
_LONGEST: Final = 400


class ServiceController:
    """Runs ``scripts/start_NAME.sh VERB``, one at a time."""

    def __init__(self, root: Path) -> None:
        self._scripts = root / "scripts"
        self._lock = threading.Lock()

    def run(self, verb: str, service: str) -> CommandResult:
        """Start or stop a service and return what its script said; ``ValueError`` for what is not on the list."""
        if verb not in SERVICE_VERBS or service not in SERVICES:
            raise ValueError("no such service")
        script = self._scripts / f"start_{service}.sh"
        if not self._lock.acquire(blocking=False):
            return CommandResult(FAILED, "Another service is being started or stopped: wait for it.")
        try:
            done = subprocess.run(  # noqa: S603 - one of eight fixed command lines
                [str(script), verb],
                cwd=self._scripts.parent,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("service script failed: script=%s verb=%s reason=%s", script.name, verb, error)
            return CommandResult(FAILED, f"{script.name} {verb} did not end in order.")
        finally:
            self._lock.release()
        said = _last_line(done.stdout + done.stderr) or f"{script.name} {verb} ended with code {done.returncode}."
        return CommandResult(DONE if done.returncode == 0 else FAILED, said, after=f"exit code {done.returncode}")


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("\N{WHITE HEAVY CHECK MARK}", "\N{CROSS MARK}"))] or lines
    return telling[-1][:_LONGEST] if telling else ""
