"""Decides which alerts are sent: at their start and end, with quiet hours, reminders and a daily digest.

The manager is a state and a step; the caller keeps the state (``as_dict``) and sends the messages.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from src.monitoring.alert_rules import Alert, AlertKind

MINUTE_MS: Final = 60_000
_CONFIRM_MS: Final = {  # the stop follows the fill after a moment, and a difference is certain only after another turn
    AlertKind.NO_STOP: 20_000,
    AlertKind.DIFFERENCE: 90_000,
    AlertKind.PAIR: 90_000,
}
_OVER_AFTER_MS: Final = 2 * MINUTE_MS  # an alert that returns within this time is the same one


class MessageKind(StrEnum):
    """What a message is about."""

    RAISED = "raised"
    REMINDER = "reminder"
    RESOLVED = "resolved"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Message:
    """One message to the operator: a title of one line, and a text."""

    kind: MessageKind
    title: str
    text: str
    critical: bool = False


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """When alerts are sent.

    ``quiet`` are the minutes of the local day between which only critical alerts are sent (None: no quiet hours);
    ``digest_minute`` is the local minute of the daily digest (None: no digest).
    """

    quiet: tuple[int, int] | None = None
    digest_minute: int | None = 8 * 60
    remind_ms: int = 6 * 3_600_000


@dataclass(frozen=True, slots=True)
class LocalTime:
    """An instant, with the local day and minute of the day."""

    now_ms: int
    day: str
    minute: int


@dataclass(frozen=True, slots=True)
class AlertCase:
    """An active alert: since when, last seen, last sent (0: not yet)."""

    kind: str
    subject: str
    text: str
    since_ms: int
    seen_ms: int
    told_ms: int = 0

    @property
    def alert(self) -> Alert:
        """The alert it is about."""
        return Alert(AlertKind(self.kind), self.subject, self.text)


class AlertManager:
    """Turns the alerts of the moment into the messages that are due."""

    def __init__(self, rules: AlertPolicy, kept: Mapping[str, Any] | None = None) -> None:
        """Continue from the result of ``as_dict``; invalid entries in it are ignored."""
        self._rules = rules
        self._cases: dict[str, AlertCase] = {}
        self._digest_day = ""
        self._raised_today = 0
        try:
            if kept:
                cases = [AlertCase(**row) for row in kept["cases"]]
                self._cases = {case.alert.key: case for case in cases}
                self._digest_day, self._raised_today = str(kept["digest_day"]), int(kept["raised_today"])
        except (KeyError, TypeError, ValueError):
            self._cases, self._digest_day, self._raised_today = {}, "", 0

    @property
    def open_alerts(self) -> list[Alert]:
        """The alerts that were sent and are still active."""
        return [case.alert for case in self._cases.values() if case.told_ms]

    def as_dict(self) -> dict[str, Any]:
        """Return the state that the next process needs so that no alert is sent twice."""
        cases = [asdict(case) for case in self._cases.values()]
        return {"cases": cases, "digest_day": self._digest_day, "raised_today": self._raised_today}

    def step(self, alerts: Sequence[Alert], now: LocalTime, figures: str) -> list[Message]:
        """Return the messages to send now; ``figures`` is the digest's text about the bots."""
        for alert in alerts:
            before = self._cases.get(alert.key)
            if before is None:
                self._cases[alert.key] = AlertCase(str(alert.kind), alert.subject, alert.text, now.now_ms, now.now_ms)
            else:
                self._cases[alert.key] = replace(before, text=alert.text, seen_ms=now.now_ms)
        quiet = self._is_quiet(now.minute)
        told = [message for key in list(self._cases) if (message := self._message_of(key, now.now_ms, quiet))]
        return told + self._digest(now, figures)

    def _message_of(self, key: str, now_ms: int, quiet: bool) -> Message | None:
        case = self._cases[key]
        alert = case.alert
        if now_ms - case.seen_ms >= (_OVER_AFTER_MS if case.told_ms else 1):
            return self._end(key, case, quiet)
        sure = case.seen_ms - case.since_ms >= _CONFIRM_MS.get(alert.kind, 0)
        held = quiet and not alert.critical
        if not sure or held or (case.told_ms and now_ms - case.told_ms < self._rules.remind_ms):
            return None
        self._cases[key] = replace(case, told_ms=now_ms)
        kind = MessageKind.REMINDER if case.told_ms else MessageKind.RAISED
        self._raised_today += kind is MessageKind.RAISED
        lasting = f" (for {_span(now_ms - case.since_ms)})" if kind is MessageKind.REMINDER else ""
        return Message(kind, f"{alert.title}: {alert.subject}{lasting}", f"{alert.text}\n{alert.page}", alert.critical)

    def _end(self, key: str, case: AlertCase, quiet: bool) -> Message | None:
        """Close the case; an alert that was never sent has no message about its end."""
        alert = case.alert
        if case.told_ms and quiet and not alert.critical:
            return None  # sent when the quiet hours end
        del self._cases[key]
        if not case.told_ms:
            return None
        lasted = _span(case.seen_ms - case.since_ms)
        return Message(MessageKind.RESOLVED, f"over: {alert.title}: {alert.subject}", f"It lasted {lasted}.")

    def _digest(self, now: LocalTime, figures: str) -> list[Message]:
        due = self._rules.digest_minute
        if due is None or now.minute < due or now.day == self._digest_day:
            return []
        self._digest_day = now.day
        count, self._raised_today = self._raised_today, 0
        standing = [f"- {alert.title}: {alert.subject}" for alert in self.open_alerts]
        lines = [figures, f"Alerts since the last digest: {count}. Active now: {len(standing)}.", *standing]
        return [Message(MessageKind.DIGEST, f"alive on {now.day}", "\n".join(filter(None, lines)))]

    def _is_quiet(self, minute: int) -> bool:
        if self._rules.quiet is None:
            return False
        start, end = self._rules.quiet
        return start <= minute < end if start <= end else minute >= start or minute < end


def _span(span_ms: int) -> str:
    minutes = math.ceil(span_ms / MINUTE_MS)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
