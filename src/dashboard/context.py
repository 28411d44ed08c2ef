"""What the endpoints share: the database, the snapshots, log-in, the services, the settings."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import abort, current_app, request

from src.dashboard.auth import PinAuthenticator, Session
from src.dashboard.snapshot import SnapshotService
from src.domain.clock import Clock
from src.monitoring.service_control import ServiceController
from src.reporting.service import ReportService
from src.runtime.lab_jobs import LabJobs
from src.runtime.public_hosts import is_from_this_machine, public_paths
from src.runtime.settings import ENV_FILE, Settings, is_loopback
from src.storage.database import TradingDatabase

COOKIE = "dashboard_session"


@dataclass(frozen=True, slots=True)
class DashboardContext:
    """Everything a request may need; made once, shared by all threads.

    ``turn`` is held by who makes a long answer: eight at once only take the interpreter from each other, at every row,
    and 8 MB of memory that do not come back.
    """

    settings: Settings
    clock: Clock
    database: TradingDatabase
    reports: ReportService
    snapshots: SnapshotService
    authenticator: PinAuthenticator
    services: ServiceController
    lab: LabJobs
    env_file: Path = ENV_FILE
    turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def reading_needs_pin(self) -> bool:
        """Whether even looking needs the PIN: where others than this machine can reach the page, if by a proxy."""
        here = is_from_this_machine(request.environ, public_paths(self.settings.public_hosts))
        return not (here and is_loopback(self.settings.dashboard_host))

    def session(self) -> Session | None:
        """Return the session of the present request, or None."""
        return self.authenticator.session(request.cookies.get(cookie_name(), ""))

    def require_session(self) -> Session:
        """Return the session of the present request; 401 without one."""
        found = self.session()
        if found is None:
            abort(401, "Show the PIN first.")
        return found


def session_words(here: DashboardContext) -> dict[str, Any]:
    """Return whether this browser showed the PIN, and its token against forged requests."""
    found = here.session()
    return {
        "logged_in": found is not None,
        "csrf": "" if found is None else found.csrf,
        "closed_because": here.authenticator.closed_because,
        "reading_needs_pin": here.reading_needs_pin,
    }


def dashboard_context() -> DashboardContext:
    """Return the context of the application that answers the present request."""
    found: DashboardContext = current_app.extensions["dashboard_context"]
    return found


def cookie_name() -> str:
    """Return the cookie's name: under HTTPS one that browsers tie to this very host."""
    return f"__Host-{COOKIE}" if request.is_secure else COOKIE


def amounts_hidden() -> bool:
    """Return whether this browser hides amounts: the page's script keeps the choice in a cookie for us, too."""
    return request.cookies.get("dash-hide") == "yes"


def make_context(settings: Settings, clock: Clock, database: TradingDatabase) -> DashboardContext:
    """Return the context of one database."""
    reports = ReportService(database)
    lab = LabJobs(settings, clock)
    return DashboardContext(
        settings,
        clock,
        database,
        reports,
        SnapshotService(reports, settings, clock, lab),
        PinAuthenticator(database, clock, settings.bot_control_pin, settings.flask_secret_key),
        ServiceController(settings.project_root),
        lab,
    )
