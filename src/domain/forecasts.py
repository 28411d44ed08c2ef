"""Statements about where a price will be, and what came of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from src.domain.clock import MINUTE_MS

HORIZONS_MS: Final = {"15m": 900_000, "1h": 3_600_000, "4h": 14_400_000, "1d": 86_400_000}
"""How far ahead a forecaster may look."""
_CANDLES_AHEAD: Final = 4  # a forecaster that reads candles of some length speaks of about the next four


class Key(NamedTuple):
    """Who speaks of what: of each only one forecast is open at a time, so that no two rest on the same hours."""

    symbol: str
    forecaster: str
    model: str
    horizon_ms: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """One statement: at ``due_ms`` the price of ``symbol`` is higher than ``price`` with this probability.

    ``direction`` is 1 (up) or -1 (down) and lies on the side of ``probability``; ``made_ms`` is the close of the last
    candle that was known, ``price`` that close. ``cost_usd`` is what asking for the opinion cost.
    """

    symbol: str
    forecaster: str
    made_ms: int
    horizon_ms: int
    direction: int
    probability: float
    price: float
    model: str = ""
    cost_usd: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        if self.direction not in (-1, 1) or not 0.0 <= self.probability <= 1.0:
            raise ValueError("a forecast needs a direction of 1 or -1 and a probability in 0..1")
        if (self.probability - 0.5) * self.direction < 0.0:
            raise ValueError(f"a probability of {self.probability} contradicts the direction {self.direction}")
        if not self.price > 0.0 or self.horizon_ms not in HORIZONS_MS.values():
            raise ValueError("a forecast needs a price above 0 and one of the known horizons")

    @property
    def due_ms(self) -> int:
        """The instant at which it can be judged."""
        return self.made_ms + self.horizon_ms

    @property
    def key(self) -> Key:
        """Who speaks of what."""
        return Key(self.symbol, self.forecaster, self.model, self.horizon_ms)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What followed: the price at the end, the market's return as a share, and what acting on it would have brought.

    ``net_share`` is the return in the forecast's direction less the cost of getting in and out.
    """

    price: float
    return_share: float
    net_share: float


Judged = tuple[Forecast, Outcome | None]
"""A forecast and what became of it; None where no candle tells."""


def outcome_of(forecast: Forecast, price: float, round_trip_share: float) -> Outcome:
    """Return what became of a forecast when the price at its end is ``price``.

    Args:
        forecast: the statement.
        price: the close of the last candle at or before its end, above 0.
        round_trip_share: fees and spread of an entry and an exit as a share of notional.
    """
    moved = price / forecast.price - 1.0
    return Outcome(price, moved, forecast.direction * moved - round_trip_share)


def horizon_for(interval_ms: int) -> int:
    """Return the horizon of a forecaster that reads candles of this length: about four of them, at most a day."""
    longest = max(HORIZONS_MS.values())
    return next((each for each in HORIZONS_MS.values() if each >= _CANDLES_AHEAD * interval_ms), longest)


class OpenForecasts:
    """The forecasts that are not judged yet, at most one of each key."""

    def __init__(self, known: Iterable[Forecast] = ()) -> None:
        self._open = {each.key: each for each in known}

    def admit(self, forecast: Forecast) -> bool:
        """Take the forecast up if its forecaster has none open; return whether it was taken."""
        if forecast.key in self._open:
            return False
        self._open[forecast.key] = forecast
        return True

    def take_due(self, now_ms: int) -> list[Forecast]:
        """Return the forecasts whose end has come, and forget them; the one that ended first comes first."""
        due = sorted((each for each in self._open.values() if each.due_ms <= now_ms), key=lambda each: each.due_ms)
        for each in due:
            del self._open[each.key]
        return due

    def __len__(self) -> int:
        return len(self._open)


def is_missed(forecast: Forecast, closed_ms: int) -> bool:
    """Return whether a candle that closed at ``closed_ms`` cannot judge the forecast: it lies too long before its end.

    Up to a fifth of the horizon may lie between them: the exchange was away, or the record has a hole.
    """
    return forecast.due_ms - closed_ms > max(forecast.horizon_ms // 5, MINUTE_MS)
