"""Sends notifications: to the log always, and to Apprise services where ALERT_URLS names some.

Apprise is optional and known here alone (``requirements-alerts.txt``). A message that could not be
delivered is kept and tried again; a push address, where there is one, is called while all is well, so a missing call
tells of a machine that died as a whole.
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
    """What delivers a message; Apprise is one."""

    def __call__(self, title: str, text: str, urgency: str) -> bool:
        """Deliver it (``urgency`` is failure, warning, success or info); return whether everybody was reached."""


def apprise_sender(urls: str) -> Sender:
    """Return what sends to all of ``urls`` (Apprise's addresses, blanks or commas between).

    Raises:
        SettingsError: Apprise is not installed, or an address is none.
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
        raise SettingsError((f"ALERT_URLS is wrong: address number {numbers} is none that Apprise knows.",))

    def send(title: str, text: str, urgency: str) -> bool:
        return bool(services.notify(body=text, title=title, notify_type=urgency))

    return send


class Notifier:
    """Delivers messages in order; what fails waits for the next ``flush``. One thread at a time."""

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
            from src.runtime.http_fetch import WebFetcher  # megabytes that nobody without a push address needs

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

    def say_alive(self) -> None:
        """Tell the push address, if there is one, that the watcher and what it watches are well."""
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
    """Return what the last process left in ``path``; empty where there is nothing readable."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("what was told before cannot be read, alerts may repeat: reason=%s", error)
        return {}
    return kept if isinstance(kept, dict) else {}


def keep(path: Path, state: Mapping[str, Any]) -> None:
    """Put ``state`` in place of what ``path`` held; a full disk keeps the old one."""
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        log.warning("what was told cannot be kept: reason=%s", error)
