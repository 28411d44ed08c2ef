"""People hear of a thing once, again while it lasts, and when it is over; at night only of what cannot wait."""

from hypothesis import given
from hypothesis import strategies as st

from src.monitoring.alert_manager import AlertManager, AlertPolicy, LocalTime, MessageKind
from src.monitoring.alert_rules import Alert, AlertKind

MINUTE = 60_000
SILENT = Alert(AlertKind.SILENT, "main/trading_bot", "silent for 200 s.")
DISK = Alert(AlertKind.DISK, "machine", "Only 3% of the disk is free.")
NAKED = Alert(AlertKind.NO_STOP, "main/BTCUSDT", "has no stop.")
NO_DIGEST = AlertPolicy(digest_minute=None)


def at(minutes, minute_of_day=720, day="2026-11-22"):
    return LocalTime(1_700_000_000_000 + int(minutes * MINUTE), day, minute_of_day)


def told(alert_manager, alerts, when):
    return [message.kind for message in alert_manager.step(alerts, when, "")]


def test_a_lasting_alert_is_sent_once_then_as_reminders_then_as_over():
    alert_manager = AlertManager(NO_DIGEST)
    assert told(alert_manager, [SILENT], at(0)) == [MessageKind.RAISED]
    assert told(alert_manager, [SILENT], at(1)) == []
    assert told(alert_manager, [SILENT], at(361)) == [MessageKind.REMINDER]
    assert told(alert_manager, [], at(362)) == []
    assert told(alert_manager, [], at(363)) == [MessageKind.RESOLVED]
    assert told(alert_manager, [], at(400)) == []


def test_an_alert_that_returns_within_two_minutes_is_the_same_one():
    alert_manager = AlertManager(NO_DIGEST)
    heard = [
        kind for minute in range(10) for kind in told(alert_manager, [SILENT] if minute % 2 == 0 else [], at(minute))
    ]
    assert heard == [MessageKind.RAISED]


def test_a_stop_on_its_way_is_no_alarm_but_one_that_stays_away_is():
    alert_manager = AlertManager(NO_DIGEST)
    assert told(alert_manager, [NAKED], at(0)) == []
    assert told(alert_manager, [], at(0.25)) == []
    assert told(alert_manager, [NAKED], at(5)) == []
    assert told(alert_manager, [NAKED], at(5.25)) == []
    assert told(alert_manager, [NAKED], at(5.5)) == [MessageKind.RAISED]


def test_quiet_hours_hold_back_warnings_and_nothing_else():
    alert_manager = AlertManager(AlertPolicy(quiet=(22 * 60, 7 * 60), digest_minute=None))
    assert told(alert_manager, [DISK, SILENT], at(0, minute_of_day=23 * 60)) == [MessageKind.RAISED]
    assert told(alert_manager, [DISK, SILENT], at(60, minute_of_day=0)) == []
    assert told(alert_manager, [DISK, SILENT], at(480, minute_of_day=7 * 60)) == [
        MessageKind.RAISED,
        MessageKind.REMINDER,
    ]


def test_an_alert_only_within_the_quiet_hours_is_dropped():
    alert_manager = AlertManager(AlertPolicy(quiet=(0, 1440), digest_minute=None))
    assert told(alert_manager, [DISK], at(0)) == []
    assert told(alert_manager, [], at(1)) == []
    assert alert_manager.as_dict()["cases"] == []


def test_the_end_of_an_alert_sent_before_the_quiet_hours_is_sent_after_them():
    alert_manager = AlertManager(AlertPolicy(quiet=(60, 120), digest_minute=None))
    assert told(alert_manager, [DISK], at(0, minute_of_day=50)) == [MessageKind.RAISED]
    assert told(alert_manager, [], at(20, minute_of_day=70)) == []
    assert told(alert_manager, [], at(80, minute_of_day=130)) == [MessageKind.RESOLVED]


def test_the_digest_is_sent_once_a_day_and_lists_active_alerts():
    alert_manager = AlertManager(AlertPolicy(digest_minute=8 * 60))
    assert told(alert_manager, [SILENT], at(0, minute_of_day=479)) == [MessageKind.RAISED]
    (digest,) = alert_manager.step([SILENT], at(1, minute_of_day=480), "main: 1440 turns.")
    assert digest.kind is MessageKind.DIGEST
    assert "main: 1440 turns." in digest.text
    assert "Alerts since the last digest: 1. Active now: 1." in digest.text
    assert told(alert_manager, [SILENT], at(2, minute_of_day=481)) == []
    assert told(alert_manager, [SILENT], at(3, minute_of_day=500, day="2026-11-23")) == [MessageKind.DIGEST]


def test_a_new_process_goes_on_where_the_last_one_ended():
    first = AlertManager(AlertPolicy())
    assert told(first, [SILENT], at(0)) == [MessageKind.RAISED, MessageKind.DIGEST]
    second = AlertManager(AlertPolicy(), first.as_dict())
    assert told(second, [SILENT], at(1)) == []
    assert told(second, [], at(4)) == [MessageKind.RESOLVED]


def test_a_damaged_memory_is_a_fresh_start():
    for nonsense in ({"cases": 3}, {"cases": [{"kind": "?"}]}, {"cases": [], "digest_day": "", "raised_today": "x"}):
        assert told(AlertManager(NO_DIGEST, nonsense), [SILENT], at(0)) == [MessageKind.RAISED]
    unknown = {"kind": "?", "subject": "", "text": "", "since_ms": 0, "seen_ms": 0, "told_ms": 1}
    alert_manager = AlertManager(NO_DIGEST, {"cases": [unknown], "digest_day": "", "raised_today": 0})
    assert told(alert_manager, [SILENT], at(0)) == [MessageKind.RAISED]


@given(st.lists(st.booleans(), max_size=200), st.booleans())
def test_messages_of_one_alert_alternate_and_never_flood(present, restart):
    """However an alert comes and goes: raised before over, never twice in a row, at most one a look."""
    alert_manager, state = AlertManager(NO_DIGEST), []
    for minute, here in enumerate(present):
        alert_manager = AlertManager(NO_DIGEST, alert_manager.as_dict()) if restart else alert_manager
        heard = told(alert_manager, [SILENT] if here else [], at(minute))
        assert len(heard) <= 1
        state += [kind for kind in heard if kind is not MessageKind.REMINDER]
    assert (
        state == [MessageKind.RAISED, MessageKind.RESOLVED] * (len(state) // 2) + state[len(state) - len(state) % 2 :]
    )
