"""The real paper exchange as a process of its own, with a hand on its clock, its prices and its faults."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from src.binance_client import BinanceClient, budget_file
from src.binance_wire import Addresses, BinanceWire, Credentials
from src.core.clock import ExchangeClock
from src.rate_budget import RateBudget
from tests.shared_data import ROOT

KEY, SECRET, TOKEN = "paperkey" * 8, "papersec" * 8, "control-token-of-the-tests"


class PaperServer:
    """A running paper exchange; ``control`` asks its control paths."""

    def __init__(self, folder: Path, market: str = "synthetic", speed: float = 1.0, start: str = "") -> None:
        self.folder = folder
        self.speed = speed
        environment = {
            **os.environ,
            "PAPER_MARKET": market,
            "PAPER_SPEED": f"{speed:g}",
            "PAPER_PORT": "0",
            "PAPER_START": start,
            "PAPER_STATE": str(folder / "paper.json"),
            "PAPER_API_KEY": KEY,
            "PAPER_API_SECRET": SECRET,
            "PAPER_CONTROL_TOKEN": TOKEN,
        }
        with (folder / "paper.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "src.paper_exchange"],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.base_url = self._ready_address()
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["X-Control-Token"] = TOKEN

    def _ready_address(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "ready: " in line:
                return line.split("ready: ", 1)[1].split()[0]
        raise AssertionError("the paper exchange did not start:\n" + (self.folder / "paper.log").read_text())

    def control(self, method: str, path: str, **wish: Any) -> Any:
        answer = self._session.request(
            method, f"{self.base_url}/control/{path}", data=json.dumps(wish) if wish else None, timeout=20
        )
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def now_ms(self) -> int:
        return int(self.control("GET", "clock")["now_ms"])

    def order_counts(self) -> dict[str, int]:
        return dict(self.control("GET", "client_ids"))

    def requests_by_hour(self) -> dict[str, dict[str, int]]:
        return dict(self.control("GET", "requests"))

    def client(self, name: str = "budget") -> BinanceClient:
        """Return a client of this exchange; clients of one name share a request budget."""
        clock = ExchangeClock(self.speed)
        addresses = Addresses.of_base("paper", self.base_url)
        budget = RateBudget(budget_file(self.folder / name, addresses), clock, self.speed)
        return BinanceClient(BinanceWire(addresses, Credentials(KEY, SECRET), clock, budget))

    def stop(self) -> None:
        self._session.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def paper_server(folder: Path, market: str = "synthetic", speed: float = 1.0, start: str = "") -> Iterator[PaperServer]:
    """Run a paper exchange for the time of the block."""
    server = PaperServer(folder, market, speed, start)
    try:
        yield server
    finally:
        server.stop()
