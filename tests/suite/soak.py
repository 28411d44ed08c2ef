"""A soak: the whole suite for market days on end, with random faults all the time, judged by the exchange's own state.

``python -m tests.suite.soak --market-days 2 --speed 120`` prints counts and violations as JSON and exits
with 0 only if there were none. ``--minutes`` ends it earlier, ``--json FILE`` saves the counts every minute, and
``python -m tests.suite.soak_page FILE`` writes them into ``docs/reliability.md``. The random generator is seeded
(``--seed``): its choices are repeatable, the exact times are not. In the last two fifths no process is ended any more,
so that memory and file handles are measured over long runs.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from src.agents.circuit_breaker_service import change_breaker
from src.domain.circuit_breaker import BreakerState, BreakerStatus, TripCause, trip
from src.storage.database import TradingDatabase
from src.storage.rows import Owner
from tests.paper_exchange import running as paper
from tests.paper_exchange.running import API_KEY, API_SECRET, ROOT, PaperExchange
from tests.suite.running import (
    BUSY,
    Bot,
    booked,
    duplicates,
    free_port,
    open_position,
    paid,
    transferred,
    wallet,
)
from tests.suite.soak_cable import CableProcess
from tests.suite.soak_faults import Faults
from tests.suite.soak_invariants import InvariantCheckerProcess
from tests.suite.soak_meter import Meter
from tests.suite.soak_owner import OwnerFaults
from tests.suite.soak_services import Services

LONGEST_NAKED_S = 1.0
RECOVERS_WITHIN_S = 60.0
BOOKS_AGREE_WITHIN_S = 60.0
GROWS_AT_MOST_MB = 12.0
HANDLES_GROW_AT_MOST = 6.0
CALM_FROM = 0.6
LOSS_LIMIT = 0.002
KEPT_EVERY_S = 60.0
_EXITS = "SELECT exit_reason, COUNT(*) FROM trades WHERE status = 'closed' GROUP BY 1 ORDER BY 1"
CANARY = "canary-7f3a9d51c2e84b60-must-never-be-seen"
SETTINGS = {  # the money must last; ages are of the market, which runs many times as fast as the machine
    **BUSY,
    "POSITION_PERCENTAGE": "0.01",
    "EXPLORATION_RATE": "0.9",
    "MAX_DAILY_LOSS_PERCENTAGE": str(LOSS_LIMIT),
    "MAX_MARK_AGE_S": "240",
    "MAX_CANDLE_AGE_S": "420",
    "MAX_ACCOUNT_AGE_S": "3600",
    "BREAKER_MAX_STALE_S": "3600",
    "BREAKER_MAX_EXCHANGE_ERRORS": "10",
    "CHART_INTERVAL_MINUTES": "720",
    "NEWS_INTERVAL_MINUTES": "720",
    "KEEP_DAYS": "3650",
    "NEWSAPI_KEY": CANARY,
    "BOT_CONTROL_PIN": CANARY,
}


@dataclass
class Counts:
    """What happened, and what must not have."""

    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    recoveries_s: dict[str, list[float]] = field(default_factory=dict)
    checks: Counter[str] = field(default_factory=Counter)
    stops_s: list[float] = field(default_factory=list)
    breaker_resets: Counter[str] = field(default_factory=Counter)


class Soak:
    """One run: exchange, cable, bot, the other services, invariant checker, meter and random generator."""

    def __init__(
        self, exchange: PaperExchange, bot: Bot, cable: CableProcess, place: Path, seed: int, only: str = ""
    ) -> None:
        self.exchange, self.bot, self.cable, self.place, self.only = exchange, bot, cable, place, only
        self.dice = random.Random(seed)
        self.counts = Counts()
        self.others = Services(bot, {})
        self.faults = Faults(self, self.dice)
        self.owner = OwnerFaults(self, self.dice)
        self.forgotten: set[str] = set()
        self.checker = InvariantCheckerProcess(exchange.port, LOSS_LIMIT)
        self.meter = Meter(self._running)
        self.foreign_money = Decimal(0)
        self.began_s = time.monotonic()
        self.began_ms = exchange.now_ms()
        self.calm_from_s = 0.0

    # --- how it goes -------------------------------------------------------------------------------------------

    def run(self, market_days: float, minutes: float, keep: Callable[[], None]) -> None:
        """Let faults happen until so many market days, or minutes of the wall, have passed."""
        self.bot.start()
        self.meter.start()
        self._recovered("start", 0)
        for name in self.others.names:
            self.others.start(name)
        bag: list[str] = []
        kept_s = time.monotonic()
        while (share := self.progress(market_days, minutes)) < 1.0:
            if share >= CALM_FROM and not self.calm_from_s:
                self.calm_from_s, bag = time.monotonic() - self.began_s, []
            if not bag:  # every fault once, in a new order each time
                bag = self.dice.sample(names := sorted(self._handlers()), len(names))
            self.owner.keep_backup()
            self._happen(bag.pop())
            if self.dice.random() < 0.25:
                self.check_books()
            if time.monotonic() - kept_s > KEPT_EVERY_S:
                keep()
                kept_s = time.monotonic()
        self.exchange.control("DELETE", "faults")
        self.check_books(whole=True)
        self.expect(self.bot.stop(within_s=20.0) == 0, "S8: the last SIGTERM did not end the bot with 0")

    def progress(self, market_days: float, minutes: float) -> float:
        """Return the share of the run that is done."""
        by_wall = (time.monotonic() - self.began_s) / 60.0 / minutes
        return max(by_wall, self.market_days() / market_days)

    def market_days(self) -> float:
        """Return how many market days have passed."""
        return (self.exchange.now_ms() - self.began_ms) / 86_400_000

    def _handlers(self) -> dict[str, Callable[[], None]]:
        every = self.faults.lasting() | self.owner.lasting()
        every |= {} if self.calm_from_s else self.faults.ending() | self.owner.ending()
        chosen = {name: action for name, action in every.items() if self.only in name}
        return chosen or every

    def _happen(self, name: str) -> None:
        time.sleep(self.dice.uniform(0.2, 1.5))
        self.counts.faults[name] += 1
        self.checker.obstruct(name)
        self._handlers()[name]()
        self._recovered(name, self.cycles())
        for died in self.others.died():
            self.expect(False, f"after '{name}' ended by itself: {died}")
            self.others.start(died.split(" ")[0])

    def _recovered(self, name: str, cycles: int) -> None:
        """Wait until the bot has taken two turns more; what takes too long, or a bot that died, is a violation."""
        began = time.monotonic()
        self.until(lambda: not self.bot.alive or self.cycles() >= cycles + 2, RECOVERS_WITHIN_S)
        if not self.bot.alive:
            assert self.bot.process is not None
            last = self.bot.log.splitlines()[-1:]
            self.expect(False, f"after '{name}' the bot died: exit code {self.bot.process.returncode}, {last}")
            self.bot.start()
            self.until(lambda: self.cycles() >= cycles + 2, RECOVERS_WITHIN_S)
        self.expect(self.cycles() >= cycles + 2, f"after '{name}' no two turns in {RECOVERS_WITHIN_S:.0f} s")
        self.counts.recoveries_s.setdefault(name, []).append(time.monotonic() - began)
        self.breaker("reset")
        self.checker.obstruct("")

    # --- what is judged ----------------------------------------------------------------------------------------

    def check_books(self, *, whole: bool = False) -> None:
        """Journal and exchange agree to the last digit while flat (S3); every order stands in both, once (S2)."""
        if self.until(lambda: open_position(self.exchange) == 0 and self._settled(), BOOKS_AGREE_WITHIN_S):
            self.counts.checks["S3: wallet equals journal"] += 1
        elif open_position(self.exchange) != 0:
            self.counts.checks["S3 not judged: a position stayed open"] += 1
        else:
            gap = wallet(self.exchange) - Decimal(10_000) - self.foreign_money - self._booked()
            missing = transferred(self.exchange) - paid(self.bot)
            self.expect(False, f"S3: wallet and journal differ by {gap}, payments by {missing}")
        twice = duplicates(self.exchange)
        self.expect(not twice, f"S2: sent twice: {twice}")
        self.counts.checks["S2: no order twice"] += 1
        unknown = self._unknown_orders()
        self.expect(not unknown, f"S2: orders at the exchange that the journal does not know: {sorted(unknown)[:3]}")
        if whole or self.dice.random() < 0.05:
            self.expect(self.bot.rows("PRAGMA integrity_check") == [("ok",)], "the database is damaged")
            self.counts.checks["database whole"] += 1

    def summary(self) -> dict[str, Any]:
        """Return all that was counted; what can only be judged over the whole is judged here."""
        seen = self.checker.tell()
        self.expect(seen.longest_fair_s <= LONGEST_NAKED_S, "S1: a position had no stop for too long")
        self.expect(seen.entries_over_limit == 0, "S5: an entry after the day's loss limit")
        self.expect(seen.limits_exceeded == 0, "S10: a rate limit of the exchange was exceeded")
        text = self._all_text()
        self.expect(CANARY not in text and API_SECRET not in text, "S11: a secret was written")
        self.expect("Traceback" not in text, "a traceback in a log")
        tripped, breaches = self._breaker_breaches()
        self.expect(not breaches, f"S6: entries while the breaker was tripped: {breaches}")
        use = self.meter.summary(self.calm_from_s)
        for name, figures in use.items() if self.calm_from_s else ():
            grown = figures["rss_mb_late"] - figures["rss_mb_early"]
            if name != "exchange":  # it remembers every order and trade, as it must
                self.expect(grown <= GROWS_AT_MOST_MB, f"the memory of {name} grew by {grown:.1f} MB")
            more = figures["handles_late"] - figures["handles_early"]
            self.expect(more <= HANDLES_GROW_AT_MOST, f"the file handles of {name} grew by {more:.0f}")
        spells = sorted(each for rows in self.counts.recoveries_s.values() for each in rows)
        slowest = sorted(self.counts.recoveries_s.items(), key=lambda each: -max(each[1]))[:5]
        asked = self.exchange.control("GET", "requests")
        hours = [sum(count for name, count in hour.items() if "/fapi/" in name) for hour in asked.values()]
        days, speed = self.market_days(), self.exchange.options["speed"]
        turns = self.bot.rows("SELECT COUNT(*) FROM signals")[0][0]
        return {
            "speed": speed,
            "market_days": round(days, 2),
            "wall_s": round(time.monotonic() - self.began_s),
            "commit": _commit(),
            "load": [round(each, 1) for each in os.getloadavg()],
            "turns": turns,
            "turns_of_minutes": round(turns / (days * 1440), 3),
            "orders": self.bot.rows("SELECT COUNT(*) FROM orders")[0][0],
            "trades": self.bot.rows("SELECT COUNT(*) FROM trades WHERE status = 'closed'")[0][0],
            "exits": dict(self.bot.rows(_EXITS)),
            "faults": sum(self.counts.faults.values()),
            "kinds": dict(sorted(self.counts.faults.items())),
            "recovered_s": {
                "median": round(spells[len(spells) // 2], 2),
                "slowest": {name: round(max(rows), 1) for name, rows in slowest},
            },
            "checks": dict(sorted(self.counts.checks.items())),
            "invariants": asdict(seen),
            "breaker": {"tripped": tripped, "entries_while_tripped": len(breaches)},
            "stops": {"count": len(self.counts.stops_s), "slowest_s": round(max(self.counts.stops_s, default=0.0), 2)},
            "requests_per_market_hour": {"median": sorted(hours)[len(hours) // 2] if hours else 0, "hours": len(hours)},
            "use": use,
            "use_judged": bool(self.calm_from_s),
            "log_lines": text.count("\n"),
            "violations": self.counts.violations,
        }

    def expect(self, kept: object, words: str) -> None:
        """Count a violation, each once, and say it at once."""
        if not kept and words not in self.counts.violations:
            self.counts.violations.append(words)
            print(f"VIOLATION after {time.monotonic() - self.began_s:.0f} s: {words}", file=sys.stderr, flush=True)

    def _settled(self) -> bool:
        known = transferred(self.exchange) == paid(self.bot)
        return known and wallet(self.exchange) - Decimal(10_000) - self.foreign_money == self._booked()

    def _booked(self) -> Decimal:
        """Return what the journal has of trades and of money paid in or out."""
        return booked(self.bot) + paid(self.bot)

    def _unknown_orders(self) -> set[str]:
        """Return own client ids (the bot's begin with a mark of their own) that the journal does not have."""
        own = {name for (name,) in self.bot.rows("SELECT client_id FROM orders")}
        shape = next(iter(own))[:3] if own else ""
        here = set(self.exchange.control("GET", "client_ids"))
        return (
            {name for name in here if name.startswith(shape) and not name.startswith("autoclose-")}
            - own
            - self.forgotten
        )

    def _breaker_breaches(self) -> tuple[dict[str, int], list[str]]:
        """S6: return how often what tripped the breaker, and the entries decided while it was (a turn's grace)."""
        events = self.bot.rows("SELECT timestamp, status, trigger FROM circuit_breaker_events ORDER BY version")
        entries = self.bot.rows("SELECT timestamp, client_id FROM orders WHERE purpose = 'entry'")
        breaches, triggers = [], Counter[str]()
        for (since, status, trigger), following in zip(events, [*events[1:], ("9999", "", "")], strict=True):
            if status == "TRIPPED":
                triggers[trigger] += 1
                breaches += [name for at, name in entries if _minute_later(since) < at < following[0]]
        return dict(triggers), breaches

    # --- what the faults need to know ----------------------------------------------------------------------------

    def cycles(self) -> int:
        """Return the number of the last turn that is written down."""
        rows = self.bot.rows("SELECT MAX(id) FROM signals")
        return int(rows[0][0] or 0) if rows else 0  # no rows: there are no tables yet

    def rows_since(self, turn: int, which: str) -> int:
        """Return how many turns after number ``turn`` are as ``which`` says."""
        return int(self.bot.rows(f"SELECT COUNT(*) FROM signals WHERE id > {turn} AND {which}")[0][0])

    def turns_told(self) -> tuple[int, int]:
        """Return the number of turns by the heartbeat and by the journal, read in one look."""
        query = "SELECT cycle_no, (SELECT COUNT(*) FROM signals) FROM bot_status WHERE process = 'trading_bot'"
        rows = self.bot.rows(query)
        return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)

    def turns_lost(self, before: tuple[int, int]) -> int:
        """Return how many turns told since ``before`` are not in the journal, but for the one under way."""
        after = self.turns_told()
        return max((after[0] - before[0]) - (after[1] - before[1]) - 1, 0)

    def heartbeat(self) -> dict[str, Any] | None:
        """Return the bot's last sign of life."""
        names = ("beat_at", "interval_s", "speed", "cycle_no", "phase", "pid")
        rows = self.bot.rows(f"SELECT {', '.join(names)} FROM bot_status WHERE process = 'trading_bot'")
        return dict(zip(names, rows[0], strict=True)) if rows else None

    def detail(self, name: str) -> str:
        """Return one of the details beside the bot's sign of life, as text."""
        rows = self.bot.rows("SELECT details FROM bot_status WHERE process = 'trading_bot'")
        return str(json.loads(rows[0][0]).get(name, "")) if rows else ""

    def naked(self) -> bool:
        """Return whether the exchange holds a position without a stop."""
        account = next(iter(self.exchange.control("GET", "state")["accounts"].values()))
        stops = [row for row in account["algo_orders"] if row["orderType"] == "STOP_MARKET"]
        return open_position(self.exchange) != 0 and not stops

    def breaker(self, action: str) -> None:
        """Trip the breaker as a person at the dashboard would, or reset it where it is tripped."""
        rows = self.bot.rows("SELECT bot_id, mode, world FROM bot_status LIMIT 1")
        if not rows:
            return  # it never got so far
        bot_id, mode, world = rows[0]
        database = TradingDatabase(f"sqlite:///{self.bot.database}", Owner(bot_id, mode, world))
        now_ms = self.exchange.now_ms()

        def change(state: BreakerState) -> BreakerState:
            if action == "trip":
                return trip(state, TripCause("hand", "the soak wants it"), "soak", now_ms)
            if not state.tripped:
                return state
            armed = replace(state, status=BreakerStatus.ARMED, trigger="reset", reason="Reset by soak.", actor="soak")
            return replace(armed, since_ms=now_ms, version=state.version + 1, reset_requested_by="")

        try:
            change_breaker(database, bot_id, now_ms, change)
        finally:
            database.close()

    def until(self, seen: Callable[[], object], within_s: float) -> bool:
        """Return whether ``seen`` came true in time; an exchange that comes up answers nothing yet."""
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s:
            try:
                if seen():
                    return True
            except OSError:
                pass
            time.sleep(0.1)
        return False

    def end(self) -> None:
        """End every process that still runs, by its number."""
        self.meter.stop()
        self.others.end()
        for process in (self.bot.process, self.exchange.process):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(5)
        self.checker.end()
        self.cable.end()

    def _running(self) -> dict[str, int]:
        processes: dict[str, Any] = {"trading_bot": self.bot.process, "exchange": self.exchange.process}
        processes |= self.others.processes
        return {name: each.pid for name, each in processes.items() if each is not None}

    def _all_text(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in self.bot.folder.rglob("*.log*"))


def _minute_later(instant: str) -> str:
    """Return the text of an instant two minutes after that of another, comparable with it."""
    from src.domain.clock import instant_of, utc_text

    return utc_text(instant_of(instant) + 120_000)


def _commit() -> str:
    """Return which state of the project ran, empty where that is not known."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def main(arguments: list[str]) -> int:
    """Run one soak and print its summary; return 0 where nothing was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.suite.soak", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--market-days", type=float, default=2.0)
    parser.add_argument("--minutes", type=float, default=1e9, help="of wall time, at most")
    parser.add_argument("--speed", type=float, default=120.0, help="market seconds in one wall second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    parser.add_argument("--json", type=Path, help="file that keeps the counts as they stand")
    command = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))  # so that all that was started is ended
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as name:
        place = Path(name) / "disk"
        place.mkdir()
        mounted = _small_disk(place)
        try:
            told = _soaked(place, command)
            _keep(command.json, told)
            print(json.dumps(told, indent=2), flush=True)
        finally:
            if mounted:  # lazily: a child that a killed service left may still draw its last picture
                subprocess.run(["umount", "--lazy", str(place)], check=False)
    return 1 if told["violations"] else 0


def _soaked(place: Path, command: argparse.Namespace) -> dict[str, Any]:
    """Run it and return the summary, also of a run that broke off."""
    own = {"PAPER_API_KEY": API_KEY, "PAPER_API_SECRET": API_SECRET}
    exchange = paper.start(place / "exchange.json", speed=command.speed, settings=own)
    port = free_port()
    where = {"PAPER_PORT": str(port), "PAPER_SPEED": str(command.speed), "PAPER_MARKET": "synthetic:7"}
    folder = place / "bot"
    folder.mkdir()
    soak = Soak(
        exchange,
        Bot(folder, {**SETTINGS, **where}),
        CableProcess(port, exchange.port),
        place,
        command.seed,
        command.only,
    )
    try:
        soak.run(command.market_days, command.minutes, lambda: _keep(command.json, soak.summary()))
        return soak.summary()
    except (AssertionError, OSError, LookupError, SystemExit, subprocess.SubprocessError) as error:
        soak.expect(False, f"the run broke off: {error!r}")
        return soak.summary()
    finally:
        soak.end()


def _keep(path: Path | None, told: dict[str, Any]) -> None:
    if path is not None:
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        fresh.replace(path)


def _small_disk(place: Path) -> bool:
    """Mount a file system of its own that can be filled; root only."""
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", "size=900m,mode=700", "tmpfs", str(place)]
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
