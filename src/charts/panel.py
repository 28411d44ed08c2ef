"""A panel of analysts: several prompts or models read one chart side by side, and a moderator forms one opinion.

Each is asked by itself within the same budget; one that hangs, fails or answers nonsense costs its own answer and
nothing else. The rules read the chart as well, free, and are the opinion where no model is heard.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from src.charts.analysis_schema import ChartObservation, ChartView
from src.charts.moderator import PanelVerdict, moderate, softened
from src.charts.panel_schema import (
    MODERATOR,
    ROLES,
    RULES,
    ModeratorFormat,
    PanelAnswer,
    PanelFacts,
    PanelistFormat,
    believed_answer,
    facts_text,
    one_line,
)
from src.charts.rule_based_analyst import read_chart
from src.charts.vision_analyst import LOCAL, Opinion, Resize, chart_text, fitted_size, png_size
from src.domain.errors import SourceUnavailable, StoreUnavailable
from src.llm.budgeted_model import BudgetedModel, CallCost
from src.llm.prompts import Prompt
from src.runtime.parallel_fetch import ParallelFetcher

log = logging.getLogger(__name__)

PANEL: Final = "panel"
_ANSWER_TOKENS: Final = 500
_GRADE_CHANCE: Final = {"low": 0.52, "medium": 0.55, "high": 0.60}


@dataclass(frozen=True, slots=True)
class Panelist:
    """One analyst: the role, the model that is asked, and its instruction."""

    role: str
    model: BudgetedModel
    prompt: Prompt


class AnalystPanel:
    """Asks all analysts at once.

    Args:
        panelists: at least one.
        moderator: a model that may soften the verdict of the rules; None: the rules alone moderate.
        resize: makes a picture smaller (PNG, width, height).
        facts: what is known of a pair beside its chart.
        wait_s: how long all analysts together may take; who is later is not heard.
    """

    kind = PANEL
    name = ""

    def __init__(
        self,
        panelists: Sequence[Panelist],
        *,
        moderator: Panelist | None,
        resize: Resize,
        facts: Callable[[str], PanelFacts],
        wait_s: float = 75.0,
    ) -> None:
        self._panelists = tuple(panelists)
        self._moderator = moderator
        self._resize = resize
        self._facts = facts
        self._wait_s = wait_s

    def analyze_chart(self, view: ChartView, png: bytes) -> Opinion:
        """Return the panel's opinion, that of the rules where no model answers."""
        facts, rules = self._facts(view.symbol), read_chart(view)
        text = f"{chart_text(view)}\n{facts_text(view, facts)}"
        asked = {each.role: partial(self._asked, each, view, png, text) for each in self._panelists}
        found, late = ParallelFetcher[PanelAnswer](self._wait_s).gather(asked)
        answers = [found.get(each.role) or _silent(each, late.get(each.role, "no answer")) for each in self._panelists]
        heard = [each for each in answers if not each.error]
        if not heard:
            note = "no analyst of the panel was heard: " + "; ".join(f"{each.role}: {each.error}" for each in answers)
            return _billed(Opinion(rules, LOCAL, note=note, panel=tuple(answers)))
        verdict = moderate([*heard, _of_rules(rules)])
        if self._moderator is not None:
            said, verdict = self._moderated(self._moderator, view, heard, verdict)
            answers.append(said)
        reading = replace(
            rules,
            recommendation=verdict.recommendation,
            confidence=verdict.confidence,
            overall_score=round(5.0 + 5.0 * verdict.score, 1),
            reason=verdict.reason,
        )
        return _billed(
            Opinion(
                reading,
                PANEL,
                panel=(*answers, _of_rules(rules)),
                counter_argument=verdict.counter_argument,
                disagreement=verdict.disagreement,
            )
        )

    def _asked(self, panelist: Panelist, view: ChartView, png: bytes, text: str) -> PanelAnswer:
        bill: CallCost[PanelistFormat] = CallCost()
        blank = PanelAnswer(panelist.role, panelist.model.model, panelist.prompt.identity)
        try:
            said = believed_answer(view, self._answer(panelist, view, png, text, bill))
        except (SourceUnavailable, StoreUnavailable) as error:  # a call that cannot be booked is not made
            log.warning("panel analyst not heard: role=%s symbol=%s reason=%s", panelist.role, view.symbol, error)
            return _with_bill(replace(blank, error=one_line(str(error))), bill)
        answer = replace(
            blank,
            recommendation=said.recommendation,
            confidence=said.confidence,
            probability_up=said.probability_up,
            reason=one_line(said.reason),
            counter_argument=one_line(said.counter_argument),
        )
        return _with_bill(answer, bill)

    def _answer(
        self, panelist: Panelist, view: ChartView, png: bytes, text: str, bill: CallCost[PanelistFormat]
    ) -> PanelistFormat:
        model = panelist.model
        size, picture = (0, 0), None
        if model.sees_pictures:
            size = fitted_size(png_size(png), model.capabilities.small_picture)
            picture = self._resize(png, *size)
        question = model.question(panelist.prompt.text, text, PanelistFormat, _ANSWER_TOKENS, picture)
        said = model.ask(question, f"chart_{panelist.role}", view.symbol, bill, size).content
        if said is None:
            raise SourceUnavailable("the model gave no usable answer")
        return said

    def _moderated(
        self, moderator: Panelist, view: ChartView, heard: Sequence[PanelAnswer], verdict: PanelVerdict
    ) -> tuple[PanelAnswer, PanelVerdict]:
        bill: CallCost[ModeratorFormat] = CallCost()
        blank = PanelAnswer(MODERATOR, moderator.model.model, moderator.prompt.identity)
        question = moderator.model.question(moderator.prompt.text, _told(heard), ModeratorFormat, _ANSWER_TOKENS)
        try:
            said = moderator.model.ask(question, f"chart_{MODERATOR}", view.symbol, bill).content
        except (SourceUnavailable, StoreUnavailable) as error:
            log.warning("panel moderator not heard: symbol=%s reason=%s", view.symbol, error)
            return _with_bill(replace(blank, error=one_line(str(error))), bill), verdict
        if said is None:
            return _with_bill(replace(blank, error="no usable answer"), bill), verdict
        answer = replace(
            blank,
            recommendation=said.recommendation,
            confidence=said.confidence,
            reason=one_line(said.reason),
            counter_argument=one_line(said.counter_argument),
        )
        return _with_bill(answer, bill), softened(verdict, said)


def panel_roles(names: Mapping[str, str], default_model: str) -> dict[str, str]:
    """Return the model of each role; ``names`` are those that the settings change, the moderator only where named."""
    models = {role: names.get(role, default_model) for role in ROLES}
    return models | ({MODERATOR: names[MODERATOR]} if names.get(MODERATOR, RULES) != RULES else {})


def _told(heard: Sequence[PanelAnswer]) -> str:
    rows = [
        {
            "role": each.role,
            "recommendation": each.recommendation,
            "confidence": each.confidence,
            "probability_up": each.probability_up,
            "reason": each.reason,
            "counter_argument": each.counter_argument,
        }
        for each in heard
    ]
    return json.dumps(rows, ensure_ascii=False)


def _of_rules(reading: ChartObservation) -> PanelAnswer:
    sign = {"BUY": 1, "SELL": -1}.get(reading.recommendation, 0)
    chance = 0.5 + sign * (_GRADE_CHANCE[reading.confidence] - 0.5)
    return PanelAnswer(RULES, "", "", reading.recommendation, reading.confidence, chance, one_line(reading.reason))


def _silent(panelist: Panelist, why: str) -> PanelAnswer:
    return PanelAnswer(panelist.role, panelist.model.model, panelist.prompt.identity, error=one_line(why))


def _with_bill(answer: PanelAnswer, bill: CallCost[PanelistFormat] | CallCost[ModeratorFormat]) -> PanelAnswer:
    return replace(
        answer,
        input_tokens=bill.input_tokens,
        output_tokens=bill.output_tokens,
        cost_usd=bill.cost_usd,
        latency_ms=round(bill.latency_ms, 1) if bill.latency_ms else None,
    )


def _billed(opinion: Opinion) -> Opinion:
    """Return the opinion with what all its answers cost together."""
    return replace(
        opinion,
        input_tokens=sum(each.input_tokens for each in opinion.panel),
        output_tokens=sum(each.output_tokens for each in opinion.panel),
        cost_usd=sum((each.cost_usd for each in opinion.panel), opinion.cost_usd),
        latency_ms=max((each.latency_ms for each in opinion.panel if each.latency_ms is not None), default=None),
    )
