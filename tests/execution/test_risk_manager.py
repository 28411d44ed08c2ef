"""The risk that all pairs share: at each limit, just below it, and after it (S5, S6)."""

from dataclasses import replace
from decimal import Decimal

import pytest

from src.domain.circuit_breaker import BreakerLimits, BreakerState, BreakerStatus, born
from src.domain.clock import DAY_MS, MINUTE_MS, ManualClock
from src.domain.market import Candle
from src.domain.portfolio import Account, Direction, Trade
from src.domain.risk import ActiveLimits, RiskLimits
from src.execution.journal import InMemoryJournal
from src.execution.risk_manager import RiskManager
from src.strategy.indicators import Indicators
from tests.world import START_MS

LIMITS = RiskLimits(max_daily_loss_share=Decimal("0.05"))

EMPTY_INDICATORS = Indicators(*[1.0] * len(Indicators._fields))


class Desk:
    """A risk manager, its clock and its journal."""

    def __init__(self, **breaker: object) -> None:
        self.clock = ManualClock(START_MS)
        self.journal = InMemoryJournal(born(START_MS))
        self.limits = BreakerLimits(**breaker)
        self.order_manager = RiskManager(self.journal, self.clock, ActiveLimits(LIMITS), self.limits, MINUTE_MS)

    def account(self, equity: str, transferred: str = "0") -> Account:
        return Account(
            Decimal(equity), Decimal(equity), Decimal(0), self.clock.now_ms(), transferred=Decimal(transferred)
        )

    def later(self, seconds: float) -> None:
        self.clock.advance_to(self.clock.now_ms() + int(seconds * 1_000))

    def close(self, *pnls: str) -> None:
        """Close trades with these results, after fees."""
        for pnl in pnls:
            self.later(1)
            count = len(self.journal.closed)
            self.journal.close_trade(
                Trade(
                    "BTCUSDT", Direction.LONG, Decimal(1), Decimal(100), self.clock.now_ms() - 1, 1, f"e{count}",
                    exit_price=Decimal(100), exit_ms=self.clock.now_ms(), gross_pnl=Decimal(pnl) + 1, fees=Decimal(1),
                )
            )  # fmt: skip
            self.order_manager.note_trade_end()

    def look(self, equity: str = "1000", candle: Candle | None = None) -> BreakerState:
        self.order_manager.look(self.account(equity), None, candle)
        return self.journal.breaker()


@pytest.mark.parametrize(("equity", "hit"), [("950.01", False), ("950", True), ("949.99", True), ("1100", False)])
def test_the_days_loss_limit_is_reached_exactly_at_its_share_of_the_days_start(equity, hit):
    made = Desk()
    assert made.order_manager.day_start(made.account("1000")) == 1000
    assert made.order_manager.daily_loss_hit(made.account(equity)) is hit
    made.order_manager.note_flat(made.account(equity))
    assert bool(made.journal.limits_hit) is hit
    assert bool(made.order_manager.halt_reason) is hit


def test_the_days_limit_is_written_once_and_ends_with_the_day():
    made = Desk()
    made.order_manager.day_start(made.account("1000"))
    made.order_manager.note_exit("daily_loss", made.account("940"))
    made.order_manager.note_exit("daily_loss", made.account("900"))
    assert list(made.journal.limits_hit.values()) == [Decimal(60)]
    assert "entries wait" in made.order_manager.halt_reason
    made.clock.advance_to((START_MS // DAY_MS + 1) * DAY_MS - 1)
    assert made.order_manager.halt_reason
    made.later(0.001)
    assert made.order_manager.halt_reason == ""
    assert not made.order_manager.daily_loss_hit(made.account("900")), "the new day begins with what there is"


def test_an_exit_for_another_reason_writes_no_limit_by_itself():
    made = Desk()
    made.order_manager.day_start(made.account("1000"))
    made.order_manager.note_exit("stop_loss", made.account("900"))
    made.order_manager.note_exit("daily_loss", None)
    assert made.journal.limits_hit == {}


def test_money_paid_in_moves_the_days_start_and_is_no_gain():
    made = Desk()
    made.order_manager.day_start(made.account("1000"))
    assert made.order_manager.day_start(made.account("1500", transferred="500")) == 1500
    assert made.order_manager.daily_loss_hit(made.account("1425", transferred="500"))
    assert not made.order_manager.daily_loss_hit(made.account("1425.01", transferred="500"))


@pytest.mark.parametrize(("after_s", "tripped"), [(599.9, True), (600.0, True), (600.1, False)])
def test_errors_count_within_their_window_and_not_beyond(after_s, tripped):
    made = Desk(max_exchange_errors=3, error_window_s=600)
    made.order_manager.note_exchange_error()
    made.later(after_s)
    made.order_manager.note_exchange_error()
    made.order_manager.note_exchange_error()
    assert made.look().tripped is tripped


def test_one_error_less_than_the_limit_is_borne():
    made = Desk(max_exchange_errors=3)
    made.order_manager.note_exchange_error()
    made.order_manager.note_exchange_error()
    assert not made.look().tripped
    made.order_manager.note_exchange_error()
    state = made.look()
    assert (state.trigger, state.actor) == ("exchange_errors", "bot")
    assert "3 times in 600 seconds" in state.reason


@pytest.mark.parametrize(
    ("pnls", "tripped"),
    [
        (["-1", "-1", "-1"], True),
        (["-1", "-1"], False),
        (["-1", "0", "-1", "-1"], False),
        (["-1", "-1", "0"], False),
        (["-0.01", "-0.01", "-0.01"], True),
        (["-1", "-1", "0.01", "-1"], False),
        (["5", "-1", "-1", "-1"], True),
    ],
)
def test_a_trade_that_breaks_even_is_no_loss_and_ends_a_row_of_losses(pnls, tripped):
    made = Desk(max_consecutive_losses=3, max_drawdown_share=1.0)
    made.close(*pnls)
    assert made.look().tripped is tripped


@pytest.mark.parametrize(
    ("pnls", "tripped"),
    [
        (["-1", "1", "-1", "0"], False),
        (["-1", "1", "-1", "-1"], True),
        (["-1", "-1", "0", "-1"], True),
        (["-1", "1", "-1"], False),
        (["1", "1", "1", "1", "-1", "1", "-1", "-1"], True),
    ],
)
def test_the_rate_of_losses_is_that_of_the_last_trades_alone(pnls, tripped):
    made = Desk(max_consecutive_losses=99, max_loss_rate=0.75, loss_rate_trades=4)
    made.close(*pnls)
    state = made.look()
    assert state.tripped is tripped
    assert state.trigger == ("loss_rate" if tripped else "start")


def test_results_are_counted_anew_only_after_a_trade_has_ended():
    made = Desk(max_consecutive_losses=2)
    made.close("-1")
    assert not made.look().tripped
    made.journal.close_trade(replace(made.journal.closed[0], entry_client_id="other"))
    assert not made.look().tripped, "nobody said that a trade ended"
    made.order_manager.note_trade_end()
    assert made.look().tripped


def test_what_was_lost_before_the_breaker_was_armed_again_does_not_count():
    made = Desk(max_consecutive_losses=2)
    made.close("-1", "-1")
    assert made.look().tripped
    answer = made.order_manager.judge_reset("a person")
    assert answer.refused == ""
    made.later(1)
    made.journal.trip_breaker(replace(answer.state, since_ms=made.clock.now_ms()))
    assert not made.look().tripped
    made.close("-1")
    assert not made.look().tripped
    made.close("-1")
    assert made.look().tripped


@pytest.mark.parametrize(("equity", "tripped"), [("900.01", False), ("900", True)])
def test_drawdown_counts_from_the_highest_equity_without_money_paid_in(equity, tripped):
    made = Desk(max_drawdown_share=0.10)
    assert not made.look("800").tripped
    assert not made.look("1000").tripped
    assert made.look(equity).tripped is tripped
    paid = Desk(max_drawdown_share=0.10)
    paid.order_manager.look(paid.account("1000"), None, None)
    paid.order_manager.look(paid.account("1500", transferred="500"), None, None)
    paid.order_manager.look(paid.account("1350.01", transferred="500"), None, None)
    assert not paid.journal.breaker().tripped
    paid.order_manager.look(paid.account("1350", transferred="500"), None, None)
    assert paid.journal.breaker().trigger == "drawdown"


@pytest.mark.parametrize(("overdue_s", "tripped"), [(299.9, False), (300.0, True)])
def test_a_candle_is_overdue_from_the_end_of_the_next_one_on(overdue_s, tripped):
    made = Desk(max_stale_s=300.0)
    candle = Candle(START_MS, 1.0, 1.0, 1.0, 1.0, 1.0)
    assert not made.look(candle=candle).tripped
    made.later(60 + overdue_s)
    assert made.look(candle=candle).tripped is tripped


def test_a_clock_that_jumps_makes_no_candle_overdue_that_is_seen_for_the_first_time():
    """Two hours ahead for one turn and back: only a candle that stays the same from look to look is overdue."""
    made = Desk(max_stale_s=300.0)
    made.later(7_200)
    assert not made.look(candle=Candle(START_MS, 1.0, 1.0, 1.0, 1.0, 1.0)).tripped
    assert not made.look(candle=Candle(START_MS + 60_000, 1.0, 1.0, 1.0, 1.0, 1.0)).tripped
    assert made.look(candle=Candle(START_MS + 60_000, 1.0, 1.0, 1.0, 1.0, 1.0)).tripped


def test_a_person_trips_once_and_a_tripped_breaker_is_not_judged_again():
    made = Desk(max_exchange_errors=1)
    assert made.order_manager.trip_by_hand("anna", "I want to look").actor == "anna"
    made.order_manager.note_exchange_error()
    assert made.look().reason == "I want to look"
    assert made.order_manager.trip_by_hand("ben", "me too").actor == "anna"
    refused = made.order_manager.judge_reset("anna")
    assert "failed 1 times" in refused.refused
    made.later(601)
    assert made.order_manager.judge_reset("anna").state.status is BreakerStatus.ARMED


def wild(ratio, usual=0.002, close=30_000.0):
    """Indicators whose true range is ``ratio`` times the usual share of the price."""
    return EMPTY_INDICATORS._replace(atr=ratio * usual * close, close=close)


@pytest.mark.parametrize(("ratio", "tripped"), [(2.99, False), (3.0, True), (8.0, True)])
def test_a_jump_in_volatility_trips_at_its_multiple_of_the_usual(ratio, tripped):
    made = Desk(max_volatility_ratio=3.0)
    account = made.account("1000")
    made.order_manager.look(account, wild(1.0), None)
    assert made.order_manager.usual_volatility == pytest.approx(0.002)
    assert not made.journal.breaker().tripped
    usual = 0.002 + (ratio * 0.002 - 0.002) / 1_440.0
    made.order_manager.look(account, wild(ratio), None)
    assert made.order_manager.usual_volatility == pytest.approx(usual, rel=1e-12)
    assert made.journal.breaker().tripped is tripped
    if tripped:
        assert made.journal.breaker().trigger == "volatility"
        assert f"{ratio:.1f} times" in made.journal.breaker().reason
        made.order_manager.look(account, wild(ratio + 1.0), None)
        assert "Volatility" in made.order_manager.judge_reset("anna").refused
        made.order_manager.look(account, wild(1.0), None)
        assert made.order_manager.judge_reset("anna").refused == ""


def test_without_indicators_volatility_is_taken_as_usual():
    made = Desk(max_volatility_ratio=1.5)
    made.order_manager.look(made.account("1000"), None, None)
    assert made.order_manager.usual_volatility is None and not made.journal.breaker().tripped
    made.order_manager.look(made.account("1000"), wild(0.0), None)
    made.order_manager.look(made.account("1000"), wild(0.0), None)
    assert not made.journal.breaker().tripped, "a market that stands still has no ratio"


def test_what_was_passed_over_is_taken_over():
    made = Desk(max_drawdown_share=0.10)
    made.order_manager.pass_over(0.004, Decimal(1_000))
    assert made.order_manager.usual_volatility == 0.004
    assert made.look("900").trigger == "drawdown"


def test_without_an_account_nothing_is_judged_and_no_day_begins():
    made = Desk(max_exchange_errors=1)
    made.order_manager.note_exchange_error()
    seen = made.order_manager.look(None, None, None)
    assert not seen.tripped and made.order_manager.day_start(None) is None and made.journal.days == {}
