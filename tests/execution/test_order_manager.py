"""What the order manager promises: recorded first, sent once, looked up when unsure, guarded before it answers."""

from decimal import Decimal

import pytest

from src.domain.errors import ExchangeUnavailable, OrderRefused, OutcomeUnknown, StoreUnavailable
from src.domain.orders import OrderStatus, Purpose, decided_ms_of, purpose_of
from src.domain.portfolio import Direction
from src.execution.conditional_orders import Unprotected
from src.execution.executions import opened_trade
from src.execution.journal import TradeStart
from src.execution.order_updates import OrderUpdateBuffer
from tests.world import START_MS, SYMBOL, World, path

QUANTITY = Decimal("0.010")


@pytest.fixture
def world() -> World:
    world = World(path(*[30_000.0] * 30))
    world.at(10)
    return world


def test_an_entry_is_on_disk_before_it_is_sent(world):
    seen = []
    world.exchange.before = lambda name: seen.append((name, list(world.journal.statuses.values())))
    world.order_manager().enter(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    first_send = next(statuses for name, statuses in seen if name == "send")
    assert first_send == [OrderStatus.PLANNED]


def test_an_entry_that_cannot_be_noted_is_not_sent(world):
    def refuse(_intent):
        raise StoreUnavailable("the disk is full")

    world.journal.plan_order = refuse
    with pytest.raises(StoreUnavailable):
        world.order_manager().enter(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    assert world.exchange.sent == []


def test_a_lost_answer_leads_to_one_order_and_its_fill(world):
    world.exchange.lose_answers = 1
    execution = world.order_manager().enter(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    assert execution.quantity == QUANTITY
    assert len(world.exchange.sent) == 1
    assert len(world.venue.all_orders("bot", SYMBOL)) == 1


def test_an_order_that_never_arrived_stays_undecided_then_counts_as_refused(world):
    world.exchange.drop_sends = 1
    order_manager = world.order_manager()
    with pytest.raises(OutcomeUnknown):
        order_manager.enter(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    filled, undecided = order_manager.settle()
    assert filled == []
    assert len(undecided) == 1
    world.at(12)
    assert order_manager.settle() == ([], [])
    assert list(world.journal.statuses.values()) == [OrderStatus.REJECTED]
    assert world.venue.all_orders("bot", SYMBOL) == []


@pytest.mark.parametrize(("lost_answers", "dies_at"), [(1, "find_order"), (0, "order_fills")])
def test_an_order_that_was_filled_while_the_exchange_went_away_is_no_refusal(world, lost_answers, dies_at):
    order_manager = world.order_manager()
    world.exchange.lose_answers = lost_answers

    def away(name):
        if name == dies_at:
            raise ExchangeUnavailable("no answer")

    world.exchange.before = away
    with pytest.raises(OutcomeUnknown):
        order_manager.enter(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    world.exchange.before = lambda name: None
    [(intent, execution)], undecided = order_manager.settle()
    assert (intent.purpose, execution.quantity, undecided) == (Purpose.ENTRY, QUANTITY, [])
    assert len(world.venue.all_orders("bot", SYMBOL)) == 1


def test_a_certain_refusal_is_noted_and_passed_on(world):
    with pytest.raises(OrderRefused) as refusal:
        world.order_manager().enter(Direction.LONG, Decimal("100"), world.clock.now_ms(), "test")
    assert refusal.value.code in (-2019, -2027)
    assert list(world.journal.statuses.values()) == [OrderStatus.REJECTED]


def test_the_execution_sums_fees_and_means_of_all_fills(world):
    execution = world.order_manager().enter(Direction.LONG, Decimal("1.000"), world.clock.now_ms(), "test")
    fills = world.inner.fills(SYMBOL, START_MS)
    value = sum(fill.price * fill.quantity for fill in fills)
    assert execution.average_price == value / Decimal("1.000")
    assert execution.fees == sum(fill.fee for fill in fills)


def entered(world: World, news: OrderUpdateBuffer | None = None, direction: Direction = Direction.LONG):
    """Enter, and return what places the protective orders with the trade that wants them."""
    order_manager = world.order_manager(news)
    execution = order_manager.enter(direction, QUANTITY, world.clock.now_ms(), "test")
    return world.protection(order_manager), TradeStart(opened_trade(SYMBOL, direction, execution, leverage=10), "", "")


def placed(world: World, protection, start: TradeStart) -> tuple[TradeStart, bool]:
    start = protection.ensure(start, [], world.clock.now_ms(), 1)
    return start, protection.confirm(start)


def test_protection_is_confirmed_only_when_the_stop_is_listed(world):
    start, seen = placed(world, *entered(world))
    assert seen
    listed = {each.client_id for each in world.inner.conditional_orders(SYMBOL)}
    assert listed == {start.stop_client_id, start.target_client_id}
    assert (purpose_of(start.stop_client_id), purpose_of(start.target_client_id)) == (Purpose.STOP, Purpose.TARGET)


@pytest.mark.parametrize("fault", ["refuse_stops", "drop_sends"])
def test_a_stop_that_cannot_stand_is_an_alarm(world, fault):
    protection, start = entered(world)
    setattr(world.exchange, fault, 2)
    with pytest.raises(Unprotected):
        placed(world, protection, start)


def test_a_stop_that_fails_takes_no_time_before_the_alarm(world):
    """Four answers without a result: the position must be closed within a second, not after looks that wait."""
    protection, start = entered(world)
    world.exchange.drop_sends = 2
    began_ms = world.clock.now_ms()
    asked = []
    world.exchange.before = asked.append
    with pytest.raises(Unprotected):
        placed(world, protection, start)
    assert (world.clock.now_ms() - began_ms, asked) == (0, ["send", "conditional_orders"] * 2)


def test_a_stop_whose_answer_is_lost_is_found_not_placed_twice(world):
    protection, start = entered(world)
    world.exchange.lose_answers = 2
    assert placed(world, protection, start)[1]
    assert len(world.inner.conditional_orders(SYMBOL)) == 2


def test_a_stop_that_never_arrived_is_sent_again_under_its_id_after_a_single_look(world):
    protection, start = entered(world)
    world.exchange.drop_sends = 1
    asked = []
    world.exchange.before = asked.append
    start, seen = placed(world, protection, start)
    assert seen and asked[:3] == ["send", "conditional_orders", "send"]
    assert "find_order" not in asked
    assert len(world.stops()) == 1


def test_a_list_that_cannot_be_read_is_no_alarm_but_a_doubt(world):
    protection, start = entered(world)

    def away(name):
        if name == "conditional_orders":
            raise ExchangeUnavailable("no answer")

    world.exchange.before = away
    assert not placed(world, protection, start)[1]


def test_client_ids_are_a_function_of_bot_instant_and_purpose(world):
    now = world.clock.now_ms()
    first = world.protection().intents(Direction.LONG, Decimal("29400"), Decimal("31500"), now, 0)
    again = world.protection().intents(Direction.LONG, Decimal("29400"), Decimal("31500"), now, 0)
    assert first == again
    assert first.stop.client_id != first.target.client_id
    assert first.stop.purpose is Purpose.STOP
    assert (purpose_of(first.stop.client_id), decided_ms_of(first.stop.client_id)) == (Purpose.STOP, now)
    assert purpose_of("by-hand") is None and decided_ms_of("by-hand-1-x") is None


QUESTIONS = {
    *("order_fills", "find_order", "open_orders", "conditional_orders"),
    *("account", "mark_price", "fills", "income"),
}


def deaf_to_questions(name: str) -> None:
    if name in QUESTIONS:
        raise ExchangeUnavailable("no answer")


def test_what_the_stream_tells_of_a_fill_is_the_execution_that_the_exchange_would_tell(world):
    asked = []
    world.exchange.before = asked.append
    execution = world.order_manager(world.streamed()).enter(
        Direction.LONG, Decimal("1.000"), world.clock.now_ms(), "test"
    )
    assert asked == ["send"]
    order = world.inner.find_order(world.exchange.sent[0])
    assert execution == world.order_manager().summed(execution.client_id, world.inner.order_fills(order))
    assert list(world.journal.statuses.values()) == [OrderStatus.FILLED]


@pytest.mark.parametrize("direction", list(Direction))
def test_an_entry_and_its_protection_need_no_question_while_the_stream_tells(world, direction):
    world.exchange.before = deaf_to_questions
    protection, start = entered(world, world.streamed(), direction)
    assert not placed(world, protection, start)[1]  # they stand, but are not seen
    assert [each.kind for each in world.inner.open_orders(SYMBOL)] == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]


def test_a_lost_answer_needs_no_question_where_the_stream_told_of_the_order(world):
    world.exchange.before = deaf_to_questions
    world.exchange.lose_answers = 1
    execution = world.order_manager(world.streamed()).enter(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    assert execution.quantity == QUANTITY
    assert len(world.venue.all_orders("bot", SYMBOL)) == 1


def test_a_stream_that_tells_nothing_or_too_little_is_no_witness(world):
    """Then the exchange is asked, as ever."""
    asked = []
    world.exchange.before = asked.append
    news = world.streamed(patience_s=0.0, quantity=QUANTITY / 2)
    order_manager = world.order_manager(news)
    execution = order_manager.enter(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    assert (execution.quantity, asked) == (QUANTITY, ["send", "order_fills"])


def test_fees_in_another_coin_are_priced_after_the_entry_and_never_before_its_stop(world):
    order_manager = world.order_manager(world.streamed(fee=Decimal("0.01"), fee_asset="BTC"))
    asked = []
    world.exchange.before = asked.append
    execution = order_manager.enter(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    assert (asked, execution.fees, execution.owed) == (["send"], 0, (("BTC", Decimal("0.01")),))
    priced = order_manager.settle_fees(execution)
    assert (priced.fees, priced.owed) == (Decimal("0.01") * world.feed.mark_price(SYMBOL).mark, ())
    left = order_manager.close(Direction.LONG, QUANTITY, world.clock.now_ms() + 1, 0, "test")
    assert (left.fees, left.owed) == (0, execution.owed), "no price is asked for before the fact of an exit"
