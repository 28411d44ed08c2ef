"""The bot as a process, over HTTP and sockets, against the backtest in process: the same turns and trades, bit for bit.

The market stands and is moved from minute to minute, so that no turn is late. Compared are all indicators, signal,
votes, the agent's state, values, action and confidence, the decision with its reason, and each trade's figures.
"""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from decimal import Decimal

import pytest

from src.backtest.engine import LEAST_WARM_UP, run_backtest
from src.backtest.setup import BreakerPolicy, Setup
from src.backtest.training import teach_past
from src.core.clock import MINUTE_MS, utc_text
from src.core.market import MarketContext
from src.core.risk import RiskLimits
from src.decision_rules import DecisionRules
from src.journal_rows import signal_row
from src.rl_model import QLearningAgent
from tests.backtest.past import REAL, real
from tests.shared_data import shared_file
from tests.suite.running import BUSY, step_minutes, suite

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
MINUTES = 120
START = 9 * 1_440  # rows into the file: history lies before it, for the bot and for the agent
STANDING = 0.01
PLAIN = (
    "signal_type", "strength", "rl_action", "confidence", "explored", "decision", "veto", "reason", "price",
    "position_side", "rsi", "macd", "macd_signal", "macd_histogram", "ema_9", "ema_21", "ema_50", "ema_200", "sma_20",
    "bollinger_upper", "bollinger_middle", "bollinger_lower", "atr", "vwap", "stochastic_k", "stochastic_d",
    "volume_mean", "adx", "close", "volume",
)  # fmt: skip
MONEY = ("quantity", "entry_price", "exit_price", "gross_pnl", "fees", "funding", "stop_price", "target_price")
REGIMES = {1: "risk_off", 2: "risk_on"}


def rows_of(database, query):
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(query).fetchall()


def replayed(turns):
    """Return the contexts that the bot's states tell of: what it knew of the market beside its price."""
    contexts = []
    for row in turns:
        state = json.loads(row["rl_state"])["state"]
        regime = REGIMES.get(state // 3 % 3, "unknown") if state >= 0 else "unknown"
        at = row["instant_ms"] // MINUTE_MS * MINUTE_MS
        contexts.append(MarketContext(None, None, None, None, None, None, "", "", regime, "", at))
    return contexts


def test_a_stretch_of_market_is_decided_and_traded_the_same_live_and_in_the_backtest(tmp_path):
    candles = real(START + MINUTES + 2)
    start_ms = int(candles.open_ms[START])
    model = tmp_path / "model.pkl"
    taught = QLearningAgent()
    teach_past(taught, candles.cut(START - 8_000, START - 1_000))
    taught.save(model, start_ms)
    agent = QLearningAgent.load(model, 0.6, 7)  # the bot saves what it learns into the same file
    when = {"speed": STANDING, "start_at": utc_text(start_ms)[:19]}
    settings = {**BUSY, "EXPLORATION_RATE": "0.6", "RULES": "safety_first"}
    with suite(tmp_path, market=f"replay:{shared_file(REAL)}", **when, **settings) as (exchange, bot):
        bot.start()
        step_minutes(exchange, bot, MINUTES)
        assert bot.stop() == 0
    live = rows_of(bot.database, "SELECT * FROM signals ORDER BY instant_ms")
    traded = rows_of(bot.database, "SELECT * FROM trades WHERE status = 'closed' ORDER BY entry_time")

    turns = []
    rules = replace(DecisionRules(), min_signal_strength=1, min_confidence=0.0)
    setup = Setup(
        rules=rules,
        limits=RiskLimits(max_daily_loss_share=Decimal("0.9")),
        breaker_policy=BreakerPolicy.OFF,
    )
    outcome = run_backtest(
        candles.cut(START - LEAST_WARM_UP, len(candles)), setup, agent, from_ms=start_ms,
        to_ms=start_ms + MINUTES * MINUTE_MS + 1, contexts=replayed(live), every_turn=True, on_turn=turns.append,
    )  # fmt: skip
    assert len(live) == len(turns) == MINUTES + 1
    assert len(outcome.trades) == len(traded) >= 5
    for row, turn in zip(live, turns, strict=True):
        ours = signal_row(lambda _symbol: {}, turn)
        assert row["instant_ms"] // MINUTE_MS == turn.observation.now_ms // MINUTE_MS
        assert {name: row[name] for name in PLAIN} == {name: ours.get(name) for name in PLAIN}
        assert json.loads(row["rl_state"]) == ours["rl_state"]
        assert json.loads(row["votes"]) == ours["votes"]
    for row, trade in zip(traded, outcome.trades, strict=True):
        assert (row["side"], row["exit_reason"]) == (str(trade.direction), trade.exit_reason)
        assert (row["entry_time"][:16], row["exit_time"][:16]) == (
            utc_text(trade.entry_ms)[:16],
            utc_text(trade.exit_ms or 0)[:16],
        )
        for name in MONEY:
            assert Decimal(str(row[name])) == getattr(trade, name), name
