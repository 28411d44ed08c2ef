"""The services of a soak beside bot and exchange: chart bot, dashboard, API, watcher, each a process of its own."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from src.domain.clock import SystemClock
from src.monitoring.health import heartbeat_health, web_health
from tests.paper_exchange.running import ROOT
from tests.suite.running import Bot, free_port

_WEB = {
    "mcp_server": ("MCP_PORT", "/api/v1/health", "/api/v1/readyz"),
    "web_dashboard": ("DASHBOARD_PORT", "/api/health", "/api/health"),
}
_COMMANDS = {"watcher": ["-m", "src.monitoring.watchdog"]}
_HEARTBEAT = "SELECT beat_at, interval_s, speed, cycle_no, phase, pid FROM bot_status WHERE process = '{}'"
_COLUMNS = ("beat_at", "interval_s", "speed", "cycle_no", "phase", "pid")


class Services:
    """They work on the bot's database, in the bot's folder."""

    names = ("chart_analysis_bot", "mcp_server", "web_dashboard", "watcher")

    def __init__(self, bot: Bot, settings: Mapping[str, str]) -> None:
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._bot = bot
        self._ports = {name: free_port() for name in _WEB}
        self._settings = {
            **settings,
            **{setting: str(self._ports[name]) for name, (setting, _, _) in _WEB.items()},
            "CHART_DIR": str(bot.folder / "charts"),
        }

    def start(self, name: str) -> None:
        """Start one, its output in a file of its name beside the bot's."""
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *_COMMANDS.get(name, [f"src/{name}.py"])],
                cwd=ROOT,
                env=self._bot.environment() | self._settings,
                stdout=log,
                stderr=log,
            )

    def kill(self, name: str) -> None:
        """End one as ``kill -9`` does."""
        self.processes[name].kill()
        self.processes[name].wait(5)

    def log(self, name: str) -> Path:
        """Where it writes."""
        return self._bot.folder / f"{name}.log"

    def address(self, name: str) -> tuple[int, str]:
        """Return port and path of what a web service says of the whole suite's health."""
        return self._ports[name], _WEB[name][1]

    def healthy(self, name: str) -> bool:
        """Return whether it says, by itself or by its heartbeat, that it does its work."""
        if name in _WEB:
            return web_health("127.0.0.1", self._ports[name], _WEB[name][2]).healthy
        rows = self._bot.rows(_HEARTBEAT.format(name))
        beat = dict(zip(_COLUMNS, rows[0], strict=True)) if rows else None
        return heartbeat_health(beat, SystemClock().now_ms(), self.processes[name].pid).healthy

    def died(self) -> list[str]:
        """Return the names of those that ended by themselves, with their exit codes."""
        return [f"{name} (exit code {each.returncode})" for name, each in self.processes.items() if each.poll()]

    def end(self) -> None:
        """End all that run, by their numbers."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait(5)
