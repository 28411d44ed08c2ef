"""Errors as RFC 9457 problem documents, one shape for all of them.

What a client reads holds no path, no SQL and no stack; the log holds the whole under the same ``request_id``.
"""

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import orjson
from apiflask import HTTPError
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from src.api.context import NotFound, WrongArgument
from src.api.serializers import COUNT, TEXT, Json, closed, listed, plain
from src.domain.errors import StoreCorrupt, StoreUnavailable, SuiteError

log = logging.getLogger("src.api")

MEDIA_TYPE: Final = "application/problem+json"
SCHEMA: Final = closed(
    {
        "type": plain({"type": "string", "format": "uri-reference"}, "about:blank: the status says it all."),
        "title": TEXT,
        "status": COUNT,
        "detail": TEXT,
        "instance": plain({"type": "string", "format": "uri-reference"}, "The path that was asked for."),
        "request_id": plain(TEXT, "Under which the log of the server tells more."),
        "errors": listed(closed({"parameter": TEXT, "reason": TEXT})),
    },
    optional=["errors"],
)
_KEY: Final = re.compile(r"key_[A-Za-z0-9_-]+")
_SENTENCES: Final = {
    400: "The request cannot be understood.",
    404: "There is nothing at this address; /api/v1/info lists what there is.",
    405: "This address does not take that method.",
    413: "The body is too large.",
    415: "The body must be application/json.",
    500: "The server has a fault; it was written to the log.",
}


class Refused(SuiteError):
    """A request that is answered with a refusal: ``status``, a sentence, and headers that belong to it."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})


def document(status: int, detail: str, instance: str, request_id: str, errors: list[Json] | None = None) -> bytes:
    """Return a problem document as it is sent."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    problem: Json = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    problem |= {"instance": instance, "request_id": request_id}
    return orjson.dumps(problem | ({"errors": errors} if errors else {}))


def answer(
    status: int, detail: str = "", errors: list[Json] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a refusal of the present request, and note it in the log."""
    detail = detail or _SENTENCES.get(status, HTTPStatus(status).phrase + ".")
    log.info("request refused: id=%s method=%s path=%s status=%s detail=%s", *_told(), status, detail)
    body = document(status, detail, quote(shown_path(request.path)), g.get("request_id", ""), errors)
    return Response(body, status, content_type=MEDIA_TYPE, headers=dict(headers or {}))


def register(app: Flask) -> None:
    """Let every failure of ``app`` be answered here."""
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(HTTPError, _invalid)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(NotFound, lambda error: answer(404, str(error)))
    app.register_error_handler(WrongArgument, lambda error: answer(422, str(error)))
    app.register_error_handler(StoreUnavailable, _away)
    app.register_error_handler(StoreCorrupt, _away)
    app.register_error_handler(Exception, _fault)


def _told() -> tuple[str, str, str]:
    return g.get("request_id", ""), request.method, shown_path(request.path)


def shown_path(path: str) -> str:
    """Return the path with a key in it left out: what is logged or answered is read by others."""
    return _KEY.sub("key_...", path)


def _refused(error: Refused) -> Response:
    return answer(error.status, str(error), headers=error.headers)


def _invalid(error: HTTPError) -> Response:
    """Arguments that the table refuses: APIFlask's own kind of error."""
    errors = [
        {"parameter": name, "reason": " ".join(map(str, reasons)) if isinstance(reasons, list) else str(reasons)}
        for place in dict(error.detail or {}).values()
        for name, reasons in dict(place).items()
    ]
    detail = "; ".join(f"{each['parameter']}: {each['reason']}" for each in errors) or str(error.message)
    return answer(error.status_code, detail, errors)


def _http(error: HTTPException) -> Response:
    headers: dict[str, str] = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(error.valid_methods))
    wait_s = getattr(error, "retry_after", None)
    if error.code == 429 and wait_s is None:
        headers["Retry-After"] = "60"
    return answer(error.code or 500, headers=headers)


def _away(error: SuiteError) -> Response:
    log.warning("database away: id=%s method=%s path=%s reason=%s", *_told(), error)
    return answer(503, "The database cannot be read just now.", headers={"Retry-After": "5"})


def _fault(error: Exception) -> Response:
    log.error("request failed: id=%s method=%s path=%s", *_told(), exc_info=error)
    return answer(500)


def flat(messages: Mapping[str, Any]) -> str:
    """Return the refusals of a schema in one line: ``limit: Must be ...``."""
    return "; ".join(
        f"{name}: {' '.join(map(str, reasons)) if isinstance(reasons, list) else reasons}"
        for name, reasons in messages.items()
    )
