"""A change of rules reaches the orders of an open position through the real trader, and says what it did."""

from dataclasses import replace
from decimal import Decimal

import pytest

from src.domain.portfolio import Direction
from src.domain.risk import RiskLimits
from src.paper_exchange.listing import changed
from src.strategy.decision import DecisionRules, Verdict
from src.strategy.q_agent import Action
from tests.execution.test_trader import advise, enter, trader_of
from tests.world import START_MS, SYMBOL, World, path, walk

WIDE = RiskLimits(stop_loss_share=Decimal("0.05"), take_profit_share=Decimal("0.15"))


def levels(world: World) -> dict[str, Decimal]:
    return {str(each.kind): each.trigger_price for each in world.inner.conditional_orders(SYMBOL)}


def test_new_rules_decide_the_next_turn_and_move_stop_and_target():
    world = World(walk(800))
    trader, agent = trader_of(world)
    minute = enter(world, trader, agent, 300)
    before = levels(world)
    words = trader.replace_rules(DecisionRules(name="calm", min_signal_strength=6), WIDE)
    after = levels(world)
    assert after["STOP_MARKET"] < before["STOP_MARKET"] and after["TAKE_PROFIT_MARKET"] > before["TAKE_PROFIT_MARKET"]
    assert str(after["STOP_MARKET"]) in words and SYMBOL in words
    assert str(after["STOP_MARKET"]) in trader.standing()
    agent.advice = advise(Action.SELL, 0.9)
    trader.close_by_hand()
    agent.advice = advise(Action.BUY, 0.9)
    for later in range(minute + 1, minute + 40):
        world.at(later)
        assert trader.run_trading_cycle().decision.verdict is Verdict.HOLD, "a strength of six is seldom reached"


def test_without_a_position_nothing_is_said_and_the_next_one_gets_the_new_levels():
    world = World(walk(800))
    trader, agent = trader_of(world)
    world.at(299)
    trader.run_trading_cycle()
    assert trader.replace_rules(DecisionRules(min_signal_strength=1), WIDE) == ""
    enter(world, trader, agent, 300)
    [entry] = [each.price for each in world.inner.fills(SYMBOL, START_MS)][:1]
    assert levels(world)["STOP_MARKET"] == pytest.approx(entry * Decimal("0.95"), abs=Decimal("0.2"))


def test_one_holder_of_limits_is_read_by_trader_risk_manager_and_positions():
    world = World(path(*[30_000.0] * 320, *[29_700.0] * 40))
    trader, _ = trader_of(world)
    world.at(310)
    trader.run_trading_cycle()
    assert trader.execute_buy(Decimal(30_000), Decimal("0.010"), "test") == ""
    assert not trader.check_daily_loss_limit()
    world.at(330)
    trader.replace_rules(DecisionRules(), replace(world.limits, max_daily_loss_share=Decimal("0.0001")))
    assert trader.check_daily_loss_limit()
    assert trader.run_trading_cycle().decision.exit_reason == "daily_loss"


def test_a_tick_that_leaves_no_room_for_the_stop_is_a_gate_with_its_reason():
    world = World(walk(800))
    trader, agent = trader_of(world)
    agent.advice = advise(Action.BUY, 0.9)
    world.venue.change_contract(SYMBOL, changed(world.venue.contracts[SYMBOL], {"tick_size": "1000"}))
    world.settings._read_rules()
    seen = set()
    for minute in range(300, 400):
        world.at(minute)
        decision = trader.run_trading_cycle().decision
        gates = {gate.name: gate for gate in decision.gates}
        assert decision.verdict is Verdict.HOLD
        assert not gates["protection"].passed and "two ticks" in gates["protection"].detail
        seen.add(decision.veto)
    assert "protection" in seen
    assert world.exchange.sent == []


@pytest.mark.parametrize("direction", list(Direction))
def test_a_flipped_position_is_named_a_strangers_in_the_turn(direction):
    from src.domain.orders import Side
    from tests.execution.test_position_money import owner

    world = World(path(*[30_000.0] * 320, *[30_100.0] * 40))
    trader, _ = trader_of(world)
    world.at(310)
    trader.run_trading_cycle()
    assert trader._enter(direction, Decimal(30_000), Decimal("0.010"), "test") == ""
    owner(world, Side.SELL if direction is Direction.LONG else Side.BUY, "0.025")
    sent = len(world.exchange.sent)
    for minute in range(325, 335):
        for second in (0, 20, 40):
            world.at(minute, second)
            if trader.needs_maintenance(world.feed.mark_price(SYMBOL)):
                trader.run_maintenance()
        turn = trader.run_trading_cycle()
        assert "did not open" in turn.decision.reason and not turn.observation.own
        assert trader.standing() == ""
    assert len(world.exchange.sent) == sent
