"""Drives the live trader over past candles on the paper exchange's venue, without waiting.

One candle is one turn right after its close; between turns the early stop is watched on the exchange's grid of whole
seconds, as the live watch does. Minutes in which the trader could do nothing but hold and learn are passed over by
compiled copies of its own functions (``passing``); with ``every_turn`` nothing is passed over, and the decisions,
trades and the agent's tables are the same (tested).
"""

import gc
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from src.backtest.compiled import compiled
from src.backtest.config import PastContexts, Setup
from src.backtest.fast_forward import PriceBand, TurnMemory, pass_turns
from src.backtest.harness import BacktestHarness
from src.backtest.kernel_inputs import lessons_of, perceived_block, regimes, slow_past, tables_of
from src.backtest.past_timeframes import PastCandleAggregator, PastHigherTimeframeTrend
from src.backtest.pipeline import Pipeline, fold_block
from src.backtest.result import BacktestResult
from src.domain.clock import DAY_MS, MINUTE_MS
from src.domain.errors import DataRefused
from src.domain.market import INTERVAL_MS, Candle, MarketContext
from src.execution.journal import Turn
from src.market_data.columns import Candles
from src.strategy.higher_timeframes import HigherTimeframeTrend
from src.strategy.indicators import IndicatorFold, Indicators, IndicatorSource
from src.strategy.q_agent import QLearningAgent
from src.strategy.q_state import Remembered
from src.strategy.rules import thresholds
from src.strategy.votes import votes_mask

_SETTLED_AFTER_MS = 2 * MINUTE_MS  # by then the mark price, a mean over 30 s, stands still as well

LEAST_WARM_UP = 1_000
"""Candles before the first turn: with 200, EMA 50 against EMA 200 would have the wrong sign in 7 % of cases."""


def run_backtest(
    candles: Candles,
    setup: Setup,
    agent: QLearningAgent,
    *,
    from_ms: int | None = None,
    to_ms: int | None = None,
    funding: Mapping[int, float] | None = None,
    contexts: Sequence[MarketContext] | PastContexts = (),
    every_turn: bool = False,
    stop: threading.Event | None = None,
    on_turn: Callable[[Turn], None] | None = None,
) -> BacktestResult:
    """Run the live trader over past one-minute candles and return what came of it.

    Args:
        candles: with those before ``from_ms`` the indicators warm up; all there are, at least 1,000.
        setup: pair, rules, limits, costs, balance.
        agent: learns during the run (hand in a copy to keep the original).
        from_ms: the first turn is the first one at or after it; after 1,000 candles when left out.
        to_ms: no turn at or after it; to the end of the candles when left out.
        funding: rates as shares by settlement instant.
        contexts: the market's context as it came to be known, replayed; without any it is unknown. With news events
            and chart opinions as ``EvidenceHistory``.
        every_turn: take each turn with the trader itself (slow; the same result).
        stop: when set, the run ends early.
        on_turn: is shown every turn that the trader takes (with ``every_turn`` all there are).

    Raises:
        DataRefused: too few candles, or none in the span.
    """
    return Engine(
        candles=candles,
        setup=setup,
        agent=agent,
        funding=funding,
        contexts=contexts,
        every_turn=every_turn,
        on_turn=on_turn,
    ).run(from_ms, to_ms, stop)


class Engine:
    """One run over past candles."""

    def __init__(
        self,
        *,
        candles: Candles,
        setup: Setup,
        agent: QLearningAgent,
        funding: Mapping[int, float] | None = None,
        contexts: Sequence[MarketContext] | PastContexts = (),
        every_turn: bool = False,
        on_turn: Callable[[Turn], None] | None = None,
    ) -> None:
        self._candles = candles
        self._setup = setup
        self._agent = agent
        self._funding = funding
        self._contexts = contexts if isinstance(contexts, PastContexts) else PastContexts(contexts)
        self._every_turn = every_turn or type(agent) is not QLearningAgent
        self._thresholds = thresholds(setup.rules, setup.limits_in_force)
        self._on_turn = on_turn
        self._turns_taken = 0
        self._must_take = True
        self._unrest = True

    def run(self, from_ms: int | None, to_ms: int | None, stop: threading.Event | None = None) -> BacktestResult:
        """Take all turns in ``from_ms <= instant < to_ms`` and return what came of them."""
        now, end = self._span(from_ms, to_ms)
        self._prepare(now)
        with _collector_inactive():
            return self._take_turns(now, end, stop)

    def _take_turns(self, now: int, end: int, stop: threading.Event | None) -> BacktestResult:
        row = int(np.searchsorted(self._candles.open_ms, now)) - 1
        self._first_row = row
        while now <= end and not (stop is not None and stop.is_set()):
            while row + 1 < len(self._candles) and self._candles.open_ms[row + 1] < now:
                row += 1
            fresh = self._candles.open_ms[row] + MINUTE_MS == now
            if fresh and not self._must_take and not self._every_turn:
                passed = self._pass(row, now, end)
                row, now = row + passed, now + passed * MINUTE_MS
                if passed:
                    row -= 1
                    continue
            self._take(row, now, fresh)
            now = self._after(row, now)
        return self._outcome(row)

    def _after(self, row: int, now: int) -> int:
        """Return the next instant at which a turn must be taken.

        Where candles are missing, prices stand still. As soon as the breaker sleeps, nothing can change before the
        next candle, day, settlement or end of the least holding time, and the turns until then are left out.
        """
        quiet = now - int(self._candles.open_ms[row]) - MINUTE_MS
        harness = self._harness
        if self._every_turn or quiet < _SETTLED_AFTER_MS or self._unrest or not harness.bounds.inactive:
            return now + MINUTE_MS
        wakes = [now + MINUTE_MS + -(now + MINUTE_MS) % DAY_MS]
        if row + 1 < len(self._candles):
            wakes.append(int(self._candles.open_ms[row + 1]) + MINUTE_MS)
        trade = harness.position_manager.trade
        if trade is not None:
            wakes.append(harness.venue.quotes.next_funding_ms(self._setup.symbol, now))
            held_ms = trade.entry_ms + self._setup.rules.min_holding_ms
            wakes += [held_ms + -held_ms % MINUTE_MS] if held_ms > now else []
            over_ms = harness.position_manager.time_over_ms
            wakes += [over_ms + -over_ms % MINUTE_MS] if over_ms is not None and over_ms > now else []
        return max(now + MINUTE_MS, min(wakes))

    def _span(self, from_ms: int | None, to_ms: int | None) -> tuple[int, int]:
        """Return the instants of the first and of the last turn: behind it a minute must follow, to trade in."""
        times = self._candles.open_ms
        if len(times) <= LEAST_WARM_UP + 1:
            raise DataRefused(f"A backtest needs more than {LEAST_WARM_UP + 1:,} candles, here are {len(times):,}.")
        first = max(int(times[LEAST_WARM_UP]), from_ms or 0)
        first += -first % MINUTE_MS
        last = int(times[-1]) if to_ms is None else min(int(times[-1]), to_ms - 1)
        if first > last:
            raise DataRefused("There are no candles in that span, or fewer than 1,000 before it.")
        return first, last

    def _prepare(self, first_ms: int) -> None:
        count = len(self._candles)
        self._pipeline: Pipeline | None = None
        source: IndicatorSource = IndicatorFold()
        trends: HigherTimeframeTrend | PastHigherTimeframeTrend = HigherTimeframeTrend(
            [PastCandleAggregator(self._candles, INTERVAL_MS[each]) for each in self._setup.rules.trend_intervals]
        )
        if not self._every_turn:
            trends = PastHigherTimeframeTrend(self._candles, self._setup.rules.trend_intervals)
            self._regime = regime = regimes(self._candles, self._contexts, trends.codes)
            mask = votes_mask(self._setup.rules.votes)
            self._pipeline = Pipeline(self._candles, regime, compiled(fold_block), mask)
            source = _PipelineIndicators(self._pipeline)
        self._source = source
        self._slow = slow_past(self._candles, self._setup.rules)
        self._harness = BacktestHarness(
            candles=self._candles,
            setup=self._setup,
            agent=self._agent,
            first_ms=first_ms,
            funding=self._funding,
            contexts=self._contexts,
            indicators=source,
            slow=self._slow,
            trends=trends.look,
        )
        if self._on_turn is not None:
            self._harness.journal.on_turn = self._on_turn
        self._equity = np.full(count, np.nan)
        if self._pipeline is not None:
            self._ready_columns(self._pipeline)

    def _ready_columns(self, pipeline: Pipeline) -> None:
        lessons = lessons_of(self._candles, pipeline, self._slow, self._regime, self._setup.rules)
        self._block = perceived_block(self._candles, pipeline, lessons, self._agent)
        self._tables = tables_of(self._agent)
        self._pass_turns = compiled(pass_turns)
        breaks = np.flatnonzero(np.diff(self._candles.open_ms) != MINUTE_MS) + 1
        self._breaks = np.append(breaks, len(self._candles))

    def _pass(self, row: int, now: int, end: int) -> int:
        """Pass over turns from that of ``row`` on; return how many were passed."""
        pipeline, harness = self._pipeline, self._harness
        if pipeline is None:
            return 0
        beyond = min(pipeline.reach(row), row + self._turns_until_date(now, end))
        beyond = min(beyond, int(self._breaks[np.searchsorted(self._breaks, row, side="right")]))
        if beyond <= row:
            return 0
        held, before = harness.held, self._memory()
        stopped, after = self._pass_turns(
            row,
            beyond,
            self._block,
            self._tables,
            held,
            harness.bounds,
            self._thresholds,
            before,
            MINUTE_MS if self._slow is None else self._slow.interval_ms,
            self._equity,
        )
        if stopped > row:
            self._take_over(row, stopped, held, before, TurnMemory(*after))
        return int(stopped - row)

    def _turns_until_date(self, now: int, end: int) -> int:
        """Return how many turns come before one that must be taken whatever the market does."""
        due = min(end + 1, now + -now % DAY_MS)
        if self._harness.position_manager.trade is not None:
            due = min(due, self._harness.venue.quotes.next_funding_ms(self._setup.symbol, now - 1))
            over_ms = self._harness.position_manager.time_over_ms
            due = due if over_ms is None else min(due, max(over_ms, now))
        return -(-(due - now) // MINUTE_MS)

    def _memory(self) -> TurnMemory:
        last, risk, journal = self._harness.trader.remembered, self._harness.risk, self._harness.journal
        usual = np.nan if risk.usual_volatility is None else risk.usual_volatility
        if last is None:
            return TurnMemory(-1, np.nan, -1, float(usual), float(journal.peak))
        return TurnMemory(last.state, last.close, last.open_ms, float(usual), float(journal.peak))

    def _take_over(self, row: int, stopped: int, held: PriceBand, before: TurnMemory, after: TurnMemory) -> None:
        """Let the trader go on from where the passed turns left off."""
        harness = self._harness
        if after.open_ms >= 0:
            harness.trader.pass_over(Remembered(int(after.state), held.sign, float(after.close), int(after.open_ms)))
        highest = (
            harness.highest_equity(self._equity[row:stopped], int(self._block.open_ms[row]))
            if (after.peak > before.peak and not harness.bounds.inactive)
            else None
        )
        harness.risk.pass_over(None if np.isnan(after.usual) else float(after.usual), highest)

    def _take(self, row: int, now: int, fresh: bool) -> None:
        """Take one turn with the trader, and what came between it and the minute before."""
        harness = self._harness
        if self._pipeline is not None:
            self._pipeline.reach(row)
        harness.watch(now - MINUTE_MS, now, self._every_turn)
        self._unrest = harness.turn(row, now)
        self._must_take = self._unrest or not fresh
        self._turns_taken += 1
        if fresh:
            self._equity[row] = harness.worth

    def _outcome(self, last_row: int) -> BacktestResult:
        span = slice(self._first_row, last_row + 1)
        equity, instants, journal = self._equity[span], self._candles.open_ms[span] + MINUTE_MS, self._harness.journal
        taken = ~np.isnan(equity)
        return BacktestResult(
            symbol=self._setup.symbol,
            start_equity=self._setup.balance,
            instants=instants if taken.all() else instants[taken],
            equity=equity if taken.all() else equity[taken],
            trades=tuple(sorted(journal.closed, key=lambda trade: trade.entry_ms)),
            open_trade=self._harness.open_trade,
            records=tuple(journal.records),
            breaker_events=tuple(journal.trips),
            turns_taken=self._turns_taken,
            agent=self._agent,
        )


@contextmanager
def _collector_inactive() -> Iterator[None]:
    """Let nobody search for circles meanwhile: a run makes none, and what it keeps would be looked through often."""
    was_awake = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_awake:
            gc.enable()


class _PipelineIndicators:
    """Hands the trader the indicators that were worked out for the candle it looks at."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.row = -1

    def look(self, candles: Sequence[Candle]) -> Indicators | None:
        """Return the indicators after the last of ``candles``, which begin with the first of the table."""
        return self._pipeline.indicators(len(candles) - 1)
