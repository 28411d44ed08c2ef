"""A user's strategy in a process of its own: the same targets, an end to what hangs, checked bytes alone."""

import threading

import pytest

from src.backtest.strategy_check import check_strategy
from src.backtest.strategy_probe import made_market
from src.domain.errors import StrategyFailed
from src.runtime.strategy_loader import load_strategy, note_check, read_strategy_file
from src.runtime.strategy_process import IsolatedStrategy, checked_rules
from src.strategy.user_strategy import GuardedStrategy
from tests.strategy_files import BAD, text, written

MARKET = made_market(("BTCUSDT", "ETHUSDT"), "1h", 80)
FACTS = {"interval": "1h", "warm_up": 48, "pairs": ["BTCUSDT", "ETHUSDT"], "figures": {"share": 0.3}}


def isolated(folder, source, limit_s=10.0):
    written(folder, source)
    return IsolatedStrategy(read_strategy_file("own", folder), FACTS, threading.Event(), limit_s)


def said(targets):
    """What counts of targets: NaN, which stands for an unknown signal, equals nothing."""
    return [(each.symbol, each.weight, each.band, each.reason) for each in targets]


def test_its_targets_are_those_of_the_file(tmp_path):
    strategy = isolated(tmp_path, text())
    here = load_strategy(read_strategy_file("own", tmp_path))
    for beyond in (60, 79):
        assert said(strategy.targets(MARKET.lists(beyond))) == said(here.targets(MARKET.lists(beyond)))


def test_funding_arrives_there(tmp_path):
    source = text("weight = len(self.rates[symbol]) / 100").replace(
        "        return tuple(self",
        "        object.__setattr__(self, 'rates', observation.funding)\n        return tuple(self",
    )
    seen = MARKET.lists(79)
    assert [each.weight for each in isolated(tmp_path, source).targets(seen)] == [
        len(rows) / 100 for rows in seen.funding.values()
    ]


@pytest.mark.parametrize("name", ["raises", "NaN", "a target of 50", "leaves the process", "another kind of answer"])
def test_what_is_wrong_is_said_as_by_the_check(tmp_path, name):
    source, sentence = BAD[name]
    with pytest.raises(StrategyFailed) as failed:
        isolated(tmp_path, source).targets(MARKET.lists(79))
    assert sentence in str(failed.value)


def test_what_hangs_is_ended_and_the_next_decision_is_made_anew(tmp_path):
    strategy = isolated(tmp_path, text("while len(candles) == 79:\n    pass"), limit_s=4.0)
    guarded = GuardedStrategy(strategy)
    held = guarded.targets(MARKET.lists(79))
    assert [each.weight for each in held] == [None, None]
    assert guarded.failure == "own.py gave no decision: not done within 4 s."
    assert all(each.reason == f"holds: {guarded.failure}" for each in held)
    assert strategy._worker.pid is None
    assert [each.weight is None for each in guarded.targets(MARKET.lists(78))] == [False, False]
    assert guarded.failure == ""


def test_a_process_that_dies_is_a_failure_of_that_decision(tmp_path):
    strategy = isolated(tmp_path, text("os._exit(3)", "import os"))
    with pytest.raises(StrategyFailed, match=r"own\.py gave no decision"):
        strategy.targets(MARKET.lists(79))


def test_a_file_that_was_changed_after_the_start_is_not_run(tmp_path):
    strategy = isolated(tmp_path, text())
    strategy.targets(MARKET.lists(79))
    written(tmp_path, text("weight = 1.0"))
    with pytest.raises(StrategyFailed, match=r"own.py was changed after the start: check it and start anew\."):
        strategy.targets(MARKET.lists(79))


def test_only_what_was_checked_becomes_rules_that_may_trade(tmp_path):
    written(tmp_path, text())
    file = read_strategy_file("own", tmp_path)
    with pytest.raises(
        StrategyFailed, match=r"own\.py has not passed its check: run python3 -m src.backtest check own\."
    ):
        checked_rules(tmp_path / "state", "own", threading.Event(), tmp_path)
    note_check(tmp_path / "state", file, check_strategy(file), "2026-01-01T00:00")
    rules = checked_rules(tmp_path / "state", "own", threading.Event(), tmp_path)
    assert rules.pairs == ("BTCUSDT", "ETHUSDT")
    assert rules.limits.leverage == 3
    assert said(rules.build().targets(MARKET.lists(79))) == said(load_strategy(file).targets(MARKET.lists(79)))
    written(tmp_path, text() + "\n")
    with pytest.raises(StrategyFailed, match="was changed after its check of 2026-01-01T00:00"):
        checked_rules(tmp_path / "state", "own", threading.Event(), tmp_path)
