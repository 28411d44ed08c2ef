"""Skips turns that can only hold and learn, and stops before the first that might do more.

Whether a turn might act is asked of the live functions themselves, with prices taken a tick too wide either way: the
answer may be a needless stop, never a missed one. What is decided there is decided by the live ``Trader``. Only the
lessons and the slow mean of volatility are taken here, by the live arithmetic, bit for bit.
"""

import math
from typing import Any, NamedTuple

from numpy.typing import NDArray

from src.backtest.mark_prices import LAST, TURN, WINDOW
from src.strategy.q_table import best_action, confidence_of, learn_one, rival_action, tried_action
from src.strategy.rules import Thresholds, entry_code, exit_code, wanted_sign

Array = NDArray[Any]
_ROUNDING = 1e-9
_MINUTE_MS = 60_000


class Block(NamedTuple):
    """Columns of one block of candles and of what is perceived after each; ``tries`` as ``exploration_tries``.

    ``lesson_ms`` and ``lesson_close`` are of the candle that signal and agent look at: the same one, or a longer one
    that is in force for many minutes. ``volatility`` is the minute's.
    """

    open_ms: Array
    open: Array
    high: Array
    low: Array
    close: Array
    side: Array
    strength: Array
    state: Array
    volatility: Array
    tries: Array
    lesson_ms: Array
    lesson_close: Array


class Tables(NamedTuple):
    """The agent: its arrays, which are taught in place, and its figures."""

    value: Array
    mean_square: Array
    visits: Array
    learning_rate: float
    discount: float
    cost: float
    lowest: int
    exploration_confidence: float


class PriceBand(NamedTuple):
    """The position (``sign`` 0: flat) and the band of prices in which neither exchange nor early stop touches it."""

    sign: int
    entry: float
    entry_ms: int
    quantity: float
    wallet: float
    low: float
    high: float
    tick: float


class Bounds(NamedTuple):
    """What else wakes the trader: the day's loss, drawdown and volatility; ``safe`` whether entries could pass.

    ``least_equity`` is where the day's loss reaches its limit; ``inactive`` a breaker that is tripped or off: it looks
    at nothing.
    """

    safe: bool
    inactive: bool
    least_equity: float
    max_drawdown_share: float
    max_volatility_ratio: float


class TurnMemory(NamedTuple):
    """What goes from turn to turn: the last lesson's state, close and candle (-1: none), slow volatility, peak.

    ``usual`` is NaN before the first look.
    """

    state: int
    close: float
    open_ms: int
    usual: float
    peak: float


def pass_turns(
    first: int,
    beyond: int,
    block: Block,
    tables: Tables,
    held: PriceBand,
    bounds: Bounds,
    t: Thresholds,
    memory: TurnMemory,
    lesson_step_ms: int,
    equity: Array,
) -> tuple[int, TurnMemory]:
    """Pass over the turns after the candles ``first..beyond-1`` while they can only hold; the candles are contiguous.

    Returns:
        The first row whose turn must be taken (``beyond`` if none), and the memory after the turns passed; their
        equity is written to ``equity``. The agent's tables have learnt what those turns taught. Compiles.
    """
    for row in range(first, beyond):
        usual = usual_after(block, row, bounds, memory.usual)
        worth, peak = held.wallet, memory.peak
        if held.sign != 0:
            worth += held.quantity * held.sign * (mark_after(block, row) - held.entry)
            peak = max(peak, worth)
        if math.isinf(usual) or touched(block, row, held) or poor(worth, peak, held, bounds):
            return row, memory
        if might_act(block, row, tables, held, bounds.safe, t):
            return row, memory
        equity[row] = worth
        state, close, open_ms = block.state[row], block.lesson_close[row], block.lesson_ms[row]
        if state < 0 or open_ms == memory.open_ms:
            memory = TurnMemory(memory.state, memory.close, memory.open_ms, usual, peak)
            continue
        if open_ms - memory.open_ms == lesson_step_ms:
            learn_one(
                memory.state, close / memory.close - 1.0, state, tables.value, tables.mean_square, tables.visits,
                tables.learning_rate, tables.discount, tables.cost, tables.lowest,
            )  # fmt: skip
        memory = TurnMemory(state, close, open_ms, usual, peak)
    return beyond, memory


def usual_after(block: Block, row: int, bounds: Bounds, usual: float) -> float:
    """Return the slow mean of volatility after a turn, infinity where the breaker would trip."""
    now = block.volatility[row]
    if bounds.inactive or math.isnan(now):
        return usual
    if math.isnan(usual):
        return float(now)
    if usual != 0.0 and not now / usual < bounds.max_volatility_ratio:
        return math.inf
    after: float = usual + (now - usual) / 1_440.0
    return after


def mark_after(block: Block, row: int) -> float:
    """Return the mark price at the end of a candle: the mean of its path over the last half minute."""
    low, high, close = block.low[row], block.high[row], block.close[row]
    rises = close >= block.open[row]
    extreme, second = (low, high) if rises else (high, low)
    area: float = 0.5 * TURN * (extreme + second) + 0.5 * LAST * (second + close) + close
    return area / WINDOW


def touched(block: Block, row: int, held: PriceBand) -> bool:
    """Return whether last or mark price may have left the band during the candle; the mark lags by half a minute."""
    if held.sign == 0:
        return False
    if block.low[row] <= held.low or block.high[row] >= held.high:
        return True
    return row > 0 and (block.low[row - 1] <= held.low or block.high[row - 1] >= held.high)


def poor(worth: float, peak: float, held: PriceBand, bounds: Bounds) -> bool:
    """Return whether the day's loss or the drawdown may have reached its limit."""
    if held.sign == 0:
        return False
    least = worth - held.quantity * held.tick
    drawn = peak - least >= bounds.max_drawdown_share * peak * (1.0 - _ROUNDING)
    return least <= bounds.least_equity or (drawn and not bounds.inactive)


def might_act(block: Block, row: int, tables: Tables, held: PriceBand, safe: bool, t: Thresholds) -> bool:
    """Return whether the verdict of the turn after this candle may be another than HOLD."""
    side, strength = block.side[row], block.strength[row]
    if held.sign == 0:
        if not safe or wanted_sign(side, strength, t) == 0:
            return False
        action, confidence = advice(block, row, tables, 0)
        return entry_code(side, strength, action, confidence + _ROUNDING, True, t) != 0
    action, confidence = advice(block, row, tables, held.sign)
    held_ms = block.open_ms[row] + _MINUTE_MS - held.entry_ms
    mark = mark_after(block, row)
    for price in (mark - held.tick, mark + held.tick):
        move = (price / held.entry - 1.0) * held.sign
        if exit_code(held.sign, move, held_ms, side, strength, action, confidence + _ROUNDING, False, t) != 0:
            return True
    return False


def advice(block: Block, row: int, tables: Tables, position_sign: int) -> tuple[int, float]:
    """Return what the agent recommends: 1 BUY, -1 SELL, 0 HOLD, and its confidence."""
    state = block.state[row]
    if state < 0:
        return 0, 0.0
    best, confidence = judged(tables, state, position_sign)
    if block.tries[row] >= 0:
        best = tried_action(best, position_sign, tables.lowest, block.tries[row])
        confidence = tables.exploration_confidence
    return (1 if best == 1 else -1 if best == 2 else 0), confidence


def judged(tables: Tables, state: int, position_sign: int) -> tuple[int, float]:
    """Return the best action in a state and the confidence in it, as ``QLearningAgent.recommend`` without trying."""
    place = position_sign + 1
    values = (tables.value[state, place, 0], tables.value[state, place, 1], tables.value[state, place, 2])
    squares = (
        tables.mean_square[state, place, 0],
        tables.mean_square[state, place, 1],
        tables.mean_square[state, place, 2],
    )
    best = best_action(values)
    rival = rival_action(values, best, position_sign, tables.lowest)
    return best, confidence_of(values, squares, best, rival, tables.visits[state], tables.learning_rate)
