"""Storage of the paper exchange: one state file, and a journal of later commands.

The state file is a whole picture, replaced atomically. Between two pictures every accepted command is appended to
the journal before its answer leaves, which costs the same however long the history has grown. After a
crash the commands of the journal are carried out once more, each at its own market instant: the venue is a function
of market and commands, so the outcome is the same.

A full disk ends nothing: the journal reserves disk space beforehand, which holds orders for a good
while; what finds none is refused before it is carried out, and the picture waits.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from src.domain.errors import SuiteError

FORMAT = 1
RESERVE_BYTES = 1 << 18  # a thousand commands and more
_PRIVATE = 0o600
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class StateCorrupt(SuiteError):
    """The state file cannot be understood; it was left as it is."""


class StateTaken(SuiteError):
    """Another process works on the state file."""


class DiskFull(SuiteError):
    """The disk is full; nothing was written, and the old content is unchanged."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One accepted request that changed something: at which market instant, by whom, what."""

    number: int
    market_ms: int
    account: str
    endpoint: str
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class StateSnapshot:
    """The bytes of a whole state, which picture it is, and the number of the last command in it."""

    serial: int
    number: int
    data: bytes


class StateStore:
    """Keeps the state file; only one process at a time can have it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._journal_path = path.with_name(path.name + ".journal")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(path.with_name(path.name + ".lock"))
        self._journal = -1
        self._offset = 0
        self._reserved = 0
        self._number = 0
        self._unsynced = False
        self._serial = 0
        self._written = 0
        self._writing = threading.Lock()

    @property
    def number(self) -> int:
        """Number of the last command."""
        return self._number

    def load(self) -> dict[str, Any] | None:
        """Return the last picture, None on a first start; raises ``StateCorrupt``."""
        if not self.path.exists():
            if self._journal_path.exists() and self._journal_path.stat().st_size:
                raise StateCorrupt(f"{self._journal_path} has no state file {self.path} beside it: move it away")
            return None
        try:
            state = orjson.loads(self.path.read_bytes())
        except orjson.JSONDecodeError as error:
            raise self.corrupt(str(error)) from error
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise self.corrupt(f"it is not of format {FORMAT}")
        if not isinstance(state.get("number"), int):
            raise self.corrupt("it does not say which command was its last")
        self._number = state["number"]
        return state

    def commands(self) -> Iterator[JournalEntry]:
        """Yield the commands that came after the picture; a torn last line was never answered and is left out."""
        if not self._journal_path.exists():
            return
        lines = self._journal_path.read_bytes().split(b"\n")
        for line in lines[:-1]:
            command = self._command(line)
            if command.number <= self._number:
                continue
            if command.number != self._number + 1:
                raise self.corrupt(f"its journal jumps from command {self._number} to {command.number}")
            self._number = command.number
            yield command

    def append(self, market_ms: int, account: str, endpoint: str, parameters: dict[str, str]) -> None:
        """Write a command to the operating system before it is executed, so that it survives this process.

        What a failure of power could still take is limited by ``sync_journal``.

        Raises:
            DiskFull: the command must not be carried out.
        """
        line = orjson.dumps([self._number + 1, market_ms, account, endpoint, parameters]) + b"\n"
        self._open_journal()
        if self._offset + len(line) > self._reserved:
            self._reserve()
        with _full_disk_told(self._journal_path):
            written = os.pwrite(self._journal, line, self._offset)
        if written < len(line):  # an incomplete line is ignored and overwritten by the next one
            raise DiskFull(f"no space for {self._journal_path}")
        self._number += 1
        self._offset += written
        self._unsynced = True

    def sync_journal(self) -> None:
        """Bring the journal to the disk itself; may be called beside the event loop."""
        if self._unsynced:
            self._unsynced = False
            try:
                with _full_disk_told(self._journal_path):
                    os.fdatasync(self._journal)
            except DiskFull:
                self._unsynced = True
                raise

    def _open_journal(self) -> None:
        if self._journal >= 0:
            return
        with _full_disk_told(self._journal_path):
            self._journal = os.open(self._journal_path, os.O_RDWR | os.O_CREAT, _PRIVATE)
        self._offset = self._journal_path.read_bytes().rfind(b"\n") + 1
        self._reserve()

    def _reserve(self) -> None:
        """Reserve space for what comes next; without it every line must find its own."""
        with suppress(OSError):
            os.posix_fallocate(self._journal, self._offset, RESERVE_BYTES)
            self._reserved = self._offset + RESERVE_BYTES

    def picture(self, state: dict[str, Any]) -> StateSnapshot:
        """Return the state after the last command, ready to be written."""
        content = {"format": FORMAT, "number": self._number, **state}
        self._serial += 1
        return StateSnapshot(self._serial, self._number, orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE))

    def write(self, picture: StateSnapshot) -> None:
        """Replace the state file by this snapshot, atomically, unless a newer one is there already.

        May be called beside the event loop; raises ``DiskFull``.
        """
        with self._writing:
            if picture.serial < self._written:
                return
            fresh = self.path.with_name(self.path.name + ".new")
            try:
                with _full_disk_told(self.path):
                    _write_synced(fresh, picture.data)
                    fresh.replace(self.path)
                    _sync_folder(self.path.parent)
            except DiskFull:
                fresh.unlink(missing_ok=True)  # a torn file would only take space
                raise
            self._written = picture.serial

    def trim(self, picture: StateSnapshot) -> None:
        """Begin a new journal if the picture holds every command; lines it holds are skipped by number anyway."""
        if picture.number != self._number:
            return
        if self._journal >= 0:
            os.ftruncate(self._journal, 0)
            self._offset = 0
            self._reserve()
        elif self._journal_path.exists():
            os.truncate(self._journal_path, 0)

    def save(self, state: dict[str, Any]) -> None:
        """Write a picture of this state now and begin a new journal; raises ``DiskFull``."""
        picture = self.picture(state)
        self.write(picture)
        self.trim(picture)

    def close(self) -> None:
        """Let go of journal and lock."""
        if self._journal >= 0:
            os.ftruncate(self._journal, self._offset)
            os.close(self._journal)
            self._journal = -1
        os.close(self._lock)

    def set_aside(self, name: str, wanted: str) -> None:
        """Put picture and journal away under ``name`` and bring back those once put away as ``wanted``."""
        for path in (self.path, self._journal_path):
            if path.exists():
                path.replace(_aside(path, name))
            if _aside(path, wanted).exists():
                _aside(path, wanted).replace(path)
        self._number = 0

    def _command(self, line: bytes) -> JournalEntry:
        try:
            number, market_ms, account, endpoint, parameters = orjson.loads(line)
            return JournalEntry(int(number), int(market_ms), str(account), str(endpoint), dict(parameters))
        except (orjson.JSONDecodeError, TypeError, ValueError) as error:
            raise self.corrupt(f"its journal has an unreadable line ({error})") from error

    def corrupt(self, why: str) -> StateCorrupt:
        """Return the error that says why the file cannot be used."""
        return StateCorrupt(f"the state file {self.path} is damaged: {why}. Move it away to start with a new one.")


def _aside(path: Path, name: str) -> Path:
    return path.with_name(f"{path.name}.{name}")


def _locked(path: Path) -> int:
    """Open and lock a file that holds our process number; raises ``StateTaken``."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise StateTaken(
            f"another paper exchange (process {holder}) works on the state file; "
            "stop it, or give this one its own PAPER_STATE"
        ) from None
    os.ftruncate(handle, 0)
    with suppress(OSError):  # a full disk: the lock works anyway, it only does not name its holder
        os.write(handle, f"{os.getpid()}\n".encode())
    return handle


@contextmanager
def _full_disk_told(path: Path) -> Iterator[None]:
    """Turn the system's word for a full disk into ours; other failures stay what they are."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(f"no space for {path}: {error.strerror}") from error
        raise


def _write_synced(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
