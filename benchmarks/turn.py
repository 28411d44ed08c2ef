"""What a turn costs, beside the naive way, in one run: python -m benchmarks.turn

Prints milliseconds: the whole turn without network (observe, decide, journal in a real SQLite file, learn), the
agent's choice, the way from a mark price that crosses the early stop to the close order being sent over HTTP to a
paper exchange, and a naive turn (500-row frame, ``ta``) as the baseline.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pandas
import ta

from src.domain.circuit_breaker import BreakerLimits
from src.domain.clock import ExchangeClock
from src.domain.portfolio import Direction
from src.domain.risk import ActiveLimits, RiskLimits
from src.exchanges.binance.client import BinanceClient
from src.execution.order_manager import OrderManager
from src.execution.pair_settings import PairSettings
from src.execution.position_manager import PositionManager
from src.execution.risk_manager import RiskManager
from src.execution.stop_monitor import StopMonitor
from src.execution.trader import Trader
from src.storage.database import TradingDatabase
from src.storage.journal_repository import JournalRepository
from src.storage.rows import Owner
from src.strategy.decision import DecisionRules
from src.strategy.q_agent import QLearningAgent
from tests.paper_world import paper_server
from tests.world import SYMBOL, World, walk

TURNS = 2_000
STOPS = 60


def percentiles(samples_s: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile in milliseconds."""
    ordered = sorted(samples_s)
    return statistics.median(ordered) * 1e3, ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))] * 1e3


def timed(work: Callable[[], object], times: int) -> list[float]:
    """Return how many seconds each call of ``work`` took."""
    samples = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        samples.append(time.perf_counter() - began)
    return samples


def turns(folder: Path) -> list[float]:
    """Seconds of each whole turn over a walking market, journal on disk."""
    world = World(walk(TURNS + 400))
    database = TradingDatabase(f"sqlite:///{folder}/turn.db", Owner())
    database.migrate()
    journal = JournalRepository(database, world.clock)
    world.journal = journal  # type: ignore[assignment]
    risk = RiskManager(journal, world.clock, world.active, BreakerLimits(), 60_000)
    trader = Trader(
        bot_id="bot",
        settings=world.settings,
        feed=world.feed,
        position=world.position_manager(),
        journal=journal,
        clock=world.clock,
        agent=QLearningAgent(),
        rules=DecisionRules(),
        limits=world.active,
        risk=risk,
        context=lambda: None,
        stopping=lambda: False,
    )
    samples = []
    for minute in range(300, 300 + TURNS):
        world.at(minute)
        began = time.perf_counter()
        trader.run_trading_cycle()
        samples.append(time.perf_counter() - began)
    database.close()
    return samples[50:]


def naive_turns() -> list[float]:
    """Seconds of the indicators alone, the naive way: a frame of 500 rows and a library call for each."""
    candles = walk(500)
    frame = pandas.DataFrame(candles, columns=list(candles[0]._fields))

    def turn() -> None:
        ta.momentum.RSIIndicator(frame["close"]).rsi()
        ta.trend.MACD(frame["close"]).macd_diff()
        for window in (9, 21, 50, 200):
            ta.trend.EMAIndicator(frame["close"], window).ema_indicator()
        ta.volatility.BollingerBands(frame["close"]).bollinger_hband()
        ta.volatility.AverageTrueRange(frame["high"], frame["low"], frame["close"]).average_true_range()
        ta.volume.VolumeWeightedAveragePrice(
            frame["high"], frame["low"], frame["close"], frame["volume"]
        ).volume_weighted_average_price()

    return timed(turn, 60)


def choices() -> list[float]:
    """Seconds of the agent's choice."""
    agent = QLearningAgent()
    return timed(lambda: agent.recommend(100, 0, 1_700_000_000_000), 20_000)


def early_stops(folder: Path) -> list[float]:
    """Seconds from a mark price that crosses the early stop to the close order leaving for the exchange."""
    with paper_server(folder) as server:
        client = server.client()
        client.sync_clock()
        client.prepare(SYMBOL, 10, "CROSSED")
        return [early_stop(client, folder, number) for number in range(STOPS)]


def early_stop(client: BinanceClient, folder: Path, number: int) -> float:
    """Open a position, let the watch see a mark price below the early stop, and time its close order."""
    clock: ExchangeClock = client.clock
    database = TradingDatabase(f"sqlite:///{folder}/stop{number}.db", Owner())
    database.migrate()
    journal = JournalRepository(database, clock)
    pair = PairSettings(
        exchange=client, clock=clock, symbol=SYMBOL, leverage=RiskLimits().leverage, margin_type="CROSSED"
    )
    feed = _Feed(client)
    order_manager = OrderManager(exchange=client, journal=journal, clock=clock, bot_id=f"b{number}", settings=pair)
    limits = ActiveLimits(RiskLimits())
    position_manager = PositionManager(
        order_manager, client, journal, clock, limits, settings=pair, mark_price=lambda: feed.mark, candles=list,
        reconcile_ms=600_000,
    )  # fmt: skip
    risk = RiskManager(journal, clock, limits, BreakerLimits(), 60_000)
    trader = Trader(
        bot_id="bot",
        settings=pair,
        feed=feed,
        position=position_manager,
        journal=journal,
        clock=clock,
        agent=QLearningAgent(),
        rules=DecisionRules(),
        limits=limits,
        risk=risk,
        context=lambda: None,
        stopping=lambda: False,
    )
    position_manager.reconcile(client.account())
    assert position_manager.open(Direction.LONG, Decimal("0.010"), clock.now_ms(), "benchmark") == ""
    took_s = _time_of_close(trader, feed, order_manager, position_manager)
    database.close()
    return took_s


def _time_of_close(
    trader: Trader, feed: "_Feed", order_manager: OrderManager, position_manager: PositionManager
) -> float:
    """Return the seconds from a mark price below the early stop to the call that sends the close order."""
    watch = StopMonitor(trader)
    watch.start()
    sent: list[float] = []
    plain_close = order_manager.close

    def close(*args: object) -> object:
        sent.append(time.perf_counter())
        return plain_close(*args)  # type: ignore[arg-type]

    order_manager.close = close  # type: ignore[method-assign,assignment]
    level = position_manager.early_stop
    assert level is not None
    feed.mark = replace(feed.mark, mark=level.price - 1)
    began = time.perf_counter()
    watch.on_mark_price(feed.mark)
    while position_manager.trade is not None:
        time.sleep(0.001)
    watch.stop()
    return sent[0] - began


class _Feed:
    """A feed whose mark price the benchmark sets."""

    def __init__(self, client: BinanceClient) -> None:
        self._client = client
        self.mark = client.mark_price(SYMBOL)

    def candles(self, symbol: str) -> list[object]:
        """Return none: no turn is taken."""
        return []

    def mark_price(self, symbol: str) -> object:
        """Return the price that was set."""
        return self.mark

    def account(self) -> object:
        """Ask the exchange."""
        return self._client.account()


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [
            ("turn without network, journal on disk", turns(folder), "p50 <= 1, p99 <= 5"),
            ("naive turn: indicators alone, ta, 500 rows", naive_turns(), "baseline"),
            ("agent's choice", choices(), "<= 0.020"),
            ("mark price over the early stop -> close order", early_stops(folder), "p99 <= 50"),
        ]
    print(f"{'what':<50}{'n':>7}{'p50 ms':>10}{'p99 ms':>10}   budget")
    for what, samples, budget in rows:
        median, high = percentiles(samples)
        print(f"{what:<50}{len(samples):>7}{median:>10.4f}{high:>10.4f}   {budget}")
    ratio = percentiles(rows[1][1])[0] / percentiles(rows[0][1])[0]
    print(f"a whole turn is {ratio:.0f} times as fast as the naive indicators alone")


if __name__ == "__main__":
    main()
