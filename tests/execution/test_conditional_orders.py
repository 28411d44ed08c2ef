"""Conditional orders of one symbol: whole or part, recorded before they are sent, found when an answer was lost."""

from decimal import Decimal

import pytest

from src.domain.errors import OrderRefused, OutcomeUnknown
from src.domain.orders import OrderStatus, Purpose, variant_of
from src.domain.portfolio import Direction
from src.execution.conditional_orders import ConditionalOrders
from tests.world import SYMBOL, World, path

LEVEL = Decimal("29000")


def ready() -> tuple[World, ConditionalOrders]:
    world = World(path(*[30_000.0] * 30))
    world.at(10)
    return world, ConditionalOrders(world.order_manager(), world.exchange, world.journal, world.settings)


def test_an_order_closes_the_position_or_a_quantity_of_it():
    _, orders = ready()
    whole = orders.intent(Purpose.STOP, Direction.LONG, LEVEL, 5, 1)
    assert (whole.close_position, whole.reduce_only, whole.quantity) == (True, False, 0)
    part = orders.intent(Purpose.TARGET, Direction.SHORT, LEVEL, 5, 1, variant=2, quantity=Decimal("0.003"))
    assert (part.close_position, part.reduce_only, part.quantity) == (False, True, Decimal("0.003"))
    assert variant_of(part.client_id) == 2 and part.side == "BUY" and whole.side == "SELL"


def test_it_is_recorded_before_it_is_sent_and_so_is_its_refusal():
    world, orders = ready()
    intent = orders.intent(Purpose.STOP, Direction.LONG, LEVEL, 5, 1)
    world.exchange.before = lambda name: known.append(intent.client_id in world.journal.intents)
    known: list[bool] = []
    world.exchange.refusals = {Purpose.STOP: [-2021]}
    with pytest.raises(OrderRefused):
        orders.place(intent)
    assert known == [True] and world.journal.statuses[intent.client_id] is OrderStatus.REJECTED
    assert orders.placed() == []


def test_a_lost_answer_is_looked_up_and_what_never_arrived_is_sent_once_more():
    world, orders = ready()
    world.exchange.lose_answers = 1
    orders.place(orders.intent(Purpose.STOP, Direction.LONG, LEVEL, 5, 1))
    assert len(world.stops()) == 1
    world.exchange.drop_sends = 2
    with pytest.raises(OutcomeUnknown):
        orders.place(orders.intent(Purpose.TARGET, Direction.LONG, Decimal("31000"), 5, 1))
    assert len(world.inner.conditional_orders(SYMBOL)) == 1


def test_while_flat_all_of_them_are_removed_and_with_a_position_those_of_its_side_stay():
    world, orders = ready()
    orders.place(orders.intent(Purpose.STOP, Direction.LONG, LEVEL, 5, 1))
    orders.place(orders.intent(Purpose.STOP, Direction.SHORT, Decimal("31000"), 5, 2))
    assert orders.clear(Direction.LONG) == 1
    assert [each.side for each in world.stops()] == ["SELL"]
    assert orders.clear(None) == 1 and world.stops() == []
