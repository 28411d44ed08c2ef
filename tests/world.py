"""A small market in process for tests: candles, the paper exchange's venue, an account, and faults on the way."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal

from src.backtest.venue_exchange import VenueExchange, VenueFeed
from src.domain.circuit_breaker import born
from src.domain.clock import MINUTE_MS, ManualClock
from src.domain.errors import ExchangeUnavailable, OrderRefused, OutcomeUnknown, Rejection
from src.domain.market import Candle
from src.domain.orders import Order, OrderIntent, Purpose
from src.domain.risk import ActiveLimits, RiskLimits
from src.exchanges.binance.errors import REJECTIONS
from src.execution.journal import InMemoryJournal
from src.execution.order_manager import OrderManager
from src.execution.order_updates import OrderUpdateBuffer
from src.execution.pair_settings import PairSettings
from src.execution.position_manager import PositionManager
from src.execution.protection_manager import ProtectionManager
from src.paper_exchange.venue import Venue

SYMBOL = "BTCUSDT"
START_MS = 1_700_000_040_000 // MINUTE_MS * MINUTE_MS
RECONCILE_MS = 600_000


class Crash(BaseException):
    """The process dies here: nothing below may catch it."""


class CandleMarket:
    """A price source of the venue made of given candles."""

    symbols = (SYMBOL,)

    def __init__(self, candles: list[Candle]) -> None:
        self._by_minute = {candle.open_ms: candle for candle in candles}

    def candle(self, symbol: str, open_ms: int) -> Candle | None:
        """Return the minute."""
        return self._by_minute.get(open_ms) if symbol == SYMBOL else None

    def funding_rate(self, symbol: str, settle_ms: int) -> float:
        """Return one basis point."""
        return 0.0001


def walk(minutes: int, seed: int = 1, price: float = 30_000.0, step_bps: float = 6.0) -> list[Candle]:
    """Return a random walk of one-minute candles on the tick of 0.1."""
    dice = random.Random(seed)
    candles = []
    for number in range(minutes):
        open_price = price
        price = open_price * math.exp(dice.gauss(0.0, step_bps / 10_000.0))
        high = max(open_price, price) * (1 + abs(dice.gauss(0.0, step_bps / 20_000.0)))
        low = min(open_price, price) * (1 - abs(dice.gauss(0.0, step_bps / 20_000.0)))
        row = [round(value, 1) for value in (open_price, high, low, price)]
        candles.append(Candle(START_MS + number * MINUTE_MS, *row, volume=round(dice.uniform(50.0, 400.0), 3)))
        price = row[3]
    return candles


def path(*closes: float, volume: float = 500.0) -> list[Candle]:
    """Return candles that go straight from close to close, the first one flat."""
    candles, last = [], closes[0]
    for number, close in enumerate(closes):
        low, high = min(last, close), max(last, close)
        candles.append(Candle(START_MS + number * MINUTE_MS, last, high, low, close, volume))
        last = close
    return candles


@dataclass
class FaultyExchange:
    """Passes every call on to ``inner`` unless a fault was ordered for it; counts the calls.

    ``lose_answers``: how many of the next sends are carried out but answered with OutcomeUnknown.
    ``drop_sends``: how many are not carried out and answered with OutcomeUnknown; ``faults_of``: both for orders of
    this purpose alone. ``refuse_stops``: how many conditional orders are refused. ``refusals``: codes with which the
    next orders of a purpose are refused. ``fill_changes`` are made to every fill that is told. ``away``: every call
    fails. ``blind_finds``: find_order sees nothing so often. ``before`` is called with the name of every call (it may
    raise Crash), ``after`` likewise.
    """

    inner: VenueExchange
    lose_answers: int = 0
    drop_sends: int = 0
    refuse_stops: int = 0
    blind_finds: int = 0
    away: bool = False
    faults_of: Purpose | None = None
    fill_changes: dict[str, object] = field(default_factory=dict)
    refusals: dict[Purpose, list[int]] = field(default_factory=dict)
    sent: list[OrderIntent] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    before: Callable[[str], None] = lambda _name: None
    after: Callable[[str], None] = lambda _name: None

    def __getattr__(self, name: str):
        method = getattr(self.inner, name)

        def call(*args, **kwargs):
            self._enter(name)
            answer = method(*args, **kwargs)
            if name in ("fills", "order_fills") and self.fill_changes:
                answer = [replace(each, **self.fill_changes) for each in answer]
            self.after(name)
            return answer

        return call

    def send(self, intent: OrderIntent) -> Order:
        """Send with the faults ordered."""
        self._enter("send")
        meant = self.faults_of in (None, intent.purpose)
        if meant and self.drop_sends > 0:
            self.drop_sends -= 1
            raise OutcomeUnknown("the line went dead", intent.client_id)
        if intent.kind.conditional and self.refuse_stops > 0:
            self.refuse_stops -= 1
            raise OrderRefused(-2021, "Order would immediately trigger.", REJECTIONS[-2021])
        refusals = self.refusals.get(intent.purpose, [])
        if refusals:
            code = refusals.pop(0)
            raise OrderRefused(code, "refused by the test", REJECTIONS.get(code, Rejection.OTHER))
        self.sent.append(intent)
        order = self.inner.send(intent)
        self.after("send")
        if meant and self.lose_answers > 0:
            self.lose_answers -= 1
            raise OutcomeUnknown("Execution status unknown.", intent.client_id)
        return order

    def told_terms(self, symbol: str) -> tuple[int, str] | None:
        """Return what was told without asking: that works while the exchange is away."""
        return self.inner.told_terms(symbol)

    def find_order(self, intent: OrderIntent) -> Order | None:
        """Look up, unless made blind."""
        self._enter("find_order")
        if self.blind_finds > 0:
            self.blind_finds -= 1
            return None
        return self.inner.find_order(intent)

    def _enter(self, name: str) -> None:
        self.calls.append(name)
        self.before(name)
        if self.away:
            raise ExchangeUnavailable("no route to the exchange")


class LaggingJournal:
    """The journal as a process has it: whole in memory, on disk only what was written before the crash.

    An intent that may open exposure reaches the disk at once, with all before it; everything else comes behind.
    ``disk`` is what a restarted process finds. ``before`` is called with the name of every call.
    """

    _READS = ("unfinished_orders", "open_trades", "exit_reason", "closed_pnls", "breaker")

    def __init__(self) -> None:
        self.live = InMemoryJournal(born(START_MS))
        self.disk = InMemoryJournal(born(START_MS))
        self.before: Callable[[str], None] = lambda _name: None
        self._behind: list[tuple[str, tuple]] = []

    def __getattr__(self, name: str):
        method = getattr(self.live, name)

        def call(*args):
            self.before(name)
            answer = method(*args)
            if name not in self._READS:
                self._behind.append((name, args))
            if name == "plan_order":
                self._flush()
            return answer

        return call if callable(method) else method

    def _flush(self) -> None:
        for name, args in self._behind:
            getattr(self.disk, name)(*args)
        self._behind.clear()


class World:
    """Venue, clock, journal and exchange of one test; ``at`` moves the time."""

    def __init__(self, candles: list[Candle], balance: str = "10000") -> None:
        self.candles = candles
        self.clock = ManualClock(START_MS)
        self.history: dict[str, list[Candle]] = {SYMBOL: []}
        self.venue = Venue(CandleMarket(candles), START_MS, balance=Decimal(balance))
        self.inner = VenueExchange(self.venue, "bot", self.clock, self.history)
        self.exchange = FaultyExchange(self.inner)
        self.feed = VenueFeed(self.inner, self.history)
        self.journal = InMemoryJournal(born(START_MS))
        self.active = ActiveLimits(RiskLimits())
        self.exchange.prepare(SYMBOL, self.limits.leverage, "CROSSED")
        self.settings = PairSettings(
            exchange=self.exchange,
            clock=self.clock,
            symbol=SYMBOL,
            leverage=self.limits.leverage,
            margin_type="CROSSED",
        )

    @property
    def limits(self) -> RiskLimits:
        """The limits in force."""
        return self.active.current

    @limits.setter
    def limits(self, limits: RiskLimits) -> None:
        self.active.replace(limits)

    def at(self, minute: int, second: float = 0.0) -> int:
        """Move on to that minute and second of the market; closed candles join the history."""
        now = START_MS + minute * MINUTE_MS + int(second * 1000)
        self.clock.advance_to(max(now, self.clock.now_ms()))
        closed = [each for each in self.candles if each.open_ms + MINUTE_MS <= now]
        self.history[SYMBOL][:] = closed
        self.venue.advance(self.clock.now_ms())
        return self.clock.now_ms()

    def order_manager(self, news: OrderUpdateBuffer | None = None) -> OrderManager:
        """Return a new order manager, as after a start of the process."""
        return OrderManager(
            exchange=self.exchange,
            journal=self.journal,
            clock=self.clock,
            bot_id="bot",
            settings=self.settings,
            news=news,
        )

    def streamed(self, patience_s: float = 0.05, **changes: object) -> OrderUpdateBuffer:
        """Return what a user stream tells of every regular order as it is sent; ``changes`` are made to each fill."""
        news = OrderUpdateBuffer(patience_s=patience_s)
        self.exchange.fill_changes = {} if "quantity" in changes else changes

        def tell(name: str) -> None:
            sent = self.exchange.sent[-1] if name == "send" else None
            if sent is None or sent.kind.conditional:
                return
            order = self.inner.find_order(sent)
            assert order is not None
            for fill in self.inner.order_fills(order):
                news.on_fill(replace(fill, **changes))
            news.on_order(order)

        self.exchange.after = tell
        return news

    def position_manager(self, order_manager: OrderManager | None = None) -> PositionManager:
        """Return a new position manager, as after a start of the process."""
        return PositionManager(
            order_manager or self.order_manager(),
            self.exchange,
            self.journal,
            self.clock,
            self.active,
            settings=self.settings,
            mark_price=lambda: self.feed.mark_price(SYMBOL),
            candles=lambda: self.feed.candles(SYMBOL),
            reconcile_ms=RECONCILE_MS,
        )

    def protection(self, order_manager: OrderManager | None = None) -> ProtectionManager:
        """Return what places the protective orders."""
        return ProtectionManager(
            order_manager or self.order_manager(),
            self.exchange,
            self.journal,
            self.clock,
            self.active,
            settings=self.settings,
        )

    def stops(self) -> list[Order]:
        """Return the stop orders that stand at the exchange."""
        return [each for each in self.inner.open_orders(SYMBOL) if each.kind == "STOP_MARKET"]
