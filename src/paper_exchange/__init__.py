"""A replacement for Binance USDⓈ-M futures; it imports only ``domain``, and shares no code with the client."""
