"""Sends notifications: to the log always, and to Apprise services where ALERT_URLS names some.

Only this module uses Apprise, which is optional (``requirements-alerts.txt``). A message that could not be delivered is
kept and tried again. The push address, if set, is called while no critical alert is active, so a missing call means
that the whole machine is down.
"""

import json
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from src.domain.errors import SettingsError, SourceUnavailable
from src.monitoring.alert_manager import Message, MessageKind
from src.runtime.settings import Settings

log = logging.getLogger(__name__)

_MOST_WAITING: Final = 100
_TITLE: Final = "trading suite"


class Sender(Protocol):
    """Delivers a message, for example Apprise."""

    def __call__(self, title: str, text: str, urgency: str) -> bool:
        """Deliver it (``urgency`` is failure, warning, success or info); return whether everybody was reached."""


def apprise_sender(urls: str) -> Sender:
    """Return a sender to all of ``urls`` (Apprise's addresses, separated by blanks or commas).

    Raises:
        SettingsError: Apprise is not installed, or an address is invalid.
    """
    try:
        import apprise
    except ImportError as error:
        how = ".venv/bin/python scripts/install_packages.py requirements-alerts.txt"
        raise SettingsError((f"ALERT_URLS needs Apprise: type `{how}`.",)) from error
    services = apprise.Apprise()
    wrong = [number for number, url in enumerate(urls.replace(",", " ").split(), 1) if not services.add(url)]
    if wrong:
        numbers = ", ".join(map(str, wrong))
        raise SettingsError((f"ALERT_URLS is wrong: address number {numbers} is not one that Apprise supports.",))

    def send(title: str, text: str, urgency: str) -> bool:
        return bool(services.notify(body=text, title=title, notify_type=urgency))

    return send


class Notifier:
    """Delivers messages in order; failed ones wait for the next ``flush``. For one thread at a time."""

    def __init__(self, bot_id: str, sender: Sender | None = None, push: Callable[[], None] | None = None) -> None:
        self._bot_id = bot_id
        self._sender = sender
        self._push = push
        self._waiting: deque[Message] = deque(maxlen=_MOST_WAITING)
        self._failing = False

    @classmethod
    def from_settings(cls, settings: Settings) -> "Notifier":
        """Return the notifier that the settings name; raises ``SettingsError`` as ``apprise_sender`` does."""
        urls = settings.alert_urls.get_secret_value()
        address = settings.alert_push_url.get_secret_value()
        push = None
        if address:
            from src.runtime.http_fetch import WebFetcher  # uses megabytes that are needed only with a push address

            fetcher = WebFetcher(follow_redirects=False)

            def push() -> None:
                fetcher.get(address)

        return cls(settings.bot_id, apprise_sender(urls) if urls else None, push)

    @property
    def waiting(self) -> int:
        """How many messages could not be delivered yet."""
        return len(self._waiting)

    def tell(self, message: Message) -> None:
        """Log the message and deliver it, now or later."""
        level = logging.ERROR if message.critical else logging.WARNING
        quiet = message.kind in {MessageKind.RESOLVED, MessageKind.DIGEST}
        log.log(logging.INFO if quiet else level, "alert %s: %s: %s", message.kind, message.title, message.text)
        if self._sender is not None:
            self._waiting.append(message)
            self.flush()

    def flush(self) -> None:
        """Deliver what waits, oldest first, until one fails."""
        while self._waiting and self._sender is not None:
            message = self._waiting[0]
            if not self._sender(f"{_TITLE} {self._bot_id}: {message.title}", message.text, _urgency(message)):
                if not self._failing:
                    log.warning("alerts cannot be delivered: waiting=%d", len(self._waiting))
                self._failing = True
                return
            self._waiting.popleft()
            self._failing = False

    def ping(self) -> None:
        """Call the push address, if there is one: the watchdog runs and no critical alert is active."""
        if self._push is None:
            return
        try:
            self._push()
        except SourceUnavailable as error:
            log.warning("push address not reached: reason=%s", error)


def _urgency(message: Message) -> str:
    if message.kind is MessageKind.RESOLVED:
        return "success"
    if message.kind is MessageKind.DIGEST:
        return "info"
    return "failure" if message.critical else "warning"


def read_kept(path: Path) -> Mapping[str, Any]:
    """Return the state that the last process saved in ``path``; empty if there is none or it is unreadable."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("state of sent alerts cannot be read, alerts may repeat: reason=%s", error)
        return {}
    return kept if isinstance(kept, dict) else {}


def keep(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the content of ``path`` with ``state``; on a full disk the old content stays."""
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        log.warning("state of sent alerts cannot be saved: reason=%s", error)
