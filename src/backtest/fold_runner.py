"""Works out a variant over one fold at a time, on all cores or on a Ray cluster, for rules of votes and of targets."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from src.backtest.config import Setup
from src.backtest.options import PastMarketData
from src.backtest.portfolio_sweep import PortfolioPast, Span, process_pool, submit
from src.backtest.ray_cluster import connected
from src.backtest.sweep import Sweep, try_all
from src.backtest.sweep_exact import needs_exact_path
from src.backtest.sweep_log import Row
from src.backtest.training import teach_past
from src.backtest.variants import Variant, varied
from src.domain.clock import DAY_MS
from src.domain.errors import SettingsError
from src.strategy.q_agent import QLearningAgent
from src.strategy.rules import DecisionRules

Submit = Callable[[Variant, Span], "Future[Row]"]


def fold_edges(from_ms: int, to_ms: int, folds: int) -> list[Span]:
    """Return so many spans of whole days that follow one another and fill ``from_ms..to_ms``, the last the longest."""
    days = (to_ms - from_ms) // DAY_MS // folds
    starts = [from_ms + number * days * DAY_MS for number in range(folds)]
    return [*pairwise(starts), (starts[-1], to_ms)]


class VoteFolds:
    """Rules of votes: each fold is traded by an agent that the days before it have taught."""

    def __init__(
        self,
        past: PastMarketData,
        setup: Setup,
        new_agent: Callable[[DecisionRules], QLearningAgent],
        train_days: int,
    ) -> None:
        self._past = past
        self._setup = setup
        self._new_agent = new_agent
        self._train_ms = train_days * DAY_MS
        self._sweeps: dict[Span, Sweep] = {}

    def _sweep(self, span: Span) -> Sweep:
        """Return the sweep of a span, made at the first call."""
        if span not in self._sweeps:
            self._sweeps[span] = Sweep(
                candles=self._past.candles,
                setup=self._setup,
                taught=self._taught_before(span[0]),
                from_ms=span[0],
                to_ms=span[1],
                funding=self._past.funding,
            )
        return self._sweeps[span]

    def _taught_before(self, at_ms: int) -> Callable[[DecisionRules], QLearningAgent]:
        def taught(rules: DecisionRules) -> QLearningAgent:
            agent = self._new_agent(rules)
            teach_past(agent, self._past.candles.between(0, at_ms), at_ms - self._train_ms)
            return agent

        return taught

    @contextmanager
    def running(self, workers: int = 0, ray: str = "") -> Iterator[Submit]:
        """Lend a function that has a variant worked out over a span elsewhere."""
        if ray:
            with _on_ray(ray) as cluster:
                task = cluster.remote(_first_row)
                yield lambda variant, span: _future(task, *self._arguments(variant, span))
            return
        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            yield lambda variant, span: pool.submit(*self._call(variant, span))

    def _call(self, variant: Variant, span: Span) -> tuple[Any, ...]:
        """Return what works out a variant: the kernel, or the exact path where its exits need that."""
        setup = varied(self._setup, variant)
        if needs_exact_path(setup):
            return self._sweep(span).exact_row, variant, setup
        return _first_row, *self._arguments(variant, span)

    def _arguments(self, variant: Variant, span: Span) -> tuple[Any, ...]:
        sweep, setup = self._sweep(span), varied(self._setup, variant)
        if needs_exact_path(setup):
            raise SettingsError(("Exits beside stop and target are not searched on a Ray cluster; leave --ray out.",))
        sweep.series(setup)
        return (variant, setup), sweep.prepared, sweep.first


def _first_row(job: tuple[Variant, Setup], series: Any, first: int) -> Row:
    return try_all([job], series, first)[0]


class TargetFolds:
    """A strategy of targets: each fold begins flat, with the whole balance."""

    def __init__(self, past: PortfolioPast) -> None:
        self._past = past

    @contextmanager
    def running(self, workers: int = 0, ray: str = "") -> Iterator[Submit]:
        """Lend a function that has a variant worked out over a span elsewhere."""
        if ray:
            with _on_ray(ray) as cluster:
                task, past = cluster.remote(PortfolioPast.row), cluster.put(self._past)
                yield lambda variant, span: _future(task, past, variant, span)
            return
        with process_pool(self._past, workers) as pool:
            yield lambda variant, span: submit(pool, variant, span)


@contextmanager
def _on_ray(address: str) -> Iterator[Any]:
    cluster = connected(address)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def _future(task: Any, *arguments: Any) -> "Future[Row]":
    future: Future[Row] = task.remote(*arguments).future()
    return future
