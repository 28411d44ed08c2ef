"""One database under several processes: engines, transactions, retries, write-behind.

SQLAlchemy is used here and in the modules that compose queries; its exceptions are translated here. Writers begin with
BEGIN IMMEDIATE, since a transaction that first reads and then writes is refused as soon as another process wrote
in between; readers open the file read-only and keep their transactions short, so that the log can be folded back.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Table, inspect, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

from src.domain.clock import SystemClock, monotonic_s
from src.domain.errors import StoreCorrupt, StoreUnavailable, StoreUnwritable
from src.storage.connections import (
    BUSY_MS,
    DatabaseFile,
    StoreLocked,
    failure_of,
    is_memory,
    open_engines,
    version_seen_by,
)
from src.storage.missing_database import declare_missing
from src.storage.tables import REVISION

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Connection], object]

BATCH = 100  # rows per transaction: a longer one would delay the trader's next order intent
_MIGRATION_LOCK = 727_001  # any number of our own, for PostgreSQL's advisory locks


class Database:
    """One database, reached by a pool of connections; safe to share between threads.

    Args:
        url: SQLAlchemy's address: ``sqlite:///FILE``, ``sqlite://`` (memory), ``postgresql+psycopg://...``.
        read_only: never writes, and refuses to create a file.
        patience_s: how long a write waits for a lock by default.
        most_waiting: rows that may wait in memory for the background writer.
    """

    def __init__(
        self, url: str, *, read_only: bool = False, patience_s: float = 5.0, most_waiting: int = 20_000
    ) -> None:
        self._patience_s = patience_s
        self._most_waiting = most_waiting
        self._waiting: deque[Work] = deque()
        self._changed = threading.Condition()
        self._urgent = 0  # callers that wait for their write: the background writer lets them go first
        self._writing = threading.Lock()  # our own threads queue for the lock; SQLite would let them sleep and retry
        self._writer: threading.Thread | None = None
        self._stopping = False
        self._trouble: Exception | None = None
        self._versions = threading.Lock()
        self._versioned: Connection | None = None
        try:
            self._url = _whole(make_url(url))
            self._in_memory = is_memory(self._url)
            self._read_engine, self._engine = open_engines(self._url, read_only)
            on_disk = self.is_sqlite and not self._in_memory
            self._file = DatabaseFile(Path(self._url.database or "")) if on_disk else None
            self._read_only = read_only
        except (NoSuchModuleError, ImportError) as error:
            raise StoreUnavailable(f"no driver for this database ({error}): pip install 'psycopg[binary]'.") from error

    @property
    def name(self) -> str:
        """The address of the database, without a password."""
        if self._in_memory:
            return "memory"
        return self._url.database or "" if self.is_sqlite else self._url.render_as_string(hide_password=True)

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is an SQLite file (or memory)."""
        return self._url.get_backend_name() == "sqlite"

    @property
    def pending(self) -> int:
        """How many rows wait in memory to be written."""
        return len(self._waiting)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Lend a connection for a short read; all its queries see the same snapshot.

        Raises:
            StoreUnavailable, StoreCorrupt: instead of the library's own exceptions.
        """
        with self._translated(), self._read_engine.connect() as connection:
            yield connection

    def write(self, work: Callable[[Connection], T], patience_s: float | None = None) -> T:
        """Run ``work`` in one transaction and return its result; it is committed then.

        While another program holds the lock, retries for ``patience_s`` seconds, so ``work`` may be called more than
        once, each time in a new transaction.

        Raises:
            StoreUnavailable: nothing of it was written.
            StoreCorrupt: the file is damaged.
        """
        with self._changed:
            self._urgent += 1
        try:
            return self._write(work, self._patience_s if patience_s is None else patience_s)
        finally:
            with self._changed:
                self._urgent -= 1
                self._changed.notify_all()

    def write_later(self, work: Work) -> None:
        """Queue ``work`` for the background writer, which keeps the order; a locked database only delays it.

        Raises:
            StoreUnavailable: the queue is full; this work was not accepted.
        """
        if self._in_memory:  # one connection, one thread
            self.write(work)
            return
        with self._changed:
            self._raise_trouble()
            if len(self._waiting) >= self._most_waiting:
                raise StoreUnavailable(f"{len(self._waiting)} rows wait for the database {self.name}: free it.")
            self._waiting.append(work)
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_behind, name="database-writer", daemon=True)
                self._writer.start()
            self._changed.notify_all()

    def flush(self, patience_s: float | None = None) -> None:
        """Return when the queue is empty.

        Raises:
            StoreUnavailable: the queue is not empty after ``patience_s``; its rows stay queued.
        """
        patience_s = self._patience_s if patience_s is None else patience_s
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._trouble is not None, patience_s)
            self._raise_trouble()
            if self._waiting:
                raise StoreLocked(f"{len(self._waiting)} rows are still waiting for the database {self.name}.")

    def close(self, patience_s: float | None = None) -> None:
        """Write the queued rows and close the database; raises as ``flush`` does, but closes in any case."""
        try:
            self.flush(patience_s)
        finally:
            with self._changed:
                self._stopping = True
                self._changed.notify_all()
            if self._writer is not None:
                self._writer.join(self._patience_s)
            with self._versions:
                if self._versioned is not None:
                    self._versioned.close()
                    self._versioned = None
            self._read_engine.dispose()
            self._engine.dispose()  # closed last, since only a writer can checkpoint the log into the file

    def version(self) -> str:
        """Return a text that changes with every commit of any process: while it is the same, all data is the same.

        Comparable only within the lifetime of this object; empty if the database cannot tell (in memory).
        """
        if self._in_memory:
            return ""
        if not self.is_sqlite:
            with self.read() as connection:
                return str(connection.execute(text("SELECT pg_current_snapshot()")).scalar_one())
        with self._versions, self._translated():
            if self._versioned is None:  # SQLite counts per connection: it must always be the same one
                self._versioned = self._read_engine.connect()
            return version_seen_by(self._versioned)

    def migrate(self) -> None:
        """Migrate the tables to this version; several processes may call it at once.

        A new database in place of an earlier one starts with the circuit breaker TRIPPED: a person must check.

        Raises:
            StoreUnavailable: a newer version wrote this database, or it cannot be written.
        """
        before = self._file is not None and self._file.was_made

        def work(connection: Connection) -> bool:
            missing = _upgrade(connection) and before
            if missing:
                declare_missing(connection, SystemClock().now_ms())
            return missing

        if self.write(work):
            log.error("a new database was created in place of an earlier one: file=%s", self.name)
        if self._file is not None:
            self._file.note_made()

    def check(self) -> None:
        """Read the whole file; raises ``StoreCorrupt`` where it is damaged (1.5 s for 150 MB)."""
        if not self.is_sqlite:
            with self.read() as connection:
                connection.execute(text("SELECT 1"))
            return
        with self.read() as connection:
            findings = [row[0] for row in connection.exec_driver_sql("PRAGMA integrity_check(3)")]
            if findings != ["ok"]:
                raise StoreCorrupt(f"The database {self.name} is damaged ({findings[0]}): restore a backup.")
            if connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                raise StoreCorrupt(f"The database {self.name} has rows with broken references: restore a backup.")

    def _write(self, work: Callable[[Connection], T], patience_s: float) -> T:
        end_s = monotonic_s() + patience_s
        keep_trying = Retrying(
            stop=stop_after_delay(max(end_s - monotonic_s(), 0.0)),
            wait=wait_random(0.005, 0.05),
            retry=retry_if_exception_type(StoreLocked),
            reraise=True,
        )
        result: T = keep_trying(self._transaction, work, end_s)
        return result

    def _transaction(self, work: Callable[[Connection], T], end_s: float) -> T:
        with self._translated(), self._own_turn(end_s):
            wait_ms = min(max(int((end_s - monotonic_s()) * 1000), 0), BUSY_MS)
            engine = self._engine.execution_options(busy_ms=wait_ms)
            with engine.connect() as connection, connection.begin():
                return work(connection)

    @contextmanager
    def _own_turn(self, end_s: float) -> Iterator[None]:
        """Serialise the writes of this process's threads to a file."""
        if not self.is_sqlite or self._in_memory:
            yield
            return
        if not self._writing.acquire(timeout=max(end_s - monotonic_s(), 0.0)):
            raise StoreLocked(f"The database {self.name} is busy with other rows of this process: try again.")
        try:
            yield
        finally:
            self._writing.release()

    def _write_behind(self) -> None:
        """Write queued rows until stopped; failed writes are kept and tried again."""
        told = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or bool(self._waiting and not self._urgent))
                if not self._waiting or (self._stopping and told):
                    return
                batch = list(self._waiting)[:BATCH]
            try:
                self._write_batch(batch)
            except (StoreUnavailable, StoreCorrupt) as error:
                if not told:
                    log.warning("rows wait for the database: count=%s reason=%s", len(self._waiting), error)
                told = True
                self._pause()
            else:
                if told:
                    log.info("the database accepts rows again: waiting=%s", len(self._waiting))
                told = False

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, 0.2)

    def _write_batch(self, batch: list[Work]) -> None:
        """Write the batch in one transaction; an unwritable row is logged and does not block the others."""
        try:
            self._write(lambda connection: [work(connection) for work in batch], BUSY_MS / 1000)
            done = len(batch)
        except (StoreUnavailable, StoreCorrupt):
            raise
        except Exception as error:  # noqa: BLE001 - handed to the thread that queued it, by _raise_trouble
            if len(batch) > 1:
                for work in batch:
                    self._write_batch([work])
                return
            log.error("a row was refused by the database: reason=%s", error)
            self._trouble, done = error, 1
        with self._changed:
            for _ in range(done):
                self._waiting.popleft()
            self._changed.notify_all()

    def _raise_trouble(self) -> None:
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise trouble

    def _check_file(self) -> None:
        """Refuse to work on a file that was deleted or replaced; a read-only process opens the new one."""
        trouble = "" if self._file is None else self._file.trouble()
        if not trouble or self._file is None:
            return
        if self._read_only and self._file.path.exists():
            with self._versions:
                self._versioned = None
            self._read_engine.dispose()
            self._file.release()
            return
        raise StoreUnwritable(f"The database {self.name} {trouble}.")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        self._check_file()
        try:
            yield
        except IntegrityError:
            raise  # a duplicate key: the caller knows what that means
        except PoolTimeout as error:
            raise StoreLocked(f"All connections to the database {self.name} are taken: try again.") from error
        except DBAPIError as error:
            failure = failure_of(error, self.name)
            if failure is None:
                raise
            raise failure from error


def _whole(url: URL) -> URL:
    """Return the address with the file's absolute path, so that a change of directory does not change the file."""
    if url.get_backend_name() != "sqlite" or is_memory(url):
        return url
    return url.set(database=str(Path(url.database or "").absolute()))


def _upgrade(connection: Connection) -> bool:
    """Run the missing migrations within the caller's transaction; return whether the database was empty."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    before = revision_of(connection)
    if before == REVISION:
        return False  # without the quarter of a second that loading Alembic takes
    from src.storage.migrations import upgrade

    upgrade(connection)
    return not before


def insert_or(connection: Connection, table: Table) -> Any:
    """Return an INSERT that supports ON CONFLICT; each database has its own class for it."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # uses megabytes that SQLite users do not need

        return postgresql.insert(table)
    return sqlite.insert(table)


def revision_of(connection: Connection) -> str:
    """Return the version of the tables, empty for a new database."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")
