"""Training episodes: the agent learns all samples repeatedly and is evaluated on what it would have done.

The updates are the live agent's own (``q_table.learn_one``), compiled; the simulation uses the live rules
(``entry_code``, ``exit_code``) at each close. Each episode uses the same blocks in another order, which depends only on
the seed and its number: the same seed gives the same table, bit for bit, even after an interruption.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.backtest.compiled import compiled
from src.backtest.fast_forward import Tables, judged
from src.backtest.kernel_inputs import tables_of
from src.strategy.q_agent import QLearningAgent, Training, trade_reward
from src.strategy.q_state import REGIMES
from src.strategy.q_table import learn_one
from src.strategy.rules import Thresholds, entry_code, exit_code, wanted_sign
from src.training.dataset import Samples

Array = NDArray[Any]
_BLOCK = 256


class TrainingSeries(NamedTuple):
    """Samples as the kernels want them; ``linked`` as in ``Samples``, ``follows`` the price's return to the next."""

    pair: Array
    open_ms: Array
    price: Array
    state: Array
    side: Array
    strength: Array
    linked: Array
    follows: Array


class EpisodeFigures(NamedTuple):
    """The result of a simulation: trades, wins, points, and the final equity (start 1)."""

    trades: int
    wins: int
    points: float
    equity: float


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode: how the agent would have traded the samples after it, by closing prices, after costs.

    ``reward_mean`` is in points (``trade_reward``) a trade, 0 without one; ``net_return`` a share of equity.
    """

    number: int
    trades: int
    wins: int
    reward_mean: float
    net_return: float

    @property
    def win_rate(self) -> float | None:
        """Share of trades that won, None without a trade."""
        return self.wins / self.trades if self.trades else None


def course_of(samples: Samples) -> TrainingSeries:
    """Return the samples as the kernels want them."""
    follows = np.zeros(len(samples))
    follows[:-1] = samples.price[1:] / samples.price[:-1] - 1.0
    return TrainingSeries(
        samples.pair, samples.open_ms, samples.price, samples.state, samples.side, samples.strength, samples.linked,
        follows,
    )  # fmt: skip


class EpisodeRunner:
    """An agent in training, untrained at first.

    Args:
        agent: the agent to train; its parameters (rate, discount, cost, shorts) are used.
        samples: the training data.
        t: the rules of the simulation.
        notional_share: notional of a position as a share of equity.
        seed: of the order of the blocks.
    """

    def __init__(
        self, agent: QLearningAgent, samples: Samples, t: Thresholds, notional_share: float, seed: tuple[int, ...]
    ) -> None:
        self.agent = agent
        self.episodes: list[Episode] = []
        self._samples = samples
        self._course = course_of(samples)
        self._thresholds = t
        self._notional_share = notional_share
        self._seed = seed
        self.visits = np.zeros_like(agent.visits)
        np.add.at(agent.visits, samples.state[samples.linked], 1)  # the basis of confidence: each sample once
        self._outcomes = _outcome_columns(samples)
        self._learn = compiled(learn_blocks)
        self._hear_outcomes = compiled(learn_outcomes)
        self._rehearse = compiled(rehearse)

    def learn_until(self, episodes: int, stop: Callable[[], bool], on_episode: Callable[[Episode], None]) -> bool:
        """Continue up to this total number of episodes; return False if ``stop`` ended it before."""
        while len(self.episodes) < episodes:
            if stop():
                return False
            self.episodes.append(self._episode(len(self.episodes) + 1))
            on_episode(self.episodes[-1])
        return True

    def _episode(self, number: int) -> Episode:
        agent, blocks = self.agent, -(-len(self._samples) // _BLOCK)
        order = np.random.default_rng((*self._seed, number)).permutation(blocks)
        figures = (float(agent.learning_rate), float(agent.discount), float(agent.one_way_cost_share), agent.lowest)
        self._learn(order, _BLOCK, self._course, agent.value, agent.mean_square, self.visits, *figures)
        self._hear_outcomes(*self._outcomes, agent.value, agent.mean_square, self.visits, figures[0])
        marks = rehearsed(agent, self._course, self._thresholds, self._notional_share, False, self._rehearse)
        mean = marks.points / marks.trades if marks.trades else 0.0
        return Episode(number, marks.trades, marks.wins, mean, marks.equity - 1.0)

    def finish(self, metrics: dict[str, float]) -> QLearningAgent:
        """Return the agent with a description of its training data; unknown regimes are filled in."""
        samples, agent = self._samples, self.agent
        if samples.candles is not None:
            spread_over_regimes(agent)
        first_ms, last_ms = samples.span_ms
        agent.training = Training(first_ms, last_ms, len(samples), samples.data_sha256, metrics)
        return agent


def rehearsed(
    agent: QLearningAgent,
    course: TrainingSeries,
    t: Thresholds,
    notional_share: float,
    learns: bool,
    kernel: Callable[..., tuple[int, int, float, float]] | None = None,
) -> EpisodeFigures:
    """Return the simulated trading of ``agent``; with ``learns`` it keeps learning, like the live agent."""
    return EpisodeFigures(*(kernel or compiled(rehearse))(course, tables_of(agent), t, notional_share, learns))


def spread_over_regimes(agent: QLearningAgent) -> None:
    """Copy what was learnt with the context unknown to the states of each market regime."""
    for table in (agent.value, agent.mean_square, agent.visits):
        by_regime = table.reshape(-1, REGIMES, 3, *table.shape[1:])  # the last digit but one of a state is the regime
        by_regime[:, 1:] = by_regime[:, :1]


def _outcome_columns(samples: Samples) -> tuple[Array, Array, Array, Array]:
    """Return state, action, result and weight of each closed trade that was entered in a known state."""
    outcomes = samples.outcomes
    state = samples.state[outcomes.row] if len(outcomes.row) else np.zeros(0, np.int64)
    known = (state >= 0) & (outcomes.sign != 0)
    pnl = outcomes.pnl_share[known]
    weight = np.array([abs(trade_reward(each)) / 10.0 for each in pnl.tolist()])
    return state[known], np.where(outcomes.sign[known] > 0, 1, 2), pnl, weight


def learn_blocks(
    order: Array,
    size: int,
    course: TrainingSeries,
    value: Array,
    mean_square: Array,
    visits: Array,
    learning_rate: float,
    discount: float,
    cost: float,
    lowest: int,
) -> int:
    """Teach the passages block by block in ``order``, the last of each first; return the lessons. Compiles."""
    lessons = 0
    for block in order:
        for row in range(min((block + 1) * size, len(course.state)) - 1, block * size - 1, -1):
            if course.linked[row]:
                learn_one(
                    course.state[row], course.follows[row], course.state[row + 1], value, mean_square, visits,
                    learning_rate, discount, cost, lowest,
                )  # fmt: skip
                lessons += 1
    return lessons


def learn_outcomes(
    state: Array,
    action: Array,
    pnl: Array,
    weight: Array,
    value: Array,
    mean_square: Array,
    visits: Array,
    learning_rate: float,
) -> None:
    """Teach what trades really brought, to the entry they began with. Compiles under numba.

    A result is weighted by its points: 20 points (beyond 2 %) count twice as much as 10.
    """
    for place in range(len(state)):
        at, which = state[place], action[place]
        step = min(1.0, max(1.0 / max(visits[at], 1), learning_rate) * weight[place])
        value[at, 1, which] += step * (pnl[place] - value[at, 1, which])
        mean_square[at, 1, which] += step * (pnl[place] * pnl[place] - mean_square[at, 1, which])


def rehearse(
    course: TrainingSeries, tables: Tables, t: Thresholds, notional_share: float, learns: bool
) -> tuple[int, int, float, float]:
    """Trade the course by closing prices; return trades, wins, points and final equity. Compiles under numba.

    Entries and exits cost ``tables.cost`` each; stop and target are looked at on the close; what is open at a
    pair's end is closed there.
    """
    sign, entry, entry_ms = 0, 0.0, 0
    trades, wins, points, equity = 0, 0, 0.0, 1.0
    for row in range(len(course.state)):
        price, at_ms, state = course.price[row], course.open_ms[row], course.state[row]
        action, confidence = 0, 0.0
        side, strength = course.side[row], course.strength[row]
        if state >= 0 and (sign != 0 or wanted_sign(side, strength, t) != 0):
            best, confidence = judged(tables, state, sign)
            action = 1 if best == 1 else -1 if best == 2 else 0
        last = row + 1 == len(course.state) or course.pair[row + 1] != course.pair[row]
        if sign != 0:
            move = (price / entry - 1.0) * sign
            code = exit_code(sign, move, at_ms - entry_ms, side, strength, action, confidence, False, t)
            if code != 0 or last:
                result = move - tables.cost * (1.0 + price / entry)
                trades, wins = trades + 1, wins + (1 if result > 0.0 else 0)
                points += trade_reward(result)
                equity *= 1.0 + notional_share * result
                sign = 0
        elif not last:
            code = entry_code(side, strength, action, confidence, True, t)
            if code != 0:
                sign, entry, entry_ms = (1 if code == 1 else -1), price, at_ms
        if learns and row > 0 and course.linked[row - 1]:
            learn_one(
                course.state[row - 1], course.follows[row - 1], state, tables.value, tables.mean_square,
                tables.visits, tables.learning_rate, tables.discount, tables.cost, tables.lowest,
            )  # fmt: skip
    return trades, wins, points, equity
