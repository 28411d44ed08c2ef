"""The software bill of materials in CycloneDX form, from the locked requirements.

``./scripts/sbom.sh > sbom.json`` names each package of ``requirements.txt`` (or of the lists given) with its version,
the SHA-256 of every file that may be installed for it, the licence where it is installed here, and the code of others
that lies in this repository. It asks nobody, and the same pins give the same bytes.
"""

import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

PROJECT_ROOT: Final = Path(__file__).resolve().parent.parent
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*])?==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*\\?$")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_KEPT: Final = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^,|]+)[^|]* \| `([0-9a-f]{64})` \|$", re.MULTILINE)
_LONGEST_LICENCE: Final = 60  # some packages put its whole text where its name belongs


def pinned(text: str) -> Iterator[dict[str, Any]]:
    """Return a component for each pin of a requirements file.

    Raises:
        ValueError: a line that is neither pin, hash nor comment: the list would not be whole.
    """
    component: dict[str, Any] = {}
    for line in text.splitlines():
        if found := _PIN.match(line):
            if component:
                yield component
            component = _package(found[1], found[2], found[3] or "")
        elif found := _HASH.search(line):
            component["hashes"].append({"alg": "SHA-256", "content": found[1]})
        elif line.strip() and not line.startswith("#"):
            raise ValueError(f"no pin: {line}")
    if component:
        yield component


def kept(text: str) -> Iterator[dict[str, Any]]:
    """Return a component for each file of others that ``THIRD_PARTY.md`` names."""
    for path, _, version, licence, digest in _KEPT.findall(text):
        yield {
            "type": "file",
            "bom-ref": path,
            "name": path,
            "version": version.strip(),
            "licenses": [{"license": {"name": licence.strip()}}],
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }


def bill(lists: list[Path], third_party: Path) -> dict[str, Any]:
    """Return the bill of materials: of each package once, in the order of names."""
    found = {part["bom-ref"]: part for file in lists for part in pinned(file.read_text(encoding="utf-8"))}
    found |= {part["bom-ref"]: part for part in kept(third_party.read_text(encoding="utf-8"))}
    components = [found[name] for name in sorted(found)]
    content = json.dumps(components, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": "suite", "name": "ai-crypto-trader"}},
        "components": components,
    }


def _package(name: str, version: str, marker: str) -> dict[str, Any]:
    address = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}"
    component: dict[str, Any] = {"type": "library", "bom-ref": address, "name": name, "version": version}
    component |= {"purl": address, "hashes": []}
    if licence := _licence(name, version):
        component["licenses"] = [{"license": {"name": licence}}]
    if marker:
        component["properties"] = [{"name": "installed-where", "value": marker.strip()}]
    return component


def _licence(name: str, version: str) -> str:
    """Return the licence that the installed package of this very version names; empty where none is known."""
    try:
        told = metadata(name)
    except PackageNotFoundError:
        return ""
    if told["Version"] != version:
        return ""
    classified = [line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or () if line.startswith("License")]
    named = told["License-Expression"] or " or ".join(classified) or told["License"] or ""
    return "" if len(named) > _LONGEST_LICENCE else str(named)


def main(arguments: list[str]) -> int:
    """Print the bill; return the exit code."""
    lists = [Path(word) for word in arguments] or [PROJECT_ROOT / "requirements.txt"]
    try:
        made = bill(lists, PROJECT_ROOT / "THIRD_PARTY.md")
    except FileNotFoundError as error:
        print(f"There is no {error.filename}.", file=sys.stderr)
        return 66
    except ValueError as error:
        print(error, file=sys.stderr)
        return 65
    json.dump(made, sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
