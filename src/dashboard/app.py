"""The web application and its guard: hosts, origins, sizes, headers, errors without secrets."""

import gzip
import hashlib
import ipaddress
import logging
import secrets
import socket
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, abort, g, jsonify, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException, InternalServerError, RequestEntityTooLarge, ServiceUnavailable

from src.dashboard.context import DashboardContext
from src.dashboard.headers import HEADERS
from src.dashboard.parameters import check_parameters
from src.dashboard.site_pages import PAGES
from src.domain.errors import SettingsError, StoreCorrupt, StoreUnavailable
from src.runtime.public_hosts import PublicHosts, name_of, public_paths
from src.runtime.settings import PROJECT_ROOT, Settings, is_loopback

log = logging.getLogger(__name__)

LARGEST_BODY: Final = 64 * 1024
_LEAST_TO_PACK: Final = 600
_SUFFIXES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
    ".NOTICE": "text/plain; charset=utf-8",
}
_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_OPEN_PATHS: Final = ("/api/health", "/api/login", "/api/session", "/static/", "/favicon.ico", "/manifest.webmanifest")
PAGE_PATHS: Final = frozenset(page.path for page in PAGES.values())
_BUNDLES: Final = {
    "js/app.js": ("js/states.js", "js/draw.js", "js/plots.js", "js/dashboard.js", "js/control.js", "js/keys.js")
}
"""Scripts that every page needs, served as one file: put together at the start, in this order."""


class _Json(DefaultJSONProvider):
    """Money as the number it is (15 digits survive a double), keys in the order we wrote them."""

    sort_keys = False

    @staticmethod
    def default(value: Any) -> Any:
        """Return what stands for a value that JSON does not know."""
        return float(value) if isinstance(value, Decimal) else DefaultJSONProvider.default(value)


def create_app(dashboard_context: DashboardContext) -> Flask:
    """Return the application for one dashboard context; it holds no state of its own."""
    from src.dashboard import (
        endpoints,
        endpoints_control,
        endpoints_operations,
        events,
        pages,
        period_report,
        pictures,
    )

    app = Flask("dashboard", template_folder=str(PROJECT_ROOT / "templates"), static_folder=None)
    app.json = _Json(app)
    app.extensions["dashboard_context"] = dashboard_context
    app.extensions["streams"] = events.Streams()
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    shelf = StaticAssets(PROJECT_ROOT / "static")
    app.extensions["shelf"] = shelf
    _guard(app, dashboard_context.settings)
    _answer_errors(app)
    app.add_url_rule("/static/<path:name>", "static", shelf.serve)
    for room in (pages, endpoints, endpoints_control, endpoints_operations, events, period_report, pictures):
        app.register_blueprint(room.blueprint)
    app.after_request(_finish)
    app.wsgi_app = PublicHosts(app.wsgi_app, public_paths(dashboard_context.settings.public_hosts))  # type: ignore[method-assign,assignment]
    return app


class StaticAssets:
    """The files that a browser may have, read once; nothing else can be asked for, whatever the path says."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, tuple[str, bytes, bytes, str]] = {}
        for path in sorted(folder.rglob("*")):
            kind = _SUFFIXES.get(path.suffix)
            if kind is not None and path.is_file():
                self._put(path.relative_to(folder).as_posix(), kind, path.read_bytes())
        for name, parts in _BUNDLES.items():
            self._put(name, _SUFFIXES[".js"], b"\n".join(self._files[part][1] for part in parts))

    def _put(self, name: str, kind: str, content: bytes) -> None:
        digest = hashlib.sha256(content).hexdigest()[:16]
        self._files[name] = (kind, content, gzip.compress(content, 9, mtime=0), digest)

    def version(self, name: str) -> str:
        """Return a file's address with its content's digest, so that it can be kept by the browser for good."""
        return f"{request.script_root}/static/{name}?v={self._files[name][3]}"

    def serve(self, name: str) -> Response:
        """Answer with a file of the shelf."""
        if name not in self._files:
            abort(404)
        kind, content, packed, digest = self._files[name]
        small = _may_pack() and len(content) >= _LEAST_TO_PACK
        answer = Response(packed if small else content, content_type=kind)
        if small:
            answer.headers["Content-Encoding"] = "gzip"
        answer.headers["Vary"] = "Accept-Encoding"
        kept = request.args.get("v") == digest
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if kept else "no-cache"
        answer.set_etag(digest + ("-gzip" if small else ""))
        answer.make_conditional(request)
        return answer


def _guard(app: Flask, settings: Settings) -> None:
    """Refuse, before any endpoint is asked, what does not come from our own page."""

    @app.before_request
    def check() -> None:
        g.request_id = secrets.token_hex(6)
        asked = request.environ.get("HTTP_HOST", "")
        if name_of(asked) not in public_paths(settings.public_hosts) and not _host_is_ours(
            asked, settings.dashboard_host
        ):
            abort(400, "This host name is not ours.")
        if (request.content_length or 0) > LARGEST_BODY:
            raise RequestEntityTooLarge()
        if request.method in _WRITES:
            _check_origin()
        check_parameters(request.path, request.args)
        dashboard_context: DashboardContext = app.extensions["dashboard_context"]
        if dashboard_context.reading_needs_pin and not _may_be_seen(request.path):
            dashboard_context.require_session()


def _may_be_seen(path: str) -> bool:
    """Whether a path gives nothing away to somebody without a session: the pages then show the PIN field alone."""
    return path in PAGE_PATHS or path.startswith((*_OPEN_PATHS, "/trades/"))


def _check_origin() -> None:
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        abort(403, "Requests from other sites are refused.")
    origin = request.headers.get("Origin")
    if origin is not None and origin != request.host_url.rstrip("/"):
        abort(403, "Requests from other origins are refused.")
    if not request.is_json:
        abort(415, "Send JSON.")


def _host_is_ours(host: str, bound: str) -> bool:
    """Return whether the name by which we were asked is ours; a foreign name is a rebound one."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower()
    if name in ("localhost", "127.0.0.1", "::1", bound.lower()):
        return True
    if is_loopback(bound):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == socket.gethostname().lower()
    return True  # an address is no name: nobody can rebind it


def _answer_errors(app: Flask) -> None:
    """Turn every failure into one sentence and a number that the log knows."""

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        answer = jsonify(error=error.description, status=error.code, request_id=g.get("request_id", ""))
        answer.status_code = error.code or 500
        if error.get_response().headers.get("Retry-After"):
            answer.headers["Retry-After"] = error.get_response().headers["Retry-After"]
        return answer

    @app.errorhandler(StoreUnavailable)
    @app.errorhandler(StoreCorrupt)
    def without_database(error: Exception) -> Response:
        log.warning("database not usable: request_id=%s reason=%s", g.get("request_id", ""), error)
        return refused(ServiceUnavailable("The database cannot be read just now.", retry_after=5))

    @app.errorhandler(SettingsError)
    def no_such_thing(error: SettingsError) -> Response:
        answer = jsonify(error=error.problems[0], status=404, request_id=g.get("request_id", ""))
        answer.status_code = 404
        return answer

    @app.errorhandler(InternalServerError)
    def broken(_error: InternalServerError) -> Response:
        return refused(InternalServerError("Internal error. See the log entry with this request_id."))

    def log_exception(exc_info: Any) -> None:
        log.error("request failed: request_id=%s path=%s", g.get("request_id", ""), request.path, exc_info=exc_info)

    app.log_exception = log_exception  # type: ignore[method-assign]


def _finish(answer: Response) -> Response:
    """Set the headers of every answer, and pack what is long."""
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    answer.headers.setdefault("Cache-Control", "no-store")
    if answer.is_sequence and "Content-Encoding" not in answer.headers and answer.status_code != 304:
        content = answer.get_data()
        if len(content) >= _LEAST_TO_PACK and _may_pack():
            answer.set_data(gzip.compress(content, 5, mtime=0))
            answer.headers["Content-Encoding"] = "gzip"
            answer.headers["Vary"] = "Accept-Encoding"
    return answer


def _may_pack() -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "").lower()
