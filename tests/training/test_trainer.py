"""What retraining promises: one seed one table, nothing judged that was heard, nothing lost, nothing worse."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from src.backtest.config import Setup
from src.domain.clock import ManualClock
from src.domain.errors import DataRefused, ModelRefused
from src.domain.risk import RiskLimits
from src.reporting.service import ReportService
from src.storage.database import TradingDatabase
from src.storage.rows import Owner
from src.strategy.q_agent import QLearningAgent
from src.strategy.q_state import STATES
from src.strategy.rules import DecisionRules, thresholds
from src.training.checkpoints import ModelFiles, NoCheckpoint
from src.training.dataset import Outcomes, samples_of_candles, samples_of_database
from src.training.episodes import (
    Episode,
    EpisodeRunner,
    course_of,
    learn_outcomes,
    rehearse,
    rehearsed,
    spread_over_regimes,
)
from src.training.evaluation import ModelEvaluator, ModelScore, folds_of, verdict
from src.training.trainer import ModelTrainer, TrainingRequest, analytics_of
from tests.candles import random_candles
from tests.lessons import FALLING, RISING, START_MS, fill, samples

RULES = DecisionRules()
LIMITS = RiskLimits()
T = thresholds(RULES, LIMITS)


def untaught() -> QLearningAgent:
    return QLearningAgent(allow_short=False)


def taught(heard, episodes: int = 20, seed: int = 7) -> QLearningAgent:
    pupil = EpisodeRunner(untaught(), heard, T, 0.5, (seed, 0))
    pupil.learn_until(episodes, lambda: False, lambda _: None)
    return pupil.finish({})


def tables(agent: QLearningAgent) -> tuple[bytes, ...]:
    return tuple(each.tobytes() for each in (agent.value, agent.mean_square, agent.visits))


def retraining(folder, heard, stop=None, on_episode=lambda *_: None, database=None) -> ModelTrainer:
    stop = stop or threading.Event()
    judge = ModelEvaluator(heard, Setup(rules=RULES, limits=LIMITS), T, stop)
    files = ModelFiles(folder / "rl_trading_model.pkl")
    return ModelTrainer(
        samples=heard,
        judge=judge,
        t=T,
        blank=untaught,
        files=files,
        database=database,
        clock=ManualClock(START_MS),
        stop=stop,
        on_episode=on_episode,
    )


def test_the_same_seed_gives_the_same_table_bit_for_bit_and_another_seed_another():
    heard = samples(1_000)
    assert tables(taught(heard)) == tables(taught(heard))
    assert tables(taught(heard)) != tables(taught(heard, seed=8))


def test_an_interrupted_run_goes_on_to_the_very_table_of_an_uninterrupted_one(tmp_path):
    heard, order = samples(2_400), TrainingRequest(episodes=30, seed=5)
    whole = retraining(tmp_path / "whole", heard).run(order, "r")
    stop = threading.Event()

    def interrupt(step, _steps, episode):
        if (step, episode.number) == (2, 11):
            stop.set()

    broken = retraining(tmp_path / "broken", heard, stop, interrupt).run(order, "r")
    assert (broken.status, len(broken.episodes)) == ("interrupted", 11)
    assert not (tmp_path / "broken" / "rl_trading_model.pkl").exists()
    resumed = retraining(tmp_path / "broken", heard).run(replace(order, resume=True), "r")
    assert (resumed.status, resumed.candidate, resumed.episodes) == (whole.status, whole.candidate, whole.episodes)
    one, other = (QLearningAgent.load(tmp_path / name / "rl_trading_model.pkl") for name in ("whole", "broken"))
    assert tables(one) == tables(other)
    assert not (tmp_path / "broken" / "rl_trading_model_checkpoint.pkl").exists()


def test_an_interrupted_run_is_not_continued_with_other_data_or_another_seed(tmp_path):
    heard, stop = samples(400), threading.Event()
    stop.set()
    retraining(tmp_path, heard, stop).run(TrainingRequest(episodes=5), "r")
    for other, order in ((samples(401), TrainingRequest(episodes=5)), (heard, TrainingRequest(episodes=5, seed=8))):
        with pytest.raises(ModelRefused, match=r"differs in (data|seed)"):
            retraining(tmp_path, other).run(replace(order, resume=True), "r")
    with pytest.raises(NoCheckpoint, match="without --resume"):
        retraining(tmp_path / "empty", heard).run(TrainingRequest(resume=True), "r")


def test_a_model_that_earns_on_unseen_data_takes_over_and_one_no_better_does_not(tmp_path):
    heard = samples(2_400)
    first = retraining(tmp_path, heard).run(TrainingRequest(episodes=20), "r")
    assert first.status == "promoted" and first.candidate.net_return > 0.1 and first.present is None
    kept = (tmp_path / "rl_trading_model.pkl").read_bytes()
    again = retraining(tmp_path, heard).run(TrainingRequest(episodes=20), "r")
    assert (again.status, again.present) == ("not_better", again.candidate)
    assert again.present_had_seen
    assert (tmp_path / "rl_trading_model.pkl").read_bytes() == kept
    forced = retraining(tmp_path, heard).run(TrainingRequest(episodes=20, force=True), "r")
    assert forced.status == "promoted" and "--force" in forced.verdict


def test_a_market_that_pays_less_than_its_costs_promotes_nothing(tmp_path):
    result = retraining(tmp_path, samples(2_400, step=0.0001)).run(TrainingRequest(episodes=20), "r")
    assert result.status == "not_better"
    assert not (tmp_path / "rl_trading_model.pkl").exists()


def test_nothing_that_judges_was_heard():
    heard = samples(2_400)
    folds = folds_of(heard)
    assert len(folds) == 3 and len(folds_of(samples(400))) == 1
    for fold in folds:
        learnt = heard.between(0, fold.test_from_ms)
        assert learnt.open_ms.max() + heard.interval_ms <= fold.test_from_ms
        assert not learnt.linked[-1]
    assert folds[0].test_to_ms == folds[1].test_from_ms
    assert folds[-1].test_to_ms > heard.open_ms.max()


def test_what_comes_later_changes_nothing_that_was_learnt_before():
    heard = samples(1_000)
    changed = replace(heard, price=np.where(heard.open_ms >= START_MS + 60_000 * 600, 1.0, heard.price))
    cut = START_MS + 60_000 * 600
    assert tables(taught(heard.between(0, cut))) == tables(taught(changed.between(0, cut)))


@pytest.mark.parametrize(
    ("candidate", "present", "better"),
    [
        (ModelScore(0.05, 20, 12), None, True),
        (ModelScore(0.05, 20, 12), ModelScore(0.04, 30, 10), True),
        (ModelScore(0.05, 20, 12), ModelScore(0.05, 20, 12), False),
        (ModelScore(0.0, 20, 12), None, False),
        (ModelScore(-0.01, 20, 12), ModelScore(-0.05, 20, 12), False),
        (ModelScore(0.05, 9, 9), None, False),
    ],
)
def test_better_is_more_than_the_present_model_and_more_than_no_trading_in_ten_trades(candidate, present, better):
    assert verdict(candidate, present)[0] is better


def test_a_result_beyond_two_percent_is_heard_twice_as_loudly():
    def lesson(pnl):
        value, square = np.zeros((1, 3, 3)), np.zeros((1, 3, 3))
        weight = np.array([2.0 if abs(pnl) > 0.02 else 1.0])
        learn_outcomes(
            np.array([0]), np.array([1]), np.array([pnl]), weight, value, square, np.array([1_000]), 0.01
        )  # fmt: skip
        return value[0, 1, 1]

    assert lesson(0.01) == pytest.approx(0.01 * 0.01)
    assert lesson(-0.03) == pytest.approx(-0.03 * 0.02)


def test_finished_trades_change_what_an_entry_is_worth():
    heard = samples(400)
    at = int(np.flatnonzero(heard.state == RISING)[0])
    loss = Outcomes(np.array([at]), np.array([1]), np.array([-0.03]))
    without, with_loss = taught(heard), taught(replace(heard, outcomes=loss))
    assert with_loss.value[RISING, 1, 1] < without.value[RISING, 1, 1]
    assert with_loss.value[FALLING, 1, 2] == pytest.approx(without.value[FALLING, 1, 2], abs=0.01)


@pytest.mark.parametrize("learns", [False, True])
def test_the_compiled_rehearsal_equals_the_plain_one(learns):
    heard = samples(600)
    one, other = taught(heard), taught(heard)
    course = course_of(heard)
    plain = rehearsed(one, course, T, 0.5, learns, rehearse)
    fast = rehearsed(other, course, T, 0.5, learns)
    assert fast == plain and plain.trades > 5
    assert tables(one) == tables(other)


def test_a_rehearsal_pays_costs_on_both_sides_and_ends_with_the_pair():
    heard = samples(21, step=0.01, seed=1)
    agent = taught(samples(400, step=0.01))
    marks = rehearsed(agent, course_of(heard), T, 1.0, False)
    assert marks.trades >= 1
    only = replace(heard, side=np.where(np.arange(21) == 2, 1, 0).astype(np.int8))
    held = DecisionRules(cut_losses_on_hold=False)
    figures = thresholds(held, replace(LIMITS, take_profit_share=LIMITS.take_profit_share * 10))
    course = course_of(only.between(0, START_MS + 60_000 * 8))
    marks = rehearsed(agent, course, figures, 1.0, False)
    move = only.price[7] / only.price[2] - 1.0
    cost = agent.one_way_cost_share * (2.0 + move)
    assert (marks.trades, marks.equity - 1.0) == (1, pytest.approx(move - cost))


def test_what_no_context_told_is_told_of_each_regime():
    agent = untaught()
    agent.value[4] = 1.5  # state 4: regime 1, so it is overwritten by that of regime 0
    agent.value[1] = 0.5  # regime 0, second of the last digit
    spread_over_regimes(agent)
    assert (agent.value[1, 0, 0], agent.value[4, 0, 0], agent.value[7, 0, 0]) == (0.5, 0.5, 0.5)


@pytest.fixture
def database(tmp_path):
    made = TradingDatabase(f"sqlite:///{tmp_path}/t.db", Owner("one", "paper", "synthetic"))
    made.migrate()
    yield made
    made.close()


def test_the_bot_hears_its_own_turns_and_trades_and_nobody_elses(database, tmp_path):
    fill(database, 60)
    other = TradingDatabase(f"sqlite:///{tmp_path}/t.db", Owner("two", "paper", "synthetic"))
    fill(other, 30, symbol="ETHUSDT")
    other.close()
    heard = samples_of_database(database, RULES, 30)
    expected = samples(60)
    assert heard.symbols == ("BTCUSDT",) and len(heard) == 60
    for name in ("open_ms", "price", "state", "side", "strength", "linked"):
        np.testing.assert_array_equal(getattr(heard, name), getattr(expected, name), name)
    assert (heard.outcomes.row.tolist(), heard.outcomes.sign.tolist()) == ([9], [1])
    assert heard.outcomes.pnl_share.tolist() == pytest.approx([-0.03])


def test_only_the_last_days_are_heard_and_turns_on_one_candle_are_one_lesson(database):
    fill(database, 3_000)
    assert len(samples_of_database(database, RULES, 1)) == 1_441
    slow = samples_of_database(database, replace(RULES, candle_interval="1h"), 30)
    assert 50 <= len(slow) <= 51
    assert set(np.diff(slow.open_ms)) == {3_600_000}


def test_turns_seen_with_other_longer_trends_teach_nothing(database):
    fill(database, 60)
    seeing = replace(RULES, trend_intervals=("1h",))
    assert (samples_of_database(database, RULES, 30).state >= 0).sum() > 0
    assert (samples_of_database(database, seeing, 30).state >= 0).sum() == 0


def test_candles_are_heard_with_the_longer_trends_that_the_rules_ask_for(tmp_path):
    rows = [f"{c.open_ms},{c.open},{c.high},{c.low},{c.close},{c.volume}" for c in random_candles(1_500)]
    (tmp_path / "BTCUSDT-1m-a.csv").write_text("\n".join(rows))
    plain = samples_of_candles([tmp_path / "BTCUSDT-1m-a.csv"], RULES)
    seeing = samples_of_candles([tmp_path / "BTCUSDT-1m-a.csv"], replace(RULES, trend_intervals=("15m",)))
    known = plain.state >= 0
    np.testing.assert_array_equal(seeing.state[known] % STATES, plain.state[known])
    assert len(set(seeing.state[known] // STATES) - {0}) >= 2
    pupil = EpisodeRunner(QLearningAgent(trend_intervals=("15m",)), seeing, thresholds(RULES, RiskLimits()), 1.0, (1,))
    assert pupil.learn_until(2, lambda: False, lambda _episode: None)
    assert pupil.finish({}).visits[STATES:].sum() > 0


def test_every_run_and_episode_is_written_down(database, tmp_path):
    heard = samples(2_400)
    result = retraining(tmp_path, heard, database=database).run(TrainingRequest(episodes=120), "r")
    reports = ReportService(database)
    run = reports.training_runs()[0]
    assert (run["status"], run["accepted"], run["samples"], run["seed"]) == ("done", True, 2_400, 7)
    assert run["data_hash"] == heard.data_sha256
    assert run["metrics"]["candidate"]["net_return"] == pytest.approx(result.candidate.net_return)
    assert [row["episode"] for row in reports.training_episodes(run["id"])] == list(range(1, 121))


def test_a_run_that_fails_is_written_down_as_failed(database, tmp_path, monkeypatch):
    run = retraining(tmp_path, samples(400), database=database)

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(QLearningAgent, "save", full)
    with pytest.raises(OSError, match="No space"):
        run.run(TrainingRequest(episodes=50), "r")
    row = ReportService(database).training_runs()[0]
    assert (row["status"], row["accepted"]) == ("failed", None)


def test_ten_backups_are_kept_and_rolling_back_twice_changes_nothing(tmp_path):
    files = ModelFiles(tmp_path / "rl_trading_model.pkl")
    assert files.back_up(START_MS) is None
    agent = untaught()
    for number in range(14):
        agent.value[0, 0, 0] = float(number)
        agent.save(files.model, START_MS)
        files.back_up(START_MS + number)
    assert len(files.backups()) == 10
    assert len(list(tmp_path.glob("*_backup_*.sha256"))) == 10
    files.back_up_episode(agent, 50, START_MS + 100)
    assert files.roll_back(START_MS + 200).name.endswith("_episode050.pkl") is False
    assert QLearningAgent.load(files.model).value[0, 0, 0] == 12.0
    files.roll_back(START_MS + 300)
    assert QLearningAgent.load(files.model).value[0, 0, 0] == 13.0


def test_a_damaged_backup_is_refused_and_the_present_model_stands(tmp_path):
    files = ModelFiles(tmp_path / "rl_trading_model.pkl")
    agent = untaught()
    agent.save(files.model, START_MS)
    backup = files.back_up(START_MS)
    agent.value[0, 0, 0] = 1.0
    agent.save(files.model, START_MS)
    backup.write_bytes(b"rotten")
    with pytest.raises(ModelRefused):
        files.roll_back(START_MS + 1)
    assert QLearningAgent.load(files.model).value[0, 0, 0] == 1.0
    with pytest.raises(NoCheckpoint):
        ModelFiles(tmp_path / "other.pkl").roll_back(START_MS)


def test_candles_of_two_pairs_or_twice_the_same_minutes_are_refused(tmp_path):
    for name in ("BTCUSDT-1m-a.csv", "BTCUSDT-1m-b.csv", "ETHUSDT-1m-a.csv"):
        lines = [f"{c.open_ms},{c.open},{c.high},{c.low},{c.close},{c.volume}" for c in random_candles(300)]
        (tmp_path / name).write_text("\n".join(lines))
    with pytest.raises(DataRefused, match="2 pairs"):
        samples_of_candles([tmp_path / "BTCUSDT-1m-a.csv", tmp_path / "ETHUSDT-1m-a.csv"], RULES)
    with pytest.raises(DataRefused, match="each stretch once"):
        samples_of_candles([tmp_path / "BTCUSDT-1m-a.csv", tmp_path / "BTCUSDT-1m-b.csv"], RULES)
    heard = samples_of_candles([tmp_path / "BTCUSDT-1m-a.csv"], RULES)
    assert (len(heard), int((heard.state >= 0).sum())) == (300, 101)
    slow = samples_of_candles([tmp_path / "BTCUSDT-1m-a.csv"], replace(RULES, candle_interval="5m"))
    assert len(slow) == 59 and set(np.diff(slow.open_ms)) == {300_000}


def test_analytics_compare_the_recent_with_the_early_and_name_the_best_by_reward():
    early = [Episode(number, 10, 5, 1.0, 0.0) for number in range(1, 51)]
    late = [Episode(number, 20, 12, 2.0 if number != 70 else 9.0, 0.0) for number in range(51, 101)]
    seen = analytics_of([*early, *late])
    assert (seen.best.number, seen.recent_trades) == (70, 20)
    assert (seen.early_win_rate, seen.recent_win_rate) == (pytest.approx(0.5), pytest.approx(0.6))
    assert seen.improvement == pytest.approx(0.2)
    silent = analytics_of([Episode(1, 0, 0, 0.0, 0.0)])
    assert (silent.best, silent.recent_win_rate, silent.improvement) == (None, None, None)
