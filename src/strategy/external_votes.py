"""Counts signals of other programs as named votes with weights of their own; a rule set counts none by default.

An external vote stands beside the votes of ``votes.py``: it changes side and strength of the signal, and every gate
of an entry is asked afterwards as always. Alone it makes no signal: at least one vote of the suite's own must agree.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

from src.domain.external_signals import ExternalSignal
from src.domain.market import MarketContext
from src.strategy.signals import LEAST_VOTES, Signal, SignalSide, Vote
from src.strategy.votes import MOST_VOTES

PREFIX: Final = "external:"
MOST_WEIGHT: Final = 2
_WRITTEN: Final = re.compile(r"([a-z0-9_-]{1,24})(?::([1-9]))?")


class ExternalVote(NamedTuple):
    """A source whose signals count, and as how many votes."""

    source: str
    weight: int


def read_external_votes(written: Sequence[str]) -> tuple[ExternalVote, ...]:
    """Return the sources of a rule set's ``external_votes``: ``["tradingview", "my_script:2"]``.

    Raises:
        ValueError: one is no name with a weight of 1 or 2, or a source stands twice.
    """
    found = []
    for each in written:
        parts = _WRITTEN.fullmatch(each) if isinstance(each, str) else None
        if parts is None or int(parts[2] or 1) > MOST_WEIGHT:
            raise ValueError(f'external_votes are names of sources, with a weight of 1 or {MOST_WEIGHT}: "name:2"')
        found.append(ExternalVote(parts[1], int(parts[2] or 1)))
    if len({each.source for each in found}) < len(found):
        raise ValueError("external_votes name a source twice")
    return tuple(found)


class ExternalRules(Protocol):
    """What a rule set says of external signals."""

    @property
    def external_votes(self) -> tuple[str, ...]:
        """The sources that count, as ``read_external_votes`` takes them."""

    @property
    def external_max_age_ms(self) -> int:
        """How long a signal counts."""


def count_external(
    signal: Signal, rules: ExternalRules, context: MarketContext | None, symbol: str, now_ms: int
) -> Signal:
    """Return the signal with the newest word of each counted source in it, where that is young enough."""
    if not rules.external_votes:
        return signal
    said, max_age_ms = () if context is None else context.external, rules.external_max_age_ms
    buys, sells = own = signal.counts
    votes = []
    for source, weight in read_external_votes(rules.external_votes):
        newest = max(
            (each for each in said if each.source == source and each.symbol == symbol),
            key=lambda each: each.received_ms,
            default=None,
        )
        vote = _vote(source, weight, newest, now_ms, max_age_ms)
        buys += weight * (vote.vote > 0)
        sells += weight * (vote.vote < 0)
        votes.append(vote)
    side, strength = _sum(buys, sells, own)
    return replace(signal, side=side, strength=strength, votes=(*signal.votes, *votes))


def _vote(source: str, weight: int, newest: ExternalSignal | None, now_ms: int, max_age_ms: int) -> Vote:
    name = f"{PREFIX}{source}"
    if newest is None:
        return Vote(name, 0, "no signal")
    age_ms = now_ms - newest.received_ms
    told = f"{('sell', 'flat', 'buy')[newest.direction + 1]}, {age_ms / 1_000:.0f} s old, weight {weight}"
    if not 0 <= age_ms <= max_age_ms:
        return Vote(name, 0, f"{told} (too old: at most {max_age_ms / 1_000:.0f} s)")
    return Vote(name, newest.direction, told)


def _sum(buys: int, sells: int, own: tuple[int, int]) -> tuple[SignalSide, int]:
    strength = min(max(buys, sells), MOST_VOTES)
    if buys == sells or strength < LEAST_VOTES:
        return SignalSide.HOLD, strength
    side, agreeing = (SignalSide.BUY, own[0]) if buys > sells else (SignalSide.SELL, own[1])
    return (side, strength) if agreeing else (SignalSide.HOLD, max(own))
