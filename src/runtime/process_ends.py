"""Unexpected exits of processes, recorded in small files for the alerts.

Heartbeats in the database cannot report a start that failed before the database was open; these files can.
"""

import json
import logging
import os
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

_PREFIX: Final = "ended-"


def note_end(folder: Path, name: str, code: int, reason: str) -> None:
    """Record that a process exited with ``code`` although nobody stopped it; an unwritable folder is logged."""
    file = _file(folder, name)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({"name": name, "code": code, "reason": reason}), encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        log.warning("exit not recorded: reason=%s", error)


def forget_end(folder: Path, name: str) -> None:
    """Delete the record of the last exit of this name: another process runs, or was stopped properly."""
    try:
        _file(folder, name).unlink(missing_ok=True)
    except OSError as error:
        log.warning("record of the last exit not deleted: reason=%s", error)


def unexpected_exits(folder: Path) -> list[tuple[str, str]]:
    """Return the processes that exited without having been stopped, each with a sentence."""
    told = []
    for file in sorted(folder.glob(f"{_PREFIX}*.json")):
        try:
            noted = json.loads(file.read_text(encoding="utf-8"))
            told.append(
                (str(noted["name"]), f"{noted['name']} exited unexpectedly ({noted['code']}): {noted['reason']}")
            )
        except (OSError, ValueError, KeyError, TypeError):
            told.append((file.stem.removeprefix(_PREFIX), f"{file.name} cannot be read: see the service's log."))
    return told


def _file(folder: Path, name: str) -> Path:
    return folder / f"{_PREFIX}{name}.json"
