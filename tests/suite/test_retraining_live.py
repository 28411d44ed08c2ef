"""Retraining beside a running bot: it takes the promoted model over at its next turn; rules on longer candles start."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from src.strategy.q_agent import QLearningAgent
from tests.paper_exchange.running import ROOT, wait_until
from tests.suite.running import Bot, suite

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def retrain(bot: Bot, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "retrain_rl_model.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, env=bot.environment(), capture_output=True, text=True, timeout=120)


def made(tmp_path: Path) -> Path:
    place = tmp_path / "retrained"
    place.mkdir()
    return place


def test_a_running_bot_takes_the_promoted_model_over_at_its_next_turn(tmp_path):
    with suite(made(tmp_path), speed=120.0, TRAINING_CANDLES="1000") as (_exchange, bot):
        bot.start()
        bot.wait_for_cycles(60, 90)
        first = (bot.folder / "model.pkl").read_bytes()
        done = retrain(bot, "--force", "--json")
        assert done.returncode == 0, done.stderr
        promoted = (bot.folder / "model.pkl").read_bytes()
        assert promoted != first
        bot.wait_until_said("Loaded RL model from model.pkl", 15)
        bot.wait_for_cycles(2)
        assert bot.alive and "Traceback" not in bot.log
        assert bot.stop() == 0
        lessons = int(re.findall(r"Loaded RL model from model\.pkl \(([\d,]+) lessons\)", bot.log)[-1].replace(",", ""))
        saved = QLearningAgent.load(bot.folder / "model.pkl")
        assert saved.lessons > lessons, "the bot learnt on, from the promoted model, and saved it"
        assert json.loads(done.stdout)["model_sha256"] == hashlib.sha256(promoted).hexdigest()
        assert saved.training.metrics.keys() == {"unseen_return", "unseen_trades"}
        assert bot.rows("SELECT status, accepted FROM training_runs") == [("done", 1)]
        assert bot.rows("SELECT COUNT(*) FROM training_episodes") == [(150,)]


def test_rules_on_longer_candles_start_turn_every_minute_and_show_those_candles(tmp_path):
    with suite(made(tmp_path), speed=60.0, RULES="patient_trend") as (_exchange, bot):
        bot.start()
        bot.wait_for_cycles(6, 60)
        rows = bot.rows("SELECT substr(timestamp, 1, 16), ema_200, strength, gates FROM signals ORDER BY id")
        assert len({minute for minute, *_ in rows}) == len(rows) >= 6
        assert all(ema is not None for _, ema, *_ in rows), "a thousand four-hour candles were known at the first turn"
        assert len({ema for _, ema, *_ in rows}) == 1, "minutes change nothing before the candle closes"
        assert all('"agent"' in gates and '"confidence"' not in gates for *_, gates in rows)
        assert bot.stop() == 0
        model = QLearningAgent.load(bot.folder / "model.pkl")
        assert model.candle_interval == "4h"


def test_on_paper_a_model_of_other_candles_is_put_aside_and_another_is_trained(tmp_path):
    place = made(tmp_path)
    QLearningAgent(candle_interval="1m").save(place / "model.pkl", 1)
    kept = (place / "model.pkl").read_bytes()
    with suite(place, speed=60.0, RULES="patient_trend") as (_exchange, bot):
        bot.start()
        bot.wait_for_cycles(2, 60)
        assert "model of other rules put aside: file=model_1m.pkl" in bot.log and "refused" not in bot.log
        (gates,) = bot.rows("SELECT gates FROM signals ORDER BY id LIMIT 1")[0]
        assert {gate["name"]: gate["passed"] for gate in json.loads(gates)}["halt"]
        assert bot.stop() == 0
    assert (place / "model_1m.pkl").read_bytes() == kept
    assert QLearningAgent.load(place / "model.pkl").candle_interval == "4h"


def test_a_damaged_model_is_refused_in_words_and_stops_entries(tmp_path):
    place = made(tmp_path)
    QLearningAgent().save(place / "model.pkl", 1)
    (place / "model.pkl").write_bytes((place / "model.pkl").read_bytes()[:-9])
    with suite(place, speed=60.0) as (_exchange, bot):
        bot.start()
        wait_until(lambda: bool(bot.rows("SELECT id FROM signals")) or not bot.alive, 60, 0.05)
        (gates,) = bot.rows("SELECT gates FROM signals ORDER BY id LIMIT 1")[0]
        assert "does not match the hash" in gates and "does not match the hash" in bot.log
        assert bot.stop() == 0
