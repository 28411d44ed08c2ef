"""How fast the past goes by: the exact path, the sweep kernel, and other engines beside them, in one run.

    python3 -m benchmarks.backtest [--candles FILE] [--variants N] [--rounds N] [--peer-python PYTHON]...

Each row runs in a process of its own, one after the other; CPU seconds are the process's own, so that neighbours
disturb little, and of several rounds the median is shown. Without a file the candles are a year of a random walk
(seed 7). backtesting.py, vectorbt and nautilus_trader take part where this interpreter, or one of those given with
``--peer-python``, can import them (``python3 -m venv peers && peers/bin/pip install backtesting vectorbt
nautilus_trader``, then ``--peer-python peers/bin/python``); they run the crossing rule of ``backtest_peers``, which
asks much less of an engine than our six votes, agent, venue and journal. The portfolio's candles are those of all six
pairs together, its trades are fills; budget: 6 s and 400 MB for a year of minutes.
"""

import argparse
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.backtest_peers import NOT_INSTALLED, PEERS
from src.market_data.columns import Candles
from src.market_data.files import read_candles
from src.market_data.store import MarketStore

START_MS = 1_672_531_200_000
YEAR = 525_600
PEER_COLUMNS = ("open_ms", "open", "high", "low", "close", "volume")


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
    from src.backtest.config import BreakerPolicy, Setup
    from src.backtest.engine import run_backtest
    from src.strategy.q_agent import QLearningAgent

    candles = read_candles(path)
    run_backtest(candles.cut(0, 3_000), Setup(), QLearningAgent())  # loads the compiled code
    began, wall = time.process_time(), time.perf_counter()
    setup = Setup(breaker_policy=BreakerPolicy.OFF)
    outcome = run_backtest(candles, setup, QLearningAgent(exploration_rate=explore))
    return _row(len(outcome.instants), began, wall, len(outcome.trades), outcome.turns_taken)


def kernel(path: Path, count: int) -> dict[str, object]:
    """Run ``count`` variants of the same rules, on all cores."""
    from src.backtest.config import Setup
    from src.backtest.sweep import Sweep
    from src.backtest.variants import parse_grid, variants
    from src.strategy.q_agent import QLearningAgent

    candles = read_candles(path)
    stops = ",".join(f"{0.005 + 0.001 * number:.3f}" for number in range(max(count // 4, 1)))
    tried = variants(parse_grid([f"stop_loss_share={stops}", "min_signal_strength=2,3", "min_holding_ms=0,3600000"]))
    first, last = int(candles.open_ms[1_000]), int(candles.open_ms[-1])
    sweep = Sweep(candles=candles, setup=Setup(), taught=lambda _rules: QLearningAgent(), from_ms=first, to_ms=last)
    sweep.run(tried[:1])  # makes signals and advice, and loads the compiled code
    wall, began = time.perf_counter(), time.process_time()
    result = sweep.run(tried)
    rate_base = len(tried) * (len(candles) - 1_000)
    return _row(rate_base, began, wall, sum(row["trades"] for row in result.rows), len(tried))


def portfolio(path: Path) -> dict[str, object]:
    """Run the trend portfolio over six pairs: the candles given, and five walks of the same length beside them."""
    from src.backtest.portfolio_engine import run_portfolio
    from src.backtest.portfolio_files import lean
    from src.backtest.portfolio_setup import PortfolioSetup
    from src.strategy.trend_portfolio import TrendPortfolio

    first = lean(read_candles(path))
    pairs = {"BTCUSDT": first}
    for number, symbol in enumerate(("ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "DOGEUSDT")):
        pairs[symbol] = lean(_beside(first, number))
    wall, began = time.perf_counter(), time.process_time()
    outcome = run_portfolio(pairs, TrendPortfolio(), PortfolioSetup(), from_ms=int(first.open_ms[0]))
    fills = sum(len(book.fills) for book in outcome.books.values())
    return _row(sum(len(each) for each in pairs.values()), began, wall, fills, len(outcome.decisions))


def _beside(candles: Candles, seed: int) -> Candles:
    """Return a walk that shares some of the candles' way, on a tick of 0.01."""
    dice = np.random.default_rng(seed)
    own = np.exp(np.cumsum(dice.normal(0.0, 0.0004, len(candles))))
    close = np.round(candles.close * own / 10.0, 2)
    opened = np.concatenate((close[:1], close[:-1]))
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    zeros = np.broadcast_to(np.zeros(1), len(close))
    none = np.broadcast_to(np.zeros(1, np.int64), len(close))
    return Candles(candles.open_ms, opened, high, low, close, candles.volume, none, zeros, zeros)


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
    "portfolio of six pairs": lambda path, _: portfolio(path),
}


def main() -> int:
    """Run every engine there is and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candles", type=Path, help="a file of one-minute candles (default: a year of random walk)")
    parser.add_argument("--variants", type=int, default=64, help="of the sweep")
    parser.add_argument("--rounds", type=int, default=1, help="how often each engine runs, in turn; medians are shown")
    parser.add_argument(
        "--peer-python", action="append", default=[], help="another interpreter that has peers (may be repeated)"
    )
    parser.add_argument("--only", choices=list(JOBS), help=argparse.SUPPRESS)
    command = parser.parse_args()
    if command.only:
        logging.disable(logging.CRITICAL)
        print(json.dumps(JOBS[command.only](command.candles, command.variants)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path, columns = command.candles, Path(folder) / "columns.npz"
        if path is None:
            MarketStore(Path(folder)).merge_candles("BTCUSDT", "1m", walk(YEAR))
            path = Path(folder) / "BTCUSDT-1m.parquet"
        candles = read_candles(path)
        np.savez(columns, **{name: getattr(candles, name) for name in PEER_COLUMNS})
        ours = [
            sys.executable,
            "-m",
            "benchmarks.backtest",
            "--candles",
            str(path),
            "--variants",
            str(command.variants),
        ]
        commands = {name: [[*ours, "--only", name]] for name in JOBS}
        peers = Path(__file__).with_name("backtest_peers.py")
        for name in PEERS:
            commands[name] = [[each, str(peers), name, str(columns)] for each in (sys.executable, *command.peer_python)]
        _print_table(commands, command.rounds)
    return 0


def _print_table(commands: dict[str, list[list[str]]], rounds: int) -> None:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {rounds} round(s)")
    found: dict[str, list[dict[str, Any] | str]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, tried in commands.items():
            found[name].append(_measured(tried))
    print(f"{'engine':26}{'candles':>14}{'candles/s CPU':>16}{'/s wall':>14}{'CPU s':>8}{'MiB':>7}{'trades':>9}")
    for name, rows in found.items():
        said = [row for row in rows if isinstance(row, str)]
        print(f"{name:26} {said[0]}" if said else _line(name, [row for row in rows if isinstance(row, dict)]))
    print(f"load {os.getloadavg()[0]:.1f}")


def _line(name: str, rows: list[dict[str, Any]]) -> str:
    middle = {key: statistics.median(row[key] for row in rows) for key in ("rate", "wall_rate", "cpu_s", "peak_mib")}
    return (
        f"{name + ' ' + rows[0].get('version', ''):26}{rows[0]['candles']:>14,}{middle['rate']:>16,.0f}"
        f"{middle['wall_rate']:>14,.0f}{middle['cpu_s']:>8.2f}{middle['peak_mib']:>7.0f}{rows[0]['trades']:>9,}"
    )


def _measured(tried: list[list[str]]) -> dict[str, Any] | str:
    """Return what the first command that has its engine measured, or in words why there is nothing."""
    for words in tried:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return row
        if done.returncode != NOT_INSTALLED:
            return f"failed: {(done.stderr.strip().splitlines() or ['no word'])[-1]}"
    return "not installed"


if __name__ == "__main__":
    sys.exit(main())
