"""The trading database under the name users import; ``python3 src/database.py`` checks it."""

import sys

from src.runtime.process import reject_arguments
from src.storage.database import (
    TradingDatabase,
    add_breaker_event,
    describe,
    main,
    self_check,
)

__all__ = ["TradingDatabase", "add_breaker_event", "describe", "main", "self_check"]

if __name__ == "__main__":
    reject_arguments()
    sys.exit(main())
