"""A backup taken while the database is written to is whole, holds no secret, and can be put back."""

import hashlib
import io
import json
import sqlite3
import stat
import tarfile
import threading
from contextlib import closing

import pytest

from src.domain.errors import DataRefused, StoreCorrupt, StoreUnavailable
from src.runtime.process import AlreadyRunning, single_instance
from src.runtime.settings import Settings
from src.storage import backup
from src.storage.backup import main, make_backup, restore_backup
from src.storage.database import TradingDatabase


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Settings of a bot with a database and a model, in a folder that stands for the project's."""
    monkeypatch.setattr(backup, "PROJECT_ROOT", tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    env = tmp_path / ".env"
    env.write_text(
        f"DATABASE_URL=sqlite:///{tmp_path}/t.db\nMODEL_PATH={tmp_path}/m.pkl\nBOT_CONTROL_PIN=canary-pin-1\n"
    )
    settings = Settings.load(env)
    with closing(TradingDatabase(settings.database_url)) as database:
        database.migrate()
    model = b"a model"
    (tmp_path / "m.pkl").write_bytes(model)
    (tmp_path / "m.pkl.sha256").write_text(f"{hashlib.sha256(model).hexdigest()}  m.pkl\n")
    return settings


def rows(settings):
    with closing(sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))) as connection:
        return connection.execute("SELECT COUNT(*) FROM circuit_breaker_events").fetchone()[0]


def add_row(settings, version):
    with closing(sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(
            "INSERT INTO circuit_breaker_events (timestamp, bot_id, mode, world, symbol, version, status, trigger, "
            "since_ms, actor) VALUES ('x', 'main', 'paper', 'synthetic', '*', ?, 'ARMED', 'test', 0, 'test')",
            (version,),
        )


def test_a_restore_restores_the_backup_and_keeps_the_replaced_files(home, tmp_path):
    before = rows(home)
    archive = make_backup(home, tmp_path / "backups", keep=3)
    add_row(home, 99)
    (tmp_path / "m.pkl").write_bytes(b"a worse model")
    said = restore_backup(home, archive)
    assert rows(home) == before
    assert (tmp_path / "m.pkl").read_bytes() == b"a model"
    assert [path.read_bytes() for path in tmp_path.glob("m.pkl.before-*") if "sha" not in path.name] == [
        b"a worse model"
    ]
    assert len(list(tmp_path.glob("t.db.before-*"))) >= 1
    assert "restored" in " ".join(said)
    assert stat.S_IMODE((tmp_path / "t.db").stat().st_mode) == 0o600


def test_the_archive_is_private_and_holds_neither_settings_nor_secrets(home, tmp_path):
    (tmp_path / "paper.json").write_text("canary-account")
    archive = make_backup(home, tmp_path / "backups", keep=3)
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert stat.S_IMODE(archive.parent.stat().st_mode) == 0o700
    with tarfile.open(archive) as tar:
        assert sorted(tar.getnames()) == ["database.sqlite", "m.pkl", "m.pkl.sha256", "manifest.json"]
        content = b"".join(tar.extractfile(name).read() for name in tar.getnames())
    assert b"canary" not in content


def test_writers_are_not_disturbed_and_the_copy_is_of_one_instant(home, tmp_path):
    """A writer adds pairs of rows, each in one transaction: the copy never holds half a pair."""
    stop = threading.Event()

    def write():
        with closing(sqlite3.connect(tmp_path / "t.db", timeout=10, isolation_level=None)) as connection:
            connection.execute("CREATE TABLE pairs (n INTEGER)")
            for number in range(100_000):
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT INTO pairs VALUES (?)", [(number,), (number,)])
                connection.execute("COMMIT")
                if stop.is_set():
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        archive = make_backup(home, tmp_path / "backups", keep=3)
    finally:
        stop.set()
        writer.join()
    with tarfile.open(archive) as tar:
        (tmp_path / "copy.db").write_bytes(tar.extractfile("database.sqlite").read())
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'pairs'").fetchone():
            assert copy.execute("SELECT n FROM pairs GROUP BY n HAVING COUNT(*) <> 2").fetchall() == []


def test_only_the_newest_archives_stay(home, tmp_path):
    folder = tmp_path / "backups"
    made = [make_backup(home, folder, keep=2) for _ in range(4)]
    assert sorted(folder.iterdir()) == sorted(made)[-2:]


def test_nothing_is_restored_while_a_process_of_the_bot_runs(home, tmp_path):
    archive = make_backup(home, tmp_path / "backups", keep=1)
    add_row(home, 99)
    with (
        single_instance("trading_bot-main", tmp_path / "state"),
        pytest.raises(AlreadyRunning, match="trading_bot-main"),
    ):
        restore_backup(home, archive)
    assert rows(home) == 2


def repacked(archive, target, change):
    """Write the archive anew with ``change(name, content)`` in place of each content."""
    with tarfile.open(archive) as old, tarfile.open(target, "w:gz") as new:
        for name in old.getnames():
            content = change(name, old.extractfile(name).read())
            entry = tarfile.TarInfo("../../evil" if content is None else name)
            entry.size = len(content or b"")
            new.addfile(entry, io.BytesIO(content or b""))
    return target


def _evil_manifest(name, content):
    return (
        json.dumps({"made": "x", "bot_id": "main", "files": {"../evil": "0"}}).encode()
        if "manifest" in name
        else content
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda name, content: content[:-1] + b"?" if name == "m.pkl" else content,
        lambda name, content: content[: len(content) // 2] if name == "database.sqlite" else content,
        lambda name, content: b"{}" if "manifest" in name else content,
        _evil_manifest,
    ],
    ids=["another model", "half a database", "no list", "a file outside"],
)
def test_a_damaged_or_foreign_archive_changes_nothing(home, tmp_path, change):
    archive = make_backup(home, tmp_path / "backups", keep=1)
    add_row(home, 99)
    with pytest.raises(DataRefused):
        restore_backup(home, repacked(archive, tmp_path / "bad.tar.gz", change))
    assert rows(home) == 2
    assert list(tmp_path.glob("*.before-*")) == []
    assert not (tmp_path.parent / "evil").exists()


def test_no_archive_at_all_is_refused(home, tmp_path):
    (tmp_path / "text").write_text("no archive")
    for file in (tmp_path / "text", tmp_path / "none"):
        with pytest.raises(DataRefused):
            restore_backup(home, file)


def test_backing_up_a_damaged_database_is_an_error(home, tmp_path):
    (tmp_path / "t.db").write_bytes(b"this is no database, " * 400)
    with pytest.raises(StoreCorrupt):
        make_backup(home, tmp_path / "backups", keep=1)
    (tmp_path / "t.db").unlink()
    with pytest.raises(StoreUnavailable):
        make_backup(home, tmp_path / "backups", keep=1)
    assert list((tmp_path / "backups").iterdir()) == []


def test_the_command_prints_the_path_and_returns_the_exit_codes(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DATABASE_URL", home.database_url)
    monkeypatch.setenv("MODEL_PATH", str(tmp_path / "m.pkl"))
    assert main(["make", str(tmp_path / "b"), "--keep", "1"]) == 0
    archive = capsys.readouterr().out.strip()
    assert main(["restore", archive]) == 0
    assert "reconciles" in capsys.readouterr().out
    assert main(["restore", str(tmp_path / "none")]) == 65
    (tmp_path / "file").write_text("")
    assert main(["make", str(tmp_path / "file" / "b")]) == 73
    monkeypatch.setenv("LEVERAGE", "900")
    assert main(["make"]) == 78
    with pytest.raises(SystemExit):
        main(["make", "--keep", "0"])
