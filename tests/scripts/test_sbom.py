"""The bill of materials names all that is pinned, with its digests, from the lists alone and always alike."""

import json
import re

import pytest

from scripts import sbom
from scripts.sbom import PROJECT_ROOT

LISTS = sorted(PROJECT_ROOT.glob("requirements*.txt"))


@pytest.mark.parametrize("file", LISTS, ids=lambda file: file.stem)
def test_every_pin_is_on_it_with_every_digest_and_nothing_else(file):
    text = file.read_text()
    components = list(sbom.pinned(text))
    assert len(components) == len(re.findall(r"^[^#\s].*==", text, re.MULTILINE)) >= 5
    assert sum(len(each["hashes"]) for each in components) == text.count("--hash=sha256:")
    assert all(each["hashes"] for each in components)
    named = re.findall(
        r"^([\w.-]+)(?:\[\S+])?==", text, re.MULTILINE
    )  # a pin with extras stands there without them, too
    assert len({each["purl"] for each in components}) == len(set(named))


def test_the_code_of_others_in_the_repository_is_on_it():
    made = sbom.bill([PROJECT_ROOT / "requirements.txt"], PROJECT_ROOT / "THIRD_PARTY.md")
    files = {each["name"]: each for each in made["components"] if each["type"] == "file"}
    vendored = {*(PROJECT_ROOT / "static/vendor").glob("*.js"), *(PROJECT_ROOT / "tests/vendor").glob("*.js")}
    assert {PROJECT_ROOT / name for name in files} == vendored
    assert all(each["version"] and each["licenses"] for each in files.values())


def test_it_has_the_form_that_readers_expect_and_is_the_same_each_time(capsys):
    assert sbom.main([]) == 0
    once = capsys.readouterr().out
    assert sbom.main([]) == 0
    assert capsys.readouterr().out == once
    made = json.loads(once)
    assert (made["bomFormat"], made["specVersion"], made["version"]) == ("CycloneDX", "1.5", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made["serialNumber"])
    parts = {each["name"]: each for each in made["components"]}
    assert parts["numpy"]["purl"] == f"pkg:pypi/numpy@{parts['numpy']['version']}"
    assert parts["numpy"]["licenses"][0]["license"]["name"]
    assert parts["colorama"]["properties"] == [{"name": "installed-where", "value": "sys_platform == 'win32'"}]


def test_a_list_that_is_not_whole_is_refused(tmp_path, capsys):
    loose = tmp_path / "requirements.txt"
    loose.write_text("numpy>=2\n")
    assert sbom.main([str(loose)]) == 65
    assert sbom.main([str(tmp_path / "none.txt")]) == 66
    assert "no pin: numpy>=2" in capsys.readouterr().err
