"""One version everywhere, a licence, and a package description that names what the locks are made from."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from src.domain.version import VERSION, VERSION_LINE
from tests.project_copy import ROOT, clean_environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROGRAMS = (
    *(f"src/{name}.py" for name in ("trading_bot", "chart_analysis_bot", "web_dashboard", "mcp_server")),
    *(f"src/{name}.py" for name in ("binance_client", "market_context", "database")),
    *("retrain_rl_model.py", "configure_costs.py"),
)
MODULES = (
    *("src.backtest", "src.market_data", "src.paper_exchange", "src.storage.backup", "src.storage.retention"),
    *("src.monitoring.watchdog", "src.monitoring.health", "src.api.keys", "src.agents.crew_runner"),
)


def answer(*words: str) -> str:
    """Return what a program prints when asked for its version, from another folder and without settings."""
    asked = subprocess.run(
        [sys.executable, *words, "--version"],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return asked.stdout


@pytest.mark.long
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_says_the_version(program):
    assert answer(program) == f"{VERSION_LINE}\n"


@pytest.mark.long
@pytest.mark.parametrize("module", MODULES)
def test_every_module_that_is_run_says_the_version(module):
    assert answer("-m", module) == f"{VERSION_LINE}\n"


def test_the_version_stands_in_one_place():
    """In no other module and not in ``pyproject.toml``, which reads it; the changelog has a dated release of it."""
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "src.domain.version.VERSION"}
    assert "version" in PROJECT["project"]["dynamic"]
    named = [
        path
        for path in [*(ROOT / "src").rglob("*.py"), *ROOT.glob("*.py")]
        if re.search(r"(?i)\bversion\b[^=\n]*=\s*\"\d+\.\d+\.\d+\"", path.read_text())
    ]
    assert [path.relative_to(ROOT) for path in named if "OPENAPI_VERSION" not in path.read_text()] == [
        Path("src/domain/version.py")
    ]


def test_the_changelog_has_dated_releases_and_a_place_for_what_comes():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert headings[1].startswith(f"[{VERSION}] - ")
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+] - \d{4}-\d\d-\d\d", each) for each in headings[1:])


def test_the_licence_is_named_where_people_and_programs_look():
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert PROJECT["project"]["license"] == "MIT"
    assert "LICENSE" in PROJECT["project"]["license-files"]
    assert "[MIT](LICENSE)" in (ROOT / "README.md").read_text()


def test_dependencies_and_extras_are_the_files_that_the_locks_are_made_from():
    """Each ``.in`` file is a dependency list of the package, and each lock is made from such files alone."""
    dynamic = PROJECT["tool"]["setuptools"]["dynamic"]
    extras = {name: each["file"] for name, each in dynamic["optional-dependencies"].items()}
    assert dynamic["dependencies"]["file"] == ["requirements.in"]
    assert extras == {
        name: [f"requirements-{name}.in"]
        for name in ("test", "bench", "alerts", "telegram", "ray", "strategies", "agents")
    }
    assert {each.name for each in ROOT.glob("requirements*.in")} == {
        "requirements.in",
        *(file for files in extras.values() for file in files),
    }
    for lock in ROOT.glob("requirements*.txt"):
        made_from = re.findall(r"requirements\S*\.in", lock.read_text().splitlines()[0])
        assert made_from, f"{lock.name} says what it is made from"
        pinned = {name.lower() for name in re.findall(r"^([\w.-]+)==", lock.read_text(), re.MULTILINE)}
        for source in made_from:
            for line in (ROOT / source).read_text().splitlines():
                if name := re.match(r"[A-Za-z0-9_.-]+", line):
                    assert re.sub(r"[-_.]+", "-", name[0]).lower() in pinned, (
                        f"{line} of {source} is not in {lock.name}"
                    )


def test_a_trading_machine_gets_nothing_that_tests_alone_need():
    pinned = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert "pytest" in pinned
    assert not set(pinned) & {"playwright", "ccxt", "mypy", "ruff", "hypothesis", "schemathesis", "uv", "flask-limiter"}


@pytest.mark.long
def test_the_project_is_installed_into_an_environment_as_a_package(tmp_path):
    """``pip install -e .`` in a copy: its metadata has version, licence and extras."""
    copy = tmp_path / "a copy"
    copy.mkdir()
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "THIRD_PARTY.md",
        *(each.name for each in ROOT.glob("*.in")),
    ):
        (copy / name).write_bytes((ROOT / name).read_bytes())
    for name in ("retrain_rl_model.py", "configure_costs.py", "src/domain/version.py", "src/__init__.py"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--target", target, "-e", copy], check=True, env=clean_environment(), timeout=120)
    (told,) = target.glob("ai_crypto_trader-*.dist-info/METADATA")
    text = told.read_text()
    assert f"\nVersion: {VERSION}\n" in text
    assert "\nLicense-Expression: MIT\n" in text
    assert set(re.findall(r"^Provides-Extra: (\w+)$", text, re.MULTILINE)) == {
        "test",
        "bench",
        "alerts",
        "ray",
        "strategies",
        "telegram",
        "agents",
    }
    assert "\nRequires-Dist: SQLAlchemy\n" in text
    assert re.search(r"Requires-Dist: ccxt; extra == .test.", text)
