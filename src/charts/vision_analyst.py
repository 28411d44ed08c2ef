"""Analyses a chart with a vision model, or by rules when the model is unavailable or over budget.

There is always an opinion, marked with its author. Image and figures are passed as data, without tools; only the parts
of the answer that fit the schema and the chart are used. Nothing here can place an order.
"""

import logging
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Literal

from pydantic import BaseModel

from src.charts.analysis_schema import (
    Advice,
    ChartObservation,
    ChartView,
    Grade,
    Lean,
    RsiCondition,
    TechnicalSignals,
    visible_levels,
)
from src.charts.panel_schema import PanelAnswer
from src.charts.rule_based_analyst import read_chart
from src.domain.clock import utc_text
from src.domain.errors import SourceUnavailable, StoreUnavailable
from src.llm.budgeted_model import BudgetedModel, CallCost, paid_model
from src.llm.client import ModelFailed
from src.llm.prompts import read_prompt
from src.llm.untrusted_text import safe_name
from src.llm.usage_ledger import BudgetSpent, UsageLedger
from src.runtime.settings import Settings

log = logging.getLogger(__name__)

Mode = Literal["full", "simple"]
LOCAL: Final = "local"
OPENAI: Final = "openai"
_ROWS: Final = 32
_FULL_TOKENS: Final = 600
_SIMPLE_TOKENS: Final = 200
_LONGEST_REASON: Final = 300


class SignalsFormat(BaseModel):
    """Three indicators as the model reads them; no defaults, as strict schemas require."""

    ema_alignment: Lean
    rsi_condition: RsiCondition
    macd_signal: Lean


class ChartFormat(BaseModel):
    """The model's full answer."""

    trend: Lean
    recommendation: Advice
    confidence: Grade
    support_levels: list[float]
    resistance_levels: list[float]
    technical_signals: SignalsFormat
    overall_score: float
    reason: str


class AdviceFormat(BaseModel):
    """The model's short answer."""

    recommendation: Advice
    confidence: Grade
    reason: str


@dataclass(frozen=True, slots=True)
class Opinion:
    """A reading, who gave it (``analyst`` local, openai or panel), and what it cost.

    ``note`` says why the rules stand in for the model, empty where they do not. ``rejected`` are levels the model
    named that the chart cannot show. ``prompt`` is the instruction's name and version. ``panel`` are the answers that
    a panel's opinion was formed of, ``disagreement`` the share of them that recommends otherwise.
    """

    reading: ChartObservation
    analyst: str
    model: str = ""
    mode: Mode = "full"
    note: str = ""
    rejected: tuple[float, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    latency_ms: float | None = None
    prompt: str = ""
    panel: tuple[PanelAnswer, ...] = ()
    counter_argument: str = ""
    disagreement: float | None = None


Resize = Callable[[bytes, int, int], bytes]


class OpenAIAnalyzer:
    """Queries the model, and falls back to the rules.

    Args:
        model: what is asked; None: the rules alone.
        resize: makes an image smaller (PNG, width, height) to save cost.
    """

    def __init__(self, model: BudgetedModel | None, resize: Resize) -> None:
        self._model = model
        self._resize = resize
        self._prompts = {mode: read_prompt(f"chart_{mode}") for mode in ("full", "simple")} if model else {}

    @property
    def kind(self) -> str:
        """``openai`` where a model is asked first, else ``local``."""
        return OPENAI if self._model else LOCAL

    @property
    def name(self) -> str:
        """The model's name, empty for the rules."""
        return self._model.model if self._model else ""

    def analyze_chart(self, view: ChartView, png: bytes, mode: Mode = "full") -> Opinion:
        """Return an opinion on a chart.

        In full mode a model too expensive for the remaining monthly budget gets the simple request, if that fits.

        Args:
            view: what the picture shows.
            png: the picture.
            mode: ``full``, or ``simple`` for recommendation, confidence and reason alone: trend, levels and
                indicators are then those of the rules.
        """
        if self._model is None:
            return Opinion(read_chart(view), LOCAL)
        bill: CallCost[ChartFormat] = CallCost()
        try:
            return self._by_model(self._model, view, png, mode, bill)
        except (SourceUnavailable, StoreUnavailable) as error:  # a call that cannot be booked is not made
            log.warning("rules read the chart: symbol=%s model=%s reason=%s", view.symbol, self._model.model, error)
            note = f"{self._model.model} was not heard: {error}"
            return _opinion(read_chart(view), LOCAL, "", mode, bill, note=note)

    def _by_model(
        self, model: BudgetedModel, view: ChartView, png: bytes, mode: Mode, bill: CallCost[ChartFormat]
    ) -> Opinion:
        if mode == "full":
            try:
                return self._full(model, view, png, bill)
            except BudgetSpent:
                log.info("budget too short for a full reading: symbol=%s model=%s", view.symbol, model.model)
        return self._simple(model, view, png, bill)

    def _full(self, model: BudgetedModel, view: ChartView, png: bytes, bill: CallCost[ChartFormat]) -> Opinion:
        size = fitted_size(png_size(png), model.capabilities.picture)
        picture = self._resize(png, *size)
        question = model.question(self._prompts["full"].text, chart_text(view), ChartFormat, _FULL_TOKENS, picture)
        said = model.ask(question, "chart", view.symbol, bill, size).content
        if said is None:
            raise ModelFailed("bad_answer")
        reading, rejected = believed(view, said)
        made = _opinion(reading, OPENAI, model.model, "full", bill, rejected=rejected)
        return replace(made, prompt=self._prompts["full"].identity)

    def _simple(self, model: BudgetedModel, view: ChartView, png: bytes, whole: CallCost[ChartFormat]) -> Opinion:
        size = fitted_size(png_size(png), model.capabilities.small_picture)
        picture = self._resize(png, *size)
        question = model.question(self._prompts["simple"].text, chart_text(view), AdviceFormat, _SIMPLE_TOKENS, picture)
        bill: CallCost[AdviceFormat] = CallCost()
        try:
            said = model.ask(question, "chart_simple", view.symbol, bill, size).content
        finally:
            whole.add_all(bill)
        if said is None:
            raise ModelFailed("bad_answer")
        rules = read_chart(view)
        reading = ChartObservation(
            trend=rules.trend,
            recommendation=said.recommendation,
            confidence=said.confidence,
            support_levels=rules.support_levels,
            resistance_levels=rules.resistance_levels,
            technical_signals=rules.technical_signals,
            overall_score=rules.overall_score,
            reason=_one_line(said.reason) + " (trend, levels and score by rules)",
        )
        made = _opinion(reading, OPENAI, model.model, "simple", whole)
        return replace(made, prompt=self._prompts["simple"].identity)


def build_analyzer(
    settings: Settings, ledger: UsageLedger, resize: Resize, use_local: bool | None = None
) -> OpenAIAnalyzer:
    """Return the analyzer of the settings (CHART_ANALYST); ``use_local`` overrides them."""
    local = settings.chart_analyst_name == LOCAL if use_local is None else use_local
    return OpenAIAnalyzer(None if local else paid_model(settings, ledger, settings.openai_model), resize)


def chart_text(view: ChartView) -> str:
    """Return the chart's figures for a model: the last candles as rows, and the indicators by name."""
    rows = [
        f"{utc_text(each.open_ms)[5:16]} {each.open:.8g} {each.high:.8g} {each.low:.8g} {each.close:.8g} "
        f"{each.volume:.6g}"
        for each in view.candles[-_ROWS:]
    ]
    latest = view.latest._asdict()
    figures = ", ".join(f"{name} {value:.6g}" for name, value in latest.items() if math.isfinite(value))
    return (
        f"{safe_name(view.symbol)}, candles of {view.interval}. Last close {view.price:.8g}. "
        f"The chart shows prices from {view.lowest:.8g} to {view.highest:.8g} over {len(view.candles)} candles.\n"
        f"Indicators: {figures}.\nLast {len(rows)} candles (UTC, open high low close volume):\n" + "\n".join(rows)
    )


def believed(view: ChartView, said: ChartFormat) -> tuple[ChartObservation, tuple[float, ...]]:
    """Return the valid part of a model's answer, and the levels that do not fit the chart.

    Raises:
        ModelFailed: the score is no figure from 0 to 10.
    """
    if not 0.0 <= said.overall_score <= 10.0:
        raise ModelFailed("bad_answer")
    supports = visible_levels(view, said.support_levels, below=True)
    resistances = visible_levels(view, said.resistance_levels, below=False)
    claimed = {*said.support_levels, *said.resistance_levels}
    rejected = tuple(sorted(level for level in claimed if level not in {*supports, *resistances}))
    if rejected:
        log.info("levels rejected: symbol=%s levels=%s", view.symbol, rejected)
    signals = said.technical_signals
    reading = ChartObservation(
        trend=said.trend,
        recommendation=said.recommendation,
        confidence=said.confidence,
        support_levels=supports,
        resistance_levels=resistances,
        technical_signals=TechnicalSignals(signals.ema_alignment, signals.rsi_condition, signals.macd_signal),
        overall_score=round(said.overall_score, 2),
        reason=_one_line(said.reason),
    )
    return reading, rejected


def png_size(png: bytes) -> tuple[int, int]:
    """Return width and height of a PNG in pixels, from its first bytes; ``ValueError`` where it is none."""
    if png[:8] != b"\x89PNG\r\n\x1a\n" or len(png) < 24:
        raise ValueError("not a PNG")
    width, height = struct.unpack(">II", png[16:24])
    return int(width), int(height)


def fitted_size(size: tuple[int, int], most: tuple[int, int]) -> tuple[int, int]:
    """Return a picture's size shrunk to fit into ``most``, never enlarged."""
    shrink = min(1.0, most[0] / size[0], most[1] / size[1])
    return max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_REASON]


def _opinion(
    reading: ChartObservation,
    analyst: str,
    model: str,
    mode: Mode,
    bill: CallCost[ChartFormat],
    note: str = "",
    rejected: tuple[float, ...] = (),
) -> Opinion:
    return Opinion(
        reading,
        analyst,
        model,
        mode,
        note,
        rejected,
        bill.input_tokens,
        bill.output_tokens,
        bill.cost_usd,
        round(bill.latency_ms, 1) if bill.latency_ms else None,
    )
