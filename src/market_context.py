"""The market context under the name users import; ``python3 src/market_context.py`` prints it with its sources."""

import sys

from src.context.analyzer import (
    ContextStore,
    MarketContextAnalyzer,
    build_analyzer,
    check_report,
    context_from,
    main,
    missing_figures,
    world_of,
)
from src.runtime.process import reject_arguments

__all__ = [
    "ContextStore",
    "MarketContextAnalyzer",
    "build_analyzer",
    "check_report",
    "context_from",
    "main",
    "missing_figures",
    "world_of",
]

if __name__ == "__main__":
    reject_arguments()
    sys.exit(main())
