"""The documentation page of the API: one self-contained HTML file without scripts."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape
from typing import Any, Final

from flask import Response

from src.api.auth import HEADERS
from src.api.operation import ROOT, Operation
from src.api.operations import OPERATIONS
from src.api.tool_schemas import input_schema

_STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 0 auto; max-width: 60rem; padding: 1rem 1rem 4rem }
code, pre { font: .92em/1.5 ui-monospace, monospace }
pre { overflow-x: auto; padding: .6rem .8rem; border: 1px solid #8886; border-radius: 6px }
h2 { margin: 2.5rem 0 .3rem; border-top: 1px solid #8886; padding-top: 1rem }
h3 { margin: 1.6rem 0 .2rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #8884 }
""".strip()
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
_POLICY = HEADERS["Content-Security-Policy"] + f"; style-src 'sha256-{_STYLE_HASH}'"


def docs_page() -> Response:
    """Return the page."""
    return Response(_page(), content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": _POLICY})


@cache
def _page() -> str:
    tags = dict.fromkeys(each.tag for each in OPERATIONS)
    parts = [f"<h2>{escape(tag)}</h2>{''.join(map(_section, _of(tag)))}" for tag in tags]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>AI crypto trader: API</title><style>{_STYLE}</style></head><body><main>
<h1>AI crypto trader: API</h1>
<p>Reading from this machine needs no key; everything else does: <code>Authorization: Bearer KEY</code>, made with
<code>./scripts/api_key.sh create NAME</code>. Every answer says in <code>meta</code> of which mode and world it speaks.
Failures are <code>application/problem+json</code>. All answers carry an <code>ETag</code>; lists a <code>Link</code> to
the next page. The whole contract: <a href="{ROOT}/openapi.json">openapi.json</a>. The same operations are tools of the
Model Context Protocol at <code>/mcp</code>; Prometheus reads <code>/metrics</code>.</p>
{"".join(parts)}
</main></body></html>
"""


def _of(tag: str) -> list[Operation]:
    return [each for each in OPERATIONS if each.tag == tag]


def _section(operation: Operation) -> str:
    rows = "".join(_row(name, schema) for name, schema in input_schema(operation)["properties"].items())
    table = f"<table><tr><th>parameter</th><th>values</th><th>meaning</th></tr>{rows}</table>" if rows else ""
    return (
        f'<h3 id="{operation.name}"><code>{operation.method} {ROOT}{operation.path}</code></h3>'
        f"<p>{escape(operation.title)}. {_code(operation.description)}</p>{table}"
    )


def _row(name: str, schema: dict[str, Any]) -> str:
    cells = (f"<code>{name}</code>", _values(schema), _code(schema.get("description", "")))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _values(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return escape(", ".join(map(str, schema["enum"])))
    words = "ISO 8601" if "anyOf" in schema else str(schema.get("type", ""))
    if "maximum" in schema:
        words += f" {schema['minimum']} to {schema['maximum']}"
    return escape(words + (f", {schema['default']} by default" if "default" in schema else ""))


def _code(text: str) -> str:
    """Escape, and set what stands between back-quotes as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
