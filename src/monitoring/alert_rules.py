"""Alert rules: from facts about bots, positions and machine to alerts, each with its runbook page."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

RUNBOOK: Final = "docs/operations.md"


class AlertKind(StrEnum):
    """The kinds of alerts; the value is the anchor of the runbook section."""

    SILENT = "bot-silent"
    NO_STOP = "position-without-stop"
    DIFFERENCE = "difference-with-the-exchange"
    LIQUIDATION = "liquidation-near"
    LOSS_LIMIT = "daily-loss-limit"
    BREAKER = "circuit-breaker-tripped"
    LOGIN_ATTACK = "log-in-attack"
    DISK = "disk-nearly-full"
    MODEL = "model-refused"
    RESTARTS = "service-keeps-dying"
    DATABASE = "database-unreadable"
    ENDED = "service-ended"
    PAIR = "pair-opens-nothing"
    STRATEGY = "strategy-failed"


WARNINGS: Final = frozenset({AlertKind.LOSS_LIMIT, AlertKind.DISK, AlertKind.MODEL})  # held back in the quiet hours
_TITLES: Final = {AlertKind.SILENT: "process unresponsive", AlertKind.PAIR: "entries of a pair blocked"}


@dataclass(frozen=True, slots=True)
class Alert:
    """One problem; ``subject`` (a bot, a pair, a folder) distinguishes it from others of its kind."""

    kind: AlertKind
    subject: str
    text: str

    @property
    def key(self) -> str:
        """The identity of an alert: kind and subject."""
        return f"{self.kind}:{self.subject}"

    @property
    def title(self) -> str:
        """The kind of alert in words, for messages."""
        return _TITLES.get(self.kind) or self.kind.replace("-", " ")

    @property
    def critical(self) -> bool:
        """Whether it is sent even during the quiet hours."""
        return self.kind not in WARNINGS

    @property
    def page(self) -> str:
        """The runbook section that says what to do."""
        return f"{RUNBOOK}#{self.kind}"


@dataclass(frozen=True, slots=True)
class HeldPosition:
    """A position as the database has it; ``guarded`` says whether it has an open stop order."""

    bot_id: str
    symbol: str
    side: str
    own: bool
    guarded: bool
    mark_price: Decimal
    liquidation_price: Decimal | None


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """The input of the alert rules: pairs of subject and sentence, or figures.

    ``silent`` are unresponsive processes, ``ends`` processes that exited without having been stopped, ``pairs``
    problems with a pair's settings at the exchange, ``halts`` bots whose journal and exchange differ, ``strategies``
    failures of a strategy's last decision, ``failed_logins`` the wrong and locked-out log-in attempts of the last ten
    minutes, ``free_disk_share`` None if unknown.
    """

    silent: Sequence[tuple[str, str]] = ()
    positions: Sequence[HeldPosition] = ()
    halts: Sequence[tuple[str, str]] = ()
    loss_limits: Sequence[tuple[str, str]] = ()
    breakers: Sequence[tuple[str, str]] = ()
    models: Sequence[tuple[str, str]] = ()
    restarts: Sequence[tuple[str, str]] = ()
    ends: Sequence[tuple[str, str]] = ()
    pairs: Sequence[tuple[str, str]] = ()
    strategies: Sequence[tuple[str, str]] = ()
    failed_logins: int = 0
    free_disk_share: float | None = None
    database_trouble: str = ""


@dataclass(frozen=True, slots=True)
class AlertLimits:
    """The thresholds of the alert rules."""

    liquidation_share: Decimal = Decimal("0.05")
    free_disk_share: float = 0.10
    failed_logins: int = 5  # log-in is locked out from here on, so higher counts are rare


def alerts_of(facts: AlertFacts, limits: AlertLimits) -> list[Alert]:
    """Return all alerts, each once."""
    found = [
        *(Alert(AlertKind.SILENT, *each) for each in facts.silent),
        *(Alert(AlertKind.DIFFERENCE, *each) for each in facts.halts),
        *(Alert(AlertKind.LOSS_LIMIT, *each) for each in facts.loss_limits),
        *(Alert(AlertKind.BREAKER, *each) for each in facts.breakers),
        *(Alert(AlertKind.MODEL, *each) for each in facts.models),
        *(Alert(AlertKind.RESTARTS, *each) for each in facts.restarts),
        *(Alert(AlertKind.ENDED, *each) for each in facts.ends),
        *(Alert(AlertKind.PAIR, *each) for each in facts.pairs),
        *(Alert(AlertKind.STRATEGY, *each) for each in facts.strategies),
        *(alert for each in facts.positions for alert in _of_position(each, limits)),
        *_of_machine(facts, limits),
    ]
    return list({alert.key: alert for alert in found}.values())


def _of_position(held: HeldPosition, limits: AlertLimits) -> list[Alert]:
    subject = f"{held.bot_id}/{held.symbol}"
    name = f"{held.side} {held.symbol} of bot {held.bot_id}"
    found = []
    if not held.own:
        found.append(Alert(AlertKind.DIFFERENCE, subject, f"{name} was not opened by the bot; entries are halted."))
    elif not held.guarded:
        found.append(Alert(AlertKind.NO_STOP, subject, f"{name} has no stop at the exchange."))
    if held.liquidation_price is not None and held.liquidation_price > 0 and held.mark_price > 0:
        away = abs(held.mark_price - held.liquidation_price) / held.mark_price
        if away < limits.liquidation_share:
            found.append(
                Alert(
                    AlertKind.LIQUIDATION,
                    subject,
                    f"{name} is {away:.1%} away from its liquidation at {held.liquidation_price.normalize():f}.",
                )
            )
    return found


def _of_machine(facts: AlertFacts, limits: AlertLimits) -> list[Alert]:
    found = []
    if facts.failed_logins >= limits.failed_logins:
        text = f"At least {facts.failed_logins} wrong or refused PINs at the dashboard within ten minutes."
        found.append(Alert(AlertKind.LOGIN_ATTACK, "machine", text))
    free = facts.free_disk_share
    if free is not None and free < limits.free_disk_share:
        found.append(Alert(AlertKind.DISK, "machine", f"Only {free:.0%} of the disk is free."))
    if facts.database_trouble:
        found.append(Alert(AlertKind.DATABASE, "machine", facts.database_trouble))
    return found
