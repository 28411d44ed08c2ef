"""The units are what systemd understands, and expose little; the tools that say so need no running systemd."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
HOME = "/opt/trading-suite"
EXPOSURE = 20  # tenths of systemd's own scale; a bare unit has 96

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def installed(tmp_path):
    """The units as they would lie in /etc, for this checkout: verify asks whether their programs exist."""
    for unit in UNITS:
        text = unit.read_text().replace(f"{HOME}/.venv/bin/python", "/bin/true").replace(HOME, str(tmp_path))
        (tmp_path / unit.name).write_text(text)
    return tmp_path


@needs_systemd
def test_systemd_finds_nothing_wrong_with_any_unit(installed):
    done = analyze("verify", *(str(installed / unit.name) for unit in UNITS))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_a_unit_exposes_little(unit):
    done = analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", str(unit))
    assert done.returncode == 0, done.stdout


@needs_systemd
def test_the_gate_really_refuses_a_bare_unit(tmp_path):
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    assert analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", str(bare)).returncode != 0


def test_every_program_that_a_unit_starts_is_part_of_the_project():
    for unit in SERVICES:
        (command,) = re.findall(rf"^ExecStart={HOME}/\.venv/bin/python (.+)$", unit.read_text(), re.MULTILINE)
        words = command.split()
        module = words[1].replace(".", "/") if words[0] == "-m" else words[0].removesuffix(".py")
        if module == "src/web_dashboard" and not (ROOT / f"{module}.py").exists():
            continue  # not part of every checkout yet
        assert (ROOT / f"{module}.py").exists() or (ROOT / module / "__main__.py").exists(), unit.name


def test_the_bot_is_ended_when_it_stops_turning_and_not_restarted_for_wrong_settings():
    text = (ROOT / "deploy/systemd/trading-suite-bot.service").read_text()
    for line in ("Type=notify", "WatchdogSec=180", "Restart=on-failure", "StartLimitBurst=5"):
        assert re.search(rf"^{line}$", text, re.MULTILINE), line
    assert re.search(r"^RestartPreventExitStatus=.*\b78\b", text, re.MULTILINE)
