"""The table of transitions is the documented one, and real positions go through every row of it."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from src.domain.errors import ExchangeUnavailable
from src.domain.orders import Purpose, Side
from src.domain.portfolio import Direction
from src.execution import position_record
from src.execution.position_manager import PositionManager
from src.execution.position_state import TRANSITIONS, Backoff, PositionEvent, PositionState, next_state
from tests.execution.test_position_money import owner
from tests.world import World, path

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "execution.md"
QUANTITY = Decimal("0.010")


def documented() -> dict[tuple[str, str], str]:
    section = DOCUMENT.read_text(encoding="utf-8").split("## Transitions")[1].split("## Rules")[0]
    rows = re.findall(r"^\| ([A-Z]+) \| ([a-z: ]+) \| ([A-Z]+) \|$", section, re.MULTILINE)
    return {(before, event): after for before, event, after in rows}


def test_the_documented_table_is_the_one_in_force():
    assert documented() == {(str(a), str(event)): str(b) for (a, event), b in TRANSITIONS.items()}


@pytest.mark.parametrize("event", list(PositionEvent))
@pytest.mark.parametrize("state", list(PositionState))
def test_what_the_table_does_not_know_leads_to_unknown(state, event):
    expected = TRANSITIONS.get((state, event), PositionState.UNKNOWN)
    assert next_state(state, event) is expected


def test_no_entry_starts_but_from_flat_and_no_event_leads_out_of_exiting_without_an_end():
    assert [state for state, event in TRANSITIONS if event is PositionEvent.ENTRY_STARTED] == [PositionState.FLAT]
    out = {after for (state, _), after in TRANSITIONS.items() if state is PositionState.EXITING}
    assert PositionState.OPEN not in out and PositionState.ENTERING not in out


# --- real positions through the table ------------------------------------------------------------------------------


def ready(minutes: int = 60) -> tuple[World, PositionManager]:
    world = World(path(*[30_000.0] * 11, *[30_100.0] * minutes))
    world.at(10)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    return world, position_manager


def opened() -> tuple[World, PositionManager]:
    world, position_manager = ready()
    assert position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test") == ""
    return world, position_manager


def look(world: World, position_manager, minute: int, second: float = 0.0) -> None:
    world.at(minute, second)
    position_manager.reconcile(world.inner.account())


def enter_exit_and_increase() -> None:
    world, position_manager = opened()
    position_manager.request_reconcile()
    look(world, position_manager, 12)
    position_manager.increase(Direction.LONG, QUANTITY, world.at(13), "test")
    world.exchange.refusals = {Purpose.ENTRY: [-2019]}
    position_manager.increase(Direction.LONG, QUANTITY, world.at(14), "test")
    position_manager.close("test")
    position_manager.request_reconcile()
    look(world, position_manager, 16)


def entry_refused() -> None:
    world, position_manager = ready()
    world.exchange.refusals = {Purpose.ENTRY: [-2019]}
    assert "refused" in position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    assert position_manager.state is PositionState.FLAT


def entry_unknown(dropped: bool) -> None:
    world, position_manager = ready()
    world.exchange.faults_of, world.exchange.blind_finds = Purpose.ENTRY, 99
    world.exchange.drop_sends, world.exchange.lose_answers = int(dropped), int(not dropped)
    position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    assert position_manager.state is PositionState.UNKNOWN
    if dropped:
        look(world, position_manager, 10, 5)
        assert position_manager.state is PositionState.UNKNOWN
    world.exchange.blind_finds = 0
    look(world, position_manager, 13)
    assert position_manager.state is (PositionState.FLAT if dropped else PositionState.OPEN)


def exit_refused_then_done() -> None:
    world, position_manager = opened()
    world.exchange.refusals = {Purpose.EXIT: [-2019, -2022]}
    assert not position_manager.close("test") and position_manager.state is PositionState.EXITING
    position_manager.request_reconcile()
    look(world, position_manager, 10, 0.5)  # the pause is not over: asked, and found still open
    assert position_manager.state is PositionState.EXITING
    look(world, position_manager, 11)  # -2022 although the position stands
    position_manager.request_reconcile()
    look(world, position_manager, 11, 0.5)
    look(world, position_manager, 12)
    look(world, position_manager, 14)
    assert position_manager.state is PositionState.FLAT


def exit_found_after_a_crash() -> None:
    for reconciled in (False, True):
        world, position_manager = opened()
        world.at(12)

        def dead(_name: str) -> None:
            raise ExchangeUnavailable("gone")

        def dies_after_send(name: str, world: World = world) -> None:
            if name == "send":
                world.exchange.before = dead

        world.exchange.after = dies_after_send
        position_manager.close("test")
        world.exchange.before = world.exchange.after = lambda _name: None
        position_manager = position_manager if reconciled else world.position_manager()
        look(world, position_manager, 14)
        look(world, position_manager, 16)
        assert position_manager.state is PositionState.FLAT and len(world.journal.closed) == 1


def closed_by_others() -> None:
    for fresh in (False, True):
        world, position_manager = opened()
        owner(world, Side.SELL, "0.010", reduce_only=True)
        position_manager = world.position_manager() if fresh else position_manager
        look(world, position_manager, 12)
        assert position_manager.state is PositionState.FLAT


def fills_told_late() -> None:
    """The account shows the owner's sale before the fills do: nothing is believed until both agree."""
    for begun in (False, True):
        world, position_manager = opened()
        look(world, position_manager, 11)
        fills = world.inner.fills
        known = fills("BTCUSDT", 0)
        owner(world, Side.SELL, "0.004", reduce_only=True)
        world.inner.fills = lambda symbol, since_ms, known=known: known
        if begun:
            world.exchange.refusals = {Purpose.EXIT: [-2022]}
            position_manager.close("test")
            assert position_manager.state is PositionState.UNKNOWN
        for second in (0, 2, 5, 9):
            look(world, position_manager, 12, second)
            assert position_manager.state in (PositionState.UNKNOWN, PositionState.FLAT)
        world.inner.fills = fills
        look(world, position_manager, 14)
        assert position_manager.state is (PositionState.FLAT if begun else PositionState.OPEN)


def entry_that_arrives_after_it_was_given_up() -> None:
    world, position_manager = ready()
    world.exchange.faults_of, world.exchange.drop_sends = Purpose.ENTRY, 1
    position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    [planned] = [each for each in world.journal.intents.values() if each.purpose is Purpose.ENTRY]
    look(world, position_manager, 13)
    look(world, position_manager, 14)
    assert position_manager.state is PositionState.FLAT
    world.inner.send(planned)
    look(world, position_manager, 15)
    assert position_manager.state is PositionState.OPEN and world.stops()


def strangers_position() -> None:
    world, position_manager = ready()
    owner(world, Side.BUY, "0.010")
    look(world, position_manager, 12)
    assert position_manager.state is PositionState.FLAT and "did not open" in position_manager.halt_reason


SCENES = [
    enter_exit_and_increase,
    entry_refused,
    lambda: entry_unknown(True),
    lambda: entry_unknown(False),
    exit_refused_then_done,
    exit_found_after_a_crash,
    closed_by_others,
    fills_told_late,
    entry_that_arrives_after_it_was_given_up,
    strangers_position,
]


def test_real_positions_leave_the_table_never_and_reach_its_rows(monkeypatch):
    seen: set[tuple[PositionState, PositionEvent]] = set()

    def noting(state: PositionState, event: PositionEvent) -> PositionState:
        seen.add((state, event))
        return next_state(state, event)

    monkeypatch.setattr(position_record, "next_state", noting)
    for scene in SCENES:
        scene()
    assert seen - TRANSITIONS.keys() == set(), "real positions meet a transition that the table does not know"
    assert TRANSITIONS.keys() - seen == set()


# --- pauses --------------------------------------------------------------------------------------------------------


def test_pauses_double_up_to_the_longest_and_begin_anew():
    pause = Backoff(1_000, 60_000)
    assert [pause.fail(0) for _ in range(9)] == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]
    assert not pause.due(59_999) and pause.due(60_000)
    pause.reset()
    assert pause.due(0) and pause.failures == 0


def test_a_clock_that_comes_back_does_not_lengthen_a_pause():
    pause = Backoff(1_000, 60_000)
    pause.fail(7_200_000)  # two hours ahead
    assert pause.due(0)
