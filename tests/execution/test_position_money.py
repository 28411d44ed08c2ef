"""Wallet and journal agree to the last digit whatever others do with the position: owner, exchange, funding."""

from dataclasses import replace
from decimal import Decimal

import pytest

from src.domain.orders import OrderIntent, OrderKind, Purpose, Side, client_id
from src.domain.portfolio import Direction
from src.execution.executions import opened_trade
from src.execution.position_state import PositionState
from src.execution.trade_recorder import FOREIGN_REASON, SentOrder, TradeRecorder
from tests.world import START_MS, SYMBOL, World, path

QUANTITY = Decimal("0.010")
FLAT = [30_000.0] * 12
HOUR_MS = 3_600_000


def owner(world: World, side: Side, quantity: str, reduce_only: bool = False) -> None:
    """Send a market order as the owner of the account does, from another program."""
    name = f"by-hand-{len(world.venue.all_orders('bot', SYMBOL))}"
    world.inner.send(
        OrderIntent(
            client_id=name,
            symbol=SYMBOL,
            side=side,
            kind=OrderKind.MARKET,
            purpose=Purpose.ENTRY,
            quantity=Decimal(quantity),
            decided_ms=0,
            reduce_only=reduce_only,
        )
    )


def opened(closes: list[float], balance: str = "10000", direction: Direction = Direction.LONG):
    world = World(path(*closes), balance)
    world.at(10)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    assert position_manager.open(direction, QUANTITY, world.clock.now_ms(), "test") == ""
    return world, position_manager


def wallet_change(world: World, balance: str = "10000") -> Decimal:
    return world.inner.account().wallet_balance - Decimal(balance)


def booked(world: World) -> Decimal:
    return sum((trade.pnl for trade in world.journal.closed), Decimal(0))


def own_trade(world: World):
    [trade] = [each for each in world.journal.closed if each.exit_reason != FOREIGN_REASON]
    return trade


def foreign_trade(world: World):
    [trade] = [each for each in world.journal.closed if each.exit_reason == FOREIGN_REASON]
    return trade


@pytest.mark.parametrize("noticed", [True, False])
@pytest.mark.parametrize(("closes", "reason"), [(29_000.0, "stop_loss"), (32_000.0, "take_profit")])
def test_half_closed_by_hand_then_the_stop_is_booked_whole(noticed, closes, reason):
    world, position_manager = opened(FLAT + [closes] * 8)
    owner(world, Side.SELL, "0.004", reduce_only=True)
    if noticed:
        world.at(11)
        position_manager.reconcile(world.inner.account())
        assert position_manager.open_quantity == Decimal("0.006")
        assert position_manager.state is PositionState.OPEN
    world.at(16)
    position_manager.reconcile(world.inner.account())
    trade = own_trade(world)
    assert (trade.exit_reason, trade.quantity) == (reason, QUANTITY)
    assert booked(world) == trade.pnl == wallet_change(world)


def test_half_closed_by_hand_then_the_bots_exit_sells_only_the_rest():
    world, position_manager = opened(FLAT + [30_100.0] * 8)
    owner(world, Side.SELL, "0.004", reduce_only=True)
    world.at(14)
    position_manager.reconcile(world.inner.account())
    assert position_manager.close("signal_sell")
    assert world.inner.account().positions == ()
    assert own_trade(world).pnl == wallet_change(world)


def test_an_exit_that_finds_half_of_the_position_gone_is_booked_whole():
    world, position_manager = opened(FLAT + [30_100.0] * 8)
    world.at(14)
    owner(world, Side.SELL, "0.004", reduce_only=True)
    position_manager.close("signal_sell")  # nobody has looked since
    for minute in (15, 16):
        world.at(minute)
        position_manager.reconcile(world.inner.account())
    assert position_manager.trade is None and position_manager.halt_reason == ""
    assert own_trade(world).pnl == wallet_change(world)


def test_doubled_by_hand_then_the_stop_leaves_a_remainder_of_its_own_name():
    world, position_manager = opened([30_000.0] * 11 + [30_200.0, 30_200.0] + [29_000.0] * 8)
    entry = position_manager.trade.entry_price
    world.at(12)
    owner(world, Side.BUY, "0.010")
    position_manager.reconcile(world.inner.account())
    assert "of which this bot opened 0.010" in position_manager.halt_reason
    world.at(17)
    position_manager.reconcile(world.inner.account())
    trade, rest = own_trade(world), foreign_trade(world)
    assert trade.quantity == rest.quantity == QUANTITY
    assert trade.gross_pnl == (trade.exit_price - entry) * QUANTITY
    assert trade.pnl + rest.pnl == wallet_change(world)
    assert "did not send" in position_manager.notice and position_manager.halt_reason == ""


def test_doubled_by_hand_then_the_bots_exit_sells_its_own_part_and_leaves_the_owner_protected():
    world, position_manager = opened([30_000.0] * 11 + [30_200.0] * 8)
    world.at(12)
    owner(world, Side.BUY, "0.010")
    position_manager.reconcile(world.inner.account())
    assert position_manager.close("signal_sell")
    assert world.inner.account().position(SYMBOL).quantity == QUANTITY
    assert booked(world) == wallet_change(world)
    assert len(world.stops()) == 1, "no protective order is cancelled while a position of its side stands"
    world.at(13)
    position_manager.reconcile(world.inner.account())
    assert "did not open" in position_manager.halt_reason and len(world.stops()) == 1
    owner(world, Side.SELL, "0.010", reduce_only=True)
    world.at(14)
    position_manager.reconcile(world.inner.account())
    assert (position_manager.halt_reason, world.inner.open_orders(SYMBOL)) == ("", [])


@pytest.mark.parametrize("looked", [True, False])
@pytest.mark.parametrize("quantity", ["0.010", "0.004"])
def test_a_round_trip_of_the_owner_between_two_looks_is_found(quantity, looked):
    """Sold and bought back: size and side are as ever, but the mean entry price and the wallet are not."""
    world, position_manager = opened([30_000.0] * 11 + [30_300.0, 30_100.0, 30_100.0] + [29_000.0] * 6)
    world.at(12)
    owner(world, Side.SELL, quantity)
    world.at(13)
    owner(world, Side.BUY, quantity)
    if looked:
        position_manager.reconcile(world.inner.account())
        assert position_manager.open_quantity == QUANTITY - Decimal(quantity)
        assert (
            "did not open" in position_manager.halt_reason or "of which this bot opened" in position_manager.halt_reason
        )
    world.at(18)
    position_manager.reconcile(world.inner.account())
    whole = quantity == "0.010"
    assert own_trade(world).exit_reason == ("closed_at_exchange" if whole else "stop_loss")
    assert world.inner.account().positions == (), "our stop closed also what the owner had bought"
    assert booked(world) == wallet_change(world)


@pytest.mark.parametrize("direction", list(Direction))
def test_a_flip_ends_the_own_trade_and_the_new_position_is_a_strangers(direction):
    world, position_manager = opened([30_000.0] * 11 + [30_100.0] * 20, direction=direction)
    world.at(13)
    owner(world, direction.entry_side.opposite, "0.025")
    sent = len(world.venue.all_orders("bot", SYMBOL))
    for minute in range(14, 22):
        world.at(minute)
        position_manager.reconcile(world.inner.account())
        assert position_manager.trade is None and position_manager.early_stop is None
        assert not position_manager.owns(position_manager.position(world.inner.account()))
        assert "did not open" in position_manager.halt_reason
    assert len(world.venue.all_orders("bot", SYMBOL)) == sent, "nothing is sent for a stranger's position"
    assert world.inner.open_orders(SYMBOL) == []
    assert own_trade(world).exit_reason == "closed_at_exchange"
    assert booked(world) == wallet_change(world)


def test_an_exit_that_was_begun_before_a_flip_is_not_sent_without_end():
    world, position_manager = opened([30_000.0] * 11 + [30_100.0] * 50)
    world.at(13)
    world.exchange.away = True
    assert not position_manager.close("daily_loss")
    world.exchange.away = False
    owner(world, Side.SELL, "0.025")
    for second in range(600):
        world.at(14, second)
        position_manager.reconcile(world.inner.account())
    assert [each for each in world.exchange.sent if each.purpose is Purpose.EXIT] == []
    assert own_trade(world).quantity == QUANTITY
    assert booked(world) == wallet_change(world)


def test_an_exit_that_is_always_refused_is_tried_with_growing_pauses_and_said():
    world, position_manager = opened([30_000.0] * 11 + [30_100.0] * 50)
    world.exchange.refusals = {Purpose.EXIT: [-2019] * 1_000}
    position_manager.close("daily_loss")
    for second in range(1_200):
        world.at(13, second)
        position_manager.reconcile(world.inner.account())
    tried = 1_000 - len(world.exchange.refusals[Purpose.EXIT])
    assert 8 <= tried <= 30
    assert "daily_loss" in position_manager.halt_reason
    world.exchange.refusals = {}
    world.at(35)
    position_manager.reconcile(world.inner.account())
    assert world.inner.account().positions == ()


def test_a_liquidation_is_booked_with_what_the_insurance_fund_cleared():
    world = World(path(*[30_000.0] * 12, *[26_000.0] * 8))
    world.venue.set_margin_type("bot", SYMBOL, "ISOLATED")
    world.settings = type(world.settings)(
        exchange=world.exchange, clock=world.clock, symbol=SYMBOL, leverage=10, margin_type="ISOLATED"
    )
    world.at(10)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    assert position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test") == ""
    for order in world.inner.open_orders(SYMBOL):
        world.inner.cancel(order)
    for minute in (13, 14, 16, 19):
        world.at(minute)
        position_manager.reconcile(world.inner.account())
    assert own_trade(world).exit_reason == "liquidation"
    assert [row.kind for row in world.inner.income(START_MS) if row.kind == "INSURANCE_CLEAR"]
    assert own_trade(world).pnl == wallet_change(world)


class LateFunding:
    """The exchange's income history, in which funding appears some seconds after it was paid."""

    def __init__(self, world: World, delay_ms: int, moves: bool) -> None:
        self._world, self._delay_ms, self._moves = world, delay_ms, moves
        self._income = world.inner.income
        world.inner.income = self.income

    def income(self, since_ms: int):
        now = self._world.clock.now_ms()
        rows = [row for row in self._income(since_ms) if row.time_ms + self._delay_ms <= now]
        return [replace(row, time_ms=row.time_ms + self._delay_ms) for row in rows] if self._moves else rows


@pytest.mark.parametrize("moves", [False, True])
def test_funding_that_is_posted_after_the_exit_is_booked(moves):
    world = World(path(*[30_000.0] * 130))
    LateFunding(world, 8_000, moves)
    hour = next(minute for minute in range(40, 130) if (START_MS + minute * 60_000) % (8 * HOUR_MS) == 0)
    world.at(hour - 30)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    assert position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test") == ""
    world.at(hour, 3)
    assert position_manager.close("agent_sell")
    [hurried] = world.journal.closed
    assert hurried.funding == 0
    for minute in (1, 2, 3, 11):
        world.at(hour + minute)
        position_manager.reconcile(world.inner.account())
    trade = own_trade(world)
    assert trade.funding < 0
    assert trade.pnl == wallet_change(world)
    assert position_manager._reconciler.settlement.needs_reconcile == 0


def test_funding_that_is_posted_after_the_process_ended_is_booked_by_the_next_one():
    world = World(path(*[30_000.0] * 130))
    LateFunding(world, 8_000, False)
    hour = next(minute for minute in range(40, 130) if (START_MS + minute * 60_000) % (8 * HOUR_MS) == 0)
    world.at(hour - 30)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    world.at(hour, 3)
    position_manager.close("agent_sell")
    world.at(hour + 1)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    assert own_trade(world).pnl == wallet_change(world)


def test_funding_belongs_to_the_trade_that_was_open_when_it_fell_due():
    """The row comes while the next trade is open already."""
    world = World(path(*[30_000.0] * 130))
    LateFunding(world, 40_000, True)
    hour = next(minute for minute in range(40, 130) if (START_MS + minute * 60_000) % (8 * HOUR_MS) == 0)
    world.at(hour - 30)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    world.at(hour, 3)
    position_manager.close("agent_sell")
    world.at(hour, 10)
    position_manager.reconcile(world.inner.account())
    assert position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test") == ""
    world.at(hour + 20)
    position_manager.reconcile(world.inner.account())
    position_manager.close("agent_sell")
    world.at(hour + 40)
    position_manager.reconcile(world.inner.account())
    first, second = world.journal.closed
    assert (first.funding < 0, second.funding) == (True, 0)
    assert booked(world) == wallet_change(world)


def test_a_trade_increased_and_reduced_several_times_is_one_trade_with_its_mean_entry():
    """What portfolio execution needs of the recorder: own fills of several orders, to the last digit."""

    world = World(path(*[30_000.0] * 11, 30_100.0, 30_300.0, 29_900.0, 30_500.0, 30_500.0))
    steps = [(10, Side.BUY, "0.010"), (12, Side.BUY, "0.020"), (13, Side.SELL, "0.012"), (14, Side.BUY, "0.005")]
    names = []
    for minute, side, quantity in [*steps, (15, Side.SELL, "0.023")]:
        now = world.at(minute)
        purpose = Purpose.ENTRY if side is Side.BUY else Purpose.EXIT
        names.append(client_id("bot", SYMBOL, now, purpose))
        intent = OrderIntent(names[-1], SYMBOL, side, OrderKind.MARKET, purpose, Decimal(quantity), now)
        world.inner.send(intent)
    orders = world.inner.order_history(SYMBOL, START_MS)
    sent = {each.order_id: SentOrder(each.client_id, True, "rebalance") for each in orders}
    fills = world.inner.fills(SYMBOL, START_MS)
    first = world.order_manager().summed(names[0], [each for each in fills if each.order_id == orders[0].order_id])
    opened_now = opened_trade(SYMBOL, Direction.LONG, first, leverage=10)
    for count in range(1, len(orders)):
        seen = [each for each in fills if each.order_id in {order.order_id for order in orders[:count]}]
        partly = TradeRecorder.record(opened_now, seen, sent)
        assert not partly.complete and partly.remainder is None
        assert partly.open_quantity == world_quantity(orders[:count])
    whole = TradeRecorder.record(opened_now, fills, sent)
    assert whole.complete and whole.entries == (names[0], names[1], names[3])
    assert whole.trade.quantity == Decimal("0.035")
    assert whole.trade.exit_reason == "rebalance"
    assert whole.trade.pnl == wallet_change(world)


def world_quantity(orders) -> Decimal:
    return sum((each.quantity * (1 if each.side is Side.BUY else -1) for each in orders), Decimal(0))
