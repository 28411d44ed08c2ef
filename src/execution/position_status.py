"""What a position manager tells of its position: state, trade, protection, reasons. Reads only."""

from collections.abc import Callable
from decimal import Decimal

from src.domain.clock import Clock
from src.domain.market import MarkPrice
from src.domain.orders import Purpose, purpose_of, variant_of
from src.domain.portfolio import Account, Position, Trade
from src.domain.risk import ActiveLimits
from src.execution.position_record import EarlyStop, PositionRecord
from src.execution.position_state import Backoff, PositionState
from src.execution.protection_manager import ProtectionManager
from src.execution.reconciler import Reconciler

_RETRY_MS, _LONGEST_RETRY_MS = 1_000, 60_000


class PositionStatus:
    """The readable side of a position manager."""

    def __init__(
        self,
        record: PositionRecord,
        reconciler: Reconciler,
        protection: ProtectionManager,
        limits: ActiveLimits,
        clock: Clock,
        *,
        mark_price: Callable[[], MarkPrice | None],
    ) -> None:
        self._record, self._reconciler, self._protection = record, reconciler, protection
        self._limits, self._clock, self._mark_price = limits, clock, mark_price
        self._reconcile_pause = Backoff(_RETRY_MS, _LONGEST_RETRY_MS)
        self._protected = True

    @property
    def state(self) -> PositionState:
        """Where the position stands."""
        return self._record.state

    @property
    def halt_reason(self) -> str:
        """Why entries are halted, in words; empty when position, orders and journal agree."""
        if self._record.exit_reason:
            return f"an exit is under way ({self._record.exit_reason})"
        if self._record.entry_under_way:
            return "an entry waits for its price"
        return self._record.halt or self._protection.problem

    @property
    def notice(self) -> str:
        """What a person should know although entries are allowed, in one sentence; else empty."""
        return self._reconciler.settlement.notice

    @property
    def exit_under_way(self) -> str:
        """The reason of an exit that was begun and not finished, or empty."""
        return self._record.exit_reason

    @property
    def trade(self) -> Trade | None:
        """The open round trip, or None when flat."""
        return self._record.trade

    @property
    def open_quantity(self) -> Decimal:
        """What of the open round trip is not closed yet."""
        return self._record.open_quantity

    @property
    def early_stop(self) -> EarlyStop | None:
        """The early stop of the open position under the limits in force, None when flat."""
        return self._record.early_stop(self._limits.current)

    @property
    def needs_reconcile(self) -> bool:
        """Whether something is not known that ``mend`` would ask for now: an outcome, or whether the stop stands."""
        asks = self._record.needs_reconcile or self._record.entry_under_way or not self._protected
        return asks and self._reconcile_pause.due(self._clock.now_ms())

    @property
    def protection(self) -> str:
        """Return in words which protective orders of the open position stand; empty when flat."""
        trade = self.trade
        if trade is None:
            return ""
        if self._protection.problem or not self._protected:
            return self._protection.problem or "whether its stop stands is being checked"
        if trade.target_price is None:
            return f"its stop at {trade.stop_price} stands at the exchange"
        return f"its stop at {trade.stop_price} and target at {trade.target_price} stand at the exchange"

    @property
    def standing(self) -> str:
        """Return one sentence on the open position and its stop, "" when flat."""
        trade = self.trade
        if trade is None:
            return ""
        held = f"{trade.direction} {self.open_quantity} {trade.symbol} from {trade.entry_price}"
        return f"{held} stays open; {self.protection}."

    def owns(self, position: Position | None) -> bool:
        """Return whether a position is the bot's own round trip: by its fills, not by the symbol alone."""
        return self._record.owns(position)

    def position(self, account: Account | None) -> Position | None:
        """Return the position as the exchange has it, or as our fills left it where its news are older."""
        if account is not None and self._record.knows_fills(account, self._clock.now_ms()):
            return account.position(self._record.symbol)
        return self._record.by_fills(self._mark_price())

    def concerns(self, order_client_id: str) -> bool:
        """Return whether an order is stop, target or partial target of the open position."""
        start = self._record.start
        if start is None:
            return False
        part = purpose_of(order_client_id) is Purpose.TARGET and variant_of(order_client_id) > 0
        return part or order_client_id in (start.stop_client_id, start.target_client_id)
