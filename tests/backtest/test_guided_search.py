"""A guided search goes on where it stopped, counts every trial, and opens its hold-out span once."""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from src.backtest.__main__ import main
from src.backtest.config import Setup
from src.backtest.fold_runner import TargetFolds, VoteFolds, fold_edges
from src.backtest.guided_search import GuidedSearch, figures_of
from src.backtest.options import BacktestSpan, PastMarketData
from src.backtest.portfolio_setup import PortfolioSetup
from src.backtest.portfolio_sweep import PortfolioPast
from src.backtest.search_space import parse_space, suggested
from src.backtest.sweep import Sweep
from src.backtest.variants import KINDS, label, varied
from src.domain.clock import DAY_MS
from src.domain.errors import SettingsError
from src.market_data.columns import Candles
from src.market_data.store import MarketStore
from src.runtime.rule_loader import rules_of_strategy
from src.runtime.strategy_loader import load_strategy, read_strategy_file
from src.strategy.q_agent import QLearningAgent
from tests.backtest.portfolio_past import START_MS, made_minutes
from tests.backtest.test_portfolio_command import hourly
from tests.candles import random_candles
from tests.strategy_files import text, written

SPACE = parse_space(["x=0..10", "y=1,2,3"], {"x": float, "y": int})
FOLDS = [(number * 10 * DAY_MS, (number + 1) * 10 * DAY_MS) for number in range(4)]


class Landscape:
    """Stands for a market in which the best place is known: returns grow towards x = 7 and y = 3."""

    def __init__(self):
        self.asked = []

    def __call__(self, variant, span):
        figures = {name: float(value) for name, value in variant}
        self.asked.append((label(variant), span))
        edge = 0.01 - 0.001 * abs(figures["x"] - 7.0) - 0.002 * (3 - figures["y"])
        noise = np.random.default_rng(span[0] // DAY_MS).normal(0.0, 0.01, 10)
        future = Future()
        future.set_result(
            {"daily_returns": (edge + noise).tolist(), "return_share": 10 * edge, "variant": label(variant)}
        )
        return future


def test_it_finds_the_best_place_and_gives_up_early_on_others():
    market = Landscape()
    result = GuidedSearch(SPACE, FOLDS).run(60, market)
    best = dict(pair.split("=") for pair in result.best[0].variant.split())
    assert best["y"] == "3"
    assert abs(float(best["x"]) - 7.0) < 0.7
    pruned = [row for row in result.trials if row.pruned]
    assert len(result.trials) == 60
    assert len(pruned) > 10
    assert len(market.asked) == sum(row.folds for row in result.trials) < 60 * len(FOLDS)
    assert all(len(row.daily_returns) == 10 * row.folds for row in result.trials)
    assert max(row.figures["sharpe"] for row in result.trials if not row.pruned) == result.best[0].figures["sharpe"]


def test_every_trial_counts_in_the_deflated_ratio():
    result = GuidedSearch(SPACE, FOLDS, recorded=11).run(40, Landscape())
    different = {tuple(round(value, 9) for value in row.daily_returns) for row in result.trials}
    assert result.deflated.tried == len(different) + 10
    assert result.deflated.tried > len({row.variant for row in result.trials if not row.pruned}) + 10


def test_the_same_seed_gives_the_same_trials():
    one, two = (GuidedSearch(SPACE, FOLDS, seed=3).run(25, Landscape()) for _ in range(2))
    assert one == two
    assert one.trials != GuidedSearch(SPACE, FOLDS, seed=4).run(25, Landscape()).trials


def test_several_objectives_give_the_trials_that_nothing_beats():
    result = GuidedSearch(SPACE, FOLDS, ("sharpe", "drawdown")).run(30, Landscape())
    assert not any(row.pruned for row in result.trials)
    front = {row.number for row in result.best}
    assert len({row.variant for row in result.trials}) == len(result.trials)
    for row in result.trials:
        beaten = any(
            other.figures["sharpe"] >= row.figures["sharpe"] and other.figures["drawdown"] <= row.figures["drawdown"]
            and other.figures != row.figures
            for other in result.trials
        )  # fmt: skip
        assert beaten is (row.number not in front)


def test_an_interrupted_study_goes_on_and_another_one_is_refused(tmp_path):
    path, market = tmp_path / "studies" / "one.db", Landscape()

    def breaks(variant, span):
        if len(market.asked) == 31:
            raise KeyboardInterrupt
        return market(variant, span)

    inputs = {"candles": "these"}
    with pytest.raises(KeyboardInterrupt):
        GuidedSearch(SPACE, FOLDS, storage=path, inputs=inputs).run(20, breaks)
    again = GuidedSearch(SPACE, FOLDS, storage=path, inputs=inputs)
    before = again.result().trials
    assert 5 < len(before) < 20
    done = []
    result = again.run(20, market, progress=done.append)
    assert len(result.trials) == 20
    assert result.trials[: len(before)] == before
    assert done[-1] == 20
    with pytest.raises(SettingsError, match=r"is another study \(different: candles\); take another --study"):
        GuidedSearch(SPACE, FOLDS, storage=path, inputs={"candles": "others"})


def test_the_hold_out_span_is_opened_once_and_says_when(tmp_path):
    path, market, held = tmp_path / "one.db", Landscape(), (900 * DAY_MS, 910 * DAY_MS)
    search = GuidedSearch(SPACE, FOLDS, storage=path)
    with pytest.raises(SettingsError, match="no complete trial"):
        search.open_holdout(held, market, "2026-01-01T00:00")
    best = search.run(15, market).best[0]
    assert search.opened is None
    assert not any(span == held for _, span in market.asked)
    found = search.open_holdout(held, market, "2026-01-01T00:00")
    assert (found["opened"], found["variant"], found["trials"]) == ("2026-01-01T00:00", best.variant, 15)
    again = GuidedSearch(SPACE, FOLDS, storage=path)
    assert again.open_holdout(held, market, "2027-01-01T00:00") == found
    assert sum(span == held for _, span in market.asked) == 1
    assert "was opened at 2026-01-01T00:00 after 15 trials" in again.opened_sentence()
    with pytest.raises(SettingsError, match="Further trials need another --study"):
        again.run(16, market)
    assert len(again.run(15, market).trials) == 15


def test_several_trials_at_a_time_give_whole_trials():
    with ThreadPoolExecutor(4) as pool:
        market = Landscape()
        result = GuidedSearch(SPACE, FOLDS).run(
            30, lambda variant, span: pool.submit(lambda: market(variant, span).result()), workers=4
        )
    assert len(result.trials) == 30
    assert {row.folds for row in result.trials if not row.pruned} == {len(FOLDS)}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("z=1..2", "'z' can not be varied"),
        ("x=5..1", "a lower end first"),
        ("x=1..1", "a lower end first"),
        ("x=low..high", "is no value of kind float"),
        ("x=1..", "is no value|names no values|needs two numbers"),
        ("y=", "names no values"),
    ],
)
def test_what_is_no_space_is_said(word, said):
    with pytest.raises(SettingsError, match=said):
        parse_space([word], {"x": float, "y": int})


def test_drawdown_and_return_are_those_of_the_compounded_days():
    found = figures_of([0.1, -0.5, 0.2])
    assert found["drawdown"] == pytest.approx(0.5)
    assert found["return"] == pytest.approx(1.1 * 0.5 * 1.2 - 1.0)


def test_a_fold_of_votes_is_a_sweep_of_its_span():
    candles = Candles.of(random_candles(9 * 1_440, seed=3))
    first = int(candles.open_ms[0])
    folds = fold_edges(first + 3 * DAY_MS, first + 9 * DAY_MS, 2)
    assert folds == [(first + 3 * DAY_MS, first + 6 * DAY_MS), (first + 6 * DAY_MS, first + 9 * DAY_MS)]
    setup = Setup()
    made = VoteFolds(PastMarketData(candles, {}, BacktestSpan(folds[0][0], folds[-1][1])), setup, agent_for, 2)
    variant = (("min_signal_strength", "2"), ("stop_loss_share", "0.01"))
    with made.running(2) as submit:
        rows = [submit(variant, each).result() for each in folds]
    for span, row in zip(folds, rows, strict=True):
        sweep = Sweep(
            candles=candles,
            setup=setup,
            taught=made._taught_before(span[0]),
            from_ms=span[0],
            to_ms=span[1],
            funding={},
        )
        assert row == sweep.run([variant]).rows[0]
    assert varied(setup, variant).rules.min_signal_strength == 2


def agent_for(rules):
    return QLearningAgent(exploration_rate=0.0, allow_short=rules.allow_short)


def test_a_fold_of_targets_is_a_run_of_its_span(tmp_path):
    folder = written(tmp_path, text()).parent
    rules = rules_of_strategy(load_strategy(read_strategy_file("own", folder)))
    candles = made_minutes(10)
    past = PortfolioPast({pair: candles[pair] for pair in rules.pairs}, {}, rules, PortfolioSetup())
    span = (START_MS + 4 * DAY_MS, START_MS + 8 * DAY_MS)
    with TargetFolds(past).running(2) as submit:
        assert submit((("share", "0.2"),), span).result() == past.row((("share", "0.2"),), span)


def test_the_corners_of_a_space_of_votes_name_every_value():
    space = parse_space(["trend_intervals=1d,4h+1d", "stop_loss_share=0.01..0.02"], KINDS)
    seen = {suggested(space, _Ends(place)) for place in (0, 1)}
    assert len(seen) == 2


class _Ends:
    def __init__(self, place):
        self._place = place

    def suggest_int(self, _name, low, high):
        return (low, high)[self._place]

    def suggest_float(self, _name, low, high):
        return (low, high)[self._place]

    def suggest_categorical(self, _name, choices):
        return choices[self._place]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    store = MarketStore(folder / "data")
    for number, (pair, price) in enumerate((("BTCUSDT", 30_000.0), ("ETHUSDT", 2_000.0)), 1):
        store.merge_candles(pair, "1h", hourly(80, number, price))
    written(folder / "own", text())
    return folder


def command(place, *words):
    own = ["--strategy", "own", "--strategies", str(place / "own"), "--data", str(place / "data")]
    return main(["sweep", *own, "--train-days", "0", "--holdout-days", "20", "--folds", "3", *words])


def test_the_command_searches_goes_on_and_opens_the_hold_out_span(place, capsys, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(place / "state"))
    grid = ("--grid", "days=1..5", "--grid", "share=0.1,0.2,0.4")
    assert command(place, *grid, "--trials", "6") == 0
    said = capsys.readouterr().out
    assert "6 trials" in said
    assert "2023-03-02 .. 2023-03-21 is sealed: no trial has seen it" in said
    assert (place / "state" / "studies" / "search-own.db").is_file()
    assert command(place, *grid, "--trials", "8", "--open-holdout") == 0
    said = capsys.readouterr().out
    assert "The hold-out span was opened at " in said
    assert "after 8 trials" in said
    assert command(place, *grid, "--trials", "9") == 78
    assert "Further trials need another --study" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--trials", "5"], 78, "own has share, days"),
        (["--trials", "5", "--grid", "days=1..5", "--objectives", "luck"], 78, "known are sharpe, drawdown, return"),
        (["--trials", "5", "--grid", "days=1..5", "--study", "../x"], 78, "is no name"),
        (["--trials", "5", "--grid", "days=1..5", "--folds", "100"], 65, "are too few for 100 folds"),
    ],
)
def test_what_goes_wrong_is_said_in_one_sentence(place, capsys, words, code, said):
    assert command(place, *words) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
