"""Promises of the decision: every gate can stop an entry, nothing can stop an exit, and each turn says why."""

import math
from dataclasses import replace
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.market import Candle, Instrument, MarkPrice
from src.domain.portfolio import Account, Direction, Position
from src.domain.risk import RiskLimits
from src.strategy.decision import EXIT_REASONS, Decision, DecisionRules, Observation, Verdict, decide, load_rules
from src.strategy.q_agent import Action, Recommendation
from src.strategy.rules import thresholds, verdict_code
from src.strategy.signals import Signal, SignalSide
from tests.compiled import compiled

RULES, LIMITS = DecisionRules(), RiskLimits()
SHORTS = DecisionRules(allow_short=True)
NOW = 1_700_000_000_000
BTC = Instrument(
    symbol="BTCUSDT", base_asset="BTC", quote_asset="USDT", tick_size=Decimal("0.1"), step_size=Decimal("0.001"),
    min_quantity=Decimal("0.001"), max_quantity=Decimal(1000), max_market_quantity=Decimal(120),
    min_notional=Decimal(100), min_price=Decimal("556.8"), max_price=Decimal(4529764), price_precision=2,
    quantity_precision=3,
)  # fmt: skip
GATES = [
    "signal", "agent", "confidence", "breaker", "halt", "settings", "stopping", "candle", "mark", "account",
    "daily_loss", "exposure", "protection", "quantity",
]  # fmt: skip


def signal(side: str = "BUY", strength: int = 3) -> Signal:
    return Signal(SignalSide(side), strength, ())


def advice(action: Action = Action.BUY, confidence: float = 0.4) -> Recommendation:
    return Recommendation(action, confidence, 0, False, (0.0, 0.0, 0.0))


def mark(price: str = "30000", time_ms: int = NOW - 1_000) -> MarkPrice:
    return MarkPrice("BTCUSDT", Decimal(price), Decimal(price), Decimal("0.0001"), NOW + 1, time_ms)


def account(*positions: Position, wallet: str = "10000") -> Account:
    unrealized = sum((each.unrealized_pnl for each in positions), Decimal(0))
    return Account(Decimal(wallet), Decimal(wallet), unrealized, NOW - 5_000, positions)


def position(direction: Direction = Direction.LONG, entry: str = "30000", quantity: str = "0.166") -> Position:
    price = Decimal(entry)
    return Position("BTCUSDT", direction, Decimal(quantity), price, price, Decimal(0), 10, None, NOW - 5_000)


READY_TO_BUY = Observation(
    symbol="BTCUSDT", now_ms=NOW, candle=Candle(NOW - 65_000, 30_000, 30_010, 29_990, 30_000, 5.0), mark=mark(),
    account=account(), position=None, indicators=None, signal=signal(), recommendation=advice(), context=None,
    breaker_tripped=False, breaker_reason="", halt_reason="", day_start_equity=Decimal(10_000),
    position_opened_ms=None, stopping=False, instrument=BTC,
)  # fmt: skip
READY_TO_SELL = replace(READY_TO_BUY, signal=signal("SELL"), recommendation=advice(Action.SELL))
QUIET = replace(READY_TO_BUY, signal=signal("HOLD", 1), recommendation=advice(Action.HOLD, 0.9))


def holding(price: str, direction: Direction = Direction.LONG, **changes: object) -> Observation:
    """Return an observation with a position entered at 30,000, a mark price of ``price`` and a quiet market."""
    held = position(direction)
    return replace(QUIET, position=held, account=account(held), mark=mark(price), **changes)


def other_exposure(margin: str) -> Account:
    """Return an account whose position in another contract binds ``margin``."""
    price = Decimal(1_000)
    quantity = Decimal(margin) * 10 / price
    return account(Position("ETHUSDT", Direction.LONG, quantity, price, price, Decimal(0), 10, None, NOW - 5_000))


def failed(decision: Decision) -> list[str]:
    return [gate.name for gate in decision.gates if not gate.passed]


@pytest.mark.parametrize("market", [READY_TO_BUY, READY_TO_SELL, QUIET])
@pytest.mark.parametrize("direction", list(Direction))
def test_a_foreign_position_is_neither_closed_nor_joined_whatever_the_market_says(market, direction):
    rules = replace(RULES, allow_short=True)
    for price in ("20000", "30000", "40000"):  # far over the stop, the target and the day's limit
        held = position(direction)
        seen = replace(market, position=held, account=account(held), mark=mark(price), own=False)
        decision = decide(seen, rules, LIMITS)
        assert decision.verdict is Verdict.HOLD and "halt" in failed(decision)
        assert "which this bot did not open" in decision.reason


def test_enters_long_when_everything_agrees():
    decision = decide(READY_TO_BUY, RULES, LIMITS)
    assert decision.verdict is Verdict.ENTER_LONG
    assert decision.quantity == Decimal("0.166")  # 10,000 x 5 % x 10 / 30,000, down to the step
    assert (decision.veto, decision.exit_reason) == (None, "")
    assert [gate.name for gate in decision.gates] == GATES
    assert failed(decision) == []


STOPPERS = {
    "signal": {"signal": signal("BUY", 2)},
    "agent": {"recommendation": advice(Action.HOLD, 0.9)},
    "confidence": {"recommendation": advice(Action.BUY, 0.3)},
    "breaker": {"breaker_tripped": True, "breaker_reason": "8 trades in a row lost money."},
    "halt": {"halt_reason": "an order's outcome is unknown"},
    "settings": {"settings_reason": "the leverage is another"},
    "stopping": {"stopping": True},
    "candle": {"candle": READY_TO_BUY.candle._replace(open_ms=NOW - 150_001)},
    "mark": {"mark": mark(time_ms=NOW - 30_001)},
    "account": {"account": replace(account(), as_of_ms=NOW - 900_001)},
    "daily_loss": {"account": account(wallet="9500")},
    "exposure": {"account": other_exposure("1502.1")},
    "protection": {"instrument": replace(BTC, max_price=Decimal(30_500))},
    "quantity": {"instrument": replace(BTC, min_notional=Decimal(5_001))},
}


@pytest.mark.parametrize("gate", GATES)
def test_each_gate_alone_stops_the_entry_and_is_the_only_one_that_failed(gate):
    decision = decide(replace(READY_TO_BUY, **STOPPERS[gate]), RULES, LIMITS)
    assert decision.verdict is Verdict.HOLD
    assert failed(decision) == [gate]
    assert decision.veto == (None if gate == "signal" else gate)
    assert decision.quantity == 0
    assert decision.reason.endswith(".")


@pytest.mark.parametrize(
    "at_the_edge",
    [
        {"recommendation": advice(Action.BUY, 0.3000001)},
        {"candle": READY_TO_BUY.candle._replace(open_ms=NOW - 150_000)},
        {"mark": mark(time_ms=NOW - 30_000)},
        {"account": replace(account(), as_of_ms=NOW - 900_000)},
        {"account": account(wallet="9500.01")},
        {"account": other_exposure("1502")},
    ],
)
def test_just_inside_each_limit_the_entry_passes(at_the_edge):
    assert decide(replace(READY_TO_BUY, **at_the_edge), RULES, LIMITS).verdict is Verdict.ENTER_LONG


@pytest.mark.parametrize("unknown", ["candle", "mark", "account", "day_start_equity"])
def test_what_is_unknown_makes_no_entry(unknown):
    decision = decide(replace(READY_TO_BUY, **{unknown: None}), RULES, LIMITS)
    assert decision.verdict is Verdict.HOLD
    assert failed(decision)


def test_an_instant_far_in_the_future_is_no_fresher_than_one_in_the_past():
    assert failed(decide(replace(READY_TO_BUY, mark=mark(time_ms=NOW + 30_001)), RULES, LIMITS)) == ["mark"]


def test_margin_that_is_not_available_stops_the_entry():
    poor = replace(account(), available_balance=Decimal(497))
    assert failed(decide(replace(READY_TO_BUY, account=poor), RULES, LIMITS)) == ["exposure"]


def test_all_gates_are_listed_also_when_nothing_was_wanted():
    decision = decide(replace(QUIET, breaker_tripped=True, stopping=True), RULES, LIMITS)
    assert [gate.name for gate in decision.gates] == GATES
    assert failed(decision) == ["signal", "agent", "breaker", "stopping"]
    assert decision.veto is None
    assert "Waiting for a strong signal" in decision.reason


def test_a_strong_sell_when_flat_is_no_entry_while_shorts_are_off():
    decision = decide(READY_TO_SELL, RULES, LIMITS)
    assert (decision.verdict, decision.veto) == (Verdict.HOLD, None)
    assert "short positions are off" in decision.reason


def test_with_shorts_allowed_selling_is_the_mirror_image():
    decision = decide(READY_TO_SELL, SHORTS, LIMITS)
    assert decision.verdict is Verdict.ENTER_SHORT
    assert decision.quantity == decide(READY_TO_BUY, SHORTS, LIMITS).quantity
    assert failed(decision) == []


@pytest.mark.parametrize(("side", "action"), product(("BUY", "SELL"), (Action.HOLD, Action.BUY, Action.SELL)))
def test_signal_and_agent_must_name_the_same_side(side, action):
    seen = replace(READY_TO_BUY, signal=signal(side), recommendation=advice(action))
    verdict = decide(seen, SHORTS, LIMITS).verdict
    expected = {("BUY", Action.BUY): Verdict.ENTER_LONG, ("SELL", Action.SELL): Verdict.ENTER_SHORT}
    assert verdict is expected.get((side, action), Verdict.HOLD)


LONG_EXITS = [
    ("29999.9", signal("HOLD", 1), advice(Action.HOLD), "cut_loss"),
    ("29999.9", signal("SELL", 2), advice(Action.HOLD), "cut_loss"),
    ("29999.9", signal("BUY", 2), advice(Action.HOLD), ""),
    ("30000", signal("HOLD", 1), advice(Action.HOLD), ""),
    ("30000.1", signal("HOLD", 1), advice(Action.HOLD), ""),
    ("30000.1", signal("SELL", 2), advice(Action.HOLD), ""),
    ("30000.1", signal("SELL", 3), advice(Action.BUY, 0.9), "signal_sell"),
    ("30000.1", signal("BUY", 4), advice(Action.SELL, 0.51), "agent_sell"),
    ("30000.1", signal("BUY", 4), advice(Action.SELL, 0.5), ""),
    ("29520.1", signal("BUY", 4), advice(), ""),
    ("29520", signal("BUY", 4), advice(), "early_stop"),
    ("29400", signal("BUY", 4), advice(), "stop_loss"),
    ("31499.9", signal("BUY", 4), advice(), ""),
    ("31500", signal("BUY", 4), advice(), "take_profit"),
]


@pytest.mark.parametrize(("price", "market", "agent", "reason"), LONG_EXITS)
def test_a_long_position_is_closed_by_the_rule_and_kept_otherwise(price, market, agent, reason):
    decision = decide(holding(price, signal=market, recommendation=agent), RULES, LIMITS)
    assert decision.verdict is (Verdict.CLOSE if reason else Verdict.HOLD)
    assert decision.exit_reason == reason
    assert decision.quantity == (Decimal("0.166") if reason else 0)


OTHER_SIDE = {"BUY": "SELL", "SELL": "BUY", "HOLD": "HOLD"}
OTHER_ACTION = {Action.BUY: Action.SELL, Action.SELL: Action.BUY, Action.HOLD: Action.HOLD}


@pytest.mark.parametrize(("price", "market", "agent", "reason"), LONG_EXITS)
def test_a_short_position_is_closed_by_the_mirrored_rule(price, market, agent, reason):
    seen = holding(
        str(60_000 - Decimal(price)),
        Direction.SHORT,
        signal=signal(OTHER_SIDE[market.side], market.strength),
        recommendation=advice(OTHER_ACTION[agent.action], agent.confidence),
    )
    assert decide(seen, RULES, LIMITS).exit_reason == reason.replace("_sell", "_buy")


def test_no_veto_holds_a_position_open():
    """Tripped, halted, stopping, everything stale or unknown: the exit passes all the same."""
    blocked = {
        "breaker_tripped": True, "halt_reason": "paused", "settings_reason": "hedge mode", "stopping": True,
        "day_start_equity": None, "account": None, "candle": None, "mark": mark("29000", NOW - 10**7),
    }  # fmt: skip
    assert decide(replace(holding("29000"), **blocked), RULES, LIMITS).exit_reason == "stop_loss"


def test_without_any_price_only_signal_agent_and_daily_loss_close():
    blind = replace(holding("30000"), mark=None, candle=None)
    assert decide(blind, RULES, LIMITS).verdict is Verdict.HOLD
    assert "no price is known" in decide(blind, RULES, LIMITS).reason
    assert decide(replace(blind, signal=signal("SELL", 3)), RULES, LIMITS).exit_reason == "signal_sell"


def test_an_old_mark_price_gives_way_to_the_last_close():
    seen = replace(holding("30100"), mark=mark("30100", NOW - 60_000))
    falling = replace(seen, candle=seen.candle._replace(close=29_900.0))
    assert decide(falling, RULES, LIMITS).exit_reason == "cut_loss"


def test_the_daily_loss_closes_at_its_limit_at_the_present_mark_price():
    """The account's own figure is older than the mark price: 9,600 start, then 0.166 fall by 100 and cross 5 %."""
    held = position(entry="30000")
    seen = replace(holding("29899"), account=account(held, wallet="9516.76"), signal=signal("BUY", 4))
    assert decide(seen, RULES, LIMITS).exit_reason == "daily_loss"
    assert decide(replace(seen, mark=mark("29900")), RULES, LIMITS).verdict is Verdict.HOLD


def test_a_young_position_waits_for_judgement_but_not_for_risk():
    service_state = DecisionRules(min_holding_ms=300_000)
    young = NOW - 299_999
    assert decide(holding("29999", position_opened_ms=young), service_state, LIMITS).verdict is Verdict.HOLD
    assert decide(holding("29999", position_opened_ms=NOW - 300_000), service_state, LIMITS).exit_reason == "cut_loss"
    assert decide(holding("29999", position_opened_ms=None), service_state, LIMITS).exit_reason == "cut_loss"
    assert decide(holding("29500", position_opened_ms=young), service_state, LIMITS).exit_reason == "early_stop"


def test_cutting_losses_can_be_switched_off():
    assert decide(holding("29900"), DecisionRules(cut_losses_on_hold=False), LIMITS).verdict is Verdict.HOLD


observations = st.builds(
    replace,
    st.sampled_from([READY_TO_BUY, READY_TO_SELL, QUIET]),
    signal=st.builds(signal, st.sampled_from(["BUY", "SELL", "HOLD"]), st.integers(0, 6)),
    recommendation=st.builds(advice, st.sampled_from(Action), st.floats(0, 1)),
    breaker_tripped=st.booleans(),
    halt_reason=st.sampled_from(["", "", "", "paused"]),
    stopping=st.sampled_from([False, False, False, True]),
    mark=st.one_of(st.none(), st.builds(mark, st.sampled_from(["30000", "0.0001"]), st.integers(NOW - 40_000, NOW))),
    account=st.one_of(st.none(), st.builds(lambda w: account(wallet=str(w)), st.integers(-10, 20_000))),
)


@given(observations, st.booleans())
def test_flat_an_entry_is_made_exactly_when_every_gate_is_passed(seen, shorts):
    decision = decide(seen, replace(RULES, allow_short=shorts), LIMITS)
    entered = decision.verdict in (Verdict.ENTER_LONG, Verdict.ENTER_SHORT)
    assert entered == all(gate.passed for gate in decision.gates)
    assert [gate.name for gate in decision.gates] == GATES
    assert (decision.quantity > 0) == entered
    assert decision.verdict is not Verdict.CLOSE
    assert shorts or decision.verdict is not Verdict.ENTER_SHORT
    if decision.veto:
        assert decision.veto == failed(decision)[0]


@given(observations, st.sampled_from(Direction), st.sampled_from(["20000", "29999", "30000", "30001", "40000"]))
def test_in_a_position_there_is_no_entry_and_no_gate(seen, direction, price):
    held = position(direction)
    decision = decide(replace(seen, position=held, mark=mark(price)), SHORTS, LIMITS)
    assert decision.verdict in (Verdict.HOLD, Verdict.CLOSE)
    assert decision.gates == ()
    assert decision.veto is None
    if decision.verdict is Verdict.CLOSE:
        assert decision.quantity == held.quantity
        assert decision.exit_reason.replace("_buy", "_sell") in EXIT_REASONS


@given(observations)
def test_the_same_observation_gives_the_same_decision(seen):
    assert decide(seen, RULES, LIMITS) == decide(seen, RULES, LIMITS)


def test_the_file_of_the_spec_s_rule_says_what_the_defaults_say():
    text = (Path(__file__).resolve().parents[2] / "config/rules/safety_first.toml").read_text(encoding="utf-8")
    rules = load_rules(text)
    assert replace(rules, description="", shown="") == DecisionRules()
    assert rules.description


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("min_signal_strenght = 3", "unknown rule min_signal_strenght"),
        ("[entry]\nmin_confidence = 0.3", "unknown rule entry"),
        ("min_signal_strength = 7", "min_signal_strength"),
        ("min_signal_strength = 3.0", "must be of kind int"),
        ("min_signal_strength = true", "must be of kind int"),
        ("allow_short = 1", "must be of kind bool"),
        ("min_confidence = 1.5", "min_confidence"),
        ("exit_confidence = nan", "exit_confidence"),
        ("max_mark_age_ms = 0", "max_mark_age_ms"),
        ("min_holding_ms = -1", "min_holding_ms"),
        ("min_confidence = ", "Invalid value"),
    ],
)
def test_rules_that_make_no_sense_are_refused_with_their_name(text, problem):
    with pytest.raises(ValueError, match=problem):
        load_rules(text)


def test_rules_left_out_keep_their_defaults_and_whole_numbers_serve_as_shares():
    assert load_rules("min_confidence = 0\nallow_short = true") == DecisionRules(min_confidence=0, allow_short=True)


@pytest.mark.long
def test_compiled_verdicts_equal_the_plain_ones():
    fast = compiled(verdict_code)
    rules = [RULES, SHORTS, DecisionRules(min_holding_ms=60_000), DecisionRules(cut_losses_on_hold=False)]
    moves = (math.nan, -0.02, -0.016, -0.0159, -1e-9, 0.0, 1e-9, 0.0499, 0.05)
    for each in rules:
        t = thresholds(each, LIMITS)
        for sign, move, held, side, strength, action, confidence, flag in product(
            (-1, 0, 1),
            moves,
            (0, 60_000),
            (-1, 0, 1),
            (0, 2, 3, 6),
            (-1, 0, 1),
            (0.0, 0.3, 0.31, 0.5, 0.51),
            (True, False),
        ):
            arguments = (sign, move, held, side, strength, action, confidence, flag, not flag, t)
            assert fast(*arguments) == verdict_code(*arguments)
