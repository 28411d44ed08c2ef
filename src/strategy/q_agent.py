"""The Q-learning agent: recommendation, learning, persistence.

The table has a row for each market state (``rl_state``) and position (short, flat, long), and a value for each
action: what it is expected to earn from here on, as a share of notional, after costs, later earnings discounted.
Beside the value stand the mean square of its lessons and their number, which give the confidence its meaning.
"""

import math
from dataclasses import asdict, dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from src.domain.errors import ModelRefused
from src.strategy.q_checkpoint import Arrays, read_model, read_pickle, write_model
from src.strategy.q_state import FEATURES, STATES, Feature, context_code, encode, features_of, states_of
from src.strategy.q_table import (
    LEAST_LESSONS,
    best_action,
    confidence_of,
    exploration_chance,
    learn_one,
    learn_pass,
    position_after,
    rival_action,
    tried_action,
)  # fmt: skip
from src.strategy.rules import MOST_TRENDS, DecisionRules
from src.strategy.votes import FIRST_VOTES, VOTE_NAMES

__all__ = [
    "FEATURES", "STATES", "Action", "Feature", "QLearningAgent", "Recommendation", "Training", "best_action",
    "confidence_of", "context_code", "encode", "exploration_chance", "features_of", "learn_one", "learn_pass",
    "migrate_pickle", "position_after", "rival_action", "states_of", "trade_reward", "tried_action",
]  # fmt: skip

Array = NDArray[Any]


class Action(IntEnum):
    """What the agent can recommend: BUY opens a long position or closes a short one, SELL the reverse."""

    HOLD = 0
    BUY = 1
    SELL = 2


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The agent's advice for one turn.

    ``confidence`` lies in 0..1 (its meaning: ``QLearningAgent.recommend``); ``state`` is the market state it
    perceived, -1 for none; ``values`` are what HOLD, BUY and SELL are expected to earn, as shares of notional;
    ``trends`` are the longer candles whose trend is part of the state.
    """

    action: Action
    confidence: float
    state: int
    explored: bool
    values: tuple[float, float, float]
    trends: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Training:
    """What a model learnt from: the candles' span, how many, their hash, and figures measured on them."""

    first_ms: int = 0
    last_ms: int = 0
    candles: int = 0
    data_sha256: str = ""
    metrics: dict[str, float] = field(default_factory=dict)


_NOTHING = (0.0, 0.0, 0.0)


class QLearningAgent:
    """A table that recommends and learns.

    Args:
        learning_rate: weight of the newest lesson once enough were had, in (0, 0.3].
        discount: worth of the next minute's earnings against this one's, in [0, 1).
        one_way_cost_share: fee and slippage of one market order (``CostRates.one_way_share``).
        allow_short: whether SELL may open a short position.
        exploration_rate: share of instants at which another action is tried; above 0 in paper mode only.
        exploration_confidence: what a tried action is given instead of a confidence: just above the 0.3 an
            entry needs, so that the experiment can take place, and below the 0.5 of an exit, so that it never
            closes a position.
        seed: of the exploration.
        candle_interval: of the candles it learns from; what it learnt on others would mislead it.
        trend_intervals: longer candles whose trend it perceives, too (``DecisionRules.trend_intervals``).
    """

    refusal = ""
    """Why its file was refused, "" for an agent that can be trusted."""

    def __init__(
        self,
        *,
        learning_rate: float = 0.01,
        discount: float = 0.98,
        one_way_cost_share: float = 0.0006,
        allow_short: bool = False,
        exploration_rate: float = 0.0,
        exploration_confidence: float = 0.31,
        seed: int = 7,
        candle_interval: str = "1m",
        trend_intervals: tuple[str, ...] = (),
    ) -> None:
        if not (0 < learning_rate <= 0.3 and 0 <= discount < 1):
            raise ValueError("need 0 < learning_rate <= 0.3 and 0 <= discount < 1")
        if not (0 <= one_way_cost_share < 1 and 0 <= exploration_rate <= 1 and 0 <= exploration_confidence <= 1):
            raise ValueError("one_way_cost_share, exploration_rate and exploration_confidence must lie in 0..1")
        if len(trend_intervals) > MOST_TRENDS:
            raise ValueError(f"at most {MOST_TRENDS} longer trends are perceived")
        self.learning_rate = learning_rate
        self.discount = discount
        self.one_way_cost_share = one_way_cost_share
        self.allow_short = allow_short
        self.exploration_rate = exploration_rate
        self.exploration_confidence = exploration_confidence
        self.seed = seed
        self.candle_interval = candle_interval
        self.trend_intervals = trend_intervals
        self.training = Training()
        states = states_of(trend_intervals)
        self.value: Array = np.zeros((states, 3, 3))
        self.mean_square: Array = np.zeros((states, 3, 3))
        self.visits: Array = np.zeros(states, dtype=np.int64)

    @classmethod
    def for_rules(
        cls, rules: DecisionRules, one_way_cost_share: float, exploration_rate: float = 0.0, seed: int = 7
    ) -> Self:
        """Return an untaught agent that perceives and may advise what the rules ask for."""
        return cls(
            one_way_cost_share=one_way_cost_share,
            allow_short=rules.allow_short,
            exploration_rate=exploration_rate,
            seed=seed,
            candle_interval=rules.candle_interval,
            trend_intervals=rules.trend_intervals,
        )

    def misfit(self, rules: DecisionRules) -> str:
        """Return why it cannot advise under ``rules``, as the end of a sentence about it; "" when it can."""
        if self.allow_short != rules.allow_short:
            own, asked = _truth(self.allow_short), _truth(rules.allow_short)
            return f"was trained with allow_short = {own}, the rules say {asked}"
        if self.candle_interval != rules.candle_interval:
            return f"was trained on {self.candle_interval} candles, the rules look at {rules.candle_interval} ones"
        if self.trend_intervals != rules.trend_intervals:
            own, asked = (_trends_in_words(each) for each in (self.trend_intervals, rules.trend_intervals))
            return f"perceives {own}, the rules ask for {asked}"
        return ""

    @property
    def made_for(self) -> str:
        """What rules it can advise under, as part of a file's name: 4h, 1m-5m-15m (trends), 1m-short."""
        return "-".join((self.candle_interval, *self.trend_intervals, *(("short",) if self.allow_short else ())))

    @property
    def lowest(self) -> int:
        """The lowest position there is: -1 where shorts are allowed, else 0."""
        return -1 if self.allow_short else 0

    @property
    def lessons(self) -> int:
        """How many passages the table has been taught."""
        return int(self.visits.sum())

    def recommend(self, market_state: int, position_sign: int, instant_ms: int) -> Recommendation:
        """Return the advice for a market state and a position (1, 0, -1) at an instant; the same for the same.

        Confidence is the probability that the action is truly better than the best one leading to another
        position, stretched from 0.5..1 to 0..1. The two values are taken as means of independent, normally
        scattered lessons; it is 0 below ``LEAST_LESSONS`` lessons. BUY in a long position is the same action as
        HOLD, so the two are not rivals. A state of -1 (not ready) gives HOLD with confidence 0.
        """
        if market_state < 0:
            return Recommendation(Action.HOLD, 0.0, -1, False, _NOTHING, self.trend_intervals)
        advice = self._learnt_advice(market_state, position_sign)
        if self.exploration_rate > 0.0:
            chance = exploration_chance(self.seed, instant_ms)
            if (chance >> 11) / 9007199254740992.0 < self.exploration_rate:
                tried = Action(tried_action(advice.action, position_sign, self.lowest, chance & 1))
                return replace(advice, action=tried, confidence=self.exploration_confidence, explored=True)
        return advice

    @property
    def known_states(self) -> int:
        """How many market states have had ``LEAST_LESSONS`` lessons, so that a confidence means something."""
        return int(np.count_nonzero(self.visits >= LEAST_LESSONS))

    def ever_enters(self, min_confidence: float) -> bool:
        """Return whether it would open a position in any state, with a confidence above ``min_confidence``."""
        moves = (self.visits >= LEAST_LESSONS) & (self.value[:, 1].argmax(axis=1) != Action.HOLD)
        return any(self._would_enter(int(state), min_confidence) for state in np.flatnonzero(moves))

    def _would_enter(self, market_state: int, min_confidence: float) -> bool:
        advice = self._learnt_advice(market_state, 0)
        return position_after(0, advice.action, self.lowest) != 0 and advice.confidence > min_confidence

    def _learnt_advice(self, market_state: int, position_sign: int) -> Recommendation:
        """Return the advice of the tables alone, without a try."""
        row = position_sign + 1
        hold, buy, sell = self.value[market_state, row].tolist()
        values = (hold, buy, sell)
        best = best_action(values)
        hold_square, buy_square, sell_square = self.mean_square[market_state, row].tolist()
        squares = (hold_square, buy_square, sell_square)
        rival = rival_action(values, best, position_sign, self.lowest)
        confidence = confidence_of(values, squares, best, rival, int(self.visits[market_state]), self.learning_rate)
        return Recommendation(Action(best), confidence, market_state, False, values, self.trend_intervals)

    def learn(self, previous_state: int, position_sign: int, price_return: float, next_state: int) -> float:
        """Learn from one turn: between two market states the price moved by ``price_return`` (a share).

        Nothing need have been traded: what each action would have earned in each position is known, so the lesson
        is the same whatever was held.

        Returns:
            The surprise: by how much keeping ``position_sign`` is worth more after the lesson than before, as a
            share of notional; 0 when a state was not ready and nothing was learnt.
        """
        if previous_state < 0 or next_state < 0:
            return 0.0
        before = float(self.value[previous_state, position_sign + 1, Action.HOLD])
        learn_one(
            previous_state, price_return, next_state, self.value, self.mean_square, self.visits,
            self.learning_rate, self.discount, self.one_way_cost_share, self.lowest,
        )  # fmt: skip
        return float(self.value[previous_state, position_sign + 1, Action.HOLD]) - before

    def train(self, states: Array, returns: Array, episodes: int, kernel: Any = learn_pass) -> int:
        """Learn from a whole series ``episodes`` times over; return the lessons of one time.

        Args:
            states: market states, oldest first, -1 where not ready; int64.
            returns: the price's return from each state to the next one; float64, the last is not used.
            episodes: how often. The number of lessons that confidence rests on grows once only: hearing the
                same sample twice is no second observation.
            kernel: ``learn_pass``, or the same function compiled.
        """
        before = self.visits.copy()
        lessons = 0
        for _ in range(episodes):
            lessons = kernel(
                states, returns, self.value, self.mean_square, self.visits,
                self.learning_rate, self.discount, self.one_way_cost_share, self.lowest,
            )  # fmt: skip
        if episodes > 1:
            self.visits[:] = before + (self.visits - before) // episodes
        return int(lessons)

    def save(self, path: Path | str, saved_ms: int) -> str:
        """Write tables and description to ``path`` (and its hash beside it) at ``saved_ms``; return the hash.

        Raises:
            OSError: the disk refused; the old file stands.
        """
        about = {
            "format": _FORMAT,
            "version": _VERSION,
            "features": _features(self.trend_intervals),
            "votes": list(VOTE_NAMES),
            "learning_rate": self.learning_rate,
            "discount": self.discount,
            "one_way_cost_share": self.one_way_cost_share,
            "allow_short": self.allow_short,
            "candle_interval": self.candle_interval,
            "trend_intervals": list(self.trend_intervals),
            "training": asdict(self.training),
            "lessons": self.lessons,
            "saved_ms": saved_ms,
        }
        return write_model(Path(path), self._tables(), about)

    @classmethod
    def load(cls, path: Path | str, exploration_rate: float = 0.0, seed: int = 7) -> Self:
        """Return the agent kept at ``path``; how it learns and its costs come from the file.

        Raises:
            ModelRefused: missing, damaged, or learnt over other features; one sentence says which.
        """
        arrays, about = read_model(Path(path))
        if about.get("format") != _FORMAT or about.get("version") != _VERSION:
            raise ModelRefused(f"The model {path} is not of the format {_FORMAT!r}, version {_VERSION}; retrain it.")
        trends = _trends_in(about)
        if about.get("votes", list(FIRST_VOTES)) != list(VOTE_NAMES):
            raise ModelRefused(f"The model {path} was trained over other votes; retrain it.")
        if about.get("features") != _features(trends):
            raise ModelRefused(f"The model {path} was trained over other features; retrain it.")
        try:
            agent = cls(
                learning_rate=float(about["learning_rate"]),
                discount=float(about["discount"]),
                one_way_cost_share=float(about["one_way_cost_share"]),
                allow_short=bool(about["allow_short"]),
                exploration_rate=exploration_rate,
                seed=seed,
                candle_interval=str(about.get("candle_interval", "1m")),
                trend_intervals=trends,
            )
            agent.training = Training(**about["training"])
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as fault:
            raise ModelRefused(f"The description in the model {path} is damaged ({fault!r}); retrain it.") from fault
        agent._take(arrays, path)
        return agent

    def _tables(self) -> Arrays:
        return {"value": self.value, "mean_square": self.mean_square, "visits": self.visits}

    def _take(self, arrays: Arrays, path: Path | str) -> None:
        """Take the tables over if they have the shape, kind and range of ours."""
        for name, own in self._tables().items():
            given = arrays.get(name)
            if given is None or given.shape != own.shape or given.dtype != own.dtype:
                raise ModelRefused(f"The table {name!r} in the model {path} is missing or misshapen; retrain it.")
            if not np.isfinite(given).all() or (name != "value" and (given < 0).any()):
                raise ModelRefused(f"The table {name!r} in the model {path} holds impossible numbers; retrain it.")
            own[...] = given


_FORMAT, _VERSION = "q-table", 1


def _features(trends: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{"name": each.name, "edges": list(each.edges), "zones": each.zones} for each in features_of(trends)]


def _trends_in(about: dict[str, Any]) -> tuple[str, ...]:
    """The longer trends that a file's state was made with; none in files from before there were any."""
    said = about.get("trend_intervals", [])
    return tuple(str(each) for each in said) if isinstance(said, list) else ("damaged",)


def _trends_in_words(intervals: tuple[str, ...]) -> str:
    return f"the trend of {', '.join(intervals)} candles" if intervals else "no trend of other candles"


def _truth(value: bool) -> str:
    return str(value).lower()


def migrate_pickle(path: Path | str) -> QLearningAgent:
    """Return an agent from an old pickle that holds our tables in a dictionary, without running what it asks for.

    Needed is ``value`` (or ``q_table``) of shape (states, 3, 3); ``mean_square`` and ``visits`` are taken if
    present. Without them nothing is known about how sure the values are, so confidence starts at 0.

    Raises:
        ModelRefused: not harmless, damaged, or a table over other states, which cannot be carried over.
    """
    held = read_pickle(Path(path))
    if not isinstance(held, dict):
        raise ModelRefused(f"The pickle {path} holds no dictionary of tables; retrain.")
    agent = QLearningAgent()
    tables = {**agent._tables(), **{key: held[key] for key in ("mean_square", "visits") if key in held}}
    tables["value"] = held.get("value", held.get("q_table"))
    try:
        arrays = {name: np.array(table, agent._tables()[name].dtype) for name, table in tables.items()}
    except (TypeError, ValueError) as fault:
        raise ModelRefused(f"The tables in the pickle {path} are no tables of numbers; retrain.") from fault
    agent._take(arrays, path)
    return agent


def trade_reward(pnl_share: float) -> float:
    """Return the points a finished trade earns: 20 beyond 2 % either way, else 10, times (1 + size of the result).

    0 for a result of exactly 0. ``pnl_share`` is 0.03 for 3 %.
    """
    if pnl_share == 0.0:
        return 0.0
    points = 20.0 if abs(pnl_share) > 0.02 else 10.0
    return math.copysign(points * (1.0 + abs(pnl_share)), pnl_share)
