"""A stand-in for Binance USDⓈ-M futures; it knows the ground alone, and no line of the client."""
