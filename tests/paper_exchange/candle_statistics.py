"""The statistics of one-minute candles, by the definitions under which real ones were measured."""

from dataclasses import dataclass

import numpy as np

HOUR, DAY = 60, 1440
LAGS = (1, 5, 15, 60, DAY)

# What ten stretches of Binance BTCUSDT spot, 2021-10 .. 2024-06, showed (sd: from dead calm to a week of crash).
BANDS = {
    "sd 1m bp": (3.5, 17.0),
    "kurtosis 1m": (15.0, 230.0),
    "kurtosis 1h": (5.0, 37.0),
    "kurtosis 1D": (0.0, 4.0),
    "hill left": (2.4, 3.7),
    "hill right": (2.4, 3.7),
    **{f"acf r {lag}": (-0.035, 0.035) for lag in LAGS},
    "acf |r| 1": (0.33, 0.45),
    "acf |r| 5": (0.17, 0.35),
    "acf |r| 15": (0.11, 0.30),
    "acf |r| 60": (0.07, 0.27),
    "acf |r| 1440": (0.03, 0.14),
    "corr |r| volume": (0.41, 0.71),
    "sd log volume": (0.67, 1.31),
    "range / |close - open|": (1.48, 2.17),
    "zero-return minutes %": (0.0, 7.0),
    "day drawdown median %": (1.1, 7.5),
    "day drawdown q99 %": (5.0, 17.0),
    "sd log hourly RV": (0.39, 0.77),
    "acf log hourly RV 1": (0.48, 0.87),
    "acf log hourly RV 24": (0.15, 0.57),
}


@dataclass(frozen=True)
class Minutes:
    """Candles of whole days, one array a field."""

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray

    @property
    def returns(self):
        """Log close to close; the first belongs to the second minute."""
        return np.diff(np.log(self.close))


def excess_kurtosis(x):
    """Return the fourth standardised moment less 3."""
    x = x - x.mean()
    return float((x**4).mean() / (x**2).mean() ** 2 - 3.0)


def held(returns, minutes):
    """Return the moves over spans of ``minutes`` that end with the clock's hours or days."""
    aligned = returns[minutes - 1 :]
    whole = len(aligned) // minutes * minutes
    return aligned[:whole].reshape(-1, minutes).sum(axis=1)


def acf(x, lag):
    """Return the autocorrelation at ``lag``."""
    x = x - x.mean()
    return float((x[:-lag] * x[lag:]).mean() / (x * x).mean())


def hill(side):
    """Return the tail index from the largest 1 % of one side's moves."""
    ordered = np.sort(side)[::-1]
    k = len(ordered) // 100
    return float(1.0 / np.mean(np.log(ordered[:k] / ordered[k])))


def variance_ratio(returns, minutes):
    """Return the variance of overlapping ``minutes``-long moves against that of single ones."""
    path = np.concatenate([[0.0], np.cumsum(returns)])
    return float((path[minutes:] - path[:-minutes]).var() / minutes / returns.var())


def worst_drawdowns(close):
    """Return each day's largest fall from a high of the day, as a share."""
    days = close[: len(close) // DAY * DAY].reshape(-1, DAY)
    return (1.0 - days / np.maximum.accumulate(days, axis=1)).max(axis=1)


def log_hourly_volatility(returns):
    """Return the log of each hour's realised volatility, hours without a move left out."""
    realised = np.sqrt((returns[: len(returns) // HOUR * HOUR].reshape(-1, HOUR) ** 2).sum(axis=1))
    return np.log(realised[realised > 0])


def local_sigma(returns, memory=60.0):
    """Return for each return the volatility of the hours before it; the first six hours are left out."""
    weights = np.exp(-np.arange(int(6 * memory)) / memory)
    return np.sqrt(np.convolve(returns**2, weights / weights.sum(), "valid")[:-1])


def statistics(minutes):
    """Return every figure that ``BANDS`` bounds, by name."""
    r = minutes.returns
    size, log_rv, falls = np.abs(r), log_hourly_volatility(r), worst_drawdowns(minutes.close)
    body, width = np.abs(np.log(minutes.close / minutes.open)), np.log(minutes.high / minutes.low)
    found = {"sd 1m bp": r.std() * 1e4, "kurtosis 1m": excess_kurtosis(r)}
    found |= {"kurtosis 1h": excess_kurtosis(held(r, HOUR)), "kurtosis 1D": excess_kurtosis(held(r, DAY))}
    found |= {"hill left": hill(-r[r < 0]), "hill right": hill(r[r > 0])}
    found |= {f"acf r {lag}": acf(r, lag) for lag in LAGS}
    found |= {f"acf |r| {lag}": acf(size, lag) for lag in LAGS}
    found |= {"corr |r| volume": np.corrcoef(size, minutes.volume[1:])[0, 1]}
    found |= {"sd log volume": np.log(minutes.volume[minutes.volume > 0]).std()}
    found |= {"range / |close - open|": width.mean() / body.mean(), "zero-return minutes %": (r == 0).mean() * 100}
    found |= {"day drawdown median %": np.median(falls) * 100, "day drawdown q99 %": np.quantile(falls, 0.99) * 100}
    found |= {"sd log hourly RV": log_rv.std()}
    found |= {f"acf log hourly RV {lag}": acf(log_rv, lag) for lag in (1, 24)}
    return {name: float(value) for name, value in found.items()}


def table(columns):
    """Return the figures of several stretches as text, one row a statistic, with its band."""
    lines = [f"{'':24}{'band':>16}" + "".join(f"{name:>12}" for name in columns)]
    for name, (low, high) in BANDS.items():
        figures = "".join(f"{column[name]:12.3f}" for column in columns.values())
        lines.append(f"{name:24}{f'{low:g} .. {high:g}':>16}{figures}")
    return "\n".join(lines)
