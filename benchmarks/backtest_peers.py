"""Other engines with one and the same rule, each in a process of its own: ``benchmarks.backtest`` starts them.

    PYTHON benchmarks/backtest_peers.py NAME CANDLES.npz

Needs nothing of this project but the file, so that any interpreter that has the engine can run it; ends 3 where the
engine is not installed. The rule: EMA 12 crosses above EMA 26 and Wilder's RSI 14 is below 70 -> buy one unit; out at
2 % below or 5 % above the close of that minute; 0.05 % of fees each way.
"""

import json
import resource
import sys
import time
import warnings
from typing import Any

import numpy as np

FAST, SLOW, RSI, MOST_RSI, STOP, TARGET, FEE, WARM = 12, 26, 14, 70.0, 0.02, 0.05, 0.0005, 200
MINUTE_MS = 60_000
NOT_INSTALLED = 3
CASH = 10_000_000


class Watch:
    """CPU and wall seconds since it was made."""

    def __init__(self) -> None:
        self._cpu_s, self._wall_s = time.process_time(), time.perf_counter()

    def row(self, candles: int, trades: int, version: str) -> dict[str, object]:
        """Return what a run of so many candles took, and brought."""
        cpu_s, wall_s = time.process_time() - self._cpu_s, time.perf_counter() - self._wall_s
        return {
            "candles": candles, "cpu_s": cpu_s, "wall_s": wall_s, "rate": candles / cpu_s,
            "wall_rate": candles / wall_s, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "trades": trades, "version": version,
        }  # fmt: skip


def backtesting_py(candles: dict[str, Any]) -> dict[str, object]:
    """Run the rule in backtesting.py."""
    import backtesting
    import pandas as pd

    frame = pd.DataFrame({name.capitalize(): candles[name] for name in ("open", "high", "low", "close", "volume")})
    frame.index = pd.to_datetime(candles["open_ms"], unit="ms")
    means = _columns(frame["Close"])

    class Crossing(backtesting.Strategy):  # type: ignore[misc, name-defined]
        def init(self) -> None:
            self.fast, self.slow, self.rsi = (self.I(lambda column=column: column) for column in means)

        def next(self) -> None:
            if self.position or len(self.data) <= WARM:
                return
            crossed = self.fast[-1] > self.slow[-1] and self.fast[-2] <= self.slow[-2]
            if crossed and self.rsi[-1] < MOST_RSI:
                price = self.data.Close[-1]
                self.buy(size=1, sl=price * (1 - STOP), tp=price * (1 + TARGET))

    test = backtesting.Backtest(frame, Crossing, cash=CASH, commission=FEE)
    watch = Watch()
    result = test.run()
    return watch.row(len(frame), int(result["# Trades"]), backtesting.__version__)


def vectorbt(candles: dict[str, Any]) -> dict[str, object]:
    """Run the rule in vectorbt; it compiles in a first run that does not count."""
    import pandas as pd
    import vectorbt as vbt

    close = pd.Series(candles["close"])
    fast, slow, rsi = _columns(close)
    entries = pd.Series((fast > slow) & (np.roll(fast, 1) <= np.roll(slow, 1)) & (rsi < MOST_RSI))
    entries[:WARM] = False

    def trades() -> int:
        held = vbt.Portfolio.from_signals(
            close, entries, False, open=candles["open"], high=candles["high"], low=candles["low"], sl_stop=STOP,
            tp_stop=TARGET, fees=FEE, size=1, init_cash=CASH, freq="1min",
        )  # fmt: skip
        return int(held.trades.count())

    trades()
    watch = Watch()
    return watch.row(len(close), trades(), vbt.__version__)


def nautilus_trader(candles: dict[str, Any]) -> dict[str, object]:
    """Run the rule in nautilus_trader: an event for each bar, bracket orders at a simulated venue."""
    import nautilus_trader as nautilus
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.common.config import LoggingConfig
    from nautilus_trader.model.currencies import USDT
    from nautilus_trader.model.data import Bar, BarType
    from nautilus_trader.model.enums import AccountType, OmsType
    from nautilus_trader.model.identifiers import Venue
    from nautilus_trader.model.objects import Money, Price, Quantity
    from nautilus_trader.test_kit.providers import TestInstrumentProvider

    contract = TestInstrumentProvider.btcusdt_perp_binance()
    kind = BarType.from_str(f"{contract.id}-1-MINUTE-LAST-EXTERNAL")
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False))
    engine.add_venue(Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, [Money(CASH, USDT)])
    engine.add_instrument(contract)
    prices = zip(*(candles[name].tolist() for name in ("open", "high", "low", "close")), strict=True)
    closed_ns = ((candles["open_ms"] + MINUTE_MS) * 1_000_000).tolist()
    volume = candles["volume"].tolist()
    engine.add_data(
        [
            Bar(kind, *(Price(each, 1) for each in row), Quantity(size, 3), at, at)
            for row, size, at in zip(prices, volume, closed_ns, strict=True)
        ]
    )
    engine.add_strategy(_nautilus_strategy(contract, kind))
    watch = Watch()
    engine.run()
    positions = [*engine.cache.positions_closed(), *engine.cache.position_snapshots()]
    return watch.row(len(volume), sum(each.is_closed for each in positions), nautilus.__version__)


def _nautilus_strategy(contract: Any, kind: Any) -> Any:
    from nautilus_trader.indicators import ExponentialMovingAverage, MovingAverageType, RelativeStrengthIndex
    from nautilus_trader.model.enums import OrderSide, OrderType
    from nautilus_trader.trading.strategy import Strategy

    class Crossing(Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.fast, self.slow = ExponentialMovingAverage(FAST), ExponentialMovingAverage(SLOW)
            self.rsi = RelativeStrengthIndex(RSI, MovingAverageType.WILDER)
            self.bars, self.was_above = 0, True

        def on_start(self) -> None:
            for indicator in (self.fast, self.slow, self.rsi):
                self.register_indicator_for_bars(kind, indicator)
            self.subscribe_bars(kind)

        def on_bar(self, bar: Any) -> None:
            self.bars += 1
            above, was_above = self.fast.value > self.slow.value, self.was_above
            self.was_above = above
            ready = self.bars > WARM and 100.0 * self.rsi.value < MOST_RSI
            if not (above and not was_above and ready and self.portfolio.is_flat(contract.id)):
                return
            price = bar.close.as_double()
            orders = self.order_factory.bracket(
                contract.id, OrderSide.BUY, contract.make_qty(1), entry_order_type=OrderType.MARKET,
                sl_trigger_price=contract.make_price(price * (1 - STOP)),
                tp_price=contract.make_price(price * (1 + TARGET)), tp_post_only=False,
            )  # fmt: skip
            self.submit_order_list(orders)

    return Crossing()


def _columns(close: Any) -> tuple[Any, Any, Any]:
    """Return both exponential means and the RSI of a pandas series of closes, as arrays."""
    change = close.diff()
    up = change.clip(lower=0).ewm(alpha=1 / RSI, adjust=False).mean()
    down = (-change.clip(upper=0)).ewm(alpha=1 / RSI, adjust=False).mean()
    fast, slow = (close.ewm(span=span, adjust=False).mean().to_numpy() for span in (FAST, SLOW))
    return fast, slow, (100 - 100 / (1 + up / down)).to_numpy()


PEERS = {"backtesting.py": backtesting_py, "vectorbt": vectorbt, "nautilus_trader": nautilus_trader}
MODULES = {"backtesting.py": "backtesting", "vectorbt": "vectorbt", "nautilus_trader": "nautilus_trader"}


def main() -> int:
    """Run the engine named, print one line of JSON; return 3 where it cannot be imported."""
    name, path = sys.argv[1:3]
    warnings.simplefilter("ignore")
    try:
        __import__(MODULES[name])
    except ImportError:
        return NOT_INSTALLED
    with np.load(path) as columns:
        candles = {column: columns[column] for column in columns.files}
    print(json.dumps(PEERS[name](candles)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
