"""The real traders under a user's strategy: targets become positions with stops, and a failure holds and is told."""

import threading

import pytest

from src.backtest.strategy_check import check_strategy
from src.domain.clock import MINUTE_MS
from src.execution.portfolio_planner import PortfolioPlanner
from src.runtime.strategy_loader import note_check, read_strategy_file
from src.runtime.strategy_process import checked_rules
from src.strategy.decision import Verdict
from src.strategy.timeframes import CandleAggregator
from tests.backtest.portfolio_past import made_minutes
from tests.execution.test_portfolio_planner import PortfolioWorld
from tests.strategy_files import text, written

pytestmark = pytest.mark.long
HOURS = 3
FAILS = {
    "raises": ("weight = 1 / 0", "own.py, line 26: ZeroDivisionError: division by zero."),
    "hangs": ("while True:\n    pass", "own.py gave no decision: not done within 5 s."),
    "NaN": ('weight = float("nan")', "own.py: the target of BTCUSDT is nan, which is no number."),
    "a target of 50": ("weight = 50.0", "own.py: the target of BTCUSDT is 50 times the equity; at most 3 is allowed."),
}


def in_the_second_hour(body):
    """Return a strategy that does so only from its second decision on: until then it holds a position."""
    inside = "\n".join(f"    {line}" for line in body.splitlines())
    return text(f"weight = 0.3\nif candles[-1].open_ms >= {FIRST_FAILURE_MS}:\n{inside}")


class OwnWorld(PortfolioWorld):
    """Three pairs traded by the strategy of a file."""

    def __init__(self, folder, source) -> None:
        written(folder, source.replace('("BTCUSDT", "ETHUSDT")', '("BTCUSDT", "ETHUSDT", "SOLUSDT")'))
        file = read_strategy_file("own", folder)
        facts = {"interval": "1h", "warm_up": 48, "pairs": ["BTCUSDT", "ETHUSDT", "SOLUSDT"], "figures": {}}
        limits = {"leverage": "3", "stop_loss_share": "0.2", "early_stop_share": "0.8", "max_daily_loss_share": "0.05"}
        note_check(folder, file, facts | {"limits": limits, "tried": 1, "description": ""}, "2026-01-01T00:00")
        self.strategy = checked_rules(folder, "own", threading.Event(), folder).build()
        setattr(self.strategy, "_limit_s", 5.0)  # noqa: B010
        super().__init__(made_minutes(10))

    def restart(self) -> None:
        """Begin anew, with the user's strategy in place of the trend portfolio."""
        super().restart()
        self.planner = PortfolioPlanner(
            self.strategy, self.traders["BTCUSDT"]._feed, self.clock,
            {symbol: CandleAggregator(symbol, "1h", self._past) for symbol in self.minutes},
            lambda symbol: self.exchange.instrument(symbol), leverage=3,
        )  # fmt: skip
        for trader in self.traders.values():
            trader._decisions = self.planner


FIRST_FAILURE_MS = 1_673_222_400_000  # the candle of the first hour: closed at the second decision


def test_its_targets_become_positions_with_stops(tmp_path):
    world = OwnWorld(tmp_path, text("weight = 0.2 if len(symbol) else 0.0"))
    world.run(5)
    held = {each.symbol: each for each in world.exchange.account().positions}
    assert set(held) == set(world.minutes)
    assert all(len(orders) == 1 for orders in world.stops().values())
    assert world.planner.failure == ""


@pytest.mark.parametrize("name", FAILS)
def test_a_failure_holds_what_is_open_with_its_stop_and_the_bot_goes_on(tmp_path, name):
    body, said = FAILS[name]
    world = OwnWorld(tmp_path, in_the_second_hour(body))
    world.run(59)
    before = {each.symbol: each.quantity for each in world.exchange.account().positions}
    assert set(before) == set(world.minutes)
    world.run(HOURS * 60 - 59)
    assert world.planner.failure == said
    assert {each.symbol: each.quantity for each in world.exchange.account().positions} == before
    assert all(len(orders) == 1 for orders in world.stops().values()), "each position keeps its stop"
    late = [decision for _, at, decision in world.turns if at > world.clock.now_ms() - 60 * MINUTE_MS]
    assert len(late) == 180 - 3
    assert {decision.verdict for decision in late} == {Verdict.HOLD}
    assert all(said.rstrip(".") in decision.reason for decision in late)


def test_what_was_checked_is_what_trades(tmp_path):
    written(tmp_path, text())
    file = read_strategy_file("own", tmp_path)
    note_check(tmp_path, file, check_strategy(file), "2026-01-01T00:00")
    assert checked_rules(tmp_path, "own", threading.Event(), tmp_path).candle_interval == "1h"
