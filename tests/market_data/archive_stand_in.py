"""A stand-in for Binance's public archive on the loopback, for tests: files, checksums, ranges, and breaking off."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ArchiveStandIn:
    """``files`` maps paths to contents; ``wrong_sums`` and ``break_after`` (bytes) name faults by path."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.wrong_sums: set[str] = set()
        self.break_after: dict[str, int] = {}
        self.asked: list[str] = []
        self.url = ""

    def add_zip(self, path: str, csv: str) -> bytes:
        """Put a zip with one CSV there."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.rsplit("/", 1)[-1].replace(".zip", ".csv"), csv)
        self.files[path] = packed.getvalue()
        return self.files[path]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        path = request.path.lstrip("/")
        self.asked.append(path)
        plain = path.removesuffix(".CHECKSUM")
        if plain not in self.files:
            request.send_error(404)
            return
        body = self.files[plain]
        if path != plain:
            digest = "0" * 64 if plain in self.wrong_sums else hashlib.sha256(body).hexdigest()
            body = f"{digest}  {plain.rsplit('/', 1)[-1]}\n".encode()
        first = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        request.send_response(206 if first else 200)
        request.send_header("Content-Length", str(len(body) - first))
        request.end_headers()
        request.wfile.write(body[first : self.break_after.pop(path, len(body))])


@contextmanager
def archive_stand_in() -> Iterator[ArchiveStandIn]:
    """Serve an empty archive on a free loopback port."""
    archive = ArchiveStandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            archive.answer(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    archive.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
