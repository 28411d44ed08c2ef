"""The watcher beats, tells once over restarts, prunes once a day, and a damaged database does not end it."""

from contextlib import closing

import pytest

from src.domain.clock import ManualClock, utc_text
from src.monitoring import watchdog as room
from src.monitoring.alert_inputs import read_beats
from src.monitoring.alert_manager import AlertPolicy
from src.monitoring.notifications import Notifier
from src.monitoring.supervisor import Supervisor
from src.monitoring.watchdog import Watcher, alert_policy, local_time, minute_of
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.rows import Heartbeat, Owner

NOW = 1_790_000_000_000


class Post:
    def __init__(self):
        self.titles, self.pushed = [], 0

    def __call__(self, title, text, urgency):
        self.titles.append(title.removeprefix("trading suite main: "))
        return True

    def push(self):
        self.pushed += 1


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Settings and a seconds' hand that moves by hand."""
    monkeypatch.setattr(room, "PROJECT_ROOT", tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    seconds = [0.0]
    monkeypatch.setattr(room, "monotonic_s", lambda: seconds[0])
    env = tmp_path / ".env"
    env.write_text(f"DATABASE_URL=sqlite:///{tmp_path}/t.db\nALERT_DIGEST_TIME=off\nALERT_DISK_FREE=0.000001\n")
    return Settings.load(env), seconds


def watcher(settings, post, clock, folder):
    database = TradingDatabase(settings.database_url, Owner("main", "paper", "synthetic"))
    supervisor = Supervisor((), folder, lambda *_: 0, lambda *_: None)
    return Watcher(settings, database, Notifier("main", post, post.push), supervisor, clock)


def silent_bot(url):
    with closing(TradingDatabase(url)) as database:
        long_ago = utc_text(NOW - 3_600_000)
        database.heartbeat(
            Heartbeat(
                timestamp=long_ago, beat_at=long_ago, process="trading_bot", pid=1, started_at=long_ago,
                phase="waiting", version="1", config_hash="x", interval_s=60.0,
            )
        )  # fmt: skip


def test_a_first_start_without_a_database_creates_tables_and_sends_no_alert(home, tmp_path):
    settings, seconds = home
    post = Post()
    watching = watcher(settings, post, ManualClock(NOW), tmp_path)
    watching.check()
    seconds[0] = 5.0
    watching.check()  # too early for facts
    seconds[0] = 60.0
    watching.check()
    watching.close()
    assert (post.titles, post.pushed) == ([], 2)
    with closing(TradingDatabase(settings.database_url, read_only=True)) as database:
        ((process, phase),) = [(row["process"], row["phase"]) for row in read_beats(database)]
    assert (process, phase) == ("watcher", "stopped")


def test_sent_alerts_are_not_repeated_by_the_next_process_and_stop_the_push(home, tmp_path):
    settings, seconds = home
    first, second = Post(), Post()
    watching = watcher(settings, first, ManualClock(NOW), tmp_path)
    watching.check()
    silent_bot(settings.database_url)
    seconds[0] = 60.0
    watching.check()
    watching.close()
    assert first.titles == ["process unresponsive: main/trading_bot"]
    assert first.pushed == 1
    seconds[0] = 120.0
    another = watcher(settings, second, ManualClock(NOW + 60_000), tmp_path)
    another.check()
    another.close()
    assert (second.titles, second.pushed) == ([], 0)


def test_a_damaged_database_causes_an_alert_and_does_not_stop_the_watchdog(home, tmp_path):
    settings, _ = home
    (tmp_path / "t.db").write_bytes(b"this is no database, " * 400)
    post = Post()
    watching = watcher(settings, post, ManualClock(NOW), tmp_path)
    watching.check()
    assert post.titles == ["database unreadable: machine"]


def test_the_settings_decide_when_alerts_are_sent(tmp_path):
    env = tmp_path / ".env"
    env.write_text("ALERT_QUIET_HOURS=22:30-07:00\nALERT_DIGEST_TIME=09:15\n")
    assert alert_policy(Settings.load(env)) == AlertPolicy((22 * 60 + 30, 420), 555)
    env.write_text("ALERT_DIGEST_TIME=off\n")
    assert alert_policy(Settings.load(env)) == AlertPolicy(None, None)
    assert minute_of("23:59") == 1_439


def test_the_local_day_is_that_of_the_zone():
    assert local_time(1_790_000_000_000, "UTC").day == "2026-09-21"
    east = local_time(1_790_000_000_000, "Pacific/Auckland")
    assert (east.day, east.minute) == ("2026-09-22", 2 * 60 + 13)
