"""Console output of the chart-analysis bot."""

from src.charts.analysis_schema import ChartView
from src.charts.vision_analyst import Opinion
from src.domain.clock import utc_text
from src.runtime.console import Console
from src.runtime.settings import Settings

_COLOURS = {"BUY": "green", "SELL": "red", "HOLD": "yellow"}
_TRENDS = {"bullish": "📈", "bearish": "📉", "neutral": "➡️"}


class ChartConsole:
    """Console output of the chart bot; with icons on a terminal, elsewhere plain log lines."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def summary(self, view: ChartView, opinion: Opinion, file: str) -> None:
        """Print the result of one chart analysis."""
        say, reading, name = self._console.say, opinion.reading, view.symbol
        self._console.rule()
        say(f"{name} Chart Analysis Summary: {utc_text(view.candles[-1].open_ms)[:16]} {view.interval}", "📊", "bold")
        self._console.rule()
        say(f"{name} Analyst: {analyst_text(opinion)}", "👁️")
        say(f"{name} Price: ${view.price:,.6g}", "💲")
        say(f"{name} Trend: {reading.trend.upper()}", _TRENDS[reading.trend])
        say(
            f"{name} Recommendation: {reading.recommendation} (Confidence: {reading.confidence.upper()})",
            "💡",
            _COLOURS[reading.recommendation],
        )
        say(f"{name} Score: {reading.overall_score:g}/10", "🎯")
        say(f"{name} Support: {_prices(reading.support_levels)}", "🟢")
        say(f"{name} Resistance: {_prices(reading.resistance_levels)}", "🔴")
        signals = reading.technical_signals
        say(f"{name} EMA {signals.ema_alignment}, RSI {signals.rsi_condition}, MACD {signals.macd_signal}", "🔍")
        say(f"{name} Reason: {reading.reason}", "📝")
        say(f"{name} Chart: {file}", "🖼️")

    def skipped(self, symbol: str, reason: str) -> None:
        """Print why a chart was not analysed."""
        self._console.say(f"{symbol} not analysed: {reason}", "⏭️")

    def failed(self, symbol: str, reason: str) -> None:
        """Print that a chart analysis failed."""
        self._console.say(f"{symbol} chart analysis failed: {reason}", "❌", "red")

    def start(self, settings: Settings, world: str) -> None:
        """Print the start banner."""
        say = self._console.say
        mode = settings.mode.upper() if settings.mode != "paper" else f"PAPER ({world})"
        analyst = {"openai": settings.openai_model, "panel": "panel of analysts"}.get(
            settings.chart_analyst_name, "local rules (no model)"
        )
        self._console.rule()
        say("AI CHART ANALYSIS BOT", "🚀", "bold")
        self._console.rule()
        say(f"   Trading Pair: {', '.join(settings.pairs)}")
        say(f"   Candles: {settings.chart_candle_interval}, every {settings.chart_interval_minutes} minutes")
        say(f"   News: every {settings.news_interval_minutes} minutes")
        say(f"   Analyst: {analyst}, budget ${settings.openai_monthly_budget_usd} a month")
        say(f"   Mode: {mode}")
        say("Press Ctrl+C to stop gracefully", "🛑")

    def trouble(self, half: str, reason: str) -> None:
        """Print that the chart or the news round failed."""
        self._console.say(f"{half} round failed: {reason}", "❌", "red")

    def sleeping(self, seconds: float, half: str) -> None:
        """Print the time until the next round."""
        self._console.say(f"Next: {half} in {seconds:.0f} seconds...", "⏳")

    def stopped(self) -> None:
        """Print the end."""
        self._console.say("Chart bot stopped.", "👋")


def analyst_text(opinion: Opinion) -> str:
    """Return the analyst of an opinion, its cost, and why it was not another analyst."""
    if opinion.analyst == "local":
        return f"local rules, no model{f' ({opinion.note})' if opinion.note else ''}"
    tokens = f"{opinion.input_tokens} + {opinion.output_tokens} tokens, ${opinion.cost_usd:.6f}"
    if opinion.analyst == "panel":
        heard = sum(not each.error for each in opinion.panel)
        apart = f"{opinion.disagreement or 0:.0%} disagree"
        return f"panel, {heard} of {len(opinion.panel)} heard, {apart}, {tokens}"
    return f"{opinion.model}, {opinion.mode} mode, {tokens}"


def _prices(levels: tuple[float, ...]) -> str:
    return ", ".join(f"${level:,.6g}" for level in levels) or "none in sight"
