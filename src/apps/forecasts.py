"""Puts the forecast ledger of the trading bot together."""

from src.domain.market import INTERVAL_MS
from src.exchanges.binance.client import BinanceClient
from src.exchanges.binance.market_stream import MarketStream
from src.execution.forecast_recorder import ForecastRecorder
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.forecast_repository import ForecastRepository
from src.strategy.rules import DecisionRules


def build_forecasts(
    settings: Settings, database: TradingDatabase, stream: MarketStream, client: BinanceClient, rules: DecisionRules
) -> ForecastRecorder:
    """Return the recorder of what is said in the bot's turns, at the costs of its account."""
    costs = client.cost_rates(settings.pairs[0])
    return ForecastRecorder(
        ForecastRepository(database), stream, client.candles, INTERVAL_MS[rules.candle_interval], costs.one_way_share
    )
