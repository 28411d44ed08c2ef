"""Runs many variants with the kernel, on all cores or on a Ray cluster; resumable (``sweep_log``)."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from src.backtest.compiled import compiled
from src.backtest.config import Setup
from src.backtest.deflated import Deflated, daily_ratio, deflated_sharpe, distinct_ratios
from src.backtest.engine import LEAST_WARM_UP
from src.backtest.kernel import KernelPosition, KernelSeries, KernelTrade, simulate
from src.backtest.kernel_inputs import figures_of, make_series, tables_of
from src.backtest.ray_cluster import connected
from src.backtest.sweep_exact import exact_run, needs_exact_path
from src.backtest.sweep_log import Row, SweepLog, hash_of, program_hash
from src.backtest.variants import Variant, label, varied
from src.domain.clock import DAY_MS
from src.domain.metrics import daily_returns, drawdown
from src.market_data.columns import COLUMNS, Candles
from src.strategy.q_agent import QLearningAgent
from src.strategy.rules import DecisionRules

Job = tuple[Variant, Setup]
Perception = tuple[bool, str, tuple[str, ...], tuple[str, ...]]
"""What changes the signal or the agent's advice: shorts, the candles and trends looked at, the votes that count."""
_BATCH = 16


@dataclass(frozen=True, slots=True)
class SweepResult:
    """All rows, best daily Sharpe ratio first, how the best looks after so many tries, and its daily returns."""

    rows: tuple[Row, ...]
    deflated: Deflated


class Sweep:
    """One contract and span, any number of variants.

    Args:
        candles: with at least 1,000 before ``from_ms``.
        setup: what is not varied.
        taught: returns an agent for a variant's rules (its interval, shorts or not), taught by what was before
            ``from_ms``; it learns on from there, the same way in all variants that perceive alike.
        from_ms: first turn at or after it.
        to_ms: no turn at or after it.
        funding: rates by settlement instant.
    """

    def __init__(
        self,
        *,
        candles: Candles,
        setup: Setup,
        taught: Callable[[DecisionRules], QLearningAgent],
        from_ms: int,
        to_ms: int,
        funding: Mapping[int, float] | None = None,
    ) -> None:
        self._candles = candles.between(0, to_ms)
        self._first = max(int(np.searchsorted(candles.open_ms, from_ms)) - 1, LEAST_WARM_UP - 1)
        self._setup = setup
        self._taught = taught
        self._funding = funding
        self._series: dict[Perception, KernelSeries] = {}

    def run(
        self,
        variants: Sequence[Variant],
        log: Path | None = None,
        workers: int = 0,
        ray: str = "",
        progress: Callable[[int], None] = lambda _done: None,
    ) -> SweepResult:
        """Try all variants that ``log`` does not hold yet and return the whole.

        Args:
            variants: see ``variants.variants``.
            log: where rows are kept; None keeps none.
            workers: threads; 0 is one for each core.
            ray: address of a Ray cluster, "" for this machine.
            progress: called with the number of variants finished so far.
        """
        kept = SweepLog(log, {} if log is None else self.inputs())
        rows = kept.rows
        jobs = [(each, varied(self._setup, each)) for each in variants if label(each) not in rows]
        progress(len(rows))
        exact = [job for job in jobs if needs_exact_path(job[1])]
        fast = [job for job in jobs if not needs_exact_path(job[1])]
        for batch in chain(self._finished(fast, workers, ray), self._exact(exact)):
            kept.add(batch)
            progress(len(rows))
        wanted = [rows[label(each)] for each in variants]
        return judged(wanted, self._setup.rules.tried)

    @property
    def first(self) -> int:
        """The place of the first candle on whose close is decided."""
        return self._first

    @property
    def prepared(self) -> Mapping[Perception, KernelSeries]:
        """The series made so far."""
        return self._series

    def series(self, setup: Setup) -> KernelSeries:
        """Return what the kernel runs over for a variant, made at the first call for all that perceive alike."""
        key = perception(setup)
        if key not in self._series:
            agent, every_ms = self._taught(setup.rules), self._setup.listed.funding_ms
            self._series[key] = make_series(self._candles, agent, self._first, self._funding, (), every_ms, setup.rules)
        return self._series[key]

    def _exact(self, jobs: list[Job]) -> Iterator[list[Row]]:
        """Run variants that the kernel does not know, one after another."""
        for variant, setup in jobs:
            yield [self.exact_row(variant, setup)]

    def exact_row(self, variant: Variant, setup: Setup) -> Row:
        """Return the figures of a variant that the kernel does not know."""
        deals, daily, held = exact_run(self._candles, setup, self._taught(setup.rules), self._first, self._funding)
        return _row(variant, deals, daily, held)

    def _finished(self, jobs: list[Job], workers: int, ray: str) -> Iterator[list[Row]]:
        batches = [jobs[at : at + _BATCH] for at in range(0, len(jobs), _BATCH)]
        for _, setup in jobs:
            self.series(setup)
        if ray:
            yield from self._on_cluster(batches, ray)
            return
        stop = threading.Event()
        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            running: set[Future[list[Row]]] = {
                pool.submit(try_all, batch, self._series, self._first, stop) for batch in batches
            }
            try:
                while running:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for each in done:
                        yield each.result()
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)

    def _on_cluster(self, batches: list[list[Job]], address: str) -> Iterator[list[Row]]:
        ray = connected(address)
        try:
            task, series = ray.remote(try_all), ray.put(self._series)
            running = [task.remote(batch, series, self._first) for batch in batches]
            while running:
                done, running = ray.wait(running)
                yield from ray.get(done)
        finally:
            ray.shutdown()

    def inputs(self) -> dict[str, str]:
        """Return a hash of everything that the rows follow from, by the name a person would call it."""
        agent, funding = self._taught(self._setup.rules), sorted((self._funding or {}).items())
        candles = [getattr(self._candles, name) for name in COLUMNS]
        return {
            "candles": hash_of(*candles),
            "funding": hash_of(np.array(funding, dtype=np.float64)),
            "span": f"{self._first}..{len(self._candles)}",
            "rules, limits or costs": hash_of(repr((asdict(self._setup), asdict(self._setup.listed))).encode()),
            "agent": hash_of(
                agent.value,
                agent.mean_square,
                agent.visits,
                repr(tables_of(agent)[3:]).encode(),
                repr((agent.seed, agent.exploration_rate)).encode(),
            ),
            "program": program_hash(),
        }


def perception(setup: Setup) -> Perception:
    """Return what of a setup the series depends on."""
    return setup.rules.allow_short, setup.rules.candle_interval, setup.rules.trend_intervals, setup.rules.votes


def try_all(
    jobs: Sequence[Job], series: Mapping[Perception, KernelSeries], first: int, stop: threading.Event | None = None
) -> list[Row]:
    """Run each job's variant and return one row for each (fewer when ``stop`` is set)."""
    kernel = compiled(simulate)
    rows = []
    for variant, setup in jobs:
        if stop is not None and stop.is_set():
            break
        columns = series[perception(setup)]
        deals = np.empty((len(columns.close), len(KernelTrade._fields)))
        daily = np.empty((int(columns.open_ms[-1]) - int(columns.open_ms[0])) // DAY_MS + 3)
        count, days, _, held = kernel(columns, figures_of(setup), first, deals, daily)
        rows.append(_row(variant, deals[:count], np.concatenate(([float(setup.balance)], daily[:days])), held))
    return rows


def _row(variant: Variant, deals: np.ndarray[Any, Any], daily: np.ndarray[Any, Any], held: KernelPosition) -> Row:
    broke = bool((daily <= 0.0).any())
    returns = np.array([-1.0]) if broke else daily_returns(daily)
    pnl = deals[:, KernelTrade._fields.index("pnl")]
    return {
        "variant": label(variant),
        "return_share": float(daily[-1] / daily[0] - 1.0),
        "daily_sharpe": daily_ratio(returns),
        "max_drawdown_share": 1.0 if broke else drawdown(daily).worst_share,
        "trades": len(deals),
        "win_rate": float((pnl > 0).mean()) if len(deals) else None,
        "pnl": float(pnl.sum()),
        "fees": float(deals[:, KernelTrade._fields.index("fees")].sum()) + held.fees,
        "funding": float(deals[:, KernelTrade._fields.index("funding")].sum()) + held.funding,
        "daily_returns": [round(value, 10) for value in returns.tolist()],
    }


def judged(rows: Sequence[Row], recorded: int) -> SweepResult:
    """Return rows as a result: best daily Sharpe ratio first, with the deflated ratio of the best."""
    ranked = sorted(rows, key=lambda row: -row["daily_sharpe"])
    best = np.array(ranked[0]["daily_returns"]) if ranked else np.empty(0)
    ratios = distinct_ratios(row["daily_returns"] for row in ranked)
    return SweepResult(tuple(ranked), deflated_sharpe(best, ratios, recorded))
