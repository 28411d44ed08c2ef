"""The invariant checker of a soak: a separate process that polls the exchange's state many times a second.

``python -m tests.suite.soak_invariants PORT`` reads lines of JSON from standard input: the fault that is active now
(``{"obstruction": "..."}``, empty for none), or ``{"tell": true}``, which it answers with one line that holds all
counts.
"""

import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from tests.paper_exchange.running import ROOT, control

LOOK_EVERY_S = 0.03
GRACE_S = 0.5  # after a fault has ended the answers it delayed are still on their way
DAY_MS = 86_400_000
SETTLED_MS = 600_000  # of the market: so long after a day's limit was passed the bot must have seen it

NOBODY: dict[str, Any] = {"positions": [], "algo_orders": [], "balances": [], "transferred": "0"}


@dataclass
class Seen:
    """What the checker has counted; seconds are wall time, ``_ms`` is market time."""

    looks: int = 0
    positions: int = 0
    longest_fair_s: float = 0.0
    longest_obstructed_s: dict[str, float] = field(default_factory=dict)
    days: int = 0
    days_over_limit: int = 0
    entries_over_limit: int = 0
    most_weight_1m: int = 0
    most_orders_10s: int = 0
    most_orders_1m: int = 0
    limits_exceeded: int = 0
    asked_while_banned: int = 0
    largest_notional_share: float = 0.0


EXTERNAL_POSITION = "bot: external position"  # the fault in which another client opens a position


class InvariantChecker:
    """Checks one state after the other; ``loss_limit`` is the daily loss limit as a share of the day's first equity."""

    def __init__(self, loss_limit: float = 0.0) -> None:
        self.seen = Seen()
        self.obstruction = "start"
        self._loss_limit = Decimal(str(loss_limit))
        self._naked_since_s: float | None = None
        self._fair_since_s: float | None = None
        self._held: set[str] = set()
        self._day = -1
        self._day_earned = Decimal(0)
        self._over_since_ms: int | None = None
        self._strain: dict[str, int] = {}

    def look(self, state: dict[str, Any] | None, now_s: float) -> None:
        """Take in the exchange's state, None where it does not answer."""
        if state is None:
            self._judge_guards(set(), "exchange down", now_s)
            return
        self.seen.looks += 1
        account = next(iter(state["accounts"].values()), NOBODY)
        positions = [row for row in account["positions"] if Decimal(row["positionAmt"]) != 0]
        held = {row["symbol"] for row in positions}
        stops = {row["symbol"] for row in account["algo_orders"] if row["orderType"] == "STOP_MARKET"}
        self._judge_guards(held - stops, self.obstruction, now_s)
        self._judge_day(state["clock"]["now_ms"], account, positions, bool(held - self._held))
        self.seen.positions += len(held - self._held)
        self._held = held
        self._judge_limits(state["limits"])

    def _judge_guards(self, naked: set[str], obstruction: str, now_s: float) -> None:
        """S1: only seconds without an active fault count as a violation; the others are recorded by fault."""
        if obstruction:
            self._fair_since_s = None
        else:
            self._fair_since_s = self._fair_since_s or now_s + GRACE_S
        if not naked:
            self._naked_since_s = None
            return
        self._naked_since_s = self._naked_since_s or now_s
        if obstruction:
            longest = self.seen.longest_obstructed_s
            longest[obstruction] = max(longest.get(obstruction, 0.0), now_s - self._naked_since_s)
        else:
            fair_s = now_s - max(self._naked_since_s, self._fair_since_s or now_s)
            self.seen.longest_fair_s = max(self.seen.longest_fair_s, fair_s)

    def _judge_day(self, now_ms: int, account: dict[str, Any], positions: list[dict[str, Any]], entered: bool) -> None:
        """S5: a day whose limit was passed while flat sees no further entry; the bot has a moment to notice.

        What was paid in or out is neither loss nor gain: the day's first equity moves with it.
        """
        wallet = sum((Decimal(row["balance"]) for row in account["balances"] if row["asset"] == "USDT"), Decimal(0))
        equity = wallet + sum((Decimal(row["unRealizedProfit"]) for row in positions), Decimal(0))
        paid = Decimal(account["transferred"])
        if now_ms // DAY_MS != self._day:
            self._day, self._day_earned, self._over_since_ms = now_ms // DAY_MS, equity - paid, None
            self.seen.days += 1
        notional = sum((abs(Decimal(row["notional"])) for row in positions), Decimal(0))
        if equity > 0:
            self.seen.largest_notional_share = max(self.seen.largest_notional_share, float(notional / equity))
        own = self.obstruction != EXTERNAL_POSITION and not self.obstruction.startswith("owner:")
        if entered and own and self._over_since_ms is not None and now_ms - self._over_since_ms > SETTLED_MS:
            self.seen.entries_over_limit += 1
        over = self._loss_limit and equity < (self._day_earned + paid) * (1 - self._loss_limit * Decimal("1.05"))
        if over and not positions and self._over_since_ms is None:
            self._over_since_ms = now_ms
            self.seen.days_over_limit += 1

    def _judge_limits(self, strain: dict[str, int]) -> None:
        """S10: how close requests came to the exchange's limits; its counters restart with its process."""
        seen = self.seen
        seen.most_weight_1m = max(seen.most_weight_1m, strain["weight_1m"])
        seen.most_orders_10s = max(seen.most_orders_10s, strain["orders_10s"])
        seen.most_orders_1m = max(seen.most_orders_1m, strain["orders_1m"])
        for name, total in (("exceeded", "limits_exceeded"), ("banned", "asked_while_banned")):
            before = self._strain.get(name, 0)
            new = strain[name] - before if strain[name] >= before else strain[name]
            setattr(seen, total, getattr(seen, total) + new)
        self._strain = strain


class InvariantCheckerProcess:
    """Runs the invariant checker as a process: receives the active fault, returns the counts at the end."""

    def __init__(self, port: int, loss_limit: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.suite.soak_invariants", str(port), str(loss_limit)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def obstruct(self, name: str) -> None:
        """Report the active fault; empty for none."""
        self._say({"obstruction": name})

    def tell(self) -> Seen:
        """Return the counts so far."""
        self._say({"tell": True})
        assert self.process.stdout is not None
        return Seen(**json.loads(self.process.stdout.readline()))

    def end(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)

    def _say(self, words: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()


def main(port: int, loss_limit: float) -> None:
    """Look until standard input ends."""
    checker = InvariantChecker(loss_limit)
    turn = threading.Lock()

    def listen() -> None:
        for line in sys.stdin:
            words = json.loads(line)
            with turn:
                checker.obstruction = words.get("obstruction", checker.obstruction)
                if "tell" in words:
                    print(json.dumps(asdict(checker.seen)), flush=True)
        ended.set()

    ended = threading.Event()
    threading.Thread(target=listen, daemon=True).start()
    while not ended.wait(LOOK_EVERY_S):
        try:
            state = control(f"http://127.0.0.1:{port}", "GET", "state")
        except OSError:
            state = None
        with turn:
            checker.look(state, time.monotonic())


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
