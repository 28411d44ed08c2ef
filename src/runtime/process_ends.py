"""How each process ended, where nobody wished it to: kept in a small file, for whoever alerts people.

The last sign of life in the database cannot tell of a start that failed before the database was open; this can.
"""

import json
import logging
import os
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

_PREFIX: Final = "ended-"


def note_end(folder: Path, name: str, code: int, reason: str) -> None:
    """Keep that a process ended with ``code`` although nobody stopped it; a folder that cannot be written is logged."""
    file = _file(folder, name)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({"name": name, "code": code, "reason": reason}), encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        log.warning("the end cannot be noted: reason=%s", error)


def forget_end(folder: Path, name: str) -> None:
    """Forget how the last process of this name ended: another one runs, or was stopped in order."""
    try:
        _file(folder, name).unlink(missing_ok=True)
    except OSError as error:
        log.warning("the note of the last end cannot be deleted: reason=%s", error)


def unwished_ends(folder: Path) -> list[tuple[str, str]]:
    """Return the processes that ended without having been stopped, each with a sentence."""
    told = []
    for file in sorted(folder.glob(f"{_PREFIX}*.json")):
        try:
            noted = json.loads(file.read_text(encoding="utf-8"))
            told.append((str(noted["name"]), f"{noted['name']} ended by itself ({noted['code']}): {noted['reason']}"))
        except (OSError, ValueError, KeyError, TypeError):
            told.append((file.stem.removeprefix(_PREFIX), f"{file.name} cannot be read: see the service's log."))
    return told


def _file(folder: Path, name: str) -> Path:
    return folder / f"{_PREFIX}{name}.json"
