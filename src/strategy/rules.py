"""The trading rules as parameters, and the comparisons that turn them into a verdict.

A named set of rules is one file of figures (``DecisionRules``). ``verdict_code`` takes plain numbers and compiles,
so that a fast sweep over past candles runs the very lines that the live bot runs.
"""

import math
import tomllib
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any, NamedTuple

from src.domain.entry_rules import EntryRules
from src.domain.exit_rules import ExitRules
from src.domain.market import INTERVAL_MS
from src.domain.risk import RiskLimits
from src.strategy.evidence import NO_EVIDENCE, EvidenceRules, load_evidence
from src.strategy.external_votes import read_external_votes
from src.strategy.votes import VOTE_NAMES

MOST_TRENDS = 2
"""Each longer trend makes four times as many states, most of which are seldom heard of."""


@dataclass(frozen=True, slots=True)
class DecisionRules:
    """One named set of rules; confidences lie in 0..1, ages are the oldest that an entry may rest on.

    ``min_holding_ms`` keeps a young position from exits of judgement (signal, agent, cut loss); limits of risk
    (daily loss, stop, early stop, target) close at any age.

    ``candle_interval`` is that of the candles which signal and agent look at; a turn is still taken every minute.
    ``votes`` are those that count. ``exit_signal_strength`` 0 means the strength of an entry. With
    ``agent_must_agree`` off an unsure agent lets an entry pass; one that is sure of anything else stops it.
    ``stop_scale``, ``target_scale`` and ``size_scale`` multiply the account's limits; size can only shrink.
    ``calm_volatility_share`` is the ATR as a share of the price up to which a position has its full size; in a
    wilder market it is smaller in proportion. 0 is no such rule. ``trend_intervals`` are longer candles whose trend the
    agent perceives beside what it sees on its own; none for none. ``tried`` counts the variants that were tried before
    these figures were chosen; reports deflate by it. ``shown`` says in words what the set has shown on real candles.
    ``evidence`` says whether news, regime and chart opinion may lower an entry's size or stop it.
    ``external_votes`` names the sources of external signals that count as votes, with a weight of 1 or 2
    (``"name:2"``), for ``external_max_age_ms``; none by default.

    ``trailing_stop_share``, ``trailing_after_share``, ``break_even_after_share``, ``take_partial`` (pairs of move and
    part) and ``max_holding_ms`` are the exits of ``ExitRules``; 0 or an empty list is none. ``entry_order`` is
    "market", or "maker": post-only at the best price for ``maker_wait_ms``, then by market.
    """

    name: str = "safety_first"
    description: str = ""
    candle_interval: str = "1m"
    trend_intervals: tuple[str, ...] = ()
    votes: tuple[str, ...] = VOTE_NAMES
    min_signal_strength: int = 3
    exit_signal_strength: int = 0
    agent_must_agree: bool = True
    min_confidence: float = 0.3
    exit_confidence: float = 0.5
    allow_short: bool = False
    cut_losses_on_hold: bool = True
    min_holding_ms: int = 0
    stop_scale: float = 1.0
    target_scale: float = 1.0
    size_scale: float = 1.0
    calm_volatility_share: float = 0.0
    trailing_stop_share: float = 0.0
    trailing_after_share: float = 0.0
    break_even_after_share: float = 0.0
    take_partial: tuple[tuple[float, float], ...] = ()
    max_holding_ms: int = 0
    entry_order: str = "market"
    maker_wait_ms: int = 45_000
    max_candle_age_ms: int = 150_000
    max_mark_age_ms: int = 30_000
    max_account_age_ms: int = 900_000
    external_votes: tuple[str, ...] = ()
    external_max_age_ms: int = 300_000
    tried: int = 1
    shown: str = ""
    evidence: EvidenceRules = NO_EVIDENCE

    def __post_init__(self) -> None:
        if self.candle_interval not in INTERVAL_MS:
            raise ValueError(f"candle_interval must be one of {', '.join(INTERVAL_MS)}")
        _refuse_trends(self.trend_intervals, self.candle_interval)
        if not self.votes or len(set(self.votes)) < len(self.votes) or set(self.votes) - set(VOTE_NAMES):
            raise ValueError(f"votes must be some of {', '.join(VOTE_NAMES)}, each once")
        if not 1 <= self.min_signal_strength <= 6:
            raise ValueError("min_signal_strength must lie in 1..6")
        if not 0 <= self.exit_signal_strength <= 6:
            raise ValueError("exit_signal_strength must lie in 0..6")
        if not (self.stop_scale >= 1 and self.target_scale >= 1 and 0 < self.size_scale <= 1):
            raise ValueError("need stop_scale >= 1, target_scale >= 1 and 0 < size_scale <= 1")
        if not 0 <= self.calm_volatility_share < 1:
            raise ValueError("calm_volatility_share must lie in [0, 1)")
        if not (0 <= self.min_confidence <= 1 and 0 <= self.exit_confidence <= 1):
            raise ValueError("min_confidence and exit_confidence must lie in 0..1")
        if self.min_holding_ms < 0:
            raise ValueError("min_holding_ms must not be negative")
        if min(self.max_candle_age_ms, self.max_mark_age_ms, self.max_account_age_ms) <= 0:
            raise ValueError("max_candle_age_ms, max_mark_age_ms and max_account_age_ms must be above 0")
        read_external_votes(self.external_votes)
        if self.external_max_age_ms <= 0:
            raise ValueError("external_max_age_ms must be above 0")
        if self.tried < 1:
            raise ValueError("tried must be at least 1")
        if 0 < self.exits.max_holding_ms <= self.min_holding_ms:
            raise ValueError("max_holding_ms must be 0 or above min_holding_ms")
        if self.entry_order not in ("market", "maker"):
            raise ValueError(f"entry_order must be market or maker, not {self.entry_order!r}")
        if self.entry.maker_wait_ms == 0 and self.entry_order == "maker":
            raise ValueError("maker_wait_ms must be above 0 where entry_order is maker")

    @property
    def entry(self) -> EntryRules:
        """How entries are sent; ``ValueError`` where a figure cannot be."""
        return EntryRules(self.maker_wait_ms if self.entry_order == "maker" else 0)

    @property
    def exits(self) -> ExitRules:
        """The exits beside stop and target; ``ValueError`` where a figure cannot be."""
        return ExitRules(
            trailing_stop_share=_exact(self.trailing_stop_share),
            trailing_after_share=_exact(self.trailing_after_share),
            break_even_after_share=_exact(self.break_even_after_share),
            take_partial=tuple((_exact(move), _exact(part)) for move, part in self.take_partial),
            max_holding_ms=self.max_holding_ms,
        )


def _refuse_trends(intervals: tuple[str, ...], candle_interval: str) -> None:
    """A trend may change only when a decision candle closes, else two turns on one candle would see two states."""
    own_ms = INTERVAL_MS[candle_interval]
    fit = [name for name, length in INTERVAL_MS.items() if length > own_ms and length % own_ms == 0]
    if set(intervals) - set(fit) or len(set(intervals)) < len(intervals) or len(intervals) > MOST_TRENDS:
        raise ValueError(f"trend_intervals must be at most {MOST_TRENDS} of {', '.join(fit)}, each once")


def load_rules(text: str) -> DecisionRules:
    """Return the rules written in TOML ``text``; figures that are left out keep their defaults.

    Raises:
        ValueError: the text is no TOML, a name is unknown, or a figure is of the wrong kind or out of range.
    """
    table = tomllib.loads(text)
    kinds = {each.name: type(each.default) for each in fields(DecisionRules)}
    for name in ("votes", "trend_intervals", "external_votes"):
        if isinstance(table.get(name), list):
            table[name] = tuple(table[name])
    if "evidence" in table:
        table["evidence"] = load_evidence(table["evidence"])
    if "take_partial" in table:
        table["take_partial"] = _pairs(table["take_partial"])
    if "kind" in table:
        raise ValueError(f"it is the rule set of a strategy of targets (kind {table['kind']!r}), not of votes")
    unknown = sorted(set(table) - set(kinds))
    if unknown:
        raise ValueError(f"unknown rule {', '.join(unknown)}; known are {', '.join(kinds)}")
    for name, value in table.items():
        fits = type(value) is kinds[name] or (kinds[name] is float and type(value) is int)
        if not fits:
            raise ValueError(
                f"{name} must be of kind {_KIND_WORDS.get(kinds[name], kinds[name].__name__)}, not {value!r}"
            )
    return DecisionRules(**table)


_KIND_WORDS: dict[type[Any], str] = {tuple: "list"}


def _pairs(value: object) -> tuple[tuple[float, float], ...]:
    """Return a list of pairs of numbers as tuples; raises ``ValueError`` for anything else."""
    rows: list[Any] = value if isinstance(value, list) else [None]
    if not all(
        isinstance(row, list) and len(row) == 2 and {type(each) for each in row} <= {int, float} for row in rows
    ):
        raise ValueError(f"take_partial must be a list of pairs of move and part, such as [[0.03, 0.5]], not {value!r}")
    return tuple((float(move), float(part)) for move, part in rows)


def _exact(share: float) -> Decimal:
    return Decimal(str(share))


_MOST_OF_LIQUIDATION = Decimal("0.8")


def limits_under(rules: DecisionRules, limits: RiskLimits) -> RiskLimits:
    """Return the account's limits as the rules scale them.

    A widened stop stays within 80 % of the way to where leverage alone would liquidate; the limits' own stop is
    never narrowed.
    """
    widest = max(limits.stop_loss_share, _MOST_OF_LIQUIDATION / limits.leverage)
    return replace(
        limits,
        stop_loss_share=min(_scaled(limits.stop_loss_share, rules.stop_scale), widest),
        take_profit_share=min(_scaled(limits.take_profit_share, rules.target_scale), Decimal("0.99")),
        position_share=_scaled(limits.position_share, rules.size_scale),
        exits=rules.exits,
        entry=rules.entry,
    )


def unreachable_parts(rules: DecisionRules, limits: RiskLimits) -> str:
    """Return what of ``take_partial`` the target would forestall under the scaled limits, "" when nothing."""
    late = [f"{move}" for move, _ in limits.exits.take_partial if move >= limits.take_profit_share]
    if not late or not limits.place_target:
        return ""
    return (
        f"take_partial of {rules.name} closes parts at a move of {', '.join(late)}, which the target at "
        f"{limits.take_profit_share.normalize():f} forestalls: use smaller moves or a wider target"
    )


def _scaled(share: Decimal, scale: float) -> Decimal:
    return share if scale == 1.0 else share * Decimal(str(scale))


def size_factor(rules: DecisionRules, volatility_share: float) -> Decimal:
    """Return the part of the full size that a position has at a volatility (ATR as a share of the price), 0..1."""
    return Decimal(str(size_share(rules.calm_volatility_share, volatility_share)))


def size_share(calm_share: float, volatility_share: float) -> float:
    """Return ``size_factor`` as a number, on six decimals. Compiles under numba."""
    if calm_share == 0.0 or not volatility_share > calm_share:
        return 1.0
    return math.floor(calm_share / volatility_share * 1e6 + 0.5) / 1e6


HOLD_CODE, LONG_CODE, SHORT_CODE = 0, 1, 2
FIRST_EXIT_CODE = 3
EXIT_REASONS = ("daily_loss", "stop_loss", "early_stop", "take_profit", "signal_sell", "agent_sell", "cut_loss")
"""Why a position is closed, in the order of ``verdict_code`` (from ``FIRST_EXIT_CODE`` on).

For a short position ``signal_sell`` and ``agent_sell`` read ``signal_buy`` and ``agent_buy``.
"""


class Thresholds(NamedTuple):
    """The figures of rules and limits as plain numbers, for ``verdict_code``."""

    min_signal_strength: int
    exit_signal_strength: int
    agent_must_agree: bool
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
        rules.exit_signal_strength or rules.min_signal_strength,
        rules.agent_must_agree,
        rules.min_confidence,
        rules.exit_confidence,
        rules.allow_short,
        rules.cut_losses_on_hold,
        rules.min_holding_ms,
        float(limits.stop_loss_share),
        float(limits.stop_loss_share * limits.early_stop_share),
        float(limits.take_profit_share) if limits.place_target else math.inf,
    )


def wanted_sign(signal_sign: int, strength: int, t: Thresholds) -> int:
    """Return the side that the signal asks to enter: 1 long, -1 short, 0 none. Compiles under numba."""
    if strength < t.min_signal_strength or (signal_sign < 0 and not t.allow_short):
        return 0
    return signal_sign


def entry_code(signal_sign: int, strength: int, action_sign: int, confidence: float, safe: bool, t: Thresholds) -> int:
    """Return the verdict's code when flat; ``safe`` says that every gate of safety was passed. Compiles."""
    wanted = wanted_sign(signal_sign, strength, t)
    if not safe or wanted == 0 or not agent_consents(wanted, action_sign, confidence, t):
        return 0
    return 1 if wanted > 0 else 2


def agent_consents(wanted: int, action_sign: int, confidence: float, t: Thresholds) -> bool:
    """Return whether the agent lets an entry of side ``wanted`` pass. Compiles under numba."""
    sure = confidence > t.min_confidence
    return (action_sign == wanted and sure) if t.agent_must_agree else (action_sign == wanted or not sure)


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
    if signal_sign == -position_sign and strength >= t.exit_signal_strength:
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
