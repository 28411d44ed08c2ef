"""Deposits and withdrawals: excluded from profit, each counted exactly once.

The user stream reports a transfer at once, without an id; the income history has the id, a moment later, and also
covers times without a stream. A streamed transfer counts at once, and is booked under its id as soon as the history
shows it.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal

from src.domain.clock import DAY_MS
from src.domain.portfolio import KnownTransfers
from src.domain.ports import Income
from src.exchanges.binance.mapping import Json, decimal

log = logging.getLogger(__name__)

MOVED_INCOME = frozenset({
    "TRANSFER", "INTERNAL_TRANSFER", "CROSS_COLLATERAL_TRANSFER", "STRATEGY_UMFUTURES_TRANSFER", "AUTO_EXCHANGE",
    "COIN_SWAP_DEPOSIT", "COIN_SWAP_WITHDRAW", "WELCOME_BONUS", "CONTEST_REWARD", "BFUSD_REWARD",
})  # fmt: skip
"""Kinds of income that are transfers; rebates and fees belong to trading."""
MOVED_REASONS = frozenset({
    "DEPOSIT", "WITHDRAW", "WITHDRAW_REJECT", "ADMIN_DEPOSIT", "ADMIN_WITHDRAW", "ASSET_TRANSFER", "AUTO_EXCHANGE",
    "COIN_SWAP_DEPOSIT", "COIN_SWAP_WITHDRAW",
})  # fmt: skip
"""Reasons of an ACCOUNT_UPDATE whose balance change is a transfer."""
_SAME_WITHIN_MS = 60_000  # difference between the times of history and stream
_LOOK_BACK_MS = DAY_MS  # overlap with the last query: the stream may have missed events before it
_KEPT_MS = 89 * DAY_MS  # the exchange keeps three months
_REMEMBERED = 100


class TransferTracker:
    """The transfers of one account in its quote asset. The owner ensures that one thread calls at a time.

    Args:
        quote_asset: payments in another asset do not touch the balance that counts.
        known: what is known from before.
        keep: called with each transfer when its id is first seen, with the time of the stream's report (None without),
            and whether it counts; must return at once.
    """

    def __init__(
        self,
        quote_asset: str,
        known: KnownTransfers | None = None,
        keep: Callable[[Income, int | None, bool], None] = lambda income, told_ms, counted: None,
    ) -> None:
        known = known or KnownTransfers()
        self._quote, self._keep = quote_asset, keep
        self._ids = set(known.ids)
        self._booked = known.total
        self._looked_ms = known.looked_ms
        self._first = known.looked_ms is None
        self._waiting: list[tuple[int, Decimal]] = []
        self._unheard: deque[Income] = deque(maxlen=_REMEMBERED)
        self._heard: deque[tuple[int, Decimal]] = deque(maxlen=_REMEMBERED)

    @property
    def total(self) -> Decimal:
        """The net transfers known now."""
        return self._booked + sum((amount for _, amount in self._waiting), Decimal(0))

    @property
    def waiting(self) -> bool:
        """Whether the stream reported a transfer that is not in the income history yet."""
        return bool(self._waiting)

    def since_ms(self, now_ms: int) -> int:
        """Return the time from which the income history must be queried."""
        since_ms = now_ms if self._looked_ms is None else self._looked_ms
        since_ms = min([since_ms, *(told_ms for told_ms, _ in self._waiting)])
        return max(since_ms - _LOOK_BACK_MS, now_ms - _KEPT_MS)

    def stream(self, event: Json) -> None:
        """Apply an ACCOUNT_UPDATE that changed the balance; a duplicate counts once."""
        if event["a"].get("m") not in MOVED_REASONS:
            return
        told_ms = int(event.get("T", event["E"]))
        for row in event["a"].get("B", ()):
            told = told_ms, decimal(row["bc"])
            if row["a"] == self._quote and told[1] and told not in self._heard:
                self._heard.append(told)
                self._hear(*told)

    def confirm(self, rows: Iterable[Income]) -> None:
        """Book streamed transfers from the income history; others wait for ``learn``."""
        for row in self._new(rows):
            if self._told(row) is not None:
                self._book(row)

    def learn(self, rows: Iterable[Income], as_of_ms: int) -> bool:
        """Book all transfers of the income history that a balance of ``as_of_ms`` contains.

        Returns:
            False, with nothing booked, if a transfer is later: the balance may or may not contain it.
        """
        new = self._new(rows)
        if any(row.time_ms > as_of_ms for row in new):
            return False
        for row in new:
            self._book(row)
        self._looked_ms = as_of_ms
        self._first = False
        return True

    def _hear(self, told_ms: int, amount: Decimal) -> None:
        for row in self._unheard:
            if row.amount == amount and abs(row.time_ms - told_ms) <= _SAME_WITHIN_MS:
                self._unheard.remove(row)  # the history was faster than the stream
                return
        self._waiting.append((told_ms, amount))
        log.info("money %s: amount=%s asset=%s", "paid in" if amount > 0 else "paid out", amount, self._quote)

    def _new(self, rows: Iterable[Income]) -> list[Income]:
        return [
            row
            for row in rows
            if row.kind in MOVED_INCOME and row.asset == self._quote and (row.kind, row.transaction_id) not in self._ids
        ]

    def _told(self, row: Income) -> tuple[int, Decimal] | None:
        """Return the stream's report of the transfer, None without."""
        same = (told for told in self._waiting if told[1] == row.amount)
        return next((told for told in same if abs(told[0] - row.time_ms) <= _SAME_WITHIN_MS), None)

    def _book(self, row: Income) -> None:
        self._ids.add((row.kind, row.transaction_id))
        told = self._told(row)
        if told is not None:
            self._waiting.remove(told)
        else:
            self._unheard.append(row)
        counted = told is not None or not self._first
        if counted:
            self._booked += row.amount
            log.info("transfer booked: kind=%s id=%s amount=%s", row.kind, row.transaction_id, row.amount)
        self._keep(row, None if told is None else told[0], counted)
