"""The pictures that the chart bot drew and the analyst saw, by safe names from one folder only."""

from typing import Final

from flask import Blueprint, Response, abort

from src.dashboard.chart_files import picture_file
from src.dashboard.context import dashboard_context

blueprint = Blueprint("pictures", __name__)

_PNG: Final = b"\x89PNG\r\n\x1a\n"


@blueprint.get("/api/chart-picture/<name>")
def picture(name: str) -> Response:
    """Return a picture of the chart folder; its content never changes under its name."""
    path = picture_file(dashboard_context().settings.chart_dir, name)
    try:
        content = b"" if path is None else path.read_bytes()
    except OSError:  # pruned between two lines
        content = b""
    if not content.startswith(_PNG):
        abort(404)
    return Response(content, content_type="image/png", headers={"Cache-Control": "private, max-age=86400, immutable"})
