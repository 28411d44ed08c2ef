"""The RL trading loop: ``python3 src/trading_bot.py``. It is put together in ``src.apps.trading_bot``."""

import sys

from src.apps.bot_builder import build_trader
from src.apps.trading_bot import (
    TradingBot,
    main,
)
from src.runtime.process import run_process

__all__ = ["TradingBot", "build_trader", "main"]

if __name__ == "__main__":
    sys.exit(run_process("trading_bot", main))
