"""A soak: the real bot for market days on end, faults at random all the time, judged by the exchange's own state.

``python -m tests.suite.soak --market-days 2 --speed 120`` prints counts and what was violated as JSON; it ends 0 only
when nothing was. The dice are seeded (``--seed``): what they choose can be played again, the instants cannot.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.core.clock import SystemClock
from src.health import heartbeat_health
from tests.paper_exchange import running as paper
from tests.paper_exchange.running import API_KEY, API_SECRET, ROOT, PaperExchange
from tests.suite.running import BUSY, Bot, duplicates, free_port, open_position, settled
from tests.suite.soak_witness import Meter, Witness

LONGEST_NAKED_S = 1.0
RECOVERS_WITHIN_S = 60.0
BOOKS_AGREE_WITHIN_S = 90.0
CANARY = "canary-7f3a9d51c2e84b60-must-never-be-seen"
ORDER, ALGO = "POST /fapi/v1/order", "POST /fapi/v1/algoOrder"
SERVICES = {  # beside the bot, where they are built: script and the setting that names its port
    "mcp_server": ("src/mcp_server.py", "MCP_PORT", "/api/v1/health"),
    "web_dashboard": ("src/web_dashboard.py", "DASHBOARD_PORT", "/api/health"),
}


@dataclass
class Counts:
    """What happened, and what must not have."""

    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    recoveries_s: dict[str, list[float]] = field(default_factory=dict)
    checks: Counter[str] = field(default_factory=Counter)
    stops_s: list[float] = field(default_factory=list)


class Soak:
    """One run: an exchange, a bot, a witness and the dice."""

    def __init__(self, exchange: PaperExchange, bot: Bot, seed: int) -> None:
        self.exchange = exchange
        self.bot = bot
        self.dice = random.Random(seed)
        self.counts = Counts()
        self.meter = Meter()
        self.obstruction = "start"
        self.witness = Witness(lambda: self.exchange, lambda: self.obstruction)
        self.others: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = {name: free_port() for name in SERVICES}

    # --- the faults, each of which leaves things as it found them ----------------------------------------------

    def faults(self) -> dict[str, Callable[[], None]]:
        """Return every fault by name."""
        return {
            "bot: kill -9": self._kill_bot,
            "bot: SIGSTOP": self._freeze_bot,
            "bot: SIGTERM and start": self._restart_bot,
            "exchange: kill -9": self._kill_exchange,
            "exchange: SIGSTOP": self._freeze_exchange,
            "database locked": self._lock_database,
            "disk full": self._fill_disk,
            "market clock +5 min": lambda: self._control("clock", advance_ms=300_000),
            "price shock": lambda: self._control("shock", symbol="BTCUSDT", percent=self.dice.choice((-3, -1, 1, 3))),
            "clock skew": self._skew,
            "listen keys expire": lambda: self._control("expire_listen_keys"),
            "triggers stuck": lambda: self._control("hold_triggers", count=self.dice.randint(1, 5)),
            "sockets dropped": lambda: self._control("sockets", how="drop", route=self._route()),
            "sockets closed": lambda: self._control("sockets", how="close", route=self._route()),
            "ban": self._ban,
            "order of unknown outcome": lambda: self._unknown(ORDER),
            "stop of unknown outcome": lambda: self._unknown(ALGO),
            "order throttled": lambda: self._passing("throttled", ORDER, times=2),
            "order not found": lambda: self._passing(
                "order_missing", "GET /fapi/v1/order", "GET /fapi/v1/algoOrder", times=3
            ),
            "503": lambda: self._passing("service_unavailable", times=3),
            "-1001": lambda: self._passing("internal_error", times=3),
            "502 for 2 s": lambda: self._passing("bad_gateway", for_s=2.0),
            "500 for 5 s": lambda: self._passing("server_error", for_s=5.0),
            "429": lambda: self._passing("too_many", times=1),
            "answers 0.4 s late": lambda: self._passing("delay", for_s=3.0, delay_ms=400.0),
            "GETs hang": lambda: self._passing("hang", "GET", for_s=2.0),
            "market socket silent": lambda: self._passing("silence", "market", for_s=5.0),
            "user socket silent": lambda: self._passing("silence", "private", for_s=5.0),
            "sockets refused": lambda: self._passing("refuse_sockets", for_s=3.0),
            "events twice": lambda: self._passing("duplicate", "private", for_s=5.0),
            "events 0.7 s late": lambda: self._passing("late", "private", for_s=5.0, delay_ms=700.0),
            **{f"{name}: kill -9": lambda name=name: self._kill_other(name) for name in self.others},
        }

    def _control(self, path: str, **wish: Any) -> None:
        self.exchange.control("POST", path, **wish)

    def _route(self) -> str:
        return self.dice.choice(("", "market", "private"))

    def _passing(self, kind: str, *paths: str, **details: Any) -> None:
        self.exchange.fault(kind, *paths, **details)
        self._until(lambda: self.exchange.control("GET", "faults") == [], details.get("for_s", 0.0) + 20.0)
        self.exchange.control("DELETE", "faults")

    def _unknown(self, path: str) -> None:
        kind = self.dice.choice(("unknown_error", "message_bus", "backend_timeout", "lost"))
        self._passing(kind, path, times=1, placed=self.dice.random() < 0.5)

    def _skew(self) -> None:
        self._control("skew", skew_ms=self.dice.choice((-400_000, 400_000, 5_000)))
        time.sleep(3)
        self._control("skew", skew_ms=0)

    def _ban(self) -> None:
        self._control("ban", for_s=3.0)
        time.sleep(3.2)

    def _kill_bot(self) -> None:
        self.bot.kill()
        time.sleep(self.dice.uniform(0, 1))
        self.bot.start()

    def _restart_bot(self) -> None:
        began = time.monotonic()
        code = self.bot.stop(within_s=20.0)
        self.counts.stops_s.append(time.monotonic() - began)
        self._expect(code == 0, f"S8: SIGTERM ended the bot with {code}")
        self._expect(self.counts.stops_s[-1] <= 10.0, f"S8: the bot took {self.counts.stops_s[-1]:.1f} s to stop")
        self.bot.start()

    def _freeze_bot(self) -> None:
        """A frozen bot must not look alive (S15); thawed, it must go on."""
        assert self.bot.process is not None
        self.bot.process.send_signal(signal.SIGSTOP)
        time.sleep(6.5)  # five seconds is the shortest patience of the health check
        row = self._heartbeat()
        well = row is not None and heartbeat_health(row, SystemClock().now_ms(), self.bot.process.pid).well
        self._expect(not well, "S15: a frozen bot was called healthy")
        self.bot.process.send_signal(signal.SIGCONT)

    def _kill_exchange(self) -> None:
        self.exchange.kill()
        time.sleep(self.dice.uniform(0, 2))
        self.exchange = paper.restart(self.exchange)

    def _freeze_exchange(self) -> None:
        self.exchange.process.send_signal(signal.SIGSTOP)
        time.sleep(self.dice.uniform(1, 4))
        self.exchange.process.send_signal(signal.SIGCONT)

    def _lock_database(self) -> None:
        with closing(sqlite3.connect(self.bot.database, isolation_level=None, timeout=10)) as rude:
            rude.execute("BEGIN IMMEDIATE")
            time.sleep(self.dice.uniform(1, 15))
            rude.execute("ROLLBACK")

    def _fill_disk(self) -> None:
        """Fill the small file system that holds the bot's folder; without one (not root) nothing is done."""
        if not os.path.ismount(self.bot.folder):
            self.counts.faults["disk full"] -= 1
            return
        ballast = self.bot.folder / "ballast"
        free = os.statvfs(self.bot.folder)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
        time.sleep(self.dice.uniform(2, 6))
        ballast.unlink()

    def _kill_other(self, name: str) -> None:
        self.others[name].kill()
        self.others[name].wait(5)
        self.start_other(name)

    # --- how it goes -------------------------------------------------------------------------------------------

    def start_other(self, name: str) -> None:
        """Start one of the other services on the bot's database."""
        script = SERVICES[name][0]
        ports = {SERVICES[each][1]: str(port) for each, port in self._ports.items()}
        with (self.bot.folder / f"{name}.log").open("ab") as log:
            self.others[name] = subprocess.Popen(
                [sys.executable, script], cwd=ROOT, env=self.bot._environment() | ports, stdout=log, stderr=log
            )

    def run(self, market_days: float) -> None:
        """Let faults happen until so many market days have passed."""
        self.bot.start()
        self.witness.start()
        for name, (script, _, _) in SERVICES.items():
            if (ROOT / script).exists():
                self.start_other(name)
        self._recovered("start", self._cycles())
        end_ms = self.exchange.now_ms() + market_days * 86_400_000
        names = sorted(self.faults())
        bag: list[str] = []
        while self.exchange.now_ms() < end_ms:
            if not bag:  # every fault once, in a new order each time
                bag = self.dice.sample(names, len(names))
            self._happen(bag.pop())
            self.sample()
            if self.dice.random() < 0.25:
                self.check_books()
        self.exchange.control("DELETE", "faults")
        self.check_books()
        self._expect(self.bot.stop(within_s=20.0) == 0, "S8: the last SIGTERM did not end the bot with 0")
        self.witness.stop()

    def _happen(self, name: str) -> None:
        time.sleep(self.dice.uniform(0.3, 3.0))
        self.counts.faults[name] += 1
        self.obstruction = name
        self.faults()[name]()
        self._recovered(name, self._cycles())

    def _recovered(self, name: str, cycles: int) -> None:
        """Wait until the bot has taken two turns more; what takes too long, or a bot that died, is a violation."""
        began = time.monotonic()
        self._until(lambda: not self.bot.alive or self._cycles() >= cycles + 2, RECOVERS_WITHIN_S)
        if not self.bot.alive:
            assert self.bot.process is not None
            last = self.bot.log.splitlines()[-1:]
            self._expect(False, f"after '{name}' the bot died: exit code {self.bot.process.returncode}, {last}")
            self.bot.start()
            self._until(lambda: self._cycles() >= cycles + 2, RECOVERS_WITHIN_S)
        self._expect(self._cycles() >= cycles + 2, f"after '{name}' no two turns in {RECOVERS_WITHIN_S:.0f} s")
        self.counts.recoveries_s.setdefault(name, []).append(time.monotonic() - began)
        self.obstruction = ""

    def check_books(self) -> None:
        """Journal and exchange agree to the last digit while flat, and no order was placed twice."""
        if self._until(lambda: open_position(self.exchange) == 0 and self._settled(), BOOKS_AGREE_WITHIN_S):
            self.counts.checks["books agree"] += 1
        elif open_position(self.exchange) != 0:
            self.counts.checks["books not judged: a position stayed open"] += 1
        else:
            self._expect(False, "S3: wallet and journal differ")
        twice = duplicates(self.exchange)
        self._expect(not twice, f"S2: sent twice: {twice}")
        self._expect(self.bot.rows("PRAGMA integrity_check") == [("ok",)], "the database is damaged")
        self.counts.checks["order ids unique, database whole"] += 1

    def sample(self) -> None:
        """Measure what the processes use."""
        assert self.bot.process is not None
        processes = {"bot": self.bot.process, "exchange": self.exchange.process, **self.others}
        for name, process in processes.items():
            self.meter.sample(name, process.pid)

    def end(self) -> None:
        """End every process that still runs, by its number."""
        self.witness.stop()
        for process in (*self.others.values(), self.bot.process, self.exchange.process):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(5)

    def summary(self) -> dict[str, Any]:
        """Return all that was counted."""
        log = self.bot.log
        self._expect(self.witness.longest_fair_s <= LONGEST_NAKED_S, "S1: a position had no stop for too long")
        self._expect(CANARY not in self._all_text() and API_SECRET not in self._all_text(), "S11: a secret was written")
        self._expect("Traceback" not in log, "a traceback in the bot's log")
        spells = sorted(each for rows in self.counts.recoveries_s.values() for each in rows)
        first, last, turns = self.bot.rows("SELECT MIN(timestamp), MAX(timestamp), COUNT(*) FROM signals")[0]
        return {
            "market": [first, last],
            "turns": turns,
            "orders": self.bot.rows("SELECT COUNT(*) FROM orders")[0][0],
            "trades closed": self.bot.rows("SELECT COUNT(*) FROM trades WHERE status = 'closed'")[0][0],
            "exits by reason": dict(self.bot.rows("SELECT exit_reason, COUNT(*) FROM trades GROUP BY 1 ORDER BY 1")),
            "faults": sum(self.counts.faults.values()),
            "faults by kind": dict(sorted(self.counts.faults.items())),
            "seconds to two further turns": {
                "median": round(spells[len(spells) // 2], 2),
                "slowest": {
                    name: round(max(rows), 1)
                    for name, rows in sorted(self.counts.recoveries_s.items(), key=lambda each: -max(each[1]))[:5]
                },
            },
            "checks": dict(self.counts.checks),
            "witness": {
                "looks": self.witness.looks,
                "positions seen": self.witness.positions_seen,
                "longest without a stop, fair weather, s": round(self.witness.longest_fair_s, 2),
                "longest without a stop, under a fault, s": {
                    name: round(value, 2) for name, value in sorted(self.witness.longest_obstructed_s.items())
                },
            },
            "slowest SIGTERM, s": round(max(self.counts.stops_s, default=0.0), 2),
            "use": self.meter.summary(),
            "log lines": len(log.splitlines()),
            "violations": self.counts.violations,
        }

    def _all_text(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in self.bot.folder.rglob("*.log*"))

    def _cycles(self) -> int:
        rows = self.bot.rows("SELECT COUNT(*) FROM signals")
        return int(rows[0][0]) if rows else 0  # no rows: there are no tables yet

    def _settled(self) -> bool:
        return settled(self.exchange, self.bot)

    def _heartbeat(self) -> dict[str, Any] | None:
        names = ("beat_at", "interval_s", "speed", "cycle_no", "phase", "pid")
        rows = self.bot.rows(f"SELECT {', '.join(names)} FROM bot_status WHERE process = 'trading_bot'")
        return dict(zip(names, rows[0], strict=True)) if rows else None

    def _until(self, seen: Callable[[], object], within_s: float) -> bool:
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s:
            try:
                if seen():
                    return True
            except OSError:
                pass  # the exchange is coming up
            time.sleep(0.05)
        return False

    def _expect(self, kept: bool, words: str) -> None:
        if not kept and words not in self.counts.violations:
            self.counts.violations.append(words)
            print(f"VIOLATION {words}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Run one soak and print its summary; return 0 where nothing was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.suite.soak", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--market-days", type=float, default=2.0)
    parser.add_argument("--speed", type=float, default=120.0, help="market seconds in one wall second")
    parser.add_argument("--seed", type=int, default=1)
    wish = parser.parse_args(arguments)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        place = Path(name) / "bot"  # the exchange keeps its own state elsewhere: Binance does not fill our disk
        place.mkdir()
        mounted = _small_disk(place)
        try:
            told = _soaked(Path(name) / "exchange.json", place, wish)
        finally:
            if mounted:
                subprocess.run(["umount", str(place)], check=False)
    told["wall_s"] = round(time.monotonic() - began_s)
    print(json.dumps(told, indent=2))
    return 1 if told["violations"] else 0


def _soaked(state: Path, place: Path, wish: argparse.Namespace) -> dict[str, Any]:
    """Run exchange, bot and faults; return the summary, also of a run that broke off."""
    calm = {"POSITION_PERCENTAGE": "0.01", "EXPLORATION_RATE": "0.9"}  # the money must last for the whole time
    secrets = {"NEWSAPI_KEY": CANARY, "BOT_CONTROL_PIN": CANARY}
    own = {"PAPER_API_KEY": API_KEY, "PAPER_API_SECRET": API_SECRET}
    exchange = paper.start(state, speed=wish.speed, settings=own)
    where = {"PAPER_PORT": str(exchange.port), "PAPER_SPEED": str(wish.speed), "PAPER_MARKET": "synthetic"}
    soak = Soak(exchange, Bot(place, {**BUSY, **calm, **secrets, **where}), wish.seed)
    try:
        soak.run(wish.market_days)
        return soak.summary()
    except (AssertionError, OSError) as error:
        soak.counts.violations.append(f"the run broke off: {error!r}")
        return soak.summary()
    finally:
        soak.end()


def _small_disk(place: Path) -> bool:
    """Mount a file system of its own that can be filled; root only."""
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", "size=512m,mode=700", "tmpfs", str(place)]
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
