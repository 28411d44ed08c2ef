"""Floor 5, process: the dashboard: serves the page, holds no key of the exchange, tells what no watcher tells."""

import logging
import sys
import threading

from src.core.clock import SystemClock
from src.dashboard.app import create_app
from src.dashboard.desk import make_desk
from src.dashboard.serving import WebServer
from src.database import TradingDatabase
from src.records import Owner
from src.service import notify_manager, run_process, run_rounds
from src.settings import Settings
from src.silence import LOOK_EVERY_S, SilenceReporter

log = logging.getLogger("web_dashboard")

_LAST_ANSWERS_S = 7.0  # answers in flight are handed over before the end


def main(stop: threading.Event) -> int:
    """Serve the page until ``stop`` is set; return the exit code."""
    settings = Settings.load()
    owner = Owner(settings.bot_id, settings.mode, settings.world)
    database = TradingDatabase(settings.database_url, owner)
    database.migrate()
    clock = SystemClock()
    desk = make_desk(settings, clock, database)
    reporter = SilenceReporter.from_settings(settings, database, clock)
    app = create_app(desk)
    server = WebServer(app, settings.dashboard_host, settings.dashboard_port)
    if desk.door.closed_because:
        log.warning("control is closed: reason=%s", desk.door.closed_because)
    print(f"dashboard ready at http://{settings.dashboard_host}:{server.port}", flush=True)
    log.info("dashboard listening: host=%s port=%s", settings.dashboard_host, server.port)
    web = threading.Thread(target=server.serve, args=(stop,), name="web", daemon=True)
    web.start()
    notify_manager("READY=1")
    run_rounds(reporter.look, LOOK_EVERY_S, stop)
    app.extensions["streams"].end()
    web.join(_LAST_ANSWERS_S)
    database.close()
    return 0


if __name__ == "__main__":
    sys.exit(run_process("web_dashboard", main))
