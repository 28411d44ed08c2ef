"""What the exchange has set for a pair is compared before an entry, by the live trader on the real venue."""

from dataclasses import replace
from decimal import Decimal

import pytest

from src.domain.orders import OrderKind
from src.domain.portfolio import Direction
from src.domain.ports import AccountTerms
from src.paper_exchange.listing import changed
from src.paper_exchange.model import OrderRequest
from src.strategy.decision import Verdict
from src.strategy.q_agent import Action
from tests.execution.test_trader import advise, trader_of
from tests.world import START_MS, SYMBOL, World, walk

OWNER = "bot"


@pytest.fixture
def world() -> World:
    return World(walk(600))


def turns_until_entry(world: World, minutes: range, **breaker):
    """Turn each minute with an agent that wants to buy; return the trader, its turns and whether it holds anything."""
    trader, agent = trader_of(world, **breaker)
    agent.advice = advise(Action.BUY, 0.9)
    turns = []
    for minute in minutes:
        world.at(minute)
        turns.append(trader.run_trading_cycle())
        if world.inner.account().position(SYMBOL) is not None:
            break
    return trader, turns


def entered(turns) -> bool:
    return any(turn.decision.verdict is Verdict.ENTER_LONG for turn in turns)


def held(world: World):
    return world.inner.account().position(SYMBOL)


@pytest.mark.parametrize("leverage", [1, 3, 20, 125])
def test_a_leverage_changed_by_hand_while_flat_is_set_right_before_the_next_entry(world, leverage):
    trader, _ = trader_of(world)
    world.at(250)
    trader.run_trading_cycle()
    world.venue.set_leverage(OWNER, SYMBOL, leverage)
    _, turns = turns_until_entry(world, range(251, 500))
    position = held(world)
    assert entered(turns)
    assert position.leverage == world.limits.leverage
    margin = position.quantity * position.entry_price / position.leverage
    assert margin <= Decimal("500.5")  # 5 % of 10,000
    (start,) = world.journal.open_trades(SYMBOL)
    assert start.trade.leverage == position.leverage


@pytest.mark.parametrize(
    "change",
    [
        lambda venue: venue.set_position_mode(OWNER, True),
        lambda venue: venue.set_margin_type(OWNER, SYMBOL, "ISOLATED"),
    ],
    ids=["hedge mode", "margin type"],
)
def test_a_mode_changed_by_hand_while_flat_is_set_right_before_the_next_entry(world, change):
    change(world.venue)
    _, turns = turns_until_entry(world, range(250, 500))
    assert entered(turns)
    assert held(world).margin_type == "CROSSED"
    assert world.inner.ask_terms(SYMBOL) == AccountTerms(10, "CROSSED", True, True)


def rest_an_order(world: World, position_side: str = "BOTH") -> None:
    """Place a limit order of the owner's far below the market: with it no mode can be changed."""
    price = (world.venue.last_price(SYMBOL) * Decimal("0.96")).quantize(Decimal("0.1"))
    request = OrderRequest(
        symbol=SYMBOL,
        side="BUY",
        type="LIMIT",
        quantity=Decimal("0.010"),
        price=price,
        time_in_force="GTC",
        position_side=position_side,
    )
    world.venue.place_order(OWNER, request)


@pytest.mark.parametrize(
    ("change", "leg", "words"),
    [
        (lambda venue: venue.set_position_mode(OWNER, True), "LONG", ("hedge mode", "one-way", "(-4067)")),
        (
            lambda venue: venue.set_margin_type(OWNER, SYMBOL, "ISOLATED"),
            "BOTH",
            ("margin type of BTCUSDT at the exchange is ISOLATED, MARGIN_TYPE says CROSSED", "(-4047)"),
        ),
    ],
    ids=["hedge mode", "margin type"],
)
def test_what_cannot_be_set_right_refuses_entries_by_name_and_asks_seldom(world, change, leg, words):
    world.at(249)
    change(world.venue)
    rest_an_order(world, leg)
    _, turns = turns_until_entry(world, range(250, 370))
    assert held(world) is None
    assert world.exchange.sent == []
    reasons = {turn.observation.settings_reason for turn in turns}
    assert len(reasons) == 1
    assert all(word in next(iter(reasons)) for word in words)
    assert "settings" in {turn.decision.veto for turn in turns}
    asked = world.exchange.calls.count("ask_terms")
    assert asked <= 2 * 20  # two hours: after 1, 2, 4, 8 and then every 10 minutes
    world.venue.cancel_all(OWNER, SYMBOL)
    _, turns = turns_until_entry(world, range(400, 590))
    assert entered(turns)


def test_multi_assets_mode_refuses_entries_until_it_is_switched_off(world):
    world.venue.set_multi_assets(OWNER, True)
    trader, turns = turns_until_entry(world, range(250, 300))
    assert held(world) is None
    assert all("multi-assets mode" in turn.observation.settings_reason for turn in turns)
    world.venue.set_multi_assets(OWNER, False)
    for minute in range(300, 312):
        world.at(minute)
        trader.run_trading_cycle()
    assert trader.run_trading_cycle().observation.settings_reason == ""


def test_with_a_position_open_nothing_is_set_and_its_exits_go_on(world):
    trader, turns = turns_until_entry(world, range(250, 500))
    assert entered(turns)
    world.venue.set_leverage(OWNER, SYMBOL, 20)
    world.settings.replace_leverage(5)
    world.at(turns[-1].observation.now_ms // 60_000 - START_MS // 60_000 + 1)
    turn = trader.run_trading_cycle()
    assert "leverage of BTCUSDT at the exchange is 20, LEVERAGE says 5" in turn.observation.settings_reason
    assert held(world).leverage == 20
    assert trader.execute_sell(world.feed.mark_price(SYMBOL).mark, "by_hand")
    assert held(world) is None


def contract_of(world: World, **changes):
    return changed(world.venue.contracts[SYMBOL], changes)


def test_a_tick_changed_between_entry_and_stop_costs_no_round_trip(world):
    """The entry is filled, the stop is refused by the new tick (-4014): it is placed anew on it, at once."""
    world.at(300)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    world.venue.change_contract(SYMBOL, contract_of(world, tick_size="5"))
    before_ms = world.clock.now_ms()
    assert position_manager.open(Direction.LONG, Decimal("0.010"), before_ms, "test") == ""
    assert world.clock.now_ms() - before_ms <= 1_000
    (stop,) = world.stops()
    assert stop.trigger_price % 5 == 0
    assert position_manager.trade.stop_price is not None
    assert held(world).quantity == Decimal("0.010")
    fills = world.inner.fills(SYMBOL, before_ms)
    assert [fill.side for fill in fills] == ["BUY"] * len(fills)


def test_a_stop_that_is_placed_again_stands_on_the_present_tick(world):
    world.at(300)
    position_manager = world.position_manager()
    position_manager.reconcile(world.inner.account())
    position_manager.open(Direction.LONG, Decimal("0.010"), world.clock.now_ms(), "test")
    old = position_manager.trade.stop_price
    world.venue.change_contract(SYMBOL, contract_of(world, tick_size="7"))
    for order in world.stops():
        world.inner.cancel(order)
    position_manager.request_reconcile()
    world.at(301)
    position_manager.reconcile(world.inner.account())
    (stop,) = world.stops()
    assert stop.trigger_price % 7 == 0
    assert 0 <= stop.trigger_price - old < 7
    assert held(world) is not None


@pytest.mark.parametrize(
    ("changes", "divides"),
    [({"step_size": "0.010"}, Decimal("0.010")), ({"max_market_quantity": "0.050"}, Decimal("0.050"))],
    ids=["step", "largest order"],
)
def test_a_size_rule_changed_while_running_costs_one_refusal_at_most(world, changes, divides):
    trader, _ = trader_of(world)
    world.at(250)
    trader.run_trading_cycle()
    world.venue.change_contract(SYMBOL, contract_of(world, **changes))
    _, turns = turns_until_entry(world, range(251, 560))
    assert entered(turns)
    assert held(world).quantity % divides == 0
    refused = [intent for intent in world.exchange.sent if intent.kind is OrderKind.MARKET]
    assert len(refused) <= 2


def test_a_contract_that_stops_trading_is_not_entered_and_asked_for_seldom(world):
    world.venue.change_contract(SYMBOL, contract_of(world, status="SETTLING"))
    _, turns = turns_until_entry(world, range(250, 310))
    assert held(world) is None
    assert all("status SETTLING" in turn.observation.settings_reason for turn in turns[1:])
    assert [intent.kind for intent in world.exchange.sent] == []


def test_a_refusal_that_nothing_explains_is_followed_by_a_growing_pause(world):
    """The bracket does not allow the size at this leverage (-2027): no order each turn for ever."""
    world.limits = replace(world.limits, leverage=125, position_share=Decimal("0.19"))
    world.venue.set_leverage(OWNER, SYMBOL, 125)
    world.settings.replace_leverage(125)
    contract = world.venue.contracts[SYMBOL]
    narrow = replace(contract.brackets[0], cap=Decimal(1_000))
    rest = replace(contract.brackets[1], max_leverage=100, floor=Decimal(1_000))
    world.venue.change_contract(SYMBOL, replace(contract, brackets=(narrow, rest, *contract.brackets[2:])))
    _, turns = turns_until_entry(world, range(250, 490))
    assert held(world) is None
    entries = [each for each in world.exchange.sent if not each.kind.conditional]
    assert 2 <= len(entries) <= 9  # after 1, 2, 4, ... 60 minutes of four hours
    assert any("(-2027)" in turn.observation.settings_reason for turn in turns)
