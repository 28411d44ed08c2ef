"""Stop and target stand while a position stands, follow the limits in force, and rest nowhere else."""

from dataclasses import replace
from decimal import Decimal

import pytest

from src.domain.circuit_breaker import born
from src.domain.errors import ExchangeUnavailable
from src.domain.orders import OrderIntent, OrderKind, Purpose, Side
from src.domain.portfolio import Direction
from src.domain.risk import RiskLimits, protection_veto
from src.execution.journal import InMemoryJournal
from src.execution.position_manager import PositionManager
from src.execution.position_protection import PROTECTION_CHECK_MS
from src.execution.position_state import PositionState
from tests.world import START_MS, SYMBOL, Crash, World, path

QUANTITY = Decimal("0.010")
FLAT = [30_000.0] * 60


def ready(closes=FLAT) -> tuple[World, PositionManager]:
    world = World(path(*closes))
    world.at(10)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    return world, position_manager


def opened(closes=FLAT, direction: Direction = Direction.LONG) -> tuple[World, PositionManager]:
    world, position_manager = ready(closes)
    assert position_manager.open(direction, QUANTITY, world.clock.now_ms(), "test") == ""
    return world, position_manager


def resting(world: World) -> dict[str, Decimal]:
    return {str(each.kind): each.trigger_price for each in world.inner.conditional_orders(SYMBOL)}


def foreign(world: World, kind: OrderKind, side: Side, trigger: str) -> None:
    world.inner.send(
        OrderIntent(
            client_id=f"by-hand-{trigger}",
            symbol=SYMBOL,
            side=side,
            kind=kind,
            purpose=Purpose.STOP,
            quantity=Decimal(0),
            decided_ms=0,
            trigger_price=Decimal(trigger),
            close_position=True,
        )
    )


# --- on a short clock (G) ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [OrderKind.STOP_MARKET, OrderKind.TAKE_PROFIT_MARKET])
def test_an_order_that_is_cancelled_without_an_event_is_back_within_the_checks_interval(kind):
    world, position_manager = opened()
    levels = resting(world)
    for order in world.inner.conditional_orders(SYMBOL):
        if order.kind is kind:
            world.inner.cancel(order)
    for second in range(0, PROTECTION_CHECK_MS // 1_000 + 61, 5):
        world.at(10, second)
        position_manager.reconcile(world.inner.account())
        if resting(world) == levels:
            break
    assert resting(world) == levels
    assert second * 1_000 <= PROTECTION_CHECK_MS + 5_000


def test_a_quiet_hour_in_a_position_asks_the_exchange_less_than_sixty_times():
    world, position_manager = opened([30_000.0] * 120)
    calls = []
    world.at(15)
    position_manager.reconcile(world.inner.account())
    world.exchange.before = calls.append
    for minute in range(16, 76):
        world.at(minute)
        position_manager.reconcile(world.inner.account())
    assert 20 <= calls.count("conditional_orders") <= 45
    assert len(calls) < 60


@pytest.mark.parametrize("code", [-4130, -4045])
def test_a_target_that_the_exchange_refuses_is_said_and_tried_again(code):
    world, position_manager = ready()
    world.exchange.refusals = {Purpose.TARGET: [code]}
    assert position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test") == ""
    assert str(code) in position_manager.protection and str(code) in position_manager.halt_reason
    assert set(resting(world)) == {"STOP_MARKET"}
    world.at(13)
    position_manager.reconcile(world.inner.account())
    assert set(resting(world)) == {"STOP_MARKET", "TAKE_PROFIT_MARKET"}
    assert "stand at the exchange" in position_manager.protection and position_manager.halt_reason == ""


def test_a_stop_of_the_owner_in_place_of_ours_counts_as_a_stop():
    world, position_manager = opened()
    for order in world.stops():
        world.inner.cancel(order)
    foreign(world, OrderKind.STOP_MARKET, Side.SELL, "29000")
    world.exchange.refusals = {Purpose.STOP: [-4130] * 50}
    for minute in range(11, 20):
        world.at(minute)
        position_manager.reconcile(world.inner.account())
    assert position_manager.state is PositionState.OPEN
    assert world.inner.account().position(SYMBOL).quantity == QUANTITY
    assert position_manager.trade.stop_price == Decimal("29000")


def test_nothing_is_opened_beside_a_closing_order_of_the_owner():
    world, position_manager = ready()
    foreign(world, OrderKind.STOP_MARKET, Side.SELL, "29000")
    assert "somebody else" in position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    assert world.inner.account().positions == ()
    assert resting(world) == {"STOP_MARKET": Decimal("29000")}, "it is not ours to cancel"


def test_orders_that_the_list_did_not_show_do_not_stay_behind():
    """The list is empty for 2.5 s: the position is closed, and neither stop nor target waits for the next one."""
    world, position_manager = ready()
    listing = world.inner.conditional_orders
    world.inner.conditional_orders = lambda symbol: []
    position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    assert position_manager.trade is None and world.journal.closed[0].exit_reason == "unprotected"
    world.inner.conditional_orders = listing
    assert resting(world) == {}


def test_orders_that_could_not_be_cancelled_are_removed_while_flat():
    world, position_manager = opened()

    def no_cancel(name):
        if name == "cancel":
            raise ExchangeUnavailable("no answer")

    world.exchange.before = no_cancel
    position_manager.close("signal_sell")
    assert len(resting(world)) == 2
    world.exchange.before = lambda name: None
    world.at(11)
    position_manager.reconcile(world.inner.account())
    assert resting(world) == {}


def test_an_order_of_ours_that_appears_while_flat_is_removed():
    world, position_manager = opened()
    [stop] = world.stops()
    position_manager.close("signal_sell")
    intent = world.protection().intents(Direction.LONG, Decimal("29400"), Decimal("31500"), world.clock.now_ms(), 9)
    world.inner.send(intent.stop)
    for minute in range(11, 13):
        world.at(minute)
        position_manager.reconcile(world.inner.account())
    assert resting(world) == {}
    world.inner.send(replace(intent.stop, client_id=stop.client_id + "9"))
    assert position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test") == ""
    assert len(world.stops()) == 1


# --- before the entry (H, N) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", list(Direction))
def test_a_tick_larger_than_the_stops_distance_is_a_veto(direction):
    world, position_manager = ready()
    coarse = replace(world.settings.instrument, tick_size=Decimal("1000"))
    world.settings._instrument = coarse
    assert "two ticks" in position_manager.open(direction, QUANTITY, world.clock.now_ms(), "test")
    assert world.venue.all_orders("bot", SYMBOL) == [] and resting(world) == {}


def test_levels_outside_the_contracts_prices_are_a_veto():
    instrument = World(path(*FLAT)).settings.instrument
    low = replace(instrument, min_price=Decimal("29500"))
    high = replace(instrument, max_price=Decimal("31000"))
    assert "outside" in protection_veto(Decimal("30000"), Direction.LONG, RiskLimits(), low)
    assert "outside" in protection_veto(Decimal("30000"), Direction.LONG, RiskLimits(), high)
    assert protection_veto(Decimal("30000"), Direction.LONG, RiskLimits(), instrument) == ""
    wide = RiskLimits(take_profit_share=Decimal("0.999"))
    assert "target" in protection_veto(Decimal("30000"), Direction.SHORT, wide, low)


@pytest.mark.parametrize("direction", list(Direction))
def test_a_process_that_dies_at_any_instant_of_an_entry_leaves_no_position_without_a_stop(direction):
    for number in range(1, 200):
        for moment in ("before", "after"):
            world, position_manager = ready()
            counted = iter(range(1, 10_000))

            def die(_name, counted=counted, number=number):
                if next(counted) == number:
                    raise Crash

            setattr(world.exchange, moment, die)
            try:
                position_manager.open(direction, QUANTITY, world.clock.now_ms(), "test")
                died = False
            except Crash:
                died = True
            if world.inner.account().position(SYMBOL) is not None:
                assert world.stops(), (number, moment)
        if not died:
            break
    assert 5 < number < 199


def test_a_stop_whose_exact_level_is_refused_leaves_the_one_that_was_placed_before_the_entry():
    world, position_manager = (
        ready()
    )  # the venue fills at the ask: the exact level differs from the one before the entry
    refused = []

    def refuse(name):
        if name == "send" and world.exchange.sent and world.exchange.sent[-1].purpose is Purpose.ENTRY and not refused:
            refused.append(name)
            world.exchange.refusals = {Purpose.STOP: [-4045]}

    world.exchange.before = refuse
    assert position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test") == ""
    assert len(world.stops()) == 1
    assert position_manager.trade is not None and position_manager.trade.stop_price == world.stops()[0].trigger_price


# --- limits at run time (figures 1) --------------------------------------------------------------------------------


@pytest.mark.parametrize(("stop", "target"), [("0.05", "0.15"), ("0.01", "0.02")])
@pytest.mark.parametrize("direction", list(Direction))
def test_stop_and_target_of_an_open_position_move_with_the_limits(direction, stop, target):
    world, position_manager = opened(direction=direction)
    before = resting(world)
    uncovered = []
    world.exchange.after = lambda name: uncovered.append(name) if not world.stops() else None
    changed = RiskLimits(stop_loss_share=Decimal(stop), take_profit_share=Decimal(target))
    world.active.replace(changed)
    words = position_manager.apply_limits()
    entry, sign = position_manager.trade.entry_price, direction.sign
    after = resting(world)
    assert len(world.inner.conditional_orders(SYMBOL)) == 2
    assert after["STOP_MARKET"] == pytest.approx(entry * (1 - sign * Decimal(stop)), abs=Decimal("0.1"))
    assert after["TAKE_PROFIT_MARKET"] == pytest.approx(entry * (1 + sign * Decimal(target)), abs=Decimal("0.1"))
    assert uncovered == [], "a stop stands at every instant of the move"
    assert str(before["STOP_MARKET"]) in words and str(after["STOP_MARKET"]) in words
    assert position_manager.early_stop.price == entry * (1 - sign * Decimal(stop) * Decimal("0.80"))
    [start] = world.journal.open_trades(SYMBOL)
    assert (start.trade.stop_price, start.stop_client_id) == (after["STOP_MARKET"], world.stops()[0].client_id)


def test_a_stop_that_cannot_be_moved_stays_and_is_said():
    world, position_manager = opened([30_000.0] * 12 + [29_800.0] * 20)
    before = resting(world)
    world.at(14)
    world.active.replace(RiskLimits(stop_loss_share=Decimal("0.005")))  # the price is beyond it already
    assert "stay" in position_manager.apply_limits()
    assert resting(world)["STOP_MARKET"] == before["STOP_MARKET"]
    assert "stays at" in position_manager.halt_reason


def test_the_next_position_is_opened_under_the_limits_in_force():
    world, position_manager = ready()
    world.active.replace(RiskLimits(stop_loss_share=Decimal("0.03"), leverage=5))
    world.inner.prepare(SYMBOL, 5, "CROSSED")
    position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    assert position_manager.trade.leverage == 5
    expected = position_manager.trade.entry_price * Decimal("0.97")
    assert resting(world)["STOP_MARKET"] == pytest.approx(expected, abs=Decimal("0.1"))


@pytest.mark.parametrize("direction", list(Direction))
def test_levels_are_rounded_towards_the_entry(direction):
    world, position_manager = opened([30_003.3] * 60, direction)
    entry, sign = position_manager.trade.entry_price, direction.sign
    stop = resting(world)["STOP_MARKET"]
    target = resting(world)["TAKE_PROFIT_MARKET"]
    assert 0 <= (stop - entry * (1 - sign * Decimal("0.02"))) * sign < Decimal("0.1")
    assert 0 <= (entry * (1 + sign * Decimal("0.05")) - target) * sign < Decimal("0.1")


# --- a lost or older database (I) ----------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", list(Direction))
def test_a_position_is_adopted_with_its_protection_after_the_database_was_lost(direction):
    world, position_manager = opened(direction=direction)
    trade, before = position_manager.trade, resting(world)
    world.at(20)
    world.journal = InMemoryJournal(born(START_MS))
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    assert resting(world) == before and len(world.inner.conditional_orders(SYMBOL)) == 2
    assert position_manager.state is PositionState.OPEN and position_manager.halt_reason == ""
    assert replace(position_manager.trade, fees=trade.fees) == trade
    position_manager.close("signal_sell")
    assert world.journal.closed[0].pnl == world.inner.account().wallet_balance - 10_000
    assert resting(world) == {}


def test_an_adopted_position_without_protection_gets_it():
    world, position_manager = opened()
    for order in world.inner.conditional_orders(SYMBOL):
        world.inner.cancel(order)
    world.journal = InMemoryJournal(born(START_MS))
    position_manager = world.position_manager()
    world.at(12)
    position_manager.reconcile(world.inner.account())
    assert set(resting(world)) == {"STOP_MARKET", "TAKE_PROFIT_MARKET"}
    assert position_manager.trade.quantity == QUANTITY


def test_protection_of_a_position_that_cannot_be_explained_is_left_standing():
    """Same side as our orders, but not from an entry of ours: whoever opened it keeps the stop."""
    world, position_manager = opened()
    keeper_orders = resting(world)
    world.inner.order_history = lambda symbol, since_ms: []
    world.journal = InMemoryJournal(born(START_MS))
    position_manager = world.position_manager()
    for minute in range(11, 16):
        world.at(minute)
        position_manager.reconcile(world.inner.account())
    assert "did not open" in position_manager.halt_reason
    assert resting(world) == keeper_orders


def test_an_older_backup_does_not_take_a_new_position_for_the_old_one():
    """The backup knows the first trade as open; since then it ended and another began, of the same side and size."""
    closes = [30_000.0] * 12 + [30_200.0] * 4 + [30_400.0] * 50
    world, position_manager = opened(closes)
    world.journal.accounts.append(world.inner.account())
    backup = InMemoryJournal(born(START_MS))
    backup.intents, backup.statuses = dict(world.journal.intents), dict(world.journal.statuses)
    backup.starts, backup.accounts = dict(world.journal.starts), list(world.journal.accounts)
    world.at(14)
    position_manager.reconcile(world.inner.account())
    position_manager.close("signal_sell")
    world.at(18)
    position_manager.reconcile(world.inner.account())
    position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    world.at(19)
    position_manager.reconcile(world.inner.account())
    position_manager.close("signal_sell")
    world.at(20)
    position_manager.reconcile(world.inner.account())
    position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "test")
    third, standing = position_manager.trade, resting(world)
    world.journal = backup
    world.at(22)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    assert position_manager.trade.entry_client_id == third.entry_client_id
    assert resting(world) == standing
    world.at(24)
    position_manager.close("agent_sell")
    assert len(backup.closed) == 3
    assert sum((trade.pnl for trade in backup.closed), Decimal(0)) == world.inner.account().wallet_balance - 10_000
