"""Runs a strategy of targets over past minutes of several pairs, on one account of the venue.

Decisions fall on the close of the strategy's candles and on the start. Between them the account is watched as live:
the early stop at every whole second, the day's loss at every whole minute, stops and funding by the venue itself. A
stretch in which no price comes near any of these is passed in one step; with ``every_minute`` nothing is passed, and
the result is the same (tested).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import pairwise

import numpy as np

from src.backtest.portfolio_account import PortfolioAccount
from src.backtest.portfolio_blocks import MinuteBlock, minute_block
from src.backtest.portfolio_outcome import DecisionTaken, Floats, Instants, PortfolioOutcome
from src.backtest.portfolio_risk import PortfolioRisk
from src.backtest.portfolio_setup import HistoryView, PortfolioMarket, PortfolioSetup, closed_candles
from src.domain.clock import MINUTE_MS
from src.domain.errors import DataRefused
from src.domain.funding import LONGEST_INTERVAL_MS, FundingRate
from src.domain.market import INTERVAL_MS, Candle, money
from src.market_data.columns import Candles
from src.strategy.evidence import EntryRestraint, restraints_of
from src.strategy.targets import PortfolioObservation, Strategy, Target

_SECOND_MS = 1_000


def run_portfolio(
    candles: Mapping[str, Candles],
    strategy: Strategy,
    setup: PortfolioSetup,
    *,
    from_ms: int | None = None,
    to_ms: int | None = None,
    funding: Mapping[str, Mapping[int, float]] | None = None,
    every_minute: bool = False,
) -> PortfolioOutcome:
    """Run a strategy over past one-minute candles of several pairs and return what came of it.

    Args:
        candles: by symbol; those before ``from_ms`` are the strategy's history.
        strategy: says the targets; its candles are made of the minutes.
        setup: limits, costs, balance.
        from_ms: the first decision; after the strategy's warm-up when left out.
        to_ms: the first instant behind the run; to the end of the candles when left out.
        funding: rates as shares by symbol and settlement instant.
        every_minute: pass nothing over (slow; the same result).

    Raises:
        DataRefused: there are no candles in the span, or a pair's contract is not known.
    """
    return _Run(candles, strategy, setup, funding or {}, every_minute).run(from_ms, to_ms)


class _Run:
    def __init__(
        self,
        candles: Mapping[str, Candles],
        strategy: Strategy,
        setup: PortfolioSetup,
        funding: Mapping[str, Mapping[int, float]],
        every_minute: bool,
    ) -> None:
        self._candles = candles
        self._strategy = strategy
        self._setup = setup
        self._funding = funding
        self._every_minute = every_minute
        self._step_ms = INTERVAL_MS[strategy.candle_interval]
        self._history = {symbol: closed_candles(each, strategy.candle_interval) for symbol, each in candles.items()}
        self._settled = {
            symbol: [FundingRate(at, rate) for at, rate in sorted(rates.items())] for symbol, rates in funding.items()
        }
        self._paid_ms = sorted({at for rates in funding.values() for at in rates})
        self._beyond = dict.fromkeys(candles, 0)
        self._decisions: list[DecisionTaken] = []
        self._curve: list[tuple[Instants, Floats]] = []
        self._marks: list[int] = []
        self._pair_results: dict[str, list[float]] = {symbol: [] for symbol in candles}
        self._exposure: list[float] = []

    def run(self, from_ms: int | None, to_ms: int | None) -> PortfolioOutcome:
        """Take all decisions in ``from_ms <= instant < to_ms`` and return what came of them."""
        now, end = self._span(from_ms, to_ms)
        first_ms = now
        self._account = PortfolioAccount(PortfolioMarket(self._candles, self._funding), self._setup, now)
        self._risk = PortfolioRisk(self._setup, now)
        self._account.advance(now)
        while now < end:
            self._decide(now)
            until = min(now + self._step_ms - now % self._step_ms, end)
            self._pass(now, until)
            now = until
        return self._outcome(first_ms)

    def _span(self, from_ms: int | None, to_ms: int | None) -> tuple[int, int]:
        needed = self._strategy.warm_up_candles
        long_enough = [rows for rows in self._history.values() if len(rows) >= needed]
        if not long_enough:
            most = max((len(rows) for rows in self._history.values()), default=0)
            raise DataRefused(
                f"{self._strategy.name} needs {needed} closed {self._strategy.candle_interval} candles of a pair "
                f"before it can decide; the longest history here has {most}."
            )
        ready_ms = min(rows[needed - 1].open_ms for rows in long_enough) + self._step_ms
        first = ready_ms if from_ms is None else from_ms + -from_ms % MINUTE_MS
        known_to = max(int(each.open_ms[-1]) for each in self._candles.values())
        last = known_to if to_ms is None else min(known_to, to_ms)
        if first >= last:
            raise DataRefused("There are no candles in that span.")
        return first, last

    def _decide(self, now: int) -> None:
        """Ask the strategy, and bring the account to its targets."""
        account, risk = self._account, self._risk
        risk.look_at_day(now, account.equity())
        known = {symbol: self._known(symbol, now) for symbol in self._candles}
        targets = self._strategy.targets(PortfolioObservation(now, known, self._known_funding(now)))
        prices = {symbol: money(rows[-1].close) for symbol, rows in known.items() if rows}
        tradable = [each for each in targets if each.symbol in prices]
        held_back = self._restraints(tradable, now)
        equity, plan = account.rebalance(tradable, prices, risk.entries_refused(now), held_back)
        self._decisions.append(DecisionTaken(now, equity, plan.pairs))

    def _restraints(self, targets: Sequence[Target], now: int) -> dict[str, EntryRestraint]:
        setup = self._setup
        if not setup.evidence_rules.active:
            return {}
        weights = {each.symbol: each.weight for each in targets}
        return restraints_of(setup.evidence_rules, setup.evidence.observed_at(now), weights, now)

    def _known(self, symbol: str, now: int) -> Sequence[Candle]:
        """Return the closed candles of a pair at an instant."""
        rows = self._history[symbol]
        beyond = self._beyond[symbol]
        while beyond < len(rows) and rows[beyond].open_ms + self._step_ms <= now:
            beyond += 1
        self._beyond[symbol] = beyond
        return HistoryView(rows, beyond)

    def _known_funding(self, now: int) -> dict[str, Sequence[FundingRate]]:
        """Return what was settled until an instant, by pair."""
        return {
            symbol: rows[: bisect_right(rows, now, key=lambda each: each.time_ms)]
            for symbol, rows in self._settled.items()
        }

    def _pass(self, now: int, until: int) -> None:
        """Let the time from one decision to the next go by."""
        for first, beyond in pairwise((now, *self._settlements(now, until), until)):
            block = minute_block(self._candles, first, beyond)
            start = 0
            while start < len(block.instants):
                start = self._pass_calm(block, start) if not self._every_minute else self._pass_minute(block, start)
        self._note_mark(until, block)
        self._risk.note_trades(self._account.books.values())
        self._risk.evaluate(until)

    def _settlements(self, now: int, until: int) -> list[int]:
        """Return the instants within a stretch at which funding may be paid: the worth changes there."""
        recorded = self._paid_ms[bisect_right(self._paid_ms, now) : bisect_left(self._paid_ms, until)]
        every = LONGEST_INTERVAL_MS
        return sorted({*recorded, *range(now - now % every + every, until, every)})

    def _pass_calm(self, block: MinuteBlock, start: int) -> int:
        """Pass all minutes until the first in which something might be done; return the next one to look at."""
        account = self._account
        levels = {symbol: account.early_stop(symbol) for symbol in account.positions()}
        amounts = {symbol: float(book.amount) for symbol, book in account.books.items() if book.amount}
        rough = block.near_levels({symbol: float(level) for symbol, level in levels.items() if level}, amounts, start)
        cash = float(self._setup.balance + sum((book.cash for book in account.books.values()), Decimal(0)))
        rough |= block.worst(amounts, cash, start) <= self._risk.least_equity + 0.01 * abs(cash)  # funding may come due
        beyond = start + (int(rough.argmax()) if rough.any() else len(rough))
        if beyond == start:
            return self._pass_minute(block, start)
        account.advance(int(block.instants[beyond - 1]))
        self._note_curve(block, start, beyond)
        return beyond

    def _pass_minute(self, block: MinuteBlock, place: int) -> int:
        """Pass one minute second by second, as the live watch does; then look at the day's loss."""
        account, end = self._account, int(block.instants[place])
        for at in range(end - MINUTE_MS + _SECOND_MS, end + 1, _SECOND_MS):
            account.advance(at)
            for symbol, position in account.positions().items():
                level = account.early_stop(symbol)
                if level is not None and (position.mark_price - level) * position.direction.sign <= 0:
                    account.close(symbol, "early_stop")
        if account.positions() and self._risk.daily_loss_hit(end, account.equity()):
            for symbol in account.positions():
                account.close(symbol, "daily_loss")
        self._note_curve(block, place, place + 1)
        return place + 1

    def _note_curve(self, block: MinuteBlock, start: int, beyond: int) -> None:
        books = self._account.books.values()
        cash = float(self._setup.balance + sum((book.cash for book in books), Decimal(0)))
        worth = np.full(beyond - start, cash)
        for book in books:
            if book.amount:
                worth += float(book.amount) * block.mark[book.symbol][start:beyond]
        if beyond == len(block.instants) and beyond - start > 1:
            worth[:-1] -= self._paid_at_end(int(block.instants[-1]))
        self._curve.append((block.instants[start:beyond], worth))
        self._risk.note_equity(worth)

    def _paid_at_end(self, at: int) -> float:
        """Return the funding that was booked at the last instant of a block: earlier minutes did not have it."""
        return sum(float(book.last_funding) for book in self._account.books.values() if book.last_funding_ms == at)

    def _note_mark(self, at: int, block: MinuteBlock) -> None:
        self._marks.append(at)
        gross = 0.0
        for symbol, book in self._account.books.items():
            value = float(book.amount) * float(block.mark[symbol][-1]) if book.amount else 0.0
            self._pair_results[symbol].append(float(book.cash) + value)
            gross += abs(value)
        self._exposure.append(gross / float(self._curve[-1][1][-1]))

    def _outcome(self, first_ms: int) -> PortfolioOutcome:
        return PortfolioOutcome(
            strategy=self._strategy.name,
            symbols=tuple(self._candles),
            start_equity=self._setup.balance,
            from_ms=first_ms,
            instants=np.concatenate([each[0] for each in self._curve]),
            equity=np.concatenate([each[1] for each in self._curve]),
            marks=np.array(self._marks, dtype=np.int64),
            pair_results={symbol: np.array(values) for symbol, values in self._pair_results.items()},
            exposure=np.array(self._exposure),
            books=self._account.books,
            decisions=tuple(self._decisions),
            breaker_events=tuple(self._risk.events),
            daily_loss_days=tuple(self._risk.loss_days),
        )
