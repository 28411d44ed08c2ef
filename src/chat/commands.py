"""The chat commands: questions are answered at once; changes need the PIN and become rows of the command queue."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from src.chat.messages import NO_BUTTONS, Buttons, Incoming, Outgoing
from src.chat.pin_entry import PREFIX, PinPad, buttons_of, text_of
from src.chat.reports import ChatReports, names_of
from src.domain.clock import Clock
from src.storage.command_queue import OperatorCommand

OLDEST_MS: Final = 120_000
_WORD: Final = re.compile(r"[A-Za-z0-9_.:-]{1,40}")
HELP: Final = """Questions: /status /why [PAIR] /positions /orders /profit /daily /performance /chart [PAIR] /forecasts
/strategies /logs [SERVICE]
Changes, confirmed by the PIN: /pause /resume /close PAIR /stop /switch STRATEGY /backtest PAIR STRATEGY FROM TO"""


@dataclass(frozen=True, slots=True)
class Reaction:
    """What an incoming message leads to: texts to send, and at most one confirmed change for the queue."""

    messages: tuple[Outgoing, ...] = ()
    change: OperatorCommand | None = None


class ChatCommands:
    """Turns messages of allowed users into answers and confirmed changes; has no other way to change anything."""

    def __init__(self, reports: ChatReports, pins: PinPad, clock: Clock) -> None:
        self._reports = reports
        self._pins = pins
        self._clock = clock
        self._questions: Mapping[str, Callable[[str], str]] = {
            "/status": reports.status,
            "/why": reports.why,
            "/positions": reports.positions,
            "/orders": reports.orders,
            "/profit": reports.profit,
            "/daily": reports.daily,
            "/performance": reports.performance,
            "/forecasts": reports.forecasts,
            "/strategies": reports.strategies,
            "/logs": reports.logs,
            "/help": lambda _: HELP,
            "/start": lambda _: HELP,
        }
        self._changes: Mapping[str, Callable[[list[str]], tuple[str, str, str]]] = {
            "/pause": self._pause,
            "/resume": self._resume,
            "/close": self._close,
            "/stop": self._stop,
            "/switch": self._switch,
            "/backtest": self._backtest,
        }

    def react(self, asked: Incoming) -> Reaction:
        """Return what a message or press of an allowed user leads to."""
        if asked.text.startswith(f"{PREFIX}:"):
            return self._press(asked)
        name, *arguments = asked.text.split() or [""]
        name = name.partition("@")[0].lower()
        if any(not _WORD.fullmatch(each) for each in arguments):
            return self._say(asked, "A command takes plain words. /help")
        if name == "/chart":
            text, photo = self._reports.chart(arguments[0].upper() if arguments else "")
            return Reaction((Outgoing(chat_id=asked.chat_id, text=text, photo=photo),))
        question = self._questions.get(name)
        if question is not None:
            return self._say(asked, question(arguments[0].upper() if arguments else ""), _after(name))
        if name in self._changes:
            return self._begin(asked, name, arguments)
        return self._say(asked, f"There is no such command.\n{HELP}")

    def _begin(self, asked: Incoming, name: str, arguments: list[str]) -> Reaction:
        """Say what the change does, and ask for the PIN."""
        if asked.sent_ms is not None and self._clock.now_ms() - asked.sent_ms > OLDEST_MS:
            return self._say(
                asked, f"{name} was sent more than {OLDEST_MS // 1_000} s ago: nothing is done. Send it anew."
            )
        if self._pins.closed_because:
            return self._say(asked, self._pins.closed_because)
        action, target, says = self._changes[name](arguments)
        if not action:
            return self._say(asked, says)
        entry = self._pins.begin(asked.user_id, f"{action} {target}".strip(), says)
        return self._say(asked, text_of(entry), buttons_of(entry))

    def _press(self, asked: Incoming) -> Reaction:
        result = self._pins.press(asked.user_id, asked.text)
        shown = buttons_of(result.entry) if result.entry is not None else NO_BUTTONS
        answer = Outgoing(chat_id=asked.chat_id, text=result.text, buttons=shown, replaces=asked.message_id)
        if not result.command:
            return Reaction((answer,))
        action, _, target = result.command.partition(" ")
        who = f"person in Telegram, user {asked.user_id}"
        entry_id = asked.text.split(":")[1]
        command = OperatorCommand(f"telegram-{entry_id}-{asked.user_id}"[:64], action, target, who, "telegram")
        return Reaction((answer,), command)

    def _say(self, asked: Incoming, text: str, buttons: Buttons = NO_BUTTONS) -> Reaction:
        return Reaction((Outgoing(chat_id=asked.chat_id, text=text, buttons=buttons),))

    def _pause(self, _: list[str]) -> tuple[str, str, str]:
        return "pause", "", "Pause: the bot opens no new position until /resume. Open ones keep stop and rules."

    def _resume(self, _: list[str]) -> tuple[str, str, str]:
        return "resume", "", "Resume: the bot may open positions again from its next turn on."

    def _close(self, arguments: list[str]) -> tuple[str, str, str]:
        held = self._reports.held()
        symbol = arguments[0].upper() if arguments else held[0] if len(held) == 1 else ""
        if symbol not in held:
            return "", "", f"Write /close PAIR. The bot's open positions: {names_of(held)}."
        return "close", symbol, f"Close {symbol}: at market, now. {self._reports.label}"

    def _stop(self, _: list[str]) -> tuple[str, str, str]:
        return (
            "stop:rl_bot",
            "",
            "Stop the trading bot: its process ends. Open positions keep their stop at the exchange.",
        )

    def _switch(self, arguments: list[str]) -> tuple[str, str, str]:
        known = self._reports.rule_sets()
        name = arguments[0].lower() if arguments else ""
        if name not in known:
            return "", "", f"Write /switch STRATEGY. The rule sets: {names_of(list(known))}."
        return "rules", name, f"Switch to {name}: {known[name]} Open positions included."

    def _backtest(self, arguments: list[str]) -> tuple[str, str, str]:
        known = self._reports.rule_sets()
        if len(arguments) != 4 or arguments[1].lower() not in known:
            return (
                "",
                "",
                f"Write /backtest PAIR STRATEGY FROM TO, days as 2024-01-31. Rule sets: {names_of(list(known))}.",
            )
        pair, rules, first, last = arguments
        target = f"{pair.upper()} {rules.lower()} {first} {last}"
        return "lab:backtest", target[:64], f"Backtest in the lab, one run at a time: {target}"


def _after(name: str) -> Buttons:
    """The questions and changes that usually follow."""
    return ((("Why", "/why"), ("Positions", "/positions"), ("Pause", "/pause")),) if name == "/status" else NO_BUTTONS
