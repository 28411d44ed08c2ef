"""Telegram's Bot API by long polling, through python-telegram-bot: known here alone, and turned into our own words."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from src.chat.messages import Buttons, Incoming, Outgoing
from src.domain.errors import SettingsError, SourceUnavailable

if TYPE_CHECKING:
    from telegram import InlineKeyboardMarkup, Update

_KINDS: Final = ["message", "callback_query"]
_ANSWER_S: Final = 10.0
_LONGEST: Final = 4_000
_LONGEST_CAPTION: Final = 1_000
_HOW: Final = ".venv/bin/python scripts/install_packages.py requirements-telegram.txt"


class ChatUnavailable(SourceUnavailable):
    """Telegram does not answer, or asks to wait for ``retry_after_s``."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class ChatRefused(SourceUnavailable):
    """Telegram refuses one message for good: sending it again cannot help."""


class TelegramApi:
    """One bot. For one thread.

    Args:
        token: of the bot.
        base_url: of another Bot API server, such as a local one; empty for Telegram's.
    """

    def __init__(self, token: str, base_url: str = "") -> None:
        try:
            from telegram import Bot
            from telegram.request import HTTPXRequest
        except ImportError as error:
            raise SettingsError((f"TELEGRAM_BOT_TOKEN needs python-telegram-bot: type `{_HOW}`.",)) from error
        logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines hold the token
        address = f"{base_url.rstrip('/')}/bot" if base_url else "https://api.telegram.org/bot"
        request = HTTPXRequest(read_timeout=_ANSWER_S, connect_timeout=_ANSWER_S, pool_timeout=_ANSWER_S)
        polling = HTTPXRequest(read_timeout=_ANSWER_S, connect_timeout=_ANSWER_S, pool_timeout=_ANSWER_S)
        self._loop = asyncio.new_event_loop()
        self._bot = Bot(token, base_url=address, request=request, get_updates_request=polling)

    def close(self) -> None:
        """Close the connections."""
        self._loop.run_until_complete(self._bot.shutdown())
        self._loop.close()

    def updates(self, offset: int, wait_s: int) -> Sequence[Incoming]:
        """Return what came in from ``offset`` on, waiting for it at most so long."""
        found = self._call(
            self._bot.get_updates(offset=offset, timeout=timedelta(seconds=wait_s), allowed_updates=_KINDS)
        )
        return [_incoming(each) for each in found]

    def send(self, message: Outgoing) -> int:
        """Send, and return the message's id (0 where it changed nothing)."""
        markup = _markup(message.buttons)
        if message.photo is not None:
            sent = self._call(
                self._bot.send_photo(
                    message.chat_id, message.photo, message.text[:_LONGEST_CAPTION], reply_markup=markup
                )
            )
        elif message.replaces:
            change = self._bot.edit_message_text(
                message.text[:_LONGEST], message.chat_id, message.replaces, reply_markup=markup
            )
            return message.replaces if self._call(change) else 0
        else:
            sent = self._call(self._bot.send_message(message.chat_id, message.text[:_LONGEST], reply_markup=markup))
        return int(sent.message_id)

    def confirm_press(self, press_id: str) -> None:
        """Tell Telegram that a press was taken, so that the button stops turning."""
        self._call(self._bot.answer_callback_query(press_id))

    def _call(self, question: Coroutine[Any, Any, Any]) -> Any:
        from telegram.error import BadRequest, Forbidden, InvalidToken, RetryAfter, TelegramError

        try:
            return self._loop.run_until_complete(question)
        except RetryAfter as error:
            wait = error.retry_after
            seconds = wait.total_seconds() if isinstance(wait, timedelta) else float(wait)
            raise ChatUnavailable("Telegram asks to send less.", seconds) from error
        except InvalidToken as error:
            raise SettingsError(
                ("TELEGRAM_BOT_TOKEN is refused by Telegram: write the token of @BotFather.",)
            ) from error
        except (BadRequest, Forbidden) as error:
            raise ChatRefused(f"Telegram refuses the message: {error.message}") from error
        except TelegramError as error:
            raise ChatUnavailable(f"Telegram does not answer: {error.message}") from error


def _incoming(update: "Update") -> Incoming:
    """An edited message, a channel's post or another kind of update is an empty one of nobody."""
    press, message = update.callback_query, update.message
    if press is not None and press.message is not None:
        chat = press.message.chat
        return Incoming(
            update_id=update.update_id, chat_id=chat.id, user_id=press.from_user.id, private=chat.type == "private",
            text=press.data or "", press_id=press.id, message_id=press.message.message_id,
        )  # fmt: skip
    if message is not None and message.from_user is not None:
        return Incoming(
            update_id=update.update_id, chat_id=message.chat.id, user_id=message.from_user.id,
            private=message.chat.type == "private", text=message.text or "",
            sent_ms=round(message.date.timestamp() * 1_000), message_id=message.message_id,
        )  # fmt: skip
    return Incoming(update_id=update.update_id, chat_id=0, user_id=0, private=False, text="")


def _markup(buttons: Buttons) -> "InlineKeyboardMarkup | None":
    if not buttons:
        return None
    from telegram import InlineKeyboardButton, InlineKeyboardMarkup

    rows = [[InlineKeyboardButton(label, callback_data=data) for label, data in row] for row in buttons]
    return InlineKeyboardMarkup(rows)
