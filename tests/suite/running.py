"""The real bot as a process on a real paper exchange, and an observer that asks the exchange, not the bot."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2s
from pathlib import Path
from typing import Any

from tests.paper_exchange import running as paper
from tests.paper_exchange.running import API_KEY, API_SECRET, ROOT, PaperExchange, wait_until

BUSY = {  # an agent that tries things all the time and rules that let it
    "EXPLORATION_RATE": "0.95",
    "MIN_SIGNAL_THRESHOLD": "1",
    "MIN_CONFIDENCE": "0",
    "BREAKER_MAX_CONSECUTIVE_LOSSES": "100000",
    "BREAKER_MAX_LOSS_RATE": "1",
    "BREAKER_LOSS_RATE_TRADES": "100000",
    "BREAKER_MAX_EXCHANGE_ERRORS": "100000",
    "BREAKER_MAX_DRAWDOWN_PERCENTAGE": "0.9",
    "MAX_DAILY_LOSS_PERCENTAGE": "0.9",
    "TRAINING_CANDLES": "1000",
}


@dataclass
class Bot:
    """One bot process and the folder it works in; ``settings`` are its environment's."""

    folder: Path
    settings: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def database(self) -> Path:
        """Its SQLite file."""
        return self.folder / "trading.db"

    @property
    def log(self) -> str:
        """All that it has said so far."""
        path = self.folder / "bot.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the process, as the scripts do, with its output in ``bot.log``."""
        with (self.folder / "bot.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "src/trading_bot.py"], cwd=ROOT, env=self.environment(), stdout=log, stderr=log
            )

    def wait_for_cycles(self, count: int, within_s: float = 40.0) -> None:
        """Wait until ``count`` more turns are in the journal than now."""
        target = len(self.rows("SELECT id FROM signals")) + count
        wait_until(lambda: len(self.rows("SELECT id FROM signals")) >= target or not self.alive, within_s, 0.05)
        assert self.alive, self.log[-3000:]

    def wait_until_said(self, words: str, within_s: float = 40.0) -> None:
        """Wait until the log holds ``words``."""
        wait_until(lambda: words in self.log or not self.alive, within_s, 0.05)
        assert words in self.log, self.log[-3000:]

    def stop(self, number: int = signal.SIGTERM, within_s: float = 12.0) -> int:
        """Send the signal and return the exit code; fails with the end of the log when the process stays."""
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"alive {within_s:g} s after signal {number}:\n{self.log[-3000:]}") from error

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(5)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query of its database; none before there is one."""
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)) as connection:
            try:
                return connection.execute(query).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def environment(self) -> dict[str, str]:
        """Return the settings of the bot and of those who share its database."""
        own = {
            "BOT_ID": "test-" + blake2s(str(self.folder).encode(), digest_size=6).hexdigest(),
            "TRADING_MODE": "paper",
            "RULES": "safety_first",
            "DATABASE_URL": f"sqlite:///{self.database}",
            "MODEL_PATH": str(self.folder / "model.pkl"),
            "LOG_DIR": str(self.folder / "logs"),
            "STATE_DIR": str(self.folder / "state"),
            "CACHE_DIR": str(self.folder / "cache"),
            "PAPER_API_KEY": API_KEY,
            "PAPER_API_SECRET": API_SECRET,
            "PAPER_CONTROL_TOKEN": "",
        }
        return {**paper.environment(), **own, **self.settings}


@dataclass
class Observer:
    """Looks at the exchange's own state many times a second and keeps what must never be seen."""

    exchange: PaperExchange
    bot: Bot
    naked_s: float = 0.0
    longest_naked_s: float = 0.0
    positions_seen: int = 0
    _since_s: float | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look, in a thread."""
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the looking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)

    def _watch(self) -> None:
        while not self._stop.wait(0.03):
            try:
                state = self.exchange.control("GET", "state")
            except OSError:
                self._since_s = None  # the exchange is down: nobody could place a stop
                continue
            self._judge(state)

    def _judge(self, state: dict[str, Any]) -> None:
        account = next(iter(state["accounts"].values()), {"positions": [], "algo_orders": []})
        held = [row for row in account["positions"] if Decimal(row["positionAmt"]) != 0]
        stops = {row["symbol"] for row in account["algo_orders"] if row["orderType"] == "STOP_MARKET"}
        self.positions_seen += len(held)
        naked = [row for row in held if row["symbol"] not in stops]
        if not naked or not self.bot.alive:
            self._since_s = None
            return
        now = time.monotonic()
        self._since_s = self._since_s or now
        self.longest_naked_s = max(self.longest_naked_s, now - self._since_s)


@contextmanager
def suite(
    folder: Path, *, market: str = "synthetic:7", speed: float = 30.0, start_at: str = "", **settings: str
) -> Iterator[tuple[PaperExchange, Bot]]:
    """A paper exchange and a bot made for it, not yet started; both are ended by their process numbers."""
    own = {"PAPER_API_KEY": API_KEY, "PAPER_API_SECRET": API_SECRET}
    state = folder / "exchange.json"
    with paper.running(state, market=market, speed=speed, start_at=start_at, settings=own) as exchange:
        kind = market if market.startswith(("synthetic", "replay")) else "synthetic"
        where = {"PAPER_PORT": str(exchange.port), "PAPER_SPEED": str(speed), "PAPER_MARKET": kind}
        bot = Bot(folder, {**where, **settings})
        try:
            yield exchange, bot
        finally:
            if bot.alive:
                bot.kill()


def duplicates(exchange: PaperExchange) -> dict[str, int]:
    """Return the client ids that led to more than one order."""
    counts: Counter[str] = Counter(exchange.control("GET", "client_ids"))
    return {name: count for name, count in counts.items() if count > 1}


def wallet(exchange: PaperExchange) -> Decimal:
    """Return the USDT wallet balance by the exchange's own word."""
    account = next(iter(exchange.control("GET", "state")["accounts"].values()))
    return next(Decimal(row["balance"]) for row in account["balances"] if row["asset"] == "USDT")


def open_position(exchange: PaperExchange) -> Decimal:
    """Return the signed size of the one position, 0 when flat."""
    account = next(iter(exchange.control("GET", "state")["accounts"].values()))
    return sum((Decimal(row["positionAmt"]) for row in account["positions"]), Decimal(0))


def booked(bot: Bot) -> Decimal:
    """Return what the journal says was earned: closed trades net, open trades' entry fees taken off."""
    closed = bot.rows("SELECT COALESCE(SUM(ROUND(pnl * 100000000)), 0) FROM trades WHERE status = 'closed'")
    opened = bot.rows("SELECT COALESCE(SUM(ROUND(fees * 100000000)), 0) FROM trades WHERE status = 'open'")
    return Decimal(int(closed[0][0]) - int(opened[0][0])) / Decimal(100_000_000)


def paid(bot: Bot) -> Decimal:
    """Return what the journal says was paid in, less what was paid out, since the bot first looked."""
    rows = bot.rows("SELECT COALESCE(SUM(ROUND(amount * 100000000)), 0) FROM transfers WHERE counted")
    return Decimal(int(rows[0][0])) / Decimal(100_000_000)


def transferred(exchange: PaperExchange) -> Decimal:
    """Return the same by the exchange's own word, since the account was opened."""
    account = next(iter(exchange.control("GET", "state")["accounts"].values()))
    return Decimal(account["transferred"])


def settled(exchange: PaperExchange, bot: Bot) -> bool:
    """Return whether the exchange's wallet equals the start plus what the journal booked, to the last digit."""
    return wallet(exchange) - Decimal(10_000) == booked(bot)


def free_port() -> int:
    """Return a port of loopback that is free now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def open_files(process: subprocess.Popen[bytes]) -> int:
    """Return how many file handles a process holds."""
    return len(os.listdir(f"/proc/{process.pid}/fd"))
