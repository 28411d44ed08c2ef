"""Alerts for the chat, with the buttons that fit each: what is wrong, and the commands a person would type next."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from src.chat.messages import NO_BUTTONS, Buttons
from src.monitoring.alert_manager import AlertManager, AlertPolicy, LocalTime, MessageKind
from src.monitoring.alert_rules import Alert, AlertKind
from src.monitoring.notifications import keep, read_kept

_WHY, _STATUS, _LOGS = ("Why", "/why"), ("Status", "/status"), ("Logs", "/logs")
_POSITIONS, _ORDERS, _PROFIT = ("Positions", "/positions"), ("Orders", "/orders"), ("Profit", "/profit")
_PAUSE: Final = ("Pause entries", "/pause")
_FITTING: Final[dict[AlertKind, tuple[tuple[str, str], ...]]] = {
    AlertKind.SILENT: (_STATUS, _LOGS),
    AlertKind.NO_STOP: (_POSITIONS, _ORDERS, _PAUSE),
    AlertKind.DIFFERENCE: (_POSITIONS, _ORDERS, _PAUSE),
    AlertKind.LIQUIDATION: (_POSITIONS, _PAUSE),
    AlertKind.LOSS_LIMIT: (_PROFIT, _WHY),
    AlertKind.BREAKER: (_STATUS, _WHY, _POSITIONS),
    AlertKind.MODEL: (_STATUS, _LOGS),
    AlertKind.RESTARTS: (_STATUS, _LOGS),
    AlertKind.DATABASE: (_STATUS, _LOGS),
    AlertKind.ENDED: (_STATUS, _LOGS),
    AlertKind.PAIR: (_WHY, _STATUS),
}
_CLOSES: Final = frozenset({AlertKind.NO_STOP, AlertKind.LIQUIDATION})


def buttons_for(alert: Alert) -> Buttons:
    """Return the commands that fit an alert; of a position also the one that closes it (by PIN, as always)."""
    fitting = _FITTING.get(alert.kind, ())
    symbol = alert.subject.partition("/")[2]
    if alert.kind in _CLOSES and symbol:
        return (fitting, ((f"Close {symbol}", f"/close {symbol}"),))
    return (fitting,) if fitting else NO_BUTTONS


class AlertFeed:
    """Turns what is alarming now into messages that are due, each once; its memory outlives the process.

    Args:
        alerts: returns what is alarming now.
        policy: quiet hours; the digest is the watcher's.
        kept: the file in which it is noted what was told.
    """

    def __init__(self, alerts: Callable[[], Sequence[Alert]], policy: AlertPolicy, kept: Path) -> None:
        self._alerts = alerts
        self._kept = kept
        self._manager = AlertManager(policy, read_kept(kept))

    def due(self, now: LocalTime) -> list[tuple[str, Buttons]]:
        """Return the texts to send now, with their buttons."""
        alerts = self._alerts()
        messages = self._manager.step(alerts, now, "")
        if messages:
            keep(self._kept, self._manager.as_dict())
        found = []
        for message in messages:
            buttons = NO_BUTTONS if message.kind is MessageKind.RESOLVED else _buttons_of(message.text, alerts)
            found.append((f"{message.title}\n{message.text}", buttons))
        return found


def _buttons_of(text: str, alerts: Iterable[Alert]) -> Buttons:
    return next((buttons_for(alert) for alert in alerts if text.startswith(alert.text)), NO_BUTTONS)
