"""Strategy files for the tests: a good one, and one for each thing that can be wrong with one."""

from pathlib import Path

HEAD = '''
from dataclasses import dataclass
from src.strategy.targets import PortfolioObservation, Target
{imports}

@dataclass(frozen=True)
class Own:
    """A strategy of a test."""

    share: float = 0.3
    days: int = 2

    name = "own"
    candle_interval = "1h"
    warm_up_candles = 48
    pairs = ("BTCUSDT", "ETHUSDT")

    def targets(self, observation):
        return tuple(self._target(symbol, candles) for symbol, candles in observation.candles.items())

    def _target(self, symbol, candles):
        closes = [candle.close for candle in candles[-self.days * 24 :]]
        weight = self.share if closes[-1] > sum(closes) / len(closes) else 0.0
{body}
        return Target(symbol, weight, self.share / 4, "above its mean" if weight else "below its mean")
'''


def text(body: str = "", imports: str = "") -> str:
    """Return a strategy file that holds a pair above its mean; ``body`` changes ``weight`` before it is returned."""
    return HEAD.format(body="\n".join(f"        {line}" for line in body.splitlines()), imports=imports)


def written(folder: Path, source: str, name: str = "own") -> Path:
    """Write a strategy file and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(source)
    return path


BEHIND = "rows = getattr(candles, '_rows', candles)"  # what lies behind the view that a backtest hands over
BAD = {
    "raises": (text("weight = 1 / 0"), "own.py, line 24: ZeroDivisionError: division by zero"),
    "hangs": (text("while True:\n    pass"), "own.py took more than"),
    "hangs while loading": ("while True:\n    pass\n", "own.py took more than"),
    "NaN": (text('weight = float("nan")'), "own.py: the target of BTCUSDT is nan, which is no number"),
    "a target of 50": (text("weight = 50"), "own.py: the target of BTCUSDT is 50 times the equity; at most 3"),
    "a text as target": (text('weight = "much"'), "own.py: the target of BTCUSDT is 'much', which is no number"),
    "shift(-1)": (
        text("weight = float(pd.Series(closes).shift(-1).iloc[-2] > closes[-2])", "import pandas as pd"),
        "own.py, line 24: pd.Series(closes).shift(-1) looks ahead",
    ),
    "centred window": (
        text("weight = float(pd.Series(closes).rolling(5, center=True).mean().iloc[-3] > 0)", "import pandas as pd"),
        "own.py, line 24: pd.Series(closes).rolling(5, center=True) looks ahead: a centred window",
    ),
    "filled from later": (
        text("weight = float(pd.Series(closes).bfill().iloc[0] > 0)", "import pandas as pd"),
        "looks ahead: it fills a gap from candles that close later",
    ),
    "shift by a variable, of what lies behind": (
        text(
            f"{BEHIND}\nnow = len(candles) - 1\nsteps = -1\nseries = pd.Series([each.close for each in rows])"
            "\nweight = float(series.shift(steps).iloc[now] > series.iloc[now])",
            "import pandas as pd",
        ),
        "own.py looks ahead: with",
    ),
    "the high of the candle that has not closed": (
        text(
            f"{BEHIND}\nnow = min(len(candles), len(rows) - 1)"
            "\nweight = float(rows[now].high > 1.004 * rows[now - 1].close)"
        ),
        "own.py looks ahead: with",
    ),
    "a centred window over what lies behind": (
        text(
            f"{BEHIND}\nnear = [c.close for c in rows[len(candles) - 3 : len(candles) + 2]]"
            "\nweight = float(sum(near) / len(near) > closes[-1])"
        ),
        "own.py looks ahead: with",
    ),
    "a missing package": (
        text(imports="import no_such_package"),
        "own.py imports no_such_package, which is not installed",
    ),
    "state between pairs": (
        text("SEEN.append(symbol)\nweight = 0.1 * (len(SEEN) % 3)", "SEEN = []"),
        "own.py keeps state between",
    ),
    "state in a fresh instance, by the order of pairs": (
        text(
            "LAST.setdefault(len(candles), symbol)\nweight = 0.1 if LAST[len(candles)] == symbol else 0.0", "LAST = {}"
        ),
        "own.py keeps state between pairs",
    ),
    "chance": (text("weight = random.random()", "import random"), "own.py is not deterministic"),
    "changes its input": (text("candles.reverse()"), "own.py changes the candles"),
    "reads a file": (text('open("/etc/hostname").read()'), "own.py, line 24: it reaches outside of its argument (open"),
    "reads a file and hides it": (
        text('try:\n    open("/etc/hostname").read()\nexcept BaseException:\n    pass'),
        "own.py, line 25: it reaches outside of its argument (open",
    ),
    "reads a file while loading": (
        text(imports='NOTES = open("/etc/hostname").read()'),
        "own.py, line 4: it reaches outside",
    ),
    "opens a socket": (text('socket.create_connection(("127.0.0.1", 9))', "import socket"), "it reaches outside"),
    "starts a process": (text('subprocess.run(["true"])', "import subprocess"), "it reaches outside"),
    "reads the clock": (
        text("weight = time.time() % 1", "import time"),
        "own.py, line 24: time.time() reads the clock",
    ),
    "leaves the process": (text("raise SystemExit(3)"), "own.py, line 24: SystemExit: 3"),
    "ends the process": (text("os._exit(3)", "import os"), "own.py ended the process that checked it"),
    "no class": ("x = 1\n", "must hold exactly one class with a method targets; found: none"),
    "two classes": (text() + text().replace("class Own", "class Other"), "found: Own, Other"),
    "not frozen": (text().replace("(frozen=True)", ""), "the class must be a frozen dataclass"),
    "no Python": ("def broken(:\n", "own.py, line 1: invalid syntax"),
    "an unknown interval": (text().replace('"1h"', '"7h"'), "candle_interval is '7h'; known are 3m"),
    "a target too few": (
        text().replace("observation.candles.items())", "list(observation.candles.items())[:1])"),
        "one target for each pair",
    ),
    "another kind of answer": (
        text().replace("        return tuple(", "        return 7 or tuple("),
        "it returned int",
    ),
}
