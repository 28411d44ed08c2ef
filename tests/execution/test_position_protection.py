"""Moved stops, partial targets and the time stop on real positions: always covered, booked, found again (S1, S3)."""

from dataclasses import replace
from decimal import Decimal

import pytest

from src.domain.circuit_breaker import born
from src.domain.errors import ExchangeUnavailable
from src.domain.exit_rules import ExitRules
from src.domain.orders import Purpose, variant_of
from src.domain.portfolio import Direction
from src.domain.risk import RiskLimits
from src.execution.journal import InMemoryJournal
from src.execution.position_state import PositionState
from src.strategy.exits import StopKind, stop_kind_of
from tests.execution.exits_world import (
    FOLLOWING,
    PARTS,
    QUANTITY,
    opened,
    parts_resting,
    uncovered,
    wallet_change,
    watch,
)
from tests.world import START_MS, SYMBOL, Crash, World

D = Decimal
RISE = [30_400.0, 30_400.0, 30_700.0, 31_000.0, 31_000.0]
BOTH = pytest.mark.parametrize("direction", list(Direction))


@BOTH
def test_the_stop_goes_to_the_entry_then_follows_and_closes_with_its_reason(direction):
    world, manager = opened([*RISE, 30_500.0, 30_500.0], FOLLOWING, direction)
    naked = uncovered(world)
    kinds = []
    for minute in range(11, 16):
        watch(world, manager, range(minute, minute + 1))
        [stop] = world.stops()
        kinds.append(stop_kind_of(stop.client_id))
        assert stop.close_position and stop.trigger_price == manager.trade.stop_price
    assert kinds == [StopKind.LOSS, StopKind.BREAK_EVEN, StopKind.BREAK_EVEN, StopKind.TRAILING, StopKind.TRAILING]
    watch(world, manager, range(16, 19), step_s=5)
    [trade] = world.journal.closed
    assert trade.exit_reason == "trailing_stop" and manager.trade is None
    assert (trade.exit_price / trade.entry_price - 1) * direction.sign > D("0.016")
    assert trade.pnl == wallet_change(world)
    assert naked == [] and world.inner.open_orders(SYMBOL) == []


@BOTH
def test_a_position_that_came_back_to_its_entry_is_closed_there(direction):
    world, manager = opened([30_400.0, 30_400.0, 29_900.0, 29_900.0], FOLLOWING, direction)
    watch(world, manager, range(11, 16), step_s=5)
    [trade] = world.journal.closed
    assert trade.exit_reason == "break_even"
    assert abs(trade.exit_price / trade.entry_price - 1) < D("0.004")


def test_a_dead_bot_leaves_the_stop_where_it_was_moved_to():
    world, manager = opened([*RISE, 30_500.0, 30_500.0], FOLLOWING)
    watch(world, manager, range(11, 16))
    world.at(18)  # nobody looks any more
    assert world.inner.account().positions == ()
    world.position_manager().reconcile(world.inner.account())
    assert world.journal.closed[0].exit_reason == "trailing_stop"


def test_a_price_that_is_beyond_the_stops_new_place_closes_at_once():
    """The bot was down while the price rose by 3 % and fell back: a stop at 2 % would be triggered at once."""
    world, manager = opened([30_900.0, 30_900.0, 30_200.0, 30_200.0, 30_200.0], FOLLOWING)
    world.at(15)
    manager = world.position_manager()
    manager.reconcile(world.inner.account())
    assert manager.trade is None and world.journal.closed[0].exit_reason == "trailing_stop"
    assert world.inner.open_orders(SYMBOL) == []


def test_a_stop_that_is_not_triggered_at_its_price_is_closed_by_the_bot_behind_it():
    world, manager = opened([*RISE, 30_400.0, 30_400.0, 30_400.0], FOLLOWING)
    watch(world, manager, range(11, 16))
    early, trade = manager.early_stop, manager.trade
    assert early.reason == "trailing_stop"
    assert early.price == trade.stop_price - D("0.004") * trade.entry_price
    world.venue.hold_triggers(1)  # the exchange's order stays in TRIGGERING
    world.at(18)
    assert world.inner.account().positions != () and early.reached(world.feed.mark_price(SYMBOL).mark)


@BOTH
def test_parts_are_closed_at_the_exchange_and_the_rest_stays_protected(direction):
    world, manager = opened([30_400.0, 30_400.0, 30_700.0, 30_700.0, 31_600.0, 31_600.0], PARTS, direction)
    naked = uncovered(world)
    assert [size for _, size in parts_resting(world)] in ([D("0.005"), D("0.002")], [D("0.002"), D("0.005")])
    watch(world, manager, range(11, 13), step_s=5)
    assert manager.open_quantity == D("0.005") == world.inner.account().position(SYMBOL).quantity
    [start] = world.journal.open_trades(SYMBOL)
    assert start.trade.gross_pnl > 0, "profit of the part is booked when it is made"
    watch(world, manager, range(13, 15), step_s=5)
    assert manager.open_quantity == D("0.003") and parts_resting(world) == []
    assert (manager.state, manager.halt_reason) == (PositionState.OPEN, "")
    watch(world, manager, range(15, 18), step_s=5)
    [trade] = world.journal.closed
    assert (trade.exit_reason, trade.quantity) == ("take_profit", QUANTITY)
    assert trade.pnl == wallet_change(world)
    assert naked == [] and world.inner.open_orders(SYMBOL) == []


def test_parts_are_closed_without_a_bot_and_found_by_the_next_one():
    world, _ = opened([30_400.0] * 3, PARTS)
    world.at(13)
    assert world.inner.account().position(SYMBOL).quantity == D("0.005")
    manager = world.position_manager()
    manager.reconcile(world.inner.account())
    assert manager.open_quantity == D("0.005")
    assert [size for _, size in parts_resting(world)] == [D("0.002")], "a part that was closed is not placed again"
    manager.close("signal_sell")
    assert world.journal.closed[0].pnl == wallet_change(world)


@pytest.mark.parametrize("lost", [False, True])
def test_parts_and_a_moved_stop_are_adopted_after_the_database_was_lost(lost):
    exits = replace(FOLLOWING, take_partial=PARTS.take_partial)
    world, manager = opened([30_400.0] * 6, exits)
    watch(world, manager, range(11, 13), step_s=5)
    before = sorted(str(each.trigger_price) for each in world.inner.conditional_orders(SYMBOL))
    world.at(14)
    if lost:
        world.journal = InMemoryJournal(born(START_MS))
    manager = world.position_manager()
    manager.reconcile(world.inner.account())
    assert manager.open_quantity == D("0.005") and manager.halt_reason == ""
    assert sorted(str(each.trigger_price) for each in world.inner.conditional_orders(SYMBOL)) == before
    assert stop_kind_of(world.stops()[0].client_id) is StopKind.BREAK_EVEN


def test_a_part_whose_order_somebody_cancelled_is_closed_by_market_once_its_price_is_there():
    world, manager = opened([30_400.0] * 6, PARTS)
    for order in world.inner.conditional_orders(SYMBOL):
        if variant_of(order.client_id) == 1 and not order.close_position:
            world.inner.cancel(order)
    world.at(13)
    manager.request_reconcile()
    manager.reconcile(world.inner.account())
    assert manager.open_quantity == D("0.005")
    watch(world, manager, range(14, 16))
    assert manager.open_quantity == D("0.005"), "once"
    [start] = world.journal.open_trades(SYMBOL)
    assert start.trade.gross_pnl > 0


def test_parts_follow_the_quantity_of_an_increase():
    world, manager = opened([30_010.0] * 6, PARTS)
    assert manager.increase(Direction.LONG, QUANTITY, world.at(12), "target") == ""
    assert sorted(size for _, size in parts_resting(world)) == [D("0.005"), D("0.010")]


def test_a_position_is_closed_when_its_time_is_over():
    world, manager = opened([30_010.0] * 70, ExitRules(max_holding_ms=3_600_000))
    watch(world, manager, range(11, 70))
    assert manager.trade is not None and manager.time_over_ms == manager.trade.entry_ms + 3_600_000
    watch(world, manager, range(70, 72))
    [trade] = world.journal.closed
    assert trade.exit_reason == "time_stop"
    assert trade.exit_ms - trade.entry_ms == 3_600_000


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["refused", "refused twice", "answer lost", "not placed", "away"])
def test_a_move_that_fails_leaves_a_stop_and_is_made_up_for(fault):
    world, manager = opened([30_400.0] * 10, FOLLOWING)
    watch(world, manager, range(11, 12))
    naked = uncovered(world)
    if fault.startswith("refused"):
        world.exchange.refusals = {Purpose.STOP: [-4045] * (2 if "twice" in fault else 1)}
    elif fault == "answer lost":
        world.exchange.lose_answers = 2
    elif fault == "not placed":
        world.exchange.drop_sends = 3
    world.exchange.away = fault == "away"
    world.at(12)
    try:
        manager.reconcile(world.inner.account())
    except ExchangeUnavailable:
        assert fault == "away"
    assert world.stops(), "a stop stands whatever came of the move"
    world.exchange.away = False
    watch(world, manager, range(13, 16))
    [stop] = world.stops()
    assert stop_kind_of(stop.client_id) is StopKind.BREAK_EVEN and stop.close_position
    assert (manager.halt_reason, naked) == ("", [])


def test_a_refusal_between_the_two_steps_of_a_move_leaves_the_stop_of_the_quantity():
    world, manager = opened([30_400.0] * 10, FOLLOWING)
    watch(world, manager, range(11, 12))
    naked = uncovered(world)

    def refuse_second(name: str) -> None:
        if name == "cancel":
            world.exchange.refusals = {Purpose.STOP: [-4045] * 9}

    world.exchange.before = refuse_second
    watch(world, manager, range(12, 13))
    world.exchange.before, world.exchange.refusals = lambda _name: None, {}
    [stop] = world.stops()
    assert (stop.quantity, stop.reduce_only, stop.close_position) == (QUANTITY, True, False)
    assert "stays at" in manager.halt_reason
    watch(world, manager, range(13, 15))
    [stop] = world.stops()
    assert stop.close_position and (manager.halt_reason, naked) == ("", [])


def scenario(world: World, manager) -> None:
    """Follow through a part, break-even and trailing to the end; who dies on the way is started again by the caller."""
    watch(world, manager, range(11, 19), step_s=20)


def died_at(number: int, moment: str) -> tuple[World, bool]:
    exits = replace(FOLLOWING, take_partial=((D("0.01"), D("0.5")),))
    world, manager = opened([*RISE, 30_500.0, 30_500.0, *[30_500.0] * 10], exits)
    counted = iter(range(1, 10_000))

    def die(_name: str) -> None:
        if next(counted) == number:
            raise Crash

    setattr(world.exchange, moment, die)
    try:
        scenario(world, manager)
        died = False
    except Crash:
        died = True
    setattr(world.exchange, moment, lambda _name: None)
    return world, died


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_at_any_call_of_a_move_leaves_a_stop_and_loses_nothing(moment):
    """Also between the new stop and the old one; the next start finds the level again, and all of it is booked."""
    for number in range(1, 2_000):
        world, died = died_at(number, moment)
        if not died:
            break
        held = world.inner.account().position(SYMBOL)
        assert held is None or world.stops(), number
        manager = world.position_manager()
        minute = (world.clock.now_ms() - START_MS) // 60_000
        watch(world, manager, range(int(minute), 21), step_s=20)
        assert manager.halt_reason == "" and manager.trade is None, number
        [trade] = world.journal.closed
        assert trade.exit_reason == "trailing_stop", number
        assert trade.pnl == wallet_change(world), number
        assert world.inner.open_orders(SYMBOL) == [], number
    assert 20 < number < 1_999


def test_what_is_told_twice_changes_nothing():
    """Duplicate events only ask for another look: each look finds the same."""
    world, manager = opened([30_400.0] * 6, replace(FOLLOWING, take_partial=PARTS.take_partial))
    watch(world, manager, range(11, 13), step_s=5)
    before = [(each.client_id, each.quantity) for each in world.inner.conditional_orders(SYMBOL)]
    for _ in range(5):
        manager.request_reconcile()
        manager.reconcile(world.inner.account())
    assert [(each.client_id, each.quantity) for each in world.inner.conditional_orders(SYMBOL)] == before
    assert manager.open_quantity == D("0.005")


def test_every_order_of_the_exits_concerns_the_position():
    world, manager = opened([30_010.0] * 3, PARTS)
    listed = world.inner.conditional_orders(SYMBOL)
    assert len(listed) == 4 and all(manager.concerns(each.client_id) for each in listed)
    assert not manager.concerns("by-hand")


def test_exits_that_are_switched_off_give_the_stop_back():
    world, manager = opened([30_400.0] * 6, replace(FOLLOWING, take_partial=PARTS.take_partial))
    watch(world, manager, range(11, 13), step_s=5)
    world.active.replace(RiskLimits())
    words = manager.apply_limits()
    assert "moved from" in words and parts_resting(world) == []
    assert stop_kind_of(world.stops()[0].client_id) is StopKind.LOSS
    assert manager.trade.stop_price == pytest.approx(manager.trade.entry_price * D("0.98"), abs=D("0.1"))
