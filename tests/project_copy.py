"""A copy of the project in a folder of its own, with settings of its own, for tests that run its scripts."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PARTS = (
    "src",
    "scripts",
    "config",
    "templates",
    "static",
    "requirements.txt",
    "requirements-telegram.txt",
    ".env.example",
)


@dataclass(frozen=True)
class ProjectCopy:
    """Where it is; its scripts are run without any setting from outside."""

    folder: Path

    def run(self, script: str, *arguments: str, within_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run one of its scripts to the end; what it starts in the background stays."""
        return subprocess.run(
            [str(self.folder / "scripts" / script), *arguments],
            cwd=self.folder, env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=within_s, check=False,
        )  # fmt: skip


def clean_environment() -> dict[str, str]:
    """Return what a shell has that nobody set anything in."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


@contextmanager
def project_copy(folder: Path, **settings: str) -> Iterator[ProjectCopy]:
    """Lend a copy with these settings in its ``.env`` and this interpreter's packages; ends what runs in it."""
    folder.mkdir(mode=0o700)
    for part in _PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    _lend_packages(folder / ".venv")
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    (folder / ".env").chmod(0o600)
    copy = ProjectCopy(folder)
    try:
        yield copy
    finally:
        copy.run("stop_all.sh")


def _lend_packages(target: Path) -> None:
    """Let the copy's scripts find an environment in which everything is installed already."""
    target.mkdir()
    for part in ("bin", "lib", "pyvenv.cfg"):
        (target / part).symlink_to(Path(sys.prefix) / part)
    records = target / "locks" / f"Python {platform.python_version()}"
    records.mkdir(parents=True)
    for lock in ("requirements.txt", "requirements-telegram.txt"):
        shutil.copy2(ROOT / lock, records)
