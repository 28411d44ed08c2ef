"""Installs the packages of lock files into the environment of the Python that runs it, from the locks alone.

    .venv/bin/python scripts/install_packages.py requirements.txt [requirements-test.txt ...]

A lock names every package with its version and the digests of its files. pip is therefore told to resolve nothing
(``--no-deps``), to accept only files with these digests, and to build nothing with tools that the lock does not name:
what an index offers beside the locked versions has no influence. Afterwards pip checks, without the index, that nothing
is missing that an installed package asks for. A failure is one sentence; pip's own report stays in logs/install.log.

A copy of each installed lock is kept in the environment: an unchanged lock is not installed again, a changed one
replaces its packages, and packages that no lock names any more are removed.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
LOG: Final = ROOT / "logs" / "install.log"
RECORDS: Final = Path(sys.prefix) / "locks" / f"Python {platform.python_version()}"
DAMAGED, UNAVAILABLE, CANNOT_WRITE = 65, 69, 73
_BUILD_TOOL: Final = "setuptools"
_PIP: Final = (sys.executable, "-W", "ignore", "-m", "pip", "--disable-pip-version-check", "--no-input")
_FROM_LOCK: Final = ("install", "--no-deps", "--require-hashes", "--no-build-isolation", "--prefer-binary")
_REFUSAL: Final = re.compile(
    r"\b(401|403|407|429|5\d\d) (?:Client|Server) Error|HTTP error (?!404)(\d{3})|too many (\d{3})"
)
_NO_CONNECTION: Final = re.compile(
    r"connection error|NewConnectionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|NameResolutionError"
    r"|Connection (?:aborted|refused|reset)|Network is unreachable|Temporary failure in name resolution|timed out"
)


class Failure(NamedTuple):
    """Why packages could not be installed: the exit code and one sentence."""

    code: int
    sentence: str


def install(lock: Path) -> Failure | None:
    """Install the packages of ``lock``; return what went wrong, or None."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    LOG.unlink(missing_ok=True)
    text = lock.read_text(encoding="utf-8")
    tool = re.search(rf"^{_BUILD_TOOL}==.*\n(?:[ \t].*\n)*", text, re.MULTILINE)
    if tool:  # first and alone: without build isolation it has to be there before anything is built
        alone = RECORDS.parent / f"{_BUILD_TOOL}.txt"
        alone.parent.mkdir(parents=True, exist_ok=True)
        alone.write_text(tool[0], encoding="utf-8")
        if not _pip(*_FROM_LOCK, "-r", str(alone)):
            return _failure(lock)
    if not _pip(*_FROM_LOCK, "-r", str(lock)):
        return _failure(lock)
    return missing(lock)


def missing(lock: Path) -> Failure | None:
    """Let pip resolve ``lock`` against what is installed, without any index; return what it misses, or None."""
    if _pip("--isolated", "install", "--dry-run", "--no-index", "-r", str(lock)):
        return None
    said = LOG.read_text(encoding="utf-8", errors="replace")
    found = re.findall(r"(?:satisfies the requirement|have their versions pinned with ==. These do not:)\s+(.+)", said)
    what = re.sub(r"\s*\(from versions:.*|\s*\(from -r.*", "", found[-1]) if found else _last_error(said)
    return Failure(DAMAGED, f"{lock.name} is incomplete: nothing in it provides {what}. Make the locks anew")


def _pip(*arguments: str) -> bool:
    """Run pip with its report in the log; tell whether it succeeded."""
    environment = os.environ | {"PIP_CONSTRAINT": os.devnull, "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8"}
    command = [*_PIP, "--log", str(LOG), *arguments]
    done = subprocess.run(  # noqa: S603 - pip itself, with arguments of this file
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    with LOG.open("a", encoding="utf-8") as log:
        log.write(done.stdout + done.stderr)
    return done.returncode == 0


def _failure(lock: Path) -> Failure:
    """Return what pip's report says about why the packages of ``lock`` could not be installed."""
    said = LOG.read_text(encoding="utf-8", errors="replace")
    if "No space left on device" in said:
        return Failure(CANNOT_WRITE, "The disk is full: no room for the packages. Make room")
    if "DO NOT MATCH THE HASHES" in said:
        named = re.search(r"DO NOT MATCH THE HASHES.*\n(?:.*\n)*?.*?([\w.-]+(?:\[\S+\])?==\S+) from", said)
        what = named[1] if named else "a package"
        return Failure(
            DAMAGED, f"The package index offers another file of {what} than {lock.name} names: not installed"
        )
    if gone := re.search(r"No matching distribution found for (\S+)", said):
        return _not_found(gone[1], said)
    if gone := re.search(r"HTTP error 404 while getting \S*/([^/\s#]+)", said):
        return Failure(UNAVAILABLE, f"The package index no longer has the file {gone[1]} that {lock.name} names")
    if "error: subprocess-exited-with-error" in said or "Failed to build" in said:
        return Failure(
            UNAVAILABLE, f"{_after('Failed to build', said) or 'A package'} could not be built on this machine"
        )
    return _not_answered(said) or Failure(1, f"pip failed: {_last_error(said)}")


def _not_found(package: str, said: str) -> Failure:
    """Return why the index gave no file of ``package``: another machine, a refusal, no connection, or it is gone."""
    name, _, version = package.partition("==")
    pattern = re.sub(r"[-_.]+", "[-_.]+", name.partition("[")[0])
    tried = [line for line in said.splitlines() if re.search(rf"/{pattern}(?:/|-|\b)", line, re.IGNORECASE)]
    if any("wheel's tags" in line and re.search(rf"{pattern}-{re.escape(version)}-", line, re.I) for line in tried):
        machine = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
        return Failure(UNAVAILABLE, f"{package} has no file for {machine}: README names what the suite runs on")
    if ignored := re.search(r"located at (\S+) is not a trusted or secure host", said):
        return Failure(UNAVAILABLE, f"The package index {ignored[1]} is addressed by http://, which pip refuses")
    if "from versions: none" in said and (unanswered := _not_answered("\n".join(tried))):
        return unanswered
    return Failure(UNAVAILABLE, f"The package index no longer offers {package}: a newer version of the suite is needed")


def _not_answered(said: str) -> Failure | None:
    """Return whether the index refused or could not be reached, by what the lines say; None for neither."""
    host = re.search(r"https?://(?:[^/\s@]*@)?([^/\s'\"]+)", said)
    where = f"The package index {host[1]}" if host else "The package index"
    if refused := _REFUSAL.search(said):
        status = next(each for each in refused.groups() if each)
        return Failure(UNAVAILABLE, f"{where} was reached and refused with HTTP {status}: check its address and access")
    if re.search(r"certificate verify failed|SSLError", said):
        return Failure(UNAVAILABLE, f"{where} shows a certificate that this machine does not trust: check PIP_CERT")
    if _NO_CONNECTION.search(said):
        return Failure(UNAVAILABLE, f"{where} cannot be reached: check the network or the proxy, then start again")
    return None


def _after(words: str, said: str) -> str:
    found = re.findall(rf"{words}:?\s+(?:installable wheels for )?['\"]?([\w.-]+)", said)
    return found[-1] if found else ""


def _last_error(said: str) -> str:
    errors = re.findall(r"ERROR: (.+)", said)
    return errors[-1] if errors else "it gave no reason"


def _names(lock: Path) -> set[str]:
    pins = re.findall(r"^([A-Za-z0-9][\w.-]*)(?:\[\S*\])?==", lock.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in pins}


def _remove_unnamed(before: set[str]) -> None:
    """Uninstall what locks named ``before`` and none names now."""
    unnamed = before - set().union(*map(_names, RECORDS.glob("*.txt")))
    if unnamed:
        _pip("uninstall", "--yes", *sorted(unnamed))


def bring_up_to_date(lock: Path) -> Failure | None:
    """Install ``lock`` unless its very text is installed already; return what went wrong, or None."""
    record = RECORDS / lock.name
    if record.exists() and record.read_bytes() == lock.read_bytes():
        return None
    print(f"📦 Installing the packages of {lock.name} (once; about a minute) ...", flush=True)
    before = _names(record) if record.exists() else set()
    if failure := install(lock):
        return failure
    RECORDS.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(lock, record)
    _remove_unnamed(before)
    return None


def main(arguments: list[str]) -> int:
    """Install each lock named, and those installed earlier that have changed since; return the exit code."""
    if not arguments or any(word.startswith("-") for word in arguments):
        print("Usage: .venv/bin/python scripts/install_packages.py requirements.txt ...", file=sys.stderr)
        return 2
    locks = [Path(word).resolve() for word in arguments]
    earlier = [locks[0].parent / record.name for record in RECORDS.glob("requirements*.txt")]
    for lock in dict.fromkeys([*locks, *(each for each in earlier if each.exists())]):
        if not lock.exists():
            print(f"There is no {lock}.", file=sys.stderr)
            return 66
        if failure := bring_up_to_date(lock):
            print(f"❌ {failure.sentence} (pip's own report: {LOG}).", file=sys.stderr)
            return failure.code
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
