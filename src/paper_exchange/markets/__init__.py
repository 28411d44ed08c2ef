"""Floor 3, adapters: what the paper exchange asks of a market, and how one is opened by its setting.

A market is a source of closed one-minute candles; the venue trades on them, whichever it is:

- ``synthetic[:SEED]``: six correlated contracts, a pure function of seed and minute;
- ``replay:FILE[,FILE]``: recorded candles;
- ``mirror``: Binance's public candles of this very minute.
"""

from typing import Protocol

from src.core.errors import DataRefused
from src.core.market import Candle

MINUTE_MS = 60_000
DEFAULT_FUNDING_RATE = 0.0001


class Market(Protocol):
    """A source of candles and of what goes with them; all instants are milliseconds since 1970 UTC."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The contracts served, for example ``("BTCUSDT", "ETHUSDT")``."""

    @property
    def world(self) -> str:
        """Which world this is: ``synthetic``, ``replay`` or ``live``."""

    @property
    def first_ms(self) -> int:
        """First minute served."""

    @property
    def end_ms(self) -> int | None:
        """First instant without data, ``None`` where the market is endless."""

    def candle(self, symbol: str, open_ms: int) -> Candle | None:
        """Return the complete candle of the minute that begins at ``open_ms``; ``None`` in a gap or outside."""

    def candles(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Return the candles with ``start_ms <= open_ms < end_ms``, oldest first, gaps left out."""

    def funding_rate(self, symbol: str, settle_ms: int) -> float:
        """Return the rate settled at ``settle_ms``, as a share per interval; known for the current interval."""

    def fear_greed(self, day_ms: int) -> int | None:
        """Return the Fear & Greed index dated by that day's 00:00 UTC, 0..100; ``None`` where unknown."""

    def close(self) -> None:
        """Let go of files, threads and sockets; the market serves nothing afterwards."""


def open_market(spec: str) -> Market:
    """Return the market of a ``PAPER_MARKET`` setting.

    Args:
        spec: ``synthetic``, ``synthetic:7``, ``replay:FILE[,FILE]`` or ``mirror``.

    Raises:
        DataRefused: the setting names no market, or its files cannot be served.
    """
    kind = spec.strip().partition(":")[0]
    raise DataRefused(f"PAPER_MARKET={kind!r} is none of synthetic[:SEED], replay:FILE[,FILE], mirror")
