"""The facts behind the alerts are read from the rows that the processes write, each bot's own; silence is told once."""

from contextlib import closing
from decimal import Decimal

import pytest
from sqlalchemy import insert

from src.domain.circuit_breaker import TripCause, as_row, from_events, trip
from src.domain.clock import DAY_MS, ManualClock, utc_day, utc_text
from src.monitoring.alert_inputs import figures_of_day, free_disk_share, gather, market_ms, read_beats
from src.monitoring.alert_rules import AlertKind, AlertLimits, alerts_of
from src.monitoring.fallback_alerts import FallbackAlerter
from src.monitoring.notifications import Notifier
from src.storage.database import TradingDatabase
from src.storage.rows import Heartbeat, Owner
from src.storage.tables import daily_performance, login_attempts, orders, positions

NOW = 1_790_000_000_000
MINE = Owner("main", "paper", "synthetic")


@pytest.fixture
def database(tmp_path):
    with closing(TradingDatabase(f"sqlite:///{tmp_path}/t.db", MINE)) as database:
        database.migrate()
        yield database


def beat(database, age_s=0.0, process="trading_bot", **changes):
    usual = {
        "timestamp": utc_text(NOW - int(age_s * 1000)),
        "beat_at": utc_text(NOW - int(age_s * 1000)),
        "process": process,
        "pid": 1,
        "started_at": utc_text(NOW),
        "phase": "waiting",
        "version": "1",
        "config_hash": "x",
        "interval_s": 60.0,
        "cycle_no": 5,
    }
    database.heartbeat(Heartbeat(**usual | changes))
    database.flush()


def position(owner=MINE, symbol="BTCUSDT", own=True, liquidation=None):
    return owner.columns(symbol) | {
        "timestamp": utc_text(NOW),
        "side": "LONG",
        "quantity": Decimal("0.1"),
        "entry_price": Decimal(50_000),
        "mark_price": Decimal(50_000),
        "unrealized_pnl": Decimal(0),
        "leverage": 10,
        "margin_type": "CROSSED",
        "position_side": "BOTH",
        "liquidation_price": liquidation,
        "own": own,
    }


def stop_order(owner=MINE, finished=False):
    return owner.columns("BTCUSDT") | {
        "timestamp": utc_text(NOW),
        "updated_at": utc_text(NOW),
        "client_id": f"s{finished}",
        "purpose": "stop",
        "kind": "STOP_MARKET",
        "side": "SELL",
        "quantity": Decimal("0.1"),
        "status": "FILLED" if finished else "NEW",
        "finished": finished,
    }


def write(database, table, *rows):
    database.write(lambda connection: connection.execute(insert(table), list(rows)))


def kinds(database, tmp_path):
    facts = gather(database, NOW, tmp_path)
    alerts = alerts_of(facts, AlertLimits(free_disk_share=0.0))
    return [str(alert.kind) for alert in alerts]


def test_a_bot_in_order_is_no_alarm(database, tmp_path):
    beat(database)
    write(database, positions, position())
    write(database, orders, stop_order())
    assert kinds(database, tmp_path) == []


def test_a_position_whose_stop_is_finished_has_none(database, tmp_path):
    beat(database)
    write(database, positions, position())
    write(database, orders, stop_order(finished=True))
    assert kinds(database, tmp_path) == [AlertKind.NO_STOP]


def test_rows_of_another_mode_and_another_bot_are_ignored(database, tmp_path):
    beat(database)
    write(
        database, positions, position(Owner("main", "testnet", "live")), position(Owner("gone", "paper", "synthetic"))
    )
    assert kinds(database, tmp_path) == []


def test_a_process_is_unresponsive_after_two_missed_cycles_unless_stopped_properly(database, tmp_path):
    beat(database, age_s=121)
    assert kinds(database, tmp_path) == [AlertKind.SILENT]
    beat(database, age_s=1_000, phase="stopped")
    assert kinds(database, tmp_path) == []
    beat(database, age_s=1_000, phase="starting")
    assert kinds(database, tmp_path) == [AlertKind.SILENT]


def test_differences_and_model_problems_of_the_bot_become_alerts(database, tmp_path):
    beat(database, details={"differences": {"BTCUSDT": "the exchange holds more", "ETHUSDT": ""}, "model": "damaged"})
    assert kinds(database, tmp_path) == [AlertKind.DIFFERENCE, AlertKind.MODEL]


def test_a_strategy_that_failed_is_told_while_its_bot_runs(database, tmp_path):
    beat(database, details={"strategy": "own.py, line 3: ZeroDivisionError: division by zero."})
    assert kinds(database, tmp_path) == [AlertKind.STRATEGY]
    beat(database, details={"strategy": ""})
    assert kinds(database, tmp_path) == []
    beat(database, phase="stopped", details={"strategy": "own.py failed."})
    assert kinds(database, tmp_path) == []


def test_the_loss_limit_holds_for_the_day_of_the_bots_own_market(database, tmp_path):
    """The market runs a hundred times faster than the wall: its day is another one by now."""
    beat(database, age_s=50, speed=100.0, timestamp=utc_text(NOW + 40 * DAY_MS), interval_s=9_999.0)
    day = utc_day(NOW + 40 * DAY_MS + 5_000_000)
    row = MINE.columns("*") | {"timestamp": utc_text(NOW), "limit_hit": True}
    write(database, daily_performance, row | {"day": utc_day(NOW)})
    assert kinds(database, tmp_path) == []
    write(database, daily_performance, row | {"day": day})
    assert kinds(database, tmp_path) == [AlertKind.LOSS_LIMIT]


def test_a_tripped_breaker_says_who_and_why(database, tmp_path):
    beat(database)
    state = from_events(database.breaker_events(), NOW)
    event = as_row(trip(state, TripCause("agent", "News of a hack."), "risk_officer", NOW))
    assert database.append_breaker_event(event, NOW)
    ((_, text),) = gather(database, NOW, tmp_path).breakers
    assert "News of a hack." in text
    assert "risk_officer" in text


def test_wrong_log_ins_of_the_last_ten_minutes_are_counted(database, tmp_path):
    def attempt(minutes, outcome):
        return {"timestamp": utc_text(NOW - minutes * 60_000), "origin": "10.0.0.1", "outcome": outcome}

    write(database, login_attempts, attempt(1, "wrong"), attempt(9, "wrong"), attempt(11, "wrong"), attempt(1, "right"))
    assert gather(database, NOW, tmp_path).failed_logins == 2


def test_a_database_that_cannot_be_read_is_itself_the_fact(tmp_path):
    with closing(TradingDatabase(f"sqlite:///{tmp_path}/none.db", read_only=True)) as away:
        facts = gather(away, NOW, tmp_path, [("rl_bot", "dies")])
        assert facts.database_trouble
        assert facts.restarts == (("rl_bot", "dies"),)
        assert "cannot be read" in figures_of_day(away, NOW)


def test_the_digest_has_a_line_for_each_bot(database):
    beat(database)
    beat(database, process="chart_analysis_bot")
    assert figures_of_day(database, NOW) == (
        "main (paper, synthetic): heartbeat 0 s ago, cycle 5, waiting; last 24 h: 0 turns, 0 trades closed."
    )


def test_the_markets_time_is_carried_on_for_a_day_at_most(database):
    beat(database, age_s=10, speed=60.0)
    (row,) = read_beats(database)
    assert market_ms(row, NOW) == NOW - 10_000 + 600_000
    assert market_ms(row, NOW + 10 * DAY_MS) == NOW - 10_000 + DAY_MS


def test_the_free_share_of_a_folder_that_does_not_exist_is_unknown(tmp_path):
    assert free_disk_share(tmp_path / "none") is None
    assert 0 < free_disk_share(tmp_path) <= 1


class Post:
    def __init__(self):
        self.titles = []

    def __call__(self, title, text, urgency):
        self.titles.append(title)
        return True


def test_another_process_alerts_once_and_leaves_it_to_a_running_watchdog(database):
    post, clock = Post(), ManualClock(NOW)
    reporter = FallbackAlerter(database, Notifier("main", post), clock)
    beat(database)
    assert reporter.look() == []
    clock.advance_to(NOW + 200_000)
    assert [name for name, _ in reporter.look()] == ["main/trading_bot"]
    reporter.look()
    assert post.titles == ["trading suite main: process unresponsive: main/trading_bot"]

    watched = Post()
    now = utc_text(NOW + 200_000)
    beat(database, process="watcher", beat_at=now, interval_s=15.0)
    other = FallbackAlerter(database, Notifier("main", watched), clock)
    assert [name for name, _ in other.look()] == ["main/trading_bot"]
    assert watched.titles == []
    clock.advance_to(NOW + 400_000)
    assert len(other.look()) == 2
    assert len(watched.titles) == 2


def test_a_missing_database_is_reported_as_unresponsive(tmp_path):
    post = Post()
    with closing(TradingDatabase(f"sqlite:///{tmp_path}/none.db", read_only=True)) as away:
        reporter = FallbackAlerter(away, Notifier("main", post), ManualClock(NOW))
        assert [name for name, _ in reporter.look()] == ["database"]
    assert len(post.titles) == 1
