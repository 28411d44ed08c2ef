"""What a turn promises: written before it is acted on, every gate named, exits never refused (S4, S5, S6, S7)."""

from dataclasses import replace
from decimal import Decimal

import pytest

from src.domain.circuit_breaker import BreakerLimits, BreakerStatus, born
from src.domain.clock import utc_day
from src.domain.orders import OrderIntent, OrderKind, Purpose, Side
from src.domain.portfolio import Direction
from src.execution.risk_manager import RiskManager
from src.execution.trader import Trader
from src.strategy.decision import DecisionRules, Verdict
from src.strategy.indicators import IndicatorFold
from src.strategy.q_agent import Action, QLearningAgent, Recommendation
from tests.world import START_MS, SYMBOL, World, path, walk

MINUTE_MS = 60_000


class Adviser(QLearningAgent):
    """Recommends what the test says; learns as the real one does."""

    advice = Recommendation(Action.HOLD, 0.0, 0, False, (0.0, 0.0, 0.0))

    def recommend(self, market_state: int, position_sign: int, instant_ms: int) -> Recommendation:
        return replace(self.advice, state=market_state)


def trader_of(world: World, rules: DecisionRules | None = None, **breaker) -> tuple[Trader, Adviser]:
    agent = Adviser()
    risk = RiskManager(world.journal, world.clock, world.active, BreakerLimits(**breaker), MINUTE_MS)
    trader = Trader(
        bot_id="bot",
        settings=world.settings,
        feed=world.feed,
        position=world.position_manager(),
        journal=world.journal,
        clock=world.clock,
        agent=agent,
        rules=rules or DecisionRules(min_signal_strength=1),
        limits=world.active,
        risk=risk,
        context=lambda: None,
        stopping=lambda: False,
    )
    return trader, agent


def advise(action: Action, confidence: float) -> Recommendation:
    return Recommendation(action, confidence, 0, False, (0.0, 0.0, 0.0))


def enter(world: World, trader: Trader, agent: Adviser, minute: int) -> int:
    """Turn from ``minute`` on until a long position is open; return the minute."""
    agent.advice = advise(Action.BUY, 0.9)
    for each in range(minute, minute + 400):
        world.at(each)
        if trader.run_trading_cycle().decision.verdict is Verdict.ENTER_LONG:
            return each
    raise AssertionError("no entry in 400 minutes")


def test_every_turn_is_written_with_all_gates_and_a_reason():
    world = World(walk(320))
    trader, agent = trader_of(world)
    agent.advice = advise(Action.BUY, 0.2)
    for minute in range(300, 310):
        world.at(minute)
        trader.run_trading_cycle()
    assert len(world.journal.turns) == 10
    for turn in world.journal.turns:
        names = [gate.name for gate in turn.decision.gates]
        assert {"signal", "agent", "confidence", "breaker", "halt", "candle", "mark", "account"} <= set(names)
        assert not {gate.name: gate.passed for gate in turn.decision.gates}["confidence"]
        assert turn.decision.reason


def test_a_turn_is_written_before_its_order_is_sent():
    world = World(walk(800))
    trader, agent = trader_of(world)
    noted = []
    world.exchange.before = lambda name: noted.append(len(world.journal.turns)) if name == "send" else None
    enter(world, trader, agent, 300)
    assert noted[0] == len(world.journal.turns)


def test_an_entry_is_guarded_and_the_turn_says_that_it_acted():
    world = World(walk(800))
    trader, agent = trader_of(world)
    enter(world, trader, agent, 300)
    assert len(world.stops()) == 1
    assert "acted" in world.journal.outcomes.values()


@pytest.mark.parametrize("seen_before", [True, False])
def test_a_position_that_the_bot_did_not_open_is_left_alone_and_the_turn_says_so(seen_before):
    world = World(walk(800))
    trader, agent = trader_of(world)
    foreign = OrderIntent("by-hand", SYMBOL, Side.BUY, OrderKind.MARKET, Purpose.ENTRY, Decimal("0.010"), 0)
    if seen_before:  # else it comes about between two looks at the account
        world.at(300)
        world.inner.send(foreign)
        trader.run_trading_cycle()
    for minute in range(301, 340):
        world.at(minute)
        agent.advice = advise(Action.SELL if minute % 2 else Action.BUY, 0.9)
        if minute == 320 and not seen_before:
            world.inner.send(foreign)
        turn = trader.run_trading_cycle()
        if turn.observation.position is not None:
            assert turn.decision.verdict is Verdict.HOLD
            assert turn.decision.reason == "Leaving the LONG position alone, which this bot did not open."
            assert not next(gate for gate in turn.decision.gates if gate.name == "halt").passed
    assert turn.observation.position is not None and not turn.observation.own
    assert world.inner.account().position(SYMBOL).quantity == Decimal("0.010")


def test_old_candles_let_nobody_in_but_everybody_out():
    world = World(walk(800))
    trader, agent = trader_of(world)
    minute = enter(world, trader, agent, 300)
    frozen = list(world.history[SYMBOL])
    world.at(minute + 10)
    world.history[SYMBOL][:] = frozen
    agent.advice = advise(Action.SELL, 0.9)
    turn = trader.run_trading_cycle()
    assert turn.decision.verdict is Verdict.CLOSE
    agent.advice = advise(Action.BUY, 0.9)
    world.at(minute + 11)
    world.history[SYMBOL][:] = frozen
    turn = trader.run_trading_cycle()
    assert turn.decision.verdict is Verdict.HOLD
    assert not next(gate for gate in turn.decision.gates if gate.name == "candle").passed


def test_the_early_stop_closes_between_two_turns_at_80_percent_of_the_stop():
    closes = [30_000.0] * 300 + [30_000.0 + 10 * i for i in range(60)]
    last = closes[-1]
    closes += [last * (1 - 0.0017 * i) for i in range(1, 20)]
    world = World(path(*closes))
    trader, _ = trader_of(world)
    world.at(345)
    position_manager = trader._position
    position_manager.reconcile(world.inner.account())
    assert position_manager.open(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "test") == ""
    entry = position_manager.trade.entry_price
    for second in range(32 * 60):
        world.at(345, second)
        if trader.needs_maintenance(world.feed.mark_price(SYMBOL)):
            trader.run_maintenance()
            break
    [trade] = world.journal.closed
    assert trade.exit_reason == "early_stop"
    fall = 1 - trade.exit_price / entry
    assert Decimal("0.0155") < fall < Decimal("0.0185")


def test_the_daily_loss_limit_closes_and_lets_nobody_in_until_midnight():
    world = World(walk(1_900, seed=3))
    world.limits = replace(world.limits, max_daily_loss_share=Decimal("0.0001"), position_share=Decimal("0.2"))
    trader, agent = trader_of(world, max_consecutive_losses=99)
    minute = enter(world, trader, agent, 300)
    while not world.journal.closed:
        minute += 1
        world.at(minute)
        trader.run_trading_cycle()
    vetoes = set()
    while world.journal.closed[-1].exit_reason != "daily_loss":
        minute = enter(world, trader, agent, minute + 1)
        before = len(world.journal.closed)
        while len(world.journal.closed) == before:
            minute += 1
            world.at(minute)
            trader.run_trading_cycle()
    for later in range(minute + 1, minute + 60):
        world.at(later)
        turn = trader.run_trading_cycle()
        vetoes.add({gate.name: gate.passed for gate in turn.decision.gates}["daily_loss"])
        assert turn.decision.verdict is Verdict.HOLD
    assert vetoes == {False}
    assert len(world.journal.limits_hit) == 1


def test_a_loss_limit_that_another_exit_has_reached_is_written_down_and_holds():
    world = World(path(*[30_000.0] * 310, *[29_900.0] * 60))
    world.limits = replace(world.limits, max_daily_loss_share=Decimal("0.00005"), position_share=Decimal("0.2"))
    trader, _ = trader_of(world)
    world.at(300)
    trader.run_trading_cycle()
    assert trader.execute_buy(Decimal(30_000), Decimal("0.010"), "test") == ""
    world.at(312)
    assert trader.close_by_hand() == "" and world.journal.limits_hit == {}
    world.at(313)
    turn = trader.run_trading_cycle()
    day = utc_day(world.clock.now_ms())
    assert list(world.journal.limits_hit) == [day] and world.journal.limits_hit[day] > 0
    assert not next(gate for gate in turn.decision.gates if gate.name == "halt").passed
    world.at(330)
    trader.run_trading_cycle()
    assert len(world.journal.limits_hit) == 1


def test_a_loss_limit_once_reached_holds_for_the_day_even_if_equity_comes_back():
    world = World(walk(800))
    trader, agent = trader_of(world)
    agent.advice = advise(Action.BUY, 0.9)
    world.at(300)
    world.journal.limit_hit(utc_day(world.clock.now_ms()), Decimal(500))
    for minute in range(300, 400):
        world.at(minute)
        decision = trader.run_trading_cycle().decision
        assert decision.verdict is Verdict.HOLD
        assert "loss limit" in next(gate.detail for gate in decision.gates if gate.name == "halt")


def test_a_tripped_breaker_stops_entries_and_not_exits():
    world = World(walk(800))
    trader, agent = trader_of(world)
    minute = enter(world, trader, agent, 300)
    world.journal.breaker_state = replace(world.journal.breaker_state, status=BreakerStatus.TRIPPED, reason="by hand")
    agent.advice = advise(Action.SELL, 0.9)
    world.at(minute + 1)
    assert trader.run_trading_cycle().decision.verdict is Verdict.CLOSE
    agent.advice = advise(Action.BUY, 0.9)
    for later in range(minute + 2, minute + 100):
        world.at(later)
        assert trader.run_trading_cycle().decision.verdict is Verdict.HOLD
    assert world.inner.account().positions == ()


@pytest.mark.parametrize("born_ms", [START_MS, START_MS + 100_000_000_000])
def test_losses_in_a_row_trip_the_breaker_whenever_the_database_was_made(born_ms):
    world = World(walk(2_000, seed=5, step_bps=3.0))
    world.journal.breaker_state = born(born_ms)
    trader, agent = trader_of(world, max_consecutive_losses=2, max_drawdown_share=0.9)
    minute = 300
    while not world.journal.breaker().tripped and minute < 1_900:
        minute += 1
        world.at(minute)
        held = world.inner.account().positions
        agent.advice = advise(Action.SELL if held else Action.BUY, 0.9)
        trader.run_trading_cycle()
    assert world.journal.breaker().trigger == "consecutive_losses"
    assert [trade.pnl < 0 for trade in world.journal.closed][-2:] == [True, True]


def test_the_agent_learns_from_turns_in_which_nothing_was_traded():
    world = World(walk(320))
    trader, agent = trader_of(world)
    for minute in range(300, 320):
        world.at(minute)
        trader.run_trading_cycle()
    assert world.journal.closed == []
    assert agent.lessons == 19


def test_an_exchange_that_is_away_halts_entries_with_the_reason_and_the_turn_is_written():
    world = World(walk(320))
    trader, _ = trader_of(world)
    world.at(300)
    world.exchange.away = True
    turn = trader.run_trading_cycle()
    halt = next(gate for gate in turn.decision.gates if gate.name == "halt")
    assert not halt.passed
    assert "no route" in halt.detail


def test_folding_candle_by_candle_equals_folding_them_all():
    candles = walk(600)
    fold, whole = IndicatorFold(), IndicatorFold()
    for count in range(1, 601):
        last = fold.look(candles[:count])
    assert last == whole.look(candles)


def test_a_missing_candle_makes_the_fold_start_anew():
    candles = walk(600)
    fold, fresh = IndicatorFold(), IndicatorFold()
    fold.look(candles[:300])
    rest = candles[310:600]
    assert fold.look(rest) == fresh.look(rest)


@pytest.mark.parametrize("direction", [Direction.LONG, Direction.SHORT])
def test_shorts_are_the_mirror_image_and_only_where_allowed(direction):
    world = World(walk(1_200))
    trader, agent = trader_of(world, DecisionRules(min_signal_strength=1, allow_short=direction is Direction.SHORT))
    agent.advice = advise(Action.SELL, 0.9)
    verdicts = set()
    for minute in range(300, 700):
        world.at(minute)
        verdicts.add(trader.run_trading_cycle().decision.verdict)
    assert (Verdict.ENTER_SHORT in verdicts) == (direction is Direction.SHORT)


def test_a_pair_that_a_person_paused_enters_nothing_and_says_by_whom():
    world = World(walk(800))
    trader, agent = trader_of(world)
    minute = enter(world, trader, agent, 300)
    agent.advice = advise(Action.SELL, 0.9)
    for each in range(minute + 1, minute + 400):
        world.at(each)
        if trader.run_trading_cycle().decision.verdict is Verdict.CLOSE:
            break
    trader.settings.pause_reason = "entries in BTCUSDT are paused by a person"
    agent.advice = advise(Action.BUY, 0.9)
    for later in range(each + 1, 790):
        world.at(later)
        decision = trader.run_trading_cycle().decision
        halt = next(gate for gate in decision.gates if gate.name == "halt")
        assert decision.verdict is Verdict.HOLD and halt.detail.endswith(trader.settings.pause_reason)
    trader.settings.pause_reason = ""
