"""Logging: one event per line, in UTC, secrets redacted, repeated lines held back.

Lines go to standard output, warnings also to standard error if that is a different file. If either is a file of LOG_DIR
opened for appending (as the start scripts do), it is rotated at LOG_MAX_MB with LOG_BACKUPS older copies.
"""

import fcntl
import json
import logging
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import IO
from urllib.parse import quote

from src.domain.clock import utc_text
from src.runtime.settings import Settings

HIDDEN = "[hidden]"
_SHORTEST_SECRET = 6  # shorter ones would match half of every line
_NAMED_SECRET = re.compile(
    r"(?i)\b(signature|listen_?key|api_?key|x-mbx-apikey|secret(?:_?key)?|token|password|authorization|pin)"
    r"(\\?[\"']?\s*[=:]\s*\\?[\"']?(?:bearer\s+)?)([^\s&\"'\\,;})\]]+)"
)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_NOISY_LIBRARIES = (
    "alembic",
    "mcp",
    "urllib3",
    "websockets",
    "asyncio",
    "werkzeug",
    "waitress",
    "matplotlib",
    "httpx",
    "httpx2",
    "httpcore",
)


class Redactor:
    """Redacts the known secrets, and values whose name indicates a secret."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._secrets: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.hide(*secrets)

    def hide(self, *secrets: str) -> None:
        """Redact these values from now on (except those below six characters)."""
        with self._lock:
            for secret in secrets:
                if len(secret) >= _SHORTEST_SECRET:
                    self._secrets |= {secret, quote(secret, safe="")}
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def clean(self, text: str) -> str:
        """Return ``text`` without secrets."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        return _NAMED_SECRET.sub(rf"\1\2{HIDDEN}", text)


_REDACTOR = Redactor()  # one per process, like the log


def hide(*secrets: str) -> None:
    """Redact values that become known later, such as listen keys, in log and console."""
    _REDACTOR.hide(*secrets)


def printable(text: str) -> str:
    """Return ``text`` on one line, without secrets, with control characters written as escapes."""
    return _UNPRINTABLE.sub(lambda match: match.group().encode("unicode_escape").decode(), _REDACTOR.clean(text))


@dataclass(slots=True)
class _Window:
    started_s: float
    seen: int
    last: logging.LogRecord


class RepeatFilter:
    """Passes the same event ``limit`` times in ``window_s`` seconds, then counts the repeats and logs their number.

    Warnings and errors are the same if logger, template and kind of exception are, so that a long outage stays a few
    lines; lower levels only if their whole text is the same.
    """

    def __init__(self, limit: int = 5, window_s: float = 60.0) -> None:
        self._limit = limit
        self._window_s = window_s
        self._windows: dict[tuple[object, ...], _Window] = {}
        self._latest_s = 0.0

    def admit(self, record: logging.LogRecord) -> Iterator[logging.LogRecord]:
        """Return the records to write now: summaries that are due, then the record itself unless suppressed."""
        self._latest_s = max(self._latest_s, record.created)
        yield from self.due(record.created)
        text = record.msg if record.levelno >= logging.WARNING else record.getMessage()
        key = (record.name, record.levelno, text, record.exc_info[0] if record.exc_info else None)
        window = self._windows.setdefault(key, _Window(record.created, 0, record))
        window.seen += 1
        window.last = record
        if window.seen <= self._limit:
            yield record

    def due(self, now_s: float) -> Iterator[logging.LogRecord]:
        """Return a summary for each window that has ended by ``now_s``, dated now, so that lines stay in order."""
        for key in [key for key, window in self._windows.items() if now_s - window.started_s >= self._window_s]:
            window = self._windows.pop(key)
            if window.seen > self._limit:
                yield self._summary(window, min(now_s, self._latest_s))

    def _summary(self, window: _Window, at_s: float) -> logging.LogRecord:
        last = window.last
        held_back = window.seen - self._limit
        text = f"repeated {held_back} times more in {self._window_s:.0f} s: {last.getMessage()}"
        dated = {"created": at_s, "msecs": at_s % 1 * 1000.0}
        return logging.makeLogRecord({**last.__dict__, **dated, "msg": text, "args": (), "exc_info": None})


class LineFormatter(logging.Formatter):
    """One line per event: ``2026-11-22T10:30:15.000Z INFO trader: event``, or one JSON object."""

    def __init__(self, as_json: bool = False) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without secrets, control characters and line end."""
        time = utc_text(int(record.created * 1000))
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        if self._as_json:
            return self._json(time, record, trace)
        frames = "".join(f" | {line.strip()}" for line in trace.splitlines() if line.strip("~^ "))
        return printable(f"{time} {record.levelname} {record.name}: {record.getMessage()}{frames}")

    def _json(self, time: str, record: logging.LogRecord, trace: str) -> str:
        event = {"time": time, "level": record.levelname, "logger": record.name, "pid": record.process}
        event["event"] = _REDACTOR.clean(record.getMessage())
        if trace:
            event["exception"] = _REDACTOR.clean(trace)
        return json.dumps(event)


class Sink:
    """A stream for lines of at least one level; its file is rotated when it grows too large."""

    def __init__(self, stream: IO[str], level: int, file: Path | None, max_bytes: int, backups: int) -> None:
        self.level = level
        self._stream = stream
        self._file = file
        self._max_bytes = max_bytes
        self._backups = backups

    def write(self, line: str) -> None:
        """Write one line at once, rotating the file first if needed."""
        if self._file is not None and os.fstat(self._stream.fileno()).st_size + len(line) > self._max_bytes:
            self._rotate(self._file)
        self._stream.write(line + "\n")
        self._stream.flush()

    def _rotate(self, file: Path) -> None:
        """Copy and truncate: other processes that hold the file open continue to write to it."""
        for number in range(self._backups - 1, 0, -1):
            older = file.with_name(f"{file.name}.{number}")
            if older.exists():
                older.replace(file.with_name(f"{file.name}.{number + 1}"))
        shutil.copyfile(file, file.with_name(f"{file.name}.1"))
        os.ftruncate(self._stream.fileno(), 0)


class LogHandler(logging.Handler):
    """Handles all records of the process, suppresses repeats and writes lines to its sinks."""

    def __init__(self, sinks: list[Sink], gate: RepeatFilter) -> None:
        super().__init__()
        self._sinks = sinks
        self._gate = gate

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it."""
        try:
            self._write(self._gate.admit(record))
        except (OSError, ValueError, TypeError):
            self.handleError(record)  # a full disk or a wrong format string must not stop the trading

    def close(self) -> None:
        """Write the summaries of suppressed records."""
        with self.lock or threading.RLock():
            self._write(self._gate.due(float("inf")))
        super().close()

    def _write(self, records: Iterator[logging.LogRecord]) -> None:
        for record in records:
            line = self.format(record)
            for sink in self._sinks:
                if record.levelno >= sink.level:
                    sink.write(line)


def configure_logs(settings: Settings) -> None:
    """Configure the logging of this process, redacting the secrets of ``settings``."""
    hide(*settings.secrets())
    handler = LogHandler(_sinks(settings), RepeatFilter())
    handler.setFormatter(LineFormatter(settings.log_format == "json"))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    logging.captureWarnings(True)
    for name in _NOISY_LIBRARIES:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _sinks(settings: Settings) -> list[Sink]:
    """A terminal shows the console output, so of the log only warnings and errors (or everything at DEBUG)."""
    on_terminal = sys.stdout.isatty() and settings.log_level != "DEBUG"
    sinks = [_sink(sys.stdout, logging.WARNING if on_terminal else logging.DEBUG, settings)]
    if not sys.stderr.isatty() and not _same_file(sys.stdout, sys.stderr):
        sinks.append(_sink(sys.stderr, logging.WARNING, settings))
    return sinks


def _sink(stream: IO[str], level: int, settings: Settings) -> Sink:
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")  # a limited locale shows a damaged line rather than none
    file = _log_file(stream, settings.log_dir)
    return Sink(stream, level, file, int(settings.log_max_mb * 1_000_000), settings.log_backups)


def _same_file(one: IO[str], other: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))
    except (OSError, ValueError):
        return False


def _log_file(stream: IO[str], folder: Path) -> Path | None:
    """Return the file of ``folder`` that ``stream`` appends to, if it is one."""
    try:
        here = os.fstat(stream.fileno())
        appends = fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_APPEND
        files = [file for file in folder.iterdir() if os.path.samestat(file.stat(), here)]
    except (OSError, ValueError):
        return None
    return files[0] if files and appends else None
