"""Binance USD-M futures over REST and WebSocket: the ports ``Exchange`` and ``MarketFeed``.

Public: ``client.BinanceClient``, ``market_stream.MarketStream``. Nothing outside knows a code, word or host of Binance.
"""
