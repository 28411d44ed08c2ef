"""Past market data: fetched from Binance's public archive, imported, checked, kept in parquet."""
