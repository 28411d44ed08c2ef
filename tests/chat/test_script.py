"""The Telegram bot as a service: started by its script with a token, off without one, part of the status."""

from pathlib import Path

import pytest

from tests.chat.evening import OWNER_ID, STRANGER
from tests.paper_exchange.running import wait_until
from tests.project_copy import project_copy
from tests.standins.telegram import TOKEN, TelegramStandIn

pytestmark = pytest.mark.long


def test_with_a_token_it_answers_its_owner_and_stops_in_order(tmp_path: Path) -> None:
    telegram = TelegramStandIn()
    settings = {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_USERS": str(OWNER_ID), "TELEGRAM_API_URL": telegram.address}
    try:
        with project_copy(tmp_path / "copy", **settings) as project:
            started = project.run("start_telegram_bot.sh", "start")
            assert started.returncode == 0, started.stdout + started.stderr
            telegram.say(STRANGER, "/status")
            telegram.say(OWNER_ID, "/status")
            wait_until(lambda: bool(telegram.texts(OWNER_ID)), 30)
            assert "has not reported yet" in telegram.texts(OWNER_ID)[0] and telegram.texts(STRANGER) == []
            assert project.run("start_telegram_bot.sh", "status").returncode == 0
            assert "Telegram" in project.run("status_all.sh").stdout
            logs = "".join(path.read_text() for path in (project.folder / "logs").glob("telegram_bot*"))
            assert TOKEN not in logs
            assert project.run("start_telegram_bot.sh", "stop").returncode == 0
            assert project.run("start_telegram_bot.sh", "status").returncode == 3
    finally:
        telegram.close()


def test_without_a_token_it_is_off(tmp_path: Path) -> None:
    with project_copy(tmp_path / "copy") as project:
        refused = project.run("start_telegram_bot.sh", "start")
        assert refused.returncode == 78 and "TELEGRAM_BOT_TOKEN is empty" in refused.stderr
        assert "Telegram" not in project.run("status_all.sh").stdout


def test_without_users_it_does_not_start(tmp_path: Path) -> None:
    with project_copy(tmp_path / "copy", TELEGRAM_BOT_TOKEN=TOKEN) as project:
        refused = project.run("start_telegram_bot.sh", "start")
        assert refused.returncode != 0
        assert "TELEGRAM_USERS is empty" in refused.stdout + refused.stderr
