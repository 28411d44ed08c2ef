"""Opens the database and maps its driver's errors.

Everything specific to SQLite is in this module: one file, read-only readers, writers that lock at once.
"""

import json
import os
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from sqlalchemy import URL, Connection, Engine, QueuePool, StaticPool, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from src.domain.errors import StoreCorrupt, StoreUnavailable, StoreUnwritable

BUSY_MS = 5_000
_VERSION = "PRAGMA data_version"
_UNDEFINED_TABLE = "42P01"


class StoreLocked(StoreUnavailable):
    """Another program has locked the database; a retry can succeed."""


class DatabaseFile:
    """The file that this process has open; an open connection does not notice that its file was deleted.

    The file ``NAME.db-made`` next to it records that a database existed: a new, empty one is then unintended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: tuple[int, int] | None = None

    def trouble(self) -> str:
        """Return "" while the file is still the same one, else what happened to it and what to do."""
        try:
            status = self.path.stat()
        except OSError as error:
            if self._held is None:
                return ""  # opening it reports what is wrong
            reason = error.strerror or type(error).__name__
            return f"is gone while it is in use ({reason}): put it back, or stop the services and restore a backup"
        found = (status.st_dev, status.st_ino)
        if self._held is None:
            self._held = found
        return "" if found == self._held else "was replaced by another file while in use: restart the services"

    def release(self) -> None:
        """Forget the file: all connections to it are closed."""
        self._held = None

    @property
    def was_made(self) -> bool:
        """Whether a database existed here before."""
        return self._mark.exists()

    def note_made(self) -> None:
        """Record that a database exists here."""
        try:
            os.close(os.open(self._mark, os.O_WRONLY | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreUnwritable(f"{self._mark} cannot be written ({error.strerror}): check the folder.") from error

    @property
    def _mark(self) -> Path:
        return self.path.with_name(f"{self.path.name}-made")


def is_memory(url: URL) -> bool:
    """Return whether the database is in this process's memory only."""
    return url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}


def open_engines(url: URL, read_only: bool) -> tuple[Engine, Engine]:
    """Return the engines for reading and for writing (the same one in memory).

    Raises:
        StoreUnwritable: the file cannot be created, or its permissions cannot be restricted.
    """
    words = partial(json.dumps, allow_nan=False, ensure_ascii=False)
    options: dict[str, Any] = {"json_serializer": words, "json_deserializer": orjson.loads}
    if url.get_backend_name() != "sqlite":
        engine = create_engine(url, pool_pre_ping=True, **options)
        return engine, engine
    if is_memory(url):
        writer = create_engine("sqlite://", poolclass=StaticPool, **options, creator=partial(_connect, ":memory:"))
        event.listen(writer, "begin", _begin_to_write)
        return writer, writer
    path = Path(url.database or "")
    # without a file in the address SQLAlchemy would take its pool for memory, which shares connections
    options |= {"poolclass": QueuePool, "pool_size": 8, "pool_timeout": BUSY_MS / 1000, "pool_use_lifo": True}
    reader = create_engine("sqlite://", **options, creator=partial(_connect, _read_only_address(path)))
    event.listen(reader, "begin", _begin_to_read)
    if read_only:
        return reader, reader
    _make_private(path)
    writer = create_engine("sqlite://", **options, creator=partial(_connect_to_write, path))
    event.listen(writer, "begin", _begin_to_write)
    return reader, writer


def failure_of(error: DBAPIError, name: str) -> StoreUnavailable | StoreCorrupt | None:
    """Return the suite's error for a driver's error; None for a mistake in our own query."""
    cause = error.orig
    word = getattr(cause, "sqlite_errorname", None) or ""
    if word.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreLocked(f"The database {name} is locked by another program: close it or wait.")
    if word.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreCorrupt(f"The database {name} is damaged ({cause}): restore a backup.")
    if word.startswith("SQLITE_FULL"):
        return StoreUnwritable(f"The disk of the database {name} is full: free some space.")
    if word.startswith(("SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return StoreUnwritable(
            f"The database {name} cannot be opened or written ({cause}): check file, folder and disk."
        )
    if "no such table" in str(cause) or getattr(cause, "sqlstate", None) == _UNDEFINED_TABLE:
        return StoreUnavailable(f"The database {name} has no tables yet: start the bot or run python3 src/database.py.")
    if isinstance(error, OperationalError) or error.connection_invalidated:
        return StoreUnavailable(f"The database {name} cannot be used ({str(cause).strip()}).")
    return None


def version_seen_by(connection: Connection) -> str:
    """Return SQLite's count of commits by other connections; this connection is in no transaction.

    The driver is asked directly, which takes a tenth of the time; on an error the query is repeated through SQLAlchemy.
    """
    driver = connection.connection.driver_connection
    try:
        found = None if driver is None else driver.execute(_VERSION).fetchone()
    except sqlite3.Error:
        found = None
    if found is None:
        with connection.begin():
            found = connection.exec_driver_sql(_VERSION).one()
    return str(found[0])


def _connect(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address,
        timeout=BUSY_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
        uri=address.startswith("file:"),
    )
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _connect_to_write(path: Path) -> sqlite3.Connection:
    connection = _connect(str(path))
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _read_only_address(path: Path) -> str:
    return f"file:{quote(str(path))}?mode=ro"


def _begin_to_read(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_to_write(connection: Connection) -> None:
    wait_ms = connection.get_execution_options().get("busy_ms", BUSY_MS)
    connection.exec_driver_sql(f"PRAGMA busy_timeout={int(wait_ms)}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _make_private(path: Path) -> None:
    """Create the file if needed, readable by its owner only (SQLite's log and index files inherit this)."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise StoreUnwritable(
            f"The database {path} cannot be written ({error.strerror}): check file and folder."
        ) from error
