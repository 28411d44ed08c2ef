"""A shadow portfolio: one strategy on the newest closed minutes, with an account of its own on the venue in process.

It is handed candles and rates, and nothing that could send an order to an exchange. A minute is passed once the
next one has closed, by the same account, costs, stops and limits as in a backtest: the same candles, the same result.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from src.backtest.portfolio_account import PortfolioAccount
from src.backtest.portfolio_setup import PortfolioSetup
from src.domain.clock import DAY_MS, MINUTE_MS
from src.domain.funding import USUAL_RATE, FundingRate
from src.domain.market import INTERVAL_MS, Candle, money
from src.domain.risk import loss_share
from src.strategy.targets import PortfolioObservation, Strategy

_SECOND_MS = 1_000
_KEPT_MINUTES = 180
_NEAR = 0.002
"""How near a minute may come to an early stop before it is passed second by second, as a share of the price."""


class ShadowMarket:
    """The newest minutes and funding rates of several pairs, as the venue's price source; older ones are dropped."""

    world = "live"

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self._candles: dict[str, dict[int, Candle]] = {symbol: {} for symbol in symbols}
        self._rates: dict[str, dict[int, float]] = {symbol: {} for symbol in symbols}

    def add(self, symbol: str, candle: Candle) -> None:
        """Take in a closed minute."""
        known = self._candles[symbol]
        known[candle.open_ms] = candle
        known.pop(candle.open_ms - _KEPT_MINUTES * MINUTE_MS, None)

    def settle(self, symbol: str, settle_ms: int, rate: float) -> None:
        """Take in the rate that is, or will be, settled at an instant."""
        self._rates[symbol][settle_ms] = rate

    def candle(self, symbol: str, open_ms: int) -> Candle | None:
        """Return the minute that begins at ``open_ms``, None where it is not known."""
        return self._candles[symbol].get(open_ms)

    def funding_rate(self, symbol: str, settle_ms: int) -> float:
        """Return the rate of a settlement, the usual one where it is not known."""
        return self._rates[symbol].get(settle_ms, USUAL_RATE)

    def settled(self, now_ms: int) -> dict[str, tuple[FundingRate, ...]]:
        """Return the settlements known until an instant."""
        return {
            symbol: tuple(FundingRate(at, rate) for at, rate in sorted(rates.items()) if at <= now_ms)
            for symbol, rates in self._rates.items()
        }


class ShadowPortfolio:
    """One strategy's virtual account.

    Args:
        strategy: says the targets.
        market: must hold a minute before it is passed.
        setup: limits, costs and balance.
        first_ms: the first decision, a whole minute.
        saved: what ``state`` returned before a restart.
    """

    def __init__(
        self,
        strategy: Strategy,
        market: ShadowMarket,
        setup: PortfolioSetup,
        first_ms: int,
        saved: Mapping[str, Any] | None = None,
    ) -> None:
        self._strategy = strategy
        self._market = market
        self._setup = setup
        self._step_ms = INTERVAL_MS[strategy.candle_interval]
        self.started_ms = int(saved["started_ms"]) if saved else first_ms
        self.now_ms = int(saved["now_ms"]) if saved else first_ms
        self._account = PortfolioAccount(market, setup, self.now_ms)
        self._decided = bool(saved)
        self._day, self._day_start, self._hit_day = -1, setup.balance, -1
        self.daily: list[list[float]] = []
        self._peak, self.deepest_share = float(setup.balance), 0.0
        self._trades_before = 0
        if saved:
            self._restore(saved)

    @property
    def name(self) -> str:
        """The name of the strategy."""
        return self._strategy.name

    @property
    def candle_interval(self) -> str:
        """The candles it looks at."""
        return self._strategy.candle_interval

    @property
    def equity(self) -> Decimal:
        """What the account is worth at the mark price."""
        return self._account.equity()

    @property
    def trades(self) -> int:
        """How many round trips have ended."""
        return self._trades_before + sum(len(book.closed) for book in self._account.books.values())

    def due(self) -> bool:
        """Return whether the next minute begins with a decision."""
        return not self._decided or self.now_ms % self._step_ms == 0

    def pass_minute(self, history: Mapping[str, Sequence[Candle]]) -> None:
        """Pass the minute that begins now; ``history`` holds the closed candles of the strategy's interval.

        The market must know this minute and the one after it: at the end of a minute the next one's price counts.
        """
        self._account.advance(self.now_ms)
        self._begin_day()
        if self.due():
            self._decide({symbol: _closed(rows, self._step_ms, self.now_ms) for symbol, rows in history.items()})
        end = self.now_ms + MINUTE_MS
        for at in range(self.now_ms + _SECOND_MS, end, _SECOND_MS) if self._near_a_stop() else ():
            self._advance(at)
        self._advance(end)
        self.now_ms = end
        equity = float(self.equity)
        self._peak = max(self._peak, equity)
        self.deepest_share = max(self.deepest_share, 1.0 - equity / self._peak)
        if self._account.positions() and loss_share(self._day_start, self.equity) >= self._limits.max_daily_loss_share:
            self._hit_day = (end - 1) // DAY_MS
            for symbol in self._account.positions():
                self._account.close(symbol, "daily_loss")
        if end % DAY_MS == 0:
            self.daily.append([end, equity])

    @property
    def _limits(self) -> Any:
        return self._setup.limits

    def _begin_day(self) -> None:
        if self.now_ms // DAY_MS != self._day:
            self._day, self._day_start = self.now_ms // DAY_MS, self.equity

    def _decide(self, known: Mapping[str, Sequence[Candle]]) -> None:
        self._decided = True
        seen = PortfolioObservation(self.now_ms, known, self._market.settled(self.now_ms))
        prices = {symbol: money(rows[-1].close) for symbol, rows in known.items() if rows}
        targets = [each for each in self._strategy.targets(seen) if each.symbol in prices]
        lost = self._hit_day == self.now_ms // DAY_MS
        refused = "the day's loss limit was reached; entries wait for the next UTC day" if lost else ""
        self._account.rebalance(targets, prices, refused, {})

    def _near_a_stop(self) -> bool:
        for symbol, position in self._account.positions().items():
            level, candle = self._account.early_stop(symbol), self._market.candle(symbol, self.now_ms)
            if level is None or candle is None:
                continue
            worst = candle.low * (1 - _NEAR) if position.direction.sign > 0 else candle.high * (1 + _NEAR)
            if (worst - float(level)) * position.direction.sign <= 0:
                return True
        return False

    def _advance(self, at: int) -> None:
        account = self._account
        account.advance(at)
        for symbol, position in account.positions().items():
            level = account.early_stop(symbol)
            if level is not None and (position.mark_price - level) * position.direction.sign <= 0:
                account.close(symbol, "early_stop")

    def state(self) -> dict[str, Any]:
        """Return everything that another process needs to go on, as plain JSON values."""
        return {
            "started_ms": self.started_ms,
            "now_ms": self.now_ms,
            "day": [self._day, str(self._day_start), self._hit_day],
            "daily": self.daily,
            "peak": self._peak,
            "deepest_share": self.deepest_share,
            "trades": self.trades,
            "account": self._account.state(),
        }

    def _restore(self, saved: Mapping[str, Any]) -> None:
        self._day, self._hit_day = saved["day"][0], saved["day"][2]
        self._day_start = Decimal(saved["day"][1])
        self.daily = [list(row) for row in saved["daily"]]
        self._peak, self.deepest_share = saved["peak"], saved["deepest_share"]
        self._trades_before = saved["trades"]
        self._account.restore(saved["account"])


def _closed(rows: Sequence[Candle], step_ms: int, now_ms: int) -> Sequence[Candle]:
    """Return the candles that had closed at an instant."""
    beyond = len(rows)
    while beyond and rows[beyond - 1].open_ms + step_ms > now_ms:
        beyond -= 1
    return rows[:beyond]
