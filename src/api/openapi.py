"""The OpenAPI 3.1 document, generated from the table of operations; a copy is kept in ``docs/``."""

from typing import Any, Final

from src.api import external_signals, problems
from src.api.operation import ROOT, Operation
from src.api.operations import OPERATIONS
from src.api.serializers import Json

_REFUSALS: Final = {
    "400": "The request cannot be understood, or names a foreign Host.",
    "401": "A key is needed, or this one is wrong.",
    "403": "A foreign origin, or a key without the scope.",
    "404": "Nothing there (yet).",
    "409": "Too old, or no longer as it was.",
    "413": "The body is too large.",
    "415": "The body is not application/json.",
    "422": "A parameter is unknown or out of bounds; `errors` names each.",
    "429": "Too many calls or wrong keys; `Retry-After` says how long to wait.",
    "500": "A fault of the server; the log knows it by `request_id`.",
    "503": "The database cannot be read just now.",
}
_EVERYWHERE: Final = ("400", "401", "403", "422", "429", "500", "503")
_HANDLERS: Final = ("413", "415")
_TAGS: Final = {
    "Trading": "What was seen, decided and traded.",
    "Market": "What was known of the wider market.",
    "Bots": "How the bots are.",
    "Server": "How this server is.",
    "Control": "Actions that reduce risk; they need a key with the scope `control`.",
}
DESCRIPTION: Final = (
    "All that the suite has seen, decided and traded. Every answer says in `meta` of which mode and world it speaks; "
    "figures of different worlds are never mixed. Instants are ISO 8601 UTC, ids are strings, what is unknown is null."
)


def describe(operation: Operation) -> dict[str, Any]:
    """Return what APIFlask is to write into the document about one operation."""
    return {
        "operation_id": operation.name,
        "summary": operation.title,
        "description": operation.description,
        "tags": [operation.tag],
        "responses": _responses(operation),
        "security": [] if operation.scope == "open" else None,
    }


def finish(spec: Any) -> Any:
    """Complete the document: schemas of the answers, the way keys are shown, required bodies."""
    spec["info"]["description"] = DESCRIPTION
    spec["tags"] = [{"name": name, "description": told} for name, told in _TAGS.items()]
    components = spec.setdefault("components", {})
    components["schemas"] = components.get("schemas", {}) | schemas()
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for operation in OPERATIONS:
        written = spec["paths"][ROOT + operation.path][operation.method.lower()]
        written["security"] = [{"key": []}] if operation.scope == "control" else [{}, {"key": []}]
        if "requestBody" in written:
            written["requestBody"]["required"] = True
    external_signals.describe_routes(spec, _problem_responses)
    return spec


def schemas() -> Json:
    """Return the schemas of all answers by name, and that of a problem."""
    return {"Problem": problems.SCHEMA} | {answer_name(each): each.body_schema for each in OPERATIONS}


def answer_name(operation: Operation) -> str:
    """Return the name of an operation's answer in the document: ``GetSignalsAnswer``."""
    return "".join(part.capitalize() for part in operation.name.split("_")) + "Answer"


def _responses(operation: Operation) -> Json:
    good: Json = {"application/json": {"schema": _ref(answer_name(operation))}}
    if operation.csv:
        good["text/csv"] = {"schema": {"type": "string"}}
    codes = [
        *_EVERYWHERE,
        *(_HANDLERS if operation.method == "POST" else ()),
        *(["404"] if operation.missing or operation.paged else []),
    ]
    responses: Json = {"200": {"description": operation.title, "content": good, "headers": _headers(operation)}}
    if operation.method == "GET":
        responses["304"] = {"description": "What `If-None-Match` names is still true."}
    for code in sorted(codes):
        problem = {problems.MEDIA_TYPE: {"schema": _ref("Problem")}}
        unwell = {"application/json": {"schema": _ref(answer_name(operation))}} if operation.status else {}
        content = problem | (unwell if code == "503" else {})
        responses[code] = {"description": _REFUSALS[code], "content": content}
    return responses


def _problem_responses(codes: tuple[str, ...]) -> Json:
    content = {problems.MEDIA_TYPE: {"schema": _ref("Problem")}}
    return {code: {"description": _REFUSALS[code], "content": content} for code in codes}


def _headers(operation: Operation) -> Json:
    told = {"X-Request-ID": "Under which the log knows this call."}
    if operation.method == "GET":
        told["ETag"] = "Names this answer; send it as `If-None-Match` to be told (304) that it is still true."
    if operation.paged:
        told["Link"] = "The ways to the first and the next page (RFC 8288)."
    return {name: {"description": words, "schema": {"type": "string"}} for name, words in told.items()}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
