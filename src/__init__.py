"""An AI trading suite for Binance USDⓈ-M futures; docs/architecture.md shows the floors."""

from src.own_python import use_project_python

use_project_python()
