"""Checks whether a service of the suite is healthy, as the start scripts do.

``python3 -m src.monitoring.health rl_bot [PID [SECONDS]]`` prints one line and exits 0 only when the service is healthy
(1 when it is not, 78 when the settings are wrong); with SECONDS it waits until it is, or that process is gone.
``python3 -m src.monitoring.health mode`` prints paper, testnet or live, and ``is-paper`` exits 0 or 1.
"""

import http.client
import json
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from src.domain.clock import SystemClock, instant_of, monotonic_s
from src.domain.errors import SettingsError, StoreCorrupt, StoreUnavailable
from src.domain.version import VERSION_LINE
from src.runtime.settings import Settings

_ANSWER_TIMEOUT_S: Final = 4.0
_SHORTEST_LIMIT_S: Final = 5.0  # a heartbeat may be late by this much, however fast the market runs
_OLDEST_MARKET_S: Final = 15.0
_ASK_AGAIN_MS: Final = 150.0
_RESTING: Final = frozenset({"starting", "stopping", "stopped"})


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """Whether a service is healthy, and the sentence that says why."""

    healthy: bool
    reason: str


def heartbeat_health(beat: Mapping[str, Any] | None, now_ms: int, pid: int | None = None) -> ServiceHealth:
    """Check the newest row of ``bot_status`` against the machine's clock.

    A process is healthy until it has missed two of its cycles. With ``pid`` the heartbeat must be from that process:
    the previous one may have died a second ago.
    """
    if beat is None:
        return ServiceHealth(False, "no heartbeat yet")
    age_s = max((now_ms - instant_of(beat["beat_at"])) / 1000.0, 0.0)
    limit_s = max(2.0 * beat["interval_s"] / beat["speed"], _SHORTEST_LIMIT_S)
    told = ", ".join((f"heartbeat {age_s:.0f} s ago", f"cycle {beat['cycle_no']}", beat["phase"], *_changes(beat)))
    if pid is not None and beat["pid"] != pid:
        return ServiceHealth(False, f"no heartbeat of process {pid} yet")
    if age_s > limit_s:
        return ServiceHealth(False, f"{told}: unresponsive for more than {limit_s:.0f} s")
    return ServiceHealth(beat["phase"] not in _RESTING, told)


def exchange_trouble(beat: Mapping[str, Any]) -> str:
    """Return which data a running bot is not receiving from the exchange, by its heartbeat; "" for none."""
    if beat["phase"] in _RESTING:
        return ""
    sockets: Mapping[str, Mapping[str, Any]] = (beat.get("details") or {}).get("sockets") or {}
    away = [name for name, socket in sorted(sockets.items()) if not socket.get("connected", True)]
    told = [f"its {name} socket is down" for name in away]
    if beat["last_market"] is not None and sockets:
        age_s = (instant_of(beat["timestamp"]) - instant_of(beat["last_market"])) / 1000.0
        if age_s > max(2.0 * beat["interval_s"], _OLDEST_MARKET_S * beat["speed"]):
            told.append(f"its newest price is {age_s:.0f} s old")
    return ", ".join(told)


def _changes(beat: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which trading rules the settings override."""
    changes = (beat.get("details") or {}).get("rules_changed") or ()
    return (f"settings change the rules ({'; '.join(changes)})",) if changes else ()


def process_health(settings: Settings, processes: tuple[str, ...], pid: int | None = None) -> ServiceHealth:
    """Check a process that writes ``bot_status`` under one of these names."""
    from sqlalchemy import select  # costs half a second, which the checks of servers do not need

    from src.storage.database import TradingDatabase
    from src.storage.tables import bot_status

    query = (
        select(bot_status)
        .where(bot_status.c.bot_id == settings.bot_id, bot_status.c.process.in_(processes))
        .order_by(bot_status.c.beat_at.desc())
        .limit(1)
    )
    try:
        with closing(TradingDatabase(settings.database_url, read_only=True)) as database, database.read() as rows:
            row = rows.execute(query).mappings().first()
    except (StoreUnavailable, StoreCorrupt) as error:
        return ServiceHealth(False, str(error))
    return heartbeat_health(None if row is None else dict(row), SystemClock().now_ms(), pid)


def web_health(host: str, port: int, path: str) -> ServiceHealth:
    """Check a server by its own answer: 200 is healthy, and the answer's status is the reason."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where we ask, not where we listen
    connection = http.client.HTTPConnection(host, port, timeout=_ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(65_536)
    except (OSError, http.client.HTTPException) as error:
        return ServiceHealth(False, f"no answer on port {port}: {error}")
    finally:
        connection.close()
    return ServiceHealth(answer.status == http.client.OK, f"answers {answer.status}{_own_word(body)}")


def _own_word(body: bytes) -> str:
    """Return the ``status`` of the body, "" if it has none."""
    try:
        answer = json.loads(body)
    except ValueError:
        return ""
    return f", {answer['status']}" if isinstance(answer, dict) and isinstance(answer.get("status"), str) else ""


SERVICES: Final[dict[str, Callable[[Settings, int | None], ServiceHealth]]] = {
    "rl_bot": lambda settings, pid: process_health(settings, ("trading_bot", "rl_bot"), pid),
    "chart_bot": lambda settings, pid: process_health(settings, ("chart_analysis_bot", "chart_bot"), pid),
    "telegram_bot": lambda settings, pid: process_health(settings, ("telegram_bot",), pid),
    "watcher": lambda settings, pid: process_health(settings, ("watcher",), pid),
    "paper_exchange": lambda own, _: web_health(own.paper_host, own.paper_port, "/fapi/v1/ping"),
    "web_dashboard": lambda own, _: web_health(own.dashboard_host, own.dashboard_port, "/api/health"),
    "mcp_server": lambda own, _: web_health(own.mcp_host, own.mcp_port, "/api/v1/readyz"),
}


def service_health(settings: Settings, name: str, pid: int | None = None) -> ServiceHealth:
    """Check a service by the name of its start script: ``rl_bot``, ``mcp_server``, ...; ``KeyError`` for another."""
    return SERVICES[name](settings, pid)


def health_within(settings: Settings, name: str, pid: int, patience_s: float) -> ServiceHealth:
    """Check a service that is starting as process ``pid`` repeatedly, until it is healthy, gone, or time is up."""
    deadline_s = monotonic_s() + patience_s
    while True:
        health = service_health(settings, name, pid)
        if health.healthy or monotonic_s() >= deadline_s or begun(pid) is None:
            return health
        SystemClock().wait(threading.Event(), _ASK_AGAIN_MS)


def recorded_process(pid_file: Path) -> tuple[int, bool] | None:
    """Return the PID that a start script wrote and whether that process runs; None if no service should run.

    PIDs are reused: the process must also have started at the time recorded beside its PID.
    """
    try:
        pid_text, *instants = pid_file.read_text(encoding="ascii").split()
        pid, instant = int(pid_text), instants[0] if instants else _start_of(pid_file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, IndexError):
        return 0, False
    return pid, begun(pid) == instant


def _start_of(pid_file: Path) -> str:
    """Return the start time that the start script recorded for a PID file; empty if there is none."""
    file = pid_file.with_suffix(".start")
    return file.read_text(encoding="ascii").strip() if file.exists() else ""


def begun(pid: int) -> str | None:
    """Return the start time of a process in system ticks; None if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def main(arguments: list[str]) -> int:
    """Answer one question of the start scripts; return the exit code."""
    question = arguments[0] if arguments else ""
    if question == "--version":
        print(VERSION_LINE)
        return 0
    if question not in SERVICES and question not in {"mode", "is-paper"}:
        print(
            f"Usage: python3 -m src.monitoring.health mode | is-paper | {' | '.join(SERVICES)} [PID [SECONDS]]",
            file=sys.stderr,
        )
        return 2
    try:
        settings = Settings.load()
    except SettingsError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 78
    if question in {"mode", "is-paper"}:
        print(settings.mode)
        return 0 if question == "mode" or settings.mode == "paper" else 1
    match [int(word) for word in arguments[1:]]:
        case [pid, patience_s]:
            health = health_within(settings, question, pid, patience_s)
        case [pid]:
            health = service_health(settings, question, pid)
        case _:
            health = service_health(settings, question)
    print(health.reason)
    return 0 if health.healthy else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
