"""The backtest's venue keeps the contract of every ``Exchange``, in process and without waiting."""

import pytest

from src.domain.clock import MINUTE_MS
from tests.exchange_contract import ExchangeContract
from tests.world import START_MS, SYMBOL, World, walk

HISTORY = 2_000
MINUTES = 2_100


class VenueWorld:
    """The venue in process, and its clock and shocks as a hand on the market."""

    symbol = SYMBOL

    def __init__(self) -> None:
        self._inner = World(walk(MINUTES))
        self._inner.at(HISTORY)
        self.exchange = self._inner.inner

    def now_ms(self) -> int:
        return self._inner.clock.now_ms()

    def pass_time(self, duration_ms: int) -> None:
        elapsed_ms = self.now_ms() + duration_ms - START_MS
        self._inner.at(elapsed_ms // MINUTE_MS, elapsed_ms % MINUTE_MS / 1000)

    def move_price(self, percent: float) -> None:
        self._inner.venue.shock(self.symbol, 1.0 + percent / 100.0)


class TestTheBacktestsVenueKeepsTheContract(ExchangeContract):
    @pytest.fixture
    def world(self) -> VenueWorld:
        return VenueWorld()
