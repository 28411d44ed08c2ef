"""One pair's turn: observe, decide, record, act, learn. Shared by live, paper and backtest.

The trader cannot tell which world it serves: clock, feed, exchange and journal are handed in.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from decimal import Decimal

from src.domain.clock import MINUTE_MS, Clock, is_over, monotonic_s
from src.domain.errors import ExchangeError, OrderRefused, Rejection, StoreUnavailable
from src.domain.market import Candle, MarketContext, MarkPrice
from src.domain.portfolio import Direction
from src.domain.ports import MarketFeed
from src.domain.risk import ActiveLimits, RiskLimits
from src.execution.decision_maker import DecisionMaker, VoteDecisions
from src.execution.journal import Journal, Turn
from src.execution.pair_settings import PairSettings
from src.execution.position_manager import PositionManager
from src.execution.risk_manager import RiskManager
from src.strategy.decision import Decision, DecisionRules, Observation, Verdict
from src.strategy.external_votes import count_external
from src.strategy.indicators import IndicatorFold, Indicators, IndicatorSource, only_ready
from src.strategy.q_agent import QLearningAgent, context_code, encode
from src.strategy.q_state import Remembered
from src.strategy.signals import SILENT, Signal, generate_signal
from src.strategy.timeframes import DecisionCandles
from src.strategy.votes import vote_values

log = logging.getLogger(__name__)


class Trader:
    """Trades one pair. ``run_trading_cycle`` and ``tend`` exclude each other by a lock."""

    def __init__(
        self,
        *,
        bot_id: str,
        settings: PairSettings,
        feed: MarketFeed,
        position: PositionManager,
        journal: Journal,
        clock: Clock,
        agent: QLearningAgent,
        rules: DecisionRules,
        limits: ActiveLimits,
        risk: RiskManager,
        context: Callable[[], MarketContext | None],
        stopping: Callable[[], bool],
        candle_ms: int = 60_000,
        indicators: IndicatorSource | None = None,
        slow: DecisionCandles | None = None,
        slow_indicators: IndicatorSource | None = None,
        trends: Callable[[Sequence[Candle]], tuple[int, ...]] = lambda _minutes: (),
        decisions: DecisionMaker | None = None,
    ) -> None:
        """``slow`` makes the candles that signal and agent look at, where those are not the one-minute ones.

        ``trends`` tells the trends of still longer candles after so many minutes (``HigherTimeframeTrend.look``).
        ``decisions`` decides in place of the rules of votes.
        """
        self._decisions = decisions or VoteDecisions()
        self._bot_id = bot_id
        self.settings = settings
        self._feed = feed
        self._position = position
        self._journal = journal
        self._clock = clock
        self._agent = agent
        self._rules = rules
        self._limits = limits
        self._risk = risk
        self._context = context
        self._stopping = stopping
        self._candle_ms = slow.interval_ms if slow is not None else candle_ms
        self._fold = indicators or IndicatorFold()
        self._slow, self._slow_fold = slow, slow_indicators or IndicatorFold()
        self._trends = trends
        self._decided_on: Candle | None = None
        self._before: Remembered | None = None
        self._lock = threading.RLock()
        self._trouble = ""
        self._unlisted_ms: int | None = None

    @property
    def symbol(self) -> str:
        """The pair that is traded."""
        return self.settings.symbol

    @property
    def difference(self) -> str:
        """What exchange and journal do not agree about, or what is under way between them; empty when they agree."""
        return self._position.halt_reason or self._position.notice

    def replace_agent(self, agent: QLearningAgent) -> None:
        """Take over a newly trained agent at the next turn."""
        with self._lock:
            self._agent = agent

    def replace_rules(self, rules: DecisionRules, limits: RiskLimits) -> str:
        """Follow other rules, for the same candles, and limits from now on; return what it means for a position.

        Stop and target of an open position are moved to the new limits.
        """
        with self._lock:
            self._rules = rules
            self._limits.replace(limits)
            self.settings.replace_leverage(limits.leverage)
            return self._position.apply_limits()

    def replace_timeframe(
        self,
        agent: QLearningAgent,
        slow: DecisionCandles | None,
        trends: Callable[[Sequence[Candle]], tuple[int, ...]],
    ) -> None:
        """Look at other candles from the next turn on (``slow`` None: the minutes), with the agent made for them."""
        with self._lock:
            self._agent, self._slow, self._trends = agent, slow, trends
            self._slow_fold = IndicatorFold()
            self._candle_ms = MINUTE_MS if slow is None else slow.interval_ms
            self._decided_on, self._before = None, None

    def close_by_hand(self) -> str:
        """Close the open position by hand; return "" or, in words, why it is not closed."""
        with self._lock:
            trade, mark = self._position.trade, self._feed.mark_price(self.symbol)
            if trade is None:
                return f"there is no position of this bot in {self.symbol}"
            if self.execute_sell(trade.entry_price if mark is None else mark.mark, "by_hand"):
                return ""
            return "the exit is not finished; the bot goes on with it"

    @property
    def remembered(self) -> Remembered | None:
        """What the next turn will learn from, None before the first."""
        return self._before

    def pass_over(self, last: Remembered) -> None:
        """Go on as if turns up to ``last`` had been taken, which their driver knows to have held and learnt only.

        The driver has taught the agent and told the risk manager (``RiskManager.pass_over``) itself: a backtest does so
        for the many minutes in which nothing can be decided.
        """
        self._before = last

    def run_trading_cycle(self) -> Turn:
        """Take one turn and return it as it was written down.

        Failures of the exchange become reasons in the turn; ``StoreUnavailable`` comes out of it only when the
        journal cannot even keep a note in memory.
        """
        with self._lock:
            began_s = monotonic_s()
            self._mend()
            seen = self._observe()
            decision = self._decisions.decide(seen, self._rules, self._limits.current)
            cycle_ms = (monotonic_s() - began_s) * 1000.0
            turn = Turn(seen, decision, "", cycle_ms, self._rules.candle_interval)
            self._journal.record_turn(turn)
            outcome = self._act(seen, decision)
            if outcome is not None:
                self._journal.settle_turn(turn, acted=not outcome, outcome=outcome)
                self._decisions.note_outcome(self.symbol, outcome)
            self._learn(seen)
            return turn

    def get_market_data(self) -> Sequence[Candle]:
        """Return the closed candles the feed knows, oldest first."""
        return self._feed.candles(self.symbol)

    def calculate_indicators(self, candles: Sequence[Candle]) -> Indicators | None:
        """Return the indicators after the last candle, or None while there are too few candles."""
        return only_ready(self._fold.look(candles))

    def generate_signal(self, indicators: Indicators | None) -> Signal:
        """Return the signal of the votes; HOLD without indicators."""
        return SILENT if indicators is None else generate_signal(indicators, self._rules.votes)

    def prepare_rl_state(
        self, indicators: Indicators | None, context: MarketContext | None, trends: tuple[int, ...] = ()
    ) -> int:
        """Return the code of the agent's market state, -1 without indicators."""
        return -1 if indicators is None else encode(indicators, vote_values(indicators), context_code(context, trends))

    def execute_buy(self, price: Decimal, quantity: Decimal, reason: str) -> str:
        """Open a long position of ``quantity`` at about ``price``; return "" or why none was opened."""
        return self._enter(Direction.LONG, price, quantity, reason)

    def execute_sell(self, price: Decimal, reason: str) -> bool:
        """Close the open position at about ``price``; return whether it is closed now."""
        log.info("closing: symbol=%s price=%s reason=%s", self.symbol, price, reason)
        try:
            closed = self._position.close(reason)
        except ExchangeError as error:  # how it ended elsewhere cannot be asked for now: the next turn asks again
            log.warning("not closed yet: symbol=%s reason=%s", self.symbol, error)
            self._note_failure(error)
            return False
        if closed:
            self._risk.note_trade_end()
        return closed

    def check_position_management(self) -> bool:
        """Close the position if the mark price has reached the early stop; return whether that was begun."""
        level, mark = self._position.early_stop, self._feed.mark_price(self.symbol)
        if level is None or mark is None or not level.reached(mark.mark) or self._position.exit_under_way:
            return False
        self.execute_sell(mark.mark, level.reason)
        return True

    def check_daily_loss_limit(self) -> bool:
        """Return whether the day's loss limit is reached, by the newest account."""
        account = self._feed.account()
        return account is not None and self._risk.daily_loss_hit(account)

    def needs_maintenance(self, mark: MarkPrice | None) -> bool:
        """Return, without waiting, whether ``tend`` has something to do: an early stop, an exit, a doubt."""
        level = self._position.early_stop
        reached = level is not None and mark is not None and level.reached(mark.mark)
        return reached or bool(self._position.exit_under_way) or self._position.needs_reconcile

    def run_maintenance(self) -> None:
        """Between turns: close at the early stop, go on with an unfinished exit, settle what is unknown."""
        with self._lock:
            try:
                if (
                    not self.check_position_management()
                    and self._may_ask()
                    and (self._position.exit_under_way or self._position.needs_reconcile)
                ):
                    self._mend_position()
            except ExchangeError as error:
                log.warning("tending failed: symbol=%s reason=%s", self.symbol, error)
                self._note_failure(error)

    def request_reconcile(self) -> None:
        """Ask the exchange about position and protective orders at the next opportunity."""
        self._position.request_reconcile()

    def concerns(self, order_client_id: str) -> bool:
        """Return whether an order is stop or target of the open position."""
        return self._position.concerns(order_client_id)

    def verify_guards(self) -> str:
        """Return "" when flat or protected at the exchange, else, in words, what is not protected (at the stop)."""
        with self._lock:
            self._position.request_reconcile()
            try:
                self._position.end_entry()
                self._position.reconcile(self._feed.account())
            except ExchangeError as error:
                return f"could not ask whether the stop of {self.symbol} stands: {error}"
            return ""

    def standing(self) -> str:
        """Return one sentence on the open position and its stop, "" when flat."""
        return self._position.standing

    def _may_ask(self) -> bool:
        """Return whether the exchange may be asked between turns: of a pair it does not list only once a minute."""
        return self._unlisted_ms is None or is_over(MINUTE_MS, self._unlisted_ms, self._clock.now_ms())

    def _note_failure(self, error: ExchangeError) -> None:
        """Count a failure of the exchange; that this pair is not listed any more is none, and is asked again seldom."""
        if isinstance(error, OrderRefused) and error.rejection is Rejection.NOT_LISTED:
            self._unlisted_ms = self._clock.now_ms()
            self.settings.note_refusal(error)
        else:
            self._risk.note_exchange_error()

    def _mend(self) -> None:
        self._trouble = ""
        try:
            self._mend_position()
        except ExchangeError as error:
            self._note_failure(error)
            self._trouble = f"the exchange could not be asked: {error}"
            log.warning("cannot mend: symbol=%s reason=%s", self.symbol, error)
        self.check_position_management()
        self.settings.refresh(flat=self._is_flat())

    def _mend_position(self) -> None:
        """Make journal and exchange agree; a trade that ended at the exchange counts among the results."""
        held = self._position.trade
        self._position.reconcile(self._feed.account())
        if held is not None and self._position.trade is not held:
            self._risk.note_trade_end()

    def _is_flat(self) -> bool:
        account = self._feed.account()
        return self._position.trade is None and account is not None and account.position(self.symbol) is None

    def _observe(self) -> Observation:
        candles = self.get_market_data()
        risk_indicators = self.calculate_indicators(candles)
        indicators, decided_on = self._look(candles, risk_indicators)
        context = self._context()
        account, mark = self._feed.account(), self._feed.mark_price(self.symbol)
        position, now = self._position.position(account), self._clock.now_ms()
        position = position.at_mark(mark.mark) if position and mark else position
        signal = count_external(self.generate_signal(indicators), self._rules, context, self.symbol, now)
        state = self.prepare_rl_state(indicators, context, self._trends(candles))
        own = self._position.owns(position) or (position is None and self._position.trade is not None)
        sign = position.direction.sign if own and position is not None else 0
        candle = candles[-1] if candles else None
        breaker = self._risk.look(account, risk_indicators, candle)
        if position is None:
            self._risk.note_flat(account)
        return Observation(
            symbol=self.symbol,
            now_ms=now,
            candle=candle,
            mark=mark,
            account=account,
            position=position,
            indicators=indicators,
            signal=signal,
            recommendation=self._agent.recommend(state, sign, decided_on.open_ms if decided_on else now),
            context=context,
            breaker_tripped=breaker.tripped,
            breaker_reason=breaker.reason,
            halt_reason=self._trouble or self._refusal or self._position.halt_reason or self._risk.halt_reason,
            day_start_equity=self._risk.day_start(account),
            position_opened_ms=self._position.trade.entry_ms if self._position.trade else None,
            stopping=self._stopping(),
            instrument=self.settings.instrument,
            settings_reason=self.settings.halt_reason,
            own=own,
        )

    @property
    def _refusal(self) -> str:
        told = self._agent.refusal if self._decisions.uses_agent else ""  # without a say it stops nothing
        return told or self.settings.pause_reason

    def _look(
        self, candles: Sequence[Candle], indicators: Indicators | None
    ) -> tuple[Indicators | None, Candle | None]:
        """Return what signal and agent look at: indicators, and the candle they end with; both may be the minute's."""
        if self._slow is not None:
            candles = self._slow.look(candles)
            indicators = only_ready(self._slow_fold.look(candles))
        self._decided_on = candles[-1] if candles else None
        return indicators, self._decided_on

    def _act(self, seen: Observation, decision: Decision) -> str | None:
        """Carry out the decision; None when there was nothing to do, "" when done, else why it was not."""
        price = seen.mark.mark if seen.mark else Decimal(0)
        if decision.verdict is Verdict.CLOSE:
            if self._position.exit_under_way:
                return "an exit is under way"
            self._risk.note_exit(decision.exit_reason, seen.account)
            return "" if self.execute_sell(price, decision.exit_reason) else "the position is not closed yet"
        if decision.verdict is Verdict.ENTER_LONG:
            return self.execute_buy(price, decision.quantity, decision.reason)
        if decision.verdict is Verdict.ENTER_SHORT:
            return self._enter(Direction.SHORT, price, decision.quantity, decision.reason)
        return self._resize(seen, decision)

    def _resize(self, seen: Observation, decision: Decision) -> str | None:
        """Increase or reduce the open position; None when that is not what was decided."""
        position, now = seen.position, self._clock.now_ms()
        if position is None or decision.verdict not in (Verdict.INCREASE, Verdict.REDUCE):
            return None
        log.info("resizing: symbol=%s verdict=%s quantity=%s", self.symbol, decision.verdict, decision.quantity)
        if decision.verdict is Verdict.REDUCE:
            done = self._position.reduce(decision.quantity, now, decision.exit_reason)
            return "" if done else "the reduction is not done yet"
        return self._sent(lambda: self._position.increase(position.direction, decision.quantity, now, decision.reason))

    def _enter(self, direction: Direction, price: Decimal, quantity: Decimal, reason: str) -> str:
        refused = self.settings.confirm()
        if refused:
            return refused
        log.info("entering: symbol=%s direction=%s quantity=%s price=%s", self.symbol, direction, quantity, price)
        return self._sent(lambda: self._position.open(direction, quantity, self._clock.now_ms(), reason))

    def _sent(self, send: Callable[[], str]) -> str:
        """Return what came of an order that opens or increases: "" or why nothing, or nothing known, was done."""
        try:
            return send()
        except StoreUnavailable as error:
            return f"the intent could not be written down, so nothing was sent: {error}"
        except ExchangeError as error:  # sent, and what became of it is refused to be told: it is settled from here
            self._note_failure(error)
            self._position.request_reconcile()
            return f"what became of the entry is not known: {error}"

    def _learn(self, seen: Observation) -> None:
        """Teach the agent what the last turn's actions would have earned, then remember this turn."""
        candle, before = self._decided_on, self._before
        if candle is None or seen.indicators is None or (before is not None and candle.open_ms == before.open_ms):
            return
        state = seen.recommendation.state
        if before is not None and candle.open_ms - before.open_ms == self._candle_ms:
            self._agent.learn(before.state, before.position_sign, candle.close / before.close - 1.0, state)
        trade = self._position.trade
        self._before = Remembered(state, 0 if trade is None else trade.direction.sign, candle.close, candle.open_ms)
