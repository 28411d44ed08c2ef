"""The user data stream: listen key, events, and the REST reads that confirm or catch up."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import orjson

from src.domain.clock import is_over, monotonic_s
from src.domain.errors import ExchangeError, OrderRefused
from src.domain.orders import Fill, Order
from src.domain.portfolio import Account
from src.domain.ports import Income
from src.exchanges.binance.account_state import AccountChanges, AccountState
from src.exchanges.binance.errors import NOT_LISTED_CODE
from src.exchanges.binance.exchange import BinanceExchange
from src.exchanges.binance.mapping import MALFORMED
from src.exchanges.binance.polling import BlockingCallPool, PollingTask
from src.exchanges.binance.transfers import TransferTracker
from src.exchanges.binance.websocket import ReconnectingWebSocket, SocketHealth

log = logging.getLogger(__name__)

Asked = TypeVar("Asked")
Found = TypeVar("Found")

_KEEP_KEY_MS = 1_800_000
_DEAF_AFTER_S = 2.0
_CATCH_UP_MS = 60_000
_LATE_WALL_MS = 5_000
_EDGE_WALL_MS = 50  # how far our clock may be off the exchange's
_INCOME_EVERY_MS = 3_600_000
_ASK_AGAIN_S = (0.0, 2.0, 5.0, 15.0, 60.0, 600.0)  # for a payment that the history does not show yet


@dataclass(frozen=True, slots=True)
class _OrdersSeen:
    """A query of the orders: those that are open, and those believed open that are not."""

    asked_ms: int
    shown: list[Order]
    gone: list[Order]


@dataclass(frozen=True, slots=True)
class _AccountSeen:
    """A query of the account: how many changes were streamed before, and the income if it was queried."""

    told: int
    account: Account
    income: list[Income] | None


class UserStream:
    """Keeps an ``AccountState`` up to date; everything except ``book`` runs in the stream's thread.

    Args:
        exchange: for REST calls, listen keys and the clock.
        hands: threads for REST calls.
        symbols: whose orders and fills are looked up.
        reconcile_ms: exchange time between two confirmations over REST.
        on_fill, on_order: called once for each fill and each update of an order.
        on_account: called after each confirmation.
        transfers: deposits and withdrawals.
    """

    def __init__(
        self,
        *,
        exchange: BinanceExchange,
        hands: BlockingCallPool,
        symbols: Sequence[str],
        reconcile_ms: int,
        on_fill: Callable[[Fill], None],
        on_order: Callable[[Order], None],
        on_account: Callable[[], None],
        transfers: TransferTracker | None = None,
    ) -> None:
        self._exchange, self._hands, self._symbols = exchange, hands, symbols
        self._clock, self._reconcile_ms = exchange.clock, reconcile_ms
        self._on_fill, self._on_order, self._on_account = on_fill, on_order, on_account
        speed = max(self._clock.speed, 1.0)
        self.book = AccountState(
            quote_asset=exchange.quote_asset,
            terms=exchange.terms,
            late_ms=int(_LATE_WALL_MS * speed),
            transfers=transfers,
            edge_ms=int(_EDGE_WALL_MS * speed),
            note_leverage=exchange.note_leverage,
        )
        self.socket = ReconnectingWebSocket(
            name="user",
            address=self._address,
            on_frame=self._on_frame,
            on_connected=self._on_connected,
            clock=self._clock,
            stale_after_s=None,
        )
        self.malformed = 0
        self._listen_key = ""
        self._key_kept_ms = self._account_ms = self._orders_ms = 0
        self._income_ms: int | None = None  # time of the last query; None: query
        self._confirmed_s, self._confirm_tries = 0.0, 0
        self._catch_up_ms: int | None = None
        self._suspect_s: float | None = None
        self._event_s = 0.0

    def requests(self) -> list[PollingTask]:
        """Return the REST calls that this stream needs."""
        return [
            PollingTask("account", self._account_due, self._ask_account, self._use_account),
            PollingTask("orders", self._orders_due, self._ask_orders, self._use_orders),
            PollingTask("listen key", self._key_due, self._ask_key, self._use_key),
            PollingTask("transfers", self._transfers_due, self._ask_transfers, self._use_transfers),
            PollingTask("missed fills", lambda: self._catch_up_ms is not None, self._ask_missed, self._use_missed),
        ]

    def look_after(self) -> None:
        """Drop a live connection that did not report a change that REST shows."""
        if self._suspect_s is None or monotonic_s() - self._suspect_s <= _DEAF_AFTER_S:
            return
        deaf = self._event_s < self._suspect_s - _DEAF_AFTER_S
        self._suspect_s = None
        if deaf and self.socket.health.connected:
            self.socket.restart("the account changed without an event of the user stream")

    async def _address(self) -> str:
        self._listen_key = await self._hands.do(self._exchange.new_listen_key)
        self._key_kept_ms = self._clock.now_ms()
        return f"{self._exchange.wire.addresses.streams}/private/ws?listenKey={self._listen_key}"

    def _on_frame(self, frame: bytes) -> None:
        self._event_s = monotonic_s()
        try:
            event = orjson.loads(frame)
            event = event.get("data", event)
            expired = event["e"] == "listenKeyExpired"
            news = AccountChanges() if expired else self.book.apply(event)
        except MALFORMED as error:
            self._note_malformed(error)
            return
        if expired:
            self.socket.restart("listen key expired")
        self._tell(news)

    def _on_connected(self, before: SocketHealth) -> None:
        """After a lost connection, query what it may have missed."""
        if before.connects:
            lost_ms = max(before.last_frame_ms, self._account_ms)
            self._catch_up_ms = min(self._catch_up_ms or lost_ms, lost_ms) - _CATCH_UP_MS
            self._income_ms = None

    def _tell(self, news: AccountChanges) -> None:
        for fill in news.fills:
            self._on_fill(fill)
        for order in news.orders:
            self._on_order(order)

    def _account_due(self) -> bool:
        return self.book.wants_look or is_over(self._reconcile_ms, self._account_ms, self._clock.now_ms())

    def _ask_account(self) -> _AccountSeen:
        """Query the account, and the income too if there may be a transfer that was not streamed."""
        told, account = self.book.told, self._exchange.account()
        asked_ms = self._income_ms
        due = asked_ms is None or account.as_of_ms - asked_ms >= _INCOME_EVERY_MS
        if not due and self.book.is_explained(account):
            return _AccountSeen(told, account, None)
        try:
            income = self._exchange.income(self.book.transfers_since_ms(account.as_of_ms))
        except ExchangeError:
            self.book.set_positions(account, told)
            raise
        return _AccountSeen(told, account, income)

    def _use_account(self, found: _AccountSeen) -> None:
        before_ms, self._account_ms = self._account_ms, found.account.as_of_ms
        if not self.book.set_account(found.account, found.told, found.income) and before_ms and self._suspect_s is None:
            self._suspect_s = monotonic_s()
        if found.income is not None and not self.book.wants_look:
            self._income_ms = found.account.as_of_ms
        self._on_account()

    def _transfers_due(self) -> bool:
        """Return whether the income history must be queried for a streamed transfer."""
        if not self.book.awaits_transfer:
            self._confirm_tries = 0
            return False
        wait_s = _ASK_AGAIN_S[min(self._confirm_tries, len(_ASK_AGAIN_S) - 1)]
        return monotonic_s() - self._confirmed_s >= wait_s

    def _ask_transfers(self) -> list[Income]:
        return self._exchange.income(self.book.transfers_since_ms(self._clock.now_ms()))

    def _use_transfers(self, income: list[Income]) -> None:
        self._confirmed_s = monotonic_s()
        self._confirm_tries += 1
        self.book.confirm_transfers(income)

    def _orders_due(self) -> bool:
        return is_over(self._reconcile_ms, self._orders_ms, self._clock.now_ms())

    def _ask_orders(self) -> _OrdersSeen:
        """Return the open orders, and the outcome of those that are no longer open."""
        asked_ms, believed = self._clock.now_ms(), self.book.open_orders()
        shown = [order for symbol in self._symbols for order in _if_listed(self._exchange.open_orders, symbol)]
        ids = {order.order_id for order in shown}
        ended = [order for order in believed if order.order_id not in ids]
        gone = [each for order in ended for each in _if_listed(lambda order: [self._exchange.refreshed(order)], order)]
        return _OrdersSeen(asked_ms, shown, gone)

    def _use_orders(self, found: _OrdersSeen) -> None:
        self._orders_ms = found.asked_ms
        self._tell(self.book.learn([], found.shown + found.gone))
        for order in found.gone:
            if not order.status.final:
                self.book.forget(order)

    def _key_due(self) -> bool:
        return bool(self._listen_key) and is_over(_KEEP_KEY_MS, self._key_kept_ms, self._clock.now_ms())

    def _ask_key(self) -> bool:
        """Extend the listen key; return whether it still existed."""
        try:
            self._exchange.keep_listen_key(self._listen_key)
        except OrderRefused:
            return False
        return True

    def _use_key(self, alive: bool) -> None:
        self._key_kept_ms = self._clock.now_ms()
        if not alive:
            self.socket.restart("listen key is unknown")

    def _ask_missed(self) -> list[Fill]:
        since_ms = self._catch_up_ms or 0
        return [
            fill
            for symbol in self._symbols
            for fill in _if_listed(lambda symbol: self._exchange.fills(symbol, since_ms), symbol)
        ]

    def _use_missed(self, fills: list[Fill]) -> None:
        self._catch_up_ms = None
        self._account_ms = self._orders_ms = 0  # both are due at once
        self._tell(self.book.learn(fills, []))

    def _note_malformed(self, error: BaseException) -> None:
        self.malformed += 1
        if self.malformed == 1:
            log.warning("frame not understood: socket=user reason=%s %s", type(error).__name__, error)


def _if_listed(ask: Callable[[Asked], list[Found]], asked: Asked) -> list[Found]:
    """Return the result, empty for a contract that is not listed, so that the other contracts are still read."""
    try:
        return ask(asked)
    except OrderRefused as error:
        if error.code != NOT_LISTED_CODE:
            raise
        return []
