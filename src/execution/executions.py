"""Executions of orders, and the trades that one of them opens and others close."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from src.domain.portfolio import Direction, Trade

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Execution:
    """What an order brought, summed over its fills: base quantity, mean price, quote money.

    ``owed`` are fees in other assets that are not in ``fees`` yet: pricing them needs a request, which comes later.
    """

    client_id: str
    quantity: Decimal
    average_price: Decimal
    fees: Decimal
    realized_pnl: Decimal
    time_ms: int
    owed: tuple[tuple[str, Decimal], ...] = ()
    order_id: str = ""


def opened_trade(
    symbol: str,
    direction: Direction,
    execution: Execution,
    *,
    leverage: int,
    stop: Decimal | None = None,
    target: Decimal | None = None,
) -> Trade:
    """Return the round trip that an entry's execution opens."""
    return Trade(
        symbol=symbol,
        direction=direction,
        quantity=execution.quantity,
        entry_price=execution.average_price,
        entry_ms=execution.time_ms,
        leverage=leverage,
        entry_client_id=execution.client_id,
        fees=execution.fees,
        stop_price=stop,
        target_price=target,
    )


def closed_trade(trade: Trade, exits: Sequence[Execution], reason: str) -> Trade:
    """Return the round trip as its exits' executions tell it; fees in other assets and funding follow later."""
    quantity = closed_quantity(exits)
    value = sum((each.average_price * each.quantity for each in exits), _ZERO)
    return replace(
        trade,
        exit_price=value / quantity,
        exit_ms=max(each.time_ms for each in exits),
        exit_client_id=exits[-1].client_id,
        exit_reason=reason,
        gross_pnl=sum((each.realized_pnl for each in exits), _ZERO),
        fees=trade.fees + sum((each.fees for each in exits), _ZERO),
    )


def increased_trade(trade: Trade, execution: Execution) -> Trade:
    """Return an open round trip after another entry: its quantity grows, its entry price is the mean of all."""
    quantity = trade.quantity + execution.quantity
    value = trade.entry_price * trade.quantity + execution.average_price * execution.quantity
    return replace(trade, quantity=quantity, entry_price=value / quantity, fees=trade.fees + execution.fees)


def reduced_trade(trade: Trade, exits: Sequence[Execution]) -> Trade:
    """Return an open round trip as it is booked after partial exits: their profit and fees are in it."""
    return replace(
        trade,
        gross_pnl=sum((each.realized_pnl for each in exits), _ZERO),
        fees=trade.fees + sum((each.fees for each in exits), _ZERO),
    )


def closed_quantity(exits: Iterable[Execution]) -> Decimal:
    """Return how much the executions have closed."""
    return sum((each.quantity for each in exits), _ZERO)
