"""Console output of the trading bot: its start, each turn, its end."""

from collections.abc import Mapping, Sequence

from src.domain.clock import utc_text
from src.domain.market import MarketContext
from src.execution.journal import Turn
from src.runtime.console import Console
from src.runtime.rule_loader import changed_figures, read_limits
from src.runtime.settings import Settings
from src.strategy.decision import Decision, DecisionRules, Observation, Verdict

_FEAR = ((25, "Extreme Fear"), (45, "Fear"), (56, "Neutral"), (76, "Greed"), (101, "Extreme Greed"))
_PAUSE_ICON = "⏸️"


class BotConsole:
    """The bot's voice; on a terminal with icons, elsewhere plain log lines."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def start(self, settings: Settings, rules: DecisionRules, now_ms: int, world: str) -> None:
        """Say what is about to run, with the figures that matter, as they are in force."""
        say = self._console.say
        self._console.rule()
        say("AI-DRIVEN CRYPTOCURRENCY TRADING BOT", "🚀", "bold")
        self._console.rule()
        say(f"Started at: {_seconds(now_ms)} UTC", "⏰")
        self._console.gap()
        say("Configuration:", "⚙️")
        for line in _configuration(settings, rules, world):
            say(f"   {line}")
        for change in changed_figures(settings):
            say(f"   {change}, which is what {rules.name} says", "⚠️", "yellow")
        self._console.gap()
        say("Initializing components...", "📊")

    def step(self, text: str, icon: str = "✅") -> None:
        """Say that one part of the start is done."""
        self._console.say(text, icon)

    def setting_up(self, address: str) -> None:
        """Say where the exchange is, and that the account is made ready for the pairs."""
        self.step(f"Connected to {address}", "🧪")
        self._console.gap()
        self._console.say("Setting up Binance...", "🔧")

    def set_up(self, terms: Mapping[str, tuple[int, str]]) -> None:
        """Say which leverage and margin type hold for each pair at the exchange."""
        for symbol, (leverage, margin_type) in terms.items():
            self._console.say(f"Leverage set to {leverage}x for {symbol}", "⚡")
            self._console.say(f"Margin type set to {margin_type} for {symbol}", "📊")

    def agent(self, made_ready: str, outlook: str, settings: Settings) -> None:
        """Say how the agent was made ready, what a HOLD-only agent means, and that random tries are on."""
        self.step(made_ready)
        if outlook:
            self._console.say(outlook, "⚠️", "yellow")
        if settings.exploration_share > 0:
            self._console.say(
                f"EXPLORATION_RATE={settings.exploration_share:g}: this paper account makes random trades, so its "
                "figures are not those of a live account.",
                "⚠️",
                "yellow",
            )

    def running(self, settings: Settings) -> None:
        """Say that the bot trades from now on."""
        say = self._console.say
        self._console.gap()
        say("Bot initialized successfully!", "✅", "green")
        self._console.rule()
        self._console.gap()
        self._console.rule()
        say("BOT IS NOW RUNNING", "🤖", "bold green")
        self._console.rule()
        say(f"Check interval: {settings.interval} seconds", "⏱️")
        say("Press Ctrl+C to stop gracefully", "🛑")

    def cycle(self, number: int, turns: Sequence[Turn]) -> None:
        """Say what was seen and decided in one cycle, pair by pair."""
        self._console.gap()
        self._console.say(f"Cycle #{number}", "🔄", "bold")
        context = next((turn.observation.context for turn in turns if turn.observation.context), None)
        if context is not None:
            self._context(context)
        for turn in turns:
            self._turn(turn.observation, turn.decision, turn.cycle_ms)

    def sleeping(self, seconds: float) -> None:
        """Say how long until the next cycle."""
        self._console.say(f"Sleeping for {seconds:.0f} seconds...", "⏳")

    def stopping(self, sentences: Sequence[str]) -> None:
        """Say goodbye, and what stays open at the exchange."""
        self._console.gap()
        self._console.say("Shutting down gracefully...", "🛑", "yellow")
        for sentence in sentences:
            self._console.say(sentence)
        self._console.say("Bot stopped.", "👋")

    def _context(self, context: MarketContext) -> None:
        say = self._console.say
        index = context.fear_greed_index
        known = "unknown" if index is None else f"{index} ({next(name for top, name in _FEAR if index < top)})"
        say(f"Fear & Greed Index: {known}", "😰")
        say(f"BTC: {_price(context.btc_price)} ({_percent(context.btc_change_24h)})", "₿")
        say(f"ETH: {_price(context.eth_price)} ({_percent(context.eth_change_24h)})", "Ξ")
        dominance = context.btc_dominance
        say(f"BTC Dominance: {'unknown' if dominance is None else f'{dominance:.2f}%'}", "🔵")
        say("Market Context Summary:", "📊")
        say(f"   Trend: {context.market_trend.upper()} | BTC: {context.btc_trend}")
        say(f"   Regime: {context.market_regime.upper()} | Volatility: {context.volatility_level.upper()}")
        share = "unknown" if dominance is None else f"{dominance:.1f}%"
        say(f"   Fear & Greed: {'unknown' if index is None else index} | BTC Dom: {share}")

    def _turn(self, seen: Observation, decision: Decision, cycle_ms: float) -> None:
        say = self._console.say
        self._console.rule()
        say(f"Trading Cycle - {_seconds(seen.now_ms)} - {seen.symbol}", "🔄")
        self._console.rule()
        price = seen.mark.mark if seen.mark else None
        say(f"{seen.symbol} Current Price: {'unknown' if price is None else f'${price:,.2f}'}", "💲")
        say(f"{seen.symbol} Technical Signal: {seen.signal.side} (Strength: {seen.signal.strength})", "🔍")
        advice = seen.recommendation
        say(f"{seen.symbol} RL Recommendation: {advice.action.name} (Confidence: {advice.confidence:.2f})", "🧠")
        if seen.position is not None:
            held = seen.position
            say(
                f"{seen.symbol} Position: {held.direction} {held.quantity} from {held.entry_price:,}, "
                f"PnL {held.unrealized_pnl:+,.2f} {held.asset}",
                "📦",
            )
        say(f"{seen.symbol} {decision.reason} [{cycle_ms:.1f} ms]", _icon(decision))


def _configuration(settings: Settings, rules: DecisionRules, world: str) -> list[str]:
    limits = read_limits(settings, rules)
    mode = settings.mode.upper() if settings.mode != "paper" else f"PAPER ({world})"
    return [
        f"Trading Pair: {', '.join(settings.pairs)}",
        f"Leverage: {limits.leverage}x",
        f"Position Size: {limits.position_share * 100:.1f}%",
        f"Check Interval: {settings.interval}s",
        f"Signal Threshold: {rules.min_signal_strength}",
        f"Stop Loss: {limits.stop_loss_share * 100:.1f}%",
        f"Take Profit: {limits.take_profit_share * 100:.1f}%",
        f"Rules: {settings.rules}",
        f"Mode: {mode}",
    ]


def _icon(decision: Decision) -> str:
    if decision.verdict is Verdict.ENTER_LONG:
        return "🟢"
    if decision.verdict is Verdict.ENTER_SHORT:
        return "🔴"
    return "🔻" if decision.verdict is Verdict.CLOSE else _PAUSE_ICON


def _seconds(instant_ms: int) -> str:
    return utc_text(instant_ms)[:19].replace("T", " ")


def _price(value: float | None) -> str:
    return "unknown" if value is None else f"${value:,.2f}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.2f}%"
