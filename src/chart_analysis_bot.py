"""The chart-analysis loop: ``python3 src/chart_analysis_bot.py``; put together in ``src.apps.chart_analysis_bot``."""

import sys

from src.apps.chart_analysis_bot import (
    ChartAnalysisBot,
    ScheduledJob,
    main,
)
from src.runtime.process import run_process

__all__ = ["ChartAnalysisBot", "ScheduledJob", "main"]

if __name__ == "__main__":
    sys.exit(run_process("chart_analysis_bot", main))
