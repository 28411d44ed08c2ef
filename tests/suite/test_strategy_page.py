"""docs/strategies.md is followed step by step: the file as printed, the commands as printed, and what they print."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.clone import ROOT, copy_project
from tests.shared_data import shared_file

PAGE = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
STEPS = PAGE.partition("## Your own strategy")[2].partition("## The samples")[0]
BLOCKS = re.findall(r"```(python|bash|text)\n(.*?)```", STEPS, re.DOTALL)
VARIABLE = re.compile(r"[\d.,]+ (ms|s)\b|sha256 \S+")


def follow():
    """Yield the printed commands of the page, each with what it shall print (empty: not shown)."""
    for place, (kind, text) in enumerate(BLOCKS):
        if kind != "bash":
            continue
        shown = BLOCKS[place + 1][1] if place + 1 < len(BLOCKS) and BLOCKS[place + 1][0] == "text" else ""
        lines = text.strip().splitlines()
        yield from ((line, shown if line is lines[-1] else "") for line in lines)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("page") / "ai-crypto-trader")
    source = next(text for kind, text in BLOCKS if kind == "python")
    (folder / "config" / "strategies" / "pullback.py").write_text(source)
    return folder


def typed(project: Path, line: str) -> "subprocess.CompletedProcess[str]":
    """Run a printed command; a download takes the recorded file of the same candles instead."""
    words = shlex.split(line)
    assert words[0] == "python3"
    if "download" in words:
        pair = words[words.index("download") + 1]
        for name, more in (("15m_2022_2024H1", []), ("funding_to2024H1", ["--kind", "funding"])):
            file = shared_file(f"{pair}_um_{name}.parquet")
            taken = run(project, ["-m", "src.market_data", "import", str(file), "--symbol", pair, *more])
            assert taken.returncode == 0, taken.stderr
        return taken
    return run(project, words[1:])


def run(project: Path, words: list[str]) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "HOME": str(project), "COLUMNS": "100"}
    python = str(project / ".venv" / "bin" / "python")
    return subprocess.run(
        [python, *words], cwd=project, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def test_the_page_has_its_steps():
    assert [line.split()[3] for line, _ in follow() if "src.backtest" in line] == [
        "check",
        "run",
        "sweep",
        "walk-forward",
    ]
    assert sum(bool(shown) for _, shown in follow()) == 4


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_every_step_prints_what_the_page_shows(project):
    for line, shown in follow():
        done = typed(project, line)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        printed = {_bare(each) for each in done.stdout.splitlines()}
        missing = [each for each in shown.splitlines() if _bare(each) not in printed]
        assert missing == [], f"{line}\n{done.stdout}"


def _bare(line: str) -> str:
    """Return a line without what differs from run to run: times, digests, and the width of a table."""
    return " ".join(re.sub(r"[━─┏┓┡┩┳╇└┘┴]+", "", VARIABLE.sub("", line)).split())


@pytest.mark.long
def test_the_samples_are_those_of_the_folder():
    named = set(re.findall(r"^\| `(\w+)`: ", PAGE, re.MULTILINE))
    assert named == {path.stem for path in (ROOT / "config" / "strategies").glob("*.py")}
