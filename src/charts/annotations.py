"""Annotations on a chart: the position's price levels and its trades."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TradeMark:
    """One execution: when, at what price in quote currency, and whether it bought."""

    time_ms: int
    price: float
    buys: bool


@dataclass(frozen=True, slots=True)
class ChartAnnotations:
    """The open position's entry, stop and target, None where there is none, and executions."""

    entry: float | None = None
    stop: float | None = None
    target: float | None = None
    trades: tuple[TradeMark, ...] = ()

    def lines(self) -> dict[str, float]:
        """Return the prices that are known, by name."""
        known = {"entry": self.entry, "stop": self.stop, "target": self.target}
        return {name: price for name, price in known.items() if price is not None}
