"""An entry that waits as a maker: fills only when the price trades through, is covered at every call, ends in time."""

from decimal import Decimal

import pytest

from src.domain.entry_rules import EntryRules
from src.domain.errors import ExchangeUnavailable
from src.domain.orders import OrderKind, Purpose
from src.domain.portfolio import Direction
from src.domain.risk import RiskLimits
from src.execution.position_manager import PositionManager
from src.execution.position_state import PositionState
from tests.execution.exits_world import QUANTITY, mirrored, uncovered, wallet_change
from tests.world import START_MS, SYMBOL, Crash, World, path

D = Decimal
WAIT_MS = 50_000


def ready(closes: list[float], direction: Direction = Direction.LONG) -> tuple[World, PositionManager]:
    world = World(path(*[30_000.0] * 11, *mirrored(closes, direction)))
    world.active.replace(RiskLimits(entry=EntryRules(WAIT_MS)))
    world.at(10)
    manager = world.position_manager()
    manager.reconcile(world.inner.account())
    return world, manager


def seconds(world: World, manager: PositionManager, minute: int, first: int, beyond: int) -> None:
    for second in range(first, beyond):
        world.at(minute, second)
        manager.reconcile(world.inner.account())


def entries(world: World) -> list[str]:
    return [each.type for each in world.venue.all_orders("bot", SYMBOL) if not each.reduce_only and each.executed]


@pytest.mark.parametrize("direction", list(Direction))
def test_it_is_filled_at_its_own_price_when_the_market_comes_to_it(direction):
    world, manager = ready([29_900.0, 29_900.0], direction)
    naked = uncovered(world)
    now = world.at(11)
    assert manager.open(direction, QUANTITY, now, "test") == ""
    assert (manager.state, manager.trade) == (PositionState.ENTERING, None)
    assert "waits" in manager.halt_reason and len(world.stops()) == 1, "the stop stands before the entry"
    seconds(world, manager, 11, 1, 40)
    trade = manager.trade
    assert trade is not None and (trade.entry_price - 30_000) * direction.sign <= 0
    fills = world.inner.fills(SYMBOL, START_MS)
    assert all(fill.maker for fill in fills) and entries(world) == ["LIMIT"]
    assert trade.fees == QUANTITY * trade.entry_price * D("0.0002")
    assert (manager.state, manager.halt_reason, naked) == (PositionState.OPEN, "", [])
    assert manager.close("signal_sell") and world.journal.closed[0].pnl == wallet_change(world)


@pytest.mark.parametrize("direction", list(Direction))
def test_it_follows_a_price_that_runs_away_and_takes_the_rest_by_market_when_its_time_is_over(direction):
    world, manager = ready([30_300.0, 30_300.0], direction)
    naked = uncovered(world)
    manager.open(direction, QUANTITY, world.at(11), "test")
    seconds(world, manager, 11, 1, 50)
    assert manager.trade is None and len(world.venue.all_orders("bot", SYMBOL)) > 5
    assert len(world.venue.open_orders("bot", SYMBOL)) == 1
    seconds(world, manager, 11, 50, 55)
    assert manager.trade is not None and manager.open_quantity == QUANTITY
    assert entries(world) == ["MARKET"] and naked == []
    assert manager.trade.stop_price == pytest.approx(
        manager.trade.entry_price * (1 - direction.sign * D("0.02")), abs=D("0.1")
    )


def test_a_part_that_is_filled_is_protected_at_once_and_the_rest_follows():
    """Little volume: the first touch fills a part, then the price runs away."""
    candles = path(*[30_000.0] * 11, 29_999.0, 30_200.0, 30_200.0, volume=1.0)
    world = World(candles)
    world.active.replace(RiskLimits(entry=EntryRules(110_000)))
    world.at(10)
    manager = world.position_manager()
    manager.reconcile(world.inner.account())
    naked = uncovered(world)
    wanted = D("0.300")
    manager.open(Direction.LONG, wanted, world.at(11), "test")
    seen = set()
    for minute in (11, 12):
        for second in range(60):
            world.at(minute, second)
            manager.reconcile(world.inner.account())
            if manager.trade is not None:
                held = world.inner.account().position(SYMBOL).quantity
                assert manager.open_quantity == held
                seen.add(held)
    assert naked == [] and len(seen) > 1 and manager.open_quantity == wanted
    assert (manager.state, manager.halt_reason) == (PositionState.OPEN, "")
    manager.close("signal_sell")
    world.at(13)
    manager.reconcile(world.inner.account())
    [trade] = world.journal.closed
    assert trade.quantity == wanted and trade.pnl == wallet_change(world)


def test_an_exit_ends_the_entry_first():
    world, manager = ready([30_010.0, 30_010.0])
    manager.open(Direction.LONG, QUANTITY, world.at(11), "test")
    seconds(world, manager, 11, 1, 5)
    assert manager.close("by_hand")
    assert world.venue.open_orders("bot", SYMBOL) == [] and world.inner.open_orders(SYMBOL) == []
    assert manager.state is PositionState.FLAT
    seconds(world, manager, 11, 5, 59)
    assert world.inner.account().positions == ()


@pytest.mark.parametrize("fault", ["answer lost", "not placed", "refused", "away"])
def test_a_fault_on_the_way_ends_in_a_protected_position_or_in_none(fault):
    world, manager = ready([30_010.0, 30_010.0, 30_010.0, 30_010.0])
    naked = uncovered(world)
    world.exchange.faults_of = Purpose.ENTRY
    if fault == "answer lost":
        world.exchange.lose_answers = 1
    elif fault == "not placed":
        world.exchange.drop_sends = 1
    elif fault == "refused":
        world.exchange.refusals = {Purpose.ENTRY: [-2019]}
    now = world.at(11)
    manager.open(Direction.LONG, QUANTITY, now, "test")
    world.exchange.away = fault == "away"
    for second in range(1, 59):
        world.at(11, second)
        if second == 20:
            world.exchange.away = False
        try:
            manager.reconcile(world.inner.account())
        except ExchangeUnavailable:
            assert world.exchange.away
    for minute in (12, 13, 14):
        world.at(minute)
        manager.reconcile(world.inner.account())
    held = world.inner.account().position(SYMBOL)
    assert naked == []
    assert (held is None) == (manager.trade is None)
    assert world.venue.open_orders("bot", SYMBOL) == []
    assert len([kind for kind in entries(world) if kind]) <= 1, "no entry twice"


def test_a_crash_at_any_call_leaves_no_position_without_a_stop_and_no_order_that_rests():
    for number in range(1, 400):
        world, manager = ready([29_990.0, 30_100.0, 30_100.0, 30_100.0])
        counted = iter(range(1, 10_000))

        def die(_name: str, counted=counted, number=number) -> None:
            if next(counted) == number:
                raise Crash

        world.exchange.after = die
        try:
            manager.open(Direction.LONG, QUANTITY, world.at(11), "test")
            seconds(world, manager, 11, 1, 59)
            died = False
        except Crash:
            died = True
        world.exchange.after = lambda _name: None
        if not died:
            break
        assert world.inner.account().position(SYMBOL) is None or world.stops(), number
        manager = world.position_manager()
        for minute in (13, 14, 15):
            world.at(minute)
            manager.reconcile(world.inner.account())
        held = world.inner.account().position(SYMBOL)
        assert (held is None) == (manager.trade is None), number
        assert held is None or world.stops(), number
        assert world.venue.open_orders("bot", SYMBOL) == [], number
        if held is not None:
            assert manager.close("signal_sell"), number
            world.at(16)
            manager.reconcile(world.inner.account())
        assert sum((trade.pnl for trade in world.journal.closed), D(0)) == wallet_change(world), number
    assert 20 < number < 399


def test_the_order_is_post_only():
    world, manager = ready([30_010.0])
    manager.open(Direction.LONG, QUANTITY, world.at(11), "test")
    [order] = world.venue.open_orders("bot", SYMBOL)
    assert (order.type, order.time_in_force) == ("LIMIT", "GTX")
    assert world.exchange.sent[-1].kind is OrderKind.POST_ONLY
    bid, ask = world.inner.best_prices(SYMBOL)
    assert bid == order.price < ask
