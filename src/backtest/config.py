"""What a backtest runs with: pair, rules, limits, costs, and the past market."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Self

import numpy as np

from src.domain.circuit_breaker import BreakerLimits
from src.domain.clock import MINUTE_MS
from src.domain.funding import FundingRecord
from src.domain.market import Candle, MarketContext
from src.domain.risk import RiskLimits
from src.market_data.columns import Candles
from src.paper_exchange.contract_list import known_contracts
from src.paper_exchange.contracts import CONTRACTS, Contract
from src.strategy.rules import DecisionRules, limits_under

_REMEMBERED = 256


class BreakerPolicy(StrEnum):
    """What becomes of a tripped circuit breaker: nobody resets it, a person does at the next UTC day, or it is off."""

    STAYS = "stays"
    NEXT_DAY = "next_day"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a run is given beside candles and agent; the costs are the account's shares of notional.

    Spread, depth and slippage are the paper exchange's own; they follow from the volume of each minute.
    ``rules_changed`` says in words which figures the settings changed in the named set; reports repeat it.
    ``brackets_assumed``: the exchange's leverage brackets of this contract are not known, a cautious table stands in.
    """

    symbol: str = "BTCUSDT"
    rules: DecisionRules = field(default_factory=DecisionRules)
    limits: RiskLimits = field(default_factory=RiskLimits)
    breaker: BreakerLimits = field(default_factory=BreakerLimits)
    breaker_policy: BreakerPolicy = BreakerPolicy.NEXT_DAY
    balance: Decimal = Decimal(10_000)
    taker_share: Decimal = Decimal("0.0005")
    maker_share: Decimal = Decimal("0.0002")
    margin_type: str = "CROSSED"
    contract: Contract | None = None
    rules_changed: tuple[str, ...] = ()
    brackets_assumed: bool = False

    @property
    def listed(self) -> Contract:
        """The contract's rules: those given, else the paper exchange's."""
        return self.contract or CONTRACTS.get(self.symbol) or known_contracts().contract(self.symbol)

    @property
    def limits_in_force(self) -> RiskLimits:
        """The limits as the rules scale them."""
        return limits_under(self.rules, self.limits)

    def with_rules(self, rules: DecisionRules) -> Self:
        """Return the same setup under other rules."""
        return replace(self, rules=rules)


class PastMarket:
    """The venue's price source: recorded one-minute candles and funding rates of one contract."""

    world = "replay"

    def __init__(self, symbol: str, candles: Candles, funding: Mapping[int, float] | None = None) -> None:
        """``funding`` maps settlement instants to shares; ``USUAL_RATE`` where none is recorded."""
        self.symbols = (symbol,)
        self._candles = candles
        self._funding = FundingRecord(funding)
        self._made: dict[int, Candle | None] = {}

    def candle(self, symbol: str, open_ms: int) -> Candle | None:
        """Return the candle of that minute, None in a gap and outside of the record."""
        if open_ms not in self._made:
            if len(self._made) > _REMEMBERED:
                self._made.clear()
            place = self._candles.place(open_ms)
            self._made[open_ms] = None if place is None else self._candles.candle(place)
        return self._made[open_ms]

    def funding_rate(self, symbol: str, settle_ms: int) -> float:
        """Return the recorded rate of the interval that ends at ``settle_ms`` or holds it."""
        return self._funding.rate(settle_ms)

    def funding_record(self, symbol: str) -> FundingRecord:
        """Return the recorded settlements, which decide when funding is paid."""
        return self._funding

    def calm_until(self, symbol: str, open_ms: int, end_ms: int, low: float, high: float) -> int:
        """Return the first minute in ``open_ms..end_ms`` that is missing or leaves the band, else one behind it."""
        times = self._candles.open_ms
        first = int(np.searchsorted(times, open_ms))
        minute = open_ms
        while minute <= end_ms:
            rows = slice(first, min(first + 1_440, int((end_ms - minute) // MINUTE_MS) + 1 + first, len(times)))
            expected = minute + MINUTE_MS * np.arange(rows.stop - rows.start)
            rough = times[rows] != expected
            rough |= (self._candles.low[rows] <= low) | (self._candles.high[rows] >= high)
            if not len(rough) or rough.any():
                return minute + MINUTE_MS * int(rough.argmax() if len(rough) else 0)
            minute += MINUTE_MS * len(rough)
            first += len(rough)
        return minute


class PastContexts:
    """The market context as it was known at each instant; without any, all of it is unknown (None)."""

    def __init__(self, contexts: Sequence[MarketContext] = ()) -> None:
        self._contexts = sorted(contexts, key=lambda each: each.as_of_ms)
        self._times = np.array([each.as_of_ms for each in self._contexts], dtype=np.int64)

    def __bool__(self) -> bool:
        return bool(self._contexts)

    def __repr__(self) -> str:
        """All contexts by value: what a sweep was given is compared by it."""
        return f"PastContexts({self._contexts!r})"

    def at(self, now_ms: int) -> MarketContext | None:
        """Return the newest context that is not younger than ``now_ms``."""
        place = int(np.searchsorted(self._times, now_ms, side="right"))
        return self._contexts[place - 1] if place else None

    def observed_at(self, now_ms: int) -> MarketContext | None:
        """Return what the trader observes then."""
        return self.at(now_ms)
