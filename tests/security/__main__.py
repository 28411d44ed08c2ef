"""All security tests in one command: python -m tests.security

Runs the tests that the index names, of pytest and of bats, fast and long, and prints a line for each.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from tests.security.test_index import HELD, ROOT


def failed_of_pytest(names: Iterable[str]) -> set[str]:
    """Run tests of pytest; return those that failed or did not run."""
    wanted = set(names)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "", f"--junitxml={report}", *sorted(wanted)]
        subprocess.run(command, cwd=ROOT, check=False)
        if not report.exists():
            return wanted
        good, bad = set(), set()
        for case in ElementTree.parse(report).iter("testcase"):
            name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '').partition('[')[0]}"
            (bad if len(case) else good).add(name)
    return (wanted - good) | (wanted & bad)


def failed_of_bats(names: Iterable[str]) -> set[str]:
    """Run tests of bats; return those that failed."""
    failed = set()
    for name in sorted(set(names)):
        file, _, title = name.partition("::")
        if subprocess.run(["bats", "-f", f"^{re.escape(title)}$", file], cwd=ROOT, check=False).returncode:
            failed.add(name)
    return failed


def main() -> int:
    """Run, print the table, return 1 where one is not held."""
    names = {name for tests in HELD.values() for name in tests}
    of_bats = {name for name in names if ".bats::" in name}
    failed = failed_of_pytest(names - of_bats) | failed_of_bats(of_bats)
    print()
    for title, tests in HELD.items():
        missed = sorted(set(tests) & failed)
        print(f"{'ok  ' if tests and not missed else 'FAIL'} {title}", *missed, sep="\n       " if missed else "")
    return int(bool(failed) or not all(HELD.values()))


if __name__ == "__main__":
    sys.exit(main())
