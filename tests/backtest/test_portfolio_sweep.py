"""Sweeps and walk-forward of a strategy of targets: the same figures as single runs, and nothing chosen by its test."""

import json

import numpy as np
import pytest

from src.backtest.__main__ import main
from src.backtest.portfolio_setup import PortfolioSetup
from src.backtest.portfolio_sweep import PortfolioPast, fold_spans, sweep_portfolio, varied_rules, walk_portfolio
from src.backtest.variants import label, parse_grid, variants
from src.domain.clock import DAY_MS
from src.domain.errors import SettingsError
from src.market_data.store import MarketStore
from src.runtime.rule_loader import rules_of_strategy
from src.runtime.strategy_loader import load_strategy, read_strategy_file
from src.strategy.target_rules import TargetRules
from tests.backtest.portfolio_past import START_MS, made_minutes
from tests.backtest.test_portfolio_command import hourly
from tests.strategy_files import text, written


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    folder = written(tmp_path_factory.mktemp("own"), text()).parent
    rules = rules_of_strategy(load_strategy(read_strategy_file("own", folder)))
    candles = made_minutes(14)
    return PortfolioPast({pair: candles[pair] for pair in rules.pairs}, {}, rules, PortfolioSetup())


def grid(past, *words):
    kinds = {"share": float, "days": int, "leverage": int}
    return variants(parse_grid(words, kinds))


def test_a_sweep_ranks_what_single_runs_bring(past, tmp_path):
    tried = grid(past, "share=0.1,0.3", "days=1,2")
    span = (START_MS + 4 * DAY_MS, START_MS + 10 * DAY_MS)
    log = tmp_path / "sweep.jsonl"
    result = sweep_portfolio(past, tried, span, log=log, workers=2)
    assert len(result.rows) == 4
    assert [row["daily_sharpe"] for row in result.rows] == sorted(
        (r["daily_sharpe"] for r in result.rows), reverse=True
    )
    by_label = {label(each): each for each in tried}
    for row in result.rows[:2]:
        assert row == past.row(by_label[row["variant"]], span)
    assert result.deflated.tried == len({tuple(row["daily_returns"]) for row in result.rows})
    kept = log.read_text().splitlines()
    log.write_text("\n".join(kept[:3]) + "\n")  # broken off after two variants
    done = []
    again = sweep_portfolio(past, tried, span, log=log, workers=1, progress=done.append)
    assert again.rows == result.rows
    assert done == [2, 3, 4]


def test_another_span_does_not_continue_a_sweep(past, tmp_path):
    tried, log = grid(past, "share=0.1"), tmp_path / "sweep.jsonl"
    sweep_portfolio(past, tried, (START_MS + 4 * DAY_MS, START_MS + 6 * DAY_MS), log=log, workers=1)
    with pytest.raises(SettingsError, match="different: span"):
        sweep_portfolio(past, tried, (START_MS + 4 * DAY_MS, START_MS + 7 * DAY_MS), log=log, workers=1)


def test_walk_forward_chooses_before_it_trades(past):
    tried = grid(past, "share=0.1,0.2,0.3")
    span = (START_MS + 8 * DAY_MS, START_MS + 14 * DAY_MS)
    walk = walk_portfolio(past, tried, span, train_days=4, test_days=3, workers=2)
    assert [(each.test_ms, each.end_ms) for each in walk.folds] == fold_spans(*span, 3)
    for fold in walk.folds:
        best = sweep_portfolio(past, tried, (fold.train_ms, fold.test_ms), workers=1).rows[0]["variant"]
        assert fold.chosen == best
        assert fold.tried == 3
    tested = [past.row(dict_of(tried)[fold.chosen], (fold.test_ms, fold.end_ms)) for fold in walk.folds]
    np.testing.assert_array_equal(walk.daily_returns, np.concatenate([row["daily_returns"] for row in tested]))


def dict_of(tried):
    return {label(each): each for each in tried}


def test_limits_and_the_trend_portfolio_can_be_varied_too():
    rules = varied_rules(TargetRules(), (("stop_loss_share", "0.1"), ("target_volatility", "0.12")))
    assert str(rules.limits.stop_loss_share) == "0.1"
    assert rules.strategy.target_volatility == 0.12
    with pytest.raises(SettingsError, match="stop_loss_share must be below 1 / leverage"):
        varied_rules(TargetRules(), (("leverage", "10"),))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    store = MarketStore(folder / "data")
    for number, (pair, price) in enumerate((("BTCUSDT", 30_000.0), ("ETHUSDT", 2_000.0)), 1):
        store.merge_candles(pair, "1h", hourly(60, number, price))
    written(folder / "own", text())
    return folder


def command(place, record, *words):
    own = ["--strategy", "own", "--strategies", str(place / "own"), "--data", str(place / "data")]
    return main(["--reports", str(place / "reports"), record, *own, *words])


def test_the_commands_run_sweep_and_walk_forward_work_with_a_file(place, capsys, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(place / "state"))
    assert command(place, "run", "--no-starts", "--name", "one") == 0
    said = capsys.readouterr().out
    assert "own.py has not passed its check: run python3 -m src.backtest check own." in said
    facts = json.loads((place / "reports" / "one" / "summary.json").read_text())
    assert facts["strategy"] == {"share": 0.3, "days": 2}
    assert facts["trades"]["trades"] > 3
    assert command(place, "sweep", "--grid", "days=1,2,3", "--name", "many") == 0
    assert "3 variants tried" in capsys.readouterr().out
    assert (place / "reports" / "many" / "ranking.csv").is_file()
    walk = ("--train-days", "10", "--test-days", "10", "--grid", "days=1,3", "--name", "walk")
    assert command(place, "walk-forward", *walk) == 0
    assert "2 variants tried in each of 5 folds" in capsys.readouterr().out
    folds = json.loads((place / "reports" / "walk" / "walk.json").read_text())["folds"]
    assert all(each["chosen"] in ("days=1", "days=3") for each in folds)


@pytest.mark.parametrize(
    ("record", "words", "code", "said"),
    [
        ("sweep", [], 78, "own has share, days, leverage"),
        ("sweep", ["--grid", "size=1"], 78, "'size' can not be varied; known are share, days"),
        ("sweep", ["--grid", "days=one"], 78, "days=one is no value of kind int"),
        ("walk-forward", ["--from", "2023-01-02"], 65, "these candles allow 2023-02-0"),
    ],
)
def test_what_goes_wrong_is_said_in_one_sentence(place, capsys, record, words, code, said):
    assert command(place, record, *words) == code
    assert said in capsys.readouterr().err


def test_an_error_of_the_file_ends_a_run_with_its_line(place, capsys):
    written(place / "broken", text("weight = 1 / 0"))
    words = ["--strategy", "own", "--strategies", str(place / "broken"), "--data", str(place / "data")]
    assert main(["--reports", str(place / "reports"), "run", *words]) == 65
    assert capsys.readouterr().err == "own.py, line 24: ZeroDivisionError: division by zero.\n"
