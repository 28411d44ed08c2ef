"""The server of the page: what is no request is refused as the application refuses, in one sentence."""

import secrets
from collections.abc import Callable
from typing import Any, Final

import orjson

from src.dashboard.headers import HEADERS
from src.runtime import wsgi_server

THREADS: Final = 14


class DashboardServer(wsgi_server.WsgiServer):
    """The page on one address; port 0 takes any free one, ``port`` then says which."""

    def __init__(self, app: Callable[..., Any], host: str, port: int) -> None:
        super().__init__(app=app, host=host, port=port, threads=THREADS, refusal=_refusal, watched=True)


def _refusal(status: int) -> tuple[dict[str, str], bytes]:
    """Return an answer of the application's shape for what waitress itself refuses."""
    told = {"error": "The request cannot be understood.", "status": status, "request_id": secrets.token_hex(6)}
    return {**HEADERS, "Content-Type": "application/json", "Cache-Control": "no-store"}, orjson.dumps(told)
