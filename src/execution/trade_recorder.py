"""Computes trade records from executions: price levels, exit, funding, exit reason."""

import logging
from dataclasses import dataclass, replace
from decimal import Decimal

from src.domain.errors import ExchangeUnavailable
from src.domain.orders import Fill, OrderIntent
from src.domain.portfolio import Direction, Trade
from src.domain.ports import Exchange
from src.domain.risk import RiskLimits, stop_price, target_price
from src.execution.journal import Journal, TradeStart
from src.execution.order_manager import Execution, OrderManager, ProtectiveOrderIds
from src.execution.pair_settings import PairSettings

log = logging.getLogger(__name__)

Fees = tuple[tuple[str, Decimal], ...]  # asset and amount


@dataclass(frozen=True, slots=True)
class TradeExit:
    """How a position ended: the executions that closed it, and why."""

    exits: tuple[Execution, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class _Unsettled:
    """A finished trade of which something must still be asked: its funding, fees of its entry in other assets."""

    trade: Trade
    funding_due: bool
    owed: Fees


class TradeRecorder:
    """Writes the round trips of one symbol; asks the exchange for what it cannot know itself."""

    def __init__(
        self, desk: OrderManager, exchange: Exchange, journal: Journal, limits: RiskLimits, settings: PairSettings
    ) -> None:
        self._desk = desk
        self._exchange = exchange
        self._journal = journal
        self._limits = limits
        self._settings = settings
        self._late: list[_Unsettled] = []

    def begun(self, direction: Direction, execution: Execution) -> Trade:
        """Return the trade that an entry's execution opens, with its stop and target."""
        entry = execution.average_price
        return Trade(
            symbol=self._desk.symbol,
            direction=direction,
            quantity=execution.quantity,
            entry_price=entry,
            entry_ms=execution.time_ms,
            leverage=self._limits.leverage,
            entry_client_id=execution.client_id,
            fees=execution.fees,
            stop_price=stop_price(entry, direction, self._limits, self._settings.instrument),
            target_price=target_price(entry, direction, self._limits, self._settings.instrument),
        )

    def guards(self, trade: Trade, decided_ms: int, attempt: int) -> ProtectiveOrderIds:
        """Return stop and target of a trade as intents, on the present tick; ``ValueError`` for one without levels."""
        if trade.stop_price is None or trade.target_price is None:
            raise ValueError(f"the trade {trade.entry_client_id} has no stop or no target")
        rules, entry = self._settings.instrument, trade.entry_price
        stop, target = (rules.price_toward(level, entry) for level in (trade.stop_price, trade.target_price))
        return self._desk.protection(trade.direction, stop, target, decided_ms, attempt)

    def ending(self, start: TradeStart, exits: list[Execution], exit_reason: str) -> TradeExit | None:
        """Find out how a position ended that is no longer there; None while its fills are not reported.

        Args:
            start: the trade and its guards.
            exits: what exits of ours have closed of it so far.
            exit_reason: why we were closing it, empty if we were not.
        """
        trade = start.trade
        for intent, reason in self._guard_intents(start):
            execution = self._desk.guard_execution(intent)
            if execution is not None and execution.time_ms >= trade.entry_ms:
                return TradeExit((*exits, execution), reason)
        closing = self._closing_fills(trade)
        if not closing:
            return None
        return TradeExit((self._desk.execution("", closing),), exit_reason or self._reason_of_end(trade))

    def close(self, trade: Trade, ending: TradeExit, funding_due: bool, owed: Fees = ()) -> Trade:
        """Write the finished trade and return it; what cannot be asked for now follows later.

        Args:
            trade: as it was opened.
            ending: how it ended.
            funding_due: whether funding may have been paid meanwhile.
            owed: fees of its entry in other assets, not priced yet.
        """
        finished = _finished(trade, ending)
        if funding_due or owed:
            open_end = _Unsettled(finished, funding_due, owed)
            try:
                finished = self._settled(open_end)
            except ExchangeUnavailable as error:
                log.warning("funding or fees of a trade follow later: symbol=%s reason=%s", trade.symbol, error)
                self._late.append(open_end)
        self._journal.close_trade(finished)
        log.info(
            "trade closed: symbol=%s direction=%s reason=%s entry=%s exit=%s pnl=%s",
            finished.symbol,
            finished.direction,
            ending.reason,
            finished.entry_price,
            finished.exit_price,
            finished.pnl,
        )
        return finished

    def settle_late(self) -> None:
        """Add the funding and fees that could not be asked for when their trade was closed."""
        while self._late:
            self._journal.close_trade(self._settled(self._late[0]))
            self._late.pop(0)

    def _settled(self, late: "_Unsettled") -> Trade:
        trade = late.trade
        if late.funding_due:
            trade = replace(trade, funding=self._funding(trade))
        return replace(trade, fees=trade.fees + self._desk.price(late.owed)) if late.owed else trade

    def _funding(self, trade: Trade) -> Decimal:
        until_ms = trade.exit_ms or 0
        paid = (
            income.amount
            for income in self._exchange.income(trade.entry_ms)
            if income.kind == "FUNDING_FEE" and income.symbol == trade.symbol and income.time_ms <= until_ms
        )
        return sum(paid, Decimal(0))

    def _guard_intents(self, start: TradeStart) -> list[tuple[OrderIntent, str]]:
        template = self.guards(start.trade, start.trade.entry_ms, 0)
        return [
            (replace(template.stop, client_id=start.stop_client_id), "stop_loss"),
            (replace(template.target, client_id=start.target_client_id), "take_profit"),
        ]

    def _closing_fills(self, trade: Trade) -> list[Fill]:
        side, rest = trade.direction.entry_side.opposite, trade.quantity
        closing: list[Fill] = []
        for fill in self._exchange.fills(trade.symbol, trade.entry_ms):
            if fill.side is side and rest > 0 and fill.time_ms >= trade.entry_ms:
                closing.append(fill)
                rest -= fill.quantity
        return closing if rest <= 0 else []

    def _reason_of_end(self, trade: Trade) -> str:
        """Return why a position ended that none of its guards closed."""
        incomes = self._exchange.income(trade.entry_ms)
        if any(each.kind == "INSURANCE_CLEAR" and each.symbol == trade.symbol for each in incomes):
            return "liquidation"
        return self._journal.exit_reason(trade.symbol, trade.entry_ms) or "closed_at_exchange"


def closed_quantity(exits: list[Execution]) -> Decimal:
    """Return how much the executions have closed."""
    return sum((each.quantity for each in exits), Decimal(0))


def _finished(trade: Trade, ending: TradeExit) -> Trade:
    quantity = closed_quantity(list(ending.exits))
    value = sum((each.average_price * each.quantity for each in ending.exits), Decimal(0))
    return replace(
        trade,
        exit_price=value / quantity,
        exit_ms=max(each.time_ms for each in ending.exits),
        exit_client_id=ending.exits[-1].client_id,
        exit_reason=ending.reason,
        gross_pnl=sum((each.realized_pnl for each in ending.exits), Decimal(0)),
        fees=trade.fees + sum((each.fees for each in ending.exits), Decimal(0)),
    )
