"""Performance metrics of trades and of daily equity.

Money stays ``Decimal``. Figures of trades are made from sums that can be added, so that a million trades are
counted once and not at every look. Ratios come from daily equity, never from single trades (a trade has no length
in time); they are unknown below 30 days, and never stand without their interval.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:  # numpy is loaded where arrays are asked for: pages need a year of days, and 12 MB less
    import numpy as np
    import numpy.typing as npt

    Series: TypeAlias = npt.NDArray[np.float64]

DAYS_A_YEAR = 365  # the market never closes
LEAST_DAYS = 30
_NORMAL_95 = 1.959963984540054


class TradeResult(NamedTuple):
    """What one trade brought; trades with the same ``entry`` are parts of one round trip."""

    entry: str
    pnl: Decimal
    fees: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class TradeSums:
    """Sums over closed round trips; ``won`` and ``lost`` are the net gains and losses (``lost`` is 0 or below)."""

    trades: int = 0
    wins: int = 0
    losses: int = 0
    won: Decimal = Decimal(0)
    lost: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)

    def __add__(self, other: "TradeSums") -> "TradeSums":
        names = [each.name for each in fields(self)]
        return TradeSums(*(getattr(self, name) + getattr(other, name) for name in names))


@dataclass(frozen=True, slots=True)
class TradeFigures:
    """Figures a person judges by; what has no meaning yet is ``None``, never 0 or infinity.

    ``win_rate`` is a share of all trades; ``profit_factor`` the gains over the losses, None without a loss;
    averages and ``expectancy`` (mean result of a trade) are net, in quote currency.
    """

    trades: int
    wins: int
    losses: int
    net_pnl: Decimal
    fees: Decimal
    funding: Decimal
    win_rate: float | None
    profit_factor: float | None
    average_win: Decimal | None
    average_loss: Decimal | None
    expectancy: Decimal | None


@dataclass(frozen=True, slots=True)
class Ratio:
    """A yearly ratio with what it rests on: ``n`` daily returns and its 95 % interval; ``reason`` where unknown."""

    value: float | None
    n: int
    ci95: tuple[float, float] | None = None
    reason: str = ""
    basis: str = "daily_equity"
    annualisation: int = DAYS_A_YEAR

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as they go into an answer."""
        return asdict(self)


class Drawdown(NamedTuple):
    """Shares below the highest equity until then: the worst ever, and the last."""

    worst_share: float
    present_share: float


def sum_trades(results: Iterable[TradeResult]) -> "TradeSums":
    """Return the sums over round trips; parts of one (same ``entry``) count as one trade."""
    trips: dict[str, Decimal] = {}
    fees = funding = Decimal(0)
    for result in results:
        trips[result.entry] = trips.get(result.entry, Decimal(0)) + result.pnl
        fees += result.fees
        funding += result.funding
    gains = [pnl for pnl in trips.values() if pnl > 0]
    losses = [pnl for pnl in trips.values() if pnl < 0]
    won, lost = sum(gains, Decimal(0)), sum(losses, Decimal(0))
    return TradeSums(len(trips), len(gains), len(losses), won, lost, fees, funding)


def trade_figures(sums: TradeSums) -> TradeFigures:
    """Return the figures of trades; money rounded to 8 decimals where a division made it endless."""
    net = sums.won + sums.lost
    return TradeFigures(
        trades=sums.trades,
        wins=sums.wins,
        losses=sums.losses,
        net_pnl=net,
        fees=sums.fees,
        funding=sums.funding,
        win_rate=sums.wins / sums.trades if sums.trades else None,
        profit_factor=float(sums.won / -sums.lost) if sums.lost else None,
        average_win=_share_of(sums.won, sums.wins),
        average_loss=_share_of(sums.lost, sums.losses),
        expectancy=_share_of(net, sums.trades),
    )


def _share_of(total: Decimal, count: int) -> Decimal | None:
    return round(total / count, 8) if count else None


def daily_returns(equity: "Sequence[float] | Series", transfers: "Sequence[float] | Series | None" = None) -> "Series":
    """Return the daily returns as shares, one fewer than there are days.

    Args:
        equity: at the end of each day, in order, without a missing day; above 0.
        transfers: money paid in (above 0) or out on each day: no profit, so it is taken off. None is none.

    Raises:
        ValueError: an equity is not above 0, or the lengths differ.
    """
    import numpy as np

    return np.array(returns_of(equity, transfers), dtype=np.float64)


def returns_of(equity: "Sequence[float] | Series", transfers: "Sequence[float] | Series | None" = None) -> list[float]:
    """Return the same as ``daily_returns`` in a plain list."""
    ends = [float(each) for each in equity]
    moved = [0.0] * len(ends) if transfers is None else [float(each) for each in transfers]
    if len(ends) != len(moved) or not all(each > 0 for each in ends):
        raise ValueError("need an equity above 0, and one transfer, for each day")
    return [(ends[day] - moved[day]) / ends[day - 1] - 1.0 for day in range(1, len(ends))]


def drawdown(equity: "Sequence[float] | Series") -> Drawdown:
    """Return how far equity (any points in order, above 0) stood below its highest until then; 0 for no points."""
    import numpy as np

    points = np.asarray(equity, dtype=np.float64)
    if points.size == 0:
        return Drawdown(0.0, 0.0)
    below = 1.0 - points / np.maximum.accumulate(points)
    return Drawdown(float(below.max()), float(below[-1]))


def sharpe(returns: "Sequence[float] | Series") -> Ratio:
    """Return the yearly Sharpe ratio of daily returns, over a risk-free rate of 0.

    The interval is that of the delta method without assuming normal returns; it assumes independent days.

    Source:
        A. W. Lo, *The Statistics of Sharpe Ratios*, 2002; E. Mertens, *Comments on Variance of the IID
        estimator*, 2002.
    """
    days = [float(each) for each in returns]
    if len(days) < LEAST_DAYS:
        return _too_few(len(days))
    mean, deviation = _mean(days), _deviation(days)
    if _is_flat(days, deviation):
        return Ratio(None, len(days), reason="the equity did not move")
    bent = mean / (2.0 * deviation**3)
    influence = [(each - mean) / deviation - bent * ((each - mean) ** 2 - deviation**2) for each in days]
    return _yearly(mean / deviation, influence)


def sortino(returns: "Sequence[float] | Series") -> Ratio:
    """Return the yearly Sortino ratio of daily returns: over the root mean square of the losses, target 0.

    The interval is that of the delta method; it assumes independent days. Unknown without a losing day.

    Source:
        F. A. Sortino, L. N. Price, *Performance Measurement in a Downside Risk Framework*, 1994.
    """
    days = [float(each) for each in returns]
    if len(days) < LEAST_DAYS:
        return _too_few(len(days))
    squares = [min(each, 0.0) ** 2 for each in days]
    mean, downside = _mean(days), math.sqrt(_mean(squares))
    if _is_flat(days, downside):
        return Ratio(None, len(days), reason="no day lost")
    bent = mean / (2.0 * downside**3)
    pairs = zip(days, squares, strict=True)
    influence = [(each - mean) / downside - bent * (square - downside**2) for each, square in pairs]
    return _yearly(mean / downside, influence)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of a sample."""
    mean = _mean(values)
    return math.sqrt(math.fsum((each - mean) ** 2 for each in values) / (len(values) - 1))


def _too_few(days: int) -> Ratio:
    return Ratio(None, days, reason=f"{days} of at least {LEAST_DAYS} daily returns")


def _is_flat(days: Sequence[float], deviation: float) -> bool:
    """Whether the deviation is nothing but rounding."""
    return deviation <= 1e-12 * max(1e-300, *map(abs, days))


def _yearly(daily: float, influence: Sequence[float]) -> Ratio:
    year = math.sqrt(DAYS_A_YEAR)
    reach = _NORMAL_95 * _deviation(influence) / math.sqrt(len(influence)) * year
    return Ratio(daily * year, len(influence), (daily * year - reach, daily * year + reach))
