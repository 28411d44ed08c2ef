"""A package index of the test's own: an empty wheel for each pin of a lock, and for each a newer release beside it."""

import hashlib
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)(\[\S+])?==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*\\?$", re.MULTILINE)


@dataclass(frozen=True)
class Pin:
    """One line of a lock."""

    name: str
    extras: str
    version: str
    marker: str

    def line(self, digest: str) -> str:
        """Return the line with the digest of another file."""
        marker = f" ; {self.marker}" if self.marker else ""
        return f"{self.name}{self.extras}=={self.version}{marker} \\\n    --hash=sha256:{digest}\n"


def pins_of(lock: str) -> list[Pin]:
    """Return every pin of a lock's text."""
    return [Pin(name, extras, version, marker) for name, extras, version, marker in _PIN.findall(lock)]


def newer(version: str) -> str:
    """Return a version of the same series that is newer."""
    release, number = re.fullmatch(r"(.*?)(\d+)\D*", version).groups()
    return f"{release}{int(number) + 1}"


@dataclass
class PackageIndex:
    """Files by project name; ``status`` answers every request where it is not 200."""

    folder: Path
    address: str = ""
    status: int = 200
    files: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, version: str, requires: tuple[str, ...] = (), extras: tuple[str, ...] = ()) -> str:
        """Offer an empty wheel; return its digest."""
        stem = f"{re.sub(r'[-_.]+', '_', name)}-{version}"
        told = [f"Name: {name}", f"Version: {version}"]
        told += [*(f"Provides-Extra: {each}" for each in extras), *(f"Requires-Dist: {each}" for each in requires)]
        file = self.folder / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(file, "w") as wheel:
            wheel.writestr(f"{stem}.dist-info/METADATA", "\n".join(["Metadata-Version: 2.1", *told, ""]))
            wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{stem}.dist-info/RECORD", "")
        self.files.setdefault(re.sub(r"[-_.]+", "-", name).lower(), []).append(file.name)
        return hashlib.sha256(file.read_bytes()).hexdigest()

    def hold(self, lock: str) -> str:
        """Offer each pin of ``lock`` with its real requirements, and a newer release; return their lock."""
        lines = []
        for pin in pins_of(lock):
            requires, extras = _needs(pin)
            lines.append(pin.line(self.add(pin.name, pin.version, requires, extras)))
            self.add(pin.name, newer(pin.version), requires, extras)
        return "".join(lines)

    def withdraw(self, name: str, version: str) -> None:
        """Offer this release no longer."""
        self.files[name] = [each for each in self.files[name] if f"-{version}-" not in each]


def _needs(pin: Pin) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the requirements and extras of the package installed here; nothing where this very version is not."""
    try:
        told = metadata(pin.name)
    except PackageNotFoundError:
        return (), ()
    if told["Version"] != pin.version:
        return (), ()
    return tuple(told.get_all("Requires-Dist") or ()), tuple(told.get_all("Provides-Extra") or ())


@contextmanager
def package_index(folder: Path) -> Iterator[PackageIndex]:
    """Serve an index on a free port of loopback."""
    folder.mkdir()
    index = PackageIndex(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = _content(index, self.path)
            self.send_response(index.status if content else 404)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        index.address = f"http://127.0.0.1:{server.server_port}/simple"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()


def _content(index: PackageIndex, path: str) -> bytes:
    match path.strip("/").split("/"):
        case ["simple", project] if project in index.files:
            return "".join(f'<a href="/files/{each}">{each}</a>\n' for each in index.files[project]).encode()
        case ["files", name] if (index.folder / name).exists():
            return (index.folder / name).read_bytes()
    return b""
