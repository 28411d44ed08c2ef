"""Puts together what trades one pair, and what decides for all pairs together."""

import threading
from collections.abc import Callable

from src.domain.clock import ExchangeClock
from src.domain.market import INTERVAL_MS, MarketContext
from src.domain.ports import Exchange, MarketFeed
from src.domain.risk import ActiveLimits
from src.exchanges.binance.client import BinanceClient
from src.execution.journal import Journal
from src.execution.order_manager import OrderManager
from src.execution.order_updates import OrderUpdateBuffer
from src.execution.pair_settings import PairSettings
from src.execution.portfolio_planner import PortfolioPlanner
from src.execution.position_manager import PositionManager
from src.execution.risk_manager import RiskManager
from src.execution.trader import Trader
from src.runtime.rule_loader import names_targets, trading_target_rules
from src.runtime.settings import Settings
from src.strategy.decision import DecisionRules
from src.strategy.higher_timeframes import HigherTimeframeTrend
from src.strategy.timeframes import CandleAggregator, History
from src.training.agent_manager import AgentManager

_INTERVAL = "1m"
_CANDLE_MS = INTERVAL_MS[_INTERVAL]


def build_trader(
    settings: Settings,
    symbol: str,
    exchange: Exchange,
    feed: MarketFeed,
    journal: Journal,
    clock: ExchangeClock,
    agents: AgentManager,
    rules: DecisionRules,
    risk: RiskManager,
    context: Callable[[], MarketContext | None],
    stop: threading.Event,
    history: History,
    news: OrderUpdateBuffer | None = None,
    halted: str = "",
    *,
    limits: ActiveLimits,
    planner: PortfolioPlanner | None = None,
) -> Trader:
    """Return the trader of one pair; leverage and margin type are compared, and set, in its first turn."""
    pair = PairSettings(exchange, clock, symbol, limits.current.leverage, settings.margin_type, halted)
    slow = rules.candle_interval != _INTERVAL
    handler = OrderManager(exchange, journal, clock, settings.bot_id, pair, news)
    position_manager = PositionManager(
        handler, exchange, journal, clock, limits, settings=pair,
        mark_price=lambda: feed.mark_price(symbol), candles=lambda: feed.candles(symbol),
        reconcile_ms=int(settings.reconcile_s * 1_000),
    )  # fmt: skip
    return Trader(
        settings.bot_id,
        pair,
        feed,
        position_manager,
        journal,
        clock,
        agents.agent,
        rules,
        limits,
        risk,
        context,
        stop.is_set,
        _CANDLE_MS,
        slow=CandleAggregator(symbol, rules.candle_interval, history) if slow else None,
        trends=HigherTimeframeTrend([CandleAggregator(symbol, each, history) for each in rules.trend_intervals]).look,
        decisions=planner if planner is not None and planner.covers(symbol) else None,
    )


def build_planner(
    settings: Settings,
    feed: MarketFeed,
    clock: ExchangeClock,
    history: History,
    client: BinanceClient,
    journal: Journal,
    *,
    context: Callable[[], MarketContext | None],
    stop: threading.Event,
) -> PortfolioPlanner | None:
    """Return what decides for all pairs together, None where ``RULES`` names votes."""
    if not names_targets(settings):
        return None
    rules = trading_target_rules(settings, stop)
    interval = rules.candle_interval
    return PortfolioPlanner(
        rules.build(),
        feed,
        clock,
        {pair: CandleAggregator(pair, interval, history) for pair in settings.pairs},
        client.instrument,
        leverage=rules.limits.leverage,
        decided_ms=journal.last_note_ms(),
        evidence=rules.evidence,
        context=context,
        funding=client.funding_rates if rules.own is not None else lambda _symbol: (),
    )
