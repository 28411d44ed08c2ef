"""Indicators, votes and agent states of many candles at once, by the live functions compiled."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.market_data.columns import Candles
from src.strategy.indicators import EMPTY, Indicators, IndicatorState, step
from src.strategy.q_state import encode
from src.strategy.q_table import exploration_base
from src.strategy.signals import signal_code
from src.strategy.votes import VOTE_NAMES, VoteValues, vote_values, votes_mask

Array = NDArray[Any]
WIDTH = len(Indicators._fields)
BLOCK = 8_192
_ALL_VOTES = votes_mask(VOTE_NAMES)


class Perceived(NamedTuple):
    """What the trader perceives after each candle; ``state`` is -1, side and strength 0, while not ready.

    ``volatility`` is ATR as a share of the close.
    """

    side: Array
    strength: Array
    state: Array
    volatility: Array


def fold_block(
    state: IndicatorState,
    high: Array,
    low: Array,
    close: Array,
    volume: Array,
    regime: Array,
    values: Array,
    side: Array,
    strength: Array,
    code: Array,
    volatility: Array,
    counted: VoteValues,
) -> IndicatorState:
    """Take in the candles, fill the last five arrays, and return the state after them. Compiles under numba.

    ``counted`` is the mask of the votes that count for side and strength.
    """
    for row in range(len(close)):
        state, indicators = step(state, high[row], low[row], close[row], volume[row])
        for place in range(20):
            values[row, place] = indicators[place]
        votes = vote_values(indicators)
        code[row] = encode(indicators, votes, regime[row])
        volatility[row] = indicators.atr / indicators.close
        side[row], strength[row] = signal_code(votes, counted)
        if code[row] < 0:
            side[row], strength[row] = 0, 0
    return state


class Pipeline:
    """Perceives the candles of a table in their order, a block at a time.

    The compact figures of all candles stay; the twenty indicators themselves are kept for the last block only.
    """

    def __init__(
        self, candles: Candles, regime: Array, fold: Any = fold_block, counted: VoteValues = _ALL_VOTES
    ) -> None:
        """Make ready.

        Args:
            candles: what is perceived, a block at a time.
            regime: ``context_code`` at the turn after each candle.
            fold: ``fold_block``, maybe compiled.
            counted: mask of the votes that count.
        """
        count = len(candles)
        self._candles = candles
        self._regime = regime
        self._fold = fold
        self._counted = counted
        self._state = EMPTY
        self._values = np.empty((BLOCK, WIDTH))
        self._first = 0
        self.beyond = 0
        self.seen = Perceived(
            np.zeros(count, np.int8), np.zeros(count, np.int8), np.full(count, -1, np.int64), np.empty(count)
        )

    def reach(self, row: int) -> int:
        """Perceive as far as ``row`` at least; return the first row that is not perceived yet."""
        while self.beyond <= row:
            self._next_block()
        return self.beyond

    def indicators(self, row: int) -> Indicators | None:
        """Return the indicators after a candle of the last block; None while not ready."""
        if self.seen.state[row] < 0:
            return None
        return Indicators(*self._values[row - self._first].tolist())

    def _next_block(self) -> None:
        first, beyond = self.beyond, min(self.beyond + BLOCK, len(self._candles))
        part, seen = self._candles.cut(first, beyond), self.seen
        self._state = self._fold(
            self._state, part.high, part.low, part.close, part.volume, self._regime[first:beyond], self._values,
            seen.side[first:beyond], seen.strength[first:beyond], seen.state[first:beyond],
            seen.volatility[first:beyond], self._counted,
        )  # fmt: skip
        self._first, self.beyond = first, beyond


def exploration_tries(seed: int, rate: float, open_ms: Array) -> Array:
    """Return per candle -1, or the bit by which the agent chooses what it tries at that instant.

    The same figures as ``exploration_chance`` for each candle, for many at once.
    """
    if rate <= 0.0:
        return np.full(len(open_ms), -1, np.int8)
    bits = open_ms.astype(np.uint64)
    bits += np.uint64(exploration_base(seed))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits ^= bits >> np.uint64(shift)
        bits *= np.uint64(factor)
    bits ^= bits >> np.uint64(31)
    tries = (bits >> np.uint64(11)).astype(np.float64) / 9007199254740992.0 < rate
    return np.where(tries, (bits & np.uint64(1)).astype(np.int8), np.int8(-1))
