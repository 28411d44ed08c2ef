"""The cards of the trade page: orders that stand at the exchange, and the last fills."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from src.dashboard.bot_view import BotView
from src.dashboard.widgets import (
    UNKNOWN,
    Card,
    Cell,
    Row,
    Table,
    amount,
    instant,
    price,
    quantity,
    side_word,
    word,
    words,
)
from src.domain.orders import OrderStatus
from src.reporting.pages import OrderFilter, Scope

OPEN_ORDERS: Final = 200
FILLS: Final = 15
_TONES: Final = {"FILLED": "good", "REJECTED": "bad", "UNKNOWN": "warn", "PLANNED": "warn"}


def orders(look: BotView) -> Card:
    """Return the orders with which something can still happen, conditional ones among them."""
    title = "Open orders"
    if look.turned_ms is None:
        return Card("orders", title, reason="No bot has reported yet.")
    rows = look.reports.orders(OrderFilter(scope=_scope(look), finished=False), limit=OPEN_ORDERS).rows
    columns = ("Contract", "Purpose", "Side", "Kind", "Size", "Trigger", "Status", "Placed", "Client id")
    table = Table("Orders at the exchange", columns, tuple(_order(look, row) for row in rows), (4, 5))
    return Card("orders", title, "data" if rows else "empty", look.turned_ms, look.turn_s, "exchange",
                "No open orders.", tables=(table,) if rows else ())  # fmt: skip


def fills(look: BotView) -> Card:
    """Return the last orders that were filled, as a whole or in part."""
    title = "Last fills"
    if look.turned_ms is None:
        return Card("fills", title, reason="No bot has reported yet.")
    wanted = OrderFilter(scope=_scope(look), status=str(OrderStatus.FILLED))
    rows = look.reports.orders(wanted, limit=FILLS).rows
    columns = ("When", "Contract", "Purpose", "Side", "Size", "Price", "Fee, USDT", "Why")
    table = Table(f"The last {FILLS} filled orders", columns, tuple(_fill(look, row) for row in rows), (4, 5, 6))
    return Card("fills", title, "data" if rows else "empty", look.turned_ms, look.turn_s, "bot",
                "No order was filled yet.", tables=(table,) if rows else ())  # fmt: skip


def _scope(look: BotView) -> Scope:
    return replace(look.scope, symbol=look.query.pair or None)


def _order(look: BotView, row: Mapping[str, Any]) -> Row:
    size = words("whole position") if row["close_position"] else _size(look, row, "quantity")
    cells = (
        words(row["symbol"]),
        words(row["purpose"]),
        side_word(row["side"]),
        words(row["kind"].replace("_", " ").lower()),
        size,
        price(row["trigger_price"], look.tick(row["symbol"])),
        word(row["status"], _TONES.get(row["status"], "")),
        instant(row["sent_at"] or row["timestamp"]),
        words(row["client_id"]),
    )
    return Row(cells, key=f"order-{row['id']}")


def _fill(look: BotView, row: Mapping[str, Any]) -> Row:
    paid = row["average_price"]
    cells = (
        instant(row["updated_at"]),
        words(row["symbol"]),
        words(row["purpose"]),
        side_word(row["side"]),
        _size(look, row, "executed_quantity"),
        price(paid, look.tick(row["symbol"])) if paid else UNKNOWN,
        amount(row["fees"], "", 4),
        words(row["reason"]),
    )
    return Row(cells, key=f"fill-{row['id']}")


def _size(look: BotView, row: Mapping[str, Any], name: str) -> Cell:
    return quantity(row[name], look.step(row["symbol"]))
