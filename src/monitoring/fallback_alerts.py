"""Fallback alerting: reports missing heartbeats and log-in attacks while the watchdog is not running."""

import logging
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from src.domain.clock import Clock, instant_of
from src.domain.errors import StoreCorrupt, StoreUnavailable
from src.monitoring.alert_inputs import Pair, read_beats, read_failed_logins, silent_processes
from src.monitoring.alert_manager import AlertManager, AlertPolicy, LocalTime
from src.monitoring.alert_rules import Alert, AlertFacts, AlertLimits, alerts_of
from src.monitoring.health import heartbeat_health
from src.monitoring.notifications import Notifier, keep, read_kept
from src.runtime.process import AlreadyRunning, single_instance
from src.runtime.process_ends import unexpected_exits
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 3.0
_NO_DIGEST: Final = AlertPolicy(digest_minute=None)
_RETURN_MS: Final = 60_000  # a process that was unresponsive at our start may just be starting, as after a reboot


class FallbackAlerter:
    """Called every few seconds by dashboard and API, by one thread at a time.

    Of all processes that check, only the one that holds the lock beside ``kept`` sends alerts, until it ends.

    Args:
        database: opened to read.
        notifier: sends each alert once, and again when it has ended.
        clock: the machine's.
        kept: the file of the alerts that were sent, so that the next process does not repeat them; None: no file, and
            this is the only process that alerts.
    """

    def __init__(self, database: TradingDatabase, notifier: Notifier, clock: Clock, kept: Path | None = None) -> None:
        self._database = database
        self.notifier = notifier
        self._clock = clock
        self._kept = kept
        self._sender_lock = ExitStack()
        self._alert_manager = AlertManager(_NO_DIGEST) if kept is None else None
        self._began_ms = clock.now_ms()

    @classmethod
    def from_settings(cls, settings: Settings, database: TradingDatabase, clock: Clock) -> "FallbackAlerter":
        """Return the alerter that the settings describe; raises ``SettingsError`` if alerts cannot be sent."""
        kept = settings.state_dir / f"told-{settings.bot_id}.json"
        return cls(database, Notifier.from_settings(settings), clock, kept)

    def look(self) -> list[Pair]:
        """Return the unresponsive processes, each with a sentence; send alerts unless another process does."""
        now_ms = self._clock.now_ms()
        try:
            beats = read_beats(self._database)
            silent, failed = silent_processes(beats, now_ms), read_failed_logins(self._database, now_ms)
        except (StoreUnavailable, StoreCorrupt) as error:
            beats, silent, failed = [], [("database", f"No heartbeat can be read: {error}")], 0
        alert_manager = self._alert_manager or self._acquire_sender_lock()
        if alert_manager is not None:
            ends = [] if self._kept is None else unexpected_exits(self._kept.parent)
            alerts = alerts_of(AlertFacts(silent=silent, ends=ends, failed_logins=failed), AlertLimits())
            self._send(alert_manager, self._due(alert_manager, alerts, beats, now_ms), now_ms)
        return silent

    def _acquire_sender_lock(self) -> AlertManager | None:
        """Return the alert manager with its earlier state, or None while another process alerts."""
        assert self._kept is not None
        try:
            self._sender_lock.enter_context(single_instance(self._kept.stem, self._kept.parent))
        except AlreadyRunning:
            return None
        except OSError as error:  # on a full disk alerts matter most: twice is better than never
            log.warning("alert lock unavailable, this process sends alerts: reason=%s", error)
        self._alert_manager = AlertManager(_NO_DIGEST, read_kept(self._kept))
        return self._alert_manager

    def _due(
        self, alert_manager: AlertManager, alerts: list[Alert], beats: Iterable[Mapping[str, Any]], now_ms: int
    ) -> list[Alert]:
        """Drop alerts of the watchdog and of processes that may be starting; one already sent is kept until it ends."""
        told = {alert.key for alert in alert_manager.open_alerts}
        watched = any(beat["process"] == "watcher" and heartbeat_health(beat, now_ms).healthy for beat in beats)
        early = now_ms < self._began_ms + _RETURN_MS
        returning = {
            f"{beat['bot_id']}/{beat['process']}"
            for beat in beats
            if early and instant_of(beat["beat_at"]) < self._began_ms
        }
        return [each for each in alerts if each.key in told or not (watched or each.subject in returning)]

    def _send(self, alert_manager: AlertManager, alerts: list[Alert], now_ms: int) -> None:
        messages = alert_manager.step(alerts, LocalTime(now_ms, "", 0), "")
        for message in messages:
            self.notifier.tell(message)
        self.notifier.flush()
        if messages and self._kept is not None:
            keep(self._kept, alert_manager.as_dict())
