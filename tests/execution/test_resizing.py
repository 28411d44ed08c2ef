"""A position that is increased and reduced is one trade: mean entry, parts booked, a stop at every instant."""

from decimal import Decimal

import pytest

from src.domain.errors import ExchangeUnavailable
from src.domain.orders import OrderKind, Purpose
from src.domain.portfolio import Direction
from src.domain.risk import RiskLimits
from src.execution.position_manager import PositionManager
from src.execution.position_state import PositionState
from tests.world import SYMBOL, Crash, World, path

CLOSES = [30_000.0] * 11 + [30_200.0, 30_300.0, 30_100.0, 30_400.0, 30_500.0, 30_450.0] + [30_450.0] * 10


def ready() -> tuple[World, PositionManager]:
    world = World(path(*CLOSES))
    world.at(10)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    return world, position_manager


def wallet_change(world: World) -> Decimal:
    return world.inner.account().wallet_balance - Decimal(10_000)


def covered(world: World) -> list[str]:
    """Return the list that takes down every call after which a position stands without a stop."""
    naked: list[str] = []

    def look(name: str) -> None:
        if world.inner.account().positions and not world.stops():
            naked.append(name)

    world.exchange.after = look
    return naked


@pytest.mark.parametrize("direction", list(Direction))
def test_a_position_that_is_resized_is_one_trade_to_the_last_digit(direction):
    world, position_manager = ready()
    naked = covered(world)
    assert position_manager.increase(direction, Decimal("0.010"), world.clock.now_ms(), "target") == ""
    now = world.at(12)
    assert position_manager.increase(direction, Decimal("0.020"), now, "target") == ""
    assert position_manager.trade.quantity == Decimal("0.030")
    told = world.inner.account().position(SYMBOL).entry_price
    assert abs(position_manager.trade.entry_price - told) < Decimal("0.00000001")
    assert position_manager.reduce(Decimal("0.012"), world.at(13), "target")
    [start] = world.journal.open_trades(SYMBOL)
    assert start.trade.gross_pnl == position_manager._record.exits[0].realized_pnl != 0
    assert position_manager.open_quantity == Decimal("0.018") == world.inner.account().position(SYMBOL).quantity
    assert position_manager.increase(direction, Decimal("0.005"), world.at(14), "target") == ""
    position_manager.reconcile(world.inner.account())
    assert (position_manager.state, position_manager.halt_reason) == (PositionState.OPEN, "")
    assert position_manager.close("target")
    [trade] = world.journal.closed
    assert trade.quantity == Decimal("0.035")
    assert trade.pnl == wallet_change(world)
    assert naked == [] and world.inner.open_orders(SYMBOL) == []


def test_the_stop_follows_the_mean_entry_and_covers_the_whole_position():
    world, position_manager = ready()
    position_manager.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    position_manager.increase(Direction.LONG, Decimal("0.020"), world.at(12), "target")
    [stop] = world.stops()
    assert stop.trigger_price == pytest.approx(position_manager.trade.entry_price * Decimal("0.98"), abs=Decimal("0.1"))
    assert stop.close_position
    position_manager.reduce(Decimal("0.025"), world.at(13), "target")
    assert world.stops() == [stop]


def test_reducing_by_the_whole_quantity_closes():
    world, position_manager = ready()
    position_manager.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    assert position_manager.reduce(Decimal("0.010"), world.at(12), "target")
    assert position_manager.trade is None and world.journal.closed[0].exit_reason == "target"
    assert not position_manager.reduce(Decimal("0.010"), world.at(13), "target")


def test_the_other_side_is_never_reached_through_zero():
    world, position_manager = ready()
    position_manager.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    assert "reduce it first" in position_manager.increase(Direction.SHORT, Decimal("0.010"), world.at(12), "target")


@pytest.mark.parametrize(("step", "quantity"), [("increase", "0.030"), ("reduce", "0.006")])
def test_a_resize_of_unknown_outcome_is_found_by_its_fills(step, quantity):
    world, position_manager = ready()
    position_manager.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    now = world.at(12)
    world.exchange.lose_answers, world.exchange.blind_finds = 1, 99
    if step == "increase":
        assert "not known" in position_manager.increase(Direction.LONG, Decimal("0.020"), now, "target")
    else:
        assert not position_manager.reduce(Decimal("0.004"), now, "target")
    world.exchange.blind_finds = 0
    world.at(13)
    position_manager.reconcile(world.inner.account())
    assert position_manager.open_quantity == Decimal(quantity) == world.inner.account().position(SYMBOL).quantity
    assert (position_manager.state, position_manager.halt_reason, position_manager.exit_under_way) == (
        PositionState.OPEN,
        "",
        "",
    )
    world.at(14)
    position_manager.close("target")
    assert [trade.pnl for trade in world.journal.closed] == [wallet_change(world)]


def test_an_increase_that_is_refused_leaves_the_position_as_it_was():
    world, position_manager = ready()
    position_manager.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    world.exchange.refusals = {Purpose.ENTRY: [-2019]}
    assert "refused" in position_manager.increase(Direction.LONG, Decimal("0.020"), world.at(12), "target")
    assert position_manager.state is PositionState.OPEN and position_manager.open_quantity == Decimal("0.010")
    assert len(world.stops()) == 1


def test_a_list_that_cannot_be_read_after_an_increase_costs_no_stop():
    world, position_manager = ready()
    position_manager.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    now = world.at(12)

    def away(name):
        if name == "conditional_orders":
            raise ExchangeUnavailable("no answer")

    world.exchange.before = away
    assert position_manager.increase(Direction.LONG, Decimal("0.020"), now, "target") == ""
    assert world.stops()
    world.exchange.before = lambda name: None
    world.at(13)
    position_manager.reconcile(world.inner.account())
    assert len(world.stops()) == 1 and position_manager.state is PositionState.OPEN


def resized(world: World) -> None:
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    position_manager.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    position_manager.increase(Direction.LONG, Decimal("0.020"), world.at(12), "target")
    position_manager.reduce(Decimal("0.012"), world.at(13), "target")
    position_manager.reconcile(world.inner.account())
    position_manager.close("target")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_at_any_call_of_a_resize_loses_nothing(moment):
    for number in range(1, 500):
        world = World(path(*CLOSES))
        world.at(10)
        counted = iter(range(1, 10_000))

        def die(_name, counted=counted, number=number):
            if next(counted) == number:
                raise Crash

        setattr(world.exchange, moment, die)
        try:
            resized(world)
            died = False
        except Crash:
            died = True
        setattr(world.exchange, moment, lambda _name: None)
        world.at(15)
        position_manager = world.position_manager()
        position_manager.reconcile(world.inner.account())
        position = world.inner.account().position(SYMBOL)
        assert (position is None) == (position_manager.trade is None), number
        assert len(world.stops()) == (0 if position is None else 1), number
        if position is not None:
            assert position_manager.open_quantity == position.quantity, number
            world.at(16)
            assert position_manager.close("target")
        world.at(18)
        position_manager.reconcile(world.inner.account())
        assert position_manager.halt_reason == "", number
        assert sum((trade.pnl for trade in world.journal.closed), Decimal(0)) == wallet_change(world), number
        assert len(world.journal.closed) <= 1 and world.inner.open_orders(SYMBOL) == []
        if not died:
            break
    assert 20 < number < 499


def test_limits_without_a_target_place_none():
    world, position_manager = ready()
    position_manager.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    world.active.replace(RiskLimits(place_target=False))
    position_manager.apply_limits()
    assert {each.kind for each in world.inner.conditional_orders(SYMBOL)} == {OrderKind.STOP_MARKET}
    for minute in (12, 14, 16):
        world.at(minute)
        position_manager.reconcile(world.inner.account())
    assert {each.kind for each in world.inner.conditional_orders(SYMBOL)} == {OrderKind.STOP_MARKET}
    assert position_manager.trade.target_price is None
