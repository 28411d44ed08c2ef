"""Position size and exit price levels from the risk limits."""

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from src.domain.entry_rules import EntryRules
from src.domain.exit_rules import ExitRules
from src.domain.market import Instrument
from src.domain.portfolio import Direction


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """What one position and one day may cost.

    ``position_share`` of equity is put up as margin, so a position's notional is equity times ``position_share``
    times ``leverage``. ``stop_loss_share`` and ``take_profit_share`` are shares of price move from entry;
    ``early_stop_share`` is the part of the stop distance at which the position is closed without waiting.
    ``max_total_share`` bounds the margin of all positions together. ``place_target`` says whether a target order
    stands at the exchange: a strategy that exits by its own signal has none. ``exits`` are those beside stop and
    target, ``entry`` says how an entry is sent.
    """

    leverage: int = 10
    position_share: Decimal = Decimal("0.05")
    max_total_share: Decimal = Decimal("0.20")
    stop_loss_share: Decimal = Decimal("0.02")
    take_profit_share: Decimal = Decimal("0.05")
    early_stop_share: Decimal = Decimal("0.80")
    max_daily_loss_share: Decimal = Decimal("0.05")
    place_target: bool = True
    exits: ExitRules = field(default_factory=ExitRules)
    entry: EntryRules = field(default_factory=EntryRules)

    def __post_init__(self) -> None:
        if not 1 <= self.leverage <= 125:
            raise ValueError("leverage must lie in 1..125")
        if not 0 < self.position_share <= self.max_total_share <= 1:
            raise ValueError("need 0 < position_share <= max_total_share <= 1")
        if not (0 < self.stop_loss_share < 1 and 0 < self.take_profit_share < 1):
            raise ValueError("stop_loss_share and take_profit_share must lie between 0 and 1")
        if not 0 < self.early_stop_share <= 1:
            raise ValueError("early_stop_share must lie in (0, 1]")
        if not 0 < self.max_daily_loss_share < 1:
            raise ValueError("max_daily_loss_share must lie between 0 and 1")


class ActiveLimits:
    """The one holder of the risk limits in force; whoever needs a figure reads it here at the moment of use."""

    def __init__(self, limits: RiskLimits) -> None:
        self._limits = limits

    @property
    def current(self) -> RiskLimits:
        """The limits in force now."""
        return self._limits

    def replace(self, limits: RiskLimits) -> None:
        """Put other limits in force for everybody who reads this holder."""
        self._limits = limits


def position_quantity(equity: Decimal, price: Decimal, limits: RiskLimits, instrument: Instrument) -> Decimal:
    """Return the base quantity that ``position_share`` of ``equity`` buys at ``price`` with leverage.

    Returns:
        A multiple of the step, at most the largest market order; 0 when the exchange's minimum quantity or
        notional is not reached.
    """
    quantity = instrument.quantity_down(equity * limits.position_share * limits.leverage / price)
    quantity = min(quantity, instrument.max_market_quantity)
    too_small = quantity < instrument.min_quantity or quantity * price < instrument.min_notional
    return Decimal(0) if too_small else quantity


def stop_price(entry: Decimal, direction: Direction, limits: RiskLimits, instrument: Instrument) -> Decimal:
    """Return the stop's trigger price, rounded to the tick on the side nearer to the entry."""
    return _level(entry, -direction.sign * limits.stop_loss_share, instrument)


def target_price(entry: Decimal, direction: Direction, limits: RiskLimits, instrument: Instrument) -> Decimal:
    """Return the target's trigger price, rounded to the tick on the side nearer to the entry."""
    return _level(entry, direction.sign * limits.take_profit_share, instrument)


def protection_veto(price: Decimal, direction: Direction, limits: RiskLimits, instrument: Instrument) -> str:
    """Return why a position opened at ``price`` could not be protected, "" when stop and target can stand.

    Both must lie on their own side of the price by at least two ticks (one is lost by rounding, one by a fill that
    differs from the price), and inside the contract's price filter.
    """
    stop = stop_price(price, direction, limits, instrument)
    target = target_price(price, direction, limits, instrument)
    levels = [("stop", stop, (price - stop) * direction.sign)]
    if limits.place_target:
        levels.append(("target", target, (target - price) * direction.sign))
    for name, level, distance in levels:
        if distance < 2 * instrument.tick_size:
            return (
                f"the {name} of a {direction} position at {price} would be {level}: less than two ticks of "
                f"{instrument.tick_size} away; use a wider {name} or another pair"
            )
        if level <= 0 or level < instrument.min_price or level > instrument.max_price:
            return (
                f"the {name} of a {direction} position at {price} would be {level}, outside the contract's prices "
                f"{instrument.min_price} to {instrument.max_price}"
            )
    return ""


def early_stop_price(entry: Decimal, direction: Direction, limits: RiskLimits) -> Decimal:
    """Return the mark price at which the position is closed before its stop is reached (not rounded)."""
    return entry * (1 - direction.sign * limits.stop_loss_share * limits.early_stop_share)


def loss_share(start_equity: Decimal, equity: Decimal) -> Decimal:
    """Return the loss since ``start_equity`` as a share of it; negative for a gain, 0 without a start."""
    return Decimal(0) if start_equity <= 0 else (start_equity - equity) / start_equity


def _level(entry: Decimal, move_share: Decimal, instrument: Instrument) -> Decimal:
    toward_entry = ROUND_CEILING if move_share < 0 else ROUND_FLOOR
    steps = (entry * (1 + move_share) / instrument.tick_size).to_integral_value(toward_entry)
    return steps * instrument.tick_size
