"""Floor 4, wings: the second pair of eyes: another process tells of silent bots while the watcher does not."""

from src.alert_desk import AlertDesk, DeskRules, LocalTime
from src.alert_facts import read_beats, silent_processes
from src.alerts import Alert, AlertKind
from src.core.clock import Clock
from src.core.errors import StoreCorrupt, StoreUnavailable
from src.database import TradingDatabase
from src.health import heartbeat_health
from src.notifier import Notifier

_NO_DIGEST = DeskRules(digest_minute=None)


class SilenceReporter:
    """To be asked every few seconds by a process that is no bot, such as the API's. One thread at a time.

    Args:
        database: opened to read.
        notifier: through which people are told, once and when it is over.
        clock: the machine's.
    """

    def __init__(self, database: TradingDatabase, notifier: Notifier, clock: Clock) -> None:
        self._database = database
        self._notifier = notifier
        self._clock = clock
        self._desk = AlertDesk(_NO_DIGEST)

    def look(self) -> list[tuple[str, str]]:
        """Return the silent processes, each with a sentence, and tell people unless the watcher does."""
        now_ms = self._clock.now_ms()
        try:
            beats = read_beats(self._database)
            silent = silent_processes(beats, now_ms)
        except (StoreUnavailable, StoreCorrupt) as error:
            beats, silent = [], [("database", f"No sign of life can be read: {error}")]
        watched = any(beat["process"] == "watcher" and heartbeat_health(beat, now_ms).well for beat in beats)
        alerts = [] if watched else [Alert(AlertKind.SILENT, *each) for each in silent]
        for message in self._desk.step(alerts, LocalTime(now_ms, "", 0), ""):
            self._notifier.tell(message)
        self._notifier.flush()
        return silent
