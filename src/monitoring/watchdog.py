"""The watchdog: restarts dead services, sends alerts, prunes the database.

It is a separate process because no process can report its own death. Its own heartbeat is in ``bot_status``; while that
is missing, the API or the dashboard alerts about unresponsive bots and log-in attacks
(``src/monitoring/fallback_alerts.py``). An external service behind the push address notices when the whole machine is
down.
"""

import logging
import os
import sys
import threading
from datetime import datetime
from zoneinfo import ZoneInfo

from src.domain.clock import Clock, SystemClock, monotonic_s, utc_day, utc_text
from src.domain.errors import StoreCorrupt, StoreUnavailable
from src.domain.version import VERSION
from src.monitoring.alert_inputs import figures_of_day, gather
from src.monitoring.alert_manager import AlertManager, AlertPolicy, LocalTime
from src.monitoring.alert_rules import AlertLimits, alerts_of
from src.monitoring.health import service_health
from src.monitoring.notifications import Notifier, keep, read_kept
from src.monitoring.supervisor import Supervisor, script_manager
from src.runtime.process import run_process, run_rounds
from src.runtime.process_ends import unexpected_exits
from src.runtime.settings import PROJECT_ROOT, Settings
from src.storage.database import TradingDatabase
from src.storage.retention import prune_old
from src.storage.rows import Heartbeat, Owner

log = logging.getLogger("watcher")

CHECK_EVERY_S = 5.0
_FACTS_EVERY_S = 15.0
_PUSH_EVERY_S = 60.0
SERVICES = ("paper_exchange", "rl_bot", "chart_bot", "mcp_server", "web_dashboard", "telegram_bot")


def alert_policy(settings: Settings) -> AlertPolicy:
    """Return the alert policy of the settings."""
    hours = settings.alert_quiet_hours
    quiet = (minute_of(hours[:5]), minute_of(hours[6:])) if hours else None
    digest = None if settings.alert_digest_time == "off" else minute_of(settings.alert_digest_time)
    return AlertPolicy(quiet, digest)


def minute_of(hour: str) -> int:
    """Return the minute of the day of ``HH:MM``."""
    return int(hour[:2]) * 60 + int(hour[3:])


def local_time(now_ms: int, zone: str) -> LocalTime:
    """Return day and minute in ``zone`` at an instant."""
    moment = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(zone))
    return LocalTime(now_ms, f"{moment:%Y-%m-%d}", moment.hour * 60 + moment.minute)


class Watcher:
    """Checks services every five seconds, then alert conditions, then runs the daily tasks."""

    def __init__(
        self, settings: Settings, database: TradingDatabase, notifier: Notifier, supervisor: Supervisor, clock: Clock
    ) -> None:
        self._settings = settings
        self._database = database
        self._notifier = notifier
        self._supervisor = supervisor
        self._clock = clock
        self._state = settings.state_dir / f"alerts-{settings.bot_id}.json"
        kept = read_kept(self._state)
        self._alert_manager = AlertManager(alert_policy(settings), kept)
        self._pruned_day = str(kept.get("pruned_day", ""))
        self._limits = AlertLimits(settings.alert_liquidation_distance, float(settings.alert_disk_free))
        self._facts_due_s = self._push_due_s = monotonic_s()
        self._migrated = False
        self._checks = 0
        self._started = utc_text(clock.now_ms())

    def check(self) -> None:
        """Run one check."""
        now_s = monotonic_s()
        self._supervisor.check(now_s)
        if now_s >= self._facts_due_s:
            self._facts_due_s = now_s + _FACTS_EVERY_S
            self._make_tables()
            self._judge(now_s)
            self._beat()
            self._prune()

    def close(self) -> None:
        """Write a final heartbeat and close the database."""
        self._beat("stopped")
        self._database.close()

    def _make_tables(self) -> None:
        """Migrate the tables once, as soon as possible; before a first start that is no problem."""
        if self._migrated:
            return
        try:
            self._database.migrate()
            self._migrated = True
        except (StoreUnavailable, StoreCorrupt) as error:
            log.warning("database not migrated yet: reason=%s", error)

    def _judge(self, now_s: float) -> None:
        now_ms = self._clock.now_ms()
        ends = unexpected_exits(self._settings.state_dir)
        facts = gather(self._database, now_ms, PROJECT_ROOT, self._supervisor.troubled(now_s), ends)
        local = local_time(now_ms, self._settings.time_zone)
        messages = self._alert_manager.step(
            alerts_of(facts, self._limits), local, figures_of_day(self._database, now_ms)
        )
        for message in messages:
            self._notifier.tell(message)
        self._notifier.flush()
        if messages:
            self._keep()
        if now_s >= self._push_due_s and not any(alert.critical for alert in self._alert_manager.open_alerts):
            self._push_due_s = now_s + _PUSH_EVERY_S
            self._notifier.ping()

    def _keep(self) -> None:
        keep(self._state, self._alert_manager.as_dict() | {"pruned_day": self._pruned_day})

    def _beat(self, phase: str = "waiting") -> None:
        """Write a heartbeat; an unavailable database is reported as an alert, not here."""
        self._checks += 1
        now = utc_text(self._clock.now_ms())
        beat = Heartbeat(
            timestamp=now,
            beat_at=now,
            process="watcher",
            pid=os.getpid(),
            started_at=self._started,
            phase=phase,
            version=VERSION,
            config_hash=self._settings.config_hash(),
            interval_s=_FACTS_EVERY_S,
            cycle_no=self._checks,
            cycle_started=now,
            cycle_finished=now,
            details={
                "alerts": [alert.key for alert in self._alert_manager.open_alerts],
                "undelivered": self._notifier.waiting,
            },
        )
        try:
            self._database.heartbeat(beat)
        except (StoreUnavailable, StoreCorrupt) as error:
            log.warning("heartbeat not written: reason=%s", error)

    def _prune(self) -> None:
        """Once a day, delete what is older than KEEP_DAYS."""
        day = utc_day(self._clock.now_ms())
        if day == self._pruned_day or not self._migrated:
            return
        try:
            deleted = prune_old(self._database, self._settings.keep_days)
        except (StoreUnavailable, StoreCorrupt) as error:
            log.warning("old rows not deleted yet: reason=%s", error)
            return
        self._pruned_day = day
        self._keep()
        log.info("old rows deleted: rows=%d keep_days=%d", deleted, self._settings.keep_days)


def main(stop: threading.Event) -> None:
    """Run until ``stop`` is set."""
    settings = Settings.load()
    clock = SystemClock()
    notifier = Notifier.from_settings(settings)
    database = TradingDatabase(settings.database_url, Owner(settings.bot_id, settings.mode, settings.world))
    supervisor = Supervisor(
        SERVICES,
        PROJECT_ROOT / "logs",
        script_manager(PROJECT_ROOT / "scripts"),
        lambda name, pid: service_health(settings, name, pid),
        {"rl_bot": "paper_exchange", "chart_bot": "paper_exchange"},
    )
    watcher = Watcher(settings, database, notifier, supervisor, clock)
    log.info("watching: services=%s", ",".join(SERVICES))
    try:
        run_rounds(watcher.check, CHECK_EVERY_S, stop)
    finally:
        watcher.close()


if __name__ == "__main__":
    sys.exit(run_process("watcher", main))
