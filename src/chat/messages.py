"""What goes between a chat and the suite: incoming messages and button presses, outgoing texts, and their transport."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Buttons = tuple[tuple[tuple[str, str], ...], ...]
"""Rows of buttons: each a label and what its press sends (at most 64 bytes)."""
NO_BUTTONS: Buttons = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A message or a button press. ``sent_ms`` is when the message was written, None of a press."""

    update_id: int
    chat_id: int
    user_id: int
    private: bool
    text: str
    sent_ms: int | None = None
    press_id: str = ""
    message_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A text to one chat, or with ``photo`` a picture; with ``replaces`` in place of an earlier message."""

    chat_id: int
    text: str
    buttons: Buttons = NO_BUTTONS
    replaces: int = 0
    photo: Path | None = None


class ChatTransport(Protocol):
    """A chat service; every method may raise ``SourceUnavailable``, with ``retry_after_s`` where it says when."""

    def updates(self, offset: int, wait_s: int) -> Sequence[Incoming]:
        """Return what came in from ``offset`` on, waiting for it at most so long; updates of other kinds are empty."""

    def send(self, message: Outgoing) -> int:
        """Send, and return the message's id (0 where it changed nothing)."""

    def confirm_press(self, press_id: str) -> None:
        """Tell the chat service that a press was taken."""
