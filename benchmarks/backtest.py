"""How fast the past goes by: the exact path, the sweep kernel, and other engines beside them, in one run.

    python3 -m benchmarks.backtest [--candles FILE] [--variants N]

Each row runs in a process of its own, one after the other; CPU seconds are the process's own, so that neighbours
disturb little. Without a file the candles are a year of a random walk (seed 7). backtesting.py and vectorbt take part
where they are installed (``pip install backtesting vectorbt``); they run the crossing rule below, which asks much less
of an engine than our six votes, agent, venue and journal.
"""

import argparse
import importlib.util
import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from src.market_data.columns import Candles
from src.market_data.files import read_candles
from src.market_data.store import MarketStore

START_MS = 1_672_531_200_000
YEAR = 525_600
FAST, SLOW, RSI, MOST_RSI, STOP, TARGET, FEE, WARM = 12, 26, 14, 70.0, 0.02, 0.05, 0.0005, 200


def walk(count: int) -> Candles:
    """Return a random walk whose volatility comes in waves, on a tick of 0.1; every open is the close before it."""
    dice = np.random.default_rng(7)
    wave = 0.0004 * np.exp(0.7 * np.sin(np.arange(count) / 2_000.0))
    close = np.round(30_000.0 * np.exp(np.cumsum(dice.standard_t(5, count) * wave)), 1)
    opened = np.concatenate(([30_000.0], close[:-1]))
    reach = np.abs(dice.normal(0.0, 0.0003, (2, count)))
    high = np.round(np.maximum(opened, close) * (1.0 + reach[0]), 1)
    low = np.round(np.minimum(opened, close) * (1.0 - reach[1]), 1)
    volume = np.round(dice.lognormal(4.0, 0.8, count), 3)
    times = START_MS + 60_000 * np.arange(count)
    zeros = np.zeros(count)
    return Candles(times, opened, high, low, close, volume, zeros.astype(np.int64), zeros, zeros)


def exact(path: Path, explore: float) -> dict[str, object]:
    """Run the live trader over all candles; ``explore`` makes it trade more."""
    from src.backtest.engine import run_backtest
    from src.backtest.setup import BreakerPolicy, Setup
    from src.rl_model import QLearningAgent

    candles = read_candles(path)
    run_backtest(candles.cut(0, 3_000), Setup(), QLearningAgent())  # loads the compiled code
    began, wall = time.process_time(), time.perf_counter()
    setup = Setup(breaker_policy=BreakerPolicy.OFF)
    outcome = run_backtest(candles, setup, QLearningAgent(exploration_rate=explore))
    return _row(len(outcome.instants), began, wall, len(outcome.trades), outcome.turns_taken)


def kernel(path: Path, count: int) -> dict[str, object]:
    """Run ``count`` variants of the same rules, on all cores."""
    from src.backtest.setup import Setup
    from src.backtest.sweep import Sweep
    from src.backtest.variants import parse_grid, variants
    from src.rl_model import QLearningAgent

    candles = read_candles(path)
    stops = ",".join(f"{0.005 + 0.001 * number:.3f}" for number in range(max(count // 4, 1)))
    tried = variants(parse_grid([f"stop_loss_share={stops}", "min_signal_strength=2,3", "min_holding_ms=0,3600000"]))
    first, last = int(candles.open_ms[1_000]), int(candles.open_ms[-1])
    sweep = Sweep(candles, Setup(), lambda _rules: QLearningAgent(), first, last)
    sweep.run(tried[:1])  # makes signals and advice, and loads the compiled code
    wall, began = time.perf_counter(), time.process_time()
    result = sweep.run(tried)
    rate_base = len(tried) * (len(candles) - 1_000)
    return _row(rate_base, began, wall, sum(row["trades"] for row in result.rows), len(tried))


def backtesting_py(path: Path) -> dict[str, object]:
    """Run the crossing rule in backtesting.py."""
    import warnings

    warnings.simplefilter("ignore")
    import pandas as pd
    from backtesting import Backtest, Strategy

    candles = read_candles(path)
    names = ("open", "high", "low", "close", "volume")
    frame = pd.DataFrame({name.capitalize(): getattr(candles, name) for name in names})
    frame.index = pd.to_datetime(candles.open_ms, unit="ms")
    fast, slow, rsi = _columns(frame["Close"])

    class Crossing(Strategy):
        def init(self) -> None:
            self.fast, self.slow = self.I(lambda: fast), self.I(lambda: slow)
            self.rsi = self.I(lambda: rsi)

        def next(self) -> None:
            if self.position or len(self.data) <= WARM:
                return
            crossed = self.fast[-1] > self.slow[-1] and self.fast[-2] <= self.slow[-2]
            if crossed and self.rsi[-1] < MOST_RSI:
                price = self.data.Close[-1]
                self.buy(size=1, sl=price * (1 - STOP), tp=price * (1 + TARGET))

    test = Backtest(frame, Crossing, cash=10_000_000, commission=FEE)
    began, wall = time.process_time(), time.perf_counter()
    result = test.run()
    return _row(len(candles), began, wall, int(result["# Trades"]), 1)


def vectorbt(path: Path) -> dict[str, object]:
    """Run the crossing rule in vectorbt."""
    import pandas as pd
    import vectorbt as vbt

    candles = read_candles(path)
    close = pd.Series(candles.close)
    fast, slow, rsi = _columns(close)
    entries = pd.Series((fast > slow) & (np.roll(fast, 1) <= np.roll(slow, 1)) & (rsi < MOST_RSI))
    entries[:WARM] = False
    prices = {"open": candles.open, "high": candles.high, "low": candles.low}

    def run() -> int:
        held = vbt.Portfolio.from_signals(
            close, entries, False, **prices, sl_stop=STOP, tp_stop=TARGET, fees=FEE, size=1, init_cash=10_000_000,
            freq="1min",
        )  # fmt: skip
        return int(held.trades.count())

    run()  # compiles
    began, wall = time.process_time(), time.perf_counter()
    return _row(len(candles), began, wall, run(), 1)


def _columns(close: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    change = close.diff()
    up = change.clip(lower=0).ewm(alpha=1 / RSI, adjust=False).mean()
    down = (-change.clip(upper=0)).ewm(alpha=1 / RSI, adjust=False).mean()
    means = (close.ewm(span=span, adjust=False).mean().to_numpy() for span in (FAST, SLOW))
    return *means, (100 - 100 / (1 + up / down)).to_numpy()


def _row(candles: int, began: float, wall: float, trades: int, count: int) -> dict[str, object]:
    spent, waited = time.process_time() - began, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "candles": candles, "cpu_s": spent, "wall_s": waited, "rate": candles / spent, "wall_rate": candles / waited,
        "peak_mib": peak, "trades": trades, "count": count,
    }  # fmt: skip


JOBS = {
    "exact path": lambda path, _: exact(path, 0.0),
    "exact path, trying much": lambda path, _: exact(path, 0.05),
    "sweep kernel": kernel,
    "backtesting.py": lambda path, _: backtesting_py(path),
    "vectorbt": lambda path, _: vectorbt(path),
}
NEEDS = {"backtesting.py": "backtesting", "vectorbt": "vectorbt"}


def main() -> int:
    """Run every engine there is and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candles", type=Path, help="a file of one-minute candles (default: a year of random walk)")
    parser.add_argument("--variants", type=int, default=64, help="of the sweep")
    parser.add_argument("--only", choices=list(JOBS), help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.only:
        logging.disable(logging.CRITICAL)
        print(json.dumps(JOBS[wish.only](wish.candles, wish.variants)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = wish.candles
        if path is None:
            MarketStore(Path(folder)).merge_candles("BTCUSDT", "1m", walk(YEAR))
            path = Path(folder) / "BTCUSDT-1m.parquet"
        print(f"{'engine':26}{'candles':>14}{'candles/s CPU':>16}{'/s wall':>14}{'CPU s':>8}{'MiB':>7}{'trades':>9}")
        for name in JOBS:
            _measure(name, path, wish.variants)
    return 0


def _measure(name: str, path: Path, variants: int) -> None:
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        print(f"{name:26} not installed")
        return
    words = [sys.executable, "-m", "benchmarks.backtest", "--only", name, "--candles", str(path)]
    done = subprocess.run([*words, "--variants", str(variants)], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name:26} failed: {done.stderr.strip().splitlines()[-1]}")
        return
    row = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{name:26}{row['candles']:>14,}{row['rate']:>16,.0f}{row['wall_rate']:>14,.0f}{row['cpu_s']:>8.2f}"
        f"{row['peak_mib']:>7.0f}{row['trades']:>9,}"
    )


if __name__ == "__main__":
    sys.exit(main())
