"""Keeps a status file of all services, for scripts that wait for several of them at once.

``python3 -m src.monitoring.status_file`` prints it; with a FILE it is rewritten whenever a state changes,
until the process that started it has ended.
The first line names the mode; a line for each running service follows: ``rl_bot 4711 healthy heartbeat 2 s ago, ...``.
One process writes it for all, since each start of Python and its libraries costs half a second of CPU time.
"""

import os
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from src.domain.clock import SystemClock
from src.domain.errors import SettingsError
from src.monitoring.health import SERVICES, ServiceHealth, recorded_process, service_health
from src.monitoring.notifications import Notifier
from src.runtime.settings import PROJECT_ROOT, Settings

_EVERY_MS: Final = 150.0
_PATIENCE_MS: Final = 300_000.0  # no start lasts longer

Running = tuple[str, int]


def running_services(folder: Path) -> list[Running]:
    """Return name and PID of each service whose PID file in ``folder`` names a process that runs."""
    found = ((name, recorded_process(folder / f"{name}.pid")) for name in SERVICES)
    return [(name, process[0]) for name, process in found if process is not None and process[1]]


def judged(settings: Settings, running: list[Running]) -> dict[Running, ServiceHealth]:
    """Return the health of each, checked in parallel, so that a slow server does not delay the others."""
    if not running:
        return {}
    with ThreadPoolExecutor(len(running)) as pool:
        answers = pool.map(lambda service: service_health(settings, *service), running)
        return dict(zip(running, answers, strict=True))


def sheet(mode: str, healths: Mapping[Running, ServiceHealth]) -> str:
    """Return the text of the status file."""
    lines = [f"mode {mode}"]
    for (name, pid), health in healths.items():
        lines.append(f"{name} {pid} {'healthy' if health.healthy else 'unhealthy'} {' '.join(health.reason.split())}")
    return "\n".join([*lines, ""])


def keep(settings: Settings, folder: Path, file: Path) -> None:
    """Write the status to ``file`` until the parent process ends; one that was healthy is not checked again."""
    parent, clock = os.getppid(), SystemClock()
    deadline_ms = clock.now_ms() + _PATIENCE_MS
    healthy: dict[Running, ServiceHealth] = {}
    written = replaced(file, sheet(settings.mode, {}))
    while os.getppid() == parent and clock.now_ms() < deadline_ms:
        running = running_services(folder)
        healths = judged(settings, [service for service in running if service not in healthy])
        healthy |= {service: health for service, health in healths.items() if health.healthy}
        text = sheet(settings.mode, {service: healthy.get(service) or healths[service] for service in running})
        if text != written:
            written = replaced(file, text)
        clock.wait(threading.Event(), _EVERY_MS)


def replaced(file: Path, text: str) -> str:
    """Replace ``file`` atomically by ``text``; return it."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)
    return text


def main(arguments: list[str]) -> int:
    """Print the status, or keep writing it to a file; return the exit code."""
    try:
        settings = Settings.load()
        if arguments:  # at a start, find wrong settings before anything is stopped
            Notifier.from_settings(settings)
    except SettingsError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 78
    folder = PROJECT_ROOT / "logs"
    if arguments:
        keep(settings, folder, Path(arguments[0]))
    else:
        print(sheet(settings.mode, judged(settings, running_services(folder))), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
