"""The chart generator under the name users import."""

from src.charts.generator import (
    ChartGenerator,
    ChartPicture,
    ChartUnavailable,
)

__all__ = ["ChartGenerator", "ChartPicture", "ChartUnavailable"]
