"""Checks of recorded candle and rate tables, and the messages for what is wrong with one.

A table is taken whole or refused in one sentence, and nothing is mended.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from src.domain.candle_columns import OPTIONAL, PRICES
from src.domain.candle_instants import counted
from src.domain.clock import utc_text
from src.domain.errors import DataRefused
from src.domain.market import INTERVAL_MS

Floats = NDArray[np.float64]
Stamps = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]

_MINUTE_MS: Final = 60_000
_NEARLY_ALL: Final = 0.9
_FEWEST_STEPS: Final = 3


def finite(name: str, column: str, values: Collection[Any] | NDArray[Any]) -> Floats:
    """Return a column as finite float64; raises ``DataRefused`` for anything else."""
    try:
        numbers = np.asarray(values).astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise DataRefused(f"{name}: column {column} holds what is no number.") from error
    if not np.isfinite(numbers).all():
        raise DataRefused(f"{name}: column {column} has a value that is missing or no number.")
    return numbers


def refuse_bad_order(name: str, times: Stamps) -> None:
    """Raise ``DataRefused`` unless instants rise."""
    steps = np.diff(times)
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 1
        fault = "stands twice" if steps[row - 1] == 0 else "is out of order"
        raise DataRefused(f"{name}: the row of {utc_text(int(times[row]))} {fault}.")


def refuse_impossible(name: str, open_ms: Stamps, columns: Mapping[str, NDArray[Any]]) -> None:
    """Raise ``DataRefused`` for candles that cannot be: order, prices, negative amounts."""
    refuse_bad_order(name, open_ms)
    opened, high, low, close = (columns[each] for each in PRICES)
    bad = (low <= 0) | (high < np.maximum(opened, close)) | (low > np.minimum(opened, close))
    for each in ("volume", *OPTIONAL):
        bad |= columns[each] < 0 if each in columns else False
    if bad.any():
        where = utc_text(int(open_ms[np.argmax(bad)]))
        raise DataRefused(f"{name}: the candle of {where} is impossible (high, low, or a negative amount).")


def length_of(name: str, open_ms: Stamps, said_ms: int = 0) -> int:
    """Return the length of candles: as it is said elsewhere (name, ``--interval``, closing instants), else their step.

    Candles that are missing are gaps and do not make the others longer.

    Raises:
        DataRefused: one candle of which nobody says the length, steps of no known interval, or off the clock.
    """
    steps = np.diff(open_ms)
    if not said_ms and not len(steps):
        raise DataRefused(
            f"{name}: one candle alone does not tell how long it is; say it in the name (-1d-) or with --interval."
        )
    regular = _regular_step(steps)
    if said_ms and regular not in (0, said_ms):
        raise DataRefused(
            f"{name} is said to hold {interval_name(said_ms)} candles, and its rows are "
            f"{regular / _MINUTE_MS:g} minutes apart."
        )
    common = said_ms or regular or int(np.gcd.reduce(steps))
    if common not in INTERVAL_MS.values():
        raise DataRefused(f"{name}: the step is {common / _MINUTE_MS:g} minutes, which is no known interval.")
    if (open_ms % common).any():
        where, length = utc_text(int(open_ms[np.argmax(open_ms % common != 0)])), interval_name(common)
        raise DataRefused(f"{name}: that of {where} does not begin on a full {length}, as all must.")
    return common


def _regular_step(steps: Stamps) -> int:
    """Return the step of nearly all candles; 0 where many are missing, or where there are too few to tell."""
    if len(steps) < _FEWEST_STEPS:
        return 0
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()]) if counts.max() >= _NEARLY_ALL * len(steps) else 0


def interval_name(length_ms: int) -> str:
    """Return how the exchange calls candles of a known length: ``15m`` for 900,000 ms."""
    return next(name for name, length in INTERVAL_MS.items() if length == length_ms)


def funding_of(name: str, columns: Mapping[str, NDArray[Any]]) -> tuple[Stamps, Floats]:
    """Return settlements and their rates as shares; instants are rounded to the minute (recorded ones are ms late).

    Raises:
        DataRefused: instants that do not rise, or rates that are none.
    """
    times = counted(name, columns["funding_time"])
    rates = finite(name, "funding_rate", columns["funding_rate"])
    times = (times + _MINUTE_MS // 2) // _MINUTE_MS * _MINUTE_MS
    refuse_bad_order(name, times)
    if (np.abs(rates) > 0.1).any():
        raise DataRefused(f"{name}: a funding rate beyond 10 % cannot be; is it in percent?")
    return times, rates


def first_sentence(error: Exception) -> str:
    """Return the first line of what a library says, without its full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
