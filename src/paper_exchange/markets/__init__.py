"""What the paper exchange asks of a market, and how one is opened by its setting.

A market is a source of closed one-minute candles; the venue trades on them, whichever it is:

- ``synthetic[:SEED]``: six correlated contracts, a pure function of seed and minute;
- ``replay:FILE[,FILE]``: recorded candles;
- ``mirror[:SYMBOL,SYMBOL]``: Binance's public candles of this very minute.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from src.domain.errors import DataRefused
from src.domain.market import Candle


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


class OpenedMarket(Market, Protocol):
    """A market as ``open_market`` returns it: it may hold files, threads and sockets, and must be closed."""

    @property
    def lag_ms(self) -> int:
        """By how much market time must run behind the wall, so that the present minute's candle is complete.

        0 but for ``mirror``, where a candle is known only after its minute.
        """

    def close(self) -> None:
        """Let go of files, threads and sockets; the market serves nothing new afterwards."""


def open_market(spec: str, symbols: Sequence[str] = ()) -> OpenedMarket:
    """Return the market of a ``PAPER_MARKET`` setting.

    Args:
        spec: ``synthetic``, ``synthetic:7``, ``replay:FILE[,FILE]``, ``mirror`` or ``mirror:BTCUSDT,ETHUSDT``.
        symbols: the contracts that a mirror without names of its own follows; empty for the usual six.

    Raises:
        DataRefused: the setting names no market, or its files cannot be served; one sentence says why.
    """
    kind, _, rest = spec.strip().partition(":")
    parts = [part.strip() for part in rest.split(",") if part.strip()]
    if kind == "synthetic":
        return _synthetic(rest.strip())
    if kind == "replay":
        from src.paper_exchange.markets.replay import ReplayMarket

        return ReplayMarket([Path(part).expanduser() for part in _files_in(rest)])
    if kind == "mirror":
        from src.paper_exchange.markets.mirror import MIRRORED, MirrorMarket

        return MirrorMarket(symbols=tuple(part.upper() for part in parts) or tuple(symbols) or MIRRORED)
    raise DataRefused(f"PAPER_MARKET={spec!r} is none of synthetic[:SEED], replay:FILE[,FILE], mirror[:SYMBOL]")


def _files_in(text: str) -> list[str]:
    """Return the names in a list of files; TradingView's hold a comma themselves: ``BINANCE_BTCUSDT.P, 1.csv``."""
    names: list[str] = []
    for part in text.split(","):
        together = f"{names[-1]},{part}" if names else ""
        if together and not Path(names[-1]).expanduser().is_file() and Path(together).expanduser().is_file():
            names[-1] = together
        elif part.strip():
            names.append(part.strip() if not names else part.lstrip())
    return [name.strip() for name in names]


def _synthetic(seed: str) -> OpenedMarket:
    from src.paper_exchange.markets.synthetic import DEFAULT_SEED, SyntheticMarket

    if seed and not (seed.isascii() and seed.isdigit()):
        raise DataRefused(f"PAPER_MARKET=synthetic:{seed} needs a whole number as its seed, for example synthetic:7")
    return SyntheticMarket(int(seed) if seed else DEFAULT_SEED)
