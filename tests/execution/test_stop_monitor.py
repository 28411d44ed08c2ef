"""The monitor between two turns: a mark price at the early stop is acted on at once, an unfinished exit each second."""

import threading
import time
from decimal import Decimal

import pytest

from src.domain.errors import ExchangeUnavailable
from src.execution.stop_monitor import StopMonitor
from tests.execution.test_trader import trader_of
from tests.world import SYMBOL, World, path

QUANTITY = Decimal("0.010")


def within(seconds, seen):
    """Wait until ``seen()`` is true; return how long that took, None when it did not happen."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < seconds:
        if seen():
            return time.monotonic() - began_s
        threading.Event().wait(0.005)
    return None


@pytest.fixture
def held():
    """A trader in a long position of a market that has fallen to its early stop, not yet looked at."""
    world = World(path(*[30_000.0] * 303, *[29_500.0] * 30))
    trader, _ = trader_of(world)
    world.at(300)
    trader.run_trading_cycle()
    assert trader.execute_buy(Decimal(30_000), QUANTITY, "test") == ""
    monitor = StopMonitor(trader)
    yield world, trader, monitor
    monitor.stop()


def test_a_mark_price_at_the_early_stop_closes_before_the_next_look(held):
    world, trader, monitor = held
    assert monitor.symbol == trader.symbol == SYMBOL
    monitor.start()
    threading.Event().wait(0.05)
    calm = world.feed.mark_price(SYMBOL)
    monitor.on_mark_price(calm)
    assert within(0.3, lambda: world.journal.closed) is None, "nothing to do at this price"
    world.at(310)
    monitor.on_mark_price(world.feed.mark_price(SYMBOL))
    took_s = within(10.0, lambda: world.journal.closed)
    assert took_s is not None and took_s < 0.8, f"took {took_s} s; a look comes each second at most"
    assert [trade.exit_reason for trade in world.journal.closed] == ["early_stop"]


def test_an_exit_that_failed_is_tried_again_without_any_price(held):
    world, trader, monitor = held
    away = [True]

    def fail(name):
        if name == "send" and away[0]:
            raise ExchangeUnavailable("no answer")

    world.exchange.before = fail
    assert trader.close_by_hand() != ""
    away[0] = False
    world.at(302)
    monitor.start()
    assert within(10.0, lambda: world.journal.closed) is not None
    assert [trade.exit_reason for trade in world.journal.closed] == ["by_hand"]


def test_a_monitor_that_is_stopped_does_nothing_more(held):
    world, _, monitor = held
    monitor.start()
    monitor.stop()
    world.at(310)
    monitor.on_mark_price(world.feed.mark_price(SYMBOL))
    assert within(1.5, lambda: world.journal.closed) is None


def test_a_monitor_that_ends_in_time_says_nothing(held, caplog):
    _, _, monitor = held
    monitor.start()
    monitor.stop()
    assert "did not end" not in caplog.text
