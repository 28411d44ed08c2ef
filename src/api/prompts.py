"""MCP prompts: review a trading day, explain why there was no trade."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from src.api.context import WrongArgument

_SHORT = re.compile(r"[A-Za-z0-9:._+ -]{0,40}")


@dataclass(frozen=True, slots=True)
class PromptText:
    """A prompt: its title, what it is for, its arguments by name, and the text they are set into."""

    title: str
    description: str
    arguments: Mapping[str, str]
    text: str


PROMPTS: Final[dict[str, PromptText]] = {
    "daily_review": PromptText(
        "Review a day",
        "What was traded on one day, what it brought, and what deserves a look.",
        {"hours": "How many hours back, 24 by default."},
        """Review the trading of the last {hours} hours.

1. Call `get_health` and `get_bot_status`. If trading is down or late, say so first: figures after that moment are old.
2. Call `get_summary` and `get_performance` with hours={hours}, and `get_trades` with status=closed.
3. Say in this order: mode and world of the figures (from `meta`); net result with fees and funding apart; each losing
   trade with its exit reason; the state of the circuit breaker; positions and whether each has its stop.
4. Name what is null and why (`reason`, `equity_reason`, `unknown`). Do not replace it by a guess, and draw no
   conclusion about skill from few trades: quote `n` and `ci95` with each ratio.
5. End with at most three observations, each with the rows it rests on.""",
    ),
    "why_no_trade": PromptText(
        "Why was there no trade?",
        "Finds the gates that kept the bot out of the market.",
        {"symbol": "One contract, or empty for all.", "hours": "How many hours back, 24 by default."},
        """Find out why there was no trade{symbol} in the last {hours} hours.

1. Call `get_bot_status`: a bot that is late, halted or has a TRIPPED circuit breaker explains itself; stop there.
2. Call `get_signal_stats` with hours={hours}: were there BUY or SELL signals at all?
3. Call `get_signals` with acted=false and min_strength=3 (with signal_type=BUY, then SELL). Each row names every gate
   it passed or failed, with the figures, its `veto`, and the decision in words in `reason`.
4. Count the vetoes. Quote the three most frequent with an example row each (timestamp, symbol, the gate's detail).
5. Say which of them is a rule doing its work and which is a fault (old data, missing account, unreachable exchange).
   Do not advise to loosen a rule: whether a rule earns anything is for the backtester to say.""",
    ),
}


def prompt_text(name: str, arguments: Mapping[str, str]) -> str:
    """Return the prompt with its arguments set in; raises ``WrongArgument`` for what does not belong there."""
    prompt = PROMPTS.get(name)
    if prompt is None:
        raise WrongArgument("There is no such prompt.")
    if set(arguments) - set(prompt.arguments) or not all(_SHORT.fullmatch(value) for value in arguments.values()):
        raise WrongArgument(f"This prompt takes {', '.join(prompt.arguments)}: short plain words.")
    symbol = arguments.get("symbol", "")
    return prompt.text.format(hours=arguments.get("hours") or "24", symbol=f" in {symbol}" if symbol else "")
