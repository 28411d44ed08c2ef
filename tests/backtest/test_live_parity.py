"""The bot as a process, over HTTP and sockets, against the backtest in process: the same turns and trades, bit for bit.

The market stands and is moved from minute to minute, where a price comes near a stop or target from second to second.
Stops and targets lie near, so that exits of every kind happen. A whole week: ``python -m tests.suite.parity_week``.
"""

import pytest

from tests.backtest.past import REAL
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
