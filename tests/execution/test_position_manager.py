"""What the position manager promises: protected at once, closed, no trade lost by a crash at any call (S1-S3, S13)."""

from decimal import Decimal

import pytest

from src.domain.errors import ExchangeUnavailable, OutcomeUnknown
from src.domain.orders import OrderIntent, OrderKind, Purpose, Side
from src.domain.portfolio import Direction
from src.execution.position_manager import PositionManager
from tests.world import SYMBOL, Crash, LaggingJournal, World, path

QUANTITY = Decimal("0.010")
FLAT = [30_000.0] * 12


def opened(closes: list[float]) -> tuple[World, PositionManager]:
    world = World(path(*closes))
    world.at(10)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    assert position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test") == ""
    return world, position_manager


def round_trip_pnl(world: World) -> Decimal:
    """What the account gained since the start, by the exchange's own wallet."""
    return world.inner.account().wallet_balance - Decimal(10_000)


def test_a_position_has_a_stop_and_a_target_at_the_exchange_when_open_returns():
    world, position_manager = opened([30_000.0] * 30)
    kinds = {each.kind for each in world.inner.open_orders(SYMBOL)}
    assert kinds == {OrderKind.STOP_MARKET, OrderKind.TAKE_PROFIT_MARKET}
    entry = position_manager.trade.entry_price
    assert position_manager.trade.stop_price == pytest.approx(entry * Decimal("0.98"), abs=Decimal("0.1"))
    assert position_manager.trade.target_price == pytest.approx(entry * Decimal("1.05"), abs=Decimal("0.1"))


@pytest.mark.parametrize(
    ("closes", "reason"),
    [(FLAT + [29_000.0] * 8, "stop_loss"), (FLAT + [32_000.0] * 8, "take_profit")],
)
def test_an_end_at_the_exchange_becomes_a_trade_with_its_reason(closes, reason):
    world, position_manager = opened(closes)
    world.at(18)
    position_manager.reconcile(world.inner.account())
    [trade] = world.journal.closed
    assert trade.exit_reason == reason
    assert trade.pnl == round_trip_pnl(world)
    assert position_manager.trade is None
    assert world.inner.open_orders(SYMBOL) == []


def test_closing_cancels_the_guards_and_the_books_agree_to_the_last_digit():
    world, position_manager = opened([30_000.0] * 11 + [30_100.0] * 10)
    world.at(14)
    assert position_manager.close("signal_sell")
    [trade] = world.journal.closed
    assert trade.exit_reason == "signal_sell"
    assert trade.pnl == round_trip_pnl(world)
    assert world.inner.open_orders(SYMBOL) == []


def test_nothing_is_bought_when_no_stop_can_be_placed():
    world = World(path(*[30_000.0] * 30))
    world.at(10)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    world.exchange.refuse_stops = 1
    assert "was refused" in position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    assert world.venue.all_orders("bot", SYMBOL) == []
    assert world.inner.open_orders(SYMBOL) == []
    world.at(11)
    position_manager.reconcile(world.inner.account())
    assert position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test") == ""


def test_a_position_whose_stop_is_refused_is_closed_at_once():
    """Where the exchange wants the position before its stop, there is none yet when the entry fills."""
    world = World(path(*[30_000.0] * 30))
    world.at(10)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    world.exchange.refusals = {Purpose.STOP: [-4509, -2021]}
    position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    assert world.inner.account().positions == ()
    assert world.journal.closed[0].exit_reason == "unprotected"


def test_an_exit_whose_answer_is_lost_is_one_order():
    world, position_manager = opened([30_000.0] * 30)
    world.exchange.lose_answers = 1
    assert position_manager.close("agent_sell")
    sells = [each for each in world.venue.all_orders("bot", SYMBOL) if each.side == "SELL"]
    assert len(sells) == 1


def test_an_exit_that_cannot_be_sent_is_pressed_until_it_is():
    world, position_manager = opened([30_000.0] * 30)
    world.exchange.away = True
    assert not position_manager.close("daily_loss")
    assert "daily_loss" in position_manager.halt_reason
    world.exchange.away = False
    world.at(11)
    position_manager.retry_exit()
    assert world.inner.account().positions == ()
    assert world.journal.closed[0].exit_reason == "daily_loss"


def test_a_position_that_nobody_opened_halts_entries_and_is_left_alone():
    world = World(path(*[30_000.0] * 30))
    world.at(10)
    foreign = OrderIntent("by-hand", SYMBOL, Side.BUY, OrderKind.MARKET, Purpose.ENTRY, QUANTITY, 0)
    world.inner.send(foreign)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    assert "did not open" in position_manager.halt_reason
    assert world.inner.account().position(SYMBOL).quantity == QUANTITY


def test_a_size_that_differs_from_the_journal_halts_entries():
    world, position_manager = opened([30_000.0] * 30)
    foreign = OrderIntent("by-hand", SYMBOL, Side.BUY, OrderKind.MARKET, Purpose.ENTRY, QUANTITY, 0)
    world.inner.send(foreign)
    world.at(11)
    position_manager.reconcile(world.inner.account())
    assert "0.020" in position_manager.halt_reason
    assert "0.010" in position_manager.halt_reason


def test_a_stop_that_somebody_cancelled_is_placed_again():
    world, position_manager = opened([30_000.0] * 30)
    world.inner.cancel(world.stops()[0])
    position_manager.request_reconcile()
    position_manager.reconcile(world.inner.account())
    assert len(world.stops()) == 1
    assert world.inner.account().position(SYMBOL) is not None


def test_an_entry_of_unknown_outcome_is_guarded_as_soon_as_it_is_found():
    world = World(path(*[30_000.0] * 30))
    world.at(10)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    world.exchange.faults_of, world.exchange.lose_answers = Purpose.ENTRY, 1
    world.exchange.blind_finds = 99
    assert position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test") != ""
    assert position_manager.needs_reconcile
    world.exchange.blind_finds = 0
    position_manager.reconcile(world.inner.account())
    assert len(world.stops()) == 1
    assert position_manager.trade.quantity == QUANTITY
    assert position_manager.halt_reason == ""


def test_funding_that_fell_due_becomes_part_of_the_trade():
    closes = [30_000.0] * 520
    world, position_manager = opened(closes)
    world.at(500)
    position_manager.close("agent_sell")
    [trade] = world.journal.closed
    assert trade.funding < 0
    assert trade.pnl == round_trip_pnl(world)


def test_funding_that_fell_due_while_an_entrys_fill_was_looked_for_is_not_forgotten():
    """The exchange took 20 minutes to tell the fill, and midnight was among them."""
    world = World(path(*[30_000.0] * 130))
    world.at(100)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())

    def slow(name):
        if name == "order_fills":
            world.exchange.before = lambda _name: None
            world.at(120)

    world.exchange.before = slow
    assert position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test") == ""
    world.at(122)
    position_manager.close("agent_sell")
    [trade] = world.journal.closed
    assert trade.funding < 0
    assert trade.pnl == round_trip_pnl(world)


def scenario(world: World) -> None:
    """Open, let ten quiet minutes pass, close; a process that dies is started again by the caller."""
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    world.at(20)
    position_manager.reconcile(world.inner.account())
    position_manager.close("signal_sell")


def crashed_at(number: int, moment: str) -> tuple[World, bool]:
    """Run the scenario with a death at the call of that number; return whether it came to that."""
    world = World(path(*[30_000.0] * 40))
    world.at(10)
    counted = iter(range(1, 10_000))

    def die(_name: str) -> None:
        if next(counted) == number:
            raise Crash

    setattr(world.exchange, moment, die)
    try:
        scenario(world)
    except Crash:
        return world, True
    finally:
        setattr(world.exchange, moment, lambda _name: None)
    return world, False


def crashed_with_writes_behind(number: int, moment: str) -> tuple[World, bool]:
    """As ``crashed_at``, and nothing that was only on its way to the disk has arrived there."""
    world = World(path(*[30_000.0] * 40))
    world.at(10)
    journal = world.journal = LaggingJournal()  # type: ignore[assignment]
    counted = iter(range(1, 10_000))

    def die(_name: str) -> None:
        if next(counted) == number:
            raise Crash

    setattr(world.exchange, moment, die)
    journal.before = die
    try:
        scenario(world)
        died = False
    except Crash:
        died = True
    setattr(world.exchange, moment, lambda _name: None)
    world.journal = journal.disk
    return world, died


def assert_recovers(world: World) -> None:
    """Start again after the crash: journal and exchange agree, and the position there is has its stop."""
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    position = world.inner.account().position(SYMBOL)
    entries = [each for each in world.venue.all_orders("bot", SYMBOL) if each.side == "BUY"]
    assert len(entries) <= 1
    assert (position is None) == (position_manager.trade is None)
    assert len(world.stops()) == (0 if position is None else 1)
    assert position_manager.halt_reason == "" or "not known yet" in position_manager.halt_reason
    if position is not None:
        world.at(25)
        assert position_manager.close("agent_sell")
    world.at(30)
    position_manager.reconcile(world.inner.account())
    assert position_manager.halt_reason == ""
    assert len(world.journal.closed) == len(entries)
    assert sum((trade.pnl for trade in world.journal.closed), Decimal(0)) == round_trip_pnl(world)
    assert world.inner.open_orders(SYMBOL) == []


@pytest.mark.parametrize("crash", [crashed_at, crashed_with_writes_behind])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_at_any_call_loses_nothing_and_doubles_nothing(moment, crash):
    for number in range(1, 1_000):
        world, died = crash(number, moment)
        if not died:
            break
        assert_recovers(world)
    assert 10 < number < 999


def test_an_exit_of_unknown_outcome_is_never_sent_again_before_the_exchange_was_asked():
    world, position_manager = opened([30_000.0] * 30)
    world.exchange.drop_sends = 1
    world.exchange.blind_finds = 3
    order = []
    world.exchange.before = order.append
    assert position_manager.close("cut_loss")
    sends = [index for index, name in enumerate(order) if name == "send"]
    assert len(sends) == 2
    assert "find_order" in order[sends[0] : sends[1]]


def test_open_says_why_when_the_exchange_is_away():
    world = World(path(*[30_000.0] * 30))
    world.at(10)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    world.exchange.away = True
    assert "no route" in position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    assert OutcomeUnknown.__name__ not in position_manager.halt_reason


def no_prices(name):
    if name == "mark_price":
        raise ExchangeUnavailable("no answer")


def test_fees_in_another_coin_reach_the_trade_when_they_can_be_priced():
    world = World(path(*FLAT, *[30_000.0] * 8))
    world.at(10)
    position_manager = world.position_manager(
        world.order_manager(world.streamed(fee=Decimal("0.001"), fee_asset="BTC"))
    )
    position_manager.reconcile(world.inner.account())
    world.exchange.before = no_prices
    assert position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test") == ""
    assert (len(world.stops()), position_manager.trade.fees) == (1, 0)
    world.exchange.before = lambda name: None
    position_manager.reconcile(world.inner.account())
    worth = Decimal("0.001") * world.feed.mark_price(SYMBOL).mark
    assert position_manager.trade.fees == worth
    [start] = world.journal.open_trades(SYMBOL)
    assert start.trade == position_manager.trade


def test_fees_of_an_entry_that_could_not_be_priced_before_its_end_follow_later():
    world = World(path(*FLAT, *[29_000.0] * 8))
    world.at(10)
    position_manager = world.position_manager(
        world.order_manager(world.streamed(fee=Decimal("0.001"), fee_asset="BTC"))
    )
    position_manager.reconcile(world.inner.account())
    world.exchange.before = no_prices
    position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    world.at(14)
    position_manager.reconcile(world.inner.account())
    assert position_manager.trade is None
    [hurried] = world.journal.closed
    world.exchange.before = lambda name: None
    world.at(15)
    position_manager.reconcile(world.inner.account())
    [trade] = world.journal.closed
    assert (hurried.exit_reason, hurried.fees, trade.exit_reason) == ("stop_loss", 0, "stop_loss")
    assert trade.fees == Decimal("0.002") * world.feed.mark_price(SYMBOL).mark
