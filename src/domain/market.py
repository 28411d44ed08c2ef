"""Candles, instruments, mark prices; where money (Decimal) and series (float64) meet."""

from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple

from src.domain.evidence import ChartOpinion, NewsEvent
from src.domain.external_signals import ExternalSignal

INTERVAL_MS = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
}


QUOTE_ASSETS = ("USDT", "USDC")
"""The assets in which a bot can keep its books; a contract's name ends with one."""


def quote_asset_of(symbol: str) -> str:
    """Return the quote asset that a contract's name ends with, "" for one that no bot can keep its books in."""
    return next((asset for asset in QUOTE_ASSETS if symbol.endswith(asset) and symbol != asset), "")


class Candle(NamedTuple):
    """One closed candle; prices in quote currency, volumes in base currency.

    ``open_ms`` is its first instant; it covers ``[open_ms, open_ms + interval)``.
    """

    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int = 0
    taker_buy_volume: float = 0.0
    quote_volume: float = 0.0


@dataclass(frozen=True, slots=True)
class Instrument:
    """The exchange's rules for one contract (its filters); sizes are steps, not digits."""

    symbol: str
    base_asset: str
    quote_asset: str
    tick_size: Decimal
    step_size: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    max_market_quantity: Decimal
    min_notional: Decimal
    min_price: Decimal
    max_price: Decimal
    price_precision: int
    quantity_precision: int
    multiplier_up: Decimal = Decimal("1.05")
    multiplier_down: Decimal = Decimal("0.95")
    liquidation_fee_share: Decimal = Decimal("0.0125")
    status: str = "TRADING"  # the exchange's word; orders that open are taken in TRADING alone

    def price_down(self, price: Decimal) -> Decimal:
        """Return ``price`` rounded down to the tick."""
        return _to_step(price, self.tick_size, ROUND_DOWN)

    def price_near(self, price: Decimal) -> Decimal:
        """Return ``price`` rounded to the nearest tick."""
        return _to_step(price, self.tick_size, ROUND_HALF_EVEN)

    def price_toward(self, price: Decimal, other: Decimal) -> Decimal:
        """Return ``price`` on the tick, rounded on the side nearer to ``other``; as it is where it is on the tick."""
        return _to_step(price, self.tick_size, ROUND_FLOOR if other < price else ROUND_CEILING)

    def quantity_down(self, quantity: Decimal) -> Decimal:
        """Return ``quantity`` rounded down to the step; 0 when below one step."""
        return _to_step(quantity, self.step_size, ROUND_DOWN)


def _to_step(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    return (value / step).to_integral_value(rounding) * step


def money(value: float | str | int) -> Decimal:
    """Return a float of a series as exact decimal money (its shortest text), strings as they are."""
    return Decimal(str(value))


@dataclass(frozen=True, slots=True)
class MarkPrice:
    """The exchange's mark price of one contract at ``time_ms``; funding as a share per interval."""

    symbol: str
    mark: Decimal
    index: Decimal
    funding_rate: Decimal
    next_funding_ms: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class MarketContext:
    """The part of an observation that is not price; ``None`` is unknown, and never a number.

    ``sources`` names for each figure where it came from, ``unknown`` why one is missing. Percent figures are
    percent, as on the user's screen. ``world`` is ``live``, ``synthetic`` or ``replay``. ``charts`` is what was last
    said of each pair's chart, in words. ``events`` are news that make entries of a coin wait, ``opinions`` what
    analysts say of charts: where a rule set counts them (``strategy/evidence.py``), they can only lower risk.
    ``external`` is what other programs said of contracts lately; a rule set counts none unless it names the source.
    """

    btc_price: float | None
    btc_change_24h: float | None
    eth_price: float | None
    eth_change_24h: float | None
    btc_dominance: float | None
    fear_greed_index: int | None
    market_trend: str
    btc_trend: str
    market_regime: str
    volatility_level: str
    as_of_ms: int
    world: str = "live"
    sources: tuple[tuple[str, str], ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()
    charts: tuple[tuple[str, str], ...] = ()
    events: tuple[NewsEvent, ...] = ()
    opinions: tuple[ChartOpinion, ...] = ()
    external: tuple[ExternalSignal, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the ten figures of the user's dictionary, then instant, world, sources, reasons and charts."""
        figures = asdict(self)
        figures["sources"] = dict(self.sources)
        figures["unknown"] = dict(self.unknown)
        figures["charts"] = dict(self.charts)
        del figures["events"], figures["opinions"], figures["external"]
        return figures
