"""Promises of the agent: it learns what costs allow, says how sure it is, and keeps what it learnt."""

import contextlib
import hashlib
import json
import math
import os
import pickle
import random
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.domain.errors import ModelRefused
from src.strategy import q_checkpoint
from src.strategy.indicators import EMPTY, NOT_READY, Indicators, step
from src.strategy.q_agent import (
    FEATURES,
    STATES,
    Action,
    QLearningAgent,
    Training,
    context_code,
    encode,
    learn_pass,
    migrate_pickle,
    position_after,
    trade_reward,
)
from src.strategy.q_state import REGIMES, TREND_ZONES, features_of, in_context, states_of, trends_code
from src.strategy.votes import vote_values
from tests.candles import random_candles
from tests.compiled import compiled

COST = 0.0006


def agent(**changes: object) -> QLearningAgent:
    return QLearningAgent(**{"discount": 0.0, "one_way_cost_share": COST, **changes})


def taught(returns: list[float], **changes: object) -> QLearningAgent:
    """Return an agent that saw each return once on the way from state 1 to state 2."""
    pupil = agent(**changes)
    for each in returns:
        pupil.learn(1, 0, each, 2)
    return pupil


@pytest.fixture(scope="module")
def market() -> tuple[np.ndarray, np.ndarray]:
    """States and returns of 1,500 random candles."""
    state, states, closes = EMPTY, [], []
    for candle in random_candles(1_500, seed=2):
        state, values = step(state, candle.high, candle.low, candle.close, candle.volume)
        states.append(encode(values, vote_values(values), 0))
        closes.append(candle.close)
    returns = np.zeros(len(closes))
    returns[:-1] = np.array(closes[1:]) / np.array(closes[:-1]) - 1.0
    return np.array(states), returns


# --- what it perceives -------------------------------------------------------------------------------------------


zones = st.tuples(*(st.integers(0, feature.zones - 1) for feature in FEATURES))


def indicators_in(zone: tuple[int, ...]) -> tuple[Indicators, tuple[int, ...], int]:
    """Return indicators, votes and context that lie in the given zone of each feature."""
    rsi, macd, ema, band, volume, adx, atr, regime, net = zone
    values = NOT_READY._replace(**dict.fromkeys(Indicators._fields, 100.0))._replace(
        rsi=(30.0, 40.0, 60.0, 70.0)[rsi],
        macd=(-1.0, 1.0)[macd // 2],
        macd_histogram=(-1.0, 1.0)[macd % 2],
        bollinger_lower=(99.0, 50.0, 0.0)[band],
        bollinger_upper=(200.0, 150.0, 101.0)[band],
        volume=(100.0, 160.0)[volume],
        volume_mean=100.0,
        adx=(20.0, 30.0)[adx],
        atr=(0.01, 0.1, 0.2)[atr],
    )
    rest = (-2, 0, 2)[net] - (ema - 1)
    others = [0, 0, 0, 0, 0]
    for place in range(abs(rest)):
        others[place] = 1 if rest > 0 else -1
    return values, (others[0], others[1], ema - 1, others[2], others[3], others[4]), regime


@given(zones)
def test_a_state_is_the_zones_written_one_behind_the_other(zone):
    expected = 0
    for number, feature in zip(zone, FEATURES, strict=True):
        expected = expected * feature.zones + number
    assert encode(*indicators_in(zone)) == expected
    assert 0 <= expected < STATES


@given(st.sampled_from(Indicators._fields))
def test_with_an_indicator_missing_it_perceives_nothing(name):
    values, votes, context = indicators_in((0,) * len(FEATURES))
    assert encode(values._replace(**{name: math.nan}), votes, context) == -1


def test_a_flat_market_lies_in_the_middle_of_its_bands():
    values, votes, context = indicators_in((1,) * len(FEATURES))
    flat = values._replace(bollinger_lower=100.0, bollinger_upper=100.0)
    assert encode(flat, votes, context) == encode(values, votes, context)


@given(zones, st.lists(st.integers(0, TREND_ZONES - 1), max_size=2))
def test_longer_trends_stand_in_front_of_the_other_zones(zone, trends):
    values, votes, regime = indicators_in(zone)
    context = regime + REGIMES * trends_code(trends)
    plain = encode(values, votes, regime)
    assert encode(values, votes, context) == trends_code(trends) * STATES + plain < states_of(("1h", "4h"))
    np.testing.assert_array_equal(
        in_context(np.array([encode(values, votes, 0)]), np.array([context])), [encode(values, votes, context)]
    )
    assert math.prod(each.zones for each in features_of(("1h",))) == states_of(("1h",))


def test_an_unknown_regime_is_a_value_of_its_own():
    assert context_code(None) == 0


# --- what it learns ----------------------------------------------------------------------------------------------


def test_where_each_action_leads():
    table = {(p, a): position_after(p, a, -1) for p in (-1, 0, 1) for a in (0, 1, 2)}
    assert table == {
        (-1, 0): -1, (-1, 1): 0, (-1, 2): -1, (0, 0): 0, (0, 1): 1, (0, 2): -1, (1, 0): 1, (1, 1): 1, (1, 2): 0,
    }  # fmt: skip
    assert position_after(0, Action.SELL, 0) == 0
    assert position_after(1, Action.SELL, 0) == 0


def test_one_passage_teaches_every_position_and_action():
    pupil = taught([0.01], allow_short=True)
    np.testing.assert_allclose(
        pupil.value[1],
        [
            [-0.01, -COST, -0.01],  # short: keep, close, keep
            [0.0, 0.01 - COST, -0.01 - COST],  # flat: nothing, long, short
            [0.01, 0.01, -COST],  # long: keep, keep, close
        ],
    )
    assert pupil.visits[1] == pupil.lessons == 1


def test_without_shorts_nothing_is_learnt_about_them():
    pupil = taught([0.01])
    np.testing.assert_array_equal(pupil.value[1, 0], [0.0, 0.0, 0.0])
    np.testing.assert_allclose(pupil.value[1, 1], [0.0, 0.01 - COST, 0.0])


@given(st.lists(st.floats(-0.05, 0.05), min_size=1, max_size=50))
def test_with_few_lessons_values_are_plain_means(returns):
    pupil = taught(returns, learning_rate=0.01)
    assert pupil.value[1, 2, 0] == pytest.approx(np.mean(returns), abs=1e-12)
    assert pupil.mean_square[1, 2, 0] == pytest.approx(np.mean(np.square(returns)), abs=1e-12)


def test_with_many_lessons_the_old_ones_fade():
    pupil = taught([0.01] * 1_000 + [-0.01] * 200, learning_rate=0.05)
    assert pupil.value[1, 2, 0] == pytest.approx(-0.01, rel=1e-3)


def test_what_follows_counts_discounted_and_in_the_position_taken():
    pupil = agent(discount=0.5)
    pupil.value[2, 2] = [0.04, 0.03, 0.0]
    pupil.value[2, 1] = [0.0, 0.02, 0.0]
    pupil.learn(1, 0, 0.01, 2)
    assert pupil.value[1, 1, Action.BUY] == pytest.approx(0.01 - COST + 0.5 * 0.04)
    assert pupil.value[1, 1, Action.HOLD] == pytest.approx(0.5 * 0.02)


def test_the_surprise_is_what_a_lesson_changed_for_the_position_held():
    pupil = agent()
    assert pupil.learn(1, 1, 0.01, 2) == pytest.approx(0.01)
    assert pupil.learn(1, 1, 0.01, 2) == pytest.approx(0.0)
    assert pupil.learn(1, 0, 0.01, 2) == 0.0


@pytest.mark.parametrize(("before", "after"), [(-1, 1), (1, -1), (-1, -1)])
def test_a_turn_it_did_not_perceive_teaches_nothing(before, after):
    pupil = agent()
    assert pupil.learn(before, 0, 0.01, after) == 0.0
    assert pupil.lessons == 0


def test_a_pass_is_its_turns_from_the_last_to_the_first(market):
    states, returns = market
    whole, single = QLearningAgent(), QLearningAgent()
    lessons = whole.train(states, returns, 1)
    for t in range(len(states) - 2, -1, -1):
        single.learn(int(states[t]), 0, float(returns[t]), int(states[t + 1]))
    assert lessons == whole.lessons == (states[:-1] >= 0).sum() == 1_500 - 200
    np.testing.assert_array_equal(whole.value, single.value)
    np.testing.assert_array_equal(whole.mean_square, single.mean_square)


def test_hearing_the_same_series_again_is_no_second_witness(market):
    once, thrice = QLearningAgent(), QLearningAgent()
    once.train(*market, 1)  # type: ignore[call-arg]
    thrice.train(*market, 3)  # type: ignore[call-arg]
    np.testing.assert_array_equal(once.visits, thrice.visits)
    assert not np.array_equal(once.value, thrice.value)


def test_it_learns_to_ride_a_trend_that_pays_its_costs_and_to_leave_one_that_does_not():
    """State 1 is followed by a rise, state 2 by a fall, each for 50 minutes."""
    states = np.array(([1] * 50 + [2] * 50) * 40)
    pays, does_not = np.where(states == 1, 0.0005, -0.0005), np.where(states == 1, 0.00001, -0.00001)
    pupil = QLearningAgent()
    pupil.train(states, pays, 3)
    assert pupil.recommend(1, 0, 0).action is Action.BUY
    assert pupil.recommend(1, 1, 0).action is Action.HOLD
    assert pupil.recommend(2, 1, 0).action is Action.SELL
    assert pupil.recommend(2, 0, 0).action is Action.HOLD
    pupil = QLearningAgent()
    pupil.train(states, does_not, 3)
    assert pupil.recommend(1, 0, 0).action is Action.HOLD


# --- what it recommends ------------------------------------------------------------------------------------------


def test_never_taught_it_holds_without_confidence():
    advice = QLearningAgent().recommend(5, 0, 0)
    assert (advice.action, advice.confidence, advice.state, advice.explored) == (Action.HOLD, 0.0, 5, False)
    assert QLearningAgent().recommend(-1, 0, 0).state == -1


def test_four_lessons_are_no_ground_for_confidence_and_five_are():
    assert taught([0.01, 0.02, 0.01, 0.02]).recommend(1, 0, 0).confidence == 0.0
    advice = taught([0.01, 0.02, 0.01, 0.02, 0.01]).recommend(1, 0, 0)
    assert advice.action is Action.BUY
    assert advice.confidence > 0.99


@pytest.mark.parametrize("mean", [0.0008, 0.001, 0.0015])
def test_confidence_is_the_stretched_probability_of_being_right(mean):
    """Flat, shorts off, no future: BUY earns return less cost, HOLD exactly 0; so one mean against zero."""
    returns = mean + np.random.default_rng(3).normal(0, 0.002, 40)
    advice = taught(list(returns)).recommend(1, 0, 0)
    earned = returns - COST
    z = earned.mean() / (earned.std(ddof=1) / math.sqrt(len(earned)))
    probability = 0.5 * (1 + math.erf(abs(z) / math.sqrt(2)))
    assert advice.action is (Action.BUY if z > 0 else Action.HOLD)
    assert advice.confidence == pytest.approx(2 * probability - 1, abs=1e-9)


def test_a_confidence_of_x_is_right_as_often_as_it_says():
    """2,000 worlds with a true edge drawn at random: among advice of 0.5 to 0.7, 75 to 85 % are truly better."""
    chance = np.random.default_rng(11)
    right = []
    for _ in range(2_000):
        edge = chance.normal(0, 0.001)
        returns = COST + edge + chance.normal(0, 0.002, 30)
        advice = taught(list(returns)).recommend(1, 0, 0) if len(right) < 150 else None
        if advice is None:
            break
        if 0.5 <= advice.confidence <= 0.7:
            right.append((advice.action is Action.BUY) == (edge > 0))
    assert len(right) == 150
    assert 0.68 <= np.mean(right) <= 0.92


def test_buying_more_of_what_is_held_is_no_rival_of_holding():
    advice = taught([0.01, 0.012, 0.011, 0.009, 0.01, 0.011]).recommend(1, 1, 0)
    assert advice.action is Action.HOLD
    assert advice.confidence > 0.9


@given(st.integers(0, 50), st.integers(-1, 1), st.integers(0, 2**45))
def test_the_same_question_gets_the_same_answer(state, position, instant):
    one, other = agent(exploration_rate=0.5), agent(exploration_rate=0.5)
    assert one.recommend(state, position, instant) == other.recommend(state, position, instant)


def test_it_explores_only_where_allowed_about_as_often_as_told_and_says_so():
    instants = range(0, 20_000 * 60_000, 60_000)
    assert not any(agent().recommend(1, 0, t).explored for t in instants[:2_000])
    explorer = agent(exploration_rate=0.02)
    tried = [advice for advice in (explorer.recommend(1, 0, t) for t in instants) if advice.explored]
    assert 0.016 < len(tried) / 20_000 < 0.024
    assert {advice.action for advice in tried} == {Action.BUY}  # SELL leads nowhere while shorts are off
    assert {advice.confidence for advice in tried} == {0.31}
    both = agent(exploration_rate=1.0, allow_short=True)
    assert {both.recommend(1, 0, t).action for t in instants[:100]} == {Action.BUY, Action.SELL}
    assert {both.recommend(1, 1, t).action for t in instants[:100]} == {Action.SELL}


def test_another_seed_explores_at_other_instants():
    instants = range(0, 1_000 * 60_000, 60_000)
    one = [agent(exploration_rate=0.1, seed=1).recommend(1, 0, t).explored for t in instants]
    other = [agent(exploration_rate=0.1, seed=2).recommend(1, 0, t).explored for t in instants]
    assert 0 < sum(a and b for a, b in zip(one, other, strict=True)) < sum(one) / 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": 0.0},
        {"learning_rate": 0.31},
        {"discount": 1.0},
        {"one_way_cost_share": -0.1},
        {"exploration_rate": 1.1},
        {"exploration_confidence": math.nan},
    ],
)
def test_figures_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"need|must"):
        agent(**wrong)


@pytest.mark.parametrize(
    ("pnl", "points"), [(0.03, 20.6), (0.02, 10.2), (0.005, 10.05), (0.0, 0.0), (-0.01, -10.1), (-0.05, -21.0)]
)
def test_reward_of_a_finished_trade(pnl, points):
    assert trade_reward(pnl) == pytest.approx(points)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_a_better_trade_never_earns_fewer_points(one, other):
    low, high = sorted((one, other))
    assert trade_reward(low) <= trade_reward(high)
    assert trade_reward(-one) == -trade_reward(one)


# --- its file ----------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path) -> Path:
    """A model of one lesson on the disk."""
    path = tmp_path / "models" / "rl_trading_model.pkl"
    pupil = taught([0.01, 0.02], allow_short=True, learning_rate=0.05, discount=0.9)
    pupil.training = Training(1, 2, 3, "abc", {"net": 0.5})
    pupil.save(path, 99)
    return path


def test_what_was_saved_is_loaded(saved):
    pupil = QLearningAgent.load(saved, exploration_rate=0.02, seed=3)
    original = taught([0.01, 0.02], allow_short=True, learning_rate=0.05, discount=0.9)
    for name in ("value", "mean_square", "visits"):
        np.testing.assert_array_equal(getattr(pupil, name), getattr(original, name))
    assert (pupil.learning_rate, pupil.discount, pupil.allow_short) == (0.05, 0.9, True)
    assert pupil.training == Training(1, 2, 3, "abc", {"net": 0.5})
    assert (pupil.exploration_rate, pupil.seed) == (0.02, 3)
    assert pupil.learn(1, 0, 0.01, 2) == 0.0
    assert pupil.visits[1] == 3


def test_the_file_says_what_it_is_and_is_its_owner_s_alone(saved):
    _, about = q_checkpoint.read_model(saved)
    assert about["format"] == "q-table"
    assert about["saved_ms"] == 99
    assert [each["name"] for each in about["features"]] == [feature.name for feature in FEATURES]
    sidecar = saved.with_name(saved.name + ".sha256")
    assert sidecar.read_text() == f"{hashlib.sha256(saved.read_bytes()).hexdigest()}  {saved.name}\n"
    for path in (saved, sidecar):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(saved.parent)) == [saved.name, sidecar.name]


def test_the_file_says_which_longer_trends_the_state_is_made_with_and_one_without_is_plain(saved, tmp_path):
    path = tmp_path / "seeing.pkl"
    QLearningAgent(trend_intervals=("1h", "4h")).save(path, 1)
    assert QLearningAgent.load(path).trend_intervals == ("1h", "4h")
    _, about = q_checkpoint.read_model(path)
    assert [each["name"] for each in about["features"]] == [each.name for each in features_of(("1h", "4h"))]
    _, plain = q_checkpoint.read_model(saved)
    del plain["trend_intervals"]  # as files were written before there were trends
    q_checkpoint.write_model(saved, q_checkpoint.read_model(saved)[0], plain)
    assert QLearningAgent.load(saved).trend_intervals == ()


def test_the_same_table_makes_the_same_file(saved, tmp_path):
    again = tmp_path / "again.pkl"
    QLearningAgent.load(saved).save(again, 99)
    assert again.read_bytes() == saved.read_bytes()


def test_a_kill_between_any_two_steps_of_saving_leaves_a_model_that_loads(saved, monkeypatch):
    """The machine dies after the first, second, ... file was put in place: old or new, it loads."""
    replace = q_checkpoint._replace
    newer = taught([0.03])
    for survived in range(3):
        done = []

        def dying(path, content, survived=survived, done=done):
            if len(done) == survived:
                raise KeyboardInterrupt
            done.append(path)
            replace(path, content)

        monkeypatch.setattr(q_checkpoint, "_replace", dying)
        with pytest.raises(KeyboardInterrupt):
            newer.save(saved, 100)
        expected = 0.03 if survived == 2 else 0.015
        assert QLearningAgent.load(saved).value[1, 2, 0] == pytest.approx(expected)


def test_a_full_disk_leaves_the_old_model_and_no_litter(saved, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        taught([0.03]).save(saved, 100)
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert len(os.listdir(saved.parent)) == 2
    QLearningAgent.load(saved)


def rewritten(path: Path, about: dict | None = None, **arrays: np.ndarray) -> Path:
    """Write the model anew with other arrays or another description, hash included."""
    held, described = q_checkpoint.read_model(path)
    q_checkpoint.write_model(path, {**held, **arrays}, described if about is None else {**described, **about})
    return path


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"value": np.zeros((3, 3))}, "misshapen"),
        ({"value": np.zeros((STATES, 3, 3), np.float32)}, "misshapen"),
        ({"value": np.full((STATES, 3, 3), np.nan)}, "impossible"),
        ({"mean_square": np.full((STATES, 3, 3), -1.0)}, "impossible"),
        ({"visits": np.full(STATES, -1)}, "impossible"),
        ({"about": {"features": []}}, "other features"),
        ({"about": {"votes": ["rsi", "macd", "ema", "bollinger", "volume", "trend", "seventh"]}}, "other votes"),
        ({"about": {"votes": 6}}, "other votes"),
        ({"about": {"trend_intervals": ["1h"]}}, "other features"),
        ({"about": {"trend_intervals": 7}}, "other features"),
        ({"about": {"format": "weights"}}, "format"),
        ({"about": {"version": 2}}, "version"),
        ({"about": {"learning_rate": "fast"}}, "damaged"),
        ({"about": {"discount": 2.0}}, "damaged"),
        ({"about": {"training": {"who": 1}}}, "damaged"),
    ],
)
def test_a_foreign_model_is_refused_in_one_sentence(saved, change, word):
    with pytest.raises(ModelRefused, match=word) as refusal:
        QLearningAgent.load(rewritten(saved, **change))
    assert str(saved) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(ModelRefused, match="no model"):
        QLearningAgent.load(tmp_path / "none.pkl")
    with pytest.raises(ModelRefused):
        QLearningAgent.load(tmp_path)


def test_a_changed_byte_is_noticed(saved):
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ModelRefused, match="hash"):
        QLearningAgent.load(saved)


@pytest.mark.long
@settings(deadline=None)
@given(st.data())
def test_no_damage_gets_past_the_reader_as_another_error(data):
    """Without the hash beside it, whatever the bytes are: a model or ``ModelRefused``, never anything else."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pkl"
        taught([0.01]).save(path, 1)
        path.with_name("model.pkl.sha256").unlink()
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        with contextlib.suppress(ModelRefused):
            QLearningAgent.load(path)


def resaved(path: Path, **members: bytes) -> None:
    """Write the model anew with other bytes in its archive, each entry with a right checksum, and no hash beside it."""
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (kept | {f"{name}.npy": content for name, content in members.items()}).items():
            archive.writestr(name, content)
    path.with_name(f"{path.name}.sha256").unlink(missing_ok=True)


def npy(header: bytes, rest: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """Return the bytes of an array file with this header."""
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + rest


@pytest.mark.parametrize(
    "member",
    [
        npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n", bytes(800)),  # claims 8 TB
        npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (100,\n", bytes(800)),  # tokenize.TokenError
        npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }\n", bytes(800)),
        npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (100,), }\n", bytes(800)),
        npy(b"{'descr': [('a', '<f8')] * 9, 'fortran_order': False, 'shape': (), }\n", bytes(8)),
        npy(b"(" * 9_000 + b"\n"),
        npy(b"{'descr': 'x', 'fortran_order': 3, 'shape': 'long'}\n"),
        npy(b"\xff\xfe\x00 nonsense"),
        npy(b"{}", version=b"\x09\x00"),
        b"\x93NUMPY",
        b"",
    ],
)
def test_a_header_that_lies_is_refused_before_memory_is_asked_for(saved, member):
    resaved(saved, value=member)
    with pytest.raises(ModelRefused):
        QLearningAgent.load(saved)


def test_too_many_arrays_are_refused(saved):
    resaved(saved, **{f"more{number}": npy(b"{}") for number in range(70)})
    with pytest.raises(ModelRefused, match="arrays"):
        QLearningAgent.load(saved)


@pytest.mark.parametrize("about", [b"[" * 20_000, b'{"a":' * 20_000, b"9" * 5_000, b"\xff", b"{}", b"null"])
def test_a_description_that_is_nonsense_is_refused(saved, about):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(about)},), }}\n".encode()
    resaved(saved, about=npy(header, about))
    with pytest.raises(ModelRefused):
        QLearningAgent.load(saved)


def test_of_thousands_of_damages_each_is_a_model_or_refused(saved):
    """Bytes changed and cut, in the archive and inside its members: never another error, never much memory."""
    dice, whole = random.Random(3), saved.read_bytes()
    with zipfile.ZipFile(saved) as archive:
        members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    saved.with_name(f"{saved.name}.sha256").unlink()
    for number in range(120):
        if number % 3:
            name = dice.choice(list(members))
            content = bytearray(members[name])
            for _ in range(dice.randint(1, 4)):
                content[dice.randrange(min(len(content), 160))] = dice.randrange(256)
            saved.write_bytes(whole)
            resaved(saved, **{name: bytes(content[: dice.choice((None, len(content) // 2))])})
        else:
            content = bytearray(whole)
            for _ in range(dice.randint(1, 4)):
                content[dice.randrange(len(content))] = dice.randrange(256)
            saved.write_bytes(content[: dice.randint(0, len(content))])
        with contextlib.suppress(ModelRefused):
            QLearningAgent.load(saved)


class Bomb:
    """Runs a command when an ordinary unpickler reads it."""

    def __reduce__(self):
        return os.system, ("echo harm > /tmp/harm-was-done",)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_in_place_of_the_model_is_refused_and_not_run(tmp_path, protocol, monkeypatch):
    run = []
    monkeypatch.setattr(os, "system", run.append)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"value": Bomb()}, protocol))
    for read in (QLearningAgent.load, migrate_pickle):
        with pytest.raises(ModelRefused):
            read(path)
    assert run == []


def test_an_archive_that_would_swell_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(q_checkpoint, "LARGEST_BYTES", 100_000)
    path = tmp_path / "model.pkl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("value.npy", bytes(100_001))
    with pytest.raises(ModelRefused, match="unpack"):
        QLearningAgent.load(path)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_an_old_pickle_of_our_tables_can_be_carried_over(tmp_path, protocol):
    path = tmp_path / "old.pkl"
    original = taught([0.01, 0.02])
    held = {"q_table": original.value, "visits": original.visits, "mean_square": original.mean_square, "epsilon": 0.1}
    path.write_bytes(pickle.dumps(held, protocol))
    carried = migrate_pickle(path)
    np.testing.assert_array_equal(carried.value, original.value)
    assert carried.lessons == 2


@pytest.mark.parametrize(
    "content", [[1, 2], {"q_table": np.zeros((9, 3))}, {"q_table": {"state": [0, 1]}}, {}, {"q_table": "text"}]
)
def test_an_old_pickle_over_other_states_is_refused(tmp_path, content):
    path = tmp_path / "old.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ModelRefused):
        migrate_pickle(path)


def test_an_old_pickle_may_come_from_an_older_numpy(tmp_path):
    path = tmp_path / "old.pkl"
    content = pickle.dumps({"value": taught([0.01]).value}, 2)
    path.write_bytes(content.replace(b"numpy._core.", b"numpy.core."))
    np.testing.assert_array_equal(migrate_pickle(path).value, taught([0.01]).value)


def test_a_damaged_pickle_is_refused(tmp_path):
    path = tmp_path / "old.pkl"
    path.write_bytes(pickle.dumps({"q_table": np.zeros((STATES, 3, 3))})[:1_000])
    with pytest.raises(ModelRefused):
        migrate_pickle(path)


def test_the_description_is_json_without_surprises(saved):
    with zipfile.ZipFile(saved) as archive, archive.open("about.npy") as stored:
        text = np.lib.format.read_array(stored, allow_pickle=False).tobytes()
    assert json.loads(text)["lessons"] == 2


# --- compiled ----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_compiled_learning_equals_the_plain_one_bit_for_bit(market):
    plain, fast = QLearningAgent(allow_short=True), QLearningAgent(allow_short=True)
    assert plain.train(*market, 2) == fast.train(*market, 2, compiled(learn_pass))  # type: ignore[call-arg]
    for name in ("value", "mean_square", "visits"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(fast, name))


@pytest.mark.long
def test_compiled_perception_equals_the_plain_one():
    fast, state = compiled(encode), EMPTY
    for candle in random_candles(1_000, seed=9):
        state, values = step(state, candle.high, candle.low, candle.close, candle.volume)
        for context in range(3):
            assert fast(values, vote_values(values), context) == encode(values, vote_values(values), context)
