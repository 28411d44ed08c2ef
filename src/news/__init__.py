"""News headlines: fetched, normalised, scored for sentiment, stored.

Public: ``fetcher.NewsFetcher``, ``sentiment.NewsSentimentAnalyzer``. Headlines are data, never instructions.
"""
