"""Live public candles of Binance, for paper trading on real prices.

A thread follows the public stream and fetches by REST what came before it, and what was missed. What the source
did not send is missing: ``candle`` returns ``None``, and ``last_seen_ms`` is the time of the source's last event.
"""

import json
import logging
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import requests
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from src.domain.clock import MINUTE_MS, SystemClock, monotonic_s, utc_text
from src.domain.errors import ExchangeUnavailable
from src.domain.funding import FundingRecord, settled_ms
from src.domain.market import Candle
from src.paper_exchange.markets.klines import aggregate, joined
from src.paper_exchange.markets.whole_hours import HOUR_MS

log = logging.getLogger(__name__)

MIRRORED = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "DOGEUSDT")
REST_URL = "https://fapi.binance.com"
STREAM_URL = "wss://fstream.binance.com"

_HISTORY_HOURS = 8_400  # 350 days: a thousand candles of eight hours, and some more
_LAG_MS = 65_000  # a minute, and what its last candle needs to arrive
_SETTLED_MS = 1_000  # REST may still change a candle for so long after its end
_PAGE = 1_500
_RATES_PAGE = 200
_KEPT_BEYOND_HISTORY = 4_320
_REST_TIMEOUT_S = 10.0
_RECEIVE_S = 0.5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
# What a network may do, and what a foreign answer may do to the one who reads it.
_FAULTS = (requests.RequestException, WebSocketException, OSError, ValueError, KeyError, IndexError, TypeError)


class MirrorMarket:
    """Follows the source from its making until ``close``; every answer comes from memory and never waits."""

    def __init__(
        self,
        *,
        symbols: Sequence[str] = MIRRORED,
        rest_url: str = REST_URL,
        stream_url: str = STREAM_URL,
        history_minutes: int = 11_520,
        stale_after_s: float = 20.0,
        history_hours: int = _HISTORY_HOURS,
    ) -> None:
        """Begin to follow.

        Args:
            symbols: contracts to mirror.
            rest_url: where ``/fapi/v1/...`` is; no key is needed.
            stream_url: where ``/market/stream`` is.
            history_minutes: how far back to fetch minutes at the start.
            stale_after_s: a stream without data for so long counts as dead.
            history_hours: how many whole hours before those minutes to fetch.
        """
        self.symbols = tuple(symbols)
        self.world = "live"
        self.end_ms: int | None = None
        self.lag_ms = _LAG_MS
        self._rest_url, self._stream_url = rest_url.rstrip("/"), stream_url.rstrip("/")
        self._stale_after_s = stale_after_s
        self._kept = history_minutes + _KEPT_BEYOND_HISTORY
        self._began_ms = (SystemClock().now_ms() // MINUTE_MS - history_minutes) * MINUTE_MS
        self._seam_ms = -(-self._began_ms // HOUR_MS) * HOUR_MS
        self.first_hour_ms = self._seam_ms - history_hours * HOUR_MS
        self._hours: dict[str, dict[int, Candle]] = {symbol: {} for symbol in self.symbols}
        self._lock = threading.Lock()
        self._candles: dict[str, dict[int, Candle]] = {symbol: {} for symbol in self.symbols}
        self._rates = {symbol: FundingRecord() for symbol in self.symbols}
        self._seen_ms: dict[str, int] = {}
        self._session = requests.Session()
        self._is_away = False
        self._stop, self._ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="mirror", daemon=True)
        self._thread.start()

    @property
    def first_ms(self) -> int:
        """First minute served: where the history begins, later once old candles were dropped."""
        with self._lock:
            oldest = [next(iter(kept)) for kept in self._candles.values() if kept]
        return max([self._began_ms, *oldest]) if len(oldest) == len(self.symbols) else self._began_ms

    def candle(self, symbol: str, open_ms: int) -> Candle | None:
        """Return the closed candle of that minute; ``None`` if the source has not sent it."""
        return self._candles.get(symbol, {}).get(open_ms)

    def candles(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Return the known candles with ``start_ms <= open_ms < end_ms``, oldest first."""
        with self._lock:
            kept = self._candles.get(symbol, {})
            if not kept:
                return []
            first_ms = max(-(-start_ms // MINUTE_MS) * MINUTE_MS, next(iter(kept)))
            beyond_ms = min(end_ms, next(reversed(kept)) + 1)
            return [kept[open_ms] for open_ms in range(first_ms, beyond_ms, MINUTE_MS) if open_ms in kept]

    def hours(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Return the known hours with ``start_ms <= open_ms < end_ms``, oldest first."""
        with self._lock:
            told = self._hours.get(symbol, {})
            old = [each for open_ms, each in sorted(told.items()) if start_ms <= open_ms < end_ms]
        first_ms = max(start_ms, old[-1].open_ms + HOUR_MS if old else self._seam_ms)
        return [*old, *aggregate(self.candles(symbol, first_ms, end_ms), "1h")]

    def funding_rate(self, symbol: str, settle_ms: int) -> float:
        """Return the source's rate of that settlement (for the current interval, the predicted one); else 0.0001."""
        return self.funding_record(symbol).rate(settle_ms)

    def funding_record(self, symbol: str) -> FundingRecord:
        """Return the settlements so far, including the announced next one."""
        with self._lock:
            return self._rates.setdefault(symbol, FundingRecord())

    def fear_greed(self, day_ms: int) -> int | None:
        """Return ``None``: the real index has its own source, and this is not it."""
        return None

    def last_seen_ms(self, symbol: str) -> int | None:
        """Return the exchange's time of the last news of that contract; ``None`` before the first."""
        return self._seen_ms.get(symbol)

    def wait_until_ready(self, timeout_s: float) -> bool:
        """Wait until the history is there; return whether it is."""
        return self._ready.wait(timeout_s)

    def close(self) -> None:
        """Stop following; returns when the thread has ended."""
        self._stop.set()
        self._thread.join(_REST_TIMEOUT_S + 5.0)
        self._session.close()

    def _follow(self) -> None:
        """Keep a stream open until stopped; log each outage of the source once, and its end."""
        pause_s = _FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                self._follow_once()
                pause_s = _FIRST_PAUSE_S
            except ExchangeUnavailable as error:
                pause_s = self._away(str(error), max(pause_s, error.retry_after_s))
            except _FAULTS as error:
                pause_s = self._away(f"{type(error).__name__}: {error}", pause_s)

    def _away(self, reason: str, pause_s: float) -> float:
        """Log, once an outage, that the source is away; pause, and return how long to pause the next time."""
        newest = max(self._seen_ms.values(), default=0)
        last_seen = utc_text(newest) if newest else "never"
        level = logging.DEBUG if self._is_away else logging.WARNING
        log.log(level, "mirror away: last_seen=%s retry_in_s=%.0f reason=%s", last_seen, pause_s, reason)
        self._is_away = True
        self._stop.wait(pause_s)
        return max(min(pause_s * 2.0, _LONGEST_PAUSE_S), _FIRST_PAUSE_S)

    def _follow_once(self) -> None:
        """Follow one connection until it ends or becomes stale; return when stopped."""
        names = [f"{symbol.lower()}@{kind}" for symbol in self.symbols for kind in ("kline_1m", "markPrice")]
        address = f"{self._stream_url}/market/stream?streams={'/'.join(names)}"
        with connect(address, open_timeout=_REST_TIMEOUT_S, close_timeout=1.0, max_size=2**20) as stream:
            self._fill_all()
            self._ready.set()
            self._is_away = False
            log.info("mirror follows: symbols=%s", ",".join(self.symbols))
            self._listen(stream)

    def _listen(self, stream: ClientConnection) -> None:
        heard_s = monotonic_s()
        while not self._stop.is_set():
            try:
                told = stream.recv(timeout=_RECEIVE_S)
            except TimeoutError as error:
                if monotonic_s() - heard_s > self._stale_after_s:
                    raise ExchangeUnavailable(f"the stream sent no data for {self._stale_after_s:.0f} s") from error
                continue
            heard_s = monotonic_s()
            self._hear(json.loads(told)["data"])

    def _hear(self, event: Mapping[str, Any]) -> None:
        """Apply one event of the stream; after a gap, fetch what is missing."""
        symbol = str(event["s"])
        if symbol not in self._candles:
            return
        self._seen_ms[symbol] = int(event["E"])
        if event["e"] == "markPriceUpdate":
            self._rates[symbol].add({settled_ms(int(event["T"])): float(event["r"])})
        elif event["e"] == "kline" and event["k"]["x"]:
            candle = _candle_of_event(event["k"])
            if candle.open_ms - MINUTE_MS not in self._candles[symbol]:
                self._fill(symbol, candle.open_ms + MINUTE_MS)
            self._keep(symbol, [candle])

    def _fill_all(self) -> None:
        now_ms = int(self._get("time", {})["serverTime"])
        for symbol in self.symbols:
            self._fill_hours(symbol)
            self._fill(symbol, now_ms)
            told = self._get("fundingRate", {"symbol": symbol, "limit": _RATES_PAGE})
            self._rates[symbol].add({settled_ms(int(row["fundingTime"])): float(row["fundingRate"]) for row in told})

    def _fill(self, symbol: str, now_ms: int) -> None:
        """Fetch the closed candles between the last one known (or the beginning) and ``now_ms``."""
        with self._lock:
            newest_ms = next(reversed(self._candles[symbol]), None)
        start_ms = self._began_ms if newest_ms is None else newest_ms + MINUTE_MS
        while start_ms + MINUTE_MS + _SETTLED_MS <= now_ms and not self._stop.is_set():
            wanted: dict[str, str | int] = {"symbol": symbol, "interval": "1m", "startTime": start_ms, "limit": _PAGE}
            rows = self._get("klines", wanted)
            closed = [_candle_of_row(row) for row in rows if int(row[6]) + _SETTLED_MS < now_ms]
            self._keep(symbol, closed)
            if len(closed) < _PAGE:
                return
            start_ms = closed[-1].open_ms + MINUTE_MS

    def _fill_hours(self, symbol: str) -> None:
        """Fetch the whole hours before the first minute, once."""
        if self._hours[symbol]:
            return
        start_ms, found = self.first_hour_ms, dict[int, Candle]()
        while start_ms < self._seam_ms and not self._stop.is_set():
            wanted: dict[str, str | int] = {"symbol": symbol, "interval": "1h", "startTime": start_ms, "limit": _PAGE}
            rows = [_candle_of_row(row) for row in self._get("klines", wanted)]
            found |= {row.open_ms: row for row in rows if row.open_ms < self._seam_ms}
            start_ms = rows[-1].open_ms + HOUR_MS if len(rows) == _PAGE else self._seam_ms
        with self._lock:
            self._hours[symbol] = found

    def _keep(self, symbol: str, closed: Sequence[Candle]) -> None:
        """Add newer candles in order, and drop the oldest beyond the limit."""
        with self._lock:
            kept = self._candles[symbol]
            newest_ms = next(reversed(kept), 0)
            for candle in closed:
                if candle.open_ms > newest_ms:
                    kept[candle.open_ms] = candle
                    newest_ms = candle.open_ms
            while len(kept) > self._kept:
                oldest_ms = next(iter(kept))
                self._keep_hour(symbol, oldest_ms // HOUR_MS * HOUR_MS)
                del kept[oldest_ms]

    def _keep_hour(self, symbol: str, open_ms: int) -> None:
        """Keep an hour whose minutes are about to be dropped."""
        kept, hours = self._candles[symbol], self._hours[symbol]
        if open_ms >= self._seam_ms and open_ms not in hours:
            minutes = [kept[each] for each in range(open_ms, open_ms + HOUR_MS, MINUTE_MS) if each in kept]
            hours[open_ms] = joined(open_ms, minutes)

    def _get(self, name: str, parameters: Mapping[str, str | int]) -> Any:
        answer = self._session.get(f"{self._rest_url}/fapi/v1/{name}", params=parameters, timeout=_REST_TIMEOUT_S)
        if answer.status_code != requests.codes.ok:
            wait_s = answer.headers.get("Retry-After", "")
            reason = f"{name} answered {answer.status_code}: {answer.text[:120]}"
            raise ExchangeUnavailable(reason, float(wait_s) if wait_s.isdigit() else 0.0)
        return answer.json()


def _candle_of_row(row: Sequence[Any]) -> Candle:
    opened, high, low, close, volume = (float(value) for value in row[1:6])
    return _checked(Candle(int(row[0]), opened, high, low, close, volume, int(row[8]), float(row[9]), float(row[7])))


def _candle_of_event(k: Mapping[str, Any]) -> Candle:
    opened, high, low, close, volume, quote, taker = (float(k[name]) for name in "ohlcvqV")
    return _checked(Candle(int(k["t"]), opened, high, low, close, volume, int(k["n"]), taker, quote))


def _checked(candle: Candle) -> Candle:
    """Return the candle; raises ``ValueError`` for one that cannot be."""
    ordered = 0 < candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high
    if not ordered or not math.isfinite(candle.high) or not candle.volume >= 0:
        raise ValueError(f"an impossible candle from the source: {candle}")
    return candle
