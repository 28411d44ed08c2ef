"""What a panel of analysts is told and answers, and what of an answer is believed."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from pydantic import BaseModel

from src.charts.analysis_schema import Advice, ChartView, Grade, visible_levels
from src.domain.errors import SourceUnavailable
from src.llm.untrusted_text import addresses_reader, safe_name

ROLES: Final = ("trend", "mean_reversion", "sceptic")
MODERATOR: Final = "moderator"
RULES: Final = "rules"
SIGNS: Final[dict[str, int]] = {"BUY": 1, "SELL": -1, "HOLD": 0}
_SAME_CLOSE_SHARE: Final = 0.005
_MOST_HEADLINES: Final = 12
_LONGEST_TEXT: Final = 300


class PanelistFormat(BaseModel):
    """One analyst's answer; no defaults, as strict schemas want it."""

    symbol: str
    last_close: float
    recommendation: Advice
    confidence: Grade
    probability_up: float
    support_levels: list[float]
    resistance_levels: list[float]
    reason: str
    counter_argument: str


class ModeratorFormat(BaseModel):
    """The moderator's answer."""

    recommendation: Advice
    confidence: Grade
    reason: str
    counter_argument: str


class AnswerRejected(SourceUnavailable):
    """An analyst's answer that cannot be about this chart, or contradicts itself."""


class QuotedHeadline(NamedTuple):
    """A headline of the pair's coin as an analyst is shown it."""

    title: str
    source: str
    hours_old: float
    sentiment: str


@dataclass(frozen=True, slots=True)
class PanelFacts:
    """What analysts see beside the chart; None is unknown. ``funding_rate`` is a share per interval."""

    funding_rate: float | None = None
    open_interest: float | None = None
    headlines: tuple[QuotedHeadline, ...] = ()


@dataclass(frozen=True, slots=True)
class PanelAnswer:
    """What one analyst of the panel said, or why nothing of it counts (``error``); and what asking cost."""

    role: str
    model: str
    prompt: str
    recommendation: Advice | None = None
    confidence: Grade | None = None
    probability_up: float | None = None
    reason: str = ""
    counter_argument: str = ""
    error: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    latency_ms: float | None = None

    @property
    def sign(self) -> int:
        """1 for BUY, -1 for SELL, else 0."""
        return SIGNS.get(self.recommendation or "", 0)


def facts_text(view: ChartView, facts: PanelFacts) -> str:
    """Return the facts as a JSON object; headlines that speak to their reader are left out and counted."""
    plain = [each for each in facts.headlines if not addresses_reader(f"{each.title} {each.source}")]
    return json.dumps(
        {
            "symbol": safe_name(view.symbol),
            "last_close": view.price,
            "funding_rate": facts.funding_rate,
            "open_interest": facts.open_interest,
            "headlines": [each._asdict() for each in plain[:_MOST_HEADLINES]],
            "headlines_left_out": len(facts.headlines) - len(plain),
        },
        ensure_ascii=False,
    )


def believed_answer(view: ChartView, said: PanelistFormat) -> PanelistFormat:
    """Return an answer that can be about this chart.

    Raises:
        AnswerRejected: another pair or close, levels that all lie outside the chart, a probability that is none or
            contradicts the recommendation.
    """
    if said.symbol.strip().upper() != safe_name(view.symbol):
        raise AnswerRejected("the answer is about another pair")
    if not math.isfinite(said.last_close) or abs(said.last_close / view.price - 1.0) > _SAME_CLOSE_SHARE:
        raise AnswerRejected("the answer names another last close")
    if not 0.0 <= said.probability_up <= 1.0:
        raise AnswerRejected("the answer's probability lies outside of 0 to 1")
    if (said.probability_up - 0.5) * SIGNS[said.recommendation] < 0.0:
        raise AnswerRejected("the answer's probability contradicts its recommendation")
    _refuse_levels(view, said.support_levels, below=True)
    _refuse_levels(view, said.resistance_levels, below=False)
    return said


def one_line(text: str) -> str:
    """Return a stranger's text on one line, no longer than it is shown."""
    return " ".join(text.split())[:_LONGEST_TEXT]


def _refuse_levels(view: ChartView, levels: Sequence[float], below: bool) -> None:
    if levels and not visible_levels(view, levels, below):
        raise AnswerRejected("the answer's price levels lie outside of the chart")
