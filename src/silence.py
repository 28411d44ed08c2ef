"""Floor 4, wings: the second pair of eyes: tells of silent bots and log-in attacks while no watcher does."""

from pathlib import Path

from src.alert_desk import AlertDesk, DeskRules, LocalTime
from src.alert_facts import read_beats, read_failed_logins, silent_processes
from src.alerts import AlertFacts, AlertLimits, alerts_of
from src.core.clock import Clock
from src.core.errors import StoreCorrupt, StoreUnavailable
from src.database import TradingDatabase
from src.health import heartbeat_health
from src.notifier import Notifier, keep, read_kept

_NO_DIGEST = DeskRules(digest_minute=None)


class SilenceReporter:
    """To be asked every few seconds by a process that is no bot, such as the dashboard's. One thread at a time.

    Args:
        database: opened to read.
        notifier: through which people are told, once and when it is over.
        clock: the machine's.
        kept: where it is noted what people were told, so that the next process does not repeat it; None: nowhere.
    """

    def __init__(self, database: TradingDatabase, notifier: Notifier, clock: Clock, kept: Path | None = None) -> None:
        self._database = database
        self._notifier = notifier
        self._clock = clock
        self._kept = kept
        self._desk = AlertDesk(_NO_DIGEST, None if kept is None else read_kept(kept))

    def look(self) -> list[tuple[str, str]]:
        """Return the silent processes, each with a sentence, and tell people unless the watcher does."""
        now_ms = self._clock.now_ms()
        try:
            beats = read_beats(self._database)
            silent, failed = silent_processes(beats, now_ms), read_failed_logins(self._database, now_ms)
        except (StoreUnavailable, StoreCorrupt) as error:
            beats, silent, failed = [], [("database", f"No sign of life can be read: {error}")], 0
        watched = any(beat["process"] == "watcher" and heartbeat_health(beat, now_ms).well for beat in beats)
        facts = AlertFacts() if watched else AlertFacts(silent=silent, failed_logins=failed)
        messages = self._desk.step(alerts_of(facts, AlertLimits()), LocalTime(now_ms, "", 0), "")
        for message in messages:
            self._notifier.tell(message)
        self._notifier.flush()
        if messages and self._kept is not None:
            keep(self._kept, self._desk.as_dict())
        return silent
