"""One-minute candles interpolated from coarser candles where no finer ones exist."""

import numpy as np
from numpy.typing import NDArray

from src.market_data.columns import Candles, Floats


def minutes_from(coarse: Candles, interval_ms: int) -> Candles:
    """Return one-minute candles that pass through open, first extreme, second extreme and close of coarse ones.

    The real path within a coarse candle is unknown; a backtest on these sees its extremes, in the order that the
    candle's direction suggests, without noise. Volume is spread evenly.
    """
    minutes = interval_ms // 60_000
    if minutes == 1:
        return coarse
    corners = _corners(coarse)
    places = np.linspace(0.0, 3.0, minutes + 1)
    whole = np.minimum(places.astype(int), 2)
    path = corners[:, whole] + (corners[:, whole + 1] - corners[:, whole]) * (places - whole)
    opened, close = path[:, :-1].ravel(), path[:, 1:].ravel()
    within = corners[:, 1:3].repeat(minutes, axis=0)
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    inside = _holds_corner(places, minutes)
    for number in (0, 1):  # the extremes themselves, in the minutes in which they lie
        held = np.tile(inside[number], len(coarse))
        high, low = (
            np.where(held, np.maximum(high, within[:, number]), high),
            np.where(held, np.minimum(low, within[:, number]), low),
        )
    times = (coarse.open_ms[:, None] + 60_000 * np.arange(minutes)).ravel()
    parts = [
        (getattr(coarse, name) / minutes).repeat(minutes) for name in ("volume", "taker_buy_volume", "quote_volume")
    ]
    trades = (coarse.trades // minutes).repeat(minutes)
    return Candles(times, opened, high, low, close, parts[0], trades, parts[1], parts[2])


def _corners(coarse: Candles) -> Floats:
    rises = coarse.close >= coarse.open
    first, second = np.where(rises, coarse.low, coarse.high), np.where(rises, coarse.high, coarse.low)
    return np.stack((coarse.open, first, second, coarse.close), axis=1)


def _holds_corner(places: Floats, minutes: int) -> list[NDArray[np.bool_]]:
    return [(places[:-1] <= corner) & (corner < places[1:]) for corner in (1.0, 2.0)]
