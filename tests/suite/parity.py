"""One stretch of market twice: by the bot as a process over HTTP and sockets, and by the backtest in process.

Both start with the same model, settings, candles and balance. Compared, bit for bit: every indicator, the signal with
its votes, the agent's state, values, action and confidence, the decision with its reason, what the position is worth,
and each trade's figures and instants.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from src.backtest.config import BreakerPolicy, Setup
from src.backtest.engine import LEAST_WARM_UP, run_backtest
from src.backtest.result import BacktestResult
from src.backtest.training import teach_past
from src.domain.clock import MINUTE_MS, monotonic_s, utc_text
from src.domain.costs import CostRates
from src.domain.market import MarketContext
from src.domain.portfolio import Trade
from src.execution.journal import Turn
from src.market_data.columns import Candles
from src.market_data.files import read_candles
from src.runtime.rule_loader import read_rules
from src.runtime.settings import Settings
from src.storage.mapping import signal_row
from src.strategy.q_agent import QLearningAgent
from tests.suite.running import suite
from tests.suite.stepping import Steps, standing

TAUGHT_ON = 8_000
NEAR = 1e-6
PLAIN = (
    "signal_type", "strength", "rl_action", "confidence", "explored", "decision", "veto", "reason", "price",
    "position_side", "rsi", "macd", "macd_signal", "macd_histogram", "ema_9", "ema_21", "ema_50", "ema_200", "sma_20",
    "bollinger_upper", "bollinger_middle", "bollinger_lower", "atr", "vwap", "stochastic_k", "stochastic_d",
    "volume_mean", "adx", "close", "volume",
)  # fmt: skip
NESTED = ("rl_state", "votes")
JUDGED = ("decision", "signal_type", "strength", "rl_action", "position_side")
"""What a turn decided and why; the other columns are figures that may differ in their last bits after a restart."""
MONEY = ("quantity", "entry_price", "exit_price", "gross_pnl", "fees", "funding", "stop_price", "target_price")
_STORED = Context(prec=15, rounding=ROUND_HALF_EVEN)
"""As the database keeps money: a mean price of several exits has more digits than that."""
REGIMES = {1: "risk_off", 2: "risk_on"}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class TrainingSeries:
    """A stretch of a market's record and the bot's settings; ``restart_at`` is the minute of a restart, 0 for none.

    With ``killed`` the restart is one after ``kill -9``.
    """

    record: Path
    first: int
    minutes: int
    settings: Mapping[str, str]
    restart_at: int = 0
    killed: bool = False


@dataclass(frozen=True)
class Live:
    """What the bot wrote down, oldest first, and what it took: wall seconds, CPU seconds of bot and exchange."""

    turns: list[Row]
    trades: list[Row]
    wall_s: float
    bot_cpu_s: float
    exchange_cpu_s: float
    by_seconds: int
    late: list[str]


@dataclass(frozen=True)
class Past:
    """What the backtest made of the same stretch: every turn, and the outcome of the run that skips nothing."""

    turns: list[Turn]
    outcome: BacktestResult


@dataclass
class Comparison:
    """Where the two disagree; ``figures`` are the instants of turns whose bits differ, whatever was decided."""

    turns: int = 0
    extra: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    trades: int = 0
    other_trades: list[str] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)

    @property
    def near_edges(self) -> bool:
        """Whether each decision that differs looked at a figure that lies within ``NEAR`` of its threshold."""
        return all(gap <= NEAR for gap in self.gaps)

    @property
    def equal(self) -> bool:
        """Whether no bit differs."""
        return not (self.extra or self.missing or self.figures or self.decisions or self.other_trades)


def begin(course: TrainingSeries, folder: Path) -> tuple[Candles, Settings]:
    """Write the model that both start with to ``folder``, twice: the bot saves what it learns into its own file.

    Returns:
        The record's candles, and the settings as the bot will read them.
    """
    candles = read_candles(course.record)
    settings = settings_of(course, folder)
    agent = QLearningAgent.for_rules(read_rules(settings), CostRates().one_way_share)
    teach_past(agent, candles.cut(max(course.first - TAUGHT_ON, 0), course.first - LEAST_WARM_UP))
    for name in ("model.pkl", "begun.pkl"):
        agent.save(folder / name, int(candles.open_ms[course.first]))
    return candles, settings


def settings_of(course: TrainingSeries, folder: Path) -> Settings:
    """Return the settings as the bot will read them."""
    path = folder / "bot.env"
    lines = {"TRADING_MODE": "paper", "RULES": "safety_first", **course.settings}
    path.write_text("".join(f"{name}={value}\n" for name, value in lines.items()), encoding="utf-8")
    return Settings.load(path)


def live(course: TrainingSeries, folder: Path, candles: Candles, settings: Settings) -> Live:
    """Let the bot trade the stretch on a paper exchange whose market is moved on minute by minute."""
    start_ms = int(candles.open_ms[course.first])
    wall_s, cpu_s = monotonic_s(), [0.0, 0.0]
    legs = [course.restart_at, course.minutes - course.restart_at] if course.restart_at else [course.minutes]
    with (
        suite(folder, market=f"replay:{course.record}", **standing(start_ms), **course.settings) as (exchange, bot),
        Steps(exchange, bot, start_ms, candles, settings.risk_limits, settings.reconcile_s) as steps,
    ):
        for leg, minutes in enumerate(legs):
            bot.start()
            steps.wait_for_start()
            steps.forward(minutes)
            cpu_s[0] += cpu_of(bot.process.pid)
            if course.killed and leg + 1 < len(legs):
                bot.kill()
            else:
                assert bot.stop() == 0, bot.log[-3000:]
        cpu_s[1] = cpu_of(exchange.process.pid)
    turns = rows_of(bot.database, "SELECT * FROM signals ORDER BY instant_ms, id")
    trades = rows_of(bot.database, "SELECT * FROM trades WHERE status = 'closed' ORDER BY entry_time, id")
    return Live(turns, trades, monotonic_s() - wall_s, *cpu_s, steps.by_seconds, steps.late)  # type: ignore[call-arg]


def past(course: TrainingSeries, folder: Path, candles: Candles, settings: Settings, seen: Live) -> Past:
    """Run the backtest over the stretch, with every turn and without; both must agree among themselves."""
    setup = Setup(
        rules=read_rules(settings),
        limits=settings.risk_limits,
        breaker=settings.breaker_limits,
        breaker_policy=BreakerPolicy.STAYS,
        margin_type=settings.margin_type,
    )
    start_ms, turns = int(candles.open_ms[course.first]), list[Turn]()
    known = candles.cut(course.first - LEAST_WARM_UP, course.first + course.minutes + 2)
    span = {"from_ms": start_ms, "to_ms": start_ms + course.minutes * MINUTE_MS + 1, "contexts": contexts_of(seen)}
    whole = run_backtest(known, setup, agent_at_start(folder, settings), every_turn=True, on_turn=turns.append, **span)
    quick = run_backtest(known, setup, agent_at_start(folder, settings), **span)
    assert quick.trades == whole.trades and quick.records == whole.records, "passing over quiet minutes changed a trade"
    return Past(turns, whole)


def agent_at_start(folder: Path, settings: Settings) -> QLearningAgent:
    """Return the agent as the bot began with it."""
    return QLearningAgent.load(folder / "begun.pkl", settings.exploration_share, settings.random_seed)


def contexts_of(seen: Live) -> list[MarketContext]:
    """Return the regimes that the bot's states tell of: what it gathered of the market beside its price."""
    contexts = []
    for row in seen.turns:
        state = json.loads(row["rl_state"])["state"]
        regime = REGIMES.get(state // 3 % 3, "unknown") if state >= 0 else "unknown"
        at = row["instant_ms"] // MINUTE_MS * MINUTE_MS
        contexts.append(MarketContext(None, None, None, None, None, None, "", "", regime, "", at))
    return contexts


def compared(seen: Live, known: Past) -> Comparison:
    """Return where bot and backtest disagree."""
    found = Comparison(turns=len(seen.turns), trades=len(seen.trades))
    rows = dict[int, Row]()
    for row in seen.turns:
        minute = row["instant_ms"] // MINUTE_MS
        if minute in rows:
            found.extra.append(f"{row['timestamp']} {row['decision']}: {row['reason']}")
        else:
            rows[minute] = row
    for turn in known.turns:
        row = rows.pop(turn.observation.now_ms // MINUTE_MS, None)
        if row is None:
            found.missing.append(utc_text(turn.observation.now_ms))
        else:
            _compare_turn(row, turn, found)
    found.missing += [f"{row['timestamp']} (bot only)" for row in rows.values()]
    _compare_trades(seen.trades, known.outcome.trades, found)
    return found


def _compare_turn(row: Row, turn: Turn, found: Comparison) -> None:
    ours = signal_row(lambda _symbol: {}, turn)
    others = [name for name in PLAIN if row[name] != ours.get(name)]
    others += [name for name in NESTED if json.loads(row[name]) != ours[name]]
    worth = row["pnl_unrealized"], ours["pnl_unrealized"]
    if (worth[0] if worth[0] is None else Decimal(str(worth[0]))) != worth[1]:
        others.append("pnl_unrealized")
    if not others:
        return
    found.figures.append(row["timestamp"])
    if set(others) & set(JUDGED) or json.loads(row["rl_state"])["state"] != ours["rl_state"]["state"]:
        pairs = ", ".join(f"{name} {row[name]} against {ours.get(name)}" for name in others if name in JUDGED)
        name, gap = nearest_edge(row)
        found.gaps.append(gap)
        edge = f"{name} is {gap:.1e} from its edge"
        said = f"bot: {row['reason']} backtest: {ours['reason']}"
        found.decisions.append(f"{row['timestamp']} {pairs or 'another state'}; {edge}; {said}")


def _compare_trades(ours: Sequence[Row], theirs: Iterable[Trade], found: Comparison) -> None:
    known = {utc_text(trade.entry_ms): trade for trade in theirs}
    for row in ours:
        trade = known.pop(row["entry_time"], None)
        if trade is None:
            found.other_trades.append(f"{row['entry_time']} {row['side']} by the bot only")
            continue
        others = [name for name in MONEY if Decimal(str(row[name])) != _STORED.plus(getattr(trade, name))]
        plain = {"side": str(trade.direction), "exit_reason": trade.exit_reason}
        plain["exit_time"] = utc_text(trade.exit_ms or 0)
        others += [name for name, value in plain.items() if row[name] != value]
        if others:
            pairs = (f"{name} {row[name]} against {plain.get(name) or getattr(trade, name)}" for name in others)
            found.other_trades.append(f"{row['entry_time']} {', '.join(pairs)}")
    found.other_trades += [f"{at} by the backtest only" for at in known]


def nearest_edge(row: Row) -> tuple[str, float]:
    """Return which figure of a turn lies nearest to a threshold that signal or state compare it with, and how near.

    Prices count as shares of the close, RSI and ADX of 100, all else of the threshold.
    """
    r, close = row, row["close"]
    width = r["bollinger_upper"] - r["bollinger_lower"]
    place = (close - r["bollinger_lower"]) / width if width else 0.5
    gaps = [("RSI", (r["rsi"] - edge) / 100) for edge in (30, 35, 50, 65, 70)]
    gaps += [(name, r[name] / close) for name in ("macd", "macd_histogram")]
    means = ("close", "ema_9", "ema_21", "ema_50", "ema_200")
    gaps += [(f"{a} and {b}", (r[a] - r[b]) / close) for a, b in pairwise(means)]
    lines = ("bollinger_upper", "bollinger_lower", "vwap")
    gaps += [(f"close and {name}", (close - r[name]) / close) for name in lines]
    gaps += [("place between the bands", place - edge) for edge in (0.2, 0.8)]
    if r["volume_mean"]:
        gaps += [("volume", r["volume"] / r["volume_mean"] / edge - 1) for edge in (1.5, 2.0)]
    gaps += [("ADX", (r["adx"] - 25) / 100)]
    gaps += [("ATR", r["atr"] / close / edge - 1) for edge in (0.0005, 0.0015)]
    name, gap = min(gaps, key=lambda each: abs(each[1]))
    return name, abs(gap)


def rows_of(database: Path, query: str) -> list[Row]:
    """Return the rows of a query as mappings."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        return list(connection.execute(query).fetchall())


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a process has spent so far."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
