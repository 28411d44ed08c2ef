"""The trend portfolio: long-only trends of several pairs, sized to one target volatility."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from src.domain.market import INTERVAL_MS
from src.strategy.targets import PortfolioObservation, SpanForecast, Target
from src.strategy.trend_forecast import ForecastRules, PairTrend, Smoothed, kept, signal_of

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class TrendPortfolioRules:
    """The figures of a trend portfolio, as shares (0.08 is 8 %).

    ``target_volatility`` is the yearly one of the whole portfolio were all signals one half; ``gain`` scales signals
    up, since they seldom agree. ``band_share`` is the part of a full position that a holding may be away from its
    target. ``history_days`` must have passed before a pair has a target.
    """

    candle_interval: str = "8h"
    target_volatility: float = 0.08
    gain: float = 2.7
    band_share: float = 0.25
    max_pair_share: float = 0.6
    max_total_share: float = 1.0
    history_days: int = 80
    correlation_half_life_days: float = 60.0
    most_volatilities: float = 5.0
    look_back_days: tuple[int, ...] = (5, 10, 20, 40, 80)
    fast_half_life_share: float = 0.35
    slow_half_life_share: float = 1.4
    momentum_scale: float = 1.5
    volatility_half_life_days: float = 20.0
    least_volatility: float = 0.15

    def __post_init__(self) -> None:
        if self.candle_interval not in INTERVAL_MS or INTERVAL_MS[self.candle_interval] < 3_600_000:
            raise ValueError("candle_interval must be one of 1h, 2h, 4h, 6h, 8h, 12h, 1d")
        if not 0 < self.target_volatility <= 1 or not 0 < self.gain <= 10:
            raise ValueError("need 0 < target_volatility <= 1 and 0 < gain <= 10")
        if not 0 <= self.band_share < 1:
            raise ValueError("band_share must lie in [0, 1)")
        if not 0 < self.max_pair_share <= self.max_total_share <= 3:
            raise ValueError("need 0 < max_pair_share <= max_total_share <= 3")
        if self.history_days < max(self.look_back_days, default=1):
            raise ValueError("history_days must be at least the longest look-back")
        if not (self.correlation_half_life_days > 0 and self.most_volatilities > 0):
            raise ValueError("correlation_half_life_days and most_volatilities must be above 0")
        self.forecast()

    @property
    def candles_a_day(self) -> int:
        """How many candles close in a day."""
        return DAY_MS // INTERVAL_MS[self.candle_interval]

    def forecast(self) -> ForecastRules:
        """Return the part that each pair's forecast needs."""
        return ForecastRules(
            self.candles_a_day, self.look_back_days, self.fast_half_life_share, self.slow_half_life_share,
            self.momentum_scale, self.volatility_half_life_days, self.least_volatility,
        )  # fmt: skip


@dataclass(slots=True)
class _Fold:
    """Everything remembered of the candles taken so far."""

    trends: dict[str, PairTrend] = field(default_factory=dict)
    products: dict[tuple[str, str], Smoothed] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    first_ms: dict[str, int] = field(default_factory=dict)
    last_ms: dict[str, int] = field(default_factory=dict)


class TrendPortfolio:
    """The strategy; takes in each closed candle once, and starts anew when it is shown another history."""

    def __init__(
        self,
        rules: TrendPortfolioRules | None = None,
        name: str = "trend_portfolio",
        signal: Callable[[tuple[SpanForecast, ...]], float] = signal_of,
    ) -> None:
        """``signal`` turns the look-backs of a pair into its signal in 0..1."""
        self._signal = signal
        self._rules = rules or TrendPortfolioRules()
        self._name = name
        self._fold = _Fold()
        self._keep = kept(self._rules.correlation_half_life_days * self._rules.candles_a_day)

    @property
    def name(self) -> str:
        """The name of the rule set."""
        return self._name

    @property
    def rules(self) -> TrendPortfolioRules:
        """The figures that it follows."""
        return self._rules

    @property
    def candle_interval(self) -> str:
        """The candles it looks at."""
        return self._rules.candle_interval

    @property
    def warm_up_candles(self) -> int:
        """How many closed candles a pair needs before it has a target."""
        return self._rules.history_days * self._rules.candles_a_day

    def targets(self, observation: PortfolioObservation) -> tuple[Target, ...]:
        """Return one target for each pair of the observation, in its order."""
        self._catch_up(observation)
        trends = self._fold.trends
        ready = [symbol for symbol in observation.candles if self._is_ready(symbol)]
        if not ready:
            return tuple(self._waiting(symbol) for symbol in observation.candles)
        spans = {symbol: trends[symbol].spans() for symbol in ready}
        signals = {symbol: self._signal(spans[symbol]) for symbol in ready}
        spread = math.sqrt(self.mean_correlation(ready)) * len(ready)
        units = {symbol: self._rules.target_volatility / (spread * trends[symbol].volatility) for symbol in ready}
        weights = self._capped({symbol: self._rules.gain * signals[symbol] * units[symbol] for symbol in ready})
        return tuple(
            Target(
                symbol=symbol,
                weight=weights[symbol],
                band=self._rules.band_share * self._rules.gain * units[symbol],
                reason=f"signal {signals[symbol]:.2f}, volatility {trends[symbol].volatility:.0%} a year",
                signal=signals[symbol],
                volatility=trends[symbol].volatility,
                spans=spans[symbol],
            )
            if symbol in weights
            else self._waiting(symbol)
            for symbol in observation.candles
        )

    def mean_correlation(self, symbols: list[str]) -> float:
        """Return the mean of the pairs' correlation matrix, its diagonal included."""
        total = sum(self._correlation(first, second) for first in symbols for second in symbols)
        return max(total / len(symbols) ** 2, 1.0 / len(symbols) ** 2)

    def _correlation(self, first: str, second: str) -> float:
        products = self._fold.products
        both = products.get((min(first, second), max(first, second)), Smoothed()).mean
        scale = math.sqrt(products[first, first].mean * products[second, second].mean)
        return both / scale if scale > 0.0 and not math.isnan(both) else float(first == second)

    def _capped(self, weights: dict[str, float]) -> dict[str, float]:
        rules = self._rules
        single = {symbol: min(weight, rules.max_pair_share) for symbol, weight in weights.items()}
        excess = max(1.0, sum(single.values()) / rules.max_total_share)
        return {symbol: weight / excess for symbol, weight in single.items()}

    def _is_ready(self, symbol: str) -> bool:
        trend = self._fold.trends.get(symbol)
        return trend is not None and trend.count >= self.warm_up_candles

    def _waiting(self, symbol: str) -> Target:
        trend = self._fold.trends.get(symbol)
        seen = trend.count if trend is not None else 0
        reason = f"needs {self.warm_up_candles} closed {self.candle_interval} candles and has {seen}"
        return Target(symbol, None, 0.0, reason)

    def _catch_up(self, observation: PortfolioObservation) -> None:
        """Take in the candles that are new, in the order of time."""
        if not all(self._continues(symbol, observation) for symbol in observation.candles):
            self._fold = _Fold()
        closes: dict[int, list[tuple[str, float]]] = {}
        for symbol, candles in observation.candles.items():
            for place in range(self._fold.taken.get(symbol, 0), len(candles)):
                candle = candles[place]
                closes.setdefault(candle.open_ms, []).append((symbol, candle.close))
                self._fold.last_ms[symbol] = candle.open_ms
            if len(candles):
                self._fold.first_ms[symbol] = candles[0].open_ms
            self._fold.taken[symbol] = len(candles)
        for open_ms in sorted(closes):
            self._take(closes[open_ms])

    def _continues(self, symbol: str, observation: PortfolioObservation) -> bool:
        candles, fold = observation.candles[symbol], self._fold
        taken = fold.taken.get(symbol, 0)
        if not taken:
            return True
        same_start = len(candles) >= taken and candles[0].open_ms == fold.first_ms[symbol]
        return same_start and candles[taken - 1].open_ms == fold.last_ms[symbol]

    def _take(self, closes: list[tuple[str, float]]) -> None:
        """Take in the closes of one instant, and what they say about how the pairs move together."""
        scaled: dict[str, float] = {}
        most = self._rules.most_volatilities
        for symbol, close in closes:
            trend = self._fold.trends.setdefault(symbol, PairTrend(self._rules.forecast()))
            trend.take(close)
            if trend.count > 1:
                scaled[symbol] = max(-most, min(most, trend.last_return / trend.volatility * self._per_candle))
        products = self._fold.products
        for first, one in scaled.items():
            for second, other in scaled.items():
                if first <= second:
                    key = (first, second)
                    products[key] = products.get(key, Smoothed()).take(one * other, self._keep)

    @property
    def _per_candle(self) -> float:
        """Turns a return over yearly volatility into a number of the candle's own volatilities."""
        return math.sqrt(self._rules.candles_a_day * 365)


def constant_volatility(rules: TrendPortfolioRules) -> TrendPortfolio:
    """Return the peer to beat: the same pairs, always held, at the same target volatility, band and caps."""
    return TrendPortfolio(rules, "constant_volatility", lambda _spans: 1.0 / rules.gain)
