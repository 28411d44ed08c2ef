"""REST: every operation of the table under ``/api/v1``, with document, ETags, links and CSV."""

import csv
import io
import secrets
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from apiflask import APIFlask, HTTPError
from flask import Request, Response, g, request
from flask_cors import CORS
from werkzeug.http import quote_etag

from src.api import external_signals, problems
from src.api.auth import Authenticator
from src.api.caching import AnswerCache, CachedAnswer, Tags
from src.api.context import ApiContext, Caller, Params
from src.api.docs_page import docs_page
from src.api.openapi import describe, finish
from src.api.operation import ROOT, Operation
from src.api.operations import BY_NAME, OPERATIONS
from src.domain.version import VERSION
from src.runtime.public_hosts import PublicHosts

Protocol = Callable[[Request, Caller], Response]

_NO_COPIES: Final = "private, no-cache"  # a copy may be kept, but asked after each time
_UNHEALTHY: Final = 503
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # how a spreadsheet is made to run foreign text
JSON_TYPE, CSV_TYPE = "application/json", "text/csv; charset=utf-8"


class Rest:
    """The views: parse, ask, answer; the answers themselves come from the table."""

    def __init__(self, source: ApiContext) -> None:
        self._source = source
        self._cache = AnswerCache()
        self._tags = Tags()
        # Threads that make long lists at once only take the interpreter from each other, at every row read.
        self._turn = threading.Lock()

    def view(self, operation: Operation) -> Callable[..., Response]:
        """Return the view of one operation."""

        def answer(query_data: Params | None = None, json_data: Params | None = None) -> Response:
            _refuse_stray(operation)
            if operation.method == "POST":
                return _json(operation.body(self._source, json_data or {}, g.caller), ())
            return self._read(operation, query_data or {})

        answer.__name__ = operation.name
        return answer

    def _read(self, operation: Operation, asked: Params) -> Response:
        wants_csv = operation.csv and request.accept_mimetypes.best_match([JSON_TYPE, "text/csv"]) == "text/csv"
        tag = self._tags.tag(operation, self._source, asked, g.caller, "csv" if wants_csv else "json")
        if tag and request.if_none_match.contains_weak(tag):
            return _tagged(Response(status=304), tag, operation)
        kept = self._cache.get(tag)
        if kept is None and operation.changes == "second":
            kept = self._make(operation, asked, wants_csv)
        elif kept is None:
            with self._turn:
                kept = self._cache.get(tag) or self._make(operation, asked, wants_csv)
        if tag and kept.status == 200:
            self._cache.put(tag, kept)
        return _tagged(Response(kept.body, kept.status, headers=list(kept.headers)), tag, operation)

    def _make(self, operation: Operation, asked: Params, wants_csv: bool) -> CachedAnswer:
        body = operation.body(self._source, asked, g.caller)
        headers = [("Content-Type", CSV_TYPE if wants_csv else JSON_TYPE)]
        if "page" in body:
            headers.append(("Link", _links(body["page"])))
        sent = _csv(body["data"], operation) if wants_csv else orjson.dumps(body)
        return CachedAnswer(sent, _UNHEALTHY if body.get("status") == "down" else 200, tuple(headers))


def build_app(
    source: ApiContext,
    authenticator: Authenticator,
    mcp: Protocol | None = None,
    metrics: Callable[[], bytes] | None = None,
) -> APIFlask:
    """Return the whole server as a WSGI application.

    Args:
        source: what is asked.
        authenticator: who may call.
        mcp: answers ``POST /mcp``.
        metrics: what Prometheus reads.
    """
    app = APIFlask("api", title="AI crypto trader", version=VERSION, spec_path=f"{ROOT}/openapi.json", docs_path=None)
    app.config.update(
        OPENAPI_VERSION="3.1.0",
        JSONIFY_PRETTYPRINT_REGULAR=False,
        AUTO_VALIDATION_ERROR_RESPONSE=False,
        AUTO_404_RESPONSE=False,
        PROPAGATE_EXCEPTIONS=False,
        AUTO_SERVERS=False,
    )
    app.json_errors = False
    app.url_map.strict_slashes = False  # /trades/ is /trades
    app.before_request(_number)
    authenticator.guard(app, _scope_of, external_signals.ENDPOINTS)
    problems.register(app)
    rest = Rest(source)
    for operation in OPERATIONS:
        _add(app, operation, rest.view(operation))
    external_signals.add_routes(app, external_signals.SignalReceiver(source, authenticator))
    _add_others(app, mcp, metrics)
    app.spec_processor(finish)
    app.after_request(_tag_the_rest)
    if authenticator.origins:
        taken = ["Authorization", "Content-Type"]
        CORS(app, origins=list(authenticator.origins), methods=["GET", "HEAD", "POST"], allow_headers=taken)
    app.wsgi_app = PublicHosts(app.wsgi_app, authenticator.public)  # type: ignore[method-assign,assignment]
    return app


def _add(app: APIFlask, operation: Operation, view: Callable[..., Response]) -> None:
    place = "json" if operation.method == "POST" else "query"
    taking = app.input(operation.parameters, location=place, unknown="raise")(view)
    documented = app.doc(**describe(operation))(taking)
    app.add_url_rule(ROOT + operation.path, operation.name, documented, methods=[operation.method])


def _add_others(app: APIFlask, mcp: Protocol | None, metrics: Callable[[], bytes] | None) -> None:
    @app.get(f"{ROOT}/docs")
    @app.doc(hide=True)
    def docs() -> Response:
        return docs_page()

    if metrics is not None:

        @app.get("/metrics")
        @app.doc(hide=True)
        def prometheus() -> Response:
            return Response(metrics(), content_type="text/plain; version=0.0.4; charset=utf-8")

    if mcp is not None:

        @app.post("/mcp")
        @app.doc(hide=True)
        def model_context_protocol() -> Response:
            return mcp(request, g.caller)


def _refuse_stray(operation: Operation) -> None:
    """Reject what would otherwise be ignored: a repeated parameter, and query parameters of an action."""
    if operation.method == "POST":
        wrong = {name: ["An action takes its parameters from the body."] for name in request.args}
    else:
        wrong = {name: ["Said more than once."] for name, values in request.args.lists() if len(values) > 1}
    if wrong:
        raise HTTPError(422, detail={"query": wrong})


def _scope_of(asked: Request) -> str:
    """Return what the address asks for; unknown addresses reveal nothing either."""
    if asked.endpoint in external_signals.ENDPOINTS:
        return "open"  # the receiver itself asks for the source's secret
    operation = BY_NAME.get(asked.endpoint or "")
    return operation.scope if operation else "read"


def _number() -> None:
    g.request_id = secrets.token_hex(6)


def _json(body: Any, headers: tuple[tuple[str, str], ...]) -> Response:
    return Response(orjson.dumps(body), content_type=JSON_TYPE, headers=list(headers))


def _tagged(response: Response, tag: str, operation: Operation) -> Response:
    if tag:
        response.headers["ETag"] = quote_etag(tag, weak=True)
    response.headers["Cache-Control"] = _NO_COPIES
    response.headers["Vary"] = "Accept, Authorization" if operation.csv else "Authorization"
    return response


def _tag_the_rest(response: Response) -> Response:
    """Give documents that come from no operation a tag of their content."""
    if request.method in ("GET", "HEAD") and response.status_code == 200 and "ETag" not in response.headers:
        response.add_etag(weak=True)
        response.headers["Cache-Control"] = _NO_COPIES
        response.make_conditional(request)
    return response


def _links(page: Params) -> str:
    """Return the ways to the first and the next page, and back where an offset was used (RFC 8288)."""
    asked = {name: value for name, value in request.args.items() if name not in ("cursor", "offset")}
    links = [("first", asked)]
    if page["next_cursor"]:
        links.append(("next", asked | {"cursor": page["next_cursor"]}))
    if page["offset"]:
        back = max(page["offset"] - page["limit"], 0)
        links.append(("prev", asked | ({"offset": str(back)} if back else {})))
    return ", ".join(f'<{request.path}{"?" if query else ""}{urlencode(query)}>; rel="{name}"' for name, query in links)


def _csv(rows: Iterable[dict[str, Any]], operation: Operation) -> bytes:
    """Return the rows as CSV, with the names of the table's columns even where there is no row."""
    names = list(operation.schema["items"]["properties"])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([_cell(row[name]) for name in names] for row in rows)
    return out.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    if isinstance(value, list | dict | orjson.Fragment):
        return orjson.dumps(value).decode()
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value
