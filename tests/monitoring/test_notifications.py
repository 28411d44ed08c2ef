"""Messages arrive in order or wait; without Apprise the log has them; its addresses never appear anywhere."""

import logging
import stat
import sys
import types

import pytest

from src.domain.errors import SettingsError, SourceUnavailable
from src.monitoring.alert_manager import Message, MessageKind
from src.monitoring.notifications import Notifier, apprise_sender, keep, read_kept
from src.runtime.settings import Settings

RAISED = Message(MessageKind.RAISED, "process unresponsive: main", "silent for 200 s.", critical=True)
OVER = Message(MessageKind.RESOLVED, "over: process unresponsive: main", "It lasted 4 min.")


class Post:
    """A sender that keeps what it was given; ``up`` False refuses."""

    def __init__(self):
        self.up, self.sent = True, []

    def __call__(self, title, text, urgency):
        if self.up:
            self.sent.append((title, urgency))
        return self.up


def test_messages_are_delivered_with_their_urgency():
    post = Post()
    notifier = Notifier("main", post)
    notifier.tell(RAISED)
    notifier.tell(OVER)
    assert post.sent == [
        ("trading suite main: process unresponsive: main", "failure"),
        ("trading suite main: over: process unresponsive: main", "success"),
    ]


def test_undelivered_messages_wait_in_order_and_are_logged_once(caplog):
    post = Post()
    post.up = False
    notifier = Notifier("main", post)
    notifier.tell(RAISED)
    notifier.tell(OVER)
    notifier.flush()
    assert notifier.waiting == 2
    assert sum("cannot be delivered" in line for line in caplog.messages) == 1
    post.up = True
    notifier.flush()
    assert [urgency for _, urgency in post.sent] == ["failure", "success"]
    assert notifier.waiting == 0


def test_an_endless_outage_of_the_messenger_fills_no_memory():
    post = Post()
    post.up = False
    notifier = Notifier("main", post)
    for _ in range(1_000):
        notifier.tell(RAISED)
    assert notifier.waiting == 100


def test_without_addresses_the_log_has_it_and_nothing_waits(caplog):
    notifier = Notifier("main")
    with caplog.at_level(logging.INFO):
        notifier.tell(RAISED)
        notifier.tell(OVER)
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.INFO]
    assert notifier.waiting == 0


def test_a_push_address_that_is_away_stops_nothing(caplog):
    def away():
        raise SourceUnavailable("example.org did not answer")

    Notifier("main", push=away).ping()
    assert "push address not reached" in caplog.text
    Notifier("main").ping()


def test_addresses_without_apprise_are_refused_with_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(SettingsError, match=r"requirements-alerts\.txt"):
        apprise_sender("json://localhost")


@pytest.fixture
def fake_apprise(monkeypatch):
    """A stand-in with the two methods of Apprise that we call."""
    heard = []

    class Apprise:
        def add(self, url):
            return "://" in url

        def notify(self, body, title, notify_type):
            heard.append((title, body, notify_type))
            return True

    monkeypatch.setitem(sys.modules, "apprise", types.SimpleNamespace(Apprise=Apprise))
    return heard


def test_a_wrong_address_is_named_by_its_number_and_not_shown(fake_apprise):
    with pytest.raises(SettingsError) as wrong:
        apprise_sender("json://localhost, my-secret-token")
    assert "number 2" in str(wrong.value)
    assert "my-secret-token" not in str(wrong.value)


def test_the_settings_make_a_notifier_and_hide_its_addresses(tmp_path, fake_apprise):
    env = tmp_path / ".env"
    env.write_text("ALERT_URLS=tgram://canary-token/1\nALERT_PUSH_URL=https://ping.example/canary-push\n")
    settings = Settings.load(env)
    assert "canary" not in repr(settings)
    Notifier.from_settings(settings).tell(RAISED)
    assert fake_apprise == [("trading suite main: process unresponsive: main", "silent for 200 s.", "failure")]


def test_the_file_of_sent_alerts_is_readable_by_its_owner_only(tmp_path):
    file = tmp_path / "state" / "alerts.json"
    assert read_kept(file) == {}
    keep(file, {"cases": [], "digest_day": "2026-11-22"})
    assert read_kept(file) == {"cases": [], "digest_day": "2026-11-22"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("{ half")
    assert read_kept(file) == {}
    keep(tmp_path / "state" / "alerts.json" / "nowhere", {})  # a file in the way: told in the log, no more
