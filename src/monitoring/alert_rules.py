"""Alert rules: from facts about bots, positions and machine to alerts, each with its runbook page."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

RUNBOOK: Final = "docs/operations.md"


class AlertKind(StrEnum):
    """What can be alarming; the value is the heading's anchor in the runbook."""

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


WARNINGS: Final = frozenset({AlertKind.LOSS_LIMIT, AlertKind.DISK, AlertKind.MODEL})  # these wait out the quiet hours


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is wrong: ``subject`` (a bot, a pair, a folder) tells it from others of its kind."""

    kind: AlertKind
    subject: str
    text: str

    @property
    def key(self) -> str:
        """What makes two alerts the same one."""
        return f"{self.kind}:{self.subject}"

    @property
    def critical(self) -> bool:
        """Whether it is told at any hour."""
        return self.kind not in WARNINGS

    @property
    def page(self) -> str:
        """Where the runbook says what to do."""
        return f"{RUNBOOK}#{self.kind}"


@dataclass(frozen=True, slots=True)
class HeldPosition:
    """A position as the database has it; ``guarded`` is whether a stop order of it stands."""

    bot_id: str
    symbol: str
    side: str
    own: bool
    guarded: bool
    mark_price: Decimal
    liquidation_price: Decimal | None


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """All that is judged, each as pairs of subject and sentence where it needs no figure.

    ``silent`` are processes that missed two cycles, ``ends`` those that ended without having been stopped, ``pairs``
    what keeps a pair's settings at the exchange from being as they should, ``halts`` bots whose position and exchange
    disagree, ``strategies`` the failures of a strategy's last decision, ``failed_logins`` the wrong and refused log-ins
    of the last ten minutes, ``free_disk_share`` None where nobody could look.
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
    """From which figure on something is alarming."""

    liquidation_share: Decimal = Decimal("0.05")
    free_disk_share: float = 0.10
    failed_logins: int = 5  # from here on log-in delays everybody, so that more are few


def alerts_of(facts: AlertFacts, limits: AlertLimits) -> list[Alert]:
    """Return everything that is alarming, the same alert once."""
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
