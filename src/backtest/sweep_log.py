"""Keeps the rows of a sweep in a file, so that an interrupted sweep goes on where it stopped.

Each finished variant is one line of ``sweep.jsonl``; a second run skips those. The first line says what was swept: a
file of another span, pair or base is refused.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from src.domain.errors import SettingsError

Row = dict[str, Any]
_ROW = {"variant", "return_share", "daily_sharpe", "max_drawdown_share", "trades", "fees", "daily_returns"}


class SweepLog:
    """The rows of one sweep by variant; ``path`` None keeps them in memory alone.

    Args:
        path: the file; it is begun where there is none.
        inputs: hashes of everything that the rows follow from, by the name a person would call it.

    Raises:
        SettingsError: the file was made from other inputs.
    """

    def __init__(self, path: Path | None, inputs: Mapping[str, str]) -> None:
        self._path = path
        self.rows: dict[str, Row] = {} if path is None else _kept(path, {"sweep": dict(inputs)})

    def add(self, batch: Sequence[Row]) -> None:
        """Take in finished variants, and write them down."""
        self.rows.update((row["variant"], row) for row in batch)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in batch)


def _kept(log: Path, about: Mapping[str, Mapping[str, str]]) -> dict[str, Row]:
    """Return the rows that an earlier run left; begin the file when there is none."""
    if not log.is_file():
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(json.dumps(about) + "\n", encoding="utf-8")
        return {}
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    _refuse_other_inputs(log, _parsed(lines[0]) if lines else None, about["sweep"])
    rows = [row for row in map(_parsed, lines[1:]) if row is not None and row.keys() >= _ROW]
    if len(rows) != len(lines) - 1:  # a line that was cut off or damaged: its variant is tried again
        log.write_text("".join(json.dumps(row) + "\n" for row in (about, *rows)), encoding="utf-8")
    return {row["variant"]: row for row in rows}


def _refuse_other_inputs(log: Path, first: Row | None, inputs: Mapping[str, str]) -> None:
    """Raise ``SettingsError`` unless the log's first line says the same inputs."""
    before = (first or {}).get("sweep")
    if not isinstance(before, dict):
        raise SettingsError((f"{log} does not say what it was made from: it belongs to another sweep; delete it.",))
    changed = [name for name in inputs if before.get(name) != inputs[name]]
    if changed:
        raise SettingsError(
            (f"{log} belongs to another sweep (different: {', '.join(changed)}); take another --name, or delete it.",)
        )


def _parsed(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def hash_of(*parts: bytes | np.ndarray[Any, Any]) -> str:
    """Return one SHA-256 of all parts, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


@cache
def program_hash() -> str:
    """Return a hash of all of this program's source files: another version may judge a variant otherwise."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).resolve().parents[1].rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
