"""Reads the newest lines of a service's log from its end, by level and text."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from src.runtime.logging_setup import printable

LOG_NAMES: Final = ("rl_bot", "chart_bot", "web_dashboard", "mcp_server", "paper_exchange", "watcher", "telegram_bot")
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_TAIL_BYTES: Final = 256 * 1024
_LONGEST: Final = 600
_LINE: Final = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT[\d:.]+Z) (?P<level>[A-Z]+) (?P<logger>[\w.]+): (?P<event>.*)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line; a line in another format has no time and no logger, and counts as INFO."""

    time: str
    level: str
    logger: str
    event: str


@dataclass(frozen=True, slots=True)
class LogTail:
    """The newest lines of a log that fit a filter, newest first, and when the file was last written."""

    lines: tuple[LogLine, ...]
    written_ms: int


def read_log(folder: Path, name: str, level: str, text: str, most: int) -> LogTail | None:
    """Return the newest lines of one of ``LOG_NAMES`` at or above ``level`` that hold ``text``; None without a file.

    Raises:
        ValueError: no such log or level.
        OSError: the file cannot be read.
    """
    if name not in LOG_NAMES or level not in LEVELS:
        raise ValueError("no such log or level")
    path = folder / f"{name}.log"
    if not path.is_file():
        return None
    least, wanted = LEVELS.index(level), text.casefold()
    found = []
    for line in _newest(path):
        if _rank(line.level) >= least and wanted in f"{line.logger} {line.event}".casefold():
            found.append(line)
            if len(found) == most:
                break
    return LogTail(tuple(found), round(path.stat().st_mtime * 1000))


def _newest(path: Path) -> Iterator[LogLine]:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        content = file.read(_TAIL_BYTES)
    lines = content.decode("utf-8", errors="replace").split("\n")
    whole = lines if size <= _TAIL_BYTES else lines[1:]
    for line in reversed(whole):
        if line.strip():
            yield _parsed(line.rstrip("\r"))


def _parsed(line: str) -> LogLine:
    found = _LINE.fullmatch(line)
    if found is not None:
        return LogLine(found["time"], found["level"], found["logger"], printable(found["event"])[:_LONGEST])
    if line.startswith("{"):
        try:
            told = json.loads(line)
            event = " ".join(str(told.get(name, "")) for name in ("event", "exception")).strip()
            known = [str(told.get(name, "")) for name in ("time", "level", "logger")]
            return LogLine(known[0], known[1], known[2], printable(event)[:_LONGEST])
        except (ValueError, AttributeError):
            pass
    return LogLine("", "INFO", "", printable(line)[:_LONGEST])


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else 1
