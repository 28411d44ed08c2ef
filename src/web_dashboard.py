"""Floor 5, process: the dashboard: serves the page, holds no key of the exchange, tells what no watcher tells."""

import logging
import sys
import threading

from waitress.server import create_server

from src.core.clock import SystemClock
from src.dashboard.app import create_app
from src.dashboard.desk import make_desk
from src.dashboard.events import end_streams
from src.database import TradingDatabase
from src.notifier import Notifier
from src.records import Owner
from src.service import notify_manager, run_process, run_rounds
from src.settings import PROJECT_ROOT, Settings
from src.silence import SilenceReporter

log = logging.getLogger("web_dashboard")

THREADS = 8
_LOOK_EVERY_S = 10.0
_SLOW_CLIENT_S = 30
_MOST_CONNECTIONS = 200
_LARGEST_BUFFERED = 1024 * 1024  # what is longer than a form is refused by the application itself


def main(stop: threading.Event) -> int:
    """Serve the page until ``stop`` is set; return the exit code."""
    settings = Settings.load()
    notifier = Notifier.from_settings(settings)
    owner = Owner(settings.bot_id, settings.mode, settings.world)
    database = TradingDatabase(settings.database_url, owner)
    database.migrate()
    clock = SystemClock()
    desk = make_desk(settings, clock, database)
    told = PROJECT_ROOT / "state" / f"told-{settings.bot_id}.json"
    reporter = SilenceReporter(database, notifier, clock, told)
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
    run_rounds(reporter.look, _LOOK_EVERY_S, stop)
    end_streams()
    server.close()
    database.close()
    return 0


if __name__ == "__main__":
    sys.exit(run_process("web_dashboard", main))
