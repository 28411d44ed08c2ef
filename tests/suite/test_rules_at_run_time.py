"""A person changes the rules of the running bot: every set that is offered is followed, candles and agent included."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from src.domain.clock import SystemClock
from src.storage.command_queue import OperatorCommand, find, submit
from src.storage.database import TradingDatabase
from src.storage.rows import Owner
from tests.paper_exchange.running import wait_until
from tests.suite.running import BUSY, Bot, suite

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

# each ordered pair of the three delivered sets once
TOUR = (
    "safety_first", "patient_votes", "safety_first", "patient_trend", "patient_votes", "patient_trend", "safety_first",
)  # fmt: skip
INTERVALS = {"safety_first": "1m", "patient_votes": "1h", "patient_trend": "4h"}


def choose(bot: Bot, name: str, number: int) -> tuple[str, str]:
    """Wish for a set as the page does, and return what became of it."""
    owner = Owner(bot.environment()["BOT_ID"], "paper", "synthetic")
    database = TradingDatabase(f"sqlite:///{bot.database}", owner)
    try:
        key = f"rules-{number}-key-0000000000"
        command = OperatorCommand(key, "rules", name, "person in session 1", "127.0.0.1")
        submit(database, owner, command, SystemClock().now_ms())
        done = ("done", "failed", "refused", "expired")
        wait_until(lambda: find(database, key)["status"] in done or not bot.alive, 90.0, 0.1)
        found = find(database, key)
        return found["status"], found["answer"]
    finally:
        database.close()


def test_all_six_changes_between_the_delivered_sets_are_followed_without_a_restart(tmp_path: Path):
    place = tmp_path / "bot"
    place.mkdir()
    with suite(place, speed=10.0, **BUSY) as (_, bot):
        bot.start()
        bot.wait_for_cycles(2)
        process = bot.process.pid
        for number, (before, name) in enumerate(pairwise(TOUR)):
            status, told = choose(bot, name, number)
            assert status == "done", f"{before} to {name}: {told}"
            bot.wait_for_cycles(2)
            details = json.loads(bot.rows("SELECT details FROM bot_status WHERE process = 'trading_bot'")[0][0])
            assert details["rules"] == name
            (rsi, reason) = bot.rows("SELECT rsi, reason FROM signals ORDER BY id DESC LIMIT 1")[0]
            assert rsi is not None, f"after {before} to {name} nothing is known: {reason}"
        assert bot.process.pid == process and bot.alive
        assert bot.stop() == 0
        # the models of all three stand, each beside the others
        models = {path.name for path in place.glob("model*.pkl")}
        assert len(models) == 3, models
