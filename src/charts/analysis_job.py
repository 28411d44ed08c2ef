"""One round of chart analysis: candles, image, opinion, record; a failing pair does not stop the others."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol

from src.charts.analysis_schema import ChartView, view_of
from src.charts.annotations import ChartAnnotations, TradeMark
from src.charts.console_output import ChartConsole
from src.charts.generator import FEWEST, ChartPicture, ChartUnavailable
from src.charts.vision_analyst import Opinion
from src.domain.clock import Clock, instant_of, utc_text
from src.domain.errors import ExchangeError, StoreUnavailable
from src.domain.market import INTERVAL_MS, Candle
from src.reporting.pages import Scope, TradeFilter
from src.reporting.service import ReportService
from src.storage.rows import ChartAnalysis, Owner, PanelRow

log = logging.getLogger(__name__)

HISTORY: Final = 1_000
_LONGEST_SKIP: Final = 4  # intervals of the candles: an older analysis is renewed in any case
_TRADES_SHOWN: Final = 50

Candles = Callable[[str, str, int], Sequence[Candle]]


class Pictures(Protocol):
    """Draws charts."""

    def draw(self, view: ChartView, marks: ChartAnnotations | None = None) -> ChartPicture:
        """Return the image of a view; ``ChartUnavailable`` if it cannot be drawn."""


class Analyst(Protocol):
    """Analyses charts."""

    @property
    def kind(self) -> str:
        """``local``, ``openai`` or ``panel``."""

    @property
    def name(self) -> str:
        """The model that is asked first, empty for the rules and for a panel."""

    def analyze_chart(self, view: ChartView, png: bytes) -> Opinion:
        """Return an opinion; never fails."""


class AnalysisStore(Protocol):
    """Stores analyses."""

    def save_chart_analysis(self, analysis: ChartAnalysis) -> int:
        """Write one analysis and return its id."""

    def save_panel(self, answers: Sequence[PanelRow]) -> None:
        """Write what each analyst of a panel answered."""


@dataclass(slots=True)
class RoundResult:
    """The result of one round: pairs by outcome, failures with their reason."""

    analysed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    last_market_ms: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "analysed": self.analysed,
            "skipped": self.skipped,
            "failed": self.failed,
            "last_market_ms": self.last_market_ms,
        }


class ChartAnalysisJob:
    """Analyses the chart of every pair.

    Args:
        owner: of the rows that are written and the trades that are drawn.
        pairs: the contracts.
        interval: of the candles.
        clock: the exchange's.
        candles: called as ``candles(symbol, interval, limit)``; one request a pair.
        pictures: draws.
        analyst: reads.
        store: keeps.
        reports: what was kept before, positions and trades.
        console: tells.
        min_move_atr: a chart is not analysed again if its price moved less than this many ATR since.
    """

    def __init__(
        self,
        *,
        owner: Owner,
        pairs: Sequence[str],
        interval: str,
        clock: Clock,
        candles: Candles,
        pictures: Pictures,
        analyst: Analyst,
        store: AnalysisStore,
        reports: ReportService,
        console: ChartConsole,
        min_move_atr: float = 0.25,
    ) -> None:
        self._owner = owner
        self._pairs = pairs
        self._interval = interval
        self._clock = clock
        self._candles = candles
        self._pictures = pictures
        self._analyst = analyst
        self._store = store
        self._reports = reports
        self._console = console
        self._min_move_atr = min_move_atr

    def run_round(self) -> RoundResult:
        """Run one round; a failing pair is logged and recorded, and does not stop the others."""
        result = RoundResult()
        for symbol in self._pairs:
            try:
                self._look_at(symbol, result)
            except (ExchangeError, ChartUnavailable) as error:
                self._note_failure(symbol, str(error))
                result.failed[symbol] = str(error)
            except StoreUnavailable as error:
                log.warning("analysis not kept: symbol=%s reason=%s", symbol, error)
                result.failed[symbol] = str(error)
        return result

    def _look_at(self, symbol: str, result: RoundResult) -> None:
        candles = self._candles(symbol, self._interval, HISTORY)
        if len(candles) < FEWEST:
            raise ChartUnavailable(f"{symbol} has {len(candles)} candles, a chart needs {FEWEST}: wait for more.")
        view = view_of(symbol, self._interval, candles)
        result.last_market_ms = max(result.last_market_ms or 0, candles[-1].open_ms + INTERVAL_MS[self._interval])
        scope = Scope(self._owner.bot_id, self._owner.mode, self._owner.world, symbol)
        why = self._why_skip(view, self._reports.chart_analysis(scope, only_good=True))
        if why:
            self._console.skipped(symbol, why)
            result.skipped.append(symbol)
            return
        picture = self._pictures.draw(view, marks_of(self._reports, scope))
        opinion = self._analyst.analyze_chart(view, picture.png)
        now_ms = self._clock.now_ms()
        number = self._store.save_chart_analysis(record_of(view, opinion, picture.path.name, now_ms))
        if opinion.panel:
            self._store.save_panel(panel_rows(view, opinion, number, now_ms))
        self._console.summary(view, opinion, picture.path.name)
        result.analysed.append(symbol)

    def _why_skip(self, view: ChartView, last: dict[str, Any] | None) -> str:
        """Return why the chart is not analysed again, empty if it must be.

        It must be if there is no analysis, it is of another analyst or interval, too old or from the future (another
        run of a replayed market), or the price has moved.
        """
        wanted = (self._analyst.kind, self._analyst.name, self._interval)
        if last is None or (last["analyst"], last["model"], last["interval"]) != wanted or last["price"] is None:
            return ""
        age_ms = self._clock.now_ms() - instant_of(last["timestamp"])
        if not 0 <= age_ms < _LONGEST_SKIP * INTERVAL_MS[self._interval]:
            return ""
        moved, atr = abs(view.price - last["price"]), view.latest.atr
        if atr > 0.0 and moved < self._min_move_atr * atr:
            return f"price moved {moved / atr:.2f} ATR since the last analysis, less than {self._min_move_atr:g}"
        return ""

    def _note_failure(self, symbol: str, reason: str) -> None:
        self._console.failed(symbol, reason)
        failure = ChartAnalysis(
            timestamp=utc_text(self._clock.now_ms()),
            symbol=symbol,
            interval=self._interval,
            candles=0,
            analyst=self._analyst.kind,
            status="error",
            error=reason,
        )
        try:
            self._store.save_chart_analysis(failure)
        except StoreUnavailable as error:
            log.warning("failure not kept: symbol=%s reason=%s", symbol, error)


def record_of(view: ChartView, opinion: Opinion, file: str, now_ms: int) -> ChartAnalysis:
    """Return the row of an opinion; if the rules replaced a model, ``error`` says why."""
    reading = opinion.reading
    return ChartAnalysis(
        timestamp=utc_text(now_ms),
        symbol=view.symbol,
        interval=view.interval,
        candles=len(view.candles),
        analyst=opinion.analyst,
        price=view.price,
        model=opinion.model,
        trend=reading.trend,
        recommendation=reading.recommendation,
        confidence=reading.confidence,
        overall_score=reading.overall_score,
        support_levels=list(reading.support_levels),
        resistance_levels=list(reading.resistance_levels),
        technical_signals=reading.technical_signals.as_dict(),
        summary=reading.reason,
        chart_file=file,
        error=opinion.note,
        input_tokens=opinion.input_tokens,
        output_tokens=opinion.output_tokens,
        cost_usd=opinion.cost_usd,
        latency_ms=opinion.latency_ms,
        prompt=opinion.prompt,
        counter_argument=opinion.counter_argument,
        disagreement=opinion.disagreement,
    )


def panel_rows(view: ChartView, opinion: Opinion, analysis_id: int, now_ms: int) -> list[PanelRow]:
    """Return the rows of a panel's answers to one analysis."""
    return [
        PanelRow(
            timestamp=utc_text(now_ms),
            symbol=view.symbol,
            analysis_id=analysis_id,
            status="error" if each.error else "ok",
            **asdict(each),
        )
        for each in opinion.panel
    ]


def marks_of(reports: ReportService, scope: Scope) -> ChartAnnotations:
    """Return the annotations of a symbol: entry, stop and target of the open trade, and the last trades."""
    rows = reports.trades(TradeFilter(scope=scope), limit=_TRADES_SHOWN).rows
    held = next((row for row in rows if row["status"] == "open"), None)
    marks = [mark for row in rows for mark in _marks_of_trade(row)]
    if held is None:
        return ChartAnnotations(trades=tuple(marks))
    return ChartAnnotations(
        entry=_price(held["entry_price"]),
        stop=_price(held["stop_price"]),
        target=_price(held["target_price"]),
        trades=tuple(marks),
    )


def _marks_of_trade(row: dict[str, Any]) -> list[TradeMark]:
    long = row["side"] == "LONG"
    marks = [TradeMark(instant_of(row["entry_time"]), float(row["entry_price"]), long)]
    if row["exit_time"] and row["exit_price"] is not None:
        marks.append(TradeMark(instant_of(row["exit_time"]), float(row["exit_price"]), not long))
    return marks


def _price(value: Any) -> float | None:
    return None if value is None else float(value)
