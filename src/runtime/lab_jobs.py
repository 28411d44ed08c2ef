"""Long runs for page, chat and agents: one at a time on this machine, niced, limited, watched, stopped, kept.

Each run is a folder of its own with ``job.json`` and ``output.log``; the commands are fixed, their arguments checked.
"""

import fcntl
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from src.domain.clock import Clock, utc_text
from src.runtime.settings import PROJECT_ROOT, Settings, inherited_environment

log = logging.getLogger(__name__)

KINDS: Final = {
    "backtest": "Backtest",
    "sweep": "Sweep",
    "walk_forward": "Walk-forward",
    "retraining": "ModelTrainer",
}
KEPT: Final = 30
MEGABYTES: Final = 3_000
SECONDS: Final = 3_600
MOST_DAYS: Final = 1_500
_PAIR: Final = re.compile(r"[A-Z0-9]{5,20}")
_RULES: Final = re.compile(r"[a-z0-9_]{1,40}")
REPORT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ID: Final = re.compile(r"\d{8}T\d{9}Z")
_TAIL: Final = 4_000
_PROGRESS: Final = re.compile(r"(\d{1,3})%")
_MODULES: Final = {"retraining": "retrain_rl_model"}
RUNNING, DONE, FAILED, STOPPED = "running", "done", "failed", "stopped"


@dataclass(frozen=True, slots=True)
class Job:
    """One run: what was asked, when, and how it ended."""

    id: str
    kind: str
    arguments: tuple[str, ...]
    report: str
    started: str
    status: str = RUNNING
    finished: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class JobView:
    """A run as a person sees it: the job, its last lines, its progress (0..1, None where it does not say)."""

    job: Job
    tail: str
    progress: float | None
    summary: Mapping[str, Any]


class LabBusy(ValueError):
    """Another run is under way."""


class LabJobs:
    """Starts and stops runs; each process that may has one.

    A run holds the lock on a file, whoever began it, so that there is one at a time; it is stopped where it was begun.
    """

    def __init__(self, settings: Settings, clock: Clock, reports: Path | None = None) -> None:
        self._folder = settings.state_dir / "lab"
        self._reports = reports or settings.project_root / "reports"
        self._clock = clock
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._job: Job | None = None

    def start(self, kind: str, given: Mapping[str, Any]) -> Job:
        """Begin a run; ``ValueError`` says which argument is wrong, ``LabBusy`` that another one is under way."""
        now = utc_text(self._clock.now_ms())
        name = re.sub(r"[-:.]", "", now)
        arguments, report = checked_arguments(kind, given, name)
        with self._lock:
            self._reap()
            if self._process is not None:
                raise LabBusy("Another run is under way: wait for it, or stop it.")
            lock = self._take_lock()
            place = self._folder / name
            place.mkdir(parents=True, mode=0o700)
            job = Job(name, kind, tuple(arguments), report, now)
            self._keep(job)
            module = _MODULES.get(kind, "src.backtest")
            command = [
                sys.executable,
                "-m",
                "src.runtime.limited_run",
                str(MEGABYTES),
                str(SECONDS),
                module,
                *arguments,
            ]
            with (place / "output.log").open("wb") as output:
                self._process = subprocess.Popen(  # noqa: S603 - a fixed program, checked words, no shell
                    command, cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                    start_new_session=True, env=_environment(), pass_fds=(lock,),
                )  # fmt: skip
            os.close(lock)  # the run holds it from here on, until it ends
            self._job = job
            log.info("run started: kind=%s id=%s arguments=%s", kind, name, " ".join(arguments))
        self._prune()
        return job

    def stop(self, job_id: str) -> bool:
        """End a run that is under way; return whether there was one of that id."""
        with self._lock:
            self._reap()
            if self._process is None or self._job is None or self._job.id != job_id:
                return False
            os.killpg(self._process.pid, signal.SIGINT)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(5)
            self._ended(STOPPED)
            return True

    def close(self) -> None:
        """End what is under way: the dashboard is stopping."""
        if self._job is not None:
            self.stop(self._job.id)

    def jobs(self) -> list[JobView]:
        """Return the last runs, newest first."""
        with self._lock:
            self._reap()
            own = self._job
        if not self._folder.is_dir():
            return []
        names = sorted((each.name for each in self._folder.iterdir() if _ID.fullmatch(each.name)), reverse=True)
        found = [self._read(name) for name in names[:KEPT]]
        return [self._view(job, own) for job in found if job is not None]

    def _take_lock(self) -> int:
        """Return the locked file's number; ``LabBusy`` where a run of another process holds it."""
        self._folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        lock = os.open(self._folder / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise LabBusy("Another run is under way: wait for it, or stop it.") from None
        return lock

    def _is_running(self) -> bool:
        """Whether any process's run is under way."""
        try:
            os.close(self._take_lock())
        except LabBusy:
            return True
        return False

    def _view(self, job: Job, own: Job | None) -> JobView:
        if job.status == RUNNING and (own is None or own.id != job.id) and not self._is_running():
            job = replace(job, status=FAILED)  # the process that had begun it is gone
        tail = self._tail(job.id)
        marks = _PROGRESS.findall(tail)
        progress = min(int(marks[-1]), 100) / 100 if marks and job.status == RUNNING else None
        return JobView(job, tail, progress, read_report(self._reports, job.report))

    def _reap(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            accepted = (0, 10) if self._job is not None and self._job.kind == "retraining" else (0,)
            self._ended(DONE if self._process.returncode in accepted else FAILED)

    def _ended(self, status: str) -> None:
        if self._job is not None and self._process is not None:
            finished = utc_text(self._clock.now_ms())
            self._keep(replace(self._job, status=status, finished=finished, exit_code=self._process.returncode))
            log.info("run ended: id=%s status=%s exit_code=%s", self._job.id, status, self._process.returncode)
        self._process = self._job = None

    def _keep(self, job: Job) -> None:
        path = self._folder / job.id / "job.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(job)), encoding="utf-8")
        fresh.replace(path)

    def _read(self, name: str) -> Job | None:
        try:
            told = json.loads((self._folder / name / "job.json").read_text(encoding="utf-8"))
            return Job(**(told | {"arguments": tuple(told["arguments"])}))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _tail(self, name: str) -> str:
        try:
            with (self._folder / name / "output.log").open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL))
                return file.read(_TAIL).decode("utf-8", errors="replace").replace("\r", "\n")
        except OSError:
            return ""

    def _prune(self) -> None:
        names = sorted(each.name for each in self._folder.iterdir() if _ID.fullmatch(each.name))
        for name in names[:-KEPT]:
            for file in ("job.json", "output.log"):
                (self._folder / name / file).unlink(missing_ok=True)
            (self._folder / name).rmdir()


def checked_arguments(kind: str, given: Mapping[str, Any], name: str) -> tuple[list[str], str]:
    """Return the command line of a run and the name of its report; ``ValueError`` says what is wrong."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}.")
    if kind == "retraining":
        episodes = _whole(given, "episodes", 150, 1, 1_000)
        return ["--json", "--no-color", "--episodes", str(episodes)], ""
    pair, rules = _match(given, "pair", _PAIR, "BTCUSDT"), _match(given, "rules", _RULES, "")
    first, last = _day(given, "from"), _day(given, "to")
    if last < first or (last - first).days > MOST_DAYS:
        raise ValueError(f"from must not be later than to, and the span at most {MOST_DAYS} days.")
    report = f"{kind}-{pair}-{rules}-{name}"
    line = [kind.replace("_", "-") if kind != "backtest" else "run", "--pair", pair, "--rules", rules,
            "--from", first.isoformat(), "--to", last.isoformat(), "--name", report]  # fmt: skip
    if kind in ("sweep", "walk_forward"):
        line += ["--random", str(_whole(given, "variants", 20, 1, 200))]
    if kind == "sweep":
        line += ["--workers", "1"]
    return line, report


def _match(given: Mapping[str, Any], name: str, pattern: re.Pattern[str], default: str) -> str:
    value = given.get(name) or default
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{name} is missing or not a valid name.")
    return value


def _day(given: Mapping[str, Any], name: str) -> date:
    try:
        return date.fromisoformat(str(given.get(name, ""))[:10])
    except ValueError:
        raise ValueError(f"{name} must be a day such as 2024-01-31.") from None


def _whole(given: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}.")
    return value


def read_report(folder: Path, name: str) -> Mapping[str, Any]:
    """Return the summary of a report, empty where there is none."""
    if not REPORT.fullmatch(name):
        return {}
    try:
        found = json.loads((folder / name / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _environment() -> dict[str, str]:
    """Return the environment of a run: one thread a library, so that the trading bots keep a core."""
    return inherited_environment() | dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"), "1")
