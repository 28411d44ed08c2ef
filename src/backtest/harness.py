"""The live trader set up on an in-process venue, with a simulated clock and an in-memory journal."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from src.backtest.compiled import compiled
from src.backtest.config import BreakerPolicy, PastContexts, PastMarket, Setup
from src.backtest.fast_forward import Bounds, PriceBand
from src.backtest.mark_prices import marks_within
from src.backtest.past_timeframes import PastCandleAggregator
from src.backtest.result import PastJournal
from src.backtest.venue_exchange import VenueExchange
from src.domain.circuit_breaker import RiskFigures, born, reset
from src.domain.clock import DAY_MS, MINUTE_MS, ManualClock
from src.domain.market import Candle, MarkPrice
from src.domain.portfolio import Account, Trade
from src.domain.ports import IncomeKind
from src.domain.risk import ActiveLimits, loss_share
from src.execution.order_manager import OrderManager
from src.execution.pair_settings import PairSettings
from src.execution.position_manager import PositionManager
from src.execution.risk_manager import BreakerStatusView, RiskManager
from src.execution.trader import Trader
from src.market_data.columns import Candles, CandleView
from src.paper_exchange.events import AlgoUpdate
from src.paper_exchange.model import money8
from src.paper_exchange.venue import Venue
from src.strategy.indicators import Indicators, IndicatorSource
from src.strategy.q_agent import QLearningAgent

ACCOUNT = "backtest"
_NEVER_MS = 1 << 60
_SECOND_MS = 1_000
_NONE_ROUGH = (False,) * 60
_ENDED = ("FINISHED", "EXPIRED", "REJECTED", "CANCELED")


class _UnbrokenRisk(RiskManager):
    """A risk manager whose circuit breaker is switched off."""

    def look(self, account: Account | None, indicators: Indicators | None, candle: Candle | None) -> BreakerStatusView:
        """Return that the breaker is armed, without a look."""
        return BreakerStatusView(False, "")


class PastFeed:
    """What flows in: the candles up to the present row, and mark price and account as of now."""

    def __init__(self, exchange: VenueExchange, candles: Candles) -> None:
        self._exchange = exchange
        self._candles = candles
        self.beyond = 0

    def candles(self, symbol: str) -> Sequence[Candle]:
        """Return the closed candles, oldest first."""
        return CandleView(self._candles, 0, self.beyond)

    def mark_price(self, symbol: str) -> MarkPrice | None:
        """Return the mark price now."""
        return self._exchange.mark_price(symbol)

    def account(self) -> Account | None:
        """Return the account now."""
        return self._exchange.account()


class BacktestHarness:
    """Trader, venue, clock and journal of one run; the driver sets the time."""

    def __init__(
        self,
        *,
        candles: Candles,
        setup: Setup,
        agent: QLearningAgent,
        first_ms: int,
        funding: Mapping[int, float] | None,
        contexts: PastContexts,
        indicators: IndicatorSource,
        slow: PastCandleAggregator | None = None,
        trends: Callable[[Sequence[Candle]], tuple[int, ...]] = lambda _minutes: (),
    ) -> None:
        self._setup, self._limits = setup, setup.limits_in_force
        limits = ActiveLimits(self._limits)
        symbol = setup.symbol
        self.clock = clock = ManualClock(first_ms)
        self.venue = Venue(
            PastMarket(symbol, candles, funding),
            first_ms - MINUTE_MS,
            contracts={symbol: setup.listed},
            balance=setup.balance,
            maker_share=setup.maker_share,
            taker_share=setup.taker_share,
        )
        self.exchange = VenueExchange(self.venue, ACCOUNT, self.clock, {})
        pair = PairSettings(
            exchange=self.exchange,
            clock=clock,
            symbol=symbol,
            leverage=self._limits.leverage,
            margin_type=setup.margin_type,
        )
        self.feed = feed = PastFeed(self.exchange, candles)
        self.journal = PastJournal(born(first_ms))
        order_manager = OrderManager(
            exchange=self.exchange, journal=self.journal, clock=self.clock, bot_id=ACCOUNT, settings=pair
        )
        self.position_manager = PositionManager(
            order_manager, self.exchange, self.journal, self.clock, limits, settings=pair,
            mark_price=lambda: feed.mark_price(symbol), candles=lambda: feed.candles(symbol),
            reconcile_ms=_NEVER_MS, protection_check_ms=_NEVER_MS,
        )  # fmt: skip
        policy_kind = _UnbrokenRisk if setup.breaker_policy is BreakerPolicy.OFF else RiskManager
        self.risk = policy_kind(self.journal, self.clock, limits, setup.breaker, MINUTE_MS)
        self.trader = self._trader(pair, limits, agent, contexts, indicators, slow, trends)
        self._account = self.exchange.account()
        self._held: PriceBand | None = None
        self._marks_within = compiled(marks_within)
        self._candles = candles

    def _trader(
        self,
        pair: PairSettings,
        limits: ActiveLimits,
        agent: QLearningAgent,
        contexts: PastContexts,
        indicators: IndicatorSource,
        slow: PastCandleAggregator | None,
        trends: Callable[[Sequence[Candle]], tuple[int, ...]],
    ) -> Trader:
        return Trader(
            bot_id=ACCOUNT,
            settings=pair,
            feed=self.feed,
            position=self.position_manager,
            journal=self.journal,
            clock=self.clock,
            agent=agent,
            rules=self._setup.rules,
            limits=limits,
            risk=self.risk,
            context=lambda: contexts.observed_at(self.clock.now_ms()),
            stopping=threading.Event().is_set,
            candle_ms=MINUTE_MS,
            indicators=indicators,
            slow=slow,
            trends=trends,
        )

    def turn(self, row: int, now: int) -> bool:
        """Take the turn at ``now``, after the candle of ``row``; return whether the next one must be taken too."""
        self.clock.advance_to(max(now, self.clock.now_ms()))
        self.feed.beyond = row + 1
        self._reset_breaker(now)
        before = self.position_manager.trade
        self.trader.run_trading_cycle()
        self.venue.drain()
        self._account, self._held = self.exchange.account(), None
        ended = before is not None and self.position_manager.trade is not before
        counted = ended and not self._breaker_inactive  # at the breaker's next look
        return counted or self.trader.needs_maintenance(None) or bool(self.position_manager.halt_reason)

    @property
    def worth(self) -> float:
        """Equity at the last turn."""
        return float(self._account.equity)

    @property
    def open_trade(self) -> Trade | None:
        """What is held now, with the funding that it has paid or received so far."""
        trade = self.position_manager.trade
        if trade is None:
            return None
        incomes = self.exchange.income(trade.entry_ms)
        paid = (each.amount for each in incomes if each.purpose is IncomeKind.FUNDING and each.symbol == trade.symbol)
        return replace(trade, funding=sum(paid, Decimal(0)))

    @property
    def held(self) -> PriceBand:
        """The position as the last turn left it, and the prices between which nothing touches it."""
        if self._held is None:
            self._held = self._look_at_position()
        return self._held

    @property
    def bounds(self) -> Bounds:
        """What else wakes the trader before the next day."""
        setup, account = self._setup, self._account
        start = self.risk.day_start(account) or account.equity
        tripped = self.journal.breaker().tripped
        lost = loss_share(start, account.equity) >= self._limits.max_daily_loss_share
        return Bounds(
            safe=not (tripped or lost),
            inactive=self._breaker_inactive,
            least_equity=float(start * (1 - self._limits.max_daily_loss_share)),
            max_drawdown_share=setup.breaker.max_drawdown_share,
            max_volatility_ratio=setup.breaker.max_volatility_ratio,
        )

    @property
    def _breaker_inactive(self) -> bool:
        return self._setup.breaker_policy is BreakerPolicy.OFF or self.journal.breaker().tripped

    def watch(self, from_ms: int, to_ms: int, every_second: bool) -> None:
        """Watch the position on the whole seconds between two turns, as the live watch does.

        With ``every_second`` it looks at each; else only at those in which mark price may leave the band.
        """
        held = self.position_manager.trade is not None
        rough = self._rough_seconds(from_ms, to_ms) if held and not every_second else _NONE_ROUGH
        unsettled = self.trader.needs_maintenance(None)
        if rough is _NONE_ROUGH and not (unsettled or (held and every_second)):
            return
        for at in range(from_ms + _SECOND_MS, to_ms, _SECOND_MS):
            if self.position_manager.trade is None and not unsettled:
                return
            if every_second or unsettled or rough[(at - from_ms) // _SECOND_MS]:
                before = self.position_manager.trade
                self._look(at)
                unsettled = self.trader.needs_maintenance(None)
                if self.position_manager.trade is not before and not every_second:
                    self._account, self._held = self.exchange.account(), None
                    rough = self._rough_seconds(from_ms, to_ms)  # an entry was filled meanwhile, or a part closed

    def highest_equity(self, equity: NDArray[np.float64], first_open_ms: int) -> Decimal:
        """Return the exact highest equity of turns passed over, given their rough ones and the first one's candle."""
        held, account, symbol = self.held, self._account, self._setup.symbol
        position = account.position(symbol)
        if position is None:
            return account.equity
        near = np.flatnonzero(equity >= equity.max() - 2.0 * held.tick * held.quantity)
        marks = (self.venue.quotes.mark_price(symbol, first_open_ms + (int(place) + 1) * MINUTE_MS) for place in near)
        return account.wallet_balance + max(money8(position.pnl_at(mark)) for mark in marks)

    def _look(self, at: int) -> None:
        """Let it be ``at``; close at the early stop, go on with an exit, take note of a guard that ended."""
        if at <= self.clock.now_ms():
            return
        self.clock.advance_to(at)
        self.venue.advance(at)
        self._held = None
        ended = (each for each in self.venue.drain() if isinstance(each, AlgoUpdate))
        if any(each.order.status in _ENDED for each in ended):
            self.trader.request_reconcile()
        if self.trader.needs_maintenance(self.feed.mark_price(self._setup.symbol)):
            self.trader.run_maintenance()
            self.venue.drain()

    def _rough_seconds(self, from_ms: int, to_ms: int) -> Sequence[bool]:
        """Return for each second of a minute whether mark price may have left the band at it; all, in a gap."""
        c, held = self._candles, self.held
        row = c.place(from_ms)
        if row is None or row == 0 or c.open_ms[row - 1] != from_ms - MINUTE_MS:
            return [True] * 60
        lowest, highest = held.low + 2 * held.tick, held.high - 2 * held.tick  # a mark is a mean of last prices
        if min(c.low.item(row - 1), c.low.item(row)) > lowest and max(c.high.item(row - 1), c.high.item(row)) < highest:
            return _NONE_ROUGH
        marks = self._marks_within(
            (c.open[row - 1], c.high[row - 1], c.low[row - 1], c.close[row - 1]),
            (c.open[row], c.high[row], c.low[row], c.close[row]),
        )
        rough: list[bool] = ((marks <= held.low + held.tick) | (marks >= held.high - held.tick)).tolist()
        return rough

    def _look_at_position(self) -> PriceBand:
        symbol, account, trade = self._setup.symbol, self._account, self.position_manager.trade
        tick = float(self._setup.listed.rules.tick_size)
        position = account.position(symbol)
        if trade is None or position is None:
            return PriceBand(0, 0.0, 0, 0.0, float(account.equity), -np.inf, np.inf, tick)
        low, high = self.venue.calm_band(symbol)
        stop, move = self.position_manager.early_stop, self.position_manager.next_move_price
        early = float(trade.entry_price if stop is None else stop.price)
        sign = trade.direction.sign
        if move is not None:  # a candle that comes so far moves the stop at the turn after it
            low, high = (low, min(high, float(move))) if sign > 0 else (max(low, float(move)), high)
        return PriceBand(
            sign=sign,
            entry=float(position.entry_price),
            entry_ms=trade.entry_ms,
            quantity=float(position.quantity),
            wallet=float(account.wallet_balance),
            low=max(low, early + tick) if sign > 0 else low,
            high=min(high, early - tick) if sign < 0 else high,
            tick=tick,
        )

    def _reset_breaker(self, now: int) -> None:
        """A person looks at the tripped breaker at the first turn of the next UTC day."""
        state = self.journal.breaker()
        waits = self._setup.breaker_policy is BreakerPolicy.NEXT_DAY and state.tripped
        if waits and now // DAY_MS > state.since_ms // DAY_MS:
            answer = reset(state, "backtest", True, RiskFigures(), self._setup.breaker, now)
            self.journal.trip_breaker(answer.state)
