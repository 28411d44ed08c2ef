"""Where the stop of a position belongs, which parts of it are sold where, and when its time is over: pure functions.

Live trading and backtest call the same ones. A stop's level depends on the entry, the best price that closed
one-minute candles have shown since, and the limits: not on when anybody looked. So a bot that was down for a while
finds the level it would have had.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from enum import IntEnum

from src.domain.clock import MINUTE_MS
from src.domain.market import Candle, Instrument, money
from src.domain.orders import Purpose, purpose_of, variant_of
from src.domain.portfolio import Direction
from src.domain.risk import RiskLimits, early_stop_price, stop_price

TIME_STOP, TAKE_PARTIAL = "time_stop", "take_partial"
_STEPS = 10
"""A trailing stop is moved in steps of a tenth of its distance: less would be an order a minute for nothing."""


class StopKind(IntEnum):
    """Why a stop lies where it does. The number is part of the order's client id (its variant)."""

    LOSS = 0
    BREAK_EVEN = 1
    TRAILING = 2

    @property
    def reason(self) -> str:
        """The reason of an exit by this stop, as the journal has it."""
        return {StopKind.LOSS: "stop_loss", StopKind.BREAK_EVEN: "break_even", StopKind.TRAILING: "trailing_stop"}[self]


@dataclass(frozen=True, slots=True)
class StopLevel:
    """The trigger price of a stop, on the tick, and what put it there."""

    price: Decimal
    kind: StopKind = StopKind.LOSS

    def reached(self, mark: Decimal, direction: Direction) -> bool:
        """Return whether ``mark`` is at or beyond the level: the exchange would refuse a stop there."""
        return (mark - self.price) * direction.sign <= 0

    def better_than(self, other: "StopLevel", direction: Direction) -> bool:
        """Return whether this level protects more than the other one."""
        return (self.price - other.price) * direction.sign > 0


@dataclass(frozen=True, slots=True)
class PartialTarget:
    """A part of a position that is closed at a price; ``number`` counts from 1 in the order of ``take_partial``."""

    number: int
    price: Decimal
    quantity: Decimal

    def reached(self, mark: Decimal, direction: Direction) -> bool:
        """Return whether ``mark`` is at or beyond the price."""
        return (mark - self.price) * direction.sign >= 0


def stop_kind_of(order_client_id: str) -> StopKind | None:
    """Return what put the stop of this client id where it lies; None where it is no stop of a bot."""
    if purpose_of(order_client_id) is not Purpose.STOP:
        return None
    variant = variant_of(order_client_id)
    return StopKind(variant) if variant in list(StopKind) else StopKind.LOSS


def stop_level(
    entry: Decimal, direction: Direction, best: Decimal, limits: RiskLimits, instrument: Instrument
) -> StopLevel:
    """Return where the stop belongs when the best price since the entry is ``best``.

    It is the one of the fixed stop, the entry price and the trailing stop that protects most.
    """
    sign, exits = direction.sign, limits.exits
    level = StopLevel(stop_price(entry, direction, limits, instrument))
    gain = max((best / entry - 1) * sign, Decimal(0))
    moved = []
    if 0 < exits.break_even_after_share <= gain:
        moved.append(StopLevel(instrument.price_toward(entry, best), StopKind.BREAK_EVEN))
    if exits.trailing_stop_share and gain >= exits.trailing_after_share:
        price = entry * (1 + sign * _in_steps(gain, limits)) * (1 - sign * exits.trailing_stop_share)
        moved.append(StopLevel(instrument.price_toward(price, price - sign * price), StopKind.TRAILING))
    for each in moved:
        level = each if each.better_than(level, direction) else level
    return level


def next_move_price(entry: Decimal, direction: Direction, best: Decimal, limits: RiskLimits) -> Decimal | None:
    """Return the best price from which on the stop may be moved again, None where none ever is.

    It may lie nearer than the next move; it never lies beyond it.
    """
    sign, exits = direction.sign, limits.exits
    gain = max((best / entry - 1) * sign, Decimal(0))
    gains = [exits.break_even_after_share] if exits.break_even_after_share > gain else []
    if exits.trailing_stop_share:
        step = exits.trailing_stop_share / _STEPS
        gains.append(max(_in_steps(gain, limits) + step, exits.trailing_after_share))
    return entry * (1 + sign * min(gains)) if gains else None


def _in_steps(gain: Decimal, limits: RiskLimits) -> Decimal:
    step = limits.exits.trailing_stop_share / _STEPS
    return (gain / step).to_integral_value(ROUND_FLOOR) * step


def early_level(entry: Decimal, direction: Direction, stop: StopLevel, limits: RiskLimits) -> Decimal:
    """Return the mark price at which the bot closes the position itself (not rounded).

    For the fixed stop it lies before the stop, at ``early_stop_share`` of the way. Behind a stop that was moved it
    lies as far beyond it: the bot closes where the exchange did not, though its order should have been triggered.
    """
    early = early_stop_price(entry, direction, limits)
    if stop.kind is StopKind.LOSS:
        return early
    behind = stop.price - direction.sign * entry * limits.stop_loss_share * (1 - limits.early_stop_share)
    return behind if (behind - early) * direction.sign > 0 else early


def partial_targets(
    entry: Decimal, direction: Direction, quantity: Decimal, limits: RiskLimits, instrument: Instrument
) -> tuple[PartialTarget, ...]:
    """Return the parts of a position of ``quantity`` that are closed on the way.

    Prices lie on the tick nearer to the entry, quantities are whole steps; a part below the exchange's least quantity
    is left out.
    """
    found = []
    for number, (move, part) in enumerate(limits.exits.take_partial, 1):
        price = instrument.price_toward(entry * (1 + direction.sign * move), entry)
        size = min(instrument.quantity_down(quantity * part), instrument.max_market_quantity)
        if size >= instrument.min_quantity:
            found.append(PartialTarget(number, price, size))
    return tuple(found)


def parts_done(client_ids: Iterable[str]) -> frozenset[int]:
    """Return the numbers of the partial targets that orders of these client ids have closed."""
    ids = (each for each in client_ids if purpose_of(each) in (Purpose.TARGET, Purpose.EXIT))
    return frozenset(number for each in ids if (number := variant_of(each)))


def best_price(candles: Sequence[Candle], direction: Direction, after_ms: int, best: Decimal) -> Decimal:
    """Return the best price of ``best`` and the one-minute candles that begin after ``after_ms``.

    The minute of an entry is no part of it: what was traded in it before the entry does not count.
    """
    extreme = float(best)
    for place in range(len(candles) - 1, -1, -1):
        candle = candles[place]
        if candle.open_ms <= after_ms:
            break
        extreme = max(extreme, candle.high) if direction is Direction.LONG else min(extreme, candle.low)
    return best if extreme == float(best) else money(extreme)


def entry_minute(entry_ms: int) -> int:
    """Return the first instant of the minute of an entry."""
    return entry_ms - entry_ms % MINUTE_MS


def is_time_over(entry_ms: int, now_ms: int, limits: RiskLimits) -> bool:
    """Return whether a position has been held as long as it may be."""
    return 0 < limits.exits.max_holding_ms <= now_ms - entry_ms
