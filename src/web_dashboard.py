"""Floor 5, process: the dashboard: serves the page on DASHBOARD_PORT and holds no key of the exchange."""

import logging
import sys
import threading

from waitress.server import create_server

from src.core.clock import SystemClock
from src.dashboard.app import create_app
from src.dashboard.desk import make_desk
from src.dashboard.events import end_streams
from src.database import TradingDatabase
from src.records import Owner
from src.service import notify_manager, run_process
from src.settings import Settings

log = logging.getLogger("web_dashboard")

THREADS = 8
_SLOW_CLIENT_S = 30
_MOST_CONNECTIONS = 200
_LARGEST_BUFFERED = 1024 * 1024  # what is longer than a form is refused by the application itself


def main(stop: threading.Event) -> int:
    """Serve the page until ``stop`` is set; return the exit code."""
    settings = Settings.load()
    owner = Owner(settings.bot_id, settings.mode, settings.world)
    database = TradingDatabase(settings.database_url, owner)
    database.migrate()
    desk = make_desk(settings, SystemClock(), database)
    server = create_server(
        create_app(desk),
        host=settings.dashboard_host,
        port=settings.dashboard_port,
        threads=THREADS,
        ident=None,
        connection_limit=_MOST_CONNECTIONS,
        channel_timeout=_SLOW_CLIENT_S,
        max_request_body_size=_LARGEST_BUFFERED,
    )
    if desk.door.closed_because:
        log.warning("control is closed: reason=%s", desk.door.closed_because)
    print(f"dashboard ready at http://{settings.dashboard_host}:{server.effective_port}", flush=True)
    log.info("dashboard listening: host=%s port=%s", settings.dashboard_host, server.effective_port)
    threading.Thread(target=server.run, name="web", daemon=True).start()
    notify_manager("READY=1")
    stop.wait()
    end_streams()
    server.close()
    database.close()
    return 0


if __name__ == "__main__":
    sys.exit(run_process("web_dashboard", main))
