"""What a portfolio backtest is run with: strategy, limits, costs, and the past market of all pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import overload

import numpy as np

from src.backtest.config import BreakerPolicy, PastContexts, PastMarket
from src.domain.circuit_breaker import BreakerLimits
from src.domain.funding import FundingRecord
from src.domain.market import INTERVAL_MS, Candle
from src.market_data.columns import Candles
from src.paper_exchange.contract_list import known_contracts
from src.paper_exchange.contracts import Contract
from src.strategy.evidence import NO_EVIDENCE, EvidenceRules
from src.strategy.target_rules import PortfolioLimits


@dataclass(frozen=True, slots=True)
class PortfolioSetup:
    """All that a run is given beside strategy and candles; the costs are the account's shares of notional.

    ``data`` is the folder of a stored list of contracts, where there is one. ``evidence`` is what was known beside
    prices at each instant, ``evidence_rules`` which of it counts.
    """

    limits: PortfolioLimits = field(default_factory=PortfolioLimits)
    breaker: BreakerLimits = field(default_factory=BreakerLimits)
    breaker_policy: BreakerPolicy = BreakerPolicy.NEXT_DAY
    balance: Decimal = Decimal(10_000)
    taker_share: Decimal = Decimal("0.0005")
    maker_share: Decimal = Decimal("0.0002")
    margin_type: str = "CROSSED"
    rules_changed: tuple[str, ...] = ()
    data: Path | None = None
    evidence_rules: EvidenceRules = NO_EVIDENCE
    evidence: PastContexts = field(default_factory=PastContexts)


def contracts_of(symbols: tuple[str, ...], folder: Path | None = None) -> dict[str, Contract]:
    """Return the contracts' rules, those of a list stored in ``folder`` first.

    Raises:
        DataRefused: one is not known.
    """
    listed = known_contracts(folder)
    return {symbol: listed.contract(symbol) for symbol in symbols}


class PortfolioMarket:
    """The venue's price source: recorded one-minute candles and funding rates of several contracts."""

    world = "replay"

    def __init__(self, candles: Mapping[str, Candles], funding: Mapping[str, Mapping[int, float]]) -> None:
        self.symbols = tuple(candles)
        self._markets = {symbol: PastMarket(symbol, each, funding.get(symbol)) for symbol, each in candles.items()}

    def candle(self, symbol: str, open_ms: int) -> Candle | None:
        """Return the candle of that minute, None in a gap and outside of the record."""
        return self._markets[symbol].candle(symbol, open_ms)

    def funding_rate(self, symbol: str, settle_ms: int) -> float:
        """Return the recorded rate, the usual one where none is recorded."""
        return self._markets[symbol].funding_rate(symbol, settle_ms)

    def funding_record(self, symbol: str) -> FundingRecord:
        """Return the recorded settlements, which decide when funding is paid."""
        return self._markets[symbol].funding_record(symbol)

    def calm_until(self, symbol: str, open_ms: int, end_ms: int, low: float, high: float) -> int:
        """Return the first minute in ``open_ms..end_ms`` that is missing or leaves the band, else one behind it."""
        return self._markets[symbol].calm_until(symbol, open_ms, end_ms, low, high)


def closed_candles(minutes: Candles, interval: str) -> list[Candle]:
    """Return the candles of a longer interval that one-minute candles make, oldest first.

    The first one begins with its first minute (an incomplete start is left out); the last one only when its last
    minute is there. Minutes missing within do not spoil a candle: the exchange makes one of what was traded.
    """
    length = INTERVAL_MS[interval]
    if not len(minutes):
        return []
    numbers = minutes.open_ms // length
    starts = np.flatnonzero(np.append(True, np.diff(numbers) > 0))
    ends = np.append(starts[1:], len(numbers)) - 1
    high, low = np.maximum.reduceat(minutes.high, starts), np.minimum.reduceat(minutes.low, starts)
    volume = np.add.reduceat(minutes.volume, starts)
    rows = [
        Candle(
            int(numbers[start]) * length, float(minutes.open[start]), float(high[place]), float(low[place]),
            float(minutes.close[end]), float(volume[place]),
        )
        for place, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
    ]  # fmt: skip
    if minutes.open_ms[0] % length:
        rows = rows[1:]
    if (int(minutes.open_ms[-1]) + 60_000) % length and rows:
        rows = rows[:-1]
    return rows


class HistoryView(Sequence[Candle]):
    """The first ``beyond`` of some candles, without a copy."""

    def __init__(self, rows: Sequence[Candle], beyond: int) -> None:
        self._rows = rows
        self._beyond = beyond

    def __len__(self) -> int:
        return self._beyond

    @overload
    def __getitem__(self, place: int) -> Candle: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Candle]: ...

    def __getitem__(self, place: int | slice) -> Candle | Sequence[Candle]:
        if isinstance(place, slice):
            return self._rows[: self._beyond][place]
        if not -self._beyond <= place < self._beyond:
            raise IndexError(place)
        return self._rows[place if place >= 0 else self._beyond + place]
