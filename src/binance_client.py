"""The exchange client under the name users import; ``python3 src/binance_client.py`` checks the connection."""

import sys

from src.exchanges.binance.client import (
    BinanceClient,
    ProtectiveOrders,
    addresses_of,
    budget_file,
    check_report,
    main,
)
from src.runtime.process import reject_arguments

__all__ = ["BinanceClient", "ProtectiveOrders", "addresses_of", "budget_file", "check_report", "main"]

if __name__ == "__main__":
    reject_arguments()
    sys.exit(main())
