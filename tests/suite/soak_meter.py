"""What the processes of a soak use over time: memory, file handles, and whether they grow."""

import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

EVERY_S = 5.0
GROWN_UP_S = 30.0  # a process that just started still loads what it needs
FEWEST = 10


class Sample(NamedTuple):
    """One look at a process: wall second of the soak, its number, age, resident and proportional MB, handles."""

    at_s: float
    pid: int
    age_s: float
    rss_mb: float
    pss_mb: float
    handles: int


@dataclass
class Meter:
    """Samples the named processes every few seconds in a thread of its own."""

    processes: Callable[[], Mapping[str, int]]
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    _born_s: dict[int, float] = field(default_factory=dict)
    _began_s: float = field(default_factory=time.monotonic)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="meter", daemon=True).start()

    def stop(self) -> None:
        """End."""
        self._stop.set()

    def summary(self, since_s: float) -> dict[str, dict[str, float]]:
        """Return for each process medians and slopes of its grown-up samples from ``since_s`` of the soak on.

        The slope is that of a straight line by least squares through the longest uninterrupted life in that time.
        """
        told = {}
        for name, samples in self.samples.items():
            life = _longest_life([each for each in samples if each.at_s >= since_s and each.age_s >= GROWN_UP_S])
            if len(life) >= FEWEST:
                told[name] = _figures(samples, life)
        return told

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            for name, pid in self.processes().items():
                sample = self._sample(pid)
                if sample is not None:
                    self.samples.setdefault(name, []).append(sample)

    def _sample(self, pid: int) -> Sample | None:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
                sizes = {words[0]: int(words[1]) for line in rollup if len(words := line.split()) == 3}
            handles = len(os.listdir(f"/proc/{pid}/fd"))
        except (OSError, ValueError):
            return None
        now_s = time.monotonic()
        age_s = now_s - self._born_s.setdefault(pid, now_s)
        return Sample(now_s - self._began_s, pid, age_s, sizes["Rss:"] / 1000, sizes["Pss:"] / 1000, handles)


def _longest_life(samples: list[Sample]) -> list[Sample]:
    lives: dict[int, list[Sample]] = {}
    for sample in samples:
        lives.setdefault(sample.pid, []).append(sample)
    return max(lives.values(), key=len, default=[])


def _figures(samples: list[Sample], life: list[Sample]) -> dict[str, float]:
    fifth = max(len(life) // 5, 1)
    early, late = life[:fifth], life[-fifth:]
    hours = [each.at_s / 3600 for each in life]
    return {
        "samples": len(samples),
        "life_min": round((life[-1].at_s - life[0].at_s) / 60, 1),
        "rss_mb_early": round(statistics.median(each.rss_mb for each in early), 1),
        "rss_mb_late": round(statistics.median(each.rss_mb for each in late), 1),
        "rss_mb_most": round(max(each.rss_mb for each in samples), 1),
        "pss_mb_late": round(statistics.median(each.pss_mb for each in late), 1),
        "rss_mb_per_hour": round(statistics.linear_regression(hours, [each.rss_mb for each in life]).slope, 2),
        "handles_early": statistics.median(each.handles for each in early),
        "handles_late": statistics.median(each.handles for each in late),
        "handles_most": max(each.handles for each in samples),
        "handles_per_hour": round(statistics.linear_regression(hours, [each.handles for each in life]).slope, 2),
    }
