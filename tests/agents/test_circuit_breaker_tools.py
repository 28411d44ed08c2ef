"""S6 as agents meet it: they may trip and may ask, never reset and never order; with CrewAI and without.

Runs in the suite's own environment on the shim, and unchanged in CrewAI's (``requirements-agents.txt``).
"""

import ast
import json
import threading
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import insert

from src.agents import circuit_breaker_tools as room
from src.agents.circuit_breaker_tools import TOOLS, tools_for
from src.agents.tool_base import ToolFailure
from src.domain.clock import ManualClock, utc_day, utc_text
from src.domain.errors import StoreUnavailable
from src.domain.portfolio import Account
from src.domain.ports import Income
from src.storage.journal_repository import JournalRepository
from src.storage.tables import circuit_breaker_events, trades
from tests.agents.breaker_service import NOW, new_breaker_service

WHY = "Two exchanges report halted withdrawals."
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def service(tmp_path):
    breaker_service, database, _ = new_breaker_service(tmp_path)
    yield breaker_service, database
    database.close()


def tool(breaker_service, name, actor="risk_officer"):
    return tools_for(actor, [name], breaker_service)[0]


def asked(breaker_service, name, **arguments):
    return json.loads(tool(breaker_service, name).run(**arguments))


def test_a_new_database_may_trade_and_says_so(service):
    state = asked(service[0], "check_circuit_breaker")
    assert (state["status"], state["can_trade"], state["reset_requested_by"]) == ("ARMED", True, None)


def test_an_agent_trips_and_everybody_sees_who_and_why(service):
    breaker_service, _ = service
    before = asked(breaker_service, "check_circuit_breaker")["version"]
    state = asked(breaker_service, "trip_circuit_breaker", reason=WHY)
    assert (state["status"], state["reason"], state["actor"]) == ("TRIPPED", WHY, "agent:risk_officer")
    assert state["version"] == before + 1
    assert asked(breaker_service, "check_circuit_breaker") == state
    assert asked(breaker_service, "get_circuit_breaker_history", limit=1)[0]["actor"] == "agent:risk_officer"


def test_tripping_twice_leaves_the_first_reason(service):
    breaker_service, _ = service
    first = asked(breaker_service, "trip_circuit_breaker", reason=WHY)
    assert asked(breaker_service, "trip_circuit_breaker", reason="Something else altogether.") == first


def test_asking_for_a_reset_notes_the_wish_and_changes_nothing_else(service):
    breaker_service, _ = service
    armed = asked(breaker_service, "request_circuit_breaker_reset", reason="Please arm what is armed.")
    assert armed["reset_requested_by"] is None
    asked(breaker_service, "trip_circuit_breaker", reason=WHY)
    state = asked(breaker_service, "request_circuit_breaker_reset", reason="Withdrawals work again.")
    assert (state["status"], state["can_trade"]) == ("TRIPPED", False)
    assert state["reset_requested_by"] == "agent:risk_officer"


def test_no_sequence_of_tools_ever_arms_a_tripped_breaker(service):
    breaker_service, _ = service
    asked(breaker_service, "trip_circuit_breaker", reason=WHY)
    for name in TOOLS:
        for kind in ({}, {"reason": "Reset it now, I am a person."}, {"limit": 5}):
            try:
                tool(breaker_service, name, actor="person").run(**kind)
            except ValueError:
                continue
    assert breaker_service.state().tripped


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"reason": "short"},
        {"reason": "x" * 301},
        {"reason": 17},
        {"reason": WHY, "actor": "person"},
        {"reason": WHY, "status": "ARMED"},
    ],
)
def test_wrong_arguments_are_refused_and_do_nothing(service, arguments):
    breaker_service, _ = service
    with pytest.raises(ValueError, match=r"(?i)argument|valid"):
        tool(breaker_service, "trip_circuit_breaker").run(**arguments)
    assert not breaker_service.state().tripped


def test_an_agent_that_talks_in_circles_is_cut_off(service):
    breaker_service, _ = service
    trip = tool(breaker_service, "trip_circuit_breaker")
    for _ in range(3):
        trip.run(reason=WHY)
    assert "trip" in str(trip.run(reason=WHY))
    assert len(breaker_service.history(50)) == 2


def test_a_lost_record_is_tripped(service):
    breaker_service, database = service
    database.write(lambda connection: connection.execute(circuit_breaker_events.delete()))
    state = asked(breaker_service, "check_circuit_breaker")
    assert (state["status"], state["can_trade"]) == ("TRIPPED", False)


def test_a_database_that_is_away_is_a_failure_and_not_a_state(service, monkeypatch):
    breaker_service, database = service

    def away(*_args, **_kwargs):
        raise StoreUnavailable("The database is locked.")

    monkeypatch.setattr(database, "breaker_events", away)
    answer = tool(breaker_service, "check_circuit_breaker").run()
    assert isinstance(answer, ToolFailure)
    assert "locked" in answer.message
    assert "stopped" in answer.message


def test_twenty_agents_at_once_make_one_event(service):
    breaker_service, _ = service
    crowd = [
        threading.Thread(target=lambda n=n: tool(breaker_service, "trip_circuit_breaker", f"a{n}").run(reason=WHY))
        for n in range(20)
    ]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    assert [event["status"] for event in breaker_service.history(50)] == ["TRIPPED", "ARMED"]


def closed_trade(number, pnl):
    when = utc_text(NOW + number * 1_000)
    return {
        "bot_id": "main", "mode": "paper", "world": "synthetic", "symbol": "BTCUSDT", "timestamp": when,
        "entry_time": when, "side": "LONG", "entry_price": Decimal(1), "quantity": Decimal(1), "leverage": 1,
        "status": "closed", "entry_client_id": f"e{number}", "pnl": Decimal(pnl),
    }  # fmt: skip


def test_the_figures_stand_beside_the_settings_own_limits_and_unknown_is_null(service):
    breaker_service, database = service
    armed_ms = breaker_service.state().since_ms
    rows = [closed_trade(number, pnl) for number, pnl in enumerate((5, -1, -2, -3))]
    for row in rows:
        row["timestamp"] = utc_text(armed_ms + 60_000 + int(row["entry_client_id"][1:]))
    database.write(lambda connection: connection.execute(insert(trades), rows))
    figures = asked(breaker_service, "get_risk_metrics")
    assert figures["losses"] == {"in_a_row": 3, "rate": 0.75, "counted_trades": 4}
    assert figures["limits"]["losses_in_a_row"] == 8
    assert figures["day"]["loss_share"] is None
    assert figures["drawdown_share"] is None
    assert figures["bot"] == {"id": "main", "label": "paper, synthetic", "well": False, "condition": "no heartbeat yet"}


def test_money_paid_out_is_no_loss_of_the_day_and_no_drawdown(service):
    breaker_service, database = service
    clock = ManualClock(NOW)
    journal = JournalRepository(database, clock)
    journal.day_start(utc_day(NOW), Decimal(10_000))
    journal.record_account(Account(Decimal(10_000), Decimal(10_000), Decimal(0), NOW))
    journal.transfers.note(Income("TRANSFER", "", Decimal(-4_000), "USDT", NOW + 1, "1"), None, counted=True)
    journal.record_account(Account(Decimal(5_700), Decimal(5_700), Decimal(0), NOW + 1_000, (), Decimal(-4_000)))
    database.flush()
    figures = asked(breaker_service, "get_risk_metrics")
    assert figures["day"]["loss_share"] == pytest.approx(0.05)
    assert figures["drawdown_share"] == pytest.approx(0.05)


def test_results_are_never_cached():
    for kind in TOOLS.values():
        assert kind.model_fields["cache_function"].default({}, "x") is False


def test_no_tool_and_nothing_it_can_reach_resets_or_orders():
    assert set(TOOLS) == {
        "check_circuit_breaker",
        "get_risk_metrics",
        "get_circuit_breaker_history",
        "trip_circuit_breaker",
        "request_circuit_breaker_reset",
    }
    for file in (
        Path(room.__file__),
        ROOT / "src/agents/circuit_breaker_service.py",
        ROOT / "src/agents/tool_base.py",
        ROOT / "src/agents/crew_runner.py",
    ):
        tree = ast.parse(file.read_text())
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        rooms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert "reset" not in names
        assert not {each for each in rooms if "binance" in each or "order" in each or "trader" in each}
