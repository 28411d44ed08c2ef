"""Past markets of several pairs for the tests of portfolio backtests: made ones, and the recorded ones."""

import numpy as np
import pandas as pd

from src.backtest.portfolio_files import lean_minutes
from src.market_data.columns import Candles
from src.market_data.files import read_funding
from tests.real_closes import FILES
from tests.shared_data import shared_file

START_MS = 1_672_531_200_000  # 2023-01-01
DAY = 1_440
PRICES = {"BTCUSDT": 30_000.0, "ETHUSDT": 2_000.0, "SOLUSDT": 100.0}


def made_minutes(days: int, seed: int = 3, crash_minute: int | None = None, crash: float = 0.85) -> dict[str, Candles]:
    """Return minutes of three pairs that move together and mostly rise; one falls to ``crash`` within ten minutes."""
    dice = np.random.default_rng(seed)
    count = days * DAY
    common = dice.normal(0.00001, 0.0005, count)
    made = {}
    for number, (symbol, price) in enumerate(PRICES.items()):
        steps = common + dice.normal(0.000005, 0.0005, count)
        if crash_minute is not None and number < 2:
            steps[crash_minute : crash_minute + 10] += np.log(crash) / 10
        made[symbol] = _candles(price * np.exp(np.cumsum(steps)), dice, price)
    return made


def _candles(close: np.ndarray, dice: np.random.Generator, price: float) -> Candles:
    tick = 1 if price > 10_000 else 2
    close = np.round(close, tick)
    opened = np.concatenate((close[:1], close[:-1]))
    reach = np.abs(dice.normal(0.0, 0.0002, (2, len(close))))
    high = np.round(np.maximum(opened, close) * (1 + reach[0]), tick)
    low = np.round(np.minimum(opened, close) * (1 - reach[1]), tick)
    zeros = np.zeros(len(close))
    times = START_MS + 60_000 * np.arange(len(close))
    volume = np.full(len(close), 3e6 / price)
    return Candles(times, opened, high, low, close, volume, zeros.astype(np.int64), zeros, zeros)


def real_minutes(from_ms: int, to_ms: int) -> dict[str, Candles]:
    """Return minutes of the six recorded pairs, walked through longer candles."""
    return {pair: lean_minutes([shared_file(name)]).between(from_ms, to_ms) for pair, name in FILES.items()}


def real_funding() -> dict[str, dict[int, float]]:
    """Return the recorded funding rates by pair and settlement instant."""
    return {pair: read_funding(shared_file(f"{pair}_um_funding_to2024H1.parquet")).by_instant for pair in FILES}


def instant(day: str) -> int:
    """Return the first instant of a day, UTC milliseconds."""
    return int(pd.Timestamp(day, tz="UTC").timestamp()) * 1_000
