"""A sweep tries each variant once, can be taken up again, and tells luck from merit; walk-forward is out of sample."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.backtest.__main__ import main
from src.backtest.config import BreakerPolicy, Setup
from src.backtest.deflated import daily_ratio, deflated_sharpe, distinct_ratios, expected_best
from src.backtest.engine import LEAST_WARM_UP, run_backtest
from src.backtest.sweep import Sweep
from src.backtest.variants import label, parse_grid, variants, varied
from src.backtest.walk_forward import walk_forward
from src.domain.clock import DAY_MS, MINUTE_MS
from src.domain.errors import DataRefused, SettingsError
from src.market_data.columns import Candles
from src.market_data.store import MarketStore
from src.runtime.settings import PROJECT_ROOT
from src.strategy.q_agent import QLearningAgent
from tests.candles import random_candles

GRID = parse_grid(["min_signal_strength=2,3,4", "stop_loss_share=0.01,0.02", "allow_short=true,false"])


WITHOUT_ENV_FILE = """
import pathlib, sys
import src.runtime.settings
src.runtime.settings.ENV_FILE = pathlib.Path("nowhere.env")
from src.backtest.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def agent_for(rules):
    return QLearningAgent(exploration_rate=0.5, allow_short=rules.allow_short)


@pytest.fixture(scope="module")
def candles():
    return Candles.of(random_candles(6_000, seed=3))


def sweep_over(candles):
    from_ms = int(candles.open_ms[LEAST_WARM_UP])
    return Sweep(
        candles=candles, setup=Setup(), taught=agent_for, from_ms=from_ms, to_ms=int(candles.open_ms[-1]) + MINUTE_MS
    )


def test_all_combinations_or_some_by_chance_always_the_same():
    everything = variants(GRID)
    assert len(everything) == len(set(everything)) == 12
    some = variants(GRID, sample=5, seed=1)
    assert some == variants(GRID, sample=5, seed=1)
    assert len(set(some)) == 5
    assert set(some) < set(everything)
    assert variants(GRID, sample=100) == everything


def test_a_variant_changes_what_it_names_and_nothing_else():
    setup = varied(Setup(), (("min_signal_strength", "4"), ("stop_loss_share", "0.01"), ("votes", "ema+macd+trend")))
    assert setup.rules.min_signal_strength == 4
    assert setup.rules.votes == ("ema", "macd", "trend")
    assert str(setup.limits.stop_loss_share) == "0.01"
    assert setup.limits.take_profit_share == Setup().limits.take_profit_share


@pytest.mark.parametrize("words", ["colour=red", "leverage=", "name=x"])
def test_what_cannot_be_varied_is_refused(words):
    with pytest.raises(SettingsError):
        parse_grid([words])


@pytest.mark.parametrize("variant", [("leverage", "ten"), ("leverage", "900"), ("allow_short", "maybe")])
def test_a_value_that_cannot_be_is_refused(variant):
    with pytest.raises(SettingsError):
        varied(Setup(), (variant,))


@pytest.mark.long
def test_a_sweep_s_row_is_the_exact_path_s_result(candles):
    (row,) = sweep_over(candles).run([(("min_signal_strength", "2"),)]).rows
    setup = varied(Setup(breaker_policy=BreakerPolicy.OFF), (("min_signal_strength", "2"),))
    outcome = run_backtest(candles, setup, agent_for(setup.rules))
    assert row["trades"] == len(outcome.trades) > 0
    assert row["return_share"] == pytest.approx(outcome.return_share, rel=1e-9)
    held = float(outcome.open_trade.fees) if outcome.open_trade else 0.0
    assert row["fees"] == pytest.approx(float(outcome.trade_figures.fees) + held, rel=1e-9)


@pytest.mark.long
def test_a_sweep_that_was_cut_off_goes_on_where_it_stopped(candles, tmp_path):
    log, wanted = tmp_path / "s" / "sweep.jsonl", variants(GRID)
    whole = sweep_over(candles).run(wanted, log)
    lines = log.read_text().splitlines()
    assert len(lines) == 13
    log.write_text("\n".join(lines[:6]) + "\n" + lines[6][:40])
    counts = []
    again = sweep_over(candles).run(wanted, log, workers=1, progress=counts.append)
    assert counts[0] == 5
    assert again == whole
    kept = [json.loads(line)["variant"] for line in log.read_text().splitlines()[1:]]
    assert sorted(kept) == sorted(label(each) for each in wanted)


@pytest.mark.long
def test_ctrl_c_ends_a_sweep_with_130_and_the_same_command_goes_on_to_the_same_ranking(candles, tmp_path):
    MarketStore(tmp_path / "data").merge_candles("BTCUSDT", "1m", candles)
    strengths, stops = "min_signal_strength=2,3,4", "stop_loss_share=" + ",".join(f"0.0{n}" for n in range(100, 900))
    grid = ("--grid", strengths, "--grid", stops, "--train-days", "1", "--exploration", "0.5")

    def words(name):
        return ["--reports", str(tmp_path), "sweep", "--data", str(tmp_path / "data"), *grid, "--name", name]

    command = [sys.executable, "-c", WITHOUT_ENV_FILE, *words("broken"), "--workers", "1"]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log, deadline = tmp_path / "broken" / "sweep.jsonl", time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and log.read_bytes().count(b"\n") > 1:
            process.send_signal(signal.SIGINT)
            break
        time.sleep(0.005)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "Broken off; the same command goes on from here.\n")
    done = log.read_bytes().count(b"\n") - 1
    assert 0 < done < 2_400 and not (tmp_path / "broken" / "ranking.csv").exists()
    assert main(words("broken")) == 0 == main(words("whole"))
    assert len(log.read_text().splitlines()) == 2_401
    one, other = ((tmp_path / name / "ranking.csv").read_text() for name in ("broken", "whole"))
    assert one == other and one.count("\n") == 2_401


@pytest.mark.long
def test_a_file_of_another_sweep_is_refused(candles, tmp_path):
    log = tmp_path / "sweep.jsonl"
    sweep_over(candles).run(variants(GRID, sample=1), log)
    other = sweep_over(candles.cut(0, 5_000))
    with pytest.raises(SettingsError, match="another sweep"):
        other.run(variants(GRID, sample=1), log)


def changed(candles, column):
    columns = {name: getattr(candles, name).copy() for name in Candles.__dataclass_fields__}
    columns[column][3_000] *= 1 if column == "open_ms" else 2
    return Candles(**columns)


@pytest.mark.long
@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("funding", "funding"), ("high", "candles"), ("low", "candles"), ("open", "candles"), ("volume", "candles"),
        ("close", "candles"), ("agent", "agent"), ("balance", "rules, limits or costs"), ("span", "span"),
        ("contract", "rules, limits or costs"), ("program", "program"),
    ],
)  # fmt: skip
def test_every_input_belongs_to_the_key_of_a_sweep(candles, tmp_path, monkeypatch, what, named):
    log, wanted = tmp_path / "sweep.jsonl", variants(GRID, sample=1)
    from_ms, to_ms = int(candles.open_ms[LEAST_WARM_UP]), int(candles.open_ms[-1]) + MINUTE_MS
    Sweep(candles=candles, setup=Setup(), taught=agent_for, from_ms=from_ms, to_ms=to_ms, funding={0: 0.0001}).run(
        wanted, log
    )
    before = log.read_bytes()
    given = {"candles": candles, "setup": Setup(), "agent": agent_for, "from": from_ms, "funding": {0: 0.0001}}
    if what in Candles.__dataclass_fields__:
        given["candles"] = changed(candles, what)
    elif what == "funding":
        given["funding"] = {0: 0.0002}
    elif what == "agent":
        given["agent"] = lambda rules: QLearningAgent(exploration_rate=0.4, allow_short=rules.allow_short)
    elif what == "balance":
        given["setup"] = replace(Setup(), balance=Decimal(9_999))
    elif what == "contract":
        given["setup"] = replace(Setup(), contract=replace(Setup().listed, funding_hours=4))
    elif what == "span":
        given["from"] = from_ms + MINUTE_MS
    else:
        monkeypatch.setattr("src.backtest.sweep.program_hash", lambda: "another version")
    other = Sweep(
        candles=given["candles"],
        setup=given["setup"],
        taught=given["agent"],
        from_ms=given["from"],
        to_ms=to_ms,
        funding=given["funding"],
    )
    with pytest.raises(SettingsError, match="belongs to another sweep") as refusal:
        other.run(wanted, log)
    assert f"different: {named}" in str(refusal.value)
    assert log.read_bytes() == before


@pytest.mark.long
@pytest.mark.parametrize("damage", ["{broken", "[1, 2]", '{"variant": "x"}', "", "\x00\x01", '{"sweep": 1}'])
def test_a_broken_line_of_a_log_is_tried_again(candles, tmp_path, damage):
    log, wanted = tmp_path / "sweep.jsonl", variants(GRID, sample=3)
    whole = sweep_over(candles).run(wanted, log)
    lines = log.read_text().splitlines()
    log.write_text("\n".join([lines[0], damage, *lines[2:]]) + "\n")
    assert sweep_over(candles).run(wanted, log) == whole
    assert len(log.read_text().splitlines()) == 4
    log.write_text(damage + "\n")
    with pytest.raises(SettingsError, match=r"does not say what it was made from|belongs to another"):
        sweep_over(candles).run(wanted, log)


def test_values_that_are_equal_are_one_try():
    assert parse_grid(["leverage=5,5,05", "stop_loss_share=0.01,0.010,0.02", "votes=ema+trend,ema+trend"]) == {
        "leverage": ("5",),
        "stop_loss_share": ("0.01", "0.02"),
        "votes": ("ema+trend",),
    }


def test_without_ray_the_sentence_says_what_to_install(candles):
    pytest.importorskip("numba")
    try:
        import ray  # noqa: F401
    except ImportError:
        with pytest.raises(SettingsError, match=r"requirements-ray\.txt"):
            list(sweep_over(candles)._on_cluster([], "auto"))
    else:
        pytest.skip("ray is installed")


def test_the_best_of_many_worthless_variants_is_no_find():
    dice = np.random.default_rng(1)
    tried = [dice.normal(0.0, 0.01, 250) for _ in range(200)]
    ratios = [daily_ratio(each) for each in tried]
    best = tried[int(np.argmax(ratios))]
    found = deflated_sharpe(best, ratios)
    assert found.tried == 200
    assert found.luck == pytest.approx(max(ratios), rel=0.25)
    assert found.probability < 0.9
    assert deflated_sharpe(best, [daily_ratio(best)]).probability > 0.99


@given(st.integers(2, 50), st.integers(51, 5_000))
def test_more_tries_raise_what_luck_alone_would_reach(few, many):
    assert expected_best(few, 0.1) < expected_best(many, 0.1)


def test_near_twins_are_judged_by_chance_s_own_scatter_and_duplicates_are_counted_once():
    """Nine variants that hardly differ once got a probability of 1.00: their own scatter is next to nothing."""
    dice = np.random.default_rng(4)
    base = dice.normal(0.0006, 0.01, 700)
    twins = [base + dice.normal(0.0, 0.00002, 700) for _ in range(9)]
    rows = [each.tolist() for each in (*twins, twins[0], twins[1])]
    ratios = distinct_ratios(rows)
    best = max(twins, key=daily_ratio)
    found = deflated_sharpe(best, ratios)
    assert found.tried == len(ratios) == 9
    assert np.std(ratios) < 0.1 / np.sqrt(700)
    assert found.luck == pytest.approx(1.0 / np.sqrt(700) * 1.485, rel=0.05)  # the mean highest of nine normals
    assert found.probability < 0.7


def test_tries_of_earlier_sittings_count():
    dice = np.random.default_rng(4)
    best = dice.normal(0.001, 0.01, 700)
    few, many = (deflated_sharpe(best, [daily_ratio(best)], recorded) for recorded in (1, 837))
    assert (few.tried, many.tried) == (1, 837)
    assert few.luck == 0.0
    assert many.probability < few.probability


def test_too_little_to_judge_is_unknown():
    assert deflated_sharpe(np.zeros(100), [0.0]).probability is None
    assert deflated_sharpe(np.ones(5), [0.1]).probability is None


@pytest.mark.long
def test_walk_forward_trades_only_what_it_has_not_learnt_from():
    candles = Candles.of(random_candles(10 * 1_440, seed=5))
    from_ms = int(candles.open_ms[0]) + 4 * DAY_MS
    taught = []

    def new_agent(rules):
        taught.append(rules)
        return QLearningAgent(exploration_rate=0.3, allow_short=rules.allow_short)

    to_ms = int(candles.open_ms[-1])
    walked = walk_forward(
        candles, Setup(), new_agent, from_ms, to_ms, train_days=3, test_days=2,
        variants=variants(parse_grid(["min_signal_strength=2,3"])),
    )  # fmt: skip
    assert [fold.test_ms for fold in walked.folds] == [from_ms, from_ms + 2 * DAY_MS, from_ms + 4 * DAY_MS]
    assert all(fold.test_ms - fold.train_ms == 3 * DAY_MS for fold in walked.folds)
    assert walked.outcome.instants[0] >= from_ms
    assert (np.diff(walked.outcome.instants) == MINUTE_MS).all()
    assert all(trade.entry_ms >= from_ms for trade in walked.outcome.trades)
    assert walked.outcome.trades


def test_walk_forward_without_a_past_is_refused(candles):
    with pytest.raises(DataRefused, match="days"):
        walk_forward(candles, Setup(), agent_for, int(candles.open_ms[2_000]), int(candles.open_ms[-1]), train_days=30)
