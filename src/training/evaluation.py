"""Compares the new model, the present one and no trading, on data that none of them has seen.

Candles are traded by the backtest, which drives the live trader on the paper exchange's matching code: fees, spread,
depth, funding, stops within the minute. The bot's own turns have only closing prices; they are simulated with these,
with fee and slippage of each order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from threading import Event
from typing import Any, NamedTuple

import numpy as np

from src.backtest.config import Setup
from src.backtest.engine import run_backtest
from src.strategy.q_agent import QLearningAgent
from src.strategy.rules import Thresholds
from src.training.dataset import Samples
from src.training.episodes import course_of, rehearsed

LEAST_TRADES = 10
"""With fewer trades on unseen data a better model cannot be distinguished from a lucky one."""
_MANY = 2_000
_FOLDS = (0.6, 0.7333, 0.8667, 1.0)
_ONE_FOLD = (0.75, 1.0)


class ValidationFold(NamedTuple):
    """One walk-forward step: trained before ``test_from_ms``, tested from there until ``test_to_ms``."""

    test_from_ms: int
    test_to_ms: int


@dataclass(frozen=True, slots=True)
class ModelScore:
    """The result of an agent, or of no trading, on unseen data: a share of equity, and trades."""

    net_return: float = 0.0
    trades: int = 0
    wins: int = 0

    def then(self, later: "ModelScore") -> "ModelScore":
        """Return the combined score of this period and a later one."""
        total = (1.0 + self.net_return) * (1.0 + later.net_return) - 1.0
        return ModelScore(total, self.trades + later.trades, self.wins + later.wins)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for programs; ``win_rate`` is None without a trade."""
        rate = self.wins / self.trades if self.trades else None
        return {"net_return": self.net_return, "trades": self.trades, "win_rate": rate}


def folds_of(samples: Samples) -> list[ValidationFold]:
    """Return the steps of the walk forward: three where there are 2,000 samples or more, else one."""
    instants = np.sort(samples.open_ms)
    shares = _FOLDS if len(instants) >= _MANY else _ONE_FOLD
    edges = [int(instants[min(int(share * len(instants)), len(instants) - 1)]) for share in shares]
    edges[-1] += samples.interval_ms
    return [ValidationFold(begin, end) for begin, end in pairwise(edges)]


class ModelEvaluator:
    """Trades unseen data with a copy of an agent, which keeps learning as it would live."""

    def __init__(
        self,
        samples: Samples,
        setup: Setup,
        t: Thresholds,
        stop: Event,
        funding: Mapping[int, float] | None = None,
    ) -> None:
        self._samples = samples
        self._setup = setup
        self._thresholds = t
        self._stop = stop
        self._funding = funding
        limits = setup.limits_in_force
        self.notional_share = float(limits.position_share) * limits.leverage

    def score(self, agent: QLearningAgent, fold: ValidationFold) -> ModelScore:
        """Return the score of a copy of ``agent`` in the fold."""
        pupil = _copy_of(agent)
        candles = self._samples.candles
        if candles is None:
            course = course_of(self._samples.between(*fold))
            marks = rehearsed(pupil, course, self._thresholds, self.notional_share, True)
            return ModelScore(marks.equity - 1.0, marks.trades, marks.wins)
        outcome = run_backtest(
            candles, self._setup, pupil, from_ms=fold.test_from_ms, to_ms=fold.test_to_ms, funding=self._funding,
            stop=self._stop,
        )  # fmt: skip
        figures = outcome.trade_figures
        return ModelScore(outcome.return_share, figures.trades, figures.wins)

    def buy_and_hold(self, fold: ValidationFold) -> ModelScore:
        """Return the result of holding all pairs through the fold: equal parts, no leverage, one order each way."""
        part = self._samples.between(*fold)
        costs = 2.0 * float(self._setup.taker_share)
        gains = []
        for pair in np.unique(part.pair):
            prices = part.price[part.pair == pair]
            gains.append(prices[-1] / prices[0] - 1.0 - costs)
        return ModelScore(float(np.mean(gains)) if gains else 0.0, len(gains), sum(bool(gain > 0) for gain in gains))


def verdict(candidate: ModelScore, present: ModelScore | None) -> tuple[bool, str]:
    """Return whether the new model is promoted, and why in one sentence."""
    if candidate.trades < LEAST_TRADES:
        return False, (
            f"It made {candidate.trades} trades on unseen data; with fewer than {LEAST_TRADES} nobody can tell skill "
            "from luck."
        )
    if candidate.net_return <= 0.0:
        return False, f"It brought {candidate.net_return:+.2%} on unseen data after costs: not trading is better."
    if present is not None and candidate.net_return <= present.net_return:
        return False, (
            f"It brought {candidate.net_return:+.2%} on unseen data after costs, the present model "
            f"{present.net_return:+.2%}."
        )
    than = "no trading" if present is None else f"{present.net_return:+.2%} of the present model, and no trading"
    return True, f"It brought {candidate.net_return:+.2%} on unseen data after costs: better than {than}."


def has_seen(agent: QLearningAgent | None, saved_ms: int, folds: Sequence[ValidationFold]) -> bool:
    """Return whether the present model may have been trained on the test data, which favours it.

    A running bot's model learns with every turn until it is saved.
    """
    if agent is None:
        return False
    return max(agent.training.last_ms, saved_ms) >= folds[0].test_from_ms


def _copy_of(agent: QLearningAgent) -> QLearningAgent:
    copy = QLearningAgent(
        learning_rate=agent.learning_rate,
        discount=agent.discount,
        one_way_cost_share=agent.one_way_cost_share,
        allow_short=agent.allow_short,
        candle_interval=agent.candle_interval,
        trend_intervals=agent.trend_intervals,
    )
    copy.value[:], copy.mean_square[:], copy.visits[:] = agent.value, agent.mean_square, agent.visits
    copy.training = replace(agent.training)
    return copy
