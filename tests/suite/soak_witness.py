"""Who watches a soak: a witness who asks the exchange alone, and a meter of what the processes use."""

import os
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.paper_exchange.running import PaperExchange

_LOOK_EVERY_S = 0.03
_GRACE_S = 0.5  # after a fault has ended the answers it delayed are still on their way


@dataclass
class Witness:
    """Asks the exchange's own state many times a second for positions that no stop guards.

    ``obstruction`` names what keeps anybody from placing a stop just now (the bot was killed or frozen, the exchange
    is down or refuses), or is empty: only unobstructed seconds count against the promise.
    """

    exchange: Callable[[], PaperExchange]
    obstruction: Callable[[], str]
    looks: int = 0
    positions_seen: int = 0
    longest_fair_s: float = 0.0
    longest_obstructed_s: dict[str, float] = field(default_factory=dict)
    _naked_since_s: float | None = None
    _fair_since_s: float | None = None
    _held: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look, in a thread."""
        self._thread = threading.Thread(target=self._watch, name="witness", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the looking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            try:
                state = self.exchange().control("GET", "state")
            except OSError:
                self._judge(set(), "exchange down")
                continue
            self._judge(self._naked(state), self.obstruction())

    def _naked(self, state: dict[str, Any]) -> set[str]:
        """Return the symbols with a position and no stop; count the positions."""
        self.looks += 1
        account = next(iter(state["accounts"].values()), {"positions": [], "algo_orders": []})
        held = {row["symbol"] for row in account["positions"] if Decimal(row["positionAmt"]) != 0}
        stops = {row["symbol"] for row in account["algo_orders"] if row["orderType"] == "STOP_MARKET"}
        if held and not self._held:
            self.positions_seen += 1
        self._held = bool(held)
        return held - stops

    def _judge(self, naked: set[str], obstruction: str) -> None:
        now = time.monotonic()
        if obstruction:
            self._fair_since_s = None
        else:
            self._fair_since_s = self._fair_since_s or now + _GRACE_S
        if not naked:
            self._naked_since_s = None
            return
        self._naked_since_s = self._naked_since_s or now
        whole_s = now - self._naked_since_s
        if obstruction:
            self.longest_obstructed_s[obstruction] = max(self.longest_obstructed_s.get(obstruction, 0.0), whole_s)
        else:
            fair_s = now - max(self._naked_since_s, self._fair_since_s or now)
            self.longest_fair_s = max(self.longest_fair_s, fair_s)


@dataclass
class Meter:
    """Samples memory and file handles of named processes, and tells whether they grew."""

    samples: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def sample(self, name: str, pid: int) -> None:
        """Take one sample of a process that runs; one that ended meanwhile gives none."""
        try:
            with open(f"/proc/{pid}/status", encoding="ascii") as status:
                kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
            handles = len(os.listdir(f"/proc/{pid}/fd"))
        except (OSError, StopIteration):
            return
        self.samples.setdefault(name, []).append((kilobytes / 1000, handles))

    def summary(self) -> dict[str, dict[str, float]]:
        """Return medians of the second and the last fifth of the samples, for each process with ten or more."""
        told = {}
        for name, rows in self.samples.items():
            if len(rows) < 10:
                continue
            fifth = len(rows) // 5
            early, late = rows[fifth : 2 * fifth], rows[-fifth:]
            told[name] = {
                "samples": len(rows),
                "memory_mb_early": round(statistics.median(row[0] for row in early), 1),
                "memory_mb_late": round(statistics.median(row[0] for row in late), 1),
                "handles_early": statistics.median(row[1] for row in early),
                "handles_late": statistics.median(row[1] for row in late),
            }
        return told
