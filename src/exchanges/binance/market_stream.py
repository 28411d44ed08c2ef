"""The port ``MarketFeed`` over WebSockets: candles, mark prices and the account.

Sockets deliver updates; REST fills gaps, confirms the account periodically, and replaces a socket that is down.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from src.domain.clock import MINUTE_MS, monotonic_s
from src.domain.market import INTERVAL_MS, Candle, MarkPrice
from src.domain.orders import Fill, Order
from src.domain.portfolio import Account
from src.exchanges.binance.candle_buffer import CandleBuffer
from src.exchanges.binance.exchange import BinanceExchange
from src.exchanges.binance.mapping import MALFORMED, candle_of_event, mark_price_of_event
from src.exchanges.binance.polling import BlockingCallPool, PollingTask
from src.exchanges.binance.transfers import TransferTracker
from src.exchanges.binance.user_stream import UserStream
from src.exchanges.binance.websocket import ReconnectingWebSocket, SocketHealth

log = logging.getLogger(__name__)

_HANDS = 2
_TICK_S = 0.25
_STOP_S = 2.0
_SPARE_CANDLES = 500


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Callbacks for events; all are called in the stream's thread and must return at once."""

    on_mark_price: Callable[[MarkPrice], None] = lambda mark: None
    on_candle: Callable[[str, Candle], None] = lambda symbol, candle: None
    on_fill: Callable[[Fill], None] = lambda fill: None
    on_order: Callable[[Order], None] = lambda order: None


@dataclass(frozen=True, slots=True)
class StreamHealth:
    """The health of the stream; ``rest_errors`` has the last error of each REST call that is failing."""

    running: bool
    ready: bool
    market: SocketHealth
    user: SocketHealth
    rest_errors: tuple[str, ...]
    malformed: int


class MarketStream:
    """The port ``MarketFeed`` of several symbols and one account, running in its own thread.

    Args:
        exchange: for REST calls, listen keys and the clock.
        symbols: the contracts.
        interval: length of the candles, one of ``INTERVAL_MS``.
        history: how many closed candles are fetched at the start.
        reconcile_s: seconds of exchange time between two confirmations of the account over REST.
        callbacks: called at once for each event.
        transfers: deposits and withdrawals of the account.
    """

    def __init__(
        self,
        *,
        exchange: BinanceExchange,
        symbols: Sequence[str],
        interval: str = "1m",
        history: int = 1_000,
        reconcile_s: float = 600.0,
        callbacks: Callbacks | None = None,
        transfers: TransferTracker | None = None,
    ) -> None:
        self._exchange, self._symbols, self._interval = exchange, tuple(symbols), interval
        self._clock, self._history = exchange.clock, history
        self._told = callbacks or Callbacks()
        kept = history + _SPARE_CANDLES
        self._series = {symbol: CandleBuffer(INTERVAL_MS[interval], kept) for symbol in self._symbols}
        self._marks: dict[str, MarkPrice] = {}
        self._streamed_ms = dict.fromkeys(self._symbols, 0)
        self._silent: set[str] = set()
        speed = max(self._clock.speed, 1.0)
        self._stale_after_ms = max(10_000, int(3_000 * speed))  # exchange time; at least 3 s of wall time
        self._grace_ms = max(5_000, int(1_500 * speed))
        self._news = threading.Condition()
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: asyncio.Task[None] | None = None
        self._market = ReconnectingWebSocket(
            name="market",
            address=self._market_address,
            on_frame=self._on_market_frame,
            on_connected=lambda before: None,
            clock=self._clock,
            stale_after_s=self._stale_after_ms / 1000.0 / speed,
        )
        self._hands = BlockingCallPool(_HANDS)
        self._user = UserStream(
            exchange=exchange,
            hands=self._hands,
            symbols=self._symbols,
            reconcile_ms=int(reconcile_s * 1000),
            on_fill=self._told.on_fill,
            on_order=self._told.on_order,
            on_account=self._check_ready,
            transfers=transfers,
        )
        self._malformed = 0
        self._tasks = self._user.requests()
        for symbol in self._symbols:
            self._tasks += self._symbol_tasks(symbol)

    def start(self) -> None:
        """Start the thread; ``wait_until_ready`` waits until history and account are loaded."""
        if self._thread is not None:
            raise RuntimeError("a market stream starts once")
        self._thread = threading.Thread(target=self._run, name="market-stream", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop sockets and thread; returns within two seconds."""
        loop, work = self._loop, self._work
        if loop is not None and work is not None:
            with suppress(RuntimeError):  # it ended by itself
                loop.call_soon_threadsafe(work.cancel)
        if self._thread is not None:
            self._thread.join(_STOP_S)
        with self._news:
            self._news.notify_all()

    def wait_until_ready(self, timeout_s: float) -> bool:
        """Wait until each symbol has its history and mark price and the account is known; return whether so."""
        return self._ready.wait(timeout_s)

    def candles(self, symbol: str) -> Sequence[Candle]:
        """Return the known closed candles, oldest first, without gaps except those of the exchange."""
        return self._series[symbol].all()

    def mark_price(self, symbol: str) -> MarkPrice | None:
        """Return the newest mark price, or None before the first."""
        return self._marks.get(symbol)

    def account(self) -> Account | None:
        """Return wallet and positions as confirmed at ``as_of_ms``, valued at the newest mark prices."""
        return self._user.book.account(self._marks)

    def open_orders(self) -> list[Order]:
        """Return the account's open orders as last reported, regular and conditional."""
        return self._user.book.open_orders()

    def wait_for_candle(self, symbol: str, open_ms: int, timeout_s: float) -> Candle | None:
        """Wait for the closed candle that opens at ``open_ms`` (or a later one, when the exchange skipped it).

        Returns:
            The candle, or None after ``timeout_s`` wall seconds or when the stream was stopped.
        """
        deadline_s = monotonic_s() + timeout_s
        with self._news:
            while True:
                found = self._candle_from(symbol, open_ms)
                left_s = deadline_s - monotonic_s()
                if found is not None or left_s <= 0 or not self._alive():
                    return found
                self._news.wait(min(left_s, 1.0))

    def wait_for_mark(self, symbol: str, instant_ms: int, timeout_s: float) -> bool:
        """Wait at most ``timeout_s`` wall seconds for a mark price of that instant or later; return whether it came."""
        deadline_s = monotonic_s() + timeout_s
        with self._news:
            while (left_s := deadline_s - monotonic_s()) > 0 and self._alive():
                known = self._marks.get(symbol)
                if known is not None and known.time_ms >= instant_ms:
                    return True
                self._news.wait(left_s)
        return False

    def health(self) -> StreamHealth:
        """Return the health of thread, sockets and REST calls."""
        errors = tuple(f"{each.name}: {each.last_error}" for each in self._tasks if each.last_error)
        return StreamHealth(
            self._alive(),
            self._ready.is_set(),
            self._market.health,
            self._user.socket.health,
            errors,
            self._malformed + self._user.malformed,
        )

    def _alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _candle_from(self, symbol: str, open_ms: int) -> Candle | None:
        known = self._series[symbol].all()
        if not known or known[-1].open_ms < open_ms:
            return None
        steps_back = (known[-1].open_ms - open_ms) // INTERVAL_MS[self._interval] + 1
        return next(each for each in known[-steps_back:] if each.open_ms >= open_ms)

    # What follows runs in the stream's thread.

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop, self._work = asyncio.get_running_loop(), asyncio.current_task()
        self._hands.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._market.run())
                group.create_task(self._user.socket.run())
                while True:
                    for request in self._tasks:
                        if request.ready():
                            group.create_task(request.run(self._hands))
                    self._look_after_market()
                    self._user.look_after()
                    await asyncio.sleep(_TICK_S)
        finally:
            self._hands.close()

    async def _market_address(self) -> str:
        names = [f"{symbol.lower()}@kline_{self._interval}" for symbol in self._symbols]
        names += [f"{symbol.lower()}@markPrice@1s" for symbol in self._symbols]
        return f"{self._exchange.wire.addresses.streams}/market/stream?streams={'/'.join(names)}"

    def _on_market_frame(self, frame: bytes) -> None:
        try:
            event = orjson.loads(frame)["data"]
            self._clock.at_least(int(event["E"]))
            news = self._market_news(event)
        except MALFORMED as error:
            self._malformed += 1
            if self._malformed == 1:
                log.warning("frame not understood: socket=market reason=%s %s", type(error).__name__, error)
            return
        if isinstance(news, MarkPrice):
            self._streamed_ms[news.symbol] = news.time_ms
            self._silent.discard(news.symbol)
            self._take_mark(news)
        elif news is not None:
            self._take_candles(event["s"], self._series[event["s"]].add(news))

    def _market_news(self, event: Any) -> MarkPrice | Candle | None:
        """Return the mark price or the closed candle of an event, None for anything else."""
        if event["s"] not in self._series:
            return None
        if event["e"] == "markPriceUpdate":
            return mark_price_of_event(event)
        if event["e"] == "kline" and event["k"]["x"] and event["k"]["i"] == self._interval:
            return candle_of_event(event["k"])
        return None

    def _take_mark(self, mark: MarkPrice) -> None:
        known = self._marks.get(mark.symbol)
        ahead_ms = self._clock.now_ms() + int(MINUTE_MS * max(self._clock.speed, 1.0))
        if known is not None and mark.time_ms <= known.time_ms <= ahead_ms:  # one from the future gives way
            return
        with self._news:
            self._marks[mark.symbol] = mark
            self._news.notify_all()
        self._told.on_mark_price(mark)
        if not self._ready.is_set():
            self._check_ready()

    def _take_candles(self, symbol: str, joined: list[Candle], *, tell: bool = True) -> None:
        if not joined:
            return
        with self._news:
            self._news.notify_all()
        if tell:
            for candle in joined:
                self._told.on_candle(symbol, candle)
        self._check_ready()

    def _check_ready(self) -> None:
        complete = all(series.last_open_ms is not None for series in self._series.values())
        if complete and len(self._marks) == len(self._symbols) and self.account() is not None:
            self._ready.set()

    def _look_after_market(self) -> None:
        """Drop a connection that does not deliver every mark price.

        A contract without data after a reconnect (it may be delisted) causes no further reconnects.
        """
        allowed_ms, now_ms = 2 * self._stale_after_ms, self._clock.now_ms()
        if self._market.uptime_s() * 1000 * self._clock.speed <= allowed_ms:
            return
        late = {each for each, streamed_ms in self._streamed_ms.items() if now_ms - streamed_ms > allowed_ms}
        if late - self._silent:
            self._silent = late
            self._market.restart(f"a mark price stays away: {', '.join(sorted(late))}")

    def _symbol_tasks(self, symbol: str) -> list[PollingTask]:
        return [
            PollingTask(
                f"candles {symbol}",
                lambda: self._candles_due(symbol),
                lambda: self._ask_candles(symbol),
                lambda found: self._use_candles(symbol, found),
                interval_s=1.0,
            ),
            PollingTask(
                f"mark price {symbol}",
                lambda: self._mark_due(symbol),
                lambda: self._exchange.mark_price(symbol),
                self._take_mark,
                interval_s=max(2.0, 5.0 / self._clock.speed),
            ),
        ]

    def _candles_due(self, symbol: str) -> bool:
        """Return whether the history, or a candle that must have closed by now, is missing."""
        series, interval_ms = self._series[symbol], INTERVAL_MS[self._interval]
        last_ms = series.last_open_ms
        if last_ms is None:
            return self._market.health.connects > 0 or bool(self._market.health.last_error)
        return series.has_hole or self._clock.now_ms() - self._grace_ms >= last_ms + 2 * interval_ms

    def _ask_candles(self, symbol: str) -> list[Candle]:
        last_ms = self._series[symbol].last_open_ms
        if last_ms is None:
            return self._exchange.candles(symbol, self._interval, self._history)
        return self._exchange.candles_since(symbol, self._interval, last_ms + INTERVAL_MS[self._interval])

    def _use_candles(self, symbol: str, found: list[Candle]) -> None:
        series = self._series[symbol]
        first = series.last_open_ms is None
        joined = series.fill(found)
        if joined and not first:
            log.info("candles filled over rest: symbol=%s count=%d", symbol, len(joined))
        self._take_candles(symbol, joined, tell=not first)

    def _mark_due(self, symbol: str) -> bool:
        known = self._marks.get(symbol)
        return known is None or self._clock.now_ms() - known.time_ms > 1.5 * self._stale_after_ms
