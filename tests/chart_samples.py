"""Charts for tests: views of candles with a known shape, and the smallest true pictures."""

import math
import struct
import zlib

from src.charts.analysis_schema import ChartView, view_of
from src.domain.market import Candle

START_MS = 1_700_000_100_000 // 900_000 * 900_000


def wave(
    count: int = 400, price: float = 30_000.0, drift: float = 0.0, swing: float = 0.01, period: int = 24
) -> list[Candle]:
    """Return 15-minute candles along a sine of ``swing`` around a price that drifts by ``drift`` a candle."""
    candles = []
    last = price
    for at in range(count):
        close = price * (1 + drift * at) * (1 + swing * math.sin(2 * math.pi * at / period))
        high, low = max(last, close) * 1.0005, min(last, close) * 0.9995
        candles.append(Candle(START_MS + at * 900_000, last, high, low, close, 10.0 + at % 7))
        last = close
    return candles


def wave_view(symbol: str = "BTCUSDT", **shape: float) -> ChartView:
    """Return the view of the last 120 of such candles."""
    return view_of(symbol, "15m", wave(**shape))  # type: ignore[arg-type]


def plain_png(width: int, height: int) -> bytes:
    """Return a white picture of that size."""
    rows = zlib.compress((b"\x00" + b"\xff" * width) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def resize(_png: bytes, width: int, height: int) -> bytes:
    """Stand in for the real thing: the size is what counts."""
    return plain_png(width, height)
