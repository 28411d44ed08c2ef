"""Raises one alert while wrong API keys are being tried, and one when the attempts stop."""

from typing import Final

from src.api.auth import TRIES_A_MINUTE, Authenticator
from src.domain.clock import MINUTE_MS, Clock
from src.monitoring.alert_manager import AlertManager, AlertPolicy, LocalTime
from src.monitoring.alert_rules import Alert, AlertKind
from src.monitoring.notifications import Notifier

_WITHIN_MS: Final = 10 * MINUTE_MS


class AttackMonitor:
    """To be asked every few seconds. One thread at a time.

    Args:
        authenticator: counts wrong keys; the watchdog does not see them.
        notifier: through which people are told.
        clock: the machine's.
    """

    def __init__(self, authenticator: Authenticator, notifier: Notifier, clock: Clock) -> None:
        self._authenticator = authenticator
        self._notifier = notifier
        self._clock = clock
        self._alert_manager = AlertManager(AlertPolicy(digest_minute=None))

    def look(self) -> None:
        """Tell people where as many wrong keys were shown in ten minutes as one address may show in one."""
        count = self._authenticator.wrong_keys(_WITHIN_MS)
        text = f"{count} wrong API keys within ten minutes; their addresses stand in the log of the MCP server."
        alerts = [Alert(AlertKind.LOGIN_ATTACK, "api", text)] if count >= TRIES_A_MINUTE else []
        for message in self._alert_manager.step(alerts, LocalTime(self._clock.now_ms(), "", 0), ""):
            self._notifier.tell(message)
        self._notifier.flush()
