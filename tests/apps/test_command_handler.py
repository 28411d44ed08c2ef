"""What a person wishes is done at most once, by the bot alone, and answered."""

import pytest

from src.apps.command_handler import CommandHandler
from src.domain.circuit_breaker import BreakerLimits, BreakerStatus
from src.domain.clock import SystemClock
from src.domain.errors import SettingsError
from src.domain.risk import ActiveLimits, RiskLimits
from src.execution.risk_manager import RiskManager
from src.runtime.rule_loader import RuleSets
from src.storage.command_queue import OperatorCommand, find, submit, take
from src.storage.database import TradingDatabase
from src.storage.journal_repository import JournalRepository
from src.storage.rows import Owner
from src.strategy.rules import DecisionRules
from tests.world import World, walk

OWNER = Owner("main", "paper", "synthetic")


class TraderControl:
    """A trader that only counts."""

    symbol = "BTCUSDT"

    def __init__(self, held: str = "LONG 0.1 BTCUSDT") -> None:
        self.held = held
        self.closed = 0
        self.rules: list[str] = []
        self.settings = World(walk(2)).settings

    def standing(self) -> str:
        """Return what is held."""
        return self.held

    def close_by_hand(self) -> str:
        """Close once."""
        self.closed += 1
        self.held = ""
        return ""

    def replace_rules(self, rules: DecisionRules, limits: RiskLimits) -> str:
        """Keep the name."""
        self.rules.append(rules.name)
        return ""


def read(name):
    if name not in ("safety_first", "trend_pays"):
        raise SettingsError((f"RULES: {name} cannot be used.",))
    return DecisionRules(name=name), RiskLimits()


@pytest.fixture
def database(tmp_path):
    made = TradingDatabase(f"sqlite:///{tmp_path}/t.db", OWNER)
    made.migrate()
    yield made
    made.close()


def handler_of(database, hand, configured="safety_first", read=read):
    clock = SystemClock()
    risk = RiskManager(JournalRepository(database, clock), clock, ActiveLimits(RiskLimits()), BreakerLimits(), 60_000)
    return CommandHandler(
        database=database, clock=clock, risk=risk, hands=[hand], rules=RuleSets(read, configured, configured)
    ), risk


def command(database, action, target="", key="", ago_s=0.0, actor="person in session 1"):
    row = OperatorCommand(key or f"{action}-{target}-key-0000000000", action, target, actor, "127.0.0.1")
    return submit(database, OWNER, row, SystemClock().now_ms() - round(ago_s * 1000))["request_key"]


def answer(database, key):
    database.flush()
    row = find(database, key)
    return row["status"], row["answer"]


def test_twenty_closes_are_one(database):
    hand = TraderControl()
    handler, _ = handler_of(database, hand)
    keys = {command(database, "close", "BTCUSDT", f"key-{number:016d}") for number in range(20)}
    assert len(keys) == 1 and handler.process_pending() == 1 and handler.process_pending() == 0 and hand.closed == 1
    assert answer(database, keys.pop()) == ("done", "The position in BTCUSDT is closed.")
    later = command(database, "close", "BTCUSDT", "key-of-another-time-1")
    handler.process_pending()
    assert hand.closed == 1 and answer(database, later)[0] == "refused"


def test_a_wish_that_waited_too_long_is_forgotten(database):
    hand = TraderControl()
    handler, _ = handler_of(database, hand)
    key = command(database, "close", "BTCUSDT", ago_s=61)
    assert handler.process_pending() == 1 and hand.closed == 0
    assert answer(database, key)[0] == "expired"


def test_a_wish_cut_off_by_a_crash_is_not_done_again(database):
    hand = TraderControl()
    key = command(database, "close", "BTCUSDT")
    assert take(database, find(database, key)["id"], 0)
    handler, _ = handler_of(database, hand)
    handler.restore()
    assert handler.process_pending() == 0 and hand.closed == 0
    status, words = answer(database, key)
    assert status == "failed" and "look at positions" in words


def test_a_pause_outlives_the_process_until_it_is_taken_back(database):
    handler, risk = handler_of(database, TraderControl())
    command(database, "pause", key="pause-0000000000-1")
    handler.process_pending()
    assert "person in session 1" in risk.halt_reason
    database.flush()
    again, risk = handler_of(database, TraderControl())
    again.restore()
    assert "paused" in risk.halt_reason
    command(database, "resume", key="resume-000000000-1")
    again.process_pending()
    assert risk.halt_reason == ""
    database.flush()
    third, risk = handler_of(database, TraderControl())
    third.restore()
    assert risk.halt_reason == ""


def test_anybody_trips_and_only_a_person_resets(database):
    handler, risk = handler_of(database, TraderControl())
    command(database, "trip", key="trip-00000000000-1")
    handler.process_pending()
    assert risk.judge_reset("person").state.status is BreakerStatus.ARMED
    agent = command(database, "reset", key="reset-0000000000-1", actor="agent 7")
    handler.process_pending()
    assert answer(database, agent)[0] == "refused"
    person = command(database, "reset", key="reset-0000000000-2")
    handler.process_pending()
    assert answer(database, person) == ("done", "The circuit breaker is ARMED.")
    assert database.breaker_events(limit=1)[0]["status"] == "ARMED"
    assert database.breaker_events(limit=1)[0]["actor"] == "person in session 1"
    twice = command(database, "reset", key="reset-0000000000-3")
    handler.process_pending()
    assert answer(database, twice)[0] == "done" and len(database.breaker_events()) == 3


def test_a_reset_waits_while_the_exchange_still_fails(database):
    handler, risk = handler_of(database, TraderControl())
    command(database, "trip", key="trip-00000000000-1")
    handler.process_pending()
    for _ in range(10):
        risk.note_exchange_error()
    key = command(database, "reset", key="reset-0000000000-2")
    handler.process_pending()
    status, words = answer(database, key)
    assert status == "refused" and "Not yet" in words


def test_other_rules_hold_over_a_restart_until_the_settings_change(database):
    hand = TraderControl()
    handler, _ = handler_of(database, hand)
    command(database, "rules", "trend_pays", "rules-0000000000-1")
    handler.process_pending()
    assert hand.rules == ["trend_pays"] and handler.rules == "trend_pays"
    wrong = command(database, "rules", "../../.env", "rules-0000000000-2")
    handler.process_pending()
    assert answer(database, wrong)[0] == "failed" and hand.rules == ["trend_pays"]
    same, other = TraderControl(), TraderControl()
    first, _ = handler_of(database, same)
    first.restore()
    assert same.rules == ["trend_pays"] and first.rules == "trend_pays"
    second, _ = handler_of(database, other, configured="trend_pays")
    second.restore()
    assert other.rules == []


def test_rules_that_can_be_followed_no_more_leave_the_bot_with_those_of_its_settings(database, caplog):
    """A set that was rewritten meanwhile must not keep the bot from starting and watching its position."""
    handler, _ = handler_of(database, TraderControl())
    done = command(database, "rules", "trend_pays", "rules-0000000000-1")
    handler.process_pending()
    assert answer(database, done)[0] == "done"

    def refuse(_name):
        raise SettingsError(("trend_pays trades with short positions, the agent learnt without.",))

    hand = TraderControl()
    again, _ = handler_of(database, hand, read=refuse)
    again.restore()
    assert (hand.rules, again.rules) == ([], "safety_first")
    assert "the agent learnt without" in caplog.text


def test_what_the_bot_does_not_know_is_refused(database):
    handler, _ = handler_of(database, TraderControl())
    key = command(database, "close", "DOGEUSDT")
    handler.process_pending()
    assert answer(database, key) == ("refused", "This bot does not trade DOGEUSDT.")


def test_one_pair_is_paused_and_resumed_alone_also_over_a_restart(database):
    hand = TraderControl()
    handler, risk = handler_of(database, hand)
    paused = command(database, "pause", "BTCUSDT")
    handler.process_pending()
    assert answer(database, paused) == ("done", "Entries in BTCUSDT are paused; open positions keep their rules.")
    assert hand.settings.pause_reason == "entries in BTCUSDT are paused by person in session 1"
    assert handler.paused_pairs == {"BTCUSDT": hand.settings.pause_reason} and risk.pause_reason == handler.pause == ""

    later = TraderControl()
    again, risk = handler_of(database, later)
    again.restore()
    assert later.settings.pause_reason == hand.settings.pause_reason and risk.pause_reason == ""
    everything = command(database, "pause", key="pause-all-00000000")
    again.process_pending()
    resumed = command(database, "resume", "BTCUSDT", key="resume-000000000-1")
    again.process_pending()
    assert answer(database, everything)[0] == "done"
    assert answer(database, resumed)[1] == "Entries in BTCUSDT are allowed again. All pairs are still paused."
    assert later.settings.pause_reason == "" and risk.pause_reason != ""
    foreign = command(database, "pause", "DOGEUSDT")
    again.process_pending()
    assert answer(database, foreign) == ("refused", "This bot does not trade DOGEUSDT.")
