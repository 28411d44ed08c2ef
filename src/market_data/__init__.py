"""Historical market data: downloaded from Binance's public archive, imported, checked, stored as parquet."""
