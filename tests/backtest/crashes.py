"""Markets that jump by 6, 10 or 20 % between two minutes, and markets with missing minutes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from src.market_data.columns import Candles

GAPS = (-0.06, 0.06, -0.10, 0.10, -0.20, 0.20)
PRICES = ("open", "high", "low", "close")


def with_gaps(candles: Candles, gaps: Mapping[int, float]) -> Candles:
    """Return the candles with all prices from each row of ``gaps`` on moved by that share, on a tick of 0.1."""
    factor = np.ones(len(candles))
    for row, share in gaps.items():
        factor[row:] *= 1.0 + share
    return replace(candles, **{name: np.round(getattr(candles, name) * factor, 1) for name in PRICES})


def every_gap(first: int, beyond: int, apart: int) -> dict[int, float]:
    """Return gaps of every size, down and up in turn, ``apart`` rows from one another."""
    return {row: GAPS[number % len(GAPS)] for number, row in enumerate(range(first, beyond, apart))}


def without_minutes(candles: Candles, *spans: range) -> Candles:
    """Return the candles without the rows of the spans: the exchange was away, or the record has a hole."""
    keep = np.ones(len(candles), bool)
    for span in spans:
        keep[span.start : span.stop] = False
    return Candles(*(column[keep] for column in (getattr(candles, name) for name in candles.__slots__)))


def write_record(candles: Candles, path: Path) -> Path:
    """Write the candles as an archive file of the exchange and return its path."""
    lines = [
        f"{row.open_ms},{row.open},{row.high},{row.low},{row.close},{row.volume},{row.open_ms + 59_999},"
        f"{row.quote_volume},{row.trades},{row.taker_buy_volume},0,0"
        for row in (candles.candle(place) for place in range(len(candles)))
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
