"""Walk-forward test: trains on a rolling window, trades the time after it, reports out of sample only."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from src.backtest.config import Setup
from src.backtest.engine import LEAST_WARM_UP, run_backtest
from src.backtest.result import BacktestResult
from src.backtest.sweep import Sweep
from src.backtest.training import teach_past, warm_up_ms
from src.backtest.variants import Variant, label, varied
from src.domain.clock import DAY_MS, MINUTE_MS
from src.domain.errors import DataRefused
from src.domain.market import MarketContext
from src.market_data.columns import Candles
from src.strategy.q_agent import QLearningAgent
from src.strategy.rules import DecisionRules


@dataclass(frozen=True, slots=True)
class Fold:
    """One step: taught (and chosen) on ``train_ms`` up to ``test_ms``, traded from there to ``end_ms``."""

    train_ms: int
    test_ms: int
    end_ms: int
    chosen: str
    tried: int
    return_share: float
    trades: int


@dataclass(frozen=True, slots=True)
class WalkForward:
    """The folds, and all their out-of-sample time as one run."""

    folds: tuple[Fold, ...]
    outcome: BacktestResult


def walk_forward(
    candles: Candles,
    setup: Setup,
    new_agent: Callable[[DecisionRules], QLearningAgent],
    from_ms: int,
    to_ms: int,
    *,
    train_days: int = 90,
    test_days: int = 30,
    variants: Sequence[Variant] = (),
    funding: Mapping[int, float] | None = None,
    contexts: Sequence[MarketContext] = (),
    stop: threading.Event | None = None,
    progress: Callable[[Fold], None] = lambda _fold: None,
) -> WalkForward:
    """Return what rolling training would have earned in the time after each training.

    Args:
        candles: from ``train_days`` before ``from_ms`` on, and as long again as ``warm_up_ms`` says, if there are any.
        setup: the balance is carried from fold to fold.
        new_agent: makes an untaught agent for rules.
        from_ms, to_ms: first out-of-sample instant, and the first one behind the last.
        train_days, test_days: lengths of the window that is learnt from and of what is traded after it.
        variants: with more than one, each fold first takes the one with the best Sharpe ratio in its own window.
        funding, contexts, stop: as in ``run_backtest``.
        progress: called after each fold.

    Raises:
        DataRefused: not enough candles before ``from_ms``.
    """
    _refuse_too_short(candles, from_ms, to_ms, train_days)
    folds: list[Fold] = []
    outcomes: list[BacktestResult] = []
    balance, start_ms = setup.balance, from_ms
    warm_ms = warm_up_ms(varied(setup, each).rules for each in variants or [()])
    while start_ms + DAY_MS <= to_ms and not (stop is not None and stop.is_set()):
        end_ms, train_ms = min(start_ms + test_days * DAY_MS, to_ms), start_ms - train_days * DAY_MS
        known = candles.between(train_ms - warm_ms, start_ms)
        chosen = _best(known, setup, new_agent, train_ms, start_ms, variants, funding)
        here = replace(varied(setup, chosen), balance=balance)
        agent = new_agent(here.rules)
        teach_past(agent, known, train_ms)
        seen = candles.between(train_ms - warm_ms, end_ms + MINUTE_MS)
        outcome = _traded(seen, here, agent, (start_ms, end_ms), funding, contexts, stop)
        outcomes.append(outcome)
        balance = _carried(outcome, here)
        folds.append(_fold((train_ms, start_ms, end_ms), label(chosen), max(len(variants), 1), outcome))
        progress(folds[-1])
        start_ms = end_ms
    return WalkForward(tuple(folds), joined(outcomes))


def _fold(edges: tuple[int, int, int], chosen: str, tried: int, outcome: BacktestResult) -> Fold:
    return Fold(*edges, chosen, tried, outcome.return_share, len(outcome.trades))


def _refuse_too_short(candles: Candles, from_ms: int, to_ms: int, train_days: int) -> None:
    least_ms = from_ms - train_days * DAY_MS - LEAST_WARM_UP * MINUTE_MS
    if not len(candles) or int(candles.open_ms[0]) > least_ms:
        raise DataRefused(f"Walk-forward needs candles from {train_days} days and {LEAST_WARM_UP:,} minutes before it.")
    if to_ms - from_ms < DAY_MS:
        raise DataRefused("The span out of sample is shorter than a day.")


def _traded(
    seen: Candles,
    setup: Setup,
    agent: QLearningAgent,
    span: tuple[int, int],
    funding: Mapping[int, float] | None,
    contexts: Sequence[MarketContext],
    stop: threading.Event | None,
) -> BacktestResult:
    """Return the exact path's run over one fold."""
    return run_backtest(
        seen, setup, agent, from_ms=span[0], to_ms=span[1], funding=funding, contexts=contexts, stop=stop
    )


def _best(
    known: Candles,
    setup: Setup,
    new_agent: Callable[[DecisionRules], QLearningAgent],
    train_ms: int,
    start_ms: int,
    variants: Sequence[Variant],
    funding: Mapping[int, float] | None,
) -> Variant:
    """Return the variant with the best Sharpe ratio in the second half of the window, taught by the first."""
    if len(variants) < 2:
        return variants[0] if variants else ()
    middle_ms = (train_ms + start_ms) // 2
    taught = known.between(0, middle_ms)

    def taught_agent(rules: DecisionRules) -> QLearningAgent:
        agent = new_agent(rules)
        teach_past(agent, taught, train_ms)
        return agent

    ranked = (
        Sweep(candles=known, setup=setup, taught=taught_agent, from_ms=middle_ms, to_ms=start_ms, funding=funding)
        .run(variants)
        .rows
    )
    by_label = {label(each): each for each in variants}
    return by_label[ranked[0]["variant"]]


def _carried(outcome: BacktestResult, setup: Setup) -> Decimal:
    """Return the balance for the next fold: what is still held is given up at mark price, with its fee."""
    worth = Decimal(str(round(outcome.end_equity, 8)))
    held = outcome.open_trade
    fee = Decimal(0) if held is None else held.quantity * held.entry_price * setup.taker_share
    return worth - round(fee, 8)


def joined(outcomes: Sequence[BacktestResult]) -> BacktestResult:
    """Return runs that follow one another as one; positions held at the end of a run are not among the trades."""
    first, last = outcomes[0], outcomes[-1]
    return BacktestResult(
        symbol=first.symbol,
        start_equity=first.start_equity,
        instants=np.concatenate([each.instants for each in outcomes]),
        equity=np.concatenate([each.equity for each in outcomes]),
        trades=tuple(trade for each in outcomes for trade in each.trades),
        open_trade=last.open_trade,
        records=tuple(record for each in outcomes for record in each.records),
        breaker_events=tuple(event for each in outcomes for event in each.breaker_events),
        turns_taken=sum(each.turns_taken for each in outcomes),
        agent=last.agent,
    )
