"""An installation depends on the locks alone: whatever else an index offers, and whatever goes wrong, in one sentence.

Each test runs ``prepare_environment``, which all scripts run first, in a project whose lock has the pins of the real
one but the digests of empty wheels, against an index on this machine where every package has a newer release, too.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.package_index import PackageIndex, package_index, pins_of
from tests.project_copy import ROOT, clean_environment

pytestmark = pytest.mark.long
LOCKS = sorted(each.name for each in ROOT.glob("requirements*.txt"))
CAUSES = ("cannot be reached", "refused", "no longer", "another file", "incomplete", "certificate", "disk", "http://")


@dataclass
class Project:
    """A folder with the scripts, an environment without packages, and the index it installs from."""

    folder: Path
    index: PackageIndex

    def write(self, name: str, pins: str) -> None:
        (self.folder / name).write_text(f"# made by a test\n{pins}")

    def prepare(self, *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Install what ``restart_all.sh`` installs, and ``more`` locks as ``test.sh`` does."""
        command = 'source scripts/lib/environment.sh; wanted_locks+=("$@"); prepare_environment'
        environment = clean_environment() | {"PIP_INDEX_URL": self.index.address, "PIP_CONFIG_FILE": os.devnull}
        environment |= {"PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1", **variables}
        return subprocess.run(
            ["bash", "-c", command, "prepare", *more],
            cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip

    def installed(self) -> dict[str, str]:
        """Return version by name, less what came with the environment."""
        told = subprocess.run(
            [self.folder / ".venv/bin/python", "-m", "pip", "list", "--format=json", "--disable-pip-version-check"],
            capture_output=True, text=True, check=True, env=clean_environment(),
        )  # fmt: skip
        return {_plain(each["name"]): each["version"] for each in json.loads(told.stdout) if each["name"] != "pip"}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory):
    """A virtual environment with nothing but pip."""
    folder = tmp_path_factory.mktemp("venv") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin/python", "-m", "pip", "uninstall", "-qy", "setuptools"], check=True)
    return folder


@pytest.fixture
def project(tmp_path, empty_environment):
    folder = tmp_path / "a project"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    shutil.copy2(ROOT / ".env.example", folder)
    shutil.copytree(empty_environment, folder / ".venv", symlinks=True)
    with package_index(tmp_path / "index") as index:
        made = Project(folder, index)
        made.write("requirements.txt", index.hold("one==1.0\ntwo==2.0\n"))
        yield made


def the_sentence(run: subprocess.CompletedProcess[str]) -> str:
    """Return the one line on the error stream, which names one cause and nothing of pip's."""
    (line,) = run.stderr.splitlines()
    assert "WARNING" not in run.stdout + line
    assert "Traceback" not in line
    assert [cause for cause in CAUSES if cause in line][1:] == [], line
    return line


@pytest.mark.parametrize("lock", LOCKS)
def test_newer_releases_of_every_package_change_nothing(project, lock):
    pins = pins_of((ROOT / lock).read_text())
    assert len(pins) >= 5
    project.write("requirements.txt", project.index.hold((ROOT / lock).read_text()))
    run = project.prepare()
    assert (run.returncode, run.stderr) == (0, "")
    installed = project.installed()
    wanted = {_plain(pin.name): pin.version for pin in pins}
    assert installed.items() <= wanted.items()
    assert {_plain(pin.name) for pin in pins if not pin.marker} <= set(installed)


def test_the_printed_pip_command_works_beside_newer_releases_too(project):
    """``pip install -r requirements.txt``, without any option: extras stand in the lock, so pip looks for nothing."""
    project.write("requirements.txt", project.index.hold((ROOT / "requirements.txt").read_text()))
    run = subprocess.run(
        [".venv/bin/python", "-m", "pip", "install", "-q", "-i", project.index.address, "-r", "requirements.txt"],
        cwd=project.folder, env=clean_environment() | {"PIP_CONFIG_FILE": os.devnull}, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    wanted = {_plain(pin.name): pin.version for pin in pins_of((ROOT / "requirements.txt").read_text())}
    assert project.installed().items() <= wanted.items()


def test_a_withdrawn_package_is_named_in_one_sentence(project):
    project.index.withdraw("two", "2.0")
    run = project.prepare()
    assert run.returncode == 69
    assert "no longer offers two==2.0" in the_sentence(run)
    assert "one" not in the_sentence(run).replace("longer", "")


def test_a_project_that_the_index_does_not_know_is_named(project):
    del project.index.files["two"]
    run = project.prepare()
    assert run.returncode == 69
    assert "no longer offers two==2.0" in the_sentence(run)


def test_a_file_that_is_listed_and_gone_is_named(project):
    next(project.index.folder.glob("two-2.0-*")).unlink()
    run = project.prepare()
    assert run.returncode == 69
    assert "no longer has the file two-2.0-py3-none-any.whl" in the_sentence(run)


def test_an_index_that_nobody_answers_for_cannot_be_reached(project):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{probe.getsockname()[1]}"
        run = project.prepare(PIP_INDEX_URL=f"http://{closed}/simple")
    assert run.returncode == 69
    assert f"index {closed} cannot be reached" in the_sentence(run)


def test_a_host_that_no_name_server_knows_cannot_be_reached(project):
    run = project.prepare(PIP_INDEX_URL="https://index.invalid/simple")
    assert run.returncode == 69
    assert "index index.invalid cannot be reached" in the_sentence(run)


def test_an_index_without_encryption_is_not_asked(project):
    run = project.prepare(PIP_INDEX_URL="http://index.invalid/simple")
    assert run.returncode == 69
    assert "index index.invalid is addressed by http://" in the_sentence(run)


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_an_index_that_refuses_was_reached(project, status):
    project.index.status = status
    run = project.prepare()
    assert run.returncode == 69
    assert f"was reached and refused with HTTP {status}" in the_sentence(run)


def test_another_file_under_the_same_name_is_not_installed(project):
    next(project.index.folder.glob("two-2.0-*")).write_bytes(b"something else")
    run = project.prepare()
    assert run.returncode == 65
    assert "another file of two==2.0" in the_sentence(run)
    assert project.installed() == {}


def test_a_lock_that_misses_what_an_extra_needs_is_called_incomplete(project):
    index = project.index
    needed = index.add("three", "3.0", requires=("two[more]>=1",))
    two = index.add("two", "2.5", requires=("four>=4; extra == 'more'",), extras=("more",))
    index.add("four", "4.0")
    lock = f"two==2.5 --hash=sha256:{two}\nthree==3.0 --hash=sha256:{needed}\n"
    project.write("requirements.txt", lock)
    run = project.prepare()
    assert run.returncode == 65
    assert re.search(
        r"requirements\.txt is incomplete: nothing in it provides (four>=4|two\[more\])", the_sentence(run)
    )
    assert project.prepare().returncode == 65, "what is incomplete is not recorded as installed"


def test_what_pips_own_settings_say_is_neither_shown_nor_obeyed_where_it_contradicts_the_lock(project, tmp_path):
    limits = tmp_path / "constraints.txt"
    limits.write_text("two<2\n")
    absent = f"file://{tmp_path}/nowhere/simple"
    run = project.prepare(PIP_CONSTRAINT=str(limits), PIP_EXTRA_INDEX_URL=absent)
    assert (run.returncode, run.stderr) == (0, "")
    assert "WARNING" not in run.stdout
    assert "is ignored" in (project.folder / "logs/install.log").read_text(), "pip had warned"
    assert project.installed() == {"one": "1.0", "two": "2.0"}


def test_tests_add_what_they_need_and_a_start_leaves_it_alone(project):
    project.write("requirements-test.txt", project.index.hold("three==3.0\n"))
    assert project.prepare().returncode == 0
    assert project.installed() == {"one": "1.0", "two": "2.0"}
    added = project.prepare("requirements-test.txt")
    assert "requirements-test.txt" in added.stdout
    assert "of requirements.txt" not in added.stdout
    assert project.installed() == {"one": "1.0", "two": "2.0", "three": "3.0"}
    assert project.prepare().stdout == project.prepare("requirements-test.txt").stdout == ""
    assert project.installed() == {"one": "1.0", "two": "2.0", "three": "3.0"}


def test_a_changed_lock_replaces_its_packages_and_removes_what_no_lock_names_any_more(project):
    project.write("requirements-test.txt", project.index.hold("one==1.0\nthree==3.0\n"))
    assert project.prepare("requirements-test.txt").returncode == 0
    project.write("requirements.txt", project.index.hold("two==2.2\n"))
    project.write("requirements-test.txt", project.index.hold("one==1.0\nthree==3.4\n"))
    run = project.prepare()
    assert (run.returncode, run.stderr) == (0, "")
    assert project.installed() == {"one": "1.0", "two": "2.2", "three": "3.4"}, "a lock installed earlier follows"
    project.write("requirements-test.txt", project.index.hold("three==3.4\n"))
    assert project.prepare().returncode == 0
    assert project.installed() == {"two": "2.2", "three": "3.4"}
