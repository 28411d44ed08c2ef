"""Candles for tests: random ones that depend on a seed alone, and real ones where they are at hand."""

import random

from src.domain.market import Candle
from tests.shared_data import shared_file

START_MS = 1_700_000_000_000 // 60_000 * 60_000


def random_candles(count: int, seed: int = 1, price: float = 30_000.0, tick: float = 0.1) -> list[Candle]:
    """Return ``count`` one-minute candles of a random walk with quiet and wild hours, on a grid of ``tick``."""
    chance = random.Random(seed)
    candles = []
    close = price
    scale = 0.0005
    for minute in range(count):
        scale = min(max(scale * chance.uniform(0.93, 1.075), 0.0001), 0.003)
        opened = close
        close = round(opened * (1 + chance.gauss(0, scale)) / tick) * tick
        high = max(opened, close) + round(opened * scale * chance.random() / tick) * tick
        low = min(opened, close) - round(opened * scale * chance.random() / tick) * tick
        volume = round(chance.lognormvariate(3, 0.8), 3)
        candles.append(Candle(START_MS + minute * 60_000, opened, high, low, close, volume))
    return candles


def real_candles(name: str, count: int) -> list[Candle]:
    """Return the first ``count`` candles of a shared parquet file; skips the test where it is missing."""
    import pyarrow.parquet as parquet

    columns = ["open_time", "open", "high", "low", "close", "volume"]
    table = parquet.read_table(shared_file(name), columns=columns).slice(0, count)
    return [Candle(*row) for row in zip(*(table[column].to_pylist() for column in columns), strict=True)]
