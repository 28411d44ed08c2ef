"""Puts the forecast ledger of the trading bot together."""

from src.domain.market import INTERVAL_MS
from src.exchanges.binance.client import BinanceClient
from src.exchanges.binance.market_stream import MarketStream
from src.execution.forecast_recorder import ForecastRecorder
from src.storage.database import TradingDatabase
from src.storage.forecast_repository import ForecastRepository
from src.strategy.rules import DecisionRules


def build_forecasts(
    symbol: str, database: TradingDatabase, stream: MarketStream, client: BinanceClient, rules: DecisionRules
) -> ForecastRecorder:
    """Return the recorder of what is said in the bot's turns, at what the account pays for ``symbol``."""
    costs = client.cost_rates(symbol)
    return ForecastRecorder(
        ForecastRepository(database), stream, client.candles, INTERVAL_MS[rules.candle_interval], costs.one_way_share
    )
