"""The trend portfolio worked out a second time, with pandas, from its description alone: the tests' oracle.

Nothing of ``src`` is imported. Every figure is a column over all candles, not a state that is carried on.
"""

import numpy as np
import pandas as pd

SPANS = (5, 10, 20, 40, 80)
A_DAY = 3
YEAR = 365


def channel_states(close: pd.Series, days: int) -> pd.Series:
    """+1 from an n-day closing high on, -1 from a low on, 0 once the close crosses the ratcheting middle."""
    steps = days * A_DAY
    high, low = close.rolling(steps).max(), close.rolling(steps).min()
    middle = (high + low) / 2
    states, state, level = [], 0, np.nan
    for price, top, bottom, mid in zip(close, high, low, middle, strict=True):
        if np.isnan(top):
            states.append(0)
            continue
        ratcheted = {1: np.fmax, -1: np.fmin, 0: lambda _level, fresh: fresh}[state](level, mid)
        if price == top:
            state, level = 1, ratcheted if state == 1 else mid
        elif price == bottom:
            state, level = -1, ratcheted if state == -1 else mid
        elif (state == 1 and price < ratcheted) or (state == -1 and price > ratcheted):
            state, level = 0, np.nan
        else:
            level = ratcheted
        states.append(state)
    return pd.Series(states, close.index, dtype=float)


def signals(close: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return the signal and the yearly volatility after each close of one pair."""
    log = np.log(close)
    square = log.diff() ** 2
    volatility = np.sqrt(square.ewm(halflife=20 * A_DAY).mean() * A_DAY * YEAR).clip(lower=0.15)
    daily = volatility / np.sqrt(YEAR)
    channel = sum(channel_states(close, days) for days in SPANS) / len(SPANS)
    momentum = sum(
        np.tanh(
            1.5
            * (log.ewm(halflife=0.35 * days * A_DAY).mean() - log.ewm(halflife=1.4 * days * A_DAY).mean())
            / (daily * np.sqrt(days))
        )
        for days in SPANS
    ) / len(SPANS)
    signal = (0.5 * channel + 0.5 * momentum).clip(lower=0.0)
    signal[np.arange(len(signal)) < 80 * A_DAY - 1] = np.nan
    return signal, volatility


def weights(closes: pd.DataFrame, target: float = 0.08) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the weight and the band of each pair after each 8-hour close; NaN before 80 days of its history."""
    parts = {pair: signals(closes[pair].dropna()) for pair in closes}
    signal = pd.DataFrame({pair: part[0] for pair, part in parts.items()}).reindex(closes.index)
    volatility = pd.DataFrame({pair: part[1] for pair, part in parts.items()}).reindex(closes.index)
    scaled = (np.log(closes).diff() / (volatility / np.sqrt(A_DAY * YEAR))).clip(-5, 5)
    ready = signal.notna()
    count = ready.sum(axis=1)
    total = pd.Series(0.0, closes.index)
    for first in closes:
        for second in closes:
            joint = smooth(scaled[first] * scaled[second])
            correlation = joint / np.sqrt(smooth(scaled[first] ** 2) * smooth(scaled[second] ** 2))
            total += correlation.where(ready[first] & ready[second], 0.0)
    mean = total / count**2
    unit = (target / (np.sqrt(mean) * count)).to_numpy()[:, None] / volatility
    weight = (2.7 * signal * unit).clip(upper=0.6)
    weight = weight.div(weight.sum(axis=1).clip(lower=1.0), axis=0)
    return weight, (0.25 * 2.7 * unit).where(ready)


def smooth(column: pd.Series) -> pd.Series:
    """Return the exponentially weighted mean with a half-life of 60 days."""
    return column.ewm(halflife=60 * A_DAY).mean()


def trades(
    closes: pd.DataFrame, opens: pd.DataFrame, funding: pd.DataFrame, steps: dict[str, float], least: dict[str, float]
) -> pd.DataFrame:
    """Return the trades that the weights lead to: instant, pair and signed quantity, each traded at the next open.

    Costs 0.05 % of each trade's value, slippage 0.01 %, funding at its rate, on an account of 10,000.
    """
    weight, band = weights(closes)
    cash, held, rows = 10_000.0, dict.fromkeys(closes, 0.0), []
    for at in closes.index:
        price = closes.loc[at].fillna(0.0)
        cash -= sum(held[pair] * price[pair] * funding.loc[at, pair] for pair in closes)
        equity = cash + sum(held[pair] * price[pair] for pair in closes)
        for pair in closes:
            wanted, share = weight.loc[at, pair], held[pair] * price[pair] / equity
            if np.isnan(wanted) or not (abs(wanted - share) > band.loc[at, pair] or (wanted == 0 and held[pair])):
                continue
            change = round(np.floor(equity * wanted / price[pair] / steps[pair]) * steps[pair] - held[pair], 8)
            if change == 0 or (change > 0 and change * price[pair] < least[pair]):
                continue
            paid = opens.loc[at, pair] * (1 + np.sign(change) * 0.0001)
            cash -= change * paid + abs(change) * paid * 0.0005
            held[pair] = round(held[pair] + change, 8)
            rows.append((at, pair, change))
    return pd.DataFrame(rows, columns=["closed_candle", "pair", "quantity"])
