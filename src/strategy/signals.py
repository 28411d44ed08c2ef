"""The signal: what the votes of ``votes.py`` add up to."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from src.strategy.indicators import Indicators
from src.strategy.votes import VOTE_NAMES, VOTES, VoteValues, vote_values, votes_mask

LEAST_VOTES = 2
"""One vote alone is an opinion, not a signal: below this strength the side is HOLD."""


class SignalSide(StrEnum):
    """What the votes say together."""

    BUY = "BUY"
    SELL = "SELL"
    HOLD = "HOLD"

    @property
    def sign(self) -> int:
        """1 for BUY, -1 for SELL, 0 for HOLD."""
        return 1 if self is SignalSide.BUY else -1 if self is SignalSide.SELL else 0


class Vote(NamedTuple):
    """One indicator's vote (1, 0 or -1) and the figures that made it, for people."""

    name: str
    vote: int
    because: str


@dataclass(frozen=True, slots=True)
class Signal:
    """The market's say: ``strength`` votes agree on ``side``; for HOLD it is the larger camp's count."""

    side: SignalSide
    strength: int
    votes: tuple[Vote, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """Votes to buy and votes to sell."""
        return sum(vote.vote > 0 for vote in self.votes), sum(vote.vote < 0 for vote in self.votes)


SILENT = Signal(SignalSide.HOLD, 0, tuple(Vote(name, 0, "not enough candles yet") for name in VOTE_NAMES))
"""The signal of a market of which too little is known."""


def signal_code(votes: VoteValues, counted: VoteValues) -> tuple[int, int]:
    """Return sign (1 BUY, -1 SELL, 0 HOLD) and strength of the votes that count. Compiles under numba.

    Args:
        votes: 1, 0 or -1 for each vote.
        counted: 1 for each vote that counts, else 0, as ``votes_mask`` gives it.
    """
    buys, sells = 0, 0
    for place in range(len(votes)):
        vote = votes[place] * counted[place]
        if vote > 0:
            buys += 1
        elif vote < 0:
            sells += 1
    strength = max(buys, sells)
    if buys == sells or strength < LEAST_VOTES:
        return 0, strength
    return (1, buys) if buys > sells else (-1, sells)


def generate_signal(indicators: Indicators, counted: tuple[str, ...] = VOTE_NAMES) -> Signal:
    """Return the signal of the votes named in ``counted``; HOLD of strength 0 while an indicator is not ready.

    Votes that do not count are 0, and their reason says what they would have been.
    """
    if any(math.isnan(value) for value in indicators):
        return SILENT
    mask = votes_mask(counted)
    values = vote_values(indicators)
    sign, strength = signal_code(values, mask)
    votes = tuple(
        Vote(
            rule.name,
            value if counts else 0,
            rule.reason(indicators) + ("" if counts else f" (not counted: {value:+d})"),
        )
        for rule, value, counts in zip(VOTES, values, mask, strict=True)
    )
    side = SignalSide.BUY if sign > 0 else SignalSide.SELL if sign < 0 else SignalSide.HOLD
    return Signal(side, strength, votes)
