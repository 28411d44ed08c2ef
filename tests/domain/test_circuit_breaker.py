"""Promises of the circuit breaker: anybody may stop trading, only a person lets it go on, doubt means TRIPPED."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.circuit_breaker import (
    BreakerLimits,
    BreakerState,
    BreakerStatus,
    RiskFigures,
    TripCause,
    as_row,
    born,
    evaluate,
    from_events,
    request_reset,
    reset,
    trip,
)

LIMITS = BreakerLimits()
CALM = RiskFigures()
CAUSE = TripCause("manual", "Somebody pulled the brake.")


def tripped(at_ms: int = 100) -> BreakerState:
    return trip(born(0), CAUSE, "ada", at_ms)


@pytest.mark.parametrize(
    ("trigger", "below", "at"),
    [
        ("consecutive_losses", RiskFigures(consecutive_losses=7), RiskFigures(consecutive_losses=8)),
        ("drawdown", RiskFigures(drawdown_share=0.1499), RiskFigures(drawdown_share=0.15)),
        (
            "loss_rate",
            RiskFigures(loss_rate=0.84, loss_rate_trades=30),
            RiskFigures(loss_rate=0.85, loss_rate_trades=30),
        ),
        ("exchange_errors", RiskFigures(exchange_errors=9), RiskFigures(exchange_errors=10)),
        ("stale_data", RiskFigures(stale_s=599.9), RiskFigures(stale_s=600.0)),
        ("volatility", RiskFigures(volatility_ratio=14.9), RiskFigures(volatility_ratio=15.0)),
    ],
)
def test_each_figure_trips_at_its_limit_and_not_before(trigger, below, at):
    assert evaluate(below, LIMITS) is None
    cause = evaluate(at, LIMITS)
    assert cause is not None
    assert cause.trigger == trigger
    assert cause.reason.endswith(".")


def test_a_loss_rate_over_few_trades_says_nothing():
    assert evaluate(RiskFigures(loss_rate=1.0, loss_rate_trades=29), LIMITS) is None


@pytest.mark.parametrize("name", ["drawdown_share", "stale_s", "volatility_ratio"])
def test_a_figure_that_is_no_number_trips(name):
    assert evaluate(replace(CALM, **{name: math.nan}), LIMITS) is not None


def test_a_calm_market_trips_nothing():
    assert evaluate(CALM, LIMITS) is None


def test_tripping_twice_keeps_the_first_cause_instant_and_version():
    state = tripped()
    assert state.tripped
    assert (state.trigger, state.since_ms, state.actor, state.version) == ("manual", 100, "ada", 2)
    assert trip(state, TripCause("drawdown", "Later."), "bot", 200) is state


def test_a_reset_can_be_asked_for_once_and_changes_nothing_else():
    state = request_reset(tripped(), "risk_manager", 300)
    assert state.tripped
    assert (state.reset_requested_by, state.reset_requested_ms, state.version) == ("risk_manager", 300, 3)
    assert request_reset(state, "another", 400) is state
    armed = born(0)
    assert request_reset(armed, "risk_manager", 300) is armed


def test_no_agent_resets():
    state = tripped()
    answer = reset(state, "risk_manager", False, CALM, LIMITS, 300)
    assert answer.state is state
    assert "person" in answer.refused


def test_a_person_resets_and_the_wish_for_it_is_done():
    state = request_reset(tripped(), "risk_manager", 200)
    answer = reset(state, "ada", True, CALM, LIMITS, 300)
    assert answer.refused == ""
    assert answer.state.status is BreakerStatus.ARMED
    assert (answer.state.since_ms, answer.state.actor, answer.state.version) == (300, "ada", 4)
    assert answer.state.reset_requested_by == ""


@pytest.mark.parametrize("figures", [RiskFigures(exchange_errors=10), RiskFigures(stale_s=601.0)])
def test_not_even_a_person_resets_while_the_exchange_is_still_in_trouble(figures):
    state = tripped()
    answer = reset(state, "ada", True, figures, LIMITS, 300)
    assert answer.state is state
    assert answer.refused.startswith("Not yet")


@pytest.mark.parametrize("figures", [RiskFigures(consecutive_losses=9), RiskFigures(drawdown_share=0.5)])
def test_losses_already_made_can_be_accepted_by_a_person(figures):
    """Else a tripped breaker could never be reset: nothing can win a trade while entries are blocked."""
    assert not reset(tripped(), "ada", True, figures, LIMITS, 300).state.tripped


def test_resetting_an_armed_breaker_changes_nothing():
    state = born(5)
    assert reset(state, "ada", True, CALM, LIMITS, 9) == (state, "")


def test_a_new_database_is_born_armed_and_an_empty_one_is_tripped():
    assert not from_events([as_row(born(7))], 10).tripped
    lost = from_events([], 10)
    assert lost.tripped
    assert lost.trigger == "unreadable"


states = st.builds(
    BreakerState,
    status=st.sampled_from(BreakerStatus),
    reason=st.text(max_size=20),
    trigger=st.text(max_size=10),
    since_ms=st.integers(0, 2**50),
    actor=st.text(max_size=10),
    version=st.integers(1, 10**6),
    reset_requested_by=st.text(max_size=10),
    reset_requested_ms=st.integers(0, 2**50),
)


@given(states)
def test_what_is_written_is_read_back(state):
    assert from_events([as_row(state)], 0) == state


@given(st.permutations([born(1), tripped(), request_reset(tripped(), "x", 150)]))
def test_the_event_with_the_highest_version_is_the_state(order):
    assert from_events([as_row(state) for state in order], 0).version == 3


@pytest.mark.parametrize(
    "damage",
    [
        {"status": "armed"},
        {"status": None},
        {"since_ms": "yesterday"},
        {"version": None},
        {"since_ms": None},
        {"version": "x"},
    ],
)
def test_a_damaged_event_means_tripped(damage):
    state = from_events([{**as_row(born(0)), **damage}], 50)
    assert state.tripped
    assert state.since_ms == 50


@pytest.mark.parametrize("column", list(as_row(born(0))))
def test_a_missing_column_means_tripped(column):
    row = as_row(born(0))
    del row[column]
    assert from_events([row], 50).tripped


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_consecutive_losses": 0},
        {"max_drawdown_share": 0.0},
        {"max_drawdown_share": 1.1},
        {"max_loss_rate": 0.0},
        {"loss_rate_trades": 0},
        {"max_exchange_errors": 0},
        {"error_window_s": 0},
        {"max_stale_s": 0.0},
        {"max_volatility_ratio": 1.0},
        {"max_volatility_ratio": math.nan},
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"max_|counts"):
        BreakerLimits(**wrong)


def test_without_figures_nothing_was_lost_and_more_trades_than_asked_for_count_too():
    none = RiskFigures()
    assert (none.consecutive_losses, none.exchange_errors, none.loss_rate_trades, none.stale_s) == (0, 0, 0, 0.0)
    limits = BreakerLimits(loss_rate_trades=30, max_loss_rate=0.85)
    found = evaluate(RiskFigures(loss_rate=0.9, loss_rate_trades=31), limits)
    assert found is not None and found.trigger == "loss_rate"


@pytest.mark.parametrize("wrong", [{"max_loss_rate": 1.01}, {"max_drawdown_share": 1.01}, {"max_loss_rate": 2.0}])
def test_shares_above_one_are_refused(wrong):
    with pytest.raises(ValueError, match="must lie in"):
        BreakerLimits(**wrong)
