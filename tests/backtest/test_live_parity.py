"""The bot as a process, over HTTP and sockets, against the backtest in process: the same turns and trades, bit for bit.

The market stands and is moved from minute to minute, where a price comes near a stop or target from second to second.
Stops and targets lie near, so that exits of every kind happen. A whole week: ``python -m tests.suite.parity_week``.
"""

import re

import pytest

from src.domain.clock import instant_of
from src.market_data.columns import Candles
from tests.backtest.crashes import every_gap, with_gaps, without_minutes, write_record
from tests.backtest.past import REAL
from tests.candles import random_candles
from tests.shared_data import shared_file
from tests.suite.parity import TrainingSeries, begin, compared, live, past
from tests.suite.parity_week import KINDS

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
FIRST = 30_551  # row of 2023-08-08 16:24, a lively hour
MINUTES, RESTART_AT = 75, 60


def test_a_stretch_of_market_is_decided_and_traded_the_same_live_and_in_the_backtest(tmp_path):
    course = TrainingSeries(shared_file(REAL), FIRST, MINUTES, KINDS["near"], RESTART_AT)
    candles, settings = begin(course, tmp_path)
    seen = live(course, tmp_path, candles, settings)
    known = past(course, tmp_path, candles, settings, seen)
    found = compared(seen, known)
    assert len(known.turns) == MINUTES + 1
    assert len(known.outcome.trades) >= 5
    assert {trade.exit_reason for trade in known.outcome.trades} >= {"cut_loss", "early_stop", "take_profit"}
    assert found.missing == found.other_trades == []
    last_before = seen.turns[RESTART_AT]["timestamp"]
    assert [at for at in found.figures if at <= last_before] == [], "until the restart every bit is the same"
    assert len(found.extra) == 1, "a bot that starts looks at once, in the minute that it had decided already"
    assert found.near_edges, found.decisions


CRASH_FIRST, CRASH_MINUTES, APART = 2_400, 130, 7
FAR = {
    **KINDS["busy"],
    "EXPLORATION_RATE": "0.95",
    "STOP_LOSS_PERCENTAGE": "0.02",
    "TAKE_PROFIT_PERCENTAGE": "0.05",
    "LEVERAGE": "2",
    "ALLOW_SHORT": "true",
    "EXIT_CONFIDENCE": "1",
    "BREAKER_VOLATILITY_JUMP": "100000",
}


def is_a_second_of_an_exit(difference: str) -> bool:
    """Return whether a trade differs by one second of its exit, with the price of that second, and by nothing else.

    Exits that the exchange refuses (the price has left its bounds) are tried again after pauses, on a clock that goes
    on live while the test steps the market: the next try can fall into the next second.
    """
    exits = re.search(r"exit_time (\S+) against (\S+?)(?:,|$)", difference)
    if exits is None or re.search(r"\b(side|exit_reason|entry_price|quantity) ", difference):
        return False
    return abs(instant_of(exits[1]) - instant_of(exits[2])) <= 1_000


def test_jumps_past_stop_and_target_and_missing_minutes_are_the_same_live_and_in_the_backtest(tmp_path):
    """Gaps of 6, 10 and 20 % both ways; behind one the exchange has no candles for four minutes."""
    beyond = CRASH_FIRST + CRASH_MINUTES
    gaps = every_gap(CRASH_FIRST + 12, beyond, APART)
    whole = with_gaps(Candles.of(random_candles(beyond + 10, seed=4)), gaps)
    hole = list(gaps)[2] + 5
    record = write_record(without_minutes(whole, range(hole, hole + 4)), tmp_path / "BTCUSDT-1m-jumps.csv")
    course = TrainingSeries(record, CRASH_FIRST, CRASH_MINUTES, FAR)
    candles, settings = begin(course, tmp_path)
    seen = live(course, tmp_path, candles, settings)
    known = past(course, tmp_path, candles, settings, seen)
    found = compared(seen, known)
    jumped = [int(whole.open_ms[row]) for row in gaps]
    met = [trade for trade in known.outcome.trades if any(trade.entry_ms < at < trade.exit_ms for at in jumped)]
    assert len(met) >= 3, [(trade.entry_ms, trade.exit_ms) for trade in known.outcome.trades]
    assert found.missing == found.decisions == []
    assert [each for each in found.other_trades if not is_a_second_of_an_exit(each)] == []
    assert len(seen.trades) == len(known.outcome.trades)


EXITS_FIRST, EXITS_MINUTES, KILLED_AT = 2_400, 300, 170


def test_exits_that_follow_the_market_are_the_same_live_over_a_kill_and_in_the_backtest(tmp_path):
    """Trailing stop, break-even, partial target and time stop in a lively market; the bot is killed in the middle."""
    beyond = EXITS_FIRST + EXITS_MINUTES + 10
    record = write_record(Candles.of(random_candles(beyond, seed=4)), tmp_path / "BTCUSDT-1m-lively.csv")
    course = TrainingSeries(record, EXITS_FIRST, EXITS_MINUTES, KINDS["exits"], KILLED_AT, killed=True)
    candles, settings = begin(course, tmp_path)
    seen = live(course, tmp_path, candles, settings)
    known = past(course, tmp_path, candles, settings, seen)
    found = compared(seen, known)
    reasons = {trade.exit_reason for trade in known.outcome.trades}
    assert reasons >= {"trailing_stop", "break_even"}, [trade.exit_reason for trade in known.outcome.trades]
    assert found.missing == found.other_trades == []
    assert found.near_edges, found.decisions
    assert len(seen.trades) == len(known.outcome.trades) >= 5
