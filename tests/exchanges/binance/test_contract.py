"""The client on the wire keeps the contract of every ``Exchange``, against the real paper exchange."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exchange_contract import ExchangeContract
from tests.paper_world import PaperServer, paper_server


class PaperWorld:
    """The client, and the paper exchange's control paths as a hand on the market."""

    symbol = "ETHUSDT"

    def __init__(self, server: PaperServer) -> None:
        self._server = server
        self.exchange = server.client()
        self.exchange.sync_clock()

    def now_ms(self) -> int:
        return self._server.now_ms()

    def pass_time(self, duration_ms: int) -> None:
        self._server.control("POST", "clock", advance_ms=duration_ms)
        self.exchange.sync_clock()

    def move_price(self, percent: float) -> None:
        self._server.control("POST", "shock", symbol=self.symbol, percent=percent)


@pytest.mark.long
class TestBinanceClientKeepsTheContract(ExchangeContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[PaperWorld]:
        with paper_server(tmp_path) as server:
            yield PaperWorld(server)
