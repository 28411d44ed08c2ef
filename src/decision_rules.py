"""Floor 2, judgement: the rules of trading as figures, and the comparisons that turn them into a verdict.

A named set of rules is one file of figures (``DecisionRules``). ``verdict_code`` takes plain numbers and compiles,
so that a fast sweep over past candles runs the very lines that the live bot runs.
"""

import tomllib
from dataclasses import dataclass, fields
from typing import NamedTuple

from src.core.risk import RiskLimits


@dataclass(frozen=True, slots=True)
class DecisionRules:
    """One named set of rules; confidences lie in 0..1, ages are the oldest that an entry may rest on.

    ``min_holding_ms`` keeps a young position from exits of judgement (signal, agent, cut loss); limits of risk
    (daily loss, stop, early stop, target) close at any age.
    """

    name: str = "safety_first"
    description: str = ""
    min_signal_strength: int = 3
    min_confidence: float = 0.3
    exit_confidence: float = 0.5
    allow_short: bool = False
    cut_losses_on_hold: bool = True
    min_holding_ms: int = 0
    max_candle_age_ms: int = 150_000
    max_mark_age_ms: int = 30_000
    max_account_age_ms: int = 900_000

    def __post_init__(self) -> None:
        if not 1 <= self.min_signal_strength <= 6:
            raise ValueError("min_signal_strength must lie in 1..6")
        if not (0 <= self.min_confidence <= 1 and 0 <= self.exit_confidence <= 1):
            raise ValueError("min_confidence and exit_confidence must lie in 0..1")
        if self.min_holding_ms < 0:
            raise ValueError("min_holding_ms must not be negative")
        if min(self.max_candle_age_ms, self.max_mark_age_ms, self.max_account_age_ms) <= 0:
            raise ValueError("max_candle_age_ms, max_mark_age_ms and max_account_age_ms must be above 0")


def load_rules(text: str) -> DecisionRules:
    """Return the rules written in TOML ``text``; figures that are left out keep their defaults.

    Raises:
        ValueError: the text is no TOML, a name is unknown, or a figure is of the wrong kind or out of range.
    """
    table = tomllib.loads(text)
    kinds = {each.name: type(each.default) for each in fields(DecisionRules)}
    unknown = sorted(set(table) - set(kinds))
    if unknown:
        raise ValueError(f"unknown rule {', '.join(unknown)}; known are {', '.join(kinds)}")
    for name, value in table.items():
        fits = type(value) is kinds[name] or (kinds[name] is float and type(value) is int)
        if not fits:
            raise ValueError(f"{name} must be of kind {kinds[name].__name__}, not {value!r}")
    return DecisionRules(**table)


HOLD_CODE, LONG_CODE, SHORT_CODE = 0, 1, 2
FIRST_EXIT_CODE = 3
EXIT_REASONS = ("daily_loss", "stop_loss", "early_stop", "take_profit", "signal_sell", "agent_sell", "cut_loss")
"""Why a position is closed, in the order of ``verdict_code`` (from ``FIRST_EXIT_CODE`` on).

For a short position ``signal_sell`` and ``agent_sell`` read ``signal_buy`` and ``agent_buy``.
"""


class Thresholds(NamedTuple):
    """The figures of rules and limits as plain numbers, for ``verdict_code``."""

    min_signal_strength: int
    min_confidence: float
    exit_confidence: float
    allow_short: bool
    cut_losses_on_hold: bool
    min_holding_ms: int
    stop_loss_share: float
    early_stop_share: float
    take_profit_share: float


def thresholds(rules: DecisionRules, limits: RiskLimits) -> Thresholds:
    """Return the numbers that ``verdict_code`` compares with; ``early_stop_share`` is a share of price here."""
    return Thresholds(
        rules.min_signal_strength,
        rules.min_confidence,
        rules.exit_confidence,
        rules.allow_short,
        rules.cut_losses_on_hold,
        rules.min_holding_ms,
        float(limits.stop_loss_share),
        float(limits.stop_loss_share * limits.early_stop_share),
        float(limits.take_profit_share),
    )


def wanted_sign(signal_sign: int, strength: int, t: Thresholds) -> int:
    """Return the side that the signal asks to enter: 1 long, -1 short, 0 none. Compiles under numba."""
    if strength < t.min_signal_strength or (signal_sign < 0 and not t.allow_short):
        return 0
    return signal_sign


def entry_code(signal_sign: int, strength: int, action_sign: int, confidence: float, safe: bool, t: Thresholds) -> int:
    """Return the verdict's code when flat; ``safe`` says that every gate of safety was passed. Compiles."""
    wanted = wanted_sign(signal_sign, strength, t)
    if not safe or wanted == 0 or action_sign != wanted or not confidence > t.min_confidence:
        return 0
    return 1 if wanted > 0 else 2


def exit_code(
    position_sign: int,
    move_share: float,
    held_ms: int,
    signal_sign: int,
    strength: int,
    action_sign: int,
    confidence: float,
    day_limit_hit: bool,
    t: Thresholds,
) -> int:
    """Return the verdict's code in a position: 0 to keep it, else ``FIRST_EXIT_CODE`` plus the reason's place.

    ``move_share`` is the price's move from entry in the position's favour, NaN when no price is known: then only
    signal, agent and daily loss can close. Compiles under numba.
    """
    if day_limit_hit:
        return 3
    if move_share <= -t.stop_loss_share:
        return 4
    if move_share <= -t.early_stop_share:
        return 5
    if move_share >= t.take_profit_share:
        return 6
    if held_ms < t.min_holding_ms:
        return 0
    if signal_sign == -position_sign and strength >= t.min_signal_strength:
        return 7
    if action_sign == -position_sign and confidence > t.exit_confidence:
        return 8
    if t.cut_losses_on_hold and move_share < 0.0 and signal_sign != position_sign:
        return 9
    return 0


def verdict_code(
    position_sign: int,
    move_share: float,
    held_ms: int,
    signal_sign: int,
    strength: int,
    action_sign: int,
    confidence: float,
    safe: bool,
    day_limit_hit: bool,
    t: Thresholds,
) -> int:
    """Return the decision as a number: 0 hold, 1 enter long, 2 enter short, from 3 on close. Compiles under numba.

    Args:
        position_sign: 1 long, -1 short, 0 flat.
        move_share: the price's move from entry in the position's favour as a share of the entry price.
        held_ms: age of the position.
        signal_sign: 1 BUY, -1 SELL, 0 HOLD; ``strength`` is its number of votes.
        strength: see ``signal_sign``.
        action_sign: the agent's BUY as 1, SELL as -1, HOLD as 0; ``confidence`` is in 0..1.
        confidence: see ``action_sign``.
        safe: every gate of safety was passed (needed for entries only).
        day_limit_hit: the day's loss has reached its limit.
        t: the figures of rules and limits.
    """
    if position_sign == 0:
        return entry_code(signal_sign, strength, action_sign, confidence, safe, t)
    return exit_code(
        position_sign, move_share, held_ms, signal_sign, strength, action_sign, confidence, day_limit_hit, t
    )
