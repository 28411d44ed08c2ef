"""The chat's loop: polls, answers, submits confirmed changes, reports their outcome, sends alerts; survives outages.

An update is noted as taken on disk before anything is done with it: after a crash it is not done again.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from src.chat.alert_feed import AlertFeed
from src.chat.bot_api import ChatRefused
from src.chat.commands import ChatCommands
from src.chat.messages import ChatTransport, Incoming, Outgoing
from src.domain.clock import Clock, instant_of
from src.domain.errors import SourceUnavailable, StoreCorrupt, StoreUnavailable
from src.monitoring.alert_manager import LocalTime
from src.monitoring.notifications import keep, read_kept
from src.storage import command_queue
from src.storage.command_queue import ACTIONS, CommandResult, OperatorCommand
from src.storage.database import TradingDatabase

log = logging.getLogger(__name__)

POLL_S: Final = 5
_BUSY_POLL_S: Final = 1
_MOST_WAITING: Final = 200
_LONGEST_PAUSE_S: Final = 30.0
_GIVE_UP_MS: Final = 120_000
_ALERTS_MS: Final = 15_000
_FINAL: Final = frozenset({command_queue.DONE, command_queue.REFUSED, command_queue.FAILED, command_queue.EXPIRED})


@dataclass(frozen=True, slots=True)
class Awaited:
    """A command whose answer the chat still waits for."""

    key: str
    chat_id: int
    since_ms: int


class ChatService:
    """One chat bot. For one thread.

    Args:
        transport: the chat service.
        commands: what messages lead to.
        database: where commands are written; its owner is the bot.
        clock: the machine's.
        users: ids of the people who may use it; they also get the alerts.
        state: the file that remembers the last update taken.
        alerts: what people are told unasked; None for nothing.
        local_time: returns what people's clocks show.
        run_here: carries out what no bot does (a service, a run of the lab) and returns its outcome.
    """

    def __init__(
        self,
        *,
        transport: ChatTransport,
        commands: ChatCommands,
        database: TradingDatabase,
        clock: Clock,
        users: frozenset[int],
        state: Path,
        alerts: AlertFeed | None,
        local_time: Callable[[int], LocalTime],
        run_here: Callable[[str, str], CommandResult],
    ) -> None:
        self._transport = transport
        self._commands = commands
        self._database = database
        self._clock = clock
        self._users = users
        self._state = state
        self._alerts = alerts
        self._local_time = local_time
        self._run_here = run_here
        self._last_update = int(read_kept(state).get("last_update", 0))
        self._outbox: deque[Outgoing] = deque(maxlen=_MOST_WAITING)
        self._awaited: list[Awaited] = []
        self._not_before_ms = 0
        self._failures = 0
        self._alerts_due_ms = 0
        self._strangers: set[int] = set()
        self.trouble = ""

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Serve until ``stop`` is set; ``beat`` is called every few seconds."""
        while not stop.is_set():
            beat()
            pause_s = self.step()
            if pause_s:
                stop.wait(pause_s)

    def step(self) -> float:
        """Do what is due and poll once; return how many seconds to pause before the next step."""
        try:
            self._report_outcomes()
            self._collect_alerts()
        except (StoreUnavailable, StoreCorrupt) as error:
            log.warning("database away: reason=%s", error)
        self._deliver()
        try:
            wait_s = _BUSY_POLL_S if self._awaited or self._outbox else POLL_S
            for update in self._transport.updates(self._last_update + 1, wait_s):
                self._take(update)
        except SourceUnavailable as error:
            return self._back_off(error)
        self._failures, self.trouble = 0, ""
        self._deliver()
        return 0.0

    def _back_off(self, error: SourceUnavailable) -> float:
        self._failures += 1
        self.trouble = str(error)
        pause_s = max(getattr(error, "retry_after_s", 0.0), min(2.0 ** min(self._failures, 10), _LONGEST_PAUSE_S))
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        log.log(level, "chat service away: failures=%d retry_in_s=%.0f reason=%s", self._failures, pause_s, error)
        return min(pause_s, _LONGEST_PAUSE_S)

    def _take(self, update: Incoming) -> None:
        """Handle one update at most once; strangers and groups get no answer of any kind."""
        if update.update_id <= self._last_update:
            return
        self._last_update = update.update_id
        keep(self._state, {"last_update": update.update_id})
        if not update.private or update.user_id not in self._users or update.chat_id != update.user_id:
            self._note_stranger(update)
            return
        try:
            reaction = self._commands.react(update)
            self._outbox.extend(reaction.messages)
            if reaction.change is not None:
                self._submit(reaction.change, update.chat_id)
        except (StoreUnavailable, StoreCorrupt) as error:
            log.warning("not answered: reason=%s", error)
            self._outbox.append(
                Outgoing(chat_id=update.chat_id, text="The database cannot be used now; nothing was done.")
            )
        if update.press_id:
            self._confirm(update.press_id)

    def _note_stranger(self, update: Incoming) -> None:
        if update.user_id and update.user_id not in self._strangers and len(self._strangers) < _MOST_WAITING:
            self._strangers.add(update.user_id)
            log.warning("message of a stranger ignored: user=%d", update.user_id)

    def _confirm(self, press_id: str) -> None:
        try:
            self._transport.confirm_press(press_id)
        except SourceUnavailable as error:
            log.info("press not confirmed: reason=%s", error)

    def _submit(self, command: OperatorCommand, chat_id: int) -> None:
        """Write the command; what no bot does is carried out here, its row is the record."""
        now_ms = self._clock.now_ms()
        row = command_queue.submit(self._database, self._database.owner, command, now_ms)
        log.warning("command submitted: action=%s target=%s actor=%s", command.action, command.target, command.actor)
        if command.action not in ACTIONS and row["request_key"] == command.key and row["status"] not in _FINAL:
            outcome = self._run_here(command.action, command.target)
            command_queue.answer(self._database, row["id"], outcome, self._clock.now_ms())
            self._database.flush()
        self._awaited.append(Awaited(row["request_key"], chat_id, now_ms))

    def _report_outcomes(self) -> None:
        """Tell what became of commands; one that no bot takes is over when it expires."""
        waiting = []
        for each in self._awaited:
            row: dict[str, Any] | None = command_queue.find(self._database, each.key)
            now_ms = self._clock.now_ms()
            if row is not None and row["status"] in _FINAL:
                self._outbox.append(Outgoing(chat_id=each.chat_id, text=f"{row['action']}: {row['answer']}"))
            elif row is not None and row["status"] == command_queue.WAITING and instant_of(row["expires_at"]) < now_ms:
                self._outbox.append(
                    Outgoing(chat_id=each.chat_id, text=f"{row['action']}: no bot took it; it is void.")
                )
            elif now_ms - each.since_ms > _GIVE_UP_MS:
                self._outbox.append(Outgoing(chat_id=each.chat_id, text="No answer yet: look at /status."))
            else:
                waiting.append(each)
        self._awaited = waiting

    def _collect_alerts(self) -> None:
        now_ms = self._clock.now_ms()
        if self._alerts is None or now_ms < self._alerts_due_ms:
            return
        self._alerts_due_ms = now_ms + _ALERTS_MS
        for text, buttons in self._alerts.due(self._local_time(now_ms)):
            self._outbox.extend(Outgoing(chat_id=user, text=text, buttons=buttons) for user in sorted(self._users))

    def _deliver(self) -> None:
        """Send what waits, in order; a refused message is dropped, others wait until the chat service takes them."""
        while self._outbox and self._clock.now_ms() >= self._not_before_ms:
            try:
                self._transport.send(self._outbox[0])
            except ChatRefused as error:
                log.warning("message dropped: reason=%s", error)
            except SourceUnavailable as error:
                wait_s = max(getattr(error, "retry_after_s", 0.0), 1.0)
                self._not_before_ms = self._clock.now_ms() + round(wait_s * 1_000)
                log.info("message waits: waiting=%d retry_in_s=%.0f reason=%s", len(self._outbox), wait_s, error)
                return
            self._outbox.popleft()
