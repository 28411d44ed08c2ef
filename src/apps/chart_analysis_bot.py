"""The chart-analysis loop: schedules chart and news jobs in a worker process and writes heartbeats.

Whatever a round needs (drawing, models, feeds) is loaded by ``chart_worker.py``, which lives only while there is
something to do. A round that fails, hangs or dies costs that round alone: the other half and the loop go on.
"""

import logging
import os
import threading
from dataclasses import dataclass, replace
from typing import Any, Final

from src.charts.console_output import ChartConsole
from src.domain.clock import ExchangeClock, SystemClock, monotonic_s, utc_text
from src.domain.errors import StoreUnavailable
from src.domain.version import VERSION
from src.runtime.console import Console
from src.runtime.process import notify_manager
from src.runtime.settings import Settings
from src.runtime.worker_process import WorkerProcess, WorkerRequestFailed
from src.storage.database import TradingDatabase
from src.storage.rows import Heartbeat, Owner

log = logging.getLogger("chart_analysis_bot")

PROCESS: Final = "chart_analysis_bot"
_WORKER: Final = "src.apps.chart_worker"
_BEAT_EVERY_S: Final = 10.0
_FIRST_ANSWER_S: Final = 60.0
_ROUND_S: Final = 60.0
_PICTURE_S: Final = 10.0
_ASKED_TWICE: Final = 3.0  # of the timeout, each answer may take half as much again
_PANEL_SHARE: Final = 7.0  # a panel that is waited for, then a moderator that is asked twice
_CLOSED_MS: Final = 3_000  # after a full interval, so that its last candle can be had
_KEEP_CHILD_S: Final = 20.0  # an idle child is let go unless it is wanted again this soon
_LEAST_PAUSE_S: Final = 1.0  # of wall time, however fast a paper market runs
_RETRY_S: Final = 60.0


@dataclass(slots=True)
class ScheduledJob:
    """One half of the work: what it is called, how often it is due, and how its last round went."""

    name: str
    every_ms: int
    deadline_s: float
    due_ms: int = 0
    failures: int = 0
    error: str = ""
    last: dict[str, Any] | None = None

    def left_ms(self, now_ms: int) -> int:
        """Return how long until it is due; 0 also where that would be too long, for then the clock was turned back."""
        left_ms = self.due_ms - now_ms
        return left_ms if 0 < left_ms <= self.every_ms + _CLOSED_MS else 0


class ChartAnalysisBot:
    """The loop: charts and news, each at its own interval, one after the other.

    Args:
        settings: checked ones.
        clock: the exchange's; set by what the child reads there.
        database: for the heartbeat.
        child: does the rounds.
        console: tells.
        stop: ends it.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        clock: ExchangeClock,
        database: TradingDatabase,
        child: WorkerProcess,
        console: ChartConsole,
        stop: threading.Event,
    ) -> None:
        self._clock = clock
        self._database = database
        self._child = child
        self._console = console
        self._stop = stop
        minute_ms = 60_000
        pairs = len(settings.pairs)
        asked = _PANEL_SHARE if settings.chart_analyst_name == "panel" else _ASKED_TWICE
        pair_s = _PICTURE_S + asked * settings.openai_timeout_s
        self._charts = ScheduledJob("charts", settings.chart_interval_minutes * minute_ms, _ROUND_S + pair_s * pairs)
        self._news = ScheduledJob("news", settings.news_interval_minutes * minute_ms, 3 * _ROUND_S)
        self._halves = (self._charts, self._news)
        self._last_beat_s = -_BEAT_EVERY_S
        now = utc_text(clock.now_ms())
        self._beat = Heartbeat(
            timestamp=now,
            beat_at=utc_text(SystemClock().now_ms()),
            process=PROCESS,
            pid=os.getpid(),
            started_at=now,
            phase="starting",
            version=VERSION,
            config_hash=settings.config_hash(),
            interval_s=settings.chart_interval_minutes * 60.0,
            speed=clock.speed,
        )

    def run(self) -> int:
        """Work until told to stop; return the exit code."""
        self._sign_of_life("connecting")
        self._learn_the_time()
        self._beat = replace(self._beat, started_at=utc_text(self._clock.now_ms()))
        notify_manager("READY=1")
        while not self._stop.is_set():
            for half in self._halves:
                if not self._stop.is_set() and not half.left_ms(self._clock.now_ms()):
                    self.take_round(half)
            self._wait()
        return self._finish()

    def take_round(self, half: ScheduledJob) -> None:
        """Have one half's round done; note how it went and when it is due again."""
        if half is self._charts:
            started = utc_text(self._clock.now_ms())
            self._beat = replace(self._beat, cycle_no=self._beat.cycle_no + 1, cycle_started=started)
        self._sign_of_life(half.name)
        began_s = monotonic_s()
        try:
            half.last = self._ask(half.name, half.deadline_s)
        except WorkerRequestFailed as error:
            if not self._stop.is_set():
                self._note_failure(half, str(error))
            return
        half.error = "; ".join(f"{pair}: {reason}" for pair, reason in dict(half.last.get("failed") or {}).items())
        if half.error and not (half.last.get("analysed") or half.last.get("skipped")):
            self._note_failure(half, half.error)
            return
        half.failures = 0
        half.due_ms = _next_full(self._clock.now_ms(), half.every_ms)
        # A round of charts in which every pair failed is a missed cycle: health reports it.
        finished = {"cycle_finished": utc_text(self._clock.now_ms())} if half is self._charts else {}
        took_s = monotonic_s() - began_s
        log.info("round done: half=%s took_s=%.1f error=%s", half.name, took_s, half.error or "none")
        self._sign_of_life("waiting", **finished)

    def _note_failure(self, half: ScheduledJob, reason: str) -> None:
        half.error = reason
        half.failures += 1
        pause_ms = min(_RETRY_S * 1_000.0 * min(half.failures, 5) * self._clock.speed, half.every_ms)
        half.due_ms = self._clock.now_ms() + int(pause_ms)
        log.warning("round failed: half=%s failures=%d reason=%s", half.name, half.failures, reason)
        self._console.trouble(half.name.capitalize(), reason)
        self._sign_of_life("waiting")

    def _learn_the_time(self) -> None:
        try:
            self._ask("clock", _FIRST_ANSWER_S)
        except WorkerRequestFailed as error:
            if not self._stop.is_set():
                log.warning("exchange's time not known yet: reason=%s", error)

    def _ask(self, request: str, deadline_s: float) -> dict[str, Any]:
        answer = self._child.ask({"request": request}, deadline_s, self._stop, self._beat_when_due)
        if answer.get("now_ms"):
            self._clock.follow(int(answer["now_ms"]))
        return answer

    def _wait(self) -> None:
        """Wait until a half is due, with signs of life; let an idle child go."""
        now_ms = self._clock.now_ms()
        following = min(self._halves, key=lambda half: half.left_ms(now_ms))
        left_s = following.left_ms(now_ms) / 1_000.0 / self._clock.speed
        if left_s > _KEEP_CHILD_S:
            self._child.end()
        if not self._stop.is_set():
            self._console.sleeping(left_s, following.name)
        until_s = monotonic_s() + max(left_s, _LEAST_PAUSE_S)
        while not self._stop.is_set() and (left_s := until_s - monotonic_s()) > 0.0:
            self._beat_when_due()
            self._stop.wait(min(left_s, _BEAT_EVERY_S - 1.0))

    def _beat_when_due(self) -> None:
        if monotonic_s() - self._last_beat_s >= _BEAT_EVERY_S - 1.0:
            self._sign_of_life(self._beat.phase)

    def _sign_of_life(self, phase: str, **changes: Any) -> None:
        self._last_beat_s = monotonic_s()
        market_ms = (self._charts.last or {}).get("last_market_ms")
        error = "; ".join(f"{half.name}: {half.error}" for half in self._halves if half.error)
        now = utc_text(self._clock.now_ms())
        if error and error != self._beat.last_error:
            changes["last_error_at"] = now
        self._beat = replace(
            self._beat,
            timestamp=now,
            beat_at=utc_text(SystemClock().now_ms()),
            phase=phase,
            last_market=None if market_ms is None else utc_text(int(market_ms)),
            last_error=error,
            details={half.name: half.last or {} for half in self._halves},
            **changes,
        )
        notify_manager("WATCHDOG=1")
        try:
            self._database.heartbeat(self._beat)
        except StoreUnavailable as problem:
            log.warning("no sign of life: reason=%s", problem)

    def _finish(self) -> int:
        """Let the child finish what it does, and write that we are gone."""
        self._sign_of_life("stopping")
        self._child.end()
        self._sign_of_life("stopped")
        self._database.flush()
        self._database.close()
        self._console.stopped()
        return 0


def main(stop: threading.Event) -> int:
    """Build the bot from the settings and work until ``stop`` is set; return the exit code."""
    settings = Settings.load()
    console = ChartConsole(Console(log))
    console.start(settings, settings.world)
    database = TradingDatabase(settings.database_url, Owner(settings.bot_id, settings.mode, settings.world))
    database.migrate()
    clock = ExchangeClock(settings.paper_speed if settings.mode == "paper" else 1.0)
    child = WorkerProcess(_WORKER, settings.project_root, (str(SystemClock().now_ms()),))
    return ChartAnalysisBot(
        settings=settings, clock=clock, database=database, child=child, console=console, stop=stop
    ).run()


def _next_full(now_ms: int, every_ms: int) -> int:
    """Return the first full interval after now, and a moment for its candle to be there."""
    return (now_ms // every_ms + 1) * every_ms + _CLOSED_MS
