"""Finds the next instant at which something happens, and executes events in order of time.

What happens at an instant depends on the prices of that instant alone, and the instants are found analytically on
whole milliseconds (whole seconds for mark price, funding and margin): one long jump equals many short ones.
"""

from collections.abc import Iterator
from decimal import Decimal

from src.domain.market import Candle
from src.paper_exchange import conditional, liquidation, matching
from src.paper_exchange.accounts import AccountLedger, Accounts
from src.paper_exchange.intrabar_path import MINUTE_MS, Path, price_on, touch_on
from src.paper_exchange.ledger import settle_funding
from src.paper_exchange.model import AlgoOrder, VenueOrder
from src.paper_exchange.prices import SECOND_MS, Minute, depth_before
from src.paper_exchange.quiet_band import QuietBand, bands_of, margin_bands

NEVER_MS = 1 << 62


class Timeline:
    """Moves the accounts through time."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._candle = accounts.quotes.candle
        self._bands: list[tuple[str, float, float]] = []
        self._timed_ms = NEVER_MS
        self._checked_ms = -1
        self.idle = False

    def run(self, to_ms: int) -> None:
        """Let everything up to and including ``to_ms`` happen."""
        accounts = self._accounts
        while accounts.now_ms < to_ms:
            if accounts.changed:
                self._look_around()
            if self.idle:
                accounts.now_ms = to_ms
                return
            found = self._next(to_ms)
            if found is None:
                accounts.now_ms = to_ms
            else:
                accounts.now_ms = found
                self._happen()

    def _look_around(self) -> None:
        """Recompute the price range and the time until which nothing can happen."""
        accounts = self._accounts
        self._bands = [(symbol, band.low, band.high) for symbol, band in bands_of(accounts).items()]
        self._timed_ms = min(self._dates(), default=NEVER_MS)
        self._checked_ms = -1
        self.idle = not self._bands and self._timed_ms == NEVER_MS
        accounts.changed = False

    def _dates(self) -> Iterator[int]:
        """Return the times known in advance: funding, good-till dates, countdowns."""
        for ledger in self._accounts.ledgers.values():
            for held in ledger.live():
                yield self._accounts.quotes.next_funding_ms(held.symbol, self._accounts.now_ms)
            yield from (order.good_till_ms for order in ledger.open_orders.values() if order.good_till_ms)
            yield from (order.good_till_ms for order in ledger.open_algos.values() if order.good_till_ms)
            yield from ledger.countdowns.values()

    def _next(self, to_ms: int) -> int | None:
        """Return the next instant after now, at most ``to_ms``, at which something happens."""
        accounts = self._accounts
        timed = self._timed_ms  # what is worked out anew on the way may already look beyond it
        end = min(to_ms, timed)
        start = accounts.now_ms + 1
        minute = start - start % MINUTE_MS
        while minute <= end:
            if not self._quiet(minute):
                last = min(minute + MINUTE_MS - 1, end)
                hit = self._search(minute, max(start, minute), last)
                if hit is not None:
                    return hit
                accounts.now_ms = last
                self._look_around()
                minute += MINUTE_MS
            else:
                minute = self._leap(minute + MINUTE_MS, end)
        return timed if timed <= to_ms else None

    def _quiet(self, minute: int) -> bool:
        """Whether all prices of the minute, and the mark price that lags behind them, stay inside their bands."""
        if minute == self._checked_ms:
            return True
        candle_of = self._candle
        for symbol, low, high in self._bands:
            candle = candle_of(symbol, minute)
            if candle is None or candle[3] <= low or candle[2] >= high:
                return False
        if self._accounts.quotes.shocks or (self._checked_ms != minute - MINUTE_MS and not self._quiet_before(minute)):
            return False
        self._checked_ms = minute
        return True

    def _leap(self, minute: int, end: int) -> int:
        """Return the first minute from ``minute`` on that is not known to be quiet; the one before it is quiet."""
        calm_until = self._accounts.quotes.calm_until
        if calm_until is None or self._accounts.quotes.shocks:
            return minute
        touched = (calm_until(symbol, minute, end, low, high) for symbol, low, high in self._bands)
        first = min(touched, default=minute)
        self._checked_ms = first - MINUTE_MS
        return first

    def _quiet_before(self, minute: int) -> bool:
        for symbol, low, high in self._bands:
            before: Candle | None = self._candle(symbol, minute - MINUTE_MS)
            if before is None or before.low <= low or before.high >= high:
                return False
        return True

    def _search(self, minute: int, start: int, end: int) -> int | None:
        """Return the first instant in ``start..end``, all in one minute, at which something happens."""
        first = end + 1
        for ledger in self._accounts.ledgers.values():
            for order in ledger.open_orders.values():
                first = self._order_touch(order, minute, start, first - 1) or first
            for waiting in ledger.open_algos.values():
                if waiting.status == "NEW":
                    first = self._algo_touch(waiting, minute, start, first - 1) or first
            first = self._margin_touch(ledger, minute, start, first - 1) or first
        self._follow_peaks(minute, start, min(first, end))
        return first if first <= end else None

    def _order_touch(self, order: VenueOrder, minute: int, start: int, end: int) -> int | None:
        whole = self._accounts.quotes.minute(order.symbol, minute)
        edge = float(self._touch_level(order, whole))
        return _touch(whole, edge, order.side == "SELL", start, end)

    def _touch_level(self, order: VenueOrder, minute: Minute) -> Decimal:
        """Return the last price at which a resting order meets depth not yet consumed in that minute."""
        number, gone = self._accounts.consumed.get((order.symbol, order.side), (-1, Decimal(0)))
        away = self._accounts.contracts[order.symbol].rules.tick_size
        if number == minute.open_ms // MINUTE_MS:
            away += depth_before(minute, gone)
        return order.price - away if order.side == "BUY" else order.price + away

    def _algo_touch(self, order: AlgoOrder, minute: int, start: int, end: int) -> int | None:
        if order.type == conditional.TRAILING and order.activated:
            return self._trail_touch(order, minute, start, end)
        edge, rising = conditional.level(order), conditional.rising(order)
        if order.working_type == "MARK_PRICE":
            quotes = self._accounts.quotes
            sign = 1 if rising else -1
            return next((at for at in _seconds(start, end) if sign * (quotes.mark(order.symbol, at) - edge) >= 0), None)
        return _touch(self._accounts.quotes.minute(order.symbol, minute), edge, rising, start, end)

    def _trail_touch(self, order: AlgoOrder, minute: int, start: int, end: int) -> int | None:
        """The first instant at which the price is back from its best by the callback rate."""
        samples, whole = self._samples(order, minute, start, end)
        peak, before = order.peak, start
        for at, price in samples:
            edge = conditional.trail_level(order, peak)
            due = price >= edge if order.side == "BUY" else price <= edge
            if due:
                return at if whole is None else _touch(whole, edge, order.side == "BUY", before, at)
            peak, before = _better(order, peak, price), at
        return None

    def _samples(
        self, order: AlgoOrder, minute: int, start: int, end: int
    ) -> tuple[list[tuple[int, float]], Minute | None]:
        """The prices that decide about a trailing stop: every mark, or the corners of the path (and that path)."""
        quotes = self._accounts.quotes
        if order.working_type == "MARK_PRICE":
            return [(at, quotes.mark(order.symbol, at)) for at in _seconds(start, end)], None
        if start > end:
            return [], None
        whole = quotes.minute(order.symbol, minute)
        return list(_corners(whole.path, minute, start, end)), whole

    def _margin_touch(self, ledger: AccountLedger, minute: int, start: int, end: int) -> int | None:
        """The first whole second at which the account is to be warned or liquidated."""
        accounts = self._accounts
        bands = margin_bands(accounts, ledger)
        if all(self._within(symbol, band, minute) for symbol, band in bands.items()):
            return None
        now = accounts.now_ms
        try:
            for at in _seconds(start, end):
                accounts.now_ms = at
                if liquidation.is_due(accounts, ledger):
                    return at
        finally:
            accounts.now_ms = now
        return None

    def _within(self, symbol: str, band: QuietBand, minute: int) -> bool:
        both = [self._accounts.quotes.minute(symbol, open_ms) for open_ms in (minute - MINUTE_MS, minute)]
        return min(each.low for each in both) > band.low and max(each.high for each in both) < band.high

    def _follow_peaks(self, minute: int, start: int, end: int) -> None:
        """Let the active trailing stops remember the best price up to ``end``."""
        for ledger in self._accounts.ledgers.values():
            for order in list(ledger.open_algos.values()):
                if order.type == conditional.TRAILING and order.activated and order.status == "NEW":
                    peak = order.peak
                    for _, price in self._samples(order, minute, start, end)[0]:
                        peak = _better(order, peak, price)
                    conditional.remember_peak(ledger, order, peak)

    def _happen(self) -> None:
        """Process what is due now: triggers, fills, dates, then funding and margin."""
        accounts = self._accounts
        accounts.changed = True
        for ledger in list(accounts.ledgers.values()):
            for waiting in list(ledger.open_algos.values()):
                if waiting.status == "NEW":
                    self._trigger(ledger, waiting)
            for order in list(ledger.open_orders.values()):
                if order.order_id in ledger.open_orders:
                    self._meet(ledger, ledger.open_orders[order.order_id])
            self._keep_dates(ledger)
        if accounts.now_ms % SECOND_MS == 0:
            for ledger in accounts.ledgers.values():
                self._settle(ledger)
                liquidation.watch(accounts, ledger)

    def _trigger(self, ledger: AccountLedger, order: AlgoOrder) -> None:
        if conditional.is_due(order, conditional.watched_price(self._accounts, order)):
            conditional.react(self._accounts, ledger, order)

    def _meet(self, ledger: AccountLedger, order: VenueOrder) -> None:
        minute = self._accounts.quotes.minute_at(order.symbol, self._accounts.now_ms)
        edge = float(self._touch_level(order, minute))
        price = minute.price(self._accounts.now_ms)
        if price <= edge if order.side == "BUY" else price >= edge:
            matching.fill_waiting(self._accounts, ledger, order)

    def _keep_dates(self, ledger: AccountLedger) -> None:
        now = self._accounts.now_ms
        for order in ledger.orders_of():
            if 0 < order.good_till_ms <= now:
                matching.expire(self._accounts, ledger, order)
        for waiting in ledger.algos_of():
            if 0 < waiting.good_till_ms <= now:
                conditional.expire(self._accounts, ledger, waiting)
        for symbol, due_ms in list(ledger.countdowns.items()):
            if due_ms <= now:
                del ledger.countdowns[symbol]
                matching.cancel_symbol(self._accounts, ledger, symbol)

    def _settle(self, ledger: AccountLedger) -> None:
        for symbol in sorted({held.symbol for held in ledger.live()}):
            if self._accounts.quotes.is_settlement(symbol, self._accounts.now_ms):
                settle_funding(self._accounts, ledger, symbol)


def _touch(minute: Minute, level: float, rising: bool, start: int, end: int) -> int | None:
    offset = touch_on(minute.path, level, rising, start - minute.open_ms, end - minute.open_ms)
    return None if offset is None else minute.open_ms + offset


def _seconds(start: int, end: int) -> range:
    """The whole seconds in ``start..end``."""
    return range(start + -start % SECOND_MS, end + 1, SECOND_MS)


def _corners(path: Path, minute: int, start: int, end: int) -> Iterator[tuple[int, float]]:
    """The price at the start, at each corner between, and at the end; between them it moves one way only."""
    yield start, price_on(path, start - minute)
    for offset, price in path:
        if start < minute + offset < end:
            yield minute + offset, price
    yield end, price_on(path, end - minute)


def _better(order: AlgoOrder, peak: float, price: float) -> float:
    return min(peak, price) if order.side == "BUY" else max(peak, price)
