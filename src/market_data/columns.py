"""Past candles of one contract as columns of numbers, and single candles made from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from src.domain.market import Candle

Floats = NDArray[np.float64]
Stamps = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Candles:
    """Closed candles, oldest first, as columns of equal length (72 bytes a candle); see ``Candle`` for the units.

    ``open_ms`` is strictly increasing; gaps of the market have no rows.
    """

    open_ms: Stamps
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    trades: Stamps
    taker_buy_volume: Floats
    quote_volume: Floats

    @classmethod
    def of(cls, candles: Iterable[Candle]) -> "Candles":
        """Return the columns of single candles."""
        rows = list(candles)
        columns: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * len(COLUMNS)
        return cls(**{name: _column(name, column) for name, column in zip(COLUMNS, columns, strict=True)})

    @classmethod
    def joined(cls, parts: Sequence["Candles"]) -> "Candles":
        """Return parts that follow one another in time as one."""
        if len(parts) == 1:
            return parts[0]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS})

    def __len__(self) -> int:
        return len(self.open_ms)

    def candle(self, place: int) -> Candle:
        """Return one row as a candle."""
        return Candle(
            self.open_ms.item(place), self.open.item(place), self.high.item(place), self.low.item(place),
            self.close.item(place), self.volume.item(place), self.trades.item(place),
            self.taker_buy_volume.item(place), self.quote_volume.item(place),
        )  # fmt: skip

    def cut(self, first: int, beyond: int) -> "Candles":
        """Return the rows ``first..beyond-1``; the columns are views."""
        return Candles(*(getattr(self, name)[first:beyond] for name in COLUMNS))

    def between(self, from_ms: int, to_ms: int) -> "Candles":
        """Return the candles with ``from_ms <= open_ms < to_ms``."""
        first, beyond = np.searchsorted(self.open_ms, (from_ms, max(from_ms, to_ms)))
        return self.cut(int(first), int(beyond))

    def place(self, open_ms: int) -> int | None:
        """Return the row of the candle that begins at ``open_ms``, None in a gap."""
        at = int(np.searchsorted(self.open_ms, open_ms))
        return at if at < len(self.open_ms) and self.open_ms[at] == open_ms else None


COLUMNS = tuple(each.name for each in fields(Candles))
_WHOLE = ("open_ms", "trades")


def _column(name: str, values: Sequence[float]) -> NDArray[Any]:
    return np.array(values, dtype=np.int64 if name in _WHOLE else np.float64)


class CandleView(Sequence[Candle]):
    """The rows ``first..beyond-1`` as a sequence of candles that are created on access."""

    def __init__(self, columns: Candles, first: int, beyond: int) -> None:
        self._columns = columns
        self._first = first
        self._beyond = max(first, beyond)

    def __len__(self) -> int:
        return self._beyond - self._first

    @overload
    def __getitem__(self, place: int) -> Candle: ...

    @overload
    def __getitem__(self, place: slice) -> "CandleView": ...

    def __getitem__(self, place: int | slice) -> "Candle | CandleView":
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            if step != 1:
                raise ValueError("candles are taken in their order")
            return CandleView(self._columns, self._first + start, self._first + stop)
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return self._columns.candle((self._beyond if place < 0 else self._first) + place)
