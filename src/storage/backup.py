"""Backs up database and model into one verified archive while everything runs, and restores it.

``python3 -m src.storage.backup make [FOLDER] [--keep N]`` and ``python3 -m src.storage.backup restore FILE``.
An archive never contains ``.env`` or the paper exchange's account.
"""

import argparse
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL
from sqlalchemy.engine import make_url

from src.domain.clock import SystemClock, utc_text
from src.domain.errors import DataRefused, SettingsError, StoreCorrupt, StoreUnavailable
from src.domain.version import VERSION_LINE
from src.runtime.arguments import whole_number
from src.runtime.process import AlreadyRunning, single_instance
from src.runtime.settings import PROJECT_ROOT, Settings
from src.storage.database import TradingDatabase

_MANIFEST: Final = "manifest.json"
_SQLITE, _POSTGRES = "database.sqlite", "database.pgdump"
_PREFIX: Final = "backup-"
_PROCESSES: Final = ("trading_bot", "chart_analysis_bot", "mcp_server", "web_dashboard", "watcher")
_POSTGRES_TIMEOUT_S: Final = 1_800.0


def make_backup(settings: Settings, folder: Path, keep: int) -> Path:
    """Write an archive of database and model into ``folder`` and return it; only the newest ``keep`` stay.

    Works while everything runs: a consistent snapshot of the database, and the last complete model file.

    Raises:
        StoreUnavailable, StoreCorrupt: the database cannot be read, or its copy is damaged.
        OSError: the folder cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = utc_text(SystemClock().now_ms())
    target = folder / f"{_PREFIX}{settings.bot_id}-{made.translate(str.maketrans('', '', ':-.'))}.tar.gz"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as name:
        place = Path(name)
        files = [_copy_database(make_url(settings.database_url), place), *_copy_model(settings, place)]
        manifest = {"made": made, "bot_id": settings.bot_id, "files": {each.name: _sha256(each) for each in files}}
        (place / _MANIFEST).write_text(json.dumps(manifest, indent=2))
        archive = place / "archive"
        with tarfile.open(archive, "w:gz") as tar:
            for each in (place / _MANIFEST, *files):
                tar.add(each, arcname=each.name)
        archive.chmod(0o600)
        with archive.open("rb") as written:
            os.fsync(written.fileno())
        archive.replace(target)
    for old in sorted(folder.glob(f"{_PREFIX}{settings.bot_id}-*.tar.gz"))[:-keep]:
        old.unlink()
    return target


def restore_backup(settings: Settings, archive: Path) -> list[str]:
    """Replace database and model by those of an archive; return what was done, one sentence each.

    The existing files are moved aside, not deleted. Nothing is changed unless the whole archive is valid.

    Raises:
        AlreadyRunning: a process of this bot runs.
        DataRefused: the archive is not one of this suite, damaged, or of another kind of database.
    """
    with _nobody_runs(settings), tempfile.TemporaryDirectory(dir=PROJECT_ROOT, prefix=".restoring-") as name:
        place = Path(name)
        manifest = _unpack(archive, place)
        url = make_url(settings.database_url)
        wanted = _SQLITE if url.get_backend_name() == "sqlite" else _POSTGRES
        if wanted not in manifest["files"]:
            raise DataRefused(f"{archive.name} holds another kind of database than DATABASE_URL names.")
        done = [f"{archive.name} was made at {manifest['made']} for bot {manifest['bot_id']}."]
        stamp = utc_text(SystemClock().now_ms()).translate(str.maketrans("", "", ":-."))
        if wanted == _SQLITE:
            _check_sqlite(place / _SQLITE)
            done += _put(place / _SQLITE, Path(url.database or ""), stamp, ("", "-wal", "-shm"))
        else:
            _postgres(
                ["pg_restore", "--clean", "--if-exists", "--no-owner", "--single-transaction"], url, place / _POSTGRES
            )
            done.append(f"{url.render_as_string(hide_password=True)} was restored.")
        model = settings.model_path
        for name_of_file in (model.name, f"{model.name}.sha256"):
            if name_of_file in manifest["files"]:
                done += _put(place / name_of_file, model.with_name(name_of_file), stamp, ("",))
    with closing(TradingDatabase(settings.database_url)) as database:
        database.migrate()
        database.check()
    return [*done, "The database is whole and up to date; the bot reconciles with the exchange at its next start."]


def verify_backup(archive: Path) -> str:
    """Unpack an archive into a temporary folder, check every file, and return a sentence with the result.

    Raises:
        DataRefused, StoreCorrupt: the archive or the database in it is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="verifying-") as name:
        place = Path(name)
        manifest = _unpack(archive, place)
        if (place / _SQLITE).exists():
            _check_sqlite(place / _SQLITE)
        files = ", ".join(sorted(manifest["files"]))
    return f"{archive.name} is complete: {files}."


def _copy_database(url: URL, place: Path) -> Path:
    if url.get_backend_name() != "sqlite":
        target = place / _POSTGRES
        _postgres(["pg_dump", "--format=custom", "--no-owner"], url, target)
        return target
    target = place / _SQLITE
    source = Path(url.database or "")
    if not source.exists():
        raise StoreUnavailable(f"There is no database {source} yet.")
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=30)) as live,
            closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy, pages=1_000, sleep=0.01)  # in pieces, so that no writer waits long
    except sqlite3.DatabaseError as error:
        raise StoreCorrupt(f"The database {source} cannot be copied ({error}).") from error
    _check_sqlite(target)
    return target


def _check_sqlite(file: Path) -> None:
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise StoreCorrupt(f"The copy of the database is damaged ({found}).")


def _copy_model(settings: Settings, place: Path) -> list[Path]:
    """Copy the model with its checksum; if it is replaced meanwhile, copy it again."""
    model = settings.model_path
    beside = model.with_name(f"{model.name}.sha256")
    if not model.exists():
        return []
    for _ in range(3):
        copies = [place / each.name for each in (model, beside) if each.exists()]
        for copy in copies:
            copy.write_bytes(model.with_name(copy.name).read_bytes())
        if len(copies) == 1 or copies[1].read_text().startswith(_sha256(copies[0])):
            return copies
    raise DataRefused(f"The model {model.name} and its checksum do not agree: retrain, or remove it.")


def _unpack(archive: Path, place: Path) -> dict[str, Any]:
    """Unpack the files of the manifest, verify their checksums, and return the manifest."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            inside = tar.extractfile(_MANIFEST)
            manifest = json.load(inside) if inside is not None else {}
            for name, digest in manifest["files"].items():
                if Path(name).name != name or not tar.getmember(name).isfile():
                    raise DataRefused(f"{archive.name} names an unknown file: {name}.")
                content = tar.extractfile(name)
                if content is not None:
                    (place / name).write_bytes(content.read())
                if _sha256(place / name) != digest:
                    raise DataRefused(f"{archive.name} is damaged: {name} has another checksum.")
    except (OSError, tarfile.TarError, EOFError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataRefused(f"{archive} is not a backup of this suite, or damaged ({error}).") from error
    return dict(manifest)


def _put(source: Path, target: Path, stamp: str, endings: Sequence[str]) -> list[str]:
    """Move an existing ``target`` aside and ``source`` to its place; return what was done."""
    done = []
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for ending in endings:
        old = target.with_name(target.name + ending)
        if old.exists():
            aside = target.with_name(f"{target.name}.before-{stamp}{ending}")
            old.replace(aside)
            done.append(f"{old.name} was moved to {aside.name}.")
    fresh = target.with_name(f".{target.name}.restored")
    fresh.write_bytes(source.read_bytes())
    fresh.chmod(0o600)
    fresh.replace(target)
    return [*done, f"{target.name} was restored."]


@contextmanager
def _nobody_runs(settings: Settings) -> Iterator[None]:
    """Hold the locks of all processes of the bot, so that none runs and none starts meanwhile."""
    with ExitStack() as places:
        for process in _PROCESSES:
            places.enter_context(single_instance(f"{process}-{settings.bot_id}", settings.state_dir))
        yield


def _postgres(command: list[str], url: URL, file: Path) -> None:
    """Run one of PostgreSQL's own programs; the password is passed in the environment, never as an argument."""
    libpq = URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query).render_as_string()
    flag = "--dbname" if command[0] == "pg_restore" else "--file"
    words = [*command, flag, libpq if flag == "--dbname" else str(file), str(file) if flag == "--dbname" else libpq]
    try:
        subprocess.run(  # noqa: S603 - a program of our own choice, words of our own making
            words,
            env=_with_password(url),
            check=True,
            capture_output=True,
            text=True,
            timeout=_POSTGRES_TIMEOUT_S,
        )
    except FileNotFoundError as error:
        raise StoreUnavailable(f"{command[0]} is missing: install PostgreSQL's client programs.") from error
    except subprocess.TimeoutExpired as error:
        raise StoreUnavailable(f"{command[0]} took longer than {_POSTGRES_TIMEOUT_S:.0f} s.") from error
    except subprocess.CalledProcessError as error:
        raise StoreUnavailable(f"{command[0]} failed: {error.stderr.strip()}") from error


def _with_password(url: URL) -> dict[str, str]:
    """Return the minimal environment for PostgreSQL's programs."""
    little = {"PATH": os.defpath, "LC_ALL": "C"}
    return little | ({"PGPASSWORD": str(url.password)} if url.password else {})


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def main(arguments: list[str]) -> int:
    """Make or restore a backup; return the exit code: 65 damaged, 73 cannot write, 75 running, 78 wrong settings."""
    parser = argparse.ArgumentParser(prog="python3 -m src.storage.backup", description="Back up database and model.")
    parser.add_argument("--version", action="version", version=VERSION_LINE)
    actions = parser.add_subparsers(dest="action", required=True)
    make = actions.add_parser("make", help="write an archive; services may keep running")
    make.add_argument("folder", nargs="?", type=Path, default=PROJECT_ROOT / "backups")
    make.add_argument(
        "--keep", type=whole_number(1, 10_000), default=14, metavar="N", help="archives to keep (default 14)"
    )
    actions.add_parser("restore", help="restore an archive; all services must be stopped").add_argument(
        "archive", type=Path
    )
    command = parser.parse_args(arguments)
    try:
        settings = Settings.load()
        if command.action == "make":
            print(make_backup(settings, command.folder, command.keep))
        else:
            print("\n".join(restore_backup(settings, command.archive)))
    except SettingsError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 78
    except AlreadyRunning as error:
        print(f"{error} Nothing was changed.", file=sys.stderr)
        return 75
    except (StoreCorrupt, DataRefused) as error:
        print(error, file=sys.stderr)
        return 65
    except (StoreUnavailable, OSError) as error:
        print(error, file=sys.stderr)
        return 73
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
