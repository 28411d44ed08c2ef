"""A bot in a database, a Telegram stand-in and the chat between them, with a clock that can be moved."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from src.apps.telegram_bot import build
from src.chat.bot_api import TelegramApi
from src.chat.service import ChatService
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from tests.dashboard.scene import Scene, scene
from tests.standins.telegram import TOKEN, TelegramStandIn

OWNER_ID, STRANGER = 4_711, 666
PIN = "271828"


@dataclass
class Evening:
    """Everything that a test of the chat needs."""

    scene: Scene
    telegram: TelegramStandIn
    service: ChatService
    settings: Settings

    @property
    def database(self) -> TradingDatabase:
        """The database of the bot."""
        return self.scene.database

    def turn(self, count: int = 1) -> None:
        """Let the chat do its loop so many times."""
        for _ in range(count):
            self.service.step()

    def say(self, text: str, user: int = OWNER_ID, **options: Any) -> str:
        """Let the owner write, and return the newest text in the chat."""
        self.telegram.say(user, text, **options)
        self.turn()
        return self.last(user)

    def last(self, user: int = OWNER_ID) -> str:
        """Return the newest text in a user's chat, empty without one."""
        return (self.telegram.texts(user) or [""])[-1]

    def confirm(self, pin: str = PIN) -> str:
        """Type the PIN on the buttons, and return what stands there then."""
        for key in (*pin, "Confirm"):
            self.telegram.press(OWNER_ID, key)
            self.turn()
        return self.last()

    def queue(self) -> list[dict[str, Any]]:
        """Return the rows of the command queue, oldest first."""
        from sqlalchemy import select

        from src.storage.tables import control_requests

        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(select(control_requests).order_by("id")).mappings()]


@contextmanager
def evening(folder: Path, **changes: Any) -> Iterator[Evening]:
    """Lend a chat on a bot that has lived for a while."""
    telegram = TelegramStandIn()
    try:
        with scene(folder, bot_control_pin=SecretStr(PIN), **changes) as made:
            made.full()
            settings = made.dashboard_context.settings.model_copy(
                update={
                    "telegram_bot_token": SecretStr(TOKEN),
                    "telegram_users": f"{OWNER_ID},4712",
                    "telegram_api_url": telegram.address,
                }
            )
            api = TelegramApi(TOKEN, telegram.address)
            service = build(settings, made.database, api, made.clock)
            try:
                yield Evening(made, telegram, service, settings)
            finally:
                api.close()
    finally:
        telegram.close()
