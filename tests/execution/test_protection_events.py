"""The monitor's thread reacts between turns: to the early stop, and to what an event makes doubtful."""

import time
from dataclasses import replace
from decimal import Decimal

from src.domain.orders import OrderKind, OrderStatus
from src.domain.portfolio import Direction
from src.execution.position_record import EarlyStop
from src.execution.stop_monitor import StopMonitor
from tests.execution.test_trader import trader_of
from tests.world import START_MS, SYMBOL, World, path


def until(seen, within_s: float = 10.0) -> bool:
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if seen():
            return True
        time.sleep(0.01)
    return False


def opened(closes: list[float]):
    world = World(path(*closes))
    trader, _ = trader_of(world)
    world.at(310)
    trader.run_trading_cycle()
    assert trader.execute_buy(Decimal(30_000), Decimal("0.010"), "test") == ""
    return world, trader


def test_a_cancelled_stop_that_an_event_tells_of_is_placed_again_without_a_turn():
    world, trader = opened([30_000.0] * 340)
    [stop] = world.stops()
    monitor = StopMonitor(trader)
    monitor.start()
    try:
        assert monitor.concerns(stop)
        world.inner.cancel(stop)
        assert world.stops() == []
        monitor.wake()
        assert until(lambda: len(world.stops()) == 1)
    finally:
        monitor.stop()


def test_orders_that_are_not_the_positions_own_wake_nobody():
    world, trader = opened([30_000.0] * 340)
    monitor = StopMonitor(trader)
    intent = world.protection().intents(Direction.SHORT, Decimal("32000"), Decimal("29000"), 1, 7).stop
    assert not monitor.concerns(world.inner.send(intent))
    entry = next(each for each in world.inner.order_history(SYMBOL, START_MS))
    assert not monitor.concerns(entry)


def test_the_early_stop_is_reached_at_its_very_price():
    for direction, beyond in ((Direction.LONG, -1), (Direction.SHORT, 1)):
        level = EarlyStop(Decimal("29520"), direction)
        assert level.reached(Decimal("29520"))
        assert level.reached(Decimal("29520") + beyond * Decimal("0.1"))
        assert not level.reached(Decimal("29520") - beyond * Decimal("0.1"))


def test_a_fill_of_an_entry_that_waits_wakes_the_watch_and_other_news_does_not():
    world, trader = opened([30_000.0] * 340)
    monitor = StopMonitor(trader)
    woken = []
    monitor.wake = lambda: woken.append(1)  # type: ignore[method-assign]
    [stop] = world.stops()
    monitor.on_order(stop)
    entry = replace(stop, kind=OrderKind.POST_ONLY, status=OrderStatus.NEW, executed_quantity=Decimal(0))
    monitor.on_order(entry)
    assert woken == []
    monitor.on_order(replace(entry, status=OrderStatus.PARTIALLY_FILLED, executed_quantity=Decimal("0.001")))
    monitor.on_order(replace(stop, status=OrderStatus.CANCELED))
    assert len(woken) == 2
