"""What a set of rules beyond the spec's may change, and what it may not: never a larger risk, never a lost veto."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.risk import RiskLimits
from src.runtime.settings import PROJECT_ROOT
from src.strategy.decision import Verdict, decide
from src.strategy.indicators import NOT_READY
from src.strategy.q_agent import Action
from src.strategy.rules import DecisionRules, limits_under, load_rules, size_factor, thresholds
from src.strategy.signals import generate_signal, signal_code
from src.strategy.target_rules import is_target_rules
from src.strategy.votes import VOTE_NAMES, votes_mask
from tests.strategy.test_decision import LIMITS, READY_TO_BUY, advice, position, signal

CONSENTING = DecisionRules(agent_must_agree=False)
BUYING = NOT_READY._replace(
    rsi=75.0, macd=1.0, macd_signal=0.5, macd_histogram=0.5, ema_9=29_900.0, ema_21=29_800.0, ema_50=29_700.0,
    ema_200=29_000.0, sma_20=29_800.0, bollinger_upper=29_950.0, bollinger_middle=29_800.0, bollinger_lower=29_600.0,
    atr=300.0, vwap=29_900.0, stochastic_k=90.0, stochastic_d=90.0, volume_mean=5.0, adx=30.0, close=30_000.0,
    volume=5.0,
)  # fmt: skip
"""A strong rise: three votes follow it, two (RSI, Bollinger) bet against it."""


RULE_SETS = [
    path for path in sorted((PROJECT_ROOT / "config" / "rules").glob("*.toml")) if not is_target_rules(path.read_text())
]


@pytest.mark.parametrize("path", RULE_SETS, ids=lambda path: path.stem)
def test_every_set_of_rules_in_the_project_can_be_read_and_bears_its_file_s_name(path):
    rules = load_rules(path.read_text(encoding="utf-8"))
    assert rules.name == path.stem and rules.description
    assert rules.stop_scale * rules.size_scale <= 1.0, "a stop would cost more than the account's limits allow"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('candle_interval = "7m"', "candle_interval must be one of"),
        ("candle_interval = 5", "must be of kind str"),
        ('votes = ["rsi", "moon"]', "votes must be some of"),
        ('votes = ["rsi", "rsi"]', "each once"),
        ("votes = []", "votes must be some of"),
        ('votes = "rsi"', "must be of kind list"),
        ('trend_intervals = ["1m"]', "trend_intervals must be at most 2 of 3m, 5m"),
        ('trend_intervals = ["1h", "1h"]', "each once"),
        ('trend_intervals = ["15m", "1h", "4h"]', "at most 2"),
        ('candle_interval = "4h"\ntrend_intervals = ["6h"]', "at most 2 of 8h, 12h, 1d"),
        ("exit_signal_strength = 7", "exit_signal_strength"),
        ("size_scale = 1.5", "size_scale"),
        ("stop_scale = 0.5", "stop_scale"),
        ("calm_volatility_share = 1.0", "calm_volatility_share"),
    ],
)
def test_rules_beyond_the_spec_s_are_refused_where_they_make_no_sense(text, problem):
    with pytest.raises(ValueError, match=problem):
        load_rules(text)


def test_the_defaults_change_nothing():
    assert limits_under(DecisionRules(), LIMITS) == LIMITS
    assert size_factor(DecisionRules(), 0.5) == 1
    assert thresholds(DecisionRules(), LIMITS).exit_signal_strength == 3
    assert generate_signal(BUYING) == generate_signal(BUYING, VOTE_NAMES)


def test_a_wider_stop_comes_with_a_smaller_position():
    scaled = limits_under(DecisionRules(stop_scale=2.5, target_scale=3.0, size_scale=0.4), LIMITS)
    assert (scaled.stop_loss_share, scaled.take_profit_share) == (Decimal("0.05"), Decimal("0.15"))
    assert scaled.position_share * scaled.stop_loss_share == LIMITS.position_share * LIMITS.stop_loss_share
    assert scaled.max_daily_loss_share == LIMITS.max_daily_loss_share


def test_a_widened_stop_stays_before_liquidation_and_a_given_one_is_not_narrowed():
    assert limits_under(DecisionRules(stop_scale=10.0), RiskLimits(leverage=20)).stop_loss_share == Decimal("0.04")
    wide = RiskLimits(leverage=50, stop_loss_share=Decimal("0.03"))
    assert limits_under(DecisionRules(stop_scale=2.0), wide).stop_loss_share == Decimal("0.03")


@given(st.floats(1e-6, 0.99), st.just(0.0) | st.floats(1e-4, 0.5))
def test_a_wilder_market_never_makes_a_larger_position(volatility, calm):
    rules = DecisionRules(calm_volatility_share=calm)
    calmer, wilder = size_factor(rules, volatility / 2), size_factor(rules, volatility)
    assert 0 < wilder <= calmer <= 1


def test_size_shrinks_in_proportion_and_an_unknown_volatility_leaves_it():
    rules = DecisionRules(calm_volatility_share=0.01)
    assert size_factor(rules, 0.04) == Decimal("0.25")
    assert size_factor(rules, 0.01) == size_factor(rules, float("nan")) == 1
    seen = replace(READY_TO_BUY, indicators=BUYING._replace(atr=1_200.0))
    whole, quarter = (decide(seen, each, LIMITS).quantity for each in (DecisionRules(), rules))
    assert (whole, quarter) == (Decimal("0.166"), Decimal("0.041"))


@pytest.mark.parametrize(
    ("action", "confidence", "verdict"),
    [
        (Action.BUY, 0.9, Verdict.ENTER_LONG),
        (Action.HOLD, 0.0, Verdict.ENTER_LONG),
        (Action.HOLD, 0.31, Verdict.HOLD),
        (Action.SELL, 0.3, Verdict.ENTER_LONG),
        (Action.SELL, 0.31, Verdict.HOLD),
    ],
)
def test_an_agent_that_need_not_agree_can_still_forbid(action, confidence, verdict):
    seen = replace(READY_TO_BUY, recommendation=advice(action, confidence))
    decision = decide(seen, CONSENTING, LIMITS)
    assert decision.verdict is verdict
    assert decision.veto == (None if verdict is Verdict.ENTER_LONG else "agent")


def test_a_refused_model_stops_entries_that_need_no_agreement():
    seen = replace(READY_TO_BUY, recommendation=advice(Action.HOLD, 0.0), halt_reason="the model was refused")
    assert decide(seen, CONSENTING, LIMITS).veto == "halt"


def test_it_takes_fewer_votes_to_leave_than_to_enter_where_the_rules_say_so():
    held = replace(READY_TO_BUY, position=position(), position_opened_ms=0, signal=signal("SELL", 2))
    service_state = DecisionRules(exit_signal_strength=2, cut_losses_on_hold=False)
    assert decide(held, service_state, LIMITS).exit_reason == "signal_sell"
    assert decide(held, replace(service_state, exit_signal_strength=0), LIMITS).verdict is Verdict.HOLD


def test_only_the_votes_that_count_make_the_signal_and_the_others_say_what_they_were():
    every, trend = generate_signal(BUYING), generate_signal(BUYING, ("macd", "ema", "trend"))
    assert (every.side.sign, every.strength) == (1, 3)
    assert every.counts == (3, 2) and trend.counts == (3, 0)
    against = generate_signal(BUYING, ("rsi", "bollinger"))
    assert (against.side.sign, against.strength) == (-1, 2)
    assert [vote.because for vote in trend.votes if "not counted: -1" in vote.because] == [
        "RSI 75.0 (not counted: -1)",
        "close 30000 in bands 29600 to 29950 (not counted: -1)",
    ]


@given(st.tuples(*[st.integers(-1, 1)] * 6), st.sets(st.sampled_from(VOTE_NAMES), min_size=1))
def test_the_signal_of_some_votes_is_the_signal_of_those_alone(votes, names):
    alone = tuple(vote for name, vote in zip(VOTE_NAMES, votes, strict=True) if name in names)
    every = votes_mask(VOTE_NAMES)
    assert signal_code(votes, votes_mask(tuple(names))) == signal_code((*alone, *[0] * (6 - len(alone))), every)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("take_partial = [0.03, 0.5]", "list of pairs of move and part"),
        ("take_partial = [[0.03]]", "list of pairs of move and part"),
        ("take_partial = [[0.03, true]]", "list of pairs of move and part"),
        ("take_partial = [[0.03, 1.0]]", "less than 1"),
        ("trailing_stop_share = 1.2", "trailing_stop_share must lie in"),
        ("trailing_after_share = 0.01", "needs a trailing_stop_share"),
        ("min_holding_ms = 60000\nmax_holding_ms = 60000", "above min_holding_ms"),
        ("max_holding_ms = 1.5", "max_holding_ms must be of kind int"),
    ],
)
def test_exits_that_cannot_be_are_refused_when_the_set_is_read(text, problem):
    with pytest.raises(ValueError, match=problem):
        load_rules(text)


def test_exits_are_read_exactly():
    exits = load_rules("trailing_stop_share = 0.006\ntake_partial = [[0.012, 0.5], [1e-1, 0.1]]").exits
    assert exits.trailing_stop_share == Decimal("0.006")
    assert exits.take_partial == ((Decimal("0.012"), Decimal("0.5")), (Decimal("0.1"), Decimal("0.1")))
