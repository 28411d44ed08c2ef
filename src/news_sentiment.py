"""The sentiment of news under the name users import."""

from src.news.sentiment import (
    NewsSentimentAnalyzer,
    overall_sentiment,
)

__all__ = ["NewsSentimentAnalyzer", "overall_sentiment"]
