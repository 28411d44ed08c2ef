"""Executes operator commands from the queue, one at a time, each at most once.

Called by the bot between turns and in each turn, on the thread that takes the turns. A command is marked as taken on
disk before anything is done: killed in between, the bot does not do it again but says that it does not know.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from src.domain.circuit_breaker import BreakerState, ResetAnswer, as_row
from src.domain.clock import Clock, SystemClock
from src.domain.errors import ExchangeError, SettingsError, StoreCorrupt, StoreUnavailable
from src.domain.risk import RiskLimits
from src.execution.pair_settings import PairSettings
from src.runtime.rule_loader import RuleSets
from src.storage import command_queue as commands
from src.storage.command_queue import DONE, EXPIRED, FAILED, REFUSED, TAKEN, CommandResult
from src.storage.database import TradingDatabase
from src.strategy.decision import DecisionRules

log = logging.getLogger(__name__)

_PERSON = "person"
_ALLOWED = "entries allowed"


class Pausable(Protocol):
    """What a person may pause; ``pause_reason`` is empty when entries are allowed."""

    pause_reason: str


class RiskControl(Protocol):
    """What commands need of the risk manager."""

    pause_reason: str

    def trip_by_hand(self, actor: str, reason: str) -> BreakerState:
        """Trip the circuit breaker and return its state."""

    def judge_reset(self, actor: str) -> ResetAnswer:
        """Return what a person's reset would make of the breaker, or why it cannot be."""


class TraderControl(Protocol):
    """What is asked of the trader of one pair."""

    @property
    def symbol(self) -> str:
        """The pair that is traded."""

    def close_by_hand(self) -> str:
        """Close the position; return "" or why not."""

    @property
    def settings(self) -> PairSettings:
        """Settings and pause of the pair."""

    def standing(self) -> str:
        """Return one sentence on the open position, "" when flat."""

    def replace_rules(self, rules: DecisionRules, limits: RiskLimits) -> str:
        """Follow other rules and limits from now on; return what it means for an open position."""


class CommandHandler:
    """Executes the commands of one bot. ``clock`` is the exchange's; commands carry the machine's time."""

    def __init__(
        self,
        *,
        database: TradingDatabase,
        clock: Clock,
        risk: RiskControl,
        hands: Sequence[TraderControl],
        rules: RuleSets,
        prepare: Callable[[DecisionRules], str] = lambda _rules: "",
    ) -> None:
        self._database = database
        self._bot_id = database.owner.bot_id
        self._clock = clock
        self._machine = SystemClock()
        self._risk = risk
        self._hands = {hand.symbol: hand for hand in hands}
        self._rules = rules
        self._prepare = prepare
        self._changes = rules.changes(rules.current)
        self._handlers: dict[str, Callable[[str, str], CommandResult]] = {
            "pause": self._pause,
            "resume": self._resume,
            "close": self._close,
            "trip": self._trip,
            "reset": self._reset,
            "rules": self._switch_rules,
        }

    @property
    def pause(self) -> str:
        """Why entries are paused by a person, empty when they are not."""
        return self._risk.pause_reason

    @property
    def paused_pairs(self) -> dict[str, str]:
        """The pairs whose entries a person paused, each with the reason."""
        reasons = {symbol: hand.settings.pause_reason for symbol, hand in self._hands.items()}
        return {symbol: reason for symbol, reason in reasons.items() if reason}

    @property
    def rules(self) -> str:
        """The name of the rule set in force."""
        return self._rules.current

    @property
    def rules_changed(self) -> tuple[str, ...]:
        """Which figures of the rule set in force the settings change, in words."""
        return self._changes

    def restore(self) -> None:
        """Take up again what a person decided before the restart: a pause, a rule set; settle what was cut off.

        A rule set chosen by hand gives way when the settings were changed since, or when it cannot be followed now.
        """
        self._risk.pause_reason = self._pause_in_force("")
        for symbol, hand in self._hands.items():
            hand.settings.pause_reason = self._pause_in_force(symbol)
        chosen = commands.last_done(self._database, self._bot_id, ("rules",))
        if chosen is not None and chosen["state_before"].endswith(f"RULES={self._rules.configured}"):
            self._follow_again(chosen["target"])
        for row in commands.pending(self._database, self._bot_id):
            if row["status"] == TAKEN:
                words = "The bot was stopped while it did this: look at positions and orders."
                self._settle(row, CommandResult(FAILED, words))

    def _pause_in_force(self, target: str) -> str:
        last = commands.last_done(self._database, self._bot_id, ("pause", "resume"), target)
        reason = str(last["state_after"]) if last is not None and last["action"] == "pause" else ""
        if reason:
            log.warning("entries stay paused: pair=%s reason=%s", target or "all", reason)
        return reason

    def process_pending(self) -> int:
        """Execute the pending commands; return how many were answered. If the database is away they wait."""
        try:
            rows = [row for row in commands.pending(self._database, self._bot_id) if row["status"] != TAKEN]
        except StoreUnavailable as error:
            log.warning("commands cannot be read: reason=%s", error)
            return 0
        return sum(self._answer(row) for row in rows)

    def _answer(self, row: Mapping[str, Any]) -> bool:
        now_ms = self._machine.now_ms()
        if commands.is_overdue(row, now_ms):
            self._settle(row, CommandResult(EXPIRED, "Nobody took it in time; nothing was done."))
            return True
        try:
            if not commands.take(self._database, row["id"], now_ms):
                return False
        except StoreUnavailable as error:
            log.warning("command waits: action=%s reason=%s", row["action"], error)
            return False
        self._settle(row, self._do(row))
        return True

    def _do(self, row: Mapping[str, Any]) -> CommandResult:
        action = self._handlers.get(row["action"])
        if action is None:
            return CommandResult(REFUSED, f"This bot does not know {row['action']}.")
        try:
            return action(row["target"], row["actor"])
        except (ExchangeError, StoreUnavailable, StoreCorrupt, SettingsError) as error:
            return CommandResult(FAILED, f"Not done: {error}")

    def _settle(self, row: Mapping[str, Any], answer: CommandResult) -> None:
        log.warning(
            "command answered: action=%s target=%s actor=%s origin=%s status=%s answer=%s",
            row["action"],
            row["target"],
            row["actor"],
            row["origin"],
            answer.status,
            answer.words,
        )
        commands.answer(self._database, row["id"], answer, self._machine.now_ms())

    def _pause(self, target: str, actor: str) -> CommandResult:
        held = self._pausable(target)
        if held is None:
            return _not_traded(target)
        before, which = held.pause_reason or _ALLOWED, f"Entries in {target}" if target else "Entries"
        if held.pause_reason:
            return CommandResult(DONE, f"{which} were paused already.", before, before)
        held.pause_reason = f"entries{f' in {target}' if target else ''} are paused by {actor}"
        return CommandResult(DONE, f"{which} are paused; open positions keep their rules.", before, held.pause_reason)

    def _resume(self, target: str, _actor: str) -> CommandResult:
        held = self._pausable(target)
        if held is None:
            return _not_traded(target)
        before, held.pause_reason = held.pause_reason or _ALLOWED, ""
        which = f"Entries in {target}" if target else "Entries"
        still = " All pairs are still paused." if target and self._risk.pause_reason else ""
        return CommandResult(DONE, f"{which} are allowed again.{still}", before, _ALLOWED)

    def _pausable(self, target: str) -> Pausable | None:
        """Return what holds the pause of one pair, of the whole bot where none is named, None for a foreign pair."""
        if not target:
            return self._risk
        hand = self._hands.get(target)
        return None if hand is None else hand.settings

    def _close(self, symbol: str, _actor: str) -> CommandResult:
        hand = self._hands.get(symbol)
        if hand is None:
            return _not_traded(symbol)
        before = hand.standing()
        if not before:
            return CommandResult(REFUSED, f"There is no position of this bot in {symbol}.", "flat", "flat")
        why_not = hand.close_by_hand()
        after = hand.standing() or "flat"
        if why_not:
            return CommandResult(FAILED, why_not, before, after)
        return CommandResult(DONE, f"The position in {symbol} is closed.", before, after)

    def _trip(self, _target: str, actor: str) -> CommandResult:
        state = self._risk.trip_by_hand(actor, f"Tripped by {actor}.")
        return CommandResult(DONE, f"The circuit breaker is {state.status}: {state.reason}", "", str(state.status))

    def _reset(self, _target: str, actor: str) -> CommandResult:
        if not actor.startswith(_PERSON):
            return CommandResult(REFUSED, "Only a person resets the circuit breaker.")
        judged = self._risk.judge_reset(actor)
        if judged.refused:
            return CommandResult(REFUSED, judged.refused, str(judged.state.status), str(judged.state.status))
        self._database.flush()  # a trip that waits to be written must come before what is judged here
        newest = self._database.breaker_events(limit=1)
        if newest and judged.state.version <= newest[0]["version"] and not judged.state.tripped:
            return CommandResult(DONE, "The circuit breaker was ARMED already.", "ARMED", "ARMED")
        if not self._database.append_breaker_event(as_row(judged.state), self._clock.now_ms()):
            return CommandResult(
                FAILED, "The circuit breaker changed meanwhile: look at it again.", "TRIPPED", "TRIPPED"
            )
        return CommandResult(DONE, "The circuit breaker is ARMED.", "TRIPPED", "ARMED")

    def _switch_rules(self, name: str, _actor: str) -> CommandResult:
        before = self._rules.current
        said = self._follow(name)
        words = " ".join([f"The rules are {name} from the next turn on.", *said])
        return CommandResult(DONE, words, f"{before}; RULES={self._rules.configured}", name)

    def _follow_again(self, name: str) -> None:
        try:
            self._follow(name)
        except (SettingsError, ExchangeError) as error:
            log.warning("rules chosen by hand are left: rules=%s stays=%s reason=%s", name, self._rules.current, error)

    def _follow(self, name: str) -> list[str]:
        """Follow the named set from the next turn on; return what it means, a sentence each."""
        rules, limits = self._rules.read(name)
        ready = self._prepare(rules)
        moved = [hand.replace_rules(rules, limits) for hand in self._hands.values()]
        self._rules.current = name
        self._changes = self._rules.changes(name)
        if self._changes:
            log.warning("settings change the rules: rules=%s changes=%s", name, "; ".join(self._changes))
        return [each for each in (f"{ready}." if ready else "", *moved) if each]


def _not_traded(symbol: str) -> CommandResult:
    return CommandResult(REFUSED, f"This bot does not trade {symbol}.")
