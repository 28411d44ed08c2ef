"""What the documents promise is there: links lead somewhere, commands exist, every setting is in its table.

``python -m tests.test_docs`` writes the table of docs/configuration.md anew.
"""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from src.runtime.settings_fields import SettingFields

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = ROOT / "docs" / "configuration.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


def table() -> str:
    """Return the table of all settings: name, default, what may stand there."""
    lines = ["| setting | default | what may stand there |", "|---|---|---|"]
    for name, field in SettingFields.model_fields.items():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else str(field.default)
        default = "" if field.default is None else default
        shown = f"`{default.removeprefix(str(ROOT) + '/')}`" if default else "(empty)"
        what = (field.description or "").replace("|", "or")
        lines.append(f"| `{name.upper()}` | {shown} | {what} |")
    return "\n".join(lines) + "\n"


def parts() -> tuple[str, str, str]:
    """Return the configuration page before, within and after its table."""
    before, _, rest = CONFIGURATION.read_text(encoding="utf-8").partition(BEGIN)
    inside, _, after = rest.partition(END)
    return before, inside, after


def test_the_page_of_settings_names_every_setting_with_its_default():
    assert parts()[1] == table(), "run `python -m tests.test_docs` to write the table anew"


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_every_script_and_file_that_is_named_exists(page):
    text = page.read_text(encoding="utf-8")
    for target in set(re.findall(r"(?:\./)?(scripts/[a-z_]+\.sh|src/[a-z_/]+\.py|benchmarks/[a-z_]+\.py)", text)):
        assert (ROOT / target).exists(), f"{page.name} names {target}, which is not there"


if __name__ == "__main__":
    head, _, tail = parts()
    CONFIGURATION.write_text(head + BEGIN + table() + END + tail, encoding="utf-8")
