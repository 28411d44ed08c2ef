"""Puts the forecast ledger of the trading bot together."""

from collections.abc import Sequence
from typing import Final

from src.domain.market import INTERVAL_MS, Candle
from src.exchanges.binance.client import BinanceClient
from src.exchanges.binance.market_stream import MarketStream
from src.execution.forecast_recorder import ForecastRecorder
from src.storage.database import TradingDatabase
from src.storage.forecast_repository import ForecastRepository
from src.strategy.rules import DecisionRules
from src.strategy.timeframes import CandleAggregator, History
from src.strategy.trend_forecast import TrendReader
from src.strategy.trend_portfolio import TrendPortfolioRules

_SPARE_CANDLES: Final = 20


class PairTrends:
    """The trend portfolio's signal of each pair, whatever the bot trades: it is scored as a forecaster."""

    def __init__(self, history: History, rules: TrendPortfolioRules | None = None) -> None:
        self._rules = rules or TrendPortfolioRules()
        self._least = self._rules.history_days * self._rules.candles_a_day
        self._history = history
        self._pairs: dict[str, tuple[CandleAggregator, TrendReader]] = {}

    def look(self, symbol: str, minutes: Sequence[Candle]) -> float | None:
        """Return the signal after the last of ``minutes``, None while too few candles are known."""
        if symbol not in self._pairs:
            candles = CandleAggregator(symbol, self._rules.candle_interval, self._recent)
            self._pairs[symbol] = candles, TrendReader(self._rules.forecast(), self._least)
        candles, reader = self._pairs[symbol]
        return reader.look(candles.look(minutes))

    def _recent(self, symbol: str, interval: str, count: int) -> Sequence[Candle]:
        """Ask for no more candles than the signal needs."""
        return self._history(symbol, interval, min(count, self._least + _SPARE_CANDLES))


def build_forecasts(
    symbol: str, database: TradingDatabase, stream: MarketStream, client: BinanceClient, rules: DecisionRules
) -> ForecastRecorder:
    """Return the recorder of what is said in the bot's turns, at what the account pays for ``symbol``."""
    costs = client.cost_rates(symbol)
    return ForecastRecorder(
        ForecastRepository(database),
        stream,
        client.candles,
        INTERVAL_MS[rules.candle_interval],
        costs.one_way_share,
        trend=PairTrends(client.candles).look,
    )
