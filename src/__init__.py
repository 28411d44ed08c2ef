"""An AI trading suite for Binance USDⓈ-M futures; docs/architecture.md shows the floors."""
