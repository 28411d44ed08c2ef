"""A position that is increased and reduced is one trade: mean entry, parts booked, a stop at every instant."""

from decimal import Decimal

import pytest

from src.domain.errors import ExchangeUnavailable
from src.domain.orders import OrderKind, Purpose
from src.domain.portfolio import Direction
from src.domain.risk import RiskLimits
from src.execution.position_state import PositionState
from tests.world import SYMBOL, Crash, World, path

CLOSES = [30_000.0] * 11 + [30_200.0, 30_300.0, 30_100.0, 30_400.0, 30_500.0, 30_450.0] + [30_450.0] * 10


def ready() -> tuple[World, object]:
    world = World(path(*CLOSES))
    world.at(10)
    keeper = world.keeper()
    keeper.reconcile(world.inner.account())
    return world, keeper


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
    world, keeper = ready()
    naked = covered(world)
    assert keeper.increase(direction, Decimal("0.010"), world.clock.now_ms(), "target") == ""
    now = world.at(12)
    assert keeper.increase(direction, Decimal("0.020"), now, "target") == ""
    assert keeper.trade.quantity == Decimal("0.030")
    told = world.inner.account().position(SYMBOL).entry_price
    assert abs(keeper.trade.entry_price - told) < Decimal("0.00000001")
    assert keeper.reduce(Decimal("0.012"), world.at(13), "target")
    [start] = world.journal.open_trades(SYMBOL)
    assert start.trade.gross_pnl == keeper._record.exits[0].realized_pnl != 0
    assert keeper.open_quantity == Decimal("0.018") == world.inner.account().position(SYMBOL).quantity
    assert keeper.increase(direction, Decimal("0.005"), world.at(14), "target") == ""
    keeper.reconcile(world.inner.account())
    assert (keeper.state, keeper.halt_reason) == (PositionState.OPEN, "")
    assert keeper.close("target")
    [trade] = world.journal.closed
    assert trade.quantity == Decimal("0.035")
    assert trade.pnl == wallet_change(world)
    assert naked == [] and world.inner.open_orders(SYMBOL) == []


def test_the_stop_follows_the_mean_entry_and_covers_the_whole_position():
    world, keeper = ready()
    keeper.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    keeper.increase(Direction.LONG, Decimal("0.020"), world.at(12), "target")
    [stop] = world.stops()
    assert stop.trigger_price == pytest.approx(keeper.trade.entry_price * Decimal("0.98"), abs=Decimal("0.1"))
    assert stop.close_position
    keeper.reduce(Decimal("0.025"), world.at(13), "target")
    assert world.stops() == [stop]


def test_reducing_by_the_whole_quantity_closes():
    world, keeper = ready()
    keeper.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    assert keeper.reduce(Decimal("0.010"), world.at(12), "target")
    assert keeper.trade is None and world.journal.closed[0].exit_reason == "target"
    assert not keeper.reduce(Decimal("0.010"), world.at(13), "target")


def test_the_other_side_is_never_reached_through_zero():
    world, keeper = ready()
    keeper.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    assert "reduce it first" in keeper.increase(Direction.SHORT, Decimal("0.010"), world.at(12), "target")


@pytest.mark.parametrize(("step", "quantity"), [("increase", "0.030"), ("reduce", "0.006")])
def test_a_resize_of_unknown_outcome_is_found_by_its_fills(step, quantity):
    world, keeper = ready()
    keeper.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    now = world.at(12)
    world.exchange.lose_answers, world.exchange.blind_finds = 1, 99
    if step == "increase":
        assert "not known" in keeper.increase(Direction.LONG, Decimal("0.020"), now, "target")
    else:
        assert not keeper.reduce(Decimal("0.004"), now, "target")
    world.exchange.blind_finds = 0
    world.at(13)
    keeper.reconcile(world.inner.account())
    assert keeper.open_quantity == Decimal(quantity) == world.inner.account().position(SYMBOL).quantity
    assert (keeper.state, keeper.halt_reason, keeper.exit_under_way) == (PositionState.OPEN, "", "")
    world.at(14)
    keeper.close("target")
    assert [trade.pnl for trade in world.journal.closed] == [wallet_change(world)]


def test_an_increase_that_is_refused_leaves_the_position_as_it_was():
    world, keeper = ready()
    keeper.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    world.exchange.refusals = {Purpose.ENTRY: [-2019]}
    assert "refused" in keeper.increase(Direction.LONG, Decimal("0.020"), world.at(12), "target")
    assert keeper.state is PositionState.OPEN and keeper.open_quantity == Decimal("0.010")
    assert len(world.stops()) == 1


def test_a_list_that_cannot_be_read_after_an_increase_costs_no_stop():
    world, keeper = ready()
    keeper.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    now = world.at(12)

    def away(name):
        if name == "conditional_orders":
            raise ExchangeUnavailable("no answer")

    world.exchange.before = away
    assert keeper.increase(Direction.LONG, Decimal("0.020"), now, "target") == ""
    assert world.stops()
    world.exchange.before = lambda name: None
    world.at(13)
    keeper.reconcile(world.inner.account())
    assert len(world.stops()) == 1 and keeper.state is PositionState.OPEN


def resized(world: World) -> None:
    keeper = world.keeper()
    keeper.reconcile(world.inner.account())
    keeper.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    keeper.increase(Direction.LONG, Decimal("0.020"), world.at(12), "target")
    keeper.reduce(Decimal("0.012"), world.at(13), "target")
    keeper.reconcile(world.inner.account())
    keeper.close("target")


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
        keeper = world.keeper()
        keeper.reconcile(world.inner.account())
        position = world.inner.account().position(SYMBOL)
        assert (position is None) == (keeper.trade is None), number
        assert len(world.stops()) == (0 if position is None else 1), number
        if position is not None:
            assert keeper.open_quantity == position.quantity, number
            world.at(16)
            assert keeper.close("target")
        world.at(18)
        keeper.reconcile(world.inner.account())
        assert keeper.halt_reason == "", number
        assert sum((trade.pnl for trade in world.journal.closed), Decimal(0)) == wallet_change(world), number
        assert len(world.journal.closed) <= 1 and world.inner.open_orders(SYMBOL) == []
        if not died:
            break
    assert 20 < number < 499


def test_limits_without_a_target_place_none():
    world, keeper = ready()
    keeper.increase(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "target")
    world.active.replace(RiskLimits(place_target=False))
    keeper.apply_limits()
    assert {each.kind for each in world.inner.conditional_orders(SYMBOL)} == {OrderKind.STOP_MARKET}
    for minute in (12, 14, 16):
        world.at(minute)
        keeper.reconcile(world.inner.account())
    assert {each.kind for each in world.inner.conditional_orders(SYMBOL)} == {OrderKind.STOP_MARKET}
    assert keeper.trade.target_price is None
