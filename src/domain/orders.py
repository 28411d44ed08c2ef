"""From an order intent to what happened: OrderIntent, Order, Fill."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from hashlib import blake2s

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Side(StrEnum):
    """The exchange's word for the direction of one order."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> "Side":
        """The side that undoes this one."""
        return Side.SELL if self is Side.BUY else Side.BUY


class Purpose(StrEnum):
    """Why an order is sent."""

    ENTRY = "entry"
    EXIT = "exit"
    STOP = "stop"
    TARGET = "target"

    @property
    def letter(self) -> str:
        """The letter that stands for it in a client id."""
        return "x" if self is Purpose.EXIT else self.value[0]


class OrderKind(StrEnum):
    """The kinds the bot sends. POST_ONLY waits at its price and never takes.

    STOP_MARKET and TAKE_PROFIT_MARKET are conditional: Binance's Algo service.

    The FOREIGN ones are never sent: what a person or the exchange's liquidation placed on our account.
    """

    MARKET = "MARKET"
    POST_ONLY = "POST_ONLY"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"
    FOREIGN = "FOREIGN"
    FOREIGN_CONDITIONAL = "FOREIGN_CONDITIONAL"

    @property
    def conditional(self) -> bool:
        """Whether the order waits for a trigger price."""
        return self not in (OrderKind.MARKET, OrderKind.POST_ONLY, OrderKind.FOREIGN)


class OrderStatus(StrEnum):
    """Where an order stands. PLANNED and UNKNOWN are ours, REJECTED includes certain refusals."""

    PLANNED = "PLANNED"
    UNKNOWN = "UNKNOWN"
    NEW = "NEW"
    TRIGGERING = "TRIGGERING"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"

    @property
    def final(self) -> bool:
        """Whether nothing more can happen to the order."""
        return self in _FINAL


_FINAL = {OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED}


def finished_status(quantity: Decimal, executed_quantity: Decimal) -> OrderStatus:
    """Return the status of a conditional order whose triggered order has ended.

    The exchange's own status then says only that the triggered order is over. A stop that the price has jumped past
    may end at the price bound with nothing filled: it is FILLED only if something was executed, all of it where the
    order names a quantity, else EXPIRED.
    """
    done = executed_quantity > 0 and executed_quantity >= quantity
    return OrderStatus.FILLED if done else OrderStatus.EXPIRED


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """What we ask of the exchange; written to the database before it is sent.

    ``price`` belongs to post-only orders, ``trigger_price`` to conditional kinds, which close the whole position
    (``close_position``) and then carry no quantity, or a part of it. ``decided_ms`` is the instant the client id was
    made from.
    """

    client_id: str
    symbol: str
    side: Side
    kind: OrderKind
    purpose: Purpose
    quantity: Decimal
    decided_ms: int
    reduce_only: bool = False
    trigger_price: Decimal | None = None
    close_position: bool = False
    reason: str = ""
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What the exchange accepted, as it last told us. ``average_price`` is 0 until something filled.

    ``order_id`` is text (ids exceed 2^53). For a conditional order ``order_id`` is the algo id and
    ``spawned_id`` the id of the order its trigger made (empty before that).
    """

    client_id: str
    order_id: str
    symbol: str
    side: Side
    kind: OrderKind
    status: OrderStatus
    quantity: Decimal
    executed_quantity: Decimal
    average_price: Decimal
    updated_ms: int
    reduce_only: bool = False
    close_position: bool = False
    trigger_price: Decimal | None = None
    spawned_id: str = ""
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. ``fee`` is positive when paid, in ``fee_asset``; ``realized_pnl`` is before fees."""

    trade_id: str
    order_id: str
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    realized_pnl: Decimal
    time_ms: int
    maker: bool = False
    client_id: str = ""


def bot_prefix(bot_id: str) -> str:
    """Return the seven characters with which all client ids of one bot begin."""
    return "b" + blake2s(bot_id.encode(), digest_size=3).hexdigest()


def client_id(
    bot_id: str, symbol: str, decided_ms: int, purpose: Purpose, attempt: int = 0, *, variant: int = 0
) -> str:
    """Return the order's client id: a pure function of who, what, when, why and which attempt.

    ``variant`` tells orders of one purpose apart that are not the same thing (a stop that was moved, a part of a
    target), so that it is known from the exchange alone; ``attempt`` is below 36.

    Returns:
        At most 36 characters of ``[A-Za-z0-9-]``: prefix, symbol, instant in base 36, purpose, variant and attempt.
    """
    number = _base36(attempt + 36 * variant)
    return f"{bot_prefix(bot_id)}-{symbol[:14]}-{_base36(decided_ms)}-{purpose.letter}{number}"


def is_own(order_client_id: str, bot_id: str) -> bool:
    """Return whether a client id was made by the bot of this name."""
    return order_client_id.startswith(bot_prefix(bot_id) + "-")


def purpose_of(order_client_id: str) -> Purpose | None:
    """Return why an order was sent, read from a client id that ``client_id`` made; None for any other text."""
    parts = order_client_id.split("-")
    made = len(parts) == 4 and len(parts[0]) == 7 and parts[0].startswith("b")
    letter = parts[3][:1] if made else ""
    return next((each for each in Purpose if each.letter == letter), None)


def variant_of(order_client_id: str) -> int:
    """Return the variant that a client id was made with; 0 for a text that ``client_id`` did not make."""
    digits = order_client_id.rpartition("-")[2][1:]
    made = purpose_of(order_client_id) is not None and digits.isalnum() and digits.isascii()
    return int(digits, 36) // 36 if made else 0


def decided_ms_of(order_client_id: str) -> int | None:
    """Return the instant a client id was made from; None for a text that ``client_id`` did not make."""
    if purpose_of(order_client_id) is None:
        return None
    digits = order_client_id.split("-")[2]
    return int(digits, 36) if digits.isalnum() and digits.isascii() else None


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
        if number == 0:
            return digits
