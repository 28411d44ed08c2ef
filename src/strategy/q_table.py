"""The Q-table as plain arithmetic: best action, confidence, update.

Everything here compiles under numba, but for the chance of an exploration: a backtest runs the live bot's own lines.
"""

import math
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
LEAST_LESSONS = 5
"""From fewer lessons a variance says nothing, so confidence is 0."""


def position_after(position_sign: int, action: int, lowest: int) -> int:
    """Return the position (1, 0, -1) that an action leads to; ``lowest`` is -1 where shorts are allowed, else 0."""
    if action == 1:
        return position_sign + 1 if position_sign < 1 else 1
    if action == 2:
        return position_sign - 1 if position_sign > lowest else position_sign
    return position_sign


def best_action(values: tuple[float, float, float]) -> int:
    """Return the action of the highest value, of equals the first: HOLD. Compiles under numba."""
    best = 0
    for action in range(1, 3):
        if values[action] > values[best]:
            best = action
    return best


def rival_action(values: tuple[float, float, float], best: int, position_sign: int, lowest: int) -> int:
    """Return the best action that leads to another position than ``best`` does; ``best`` where there is none.

    Compiles under numba.
    """
    after, rival = position_after(position_sign, best, lowest), best
    for action in range(3):
        if position_after(position_sign, action, lowest) == after:
            continue
        if rival == best or values[action] > values[rival]:
            rival = action
    return rival


def tried_action(best: int, position_sign: int, lowest: int, bit: int) -> int:
    """Return the action that is tried instead of ``best``; ``bit`` (0 or 1) chooses where there are two.

    Compiles under numba.
    """
    after, first, second = position_after(position_sign, best, lowest), -1, -1
    for action in range(3):
        if position_after(position_sign, action, lowest) != after:
            if first < 0:
                first = action
            else:
                second = action
    return second if bit == 1 and second >= 0 else first


def confidence_of(
    values: tuple[float, float, float],
    squares: tuple[float, float, float],
    best: int,
    rival: int,
    lessons: int,
    learning_rate: float,
) -> float:
    """Return the confidence in ``best`` against ``rival`` (its meaning: ``QLearningAgent.recommend``).

    Compiles under numba.
    """
    if lessons < LEAST_LESSONS or best == rival:
        return 0.0
    gap = values[best] - values[rival]
    weight = min(float(lessons), 2.0 / learning_rate - 1.0)  # lessons that a forgetting mean still holds
    scatter = squares[best] - values[best] * values[best] + squares[rival] - values[rival] * values[rival]
    if gap <= 0.0 or scatter <= 0.0:
        return 1.0 if gap > 0.0 else 0.0
    return math.erf(gap / math.sqrt(2.0 * scatter / (weight - 1.0)))


def learn_one(
    state: int,
    price_return: float,
    next_state: int,
    value: Array,
    mean_square: Array,
    visits: Array,
    learning_rate: float,
    discount: float,
    cost: float,
    lowest: int,
) -> None:
    """Teach the tables one passage from ``state`` to ``next_state``. Compiles under numba.

    The market does not care what we hold, so one passage teaches every position and every action: reward is the
    position taken times the price's return, less the cost of changing to it, plus the discounted best of what can
    follow. The step is one over the number of lessons until it has come down to ``learning_rate``: a plain mean
    at first, then one that forgets.
    """
    visits[state] += 1
    step = max(1.0 / visits[state], learning_rate)
    follows = (best_value(value, next_state, 0), best_value(value, next_state, 1), best_value(value, next_state, 2))
    for position in range(lowest, 2):
        row = position + 1
        for action in range(3):
            after = position_after(position, action, lowest)
            target = after * price_return - cost * abs(after - position) + discount * follows[after + 1]
            value[state, row, action] += step * (target - value[state, row, action])
            mean_square[state, row, action] += step * (target * target - mean_square[state, row, action])


def best_value(value: Array, state: int, row: int) -> float:
    """Return the highest value in a row of the table. Compiles under numba."""
    best = value[state, row, 0]
    for action in range(1, 3):
        best = max(best, value[state, row, action])
    return float(best)


def learn_pass(
    states: Array,
    returns: Array,
    value: Array,
    mean_square: Array,
    visits: Array,
    learning_rate: float,
    discount: float,
    cost: float,
    lowest: int,
) -> int:
    """Teach the tables a whole series, last passage first so that what follows is known; return the lessons.

    ``returns[t]`` is the price's return from ``states[t]`` to ``states[t + 1]``; states of -1 are passed over.
    Compiles under numba.
    """
    lessons = 0
    for t in range(len(states) - 2, -1, -1):
        if states[t] < 0 or states[t + 1] < 0:
            continue
        learn_one(
            states[t], returns[t], states[t + 1], value, mean_square, visits, learning_rate, discount, cost, lowest
        )
        lessons += 1
    return lessons


def exploration_base(seed: int) -> int:
    """Return what ``exploration_chance`` adds to each instant, 64 bits."""
    return (seed + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF


def exploration_chance(seed: int, instant_ms: int) -> int:
    """Return 64 well-mixed bits of the two numbers (the finaliser of splitmix64, a permutation)."""
    bits = (exploration_base(seed) + instant_ms) & 0xFFFFFFFFFFFFFFFF
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return bits ^ (bits >> 31)
