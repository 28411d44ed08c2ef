"""What an entry that waits as a maker saves and misses: python -m benchmarks.maker_orders [--pairs N] [--every MIN]

The real position manager enters on the paper exchange's venue over recorded minutes, every so many of them, long and
short in turn, once by market and once for each waiting time, and leaves again. Compared is what the entry costs against
the middle of the book at the decision, fee included, in basis points. The venue's book is pessimistic: an order that
waits is filled only when the price trades through its own, and by the depth that comes to it. Prints Markdown.
"""

import argparse
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np

from src.backtest.config import BreakerPolicy, PastContexts, Setup
from src.backtest.harness import BacktestHarness
from src.domain.clock import MINUTE_MS
from src.domain.portfolio import Direction
from src.market_data.columns import Candles
from src.market_data.files import read_candles
from src.strategy.indicators import IndicatorFold
from src.strategy.q_agent import QLearningAgent
from src.strategy.rules import DecisionRules

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))
PAIRS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "DOGEUSDT")
WAITS_MS = (0, 15_000, 30_000, 60_000, 120_000, 300_000)
WARM_UP = 1_100
NOTIONAL = Decimal(2_000)


def main() -> None:
    """Measure every pair and waiting time, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=len(PAIRS))
    parser.add_argument("--every", type=int, default=97, help="minutes between two entries")
    command = parser.parse_args()
    logging.disable(logging.WARNING)
    print(
        "| waits | entries | filled as maker | cost, bps | saved against market, bps | when missed, bps | worst, bps |"
    )
    print("|---|---|---|---|---|---|---|")
    series = {pair: read_candles(DATA / f"{pair}_um_1m_2023JulAug.parquet") for pair in PAIRS[: command.pairs]}
    market = _costs(series, 0, command.every)[0]
    for wait_ms in WAITS_MS:
        costs, maker = _costs(series, wait_ms, command.every)
        missed = costs[maker < 1.0]
        print(
            f"| {wait_ms // 1_000} s | {len(costs)} | {maker.mean():.1%} | {costs.mean():.2f} "
            f"| {(market - costs).mean():+.2f} ± {1.96 * (market - costs).std() / np.sqrt(len(costs)):.2f} "
            f"| {f'{missed.mean():.2f}' if len(missed) else '-'} | {costs.max():.1f} |",
            flush=True,
        )


def _costs(series: dict[str, Candles], wait_ms: int, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cost of each entry in basis points, and the part of it that was filled as a maker."""
    rows = [row for pair, candles in series.items() for row in _entries(pair, candles, wait_ms, every)]
    costs, maker = np.array(rows).T
    return costs, maker


def _entries(pair: str, candles: Candles, wait_ms: int, every: int) -> Sequence[tuple[float, float]]:
    """Enter and leave once every so many minutes; return cost and maker's part of each entry."""
    rules = DecisionRules(entry_order="maker", maker_wait_ms=wait_ms) if wait_ms else DecisionRules()
    setup = replace(Setup(symbol=pair, rules=rules), breaker_policy=BreakerPolicy.OFF, balance=Decimal(100_000))
    first_ms = int(candles.open_ms[WARM_UP])
    harness = BacktestHarness(
        candles=candles,
        setup=setup,
        agent=QLearningAgent(),
        first_ms=first_ms,
        funding=None,
        contexts=PastContexts(()),
        indicators=IndicatorFold(),
    )
    harness.feed.beyond = WARM_UP
    harness.position_manager.reconcile(harness.exchange.account())
    harness.exchange.prepare(pair, setup.limits.leverage, "CROSSED")
    found = []
    for number, row in enumerate(range(WARM_UP + 5, len(candles) - every, every)):
        direction = Direction.LONG if number % 2 == 0 else Direction.SHORT
        found.append(_entry(harness, pair, int(candles.open_ms[row]), direction))
    return found


def _entry(harness: BacktestHarness, pair: str, at_ms: int, direction: Direction) -> tuple[float, float]:
    manager, exchange = harness.position_manager, harness.exchange
    harness.clock.advance_to(at_ms)
    bid, ask = exchange.best_prices(pair)
    middle = (bid + ask) / 2
    quantity = exchange.instrument(pair).quantity_down(NOTIONAL / middle)
    refused = manager.open(direction, quantity, at_ms, "benchmark")
    while manager.halt_reason == "an entry waits for its price":
        harness.clock.advance_to(harness.clock.now_ms() + 1_000)
        manager.reconcile(exchange.account())
    trade = manager.trade
    if refused or trade is None:
        raise SystemExit(f"no entry at {at_ms}: {refused or manager.halt_reason}")
    fills = [each for each in exchange.fills(pair, at_ms) if each.side is direction.entry_side]
    waited = sum((each.quantity for each in fills if each.maker), Decimal(0))
    value = sum((each.quantity * each.price for each in fills), Decimal(0))
    fee = sum((each.fee for each in fills), Decimal(0)) / value
    cost = float((trade.entry_price / middle - 1) * direction.sign + fee) * 10_000
    manager.close("benchmark")
    harness.clock.advance_to(harness.clock.now_ms() + 2 * MINUTE_MS)
    manager.reconcile(exchange.account())
    harness.venue.drain()
    return cost, float(waited / quantity)


if __name__ == "__main__":
    main()
