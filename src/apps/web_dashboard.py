"""The dashboard process: serves the pages without exchange keys, and alerts while no watchdog runs."""

import logging
import threading

from src.dashboard.app import create_app
from src.dashboard.context import make_context
from src.dashboard.server import DashboardServer
from src.domain.clock import SystemClock
from src.monitoring.fallback_alerts import LOOK_EVERY_S, FallbackAlerter
from src.runtime.process import notify_manager, run_rounds
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.rows import Owner

log = logging.getLogger("web_dashboard")

_LAST_ANSWERS_S = 7.0  # answers in flight are handed over before the end


def main(stop: threading.Event) -> int:
    """Serve the page until ``stop`` is set; return the exit code."""
    settings = Settings.load()
    owner = Owner(settings.bot_id, settings.mode, settings.world)
    database = TradingDatabase(settings.database_url, owner)
    database.migrate()
    clock = SystemClock()
    dashboard_context = make_context(settings, clock, database)
    reporter = FallbackAlerter.from_settings(settings, database, clock)
    app = create_app(dashboard_context)
    server = DashboardServer(app, settings.dashboard_host, settings.dashboard_port)
    if dashboard_context.authenticator.closed_because:
        log.warning("control is closed: reason=%s", dashboard_context.authenticator.closed_because)
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
