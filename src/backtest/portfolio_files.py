"""Reads the past of several pairs, from files of any stored interval or from the store."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.domain.errors import DataRefused
from src.domain.market import INTERVAL_MS
from src.market_data.coarse import minutes_from
from src.market_data.columns import Candles
from src.market_data.files import interval_name, read_funding, read_in_order, symbol_of
from src.market_data.store import MarketStore


def lean_minutes(paths: Sequence[Path], longest: str = "1d") -> Candles:
    """Return one-minute candles made of files of any interval, without the columns that no backtest reads.

    Args:
        paths: files of one pair.
        longest: the longest candles that may be used: within one, prices are made up, and rules that decide on
            shorter ones would foretell them.

    Raises:
        DataRefused: a file is missing, damaged or of too long candles, or two files hold the same stretch.
    """
    parts = read_in_order(paths)
    for each in parts:
        if each.file.interval_ms > INTERVAL_MS[longest]:
            known = interval_name(each.file.interval_ms)
            raise DataRefused(
                f"The strategy decides on {longest} candles and {each.file.name} holds {known} ones, "
                f"within which prices are made up and can be foretold: give candles of {longest} or shorter."
            )
    return Candles.joined([lean(minutes_from(lean(each.candles), each.file.interval_ms)) for each in parts])


def lean(candles: Candles) -> Candles:
    """Return the candles with trades, taker and quote volume as zeros that take no memory."""
    zeros, none = np.broadcast_to(np.zeros(1), len(candles)), np.broadcast_to(np.zeros(1, np.int64), len(candles))
    c = candles
    return Candles(c.open_ms, c.open, c.high, c.low, c.close, c.volume, none, zeros, zeros)


def by_pair(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the files of each pair, told by their names' beginnings."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(symbol_of(path), []).append(path)
    return found


def funding_by_pair(paths: Sequence[Path]) -> dict[str, dict[int, float]]:
    """Return the funding rates of files by pair and settlement instant."""
    rates: dict[str, dict[int, float]] = {}
    for path in paths:
        rates.setdefault(symbol_of(path), {}).update(read_funding(path).by_instant)
    return rates


def stored_minutes(store: MarketStore, pair: str) -> Candles:
    """Return a pair's candles in the store as minutes, from its shortest stored interval.

    Raises:
        DataRefused: the store holds none of the pair.
    """
    for interval, length in INTERVAL_MS.items():
        if store.candle_path(pair, interval).is_file():
            return lean(minutes_from(lean(store.candles(pair, interval)), length))
    raise DataRefused(
        f"The store has no candles of {pair}; python3 -m src.market_data download {pair} 1h --from YYYY-MM fetches "
        "them, or give files with --candles."
    )
