"""Several pairs traded to targets by the live traders, on one account of the venue, held against the backtest."""

import math
import re
import threading
from decimal import Decimal

import pytest

from src.backtest.config import BreakerPolicy
from src.backtest.portfolio_engine import run_portfolio
from src.backtest.portfolio_setup import PortfolioMarket, PortfolioSetup, closed_candles, contracts_of
from src.backtest.venue_exchange import VenueExchange, VenueFeed
from src.domain.circuit_breaker import BreakerLimits, born
from src.domain.clock import MINUTE_MS, ManualClock
from src.domain.risk import ActiveLimits, RiskLimits
from src.execution.journal import InMemoryJournal
from src.execution.order_manager import OrderManager
from src.execution.pair_settings import PairSettings
from src.execution.portfolio_planner import PortfolioPlanner
from src.execution.position_manager import PositionManager
from src.execution.risk_manager import RiskManager
from src.execution.trader import Trader
from src.market_data.columns import CandleView
from src.paper_exchange.venue import Venue
from src.runtime.rule_loader import turn_rules
from src.strategy.decision import Verdict
from src.strategy.q_agent import QLearningAgent
from src.strategy.rules import thresholds
from src.strategy.target_rules import PortfolioLimits, TargetRules
from src.strategy.timeframes import CandleAggregator
from src.strategy.trend_portfolio import TrendPortfolio, TrendPortfolioRules
from tests.backtest.portfolio_past import DAY, START_MS, made_minutes

SHORT = TrendPortfolioRules(history_days=6, look_back_days=(1, 3, 6), target_volatility=0.4)
FIRST_MS = START_MS + 8 * DAY * MINUTE_MS
LIMITS = PortfolioLimits()
CALM = BreakerLimits(max_volatility_ratio=1e9)


class PortfolioWorld:
    """The traders of three pairs on one account, and who decides for them; ``restart`` makes them anew."""

    def __init__(self, minutes, limits=LIMITS) -> None:
        self.minutes = minutes
        self.limits = limits
        self.clock = ManualClock(FIRST_MS)
        contracts = contracts_of(tuple(minutes))
        self.venue = Venue(PortfolioMarket(minutes, {}), FIRST_MS - MINUTE_MS, contracts=contracts)
        self.history = {symbol: [] for symbol in minutes}
        self.exchange = VenueExchange(self.venue, "bot", self.clock, self.history)
        self.journal = InMemoryJournal(born(FIRST_MS))
        self.turns = []
        self.restart()

    def restart(self) -> None:
        """Begin as a new process does: everything but exchange and journal is forgotten."""
        rules = TargetRules(strategy=SHORT, limits=self.limits)
        active = ActiveLimits(self.limits.risk_limits())
        feed = VenueFeed(self.exchange, self.history)
        self.planner = PortfolioPlanner(
            TrendPortfolio(SHORT),
            feed,
            self.clock,
            {symbol: CandleAggregator(symbol, "8h", self._past) for symbol in self.minutes},
            lambda symbol: self.exchange.instrument(symbol),
            leverage=self.limits.leverage,
            decided_ms=self.journal.last_note_ms(),
        )
        risk = RiskManager(self.journal, self.clock, active, CALM, MINUTE_MS)
        self.traders = {symbol: self._trader(symbol, rules, active, feed, risk) for symbol in self.minutes}

    def _trader(self, symbol, rules, active, feed, risk) -> Trader:
        pair = PairSettings(
            exchange=self.exchange,
            clock=self.clock,
            symbol=symbol,
            leverage=self.limits.leverage,
            margin_type="CROSSED",
        )
        order_manager = OrderManager(
            exchange=self.exchange, journal=self.journal, clock=self.clock, bot_id="bot", settings=pair
        )
        position_manager = PositionManager(
            order_manager, self.exchange, self.journal, self.clock, active, settings=pair,
            mark_price=lambda: feed.mark_price(symbol), candles=lambda: feed.candles(symbol), reconcile_ms=600_000,
        )  # fmt: skip
        return Trader(
            bot_id="bot",
            settings=pair,
            feed=feed,
            position=position_manager,
            journal=self.journal,
            clock=self.clock,
            agent=QLearningAgent(),
            rules=turn_rules(rules),
            limits=active,
            risk=risk,
            context=lambda: None,
            stopping=threading.Event().is_set,
            decisions=self.planner,
        )

    def _past(self, symbol, interval, count):
        beyond = self.minutes[symbol].between(0, self.clock.now_ms())
        return closed_candles(beyond, interval)[-count:]

    def run(self, minutes: int) -> None:
        """Take so many turns of every pair, with the early stop watched at each whole second of an open position."""
        for _ in range(minutes):
            now = self.clock.now_ms()
            for symbol, each in self.minutes.items():
                self.history[symbol][:] = list(CandleView(each.between(now - 1_000 * MINUTE_MS, now), 0, 1_000))
            self.planner.prepare()
            for symbol in self.planner.in_order(list(self.traders)):
                turn = self.traders[symbol].run_trading_cycle()
                self.turns.append((symbol, now, turn.decision))
            self.clock.advance_to(now + MINUTE_MS)
            self.venue.advance(now + MINUTE_MS)

    def fills(self):
        """Return what was executed, in order."""
        return [
            (trade.symbol, trade.time_ms, str(trade.side), trade.quantity, trade.price, trade.commission)
            for trade in self.venue.trades("bot", start_ms=FIRST_MS, limit=1_000)
        ]

    def stops(self):
        """Return the conditional orders that stand at the exchange, by pair."""
        return {symbol: self.exchange.open_orders(symbol) for symbol in self.minutes}


@pytest.fixture(scope="module")
def minutes():
    return made_minutes(12, seed=11)


def backtest_fills(minutes, days: float):
    setup = PortfolioSetup(breaker_policy=BreakerPolicy.OFF)
    end = FIRST_MS + int(days * DAY) * MINUTE_MS
    outcome = run_portfolio(minutes, TrendPortfolio(SHORT), setup, from_ms=FIRST_MS, to_ms=end)
    found = [
        (fill.symbol, fill.time_ms, str(fill.side), fill.quantity, fill.price, fill.fee)
        for book in outcome.books.values()
        for fill in book.fills
    ]
    return sorted(found, key=lambda row: (row[1], row[0]))


@pytest.mark.long
def test_live_traders_trade_what_the_backtest_trades(minutes):
    world = PortfolioWorld(minutes)
    world.run(2 * DAY)
    expected = backtest_fills(minutes, 2)
    assert sorted(world.fills(), key=lambda row: (row[1], row[0])) == expected
    assert len(expected) > 4
    verdicts = {decision.verdict for _, _, decision in world.turns}
    assert {Verdict.ENTER_LONG, Verdict.INCREASE, Verdict.REDUCE} <= verdicts


def test_a_restart_in_between_changes_no_trade(minutes):
    world = PortfolioWorld(minutes)
    world.run(617)
    world.restart()
    world.run(500)
    assert sorted(world.fills(), key=lambda row: (row[1], row[0])) == backtest_fills(minutes, 1_117 / DAY)


def test_every_position_has_its_stop_and_no_target_after_every_turn(minutes):
    world = PortfolioWorld(minutes)
    for _ in range(12):
        world.run(48)
        held = {each.symbol: each for each in world.exchange.account().positions}
        for symbol, orders in world.stops().items():
            assert [each.kind for each in orders] == (["STOP_MARKET"] if symbol in held else [])
            for order in orders:
                assert order.close_position or order.quantity >= held[symbol].quantity
                assert order.trigger_price < held[symbol].entry_price * Decimal("0.81")
    assert held


def test_a_price_that_ran_away_in_favour_closes_nothing():
    """A portfolio has no profit target, neither at the exchange nor in the turn."""
    limits = LIMITS.risk_limits()
    rules = turn_rules(TargetRules())
    assert thresholds(rules, limits).take_profit_share == math.inf
    assert thresholds(rules, RiskLimits()).take_profit_share == 0.05


def test_the_journal_says_the_forecast_and_the_next_decision(minutes):
    world = PortfolioWorld(minutes)
    world.run(3)
    said = [decision.reason for symbol, _, decision in world.turns if symbol == "BTCUSDT"]
    assert "The next decision is at 2023-01-09T08:00." in said[-1]
    assert re.search(
        r"Target 37\.62%, held 3\d\.\d\d%, band \d+\.\d\d%\. Forecast 0\.53 \(look-back, channel/momentum\): "
        r"1d [+-]\d/[+-]\d\.\d\d 3d .* Volatility 58% a year\. The next",
        said[-1],
    )
    told = world.planner.report()
    assert told["next_decision"] == "2023-01-09T08:00:00.000Z"
    assert set(told["pairs"]) == set(minutes)
    assert [each["days"] for each in told["pairs"]["BTCUSDT"]["spans"]] == [1, 3, 6]
    assert told["pairs"]["BTCUSDT"]["target"] == pytest.approx(0.3762, abs=1e-4)


def test_a_restart_between_decisions_tells_the_targets_and_trades_nothing(minutes):
    world = PortfolioWorld(minutes)
    world.run(3)
    fills = world.fills()
    world.restart()
    world.turns.clear()
    world.run(2)
    assert world.fills() == fills
    assert {decision.verdict for _, _, decision in world.turns} == {Verdict.HOLD}
    said = next(decision.reason for symbol, _, decision in world.turns if symbol == "BTCUSDT")
    assert said.startswith("Not traded: this interval's decision was made before the restart. Target 37.62%, held 3")
