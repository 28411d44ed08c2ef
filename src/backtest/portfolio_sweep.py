"""Runs variants of a strategy of targets: all of a grid, and walk-forward, on all cores or on a Ray cluster."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from src.backtest.deflated import daily_ratio
from src.backtest.portfolio_engine import run_portfolio
from src.backtest.portfolio_outcome import PortfolioOutcome
from src.backtest.portfolio_setup import PortfolioSetup
from src.backtest.ray_cluster import on_cluster
from src.backtest.sweep import SweepResult, judged
from src.backtest.sweep_log import Row, SweepLog, hash_of, program_hash
from src.backtest.variants import Variant, label, value_of
from src.domain.clock import DAY_MS
from src.domain.errors import SettingsError
from src.market_data.columns import Candles
from src.runtime.strategy_loader import LoadedStrategy
from src.strategy.target_rules import PortfolioLimits, TargetRules

_LIMITS = {each.name: type(each.default) for each in fields(PortfolioLimits)}
_HASHED = ("open_ms", "open", "high", "low", "close", "volume")
Span = tuple[int, int]


def kinds_of(rules: TargetRules) -> dict[str, type]:
    """Return the figures of a strategy that can be varied, with their kinds: its own, and its limits."""
    return {name: type(value) for name, value in rules.figures.items()} | _LIMITS


def varied_rules(rules: TargetRules, variant: Variant) -> TargetRules:
    """Return the rules with a variant's figures.

    Raises:
        SettingsError: a value cannot be.
        StrategyFailed: the user's class refuses one.
    """
    kinds = kinds_of(rules)
    values = {name: value_of(name, text, kinds[name]) for name, text in variant}
    limits = {name: value for name, value in values.items() if name in _LIMITS}
    figures = {name: value for name, value in values.items() if name not in _LIMITS}
    try:
        changed = replace(rules, limits=replace(rules.limits, **limits))
        if isinstance(rules.own, LoadedStrategy):
            return replace(changed, own=rules.own.with_figures(figures))
        return replace(changed, strategy=replace(rules.strategy, **figures))
    except ValueError as error:
        raise SettingsError((f"{label(variant)}: {error}.",)) from error


@dataclass(frozen=True, slots=True)
class PortfolioPast:
    """The past that all variants run over, with what does not vary."""

    candles: Mapping[str, Candles]
    funding: Mapping[str, Mapping[int, float]]
    rules: TargetRules
    setup: PortfolioSetup

    def run(self, variant: Variant, span: tuple[int | None, int | None]) -> PortfolioOutcome:
        """Return what a variant brought over a span."""
        rules = varied_rules(self.rules, variant)
        setup = replace(self.setup, limits=rules.limits)
        known = {symbol: each.between(0, span[1] or 1 << 60) for symbol, each in self.candles.items()}
        return run_portfolio(known, rules.build(), setup, from_ms=span[0], to_ms=span[1], funding=self.funding)

    def row(self, variant: Variant, span: tuple[int | None, int | None]) -> Row:
        """Return the figures of a variant over a span."""
        outcome = self.run(variant, span)
        returns, books = outcome.daily_returns, outcome.books.values()
        return {
            "variant": label(variant),
            "return_share": outcome.return_share,
            "daily_sharpe": daily_ratio(returns),
            "max_drawdown_share": outcome.drawdown.worst_share,
            "trades": len(outcome.trades),
            "fees": float(sum((book.fees for book in books), Decimal(0))),
            "daily_returns": [round(value, 10) for value in returns.tolist()],
        }

    def inputs(self, span: tuple[int | None, int | None]) -> dict[str, str]:
        """Return hashes of everything that the rows follow from, by the name a person would call it."""
        columns = [getattr(each, name) for each in self.candles.values() for name in _HASHED]
        rates = [np.array(sorted(each.items()), dtype=np.float64) for each in self.funding.values()]
        own = getattr(self.rules.own, "file", None)
        costs = {each.name: getattr(self.setup, each.name) for each in fields(self.setup) if each.name != "evidence"}
        return {
            "candles": hash_of(*columns),
            "funding": hash_of(*rates),
            "span": f"{span[0]}..{span[1]}",
            "strategy": hash_of(repr((self.rules.name, self.rules.figures, own and own.digest)).encode()),
            "limits or costs": hash_of(repr((costs, sorted(self.candles))).encode()),
            "program": program_hash(),
        }


_past: PortfolioPast | None = None


def _begin(past: PortfolioPast) -> None:
    """Keep the past in this process of the pool: it is handed over once, not with every variant."""
    global _past
    _past = past


def _row_here(variant: Variant, span: tuple[int | None, int | None]) -> Row:
    if _past is None:
        raise RuntimeError("the pool was not begun")
    return _past.row(variant, span)


def process_pool(past: PortfolioPast, workers: int = 0) -> ProcessPoolExecutor:
    """Return processes, one for each core by default, that know the past."""
    shared = "fork" in multiprocessing.get_all_start_methods()  # then the candles exist once, not once a process
    context = multiprocessing.get_context("fork" if shared else "spawn")
    return ProcessPoolExecutor(workers or os.cpu_count() or 1, context, initializer=_begin, initargs=(past,))


def submit(pool: ProcessPoolExecutor, variant: Variant, span: tuple[int | None, int | None]) -> "Future[Row]":
    """Let a process of the pool work out one variant over one span."""
    return pool.submit(_row_here, variant, span)


def sweep_portfolio(
    past: PortfolioPast,
    variants: Sequence[Variant],
    span: tuple[int | None, int | None],
    *,
    log: Path | None = None,
    workers: int = 0,
    ray: str = "",
    progress: Callable[[int], None] = lambda _done: None,
) -> SweepResult:
    """Try all variants that ``log`` does not hold yet and return the whole.

    Args:
        past: what they run over.
        variants: see ``variants.variants``.
        span: the first decision, and the first instant behind the run; None as ``run_portfolio`` takes it.
        log: where rows are kept; None keeps none.
        workers: processes; 0 is one for each core.
        ray: address of a Ray cluster, "" for this machine.
        progress: called with the number of variants finished so far.
    """
    kept = SweepLog(log, {} if log is None else past.inputs(span))
    left = [each for each in variants if label(each) not in kept.rows]
    for each in left:
        varied_rules(past.rules, each)  # what cannot be is refused before anything runs
    progress(len(kept.rows))
    on_ray = [(each, span) for each in left]
    for row in on_cluster(ray, PortfolioPast.row, past, on_ray) if ray else _here(past, left, span, workers):
        kept.add([row])
        progress(len(kept.rows))
    return judged([kept.rows[label(each)] for each in variants], past.rules.tried)


def _here(
    past: PortfolioPast, variants: Sequence[Variant], span: tuple[int | None, int | None], workers: int
) -> Iterator[Row]:
    if not variants:
        return
    with process_pool(past, min(workers or os.cpu_count() or 1, len(variants))) as pool:
        running = {submit(pool, each, span) for each in variants}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class PortfolioFold:
    """One step: chosen on ``train_ms`` up to ``test_ms``, traded from there to ``end_ms``."""

    train_ms: int
    test_ms: int
    end_ms: int
    chosen: str
    tried: int
    return_share: float
    trades: int


@dataclass(frozen=True, slots=True)
class PortfolioWalk:
    """The folds, and the daily returns of all their out-of-sample time."""

    folds: tuple[PortfolioFold, ...]
    daily_returns: tuple[float, ...]


def fold_spans(from_ms: int, to_ms: int, test_days: int) -> list[Span]:
    """Return the spans of ``test_days`` each that follow one another from ``from_ms``; none shorter than a day."""
    starts = range(from_ms, to_ms - DAY_MS + 1, test_days * DAY_MS)
    return [(at, min(at + test_days * DAY_MS, to_ms)) for at in starts]


def walk_portfolio(
    past: PortfolioPast,
    variants: Sequence[Variant],
    span: Span,
    *,
    train_days: int,
    test_days: int,
    workers: int = 0,
    progress: Callable[[PortfolioFold], None] = lambda _fold: None,
) -> PortfolioWalk:
    """Return what choosing the best variant of each training window would have earned in the time after it.

    Each window and each test begins flat, with the whole balance; what is held at its end is valued at mark price.
    """
    folds: list[PortfolioFold] = []
    returns: list[float] = []
    for test_ms, end_ms in fold_spans(*span, test_days):
        train_ms, chosen = test_ms - train_days * DAY_MS, variants[0]
        if len(variants) > 1:
            ranked = sweep_portfolio(past, variants, (train_ms, test_ms), workers=workers).rows
            chosen = {label(each): each for each in variants}[ranked[0]["variant"]]
        row = past.row(chosen, (test_ms, end_ms))
        returns += row["daily_returns"]
        figures: tuple[Any, ...] = (label(chosen), len(variants), row["return_share"], row["trades"])
        folds.append(PortfolioFold(train_ms, test_ms, end_ms, *figures))
        progress(folds[-1])
    return PortfolioWalk(tuple(folds), tuple(returns))
