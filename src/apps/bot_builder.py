"""Puts together what trades one pair, and what decides for all pairs together."""

import threading
from collections.abc import Callable

from src.domain.clock import ExchangeClock
from src.domain.market import INTERVAL_MS, MarketContext, MarkPrice
from src.domain.orders import Order
from src.domain.ports import Exchange, MarketFeed
from src.domain.risk import ActiveLimits
from src.exchanges.binance.client import BinanceClient
from src.exchanges.binance.market_stream import Callbacks
from src.execution.journal import Journal
from src.execution.order_manager import OrderManager
from src.execution.order_updates import OrderUpdateBuffer
from src.execution.pair_settings import PairSettings
from src.execution.portfolio_planner import PortfolioPlanner
from src.execution.position_manager import PositionManager
from src.execution.risk_manager import RiskManager
from src.execution.stop_monitor import StopMonitor
from src.execution.trader import Trader
from src.runtime.rule_loader import names_targets, trading_target_rules
from src.runtime.settings import Settings
from src.strategy.decision import DecisionRules
from src.strategy.higher_timeframes import HigherTimeframeTrend
from src.strategy.timeframes import CandleAggregator, History
from src.training.agent_manager import AgentManager

_INTERVAL = "1m"
_CANDLE_MS = INTERVAL_MS[_INTERVAL]
LAST_CALLS_S = 4.0  # of the ten in which a process that was told to stop must be gone


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
    pair = PairSettings(
        exchange=exchange,
        clock=clock,
        symbol=symbol,
        leverage=limits.current.leverage,
        margin_type=settings.margin_type,
        not_wanted=halted,
    )
    slow = rules.candle_interval != _INTERVAL
    orders = OrderManager(
        exchange=exchange, journal=journal, clock=clock, bot_id=settings.bot_id, settings=pair, news=news
    )
    return Trader(
        bot_id=settings.bot_id,
        settings=pair,
        feed=feed,
        position=_position_manager(orders, exchange, feed, journal, clock, limits=limits, pair=pair, settings=settings),
        journal=journal,
        clock=clock,
        agent=agents.agent,
        rules=rules,
        limits=limits,
        risk=risk,
        context=context,
        stopping=stop.is_set,
        candle_ms=_CANDLE_MS,
        slow=CandleAggregator(symbol, rules.candle_interval, history) if slow else None,
        trends=HigherTimeframeTrend([CandleAggregator(symbol, each, history) for each in rules.trend_intervals]).look,
        decisions=planner if planner is not None and planner.covers(symbol) else None,
    )


def _position_manager(
    orders: OrderManager,
    exchange: Exchange,
    feed: MarketFeed,
    journal: Journal,
    clock: ExchangeClock,
    *,
    limits: ActiveLimits,
    pair: PairSettings,
    settings: Settings,
) -> PositionManager:
    return PositionManager(
        orders,
        exchange,
        journal,
        clock,
        limits,
        settings=pair,
        mark_price=lambda: feed.mark_price(pair.symbol),
        candles=lambda: feed.candles(pair.symbol),
        reconcile_ms=int(settings.reconcile_s * 1_000),
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


def end_calls_at(stop: threading.Event, client: BinanceClient) -> None:
    """Once ``stop`` is set, let no call to the exchange keep the process: however it hangs, ten seconds are all."""

    def watch() -> None:
        stop.wait()
        client.wire.leave_within(LAST_CALLS_S)

    threading.Thread(target=watch, name="last-calls", daemon=True).start()


def stream_callbacks(watches: dict[str, StopMonitor], news: OrderUpdateBuffer) -> Callbacks:
    """Let the stream wake each pair's watch on its mark price and on news about its guards, and tell of orders."""

    def on_mark_price(mark: MarkPrice) -> None:
        watch = watches.get(mark.symbol)
        if watch is not None:
            watch.on_mark_price(mark)

    def on_order(order: Order) -> None:
        news.on_order(order)
        watch = watches.get(order.symbol)
        if watch is not None:
            watch.on_order(order)

    return Callbacks(on_mark_price=on_mark_price, on_order=on_order, on_fill=news.on_fill)
