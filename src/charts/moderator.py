"""Forms one opinion of a panel's answers by rules, with the strongest counter-argument. A model may only soften it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from src.charts.analysis_schema import Advice, Grade
from src.charts.panel_schema import SIGNS, ModeratorFormat, PanelAnswer, one_line

_WEIGHTS: Final = {"low": 1, "medium": 2, "high": 3}
_GRADES: Final[tuple[Grade, ...]] = ("low", "medium", "high")
_LEANS_FROM: Final = 1 / 3
_SURE_FROM: Final = 2 / 3
_AGREED: Final = 0.25


@dataclass(frozen=True, slots=True)
class PanelVerdict:
    """The panel's opinion. ``score`` is -1 (all sell) to 1; ``disagreement`` the share that recommends otherwise."""

    recommendation: Advice
    confidence: Grade
    score: float
    disagreement: float
    reason: str
    counter_argument: str


def moderate(answers: Sequence[PanelAnswer]) -> PanelVerdict:
    """Return one opinion of at least one answer: each counts by its confidence, and a majority must be clear."""
    total = sum(_weight(each) for each in answers)
    score = sum(_weight(each) * each.sign for each in answers) / total
    recommendation: Advice = "HOLD" if abs(score) < _LEANS_FROM else "BUY" if score > 0 else "SELL"
    agreeing = [each for each in answers if each.recommendation == recommendation]
    others = [each for each in answers if each.recommendation != recommendation]
    disagreement = len(others) / len(answers)
    strongest = max(agreeing, key=_weight, default=None)
    names = ", ".join(f"{each.role} {each.recommendation} ({each.confidence})" for each in answers)
    return PanelVerdict(
        recommendation,
        _confidence(score, disagreement, agreeing),
        score,
        disagreement,
        one_line(f"{names}. {strongest.reason if strongest else 'No clear majority.'}"),
        one_line(_against(recommendation, others, answers)),
    )


def softened(verdict: PanelVerdict, said: ModeratorFormat) -> PanelVerdict:
    """Return the verdict as a model moderates it: it may say HOLD or be less sure, it cannot go beyond the panel."""
    if said.recommendation not in (verdict.recommendation, "HOLD"):
        return verdict
    confidence = min(verdict.confidence, said.confidence, key=_GRADES.index)
    return replace(
        verdict,
        recommendation=said.recommendation,
        confidence=confidence,
        reason=one_line(said.reason),
        counter_argument=one_line(said.counter_argument) or verdict.counter_argument,
    )


def _weight(answer: PanelAnswer) -> int:
    return _WEIGHTS[answer.confidence or "low"]


def _confidence(score: float, disagreement: float, agreeing: Sequence[PanelAnswer]) -> Grade:
    if not agreeing:
        return "low"
    surest = max((each.confidence or "low" for each in agreeing), key=_GRADES.index)
    if abs(score) >= _SURE_FROM and disagreement <= _AGREED:
        return surest
    return min(surest, "medium" if abs(score) >= _LEANS_FROM else "low", key=_GRADES.index)


def _against(recommendation: Advice, others: Sequence[PanelAnswer], answers: Sequence[PanelAnswer]) -> str:
    """Return the reason of whoever disagrees most, else the doubt of whoever agrees."""
    sign = SIGNS[recommendation]
    if others:
        strongest = max(others, key=lambda each: (abs(each.sign - sign), _weight(each)))
        return f"{strongest.role}: {strongest.reason}"
    doubted = next((each for each in answers if each.role == "sceptic" and each.counter_argument), None)
    doubted = doubted or next((each for each in answers if each.counter_argument), None)
    return f"{doubted.role}: {doubted.counter_argument}" if doubted else "none was given"
