"""A PostgreSQL server of our own: Debian's programs, a folder in /tmp, loopback alone, ended by its process number."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

USER = "trader"
PASSWORD = "canary-database-password"


def _programs() -> Path:
    """Return the folder of the newest server's programs; skips where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not found:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    return found[-1].parent


def _as_server(*words: str) -> list[str]:
    """PostgreSQL refuses to run as root: then it runs as the user that its package made."""
    return ["runuser", "-u", "postgres", "--", *words] if os.geteuid() == 0 else list(words)


@contextmanager
def postgres() -> Iterator[str]:
    """Start a server and yield the address of an empty database on it, for SQLAlchemy."""
    programs = _programs()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if os.geteuid() == 0:
        for each in (folder, secret):
            shutil.chown(each, "postgres")
    data = folder / "data"
    server = None
    try:
        subprocess.run(
            _as_server(
                str(programs / "initdb"), "-D", str(data), "-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--no-sync",
                f"--pwfile={secret}", "--no-locale",
            ),
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        server = subprocess.Popen(
            _as_server(
                str(programs / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder), "-F",
                "-c", "listen_addresses=127.0.0.1",
            ),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        ready = [str(programs / "psql"), "-h", "127.0.0.1", "-p", str(port), "-U", USER, "-d", "postgres", "-c"]
        for _ in range(100):
            done = subprocess.run([*ready, "CREATE DATABASE suite"], env=environment, capture_output=True, check=False)
            if done.returncode == 0:
                break
            if server.poll() is not None:
                raise AssertionError("PostgreSQL ended at its start")
            subprocess.run(["sleep", "0.1"], check=True)
        else:
            raise AssertionError("PostgreSQL did not get ready within 10 s")
        yield f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{port}/suite"
    finally:
        if server is not None:
            _end(server, data)
        shutil.rmtree(folder, ignore_errors=True)


def _end(server: subprocess.Popen[bytes], data: Path) -> None:
    """Ask the server itself (runuser in front of it hears no signal of ours) to end, at once."""
    try:
        number = int((data / "postmaster.pid").read_text().split()[0])
        os.kill(number, 3)  # SIGQUIT: immediate
        server.wait(10)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        server.kill()
        server.wait(10)
