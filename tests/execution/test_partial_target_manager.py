"""Partial targets: each stands once, in the right size, until it is closed; what is refused is said and tried again."""

from decimal import Decimal

from src.domain.orders import Purpose, variant_of
from src.domain.portfolio import Direction
from tests.execution.exits_world import PARTS, QUANTITY, opened, parts_resting, watch
from tests.world import START_MS, SYMBOL

D = Decimal


def test_each_part_stands_once_however_often_one_looks():
    world, manager = opened([30_010.0] * 10, PARTS)
    ids = [each.client_id for each in world.inner.conditional_orders(SYMBOL)]
    watch(world, manager, range(11, 16), step_s=30)
    assert [each.client_id for each in world.inner.conditional_orders(SYMBOL)] == ids
    assert [size for _, size in parts_resting(world)] == [D("0.005"), D("0.002")]


def test_a_part_that_is_refused_is_said_and_placed_later():
    world, manager = opened([30_010.0] * 10, PARTS)
    for order in world.inner.conditional_orders(SYMBOL):
        if variant_of(order.client_id) == 2:
            world.inner.cancel(order)
    world.exchange.refusals = {Purpose.TARGET: [-4045]}
    world.at(12)
    manager.reconcile(world.inner.account())
    assert "partial target 2" in manager.halt_reason and len(parts_resting(world)) == 1
    watch(world, manager, range(13, 16))
    assert manager.halt_reason == "" and len(parts_resting(world)) == 2


def test_an_order_of_another_size_is_replaced():
    world, _manager = opened([30_010.0] * 10, PARTS)
    protection = world.protection()
    start = world.journal.open_trades(SYMBOL)[0]
    trade = start.trade
    bigger = type(trade)(**{name: getattr(trade, name) for name in trade.__slots__} | {"quantity": QUANTITY * 2})
    protection.parts.ensure(bigger, frozenset(), world.inner.conditional_orders(SYMBOL), START_MS + 1, 1)
    assert [size for _, size in parts_resting(world)] == [D("0.010"), D("0.005")]


def test_what_is_done_is_neither_wanted_nor_missed():
    world, manager = opened([30_010.0] * 10, PARTS, Direction.SHORT)
    parts = world.protection().parts
    assert [each.number for each in parts.wanted(manager.trade, frozenset({1}))] == [2]
    assert [each.number for each in parts.missed(manager.trade, frozenset({2}), ())] == [1]
    assert parts.missed(manager.trade, frozenset(), world.inner.conditional_orders(SYMBOL)) == ()


def test_a_part_whose_price_was_reached_before_its_order_stood_is_closed_in_the_next_turn():
    """The mark price lags behind the fill, or the exchange refuses: the next turn closes the part, by market."""
    world, manager = opened([30_400.0] * 6, PARTS)
    for order in world.inner.conditional_orders(SYMBOL):
        if variant_of(order.client_id) == 1:
            world.inner.cancel(order)
    world.exchange.refusals = {Purpose.TARGET: [-2021]}
    manager.apply_limits()
    assert "partial target 1" in manager.halt_reason
    watch(world, manager, range(13, 14))
    assert (manager.open_quantity, manager.halt_reason) == (D("0.005"), "")
