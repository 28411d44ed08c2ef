"""Follows an open position's best price and age, and says when its stop is to be moved or its time is over."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from src.domain.clock import Clock
from src.domain.market import Candle, MarkPrice
from src.domain.risk import ActiveLimits
from src.execution.position_record import PositionRecord
from src.execution.protection_manager import Progress, ProtectionManager
from src.strategy.exits import TIME_STOP, StopKind, best_price, entry_minute, is_time_over, next_move_price


class ExitFollower:
    """What the exits beside stop and target need to know of one position. Called by one thread at a time.

    The best price since the entry is read from closed one-minute candles, so that it is the same whenever one looks.
    """

    def __init__(
        self,
        record: PositionRecord,
        protection: ProtectionManager,
        limits: ActiveLimits,
        clock: Clock,
        *,
        mark_price: Callable[[], MarkPrice | None],
        candles: Callable[[], Sequence[Candle]],
    ) -> None:
        self._record, self._protection, self._limits, self._clock = record, protection, limits, clock
        self._mark_price, self._candles = mark_price, candles
        self._entry_id = ""
        self._seen_ms = 0
        self._best = Decimal(0)

    def progress(self) -> Progress:
        """Return how far the open trade has come."""
        return Progress(self.best(), self._record.parts_done, self._record.open_quantity)

    def best(self) -> Decimal | None:
        """Return the best price since the entry as far as candles show it; None when flat or not needed."""
        trade = self._record.trade
        if trade is None or not self._limits.current.exits.moves_stop:
            return None
        if trade.entry_client_id != self._entry_id:
            self._entry_id, self._best = trade.entry_client_id, trade.entry_price
            self._seen_ms = entry_minute(trade.entry_ms)
        candles = self._candles()
        if candles and candles[-1].open_ms > self._seen_ms:
            self._best = best_price(candles, trade.direction, self._seen_ms, self._best)
            self._seen_ms = candles[-1].open_ms
        return self._best

    def closing_reason(self) -> str:
        """Return why the position is to be closed now: its time is over, or the price is beyond where its stop belongs.

        Empty when it is not.
        """
        start, limits, mark = self._record.start, self._limits.current, self._mark_price()
        if start is None:
            return ""
        if is_time_over(start.trade.entry_ms, self._clock.now_ms(), limits):
            return TIME_STOP
        level = self._protection.stop_level(start, (), self.best())
        if level.kind is StopKind.LOSS or mark is None or level.price == start.trade.stop_price:
            return ""
        return level.kind.reason if level.reached(mark.mark, start.trade.direction) else ""

    def wants_move(self) -> bool:
        """Return whether the stop belongs elsewhere than where it was last recorded."""
        start = self._record.start
        if start is None or not self._limits.current.exits.moves_stop:
            return False
        return self._protection.stop_level(start, (), self.best()).price != start.trade.stop_price

    def next_move_price(self) -> Decimal | None:
        """Return the best price from which on the stop is moved again, None where none moves it."""
        trade, best = self._record.trade, self.best()
        if trade is None or best is None:
            return None
        return next_move_price(trade.entry_price, trade.direction, best, self._limits.current)
