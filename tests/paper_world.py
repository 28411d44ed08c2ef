"""The real paper exchange as a process, with clients of it and what an independent observer counts there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src.domain.clock import ExchangeClock
from src.exchanges.binance.client import BinanceClient, budget_file
from src.exchanges.binance.rate_limiter import SharedRateLimiter
from src.exchanges.binance.transport import Addresses, BinanceTransport, Credentials
from tests.paper_exchange.running import API_KEY, API_SECRET, PaperExchange, running


class PaperServer:
    """A running paper exchange; ``control`` asks its control paths."""

    def __init__(self, exchange: PaperExchange, folder: Path, speed: float) -> None:
        self.exchange, self.folder, self.speed = exchange, folder, speed
        self.control = exchange.control

    def now_ms(self) -> int:
        """Return the market's time, without a request that would be counted."""
        return int(self.control("GET", "clock")["now_ms"])

    def order_counts(self) -> dict[str, int]:
        return dict(self.control("GET", "client_ids"))

    def requests_by_hour(self) -> dict[str, dict[str, int]]:
        return dict(self.control("GET", "requests"))

    def client(self, name: str = "budget") -> BinanceClient:
        """Return a client of this exchange; clients of one name share a request budget."""
        clock = ExchangeClock(self.speed)
        addresses = Addresses.of_base("paper", self.exchange.address)
        budget = SharedRateLimiter(budget_file(self.folder / name, addresses), clock, self.speed)
        return BinanceClient(BinanceTransport(addresses, Credentials(API_KEY, API_SECRET), clock, budget))


@contextmanager
def paper_server(folder: Path, speed: float = 1.0, **options: Any) -> Iterator[PaperServer]:
    """Run a paper exchange for the time of the block; ``options`` are those of ``running``."""
    with running(folder / "paper.json", speed=speed, **options) as exchange:
        yield PaperServer(exchange, folder, speed)
