"""The journal port: what is recorded about every turn and order; and an in-memory journal.

The live bot writes to the database; backtests and tests keep the same notes in memory. The order of writing is
part of the promise: an entry is noted before it is sent, and a turn before it is acted upon.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from src.domain.circuit_breaker import BreakerState
from src.domain.orders import Order, OrderIntent, OrderStatus, Purpose, purpose_of
from src.domain.portfolio import Account, Trade
from src.strategy.decision import Decision, Observation


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn as it goes into the decision journal; ``order_client_id`` is empty when nothing was sent."""

    observation: Observation
    decision: Decision
    order_client_id: str = ""
    cycle_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class TradeStart:
    """An opened round trip and what protects it."""

    trade: Trade
    stop_client_id: str
    target_client_id: str


class Journal(Protocol):
    """Where one bot writes. Methods raise ``StoreUnavailable`` when the note could not be kept."""

    def plan_order(self, intent: OrderIntent) -> None:
        """Note an order that may open exposure; it is on disk when this returns."""

    def note_order(self, intent: OrderIntent) -> None:
        """Note an order that can only lessen exposure; it may reach the disk later, but in order."""

    def update_order(self, client_id: str, status: OrderStatus, order: Order | None, fees: Decimal, note: str) -> None:
        """Note what became of an order."""

    def unfinished_orders(self, symbol: str) -> list[OrderIntent]:
        """Return the intents whose orders are not final, and filled entries without a trade, oldest first."""

    def open_trade(self, start: TradeStart) -> None:
        """Note a round trip that began; the same entry twice is one trade."""

    def close_trade(self, trade: Trade) -> None:
        """Note a round trip that ended, or the figures of its exit as they came to be known."""

    def open_trades(self, symbol: str) -> list[TradeStart]:
        """Return the round trips that are not closed, oldest first."""

    def has_trade(self, entry_client_id: str) -> bool:
        """Return whether a round trip of that entry is known, open or closed."""

    def closed_trades(self, symbol: str, since_ms: int) -> list[Trade]:
        """Return the round trips of this bot that were closed since then, oldest first."""

    def last_note_ms(self) -> int | None:
        """Return the instant of the newest note that was found when the journal was opened; None in an empty one."""

    def exit_reason(self, symbol: str, since_ms: int) -> str:
        """Return the reason of the last exit order filled since then, or an empty text."""

    def closed_pnls(self, limit: int, since_ms: int) -> list[Decimal]:
        """Return the net results of the last trades closed since then, of all symbols, oldest first."""

    def record_turn(self, turn: Turn) -> None:
        """Note a turn with all its gates."""

    def settle_turn(self, turn: Turn, acted: bool, outcome: str) -> None:
        """Note what came of a turn that meant to act."""

    def record_account(self, account: Account) -> None:
        """Note balances and positions."""

    def day_start(self, day: str, earned: Decimal) -> Decimal:
        """Return ``Account.earned`` as the UTC day began with it; the first caller of the day sets it."""

    def peak_equity(self, earned: Decimal, since_ms: int) -> Decimal:
        """Return the highest ``Account.earned`` noted since then, ``earned`` included."""

    def limit_hit(self, day: str, loss: Decimal) -> None:
        """Note that the day's loss limit was reached."""

    def limit_was_hit(self, day: str) -> bool:
        """Return whether the day's loss limit was noted as reached."""

    def breaker(self) -> BreakerState:
        """Return the circuit breaker's state; TRIPPED when it cannot be read."""

    def trip_breaker(self, state: BreakerState) -> None:
        """Append a state of the circuit breaker."""


def is_part_of(intent: OrderIntent, trade: Trade) -> bool:
    """Return whether a filled entry opened a trade or, decided while it was open, increased it."""
    if intent.client_id == trade.entry_client_id:
        return True
    if intent.symbol != trade.symbol or intent.decided_ms <= trade.entry_ms:
        return False
    return trade.exit_ms is None or intent.decided_ms < trade.exit_ms


@dataclass
class InMemoryJournal:
    """The journal of a backtest or a test: everything in lists, nothing on disk."""

    breaker_state: BreakerState
    intents: dict[str, OrderIntent] = field(default_factory=dict)
    statuses: dict[str, OrderStatus] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    starts: dict[str, TradeStart] = field(default_factory=dict)
    closed: list[Trade] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    accounts: list[Account] = field(default_factory=list)
    days: dict[str, Decimal] = field(default_factory=dict)
    limits_hit: dict[str, Decimal] = field(default_factory=dict)
    peak: Decimal = Decimal(0)
    peak_since_ms: int = -1
    keep_turns: bool = True

    def plan_order(self, intent: OrderIntent) -> None:
        """Keep the intent as planned."""
        self.intents[intent.client_id] = intent
        self.statuses[intent.client_id] = OrderStatus.PLANNED

    note_order = plan_order

    def update_order(self, client_id: str, status: OrderStatus, order: Order | None, fees: Decimal, note: str) -> None:
        """Keep the order's last known state."""
        self.statuses[client_id] = status
        if order is not None:
            self.orders[client_id] = order
        if note:
            self.outcomes[client_id] = note

    def unfinished_orders(self, symbol: str) -> list[OrderIntent]:
        """Return the intents of ``symbol`` whose status is not final, and filled entries without a trade."""
        trades = [*(start.trade for start in self.starts.values()), *self.closed]
        return [
            intent
            for key, intent in self.intents.items()
            if intent.symbol == symbol
            and (
                not self.statuses[key].final
                or (
                    self.statuses[key] is OrderStatus.FILLED
                    and intent.purpose is Purpose.ENTRY
                    and not any(is_part_of(intent, trade) for trade in trades)
                )
            )
        ]

    def open_trade(self, start: TradeStart) -> None:
        """Keep the start under its entry's client id."""
        self.starts[start.trade.entry_client_id] = start

    def close_trade(self, trade: Trade) -> None:
        """Move the trade from the open to the closed ones, or put better figures in its place."""
        opened = self.starts.pop(trade.entry_client_id, None) is not None
        place = next((n for n, each in enumerate(self.closed) if each.entry_client_id == trade.entry_client_id), None)
        if opened or place is None:
            self.closed.append(trade)
        else:
            self.closed[place] = trade

    def open_trades(self, symbol: str) -> list[TradeStart]:
        """Return what is open in ``symbol``."""
        return [start for start in self.starts.values() if start.trade.symbol == symbol]

    def has_trade(self, entry_client_id: str) -> bool:
        """Return whether it is among the open or the closed ones."""
        return entry_client_id in self.starts or any(each.entry_client_id == entry_client_id for each in self.closed)

    def closed_trades(self, symbol: str, since_ms: int) -> list[Trade]:
        """Return the symbol's own ones closed since then."""
        own = (each for each in self.closed if each.symbol == symbol and purpose_of(each.entry_client_id))
        return [each for each in own if (each.exit_ms or 0) >= since_ms]

    def last_note_ms(self) -> int | None:
        """Return the instant of the newest account or order that was kept."""
        instants = [each.as_of_ms for each in self.accounts[-1:]]
        instants += [each.decided_ms for each in self.intents.values()]
        return max(instants, default=None)

    def exit_reason(self, symbol: str, since_ms: int) -> str:
        """Return the reason of the last exit filled since then."""
        reasons = [
            intent.reason
            for key, intent in self.intents.items()
            if intent.symbol == symbol
            and intent.purpose is Purpose.EXIT
            and intent.decided_ms >= since_ms
            and self.statuses[key] is OrderStatus.FILLED
        ]
        return reasons[-1] if reasons else ""

    def closed_pnls(self, limit: int, since_ms: int) -> list[Decimal]:
        """Return the last ``limit`` net results."""
        return [trade.pnl for trade in self.closed[-limit:] if (trade.exit_ms or 0) >= since_ms]

    def record_turn(self, turn: Turn) -> None:
        """Keep the turn, if turns are kept."""
        if self.keep_turns:
            self.turns.append(turn)

    def settle_turn(self, turn: Turn, acted: bool, outcome: str) -> None:
        """Keep the outcome under the order's client id."""
        self.outcomes[turn.order_client_id] = outcome if not acted else "acted"

    def record_account(self, account: Account) -> None:
        """Keep the account."""
        self.accounts.append(account)

    def day_start(self, day: str, earned: Decimal) -> Decimal:
        """Return the first ``earned`` of ``day``."""
        return self.days.setdefault(day, earned)

    def peak_equity(self, earned: Decimal, since_ms: int) -> Decimal:
        """Return the highest ``earned`` seen since the breaker was armed at ``since_ms``."""
        if since_ms != self.peak_since_ms:
            self.peak, self.peak_since_ms = earned, since_ms
        self.peak = max(self.peak, earned)
        return self.peak

    def limit_hit(self, day: str, loss: Decimal) -> None:
        """Keep the day's loss."""
        self.limits_hit[day] = loss

    def limit_was_hit(self, day: str) -> bool:
        """Return whether the day's loss was kept."""
        return day in self.limits_hit

    def breaker(self) -> BreakerState:
        """Return the state kept."""
        return self.breaker_state

    def trip_breaker(self, state: BreakerState) -> None:
        """Keep the new state."""
        self.breaker_state = state
