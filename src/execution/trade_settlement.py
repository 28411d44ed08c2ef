"""Completes booked trades with what becomes known after the exit: fees, funding, others' fills.

The fact of an exit is written first. What it cost in other assets, the funding of its time and what others did in the
symbol meanwhile is asked for afterwards, each trade with its own retries, and put in place of the first figures.
"""

import logging
from dataclasses import dataclass, field

from src.domain.clock import Clock
from src.domain.errors import ExchangeError
from src.domain.portfolio import Trade
from src.execution.journal import Journal
from src.execution.position_state import Backoff
from src.execution.trade_history import TradeHistory
from src.execution.trade_recorder import RecordedTrade, funding_may_be_due

log = logging.getLogger(__name__)

_FIRST_PAUSE_MS = 2_000
_LONGEST_PAUSE_MS = 600_000
_ALARM_AFTER = 5
_POSTED_WITHIN_MS = 600_000
_ASK_AGAIN_MS = (20_000, 120_000, _POSTED_WITHIN_MS)
_HOUR_MS = 3_600_000
_NOTICE_MS = 3_600_000


@dataclass(slots=True)
class _Open:
    """A closed trade that is not settled yet."""

    trade: Trade
    booked: Trade
    previous_exit_ms: int
    pause: Backoff = field(default_factory=lambda: Backoff(_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS))
    ask_ms: list[int] = field(default_factory=list)
    remainder: Trade | None = None


class TradeSettlement:
    """Settles the closed trades of one symbol; never raises for the exchange. Called by one thread at a time."""

    def __init__(self, history: TradeHistory, journal: Journal, clock: Clock) -> None:
        self._history, self._journal, self._clock = history, journal, clock
        self._open: list[_Open] = []
        self._last_exit_ms = 0
        self._notice = ""
        self._notice_ms = 0

    @property
    def notice(self) -> str:
        """What was booked as the doing of others within the last hour, in one sentence; else empty."""
        recent = 0 <= self._clock.now_ms() - self._notice_ms < _NOTICE_MS
        return self._notice if recent else ""

    @property
    def needs_reconcile(self) -> int:
        """How many closed trades wait for figures."""
        return len(self._open)

    def add(self, opened: Trade, booked: Trade) -> None:
        """Settle a trade that has just been booked.

        Args:
            opened: as it was opened; names its entry order.
            booked: as its exit was written down.
        """
        self._open.append(_Open(opened, booked, self._last_exit_ms, ask_ms=_instants(booked)))
        self._last_exit_ms = booked.exit_ms or self._last_exit_ms

    def resume(self, trades: list[Trade]) -> None:
        """Take up again the settlement of trades that were closed shortly before a restart."""
        for trade in trades:
            self.add(trade, trade)

    def run(self) -> None:
        """Ask for what is due; a failure is tried again after a growing pause."""
        for each in list(self._open):
            if not each.pause.due(self._clock.now_ms()):
                continue
            try:
                self._settle(each)
            except ExchangeError as error:
                self._wait(each, f"the exchange could not be asked: {error}")

    def _settle(self, each: _Open) -> None:
        booked, now_ms = each.booked, self._clock.now_ms()
        asks = bool(each.ask_ms)
        recorded = self._history.record(
            each.trade,
            booked.exit_reason,
            prices=True,
            with_income=asks,
            previous_exit_ms=each.previous_exit_ms,
        )
        if not recorded.complete:
            self._wait(each, "its fills are not reported yet")
            return
        each.pause.reset()
        self._book(each, recorded)
        each.ask_ms = [instant for instant in each.ask_ms if instant > now_ms]
        if each.ask_ms:
            each.pause.fail(now_ms)
            each.pause.wait_until(each.ask_ms[0])
        else:
            self._open.remove(each)

    def _book(self, each: _Open, recorded: RecordedTrade) -> None:
        """Write better figures where they differ, and the remainder under its own name."""
        trade = recorded.trade
        if _money(trade) != _money(each.booked):
            log.info("trade settled: symbol=%s entry=%s pnl=%s", trade.symbol, trade.entry_client_id, trade.pnl)
            each.booked = trade
            self._journal.close_trade(trade)
        if recorded.remainder is None or each.remainder == recorded.remainder:
            return
        rest = each.remainder = recorded.remainder
        self._journal.close_trade(rest)
        self._notice_ms = self._clock.now_ms()
        self._notice = (
            f"orders that this bot did not send changed the result in {rest.symbol} by {rest.pnl:f}: "
            f"booked apart as {rest.entry_client_id}"
        )
        log.error("remainder booked: symbol=%s pnl=%s as=%s", rest.symbol, rest.pnl, rest.entry_client_id)

    def _wait(self, each: _Open, why: str) -> None:
        pause_ms = each.pause.fail(self._clock.now_ms())
        level = logging.ERROR if each.pause.failures == _ALARM_AFTER else logging.WARNING
        log.log(
            level,
            "trade not settled yet: symbol=%s entry=%s retry_in_s=%d reason=%s",
            each.booked.symbol,
            each.booked.entry_client_id,
            pause_ms // 1_000,
            why,
        )


def _instants(booked: Trade) -> list[int]:
    """Return when income must be asked for: at once if any may be due, and again while it may be posted late."""
    ended_ms = booked.exit_ms or 0
    liquidated = booked.exit_reason in ("liquidation", "closed_at_exchange")
    if not liquidated and not funding_may_be_due(booked.entry_ms, ended_ms):
        return []
    last_due_ms = ended_ms if liquidated else ended_ms - ended_ms % _HOUR_MS
    again = [last_due_ms + each for each in _ASK_AGAIN_MS]
    return [ended_ms, *(instant for instant in again if instant > ended_ms)]


def _money(trade: Trade) -> tuple[object, ...]:
    """Return the figures that a settlement may correct."""
    return (
        trade.quantity, trade.gross_pnl, trade.fees, trade.funding, trade.exit_ms, trade.exit_reason,
    )  # fmt: skip
