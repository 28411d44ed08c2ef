"""However many processes look, people hear of a silent bot once, from one of them, and when it is over."""

from contextlib import closing

import pytest

from src.domain.clock import ManualClock, utc_text
from src.monitoring.fallback_alerts import FallbackAlerter
from src.monitoring.notifications import Notifier
from src.storage.database import TradingDatabase
from src.storage.rows import Heartbeat, Owner

NOW = 1_795_348_800_000  # 2026-11-22T12:00:00Z
MINUTE = 60_000


class Post:
    """Who is told: keeps the titles."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def __call__(self, title: str, text: str, urgency: str) -> bool:
        self.titles.append(title.removeprefix("trading suite main: "))
        return True


class Scene:
    """A database with signs of life, a clock, and everybody who is told by anybody."""

    def __init__(self, database, folder):
        self.database, self.clock, self.post = database, ManualClock(NOW), Post()
        self.kept = folder / "state" / "told-main.json"

    def beat(self, process="trading_bot", phase="waiting", interval_s=60.0):
        now = utc_text(self.clock.now_ms())
        common = {"pid": 1, "started_at": now, "version": "0", "config_hash": "", "cycle_no": 1}
        beat = Heartbeat(timestamp=now, beat_at=now, process=process, phase=phase, interval_s=interval_s, **common)
        self.database.heartbeat(beat)
        self.database.flush()

    def reporter(self):
        return FallbackAlerter(self.database, Notifier("main", self.post), self.clock, self.kept)

    def pass_by(self, ms):
        self.clock.advance_to(self.clock.now_ms() + ms)


@pytest.fixture
def scene(tmp_path):
    with closing(TradingDatabase(f"sqlite:///{tmp_path}/some.db", Owner("main", "paper", "synthetic"))) as database:
        database.migrate()
        yield Scene(database, tmp_path)


RAISED, OVER = "process unresponsive: main/trading_bot", "over: process unresponsive: main/trading_bot"


def test_of_two_processes_one_alerts_and_the_other_takes_over_when_it_ends(scene):
    scene.beat()
    first, second = scene.reporter(), scene.reporter()
    first.look()
    second.look()
    scene.pass_by(3 * MINUTE)
    for each in (second, first, second, first):
        assert [name for name, _ in each.look()] == ["main/trading_bot"]
    assert scene.post.titles == [RAISED]
    del first, each  # as a process ends: the system frees its lock
    second.look()
    assert scene.post.titles == [RAISED]
    scene.beat()
    scene.pass_by(MINUTE)
    second.look()
    scene.pass_by(MINUTE + 1)
    scene.beat()
    second.look()
    assert scene.post.titles == [RAISED, OVER]


def test_a_process_unresponsive_at_the_start_gets_time_and_a_later_one_does_not(scene):
    scene.beat()
    scene.beat("chart_analysis_bot")
    scene.pass_by(60 * MINUTE)  # the machine was off
    reporter = scene.reporter()
    scene.beat("chart_analysis_bot", interval_s=1.0)
    reporter.look()
    assert scene.post.titles == []
    scene.pass_by(10_000)
    reporter.look()
    assert scene.post.titles == ["process unresponsive: main/chart_analysis_bot"]
    scene.pass_by(50_000)
    reporter.look()
    assert scene.post.titles[1:] == [RAISED]


def test_a_restart_neither_repeats_nor_ends_an_alert(scene):
    scene.beat()
    reporter = scene.reporter()
    scene.pass_by(3 * MINUTE)
    reporter.look()
    for _ in range(5):
        del reporter
        scene.pass_by(30 * MINUTE)
        reporter = scene.reporter()
        reporter.look()
    assert scene.post.titles == [RAISED]


def test_the_return_of_the_watchdog_sends_no_message_that_the_alert_is_over(scene):
    scene.beat()
    reporter = scene.reporter()
    scene.pass_by(3 * MINUTE)
    reporter.look()
    for _ in range(20):
        scene.beat("watcher", interval_s=15.0)
        scene.beat("chart_analysis_bot", phase="stopped")
        reporter.look()
        scene.pass_by(15_000)
    assert scene.post.titles == [RAISED]


def test_a_properly_stopped_process_is_not_unresponsive(scene):
    scene.beat(phase="stopped")
    reporter = scene.reporter()
    scene.pass_by(60 * MINUTE)
    assert reporter.look() == []
    assert scene.post.titles == []


def test_without_a_lock_file_it_sends_alerts_anyway(scene, caplog):
    scene.kept.parent.write_text("a file where the folder should be")
    scene.beat()
    reporter = scene.reporter()
    scene.pass_by(3 * MINUTE)
    for _ in range(3):
        reporter.look()
    assert scene.post.titles == [RAISED]
    assert sum("alert lock unavailable" in line for line in caplog.messages) == 1
