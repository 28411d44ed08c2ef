"""Books the fills of each pair: a round trip from flat to flat, with its increases and reductions.

Entry price is the average over all increases, exit price that over all reductions; result, fees and funding are sums
over all of them. What one pair has brought so far, and what it still holds, is known at any time.
"""

from dataclasses import dataclass, field
from decimal import Decimal

from src.domain.orders import Fill, Side
from src.domain.portfolio import Direction, Trade

_ZERO = Decimal(0)


@dataclass(slots=True)
class RoundTrip:
    """One pair from flat to flat, as far as it has gone."""

    symbol: str
    direction: Direction
    entry_ms: int
    entry_id: str
    entered: Decimal = _ZERO
    entered_value: Decimal = _ZERO
    left: Decimal = _ZERO
    left_value: Decimal = _ZERO
    fees: Decimal = _ZERO
    funding: Decimal = _ZERO
    fills: int = 0
    last_ms: int = 0
    last_id: str = ""

    def take(self, fill: Fill) -> None:
        """Book one fill: an increase on the side of the entry, else a reduction."""
        value = fill.price * fill.quantity
        if fill.side is self.direction.entry_side:
            self.entered += fill.quantity
            self.entered_value += value
        else:
            self.left += fill.quantity
            self.left_value += value
        self.fees += fill.fee
        self.fills += 1
        self.last_ms, self.last_id = fill.time_ms, fill.client_id

    def trade(self, leverage: int, exit_reason: str = "") -> Trade:
        """Return it as a trade; the result is that of what was left so far, at the average entry price."""
        entry_price = self.entered_value / self.entered
        closed = self.left == self.entered
        gross = (self.left_value - self.left * entry_price) * self.direction.sign
        if closed:
            gross = (self.left_value - self.entered_value) * self.direction.sign
        return Trade(
            symbol=self.symbol,
            direction=self.direction,
            quantity=self.entered,
            entry_price=entry_price,
            entry_ms=self.entry_ms,
            leverage=leverage,
            entry_client_id=self.entry_id,
            exit_price=self.left_value / self.left if self.left else None,
            exit_ms=self.last_ms if closed else None,
            exit_client_id=self.last_id if closed else "",
            exit_reason=exit_reason,
            gross_pnl=gross,
            fees=self.fees,
            funding=self.funding,
        )


@dataclass(slots=True)
class PairBook:
    """Everything that was booked of one pair. ``cash`` is what its fills, fees and funding brought to the wallet,
    bought quantities paid in full: with ``amount`` at the market's price it is the pair's result so far.
    """

    symbol: str
    leverage: int
    amount: Decimal = _ZERO
    cash: Decimal = _ZERO
    fees: Decimal = _ZERO
    funding: Decimal = _ZERO
    turnover: Decimal = _ZERO
    slippage: float = 0.0
    last_funding: Decimal = _ZERO
    last_funding_ms: int = -1
    open_trip: RoundTrip | None = None
    closed: list[Trade] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)

    def take(self, fill: Fill, reason: str, reference: float) -> None:
        """Book a fill; ``reason`` is the trade's should it end with it, ``reference`` the price before slippage."""
        signed = fill.quantity if fill.side is Side.BUY else -fill.quantity
        if self.open_trip is None:
            direction = Direction.LONG if signed > 0 else Direction.SHORT
            self.open_trip = RoundTrip(self.symbol, direction, fill.time_ms, fill.client_id)
        self.open_trip.take(fill)
        self.amount += signed
        self.cash -= signed * fill.price + fill.fee
        self.fees += fill.fee
        self.turnover += fill.quantity * fill.price
        self.slippage += (float(fill.price) - reference) * float(signed)
        self.fills.append(fill)
        if self.amount == 0:
            self.closed.append(self.open_trip.trade(self.leverage, reason))
            self.open_trip = None

    def take_funding(self, amount: Decimal, time_ms: int) -> None:
        """Book funding received (paid below 0)."""
        self.last_funding, self.last_funding_ms = amount, time_ms
        self.cash += amount
        self.funding += amount
        if self.open_trip is not None:
            self.open_trip.funding += amount

    @property
    def open_trade(self) -> Trade | None:
        """The round trip under way, None while flat."""
        return None if self.open_trip is None else self.open_trip.trade(self.leverage)
