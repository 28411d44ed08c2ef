"""What a pair's turn asks for its decision: the rules of votes, or a strategy of targets."""

from typing import Protocol

from src.domain.risk import RiskLimits
from src.strategy.decision import Decision, DecisionRules, Observation, decide


class DecisionMaker(Protocol):
    """What turns an observation into a decision: the rules of votes, or a strategy of targets."""

    @property
    def uses_agent(self) -> bool:
        """Whether the agent has a say: then a model that was refused stops entries."""

    def decide(self, seen: Observation, rules: DecisionRules, limits: RiskLimits) -> Decision:
        """Return what to do in this turn."""

    def note_outcome(self, symbol: str, outcome: str) -> None:
        """Take note of what came of a turn that acted: "" is done, else why not."""


class VoteDecisions:
    """The rules of votes."""

    uses_agent = True

    def decide(self, seen: Observation, rules: DecisionRules, limits: RiskLimits) -> Decision:
        """Return what the rules say."""
        return decide(seen, rules, limits)

    def note_outcome(self, symbol: str, outcome: str) -> None:
        """Keep nothing: the next turn looks anew."""
