"""One version everywhere."""

import tomllib
from pathlib import Path

from src.api.rest import VERSION as TOLD_BY_THE_API
from src.domain.version import VERSION

ROOT = Path(__file__).resolve().parent.parent


def test_the_project_s_file_and_the_api_tell_the_same_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION == TOLD_BY_THE_API


def test_no_other_module_writes_a_version_of_its_own():
    files = [path for path in (ROOT / "src").rglob("*.py") if path.name != "version.py"]
    named = [
        path.name for path in files for line in path.read_text().splitlines() if line.startswith('VERSION: Final = "')
    ]
    assert named == []
