"""A guided search against a whole grid and against chance, on the same budget of trials: python -m benchmarks.search

Works on recorded minutes of BTCUSDT in ``../shared/data`` (or ``SHARED_DATA``) with the rule set ``safety_first``:
five walk-forward folds from 2023-03 to 2023-10, the agent of each taught by the 30 days before it, and a hold-out span
of two months that no search sees. The score is the Sharpe ratio a day over all folds. Chance and Optuna are repeated
with other seeds, since one run of a search says little. Prints Markdown; takes some minutes.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.rules import DATA, ROOT
from src.backtest.config import Setup
from src.backtest.fold_runner import Submit, VoteFolds, fold_edges
from src.backtest.guided_search import GuidedSearch, figures_of
from src.backtest.options import BacktestSpan, PastMarketData
from src.backtest.portfolio_sweep import Span
from src.backtest.search_space import Dimension, parse_space, suggested
from src.backtest.variants import KINDS, Variant, parse_grid, variants
from src.domain.clock import DAY_MS, instant_of
from src.domain.costs import CostRates
from src.market_data.files import read_in_order
from src.strategy.q_agent import QLearningAgent
from src.strategy.rules import load_rules

TRIALS = 500
COST = CostRates().one_way_share
SEEDS = (1, 2, 3)
FROM_MS, HELD_MS, TO_MS = (instant_of(f"2023-{day}T00:00:00.000Z") for day in ("03-01", "11-01", "12-31"))
SPACE = (
    "stop_loss_share=0.004..0.06", "take_profit_share=0.005..0.12", "min_signal_strength=2,3,4,5",
    "min_holding_ms=0..86400000",
)  # fmt: skip
GRID = (
    "stop_loss_share=0.004,0.01,0.02,0.035,0.06", "take_profit_share=0.005,0.02,0.045,0.08,0.12",
    "min_signal_strength=2,3,4,5", "min_holding_ms=0,3600000,14400000,43200000,86400000",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What a search found with its budget: the best score, its variant, seconds, and folds worked out."""

    name: str
    best: float
    variant: Variant
    seconds: float
    folds: int


class Chance:
    """Proposes values by chance, evenly over the same space."""

    def __init__(self, seed: int) -> None:
        self._dice = np.random.default_rng(seed)

    def suggest_int(self, _name: str, low: int, high: int) -> int:
        """Return a whole number in ``low..high``."""
        return int(self._dice.integers(low, high + 1))

    def suggest_float(self, _name: str, low: float, high: float) -> float:
        """Return a number in ``low..high``."""
        return float(self._dice.uniform(low, high))

    def suggest_categorical(self, _name: str, choices: Sequence[str]) -> str:
        """Return one of the choices."""
        return str(choices[self._dice.integers(len(choices))])


def past() -> PastMarketData:
    """Return the year of minutes with the span that is searched."""
    parts = read_in_order([DATA / "BTCUSDT_spot_1m_2023.parquet"])
    return PastMarketData(parts[0].candles, {}, BacktestSpan(FROM_MS, TO_MS))


def all_of(name: str, tried: Sequence[Variant], folds: Sequence[Span], submit: Submit) -> Found:
    """Work out every variant over every fold, as a sweep does, and return the best."""
    began = time.perf_counter()
    running = [[submit(variant, fold) for fold in folds] for variant in tried]
    scores = [
        figures_of([value for each in row for value in each.result()["daily_returns"]])["sharpe"] for row in running
    ]
    best = int(np.argmax(scores))
    return Found(name, scores[best], tried[best], time.perf_counter() - began, len(tried) * len(folds))


def guided(space: Sequence[Dimension], folds: Sequence[Span], submit: Submit, seed: int) -> Found:
    """Let Optuna search with the same budget."""
    began = time.perf_counter()
    search = GuidedSearch(space, folds, seed=seed)
    result = search.run(TRIALS, submit, workers=2)
    seconds, best = time.perf_counter() - began, result.best[0]
    done = sum(row.folds for row in result.trials)
    return Found(f"Optuna, seed {seed}", best.figures["sharpe"], search.variant_of(best.number), seconds, done)


def rows(found: Sequence[Found], held: Callable[[Variant], float]) -> list[str]:
    """Return the table as lines of Markdown."""
    lines = [
        f"| search, {TRIALS} trials | best score | its Sharpe a day, held out | folds worked out | seconds |",
        "|---|---|---|---|---|",
    ]
    return lines + [
        f"| {each.name} | {each.best:.4f} | {held(each.variant):+.4f} | {each.folds:,} | {each.seconds:.1f} |"
        for each in found
    ]


def main() -> int:
    """Run all searches and print what each found."""
    rules = load_rules((ROOT / "config" / "rules" / "safety_first.toml").read_text(encoding="utf-8"))
    folds = fold_edges(FROM_MS, HELD_MS, 5)
    runner = VoteFolds(past(), Setup(rules=rules), lambda each: QLearningAgent.for_rules(each, COST), 30)
    space, tried = parse_space(SPACE, KINDS), variants(parse_grid(GRID))
    with runner.running(2) as submit:
        for fold in folds:
            submit(tried[0], fold).result()  # teaches the agents and loads the compiled code, before any clock runs
        found = [all_of("grid", tried, folds, submit)]
        for seed in SEEDS:
            dice = Chance(seed)
            by_chance = [suggested(space, dice) for _ in range(TRIALS)]
            found.append(all_of(f"chance, seed {seed}", by_chance, folds, submit))
        found += [guided(space, folds, submit, seed) for seed in SEEDS]

        def held(variant: Variant) -> float:
            return float(submit(variant, (HELD_MS, TO_MS)).result()["daily_sharpe"])

        print("\n".join(rows(found, held)))
    for name in ("chance", "Optuna"):
        scores = [each.best for each in found if each.name.startswith(name)]
        print(f"{name}: mean of the best scores {statistics.mean(scores):.4f}")
    print(f"{(HELD_MS - FROM_MS) // DAY_MS} days in {len(folds)} folds, {(TO_MS - HELD_MS) // DAY_MS} days held out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
