"""Restarts services that died or hang, with growing delays, and never one that a person stopped.

The start scripts keep a PID file while a service is supposed to run: a dead process with a PID file has crashed or was
killed (``kill -9``), without a PID file it was stopped. A service that shut down properly on a signal (``kill``,
``pkill``) leaves ``NAME.stopped`` instead of its PID file: it is not restarted, and this is logged. While a start fails
(which removes the PID file) ``NAME.wanted`` records that the service should run; ``stop`` removes it. Start scripts may
take a minute and are not waited for: every check polls whether they have ended.
"""

import logging
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from src.monitoring.health import ServiceHealth, recorded_process

log = logging.getLogger(__name__)

FIRST_REST_S: Final = 2.0
LONGEST_REST_S: Final = 300.0
HANGS_AFTER_S: Final = 180.0
GOOD_AFTER_S: Final = 600.0
_MANY: Final = 3
_SCRIPT_TIMEOUT_S: Final = 240.0


class ScriptRun(Protocol):
    """A running start script."""

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""

    def kill(self) -> None:
        """End it."""


Manage = Callable[[str, str], ScriptRun | None]
Ask = Callable[[str, int], ServiceHealth]


@dataclass(slots=True)
class ServiceState:
    """The supervision state of one service; seconds are monotonic."""

    dead_looks: int = 0
    unhealthy_since_s: float | None = None
    well_since_s: float | None = None
    failures: int = 0
    rest_until_s: float = 0.0
    verb: str = ""
    request: ScriptRun | None = None
    running_since_s: float = 0.0
    restarts_s: deque[float] = field(default_factory=lambda: deque(maxlen=20))

    def rest_s(self) -> float:
        """Return how long to wait before the next start."""
        return min(FIRST_REST_S * 2.0 ** max(self.failures - 1, 0), LONGEST_REST_S)


class Supervisor:
    """Supervises the services that start scripts have started.

    Args:
        names: of the services, in the order in which they are started.
        folder: where the PID files are.
        manage: runs a start script with a verb; None if the service has none.
        ask: returns the health of a service that runs as a PID.
        needs: for each service, the one that must not be starting at the same time.
    """

    def __init__(
        self, names: Sequence[str], folder: Path, manage: Manage, ask: Ask, needs: Mapping[str, str] | None = None
    ) -> None:
        self._folder = folder
        self._manage = manage
        self._ask = ask
        self._needs = needs or {}
        self._patients = {name: ServiceState() for name in names}

    def check(self, now_s: float) -> None:
        """Check every service once and restart those that need it."""
        for name, service_state in self._patients.items():
            if service_state.request is not None and not self._ended(name, service_state, service_state.request, now_s):
                continue
            self._note_stop(name)
            found = recorded_process(self._folder / f"{name}.pid")
            if found is None and not self._wanted(name).exists():
                self._patients[name] = ServiceState(restarts_s=service_state.restarts_s)
            elif found is not None and found[1]:
                self._examine(name, service_state, found[0], now_s)
            else:
                self._revive(name, service_state, now_s)

    def troubled(self, now_s: float) -> list[tuple[str, str]]:
        """Return services that were restarted three times or more within the last 10 minutes, with a sentence."""
        told = []
        for name, service_state in self._patients.items():
            count = sum(1 for instant in service_state.restarts_s if now_s - instant <= GOOD_AFTER_S)
            if count >= _MANY:
                told.append((name, f"{name} was restarted {count} times within ten minutes: see its error log."))
        return told

    def _note_stop(self, name: str) -> None:
        """Log once that a service was stopped by a signal, and do not restart it."""
        note = self._folder / f"{name}.stopped"
        if not note.exists():
            return
        log.warning(
            "service was stopped by a signal and is left stopped: name=%s start_again=./scripts/start_%s.sh start",
            name,
            name,
        )
        self._wanted(name).unlink(missing_ok=True)
        note.unlink(missing_ok=True)

    def _wanted(self, name: str) -> Path:
        return self._folder / f"{name}.wanted"

    def _examine(self, name: str, service_state: ServiceState, pid: int, now_s: float) -> None:
        """Check a running service: restart it if it hangs."""
        service_state.dead_looks = 0
        health = self._ask(name, pid)
        if health.healthy:
            service_state.unhealthy_since_s = None
            service_state.well_since_s = now_s if service_state.well_since_s is None else service_state.well_since_s
            self._wanted(name).unlink(missing_ok=True)
            if now_s - service_state.well_since_s >= GOOD_AFTER_S:
                service_state.failures = 0
            return
        service_state.well_since_s = None
        service_state.unhealthy_since_s = (
            now_s if service_state.unhealthy_since_s is None else service_state.unhealthy_since_s
        )
        if now_s - service_state.unhealthy_since_s >= HANGS_AFTER_S and now_s >= service_state.rest_until_s:
            log.error("service hangs, restarting it: name=%s pid=%d reason=%s", name, pid, health.reason)
            self._send(name, service_state, "stop", now_s)

    def _revive(self, name: str, service_state: ServiceState, now_s: float) -> None:
        """Restart a dead service, once two checks have seen it: a normal stop leaves the PID file for a moment."""
        service_state.dead_looks += 1
        if service_state.dead_looks < 2 or now_s < service_state.rest_until_s:
            return
        needed = self._patients.get(self._needs.get(name, ""))
        if needed is not None and needed.request is not None:
            return
        log.error("service died, restarting it: name=%s failures=%d", name, service_state.failures)
        self._start(name, service_state, now_s)

    def _start(self, name: str, service_state: ServiceState, now_s: float) -> None:
        service_state.failures += 1
        service_state.restarts_s.append(now_s)
        service_state.unhealthy_since_s = service_state.well_since_s = None
        self._wanted(name).touch(mode=0o600)
        self._send(name, service_state, "start", now_s)

    def _send(self, name: str, service_state: ServiceState, verb: str, now_s: float) -> None:
        service_state.verb, service_state.running_since_s = verb, now_s
        service_state.rest_until_s = now_s + service_state.rest_s()
        service_state.request = self._manage(name, verb)

    def _ended(self, name: str, service_state: ServiceState, request: ScriptRun, now_s: float) -> bool:
        """Return whether the script has ended and its service can be checked again; a stop is followed by a start."""
        code = request.poll()
        if code is None and now_s - service_state.running_since_s < _SCRIPT_TIMEOUT_S:
            return False
        if code is None:
            request.kill()
            log.error("start script took too long and was killed: name=%s verb=%s", name, service_state.verb)
        service_state.request = None
        service_state.rest_until_s = now_s + service_state.rest_s()
        if service_state.verb == "stop":
            self._start(name, service_state, now_s)
            return False
        if code != 0:
            log.error(
                "service did not start: name=%s exit_code=%s next_try_in_s=%.0f", name, code, service_state.rest_s()
            )
        return True


def script_manager(scripts: Path) -> Manage:
    """Return a function that runs ``start_NAME.sh VERB``; its output goes to our standard output, as the log does."""

    def manage(name: str, verb: str) -> ScriptRun | None:
        command = [str(scripts / f"start_{name}.sh"), verb]
        try:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - our own script, of our own list
        except OSError as error:
            log.error("start script cannot be run: name=%s reason=%s", name, error)
            return None

    return manage
