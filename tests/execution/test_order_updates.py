"""What the user stream told of an order: all its fills or nothing, for one who waits only a moment."""

import threading
from dataclasses import replace
from decimal import Decimal

import pytest

from src.domain.orders import Fill, Order, OrderKind, OrderStatus, Side
from src.execution.order_updates import OrderUpdateBuffer

ONE = Decimal(1)


def order(status: OrderStatus = OrderStatus.NEW, executed: str = "0", number: int = 1) -> Order:
    return Order(
        client_id=f"b000000-{number}", order_id=str(number), symbol="BTCUSDT", side=Side.BUY, kind=OrderKind.MARKET,
        status=status, quantity=ONE, executed_quantity=Decimal(executed), average_price=Decimal(0), updated_ms=1,
    )  # fmt: skip


def fill(quantity: str, trade: int = 1, number: int = 1) -> Fill:
    price = Decimal(100 + trade)
    return Fill(str(trade), str(number), "BTCUSDT", Side.BUY, price, Decimal(quantity), ONE, "USDT", Decimal(0), trade)


@pytest.fixture
def news() -> OrderUpdateBuffer:
    return OrderUpdateBuffer(patience_s=0.0)


def test_partial_fills_are_told_only_when_they_are_whole(news):
    for trade, quantity in enumerate(("0.3", "0.5")):
        news.on_fill(fill(quantity, trade))
        assert news.fills(order(), ONE) is None
    news.on_fill(fill("0.2", 2))
    told = news.fills(order(), ONE)
    assert told is not None
    assert [each.quantity for each in told] == [Decimal("0.3"), Decimal("0.5"), Decimal("0.2")]


def test_an_order_that_ended_partly_filled_is_whole_with_what_it_executed(news):
    ended = order(OrderStatus.EXPIRED, executed="0.8")
    news.on_fill(fill("0.3"))
    assert news.fills(ended, ONE) is None
    news.on_fill(fill("0.5", 2))
    assert news.fills(order(), ONE) is None  # as long as nobody says that it is over
    assert news.fills(ended, ONE) is not None
    news.on_order(ended)
    assert news.fills(order(), ONE) is not None


def test_fills_of_another_order_are_not_mixed_in(news):
    news.on_fill(fill("1", number=2))
    assert news.fills(order(), ONE) is None


def test_an_order_is_known_by_its_client_id_and_conditional_ones_are_not_kept(news):
    news.on_order(order())
    news.on_order(replace(order(number=2), kind=OrderKind.STOP_MARKET))
    assert news.order("b000000-1") == order()
    assert news.order("b000000-2") is None


def test_one_who_waits_is_woken_by_the_fill():
    news = OrderUpdateBuffer(patience_s=30.0)
    found: list[list[Fill] | None] = []
    waiter = threading.Thread(target=lambda: found.append(news.fills(order(), ONE)))
    waiter.start()
    news.on_fill(fill("1"))
    waiter.join(20)
    assert found == [[fill("1")]]


def test_nobody_waits_for_a_stream_that_is_not_connected():
    assert OrderUpdateBuffer(lambda: False, patience_s=30.0).fills(order(), ONE) is None


def test_only_the_last_orders_are_remembered(news):
    for number in range(1, 500):
        news.on_fill(fill("1", number=number))
        news.on_order(order(number=number))
    assert news.fills(order(number=499), ONE) is not None
    assert (news.fills(order(number=1), ONE), news.order("b000000-1")) == (None, None)
