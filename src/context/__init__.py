"""The wider market: Fear & Greed, dominance, trends and volatility of BTC and ETH.

Public: ``analyzer.MarketContextAnalyzer``. A figure without a source stays unknown.
"""
