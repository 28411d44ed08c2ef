"""The API's WSGI server; malformed requests are answered as problem documents, too."""

import gc
import secrets
from collections.abc import Callable
from typing import Any, Final

from src.api.auth import HEADERS
from src.api.problems import MEDIA_TYPE, document
from src.runtime import wsgi_server

THREADS: Final = 6


class ApiServer(wsgi_server.WsgiServer):
    """The API on one address; port 0 takes any free one, ``port`` then says which."""

    def __init__(self, app: Callable[..., Any], host: str, port: int) -> None:
        super().__init__(app=app, host=host, port=port, threads=THREADS, refusal=_refusal)


def pass_over_what_is_loaded() -> None:
    """Let Python's collector not look again at what is there by now: that takes 60 ms, in which nobody is answered."""
    gc.freeze()


def _refusal(status: int) -> tuple[dict[str, str], bytes]:
    """Return a problem document for what waitress itself refuses."""
    request_id = secrets.token_hex(6)
    own = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", "X-Request-ID": request_id}
    return {**HEADERS, **own}, document(status, "The request cannot be understood.", "", request_id)
