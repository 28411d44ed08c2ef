"""Outcomes that small changes of the trading core alter; each change named here once went unseen by every test."""

import threading
import time
from dataclasses import replace
from decimal import Decimal

import pytest

from src.domain.errors import ExchangeUnavailable
from src.domain.portfolio import Direction
from src.execution.position_record import EarlyStop
from src.execution.stop_monitor import StopMonitor
from src.strategy.decision import DecisionRules, Verdict
from src.strategy.q_agent import Action
from src.strategy.rules import exit_code, thresholds
from tests.execution.test_trader import advise, enter, trader_of
from tests.world import START_MS, World, path, walk

QUANTITY = Decimal("0.010")


def test_new_rules_decide_and_new_limits_size_the_next_entry():
    """Tells of rules that are taken over by name only."""
    world = World(walk(1_200))
    trader, agent = trader_of(world, DecisionRules(name="first", min_signal_strength=1))
    minute = enter(world, trader, agent, 300)
    first = trader.run_trading_cycle().observation.position
    assert first is not None
    world.at(minute + 1)
    assert trader.close_by_hand() == ""
    limits = replace(world.limits, position_share=world.limits.position_share / 2)
    never = DecisionRules(name="never", min_signal_strength=6, min_confidence=0.95)
    trader.replace_rules(never, limits)
    agent.advice = advise(Action.BUY, 0.9)
    for each in range(minute + 2, minute + 60):
        world.at(each)
        assert trader.run_trading_cycle().decision.verdict is Verdict.HOLD
    trader.replace_rules(DecisionRules(name="again", min_signal_strength=1), limits)
    enter(world, trader, agent, minute + 61)
    second = trader.run_trading_cycle().observation.position
    assert second is not None
    assert second.notional / first.notional == pytest.approx(Decimal("0.5"), abs=Decimal("0.03"))


@pytest.mark.parametrize(("stop_share", "closed"), [("0.01", True), ("0.03", False)])
def test_new_limits_move_the_early_stop_of_the_next_position(stop_share, closed):
    """The price falls by 1.7 %: beyond the early stop at 80 % of 1 %, before that at 80 % of 3 %."""
    world = World(path(*[30_000.0] * 305, *[29_490.0] * 10))
    trader, _ = trader_of(world)
    world.at(300)
    trader.run_trading_cycle()
    trader.replace_rules(DecisionRules(), replace(world.limits, stop_loss_share=Decimal(stop_share)))
    world.at(301)
    assert trader.execute_buy(Decimal(30_000), QUANTITY, "test") == ""
    for second in range(240, 480):
        world.at(301, second)
        if trader.needs_maintenance(world.feed.mark_price("BTCUSDT")):
            trader.run_maintenance()
    assert [trade.exit_reason for trade in world.journal.closed] == (["early_stop"] if closed else [])


def test_a_nudged_watch_finds_at_once_that_its_stop_is_gone():
    """The bot's turn is minutes away; nothing but the nudge tells of the stop."""
    world = World(walk(800))
    trader, agent = trader_of(world)
    enter(world, trader, agent, 300)
    trader.run_trading_cycle()
    watch = StopMonitor(trader)
    watch.start()
    try:
        [stop] = world.stops()
        world.inner.cancel(stop)
        assert world.stops() == []
        watch.wake()
        ends_s = time.monotonic() + 20
        while not world.stops() and time.monotonic() < ends_s:
            threading.Event().wait(0.01)
        assert len(world.stops()) == 1
    finally:
        watch.stop()


def test_each_funding_payment_is_booked_in_the_trade_that_was_open_then_and_in_no_other():
    """The income cannot be read when the first trade ends; it is read after the second one has paid funding."""
    world = World(path(*[30_000.0] * 700))
    world.at(100)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    assert position_manager.open(Direction.LONG, QUANTITY, world.clock.now_ms(), "first") == ""
    away = [True]

    def fail(name: str) -> None:
        if name == "income" and away[0]:
            raise ExchangeUnavailable("no answer")

    world.exchange.before = fail
    world.at(110)
    position_manager.close("agent_sell")
    world.at(120)
    assert position_manager.open(Direction.LONG, 2 * QUANTITY, world.clock.now_ms(), "second") == ""
    world.at(600)
    away[0] = False
    for minute in (601, 602, 603):
        world.at(minute)
        position_manager.reconcile(world.inner.account())
    position_manager.close("agent_sell")
    for minute in (604, 605):
        world.at(minute)
        position_manager.reconcile(world.inner.account())
    paid = [each.amount for each in world.inner.income(0) if each.kind == "FUNDING_FEE"]
    booked = {trade.quantity: trade.funding for trade in world.journal.closed}
    assert len(paid) == 2
    assert [booked[QUANTITY], booked[2 * QUANTITY]] == paid
    assert sum((trade.pnl for trade in world.journal.closed), Decimal(0)) == (
        world.inner.account().wallet_balance - Decimal(10_000)
    )


@pytest.mark.parametrize("direction", list(Direction))
def test_the_early_stop_is_reached_exactly_at_its_price(direction):
    level = EarlyStop(Decimal("29520"), direction)
    adverse = -direction.sign
    assert level.reached(Decimal("29520"))
    assert level.reached(Decimal("29520") + adverse * Decimal("0.1"))
    assert not level.reached(Decimal("29520") - adverse * Decimal("0.1"))


def test_stop_early_stop_and_target_close_exactly_at_their_share_of_the_entry():
    world = World(path(30_000.0, 30_000.0))
    t = thresholds(DecisionRules(), world.limits)

    def code(move: float, hit: bool = False) -> int:
        return exit_code(1, move, 10**9, 1, 6, 0, 0.0, hit, t)

    near = 1e-12
    assert [code(-t.stop_loss_share), code(-t.stop_loss_share + near)] == [4, 5]
    assert [code(-t.early_stop_share), code(-t.early_stop_share + near)] == [5, 0]
    assert [code(t.take_profit_share), code(t.take_profit_share - near)] == [6, 0]
    assert code(0.0, hit=True) == 3


def test_a_position_at_its_entry_price_is_not_cut_and_a_young_one_waits_to_the_millisecond():
    world = World(path(30_000.0, 30_000.0))
    t = thresholds(DecisionRules(min_holding_ms=60_000), world.limits)
    assert exit_code(1, 0.0, 60_000, 0, 0, 0, 0.0, False, t) == 0
    assert exit_code(1, -1e-9, 60_000, 0, 0, 0, 0.0, False, t) == 9
    assert exit_code(1, -1e-9, 59_999, 0, 0, 0, 0.0, False, t) == 0
    assert exit_code(1, 0.01, 60_000, -1, t.exit_signal_strength, 0, 0.0, False, t) == 7
    assert exit_code(1, 0.01, 60_000, -1, t.exit_signal_strength - 1, 0, 0.0, False, t) == 0
    assert exit_code(1, 0.01, 60_000, 0, 0, -1, t.exit_confidence, False, t) == 0
    assert exit_code(1, 0.01, 60_000, 0, 0, -1, t.exit_confidence + 1e-9, False, t) == 8


@pytest.mark.parametrize("direction", list(Direction))
def test_a_closed_trade_bears_the_mean_prices_and_the_result_of_its_own_fills(direction):
    world = World(path(*[30_000.0] * 12, *[30_150.0] * 20, volume=40.0))
    world.at(10)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    assert position_manager.open(direction, Decimal("3"), world.clock.now_ms(), "test") == ""
    world.at(16)
    assert position_manager.close("by_hand")
    [trade] = world.journal.closed
    fills = world.inner.fills("BTCUSDT", START_MS)
    for side, price in ((direction.entry_side, trade.entry_price), (direction.entry_side.opposite, trade.exit_price)):
        own = [fill for fill in fills if fill.side is side]
        mean = sum(fill.price * fill.quantity for fill in own) / sum(fill.quantity for fill in own)
        assert price == pytest.approx(mean, abs=Decimal("0.000001"))
    assert len(fills) > 2, "an order that takes several prices"
    assert trade.gross_pnl == sum(fill.realized_pnl for fill in fills)
    assert trade.fees == sum(fill.fee for fill in fills)
    assert (trade.gross_pnl > 0) == (direction is Direction.LONG)
