"""Floor 4, wings: the server in front of the application: how many threads, how patient, how much it takes in.

Slow clients hold no thread: requests are read, and answers written, by one loop; a thread has a request only while it
makes its answer. One request ahead is read while an answer is made, so that a stream learns that its browser left.
"""

import logging
from typing import Any, Final

from flask import Flask
from waitress.server import create_server

THREADS: Final = 8
SLOW_CLIENT_S: Final = 30
_MOST_CONNECTIONS: Final = 200
_LARGEST_BUFFERED: Final = 1024 * 1024  # what is longer than a form is refused by the application itself


def make_server(app: Flask, host: str, port: int) -> Any:
    """Return a server that is bound and not yet running; ``OSError`` where the port is taken."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # that a request waits its turn is no event
    return create_server(
        app,
        host=host,
        port=port,
        threads=THREADS,
        ident=None,
        connection_limit=_MOST_CONNECTIONS,
        channel_timeout=SLOW_CLIENT_S,
        channel_request_lookahead=1,
        max_request_body_size=_LARGEST_BUFFERED,
    )
