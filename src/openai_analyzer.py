"""The chart analyst under the name users import."""

from src.charts.vision_analyst import (
    AdviceFormat,
    ChartFormat,
    OpenAIAnalyzer,
    Opinion,
    SignalsFormat,
    believed,
    build_analyzer,
    chart_text,
    png_size,
)

__all__ = [
    "AdviceFormat",
    "ChartFormat",
    "OpenAIAnalyzer",
    "Opinion",
    "SignalsFormat",
    "believed",
    "build_analyzer",
    "chart_text",
    "png_size",
]
