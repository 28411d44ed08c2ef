"""From targets and holdings to orders: bands, steps, smallest orders, margin, reductions first.

Pure: the same targets, holdings and prices give the same plan. Nothing here knows how an order is sent.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from src.domain.market import Instrument, money
from src.domain.orders import Side
from src.strategy.evidence import EntryRestraint
from src.strategy.targets import Target

_ZERO = Decimal(0)
_MARGIN_KEPT = Decimal("0.95")
"""The part of the equity that may be bound as margin; the rest pays fees and bears slippage between two orders."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One pair as it is now: signed ``quantity`` in base (0: flat), and the price that it is valued at."""

    quantity: Decimal
    price: Decimal
    instrument: Instrument


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """One market order. ``reduces`` says that it only lowers what is held; ``closes`` that nothing is left."""

    symbol: str
    side: Side
    quantity: Decimal
    reduces: bool
    closes: bool
    reason: str


@dataclass(frozen=True, slots=True)
class PairPlan:
    """What becomes of one pair: the held share of equity, the orders (reduction first), and why, in one sentence."""

    target: Target
    held_share: float
    orders: tuple[PlannedOrder, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class PortfolioPlan:
    """The plans of all pairs in their order."""

    pairs: tuple[PairPlan, ...]

    @property
    def orders(self) -> tuple[PlannedOrder, ...]:
        """All orders as they are to be sent: every reduction before any increase."""
        every = [order for pair in self.pairs for order in pair.orders]
        return tuple(sorted(every, key=lambda order: not order.reduces))


def plan_portfolio(
    targets: Sequence[Target],
    holdings: Mapping[str, Holding],
    equity: Decimal,
    leverage: int,
    entries_refused: str = "",
    *,
    restraints: Mapping[str, EntryRestraint] | None = None,
) -> PortfolioPlan:
    """Return what to trade so that each pair comes to its target, where it is worth trading.

    Args:
        targets: as a strategy returned them.
        holdings: one for each target's pair.
        equity: what the account is worth at the holdings' prices, in quote currency.
        leverage: bounds the margin of all pairs together.
        entries_refused: why nothing may be opened or increased now, in words; empty when it may. Reductions pass.
        restraints: what evidence allows of entries and increases, by pair. Reductions pass.
    """
    held_back = restraints or {}
    pairs = tuple(
        _restrained_plan(each, holdings[each.symbol], equity, entries_refused, held_back.get(each.symbol))
        for each in targets
    )
    return PortfolioPlan(_within_margin(pairs, holdings, equity * leverage * _MARGIN_KEPT))


def _restrained_plan(
    target: Target, holding: Holding, equity: Decimal, entries_refused: str, restraint: EntryRestraint | None
) -> PairPlan:
    """Return the plan of a pair whose target is no further from 0 than evidence allows of an entry or increase."""
    weight, held = target.weight, _share(holding.quantity * holding.price, equity)
    free = _pair_plan(target, holding, equity, entries_refused)
    if restraint is None or not weight or not free.orders:
        return free
    kept = abs(held) if held * weight > 0 else 0.0
    most = max(kept, abs(weight) * restraint.share)
    if abs(weight) <= most:
        return free
    allowed = replace(target, weight=math.copysign(most, weight))
    plan = _pair_plan(allowed, holding, equity, entries_refused)
    how = f"evidence allows {restraint.share:.0%} of the target {weight:.2%}: {restraint.reason}"
    done = plan.reason if plan.orders else "Not increased."
    return replace(plan, reason=f"{done} {how[0].upper()}{how[1:]}.")


def _pair_plan(target: Target, holding: Holding, equity: Decimal, entries_refused: str) -> PairPlan:
    held = _share(holding.quantity * holding.price, equity)
    if target.weight is None:
        return PairPlan(target, held, (), f"Not traded: it {target.reason}.")
    if equity <= 0:
        return PairPlan(target, held, (), "Not traded: the account is worth nothing.")
    if not _leaves_band(target.weight, held, target.band, holding.quantity):
        return PairPlan(target, held, (), _inside_band(target.weight, held, target.band))
    wanted = _wanted_quantity(target.weight, holding, equity)
    orders, left_out = [], ""
    if holding.quantity and (wanted == 0 or (wanted > 0) != (holding.quantity > 0)):
        orders.append(_order(target, -holding.quantity, holding, reduces=True, closes=True))
    elif abs(wanted) < abs(holding.quantity):
        orders.append(_order(target, wanted - holding.quantity, holding, reduces=True, closes=False))
    rest = wanted - (_ZERO if orders and orders[0].closes else holding.quantity)
    if wanted and (not orders or orders[0].closes) and rest:
        left_out = entries_refused or _too_small(abs(rest), target.weight, holding)
        if not left_out:
            orders.append(_order(target, rest, holding, reduces=False, closes=False))
    elif not wanted and target.weight:
        left_out = _too_small(_ZERO, target.weight, holding)
    return PairPlan(
        target, held, tuple(each for each in orders if each.quantity), _said(target, held, orders, left_out)
    )


def _leaves_band(weight: float, held: float, band: float, quantity: Decimal) -> bool:
    return abs(weight - held) > band or (weight == 0.0 and quantity != 0)


def _wanted_quantity(weight: float, holding: Holding, equity: Decimal) -> Decimal:
    """Return the signed quantity of a weight, whole steps towards 0."""
    exact = equity * money(weight) / holding.price
    return holding.instrument.quantity_down(abs(exact)).copy_sign(exact)


def _order(target: Target, change: Decimal, holding: Holding, *, reduces: bool, closes: bool) -> PlannedOrder:
    most = holding.instrument.max_market_quantity
    quantity = holding.instrument.quantity_down(min(abs(change), most))
    side = Side.BUY if change > 0 else Side.SELL
    whole = closes and quantity == abs(change)
    return PlannedOrder(target.symbol, side, quantity, reduces, whole, f"target {target.weight:.2%}, {target.reason}")


def _too_small(quantity: Decimal, weight: float, holding: Holding) -> str:
    """Return why so small an order is left out, and what equity it would take; empty when it is large enough."""
    rules = holding.instrument
    least = max(rules.min_notional, rules.min_quantity * holding.price)
    if quantity >= rules.min_quantity and quantity * holding.price >= rules.min_notional:
        return ""
    needed = least / money(abs(weight))
    return (
        f"the smallest order is {least.normalize():f} USDT; a target of {weight:.2%} needs an equity of about "
        f"{needed.to_integral_value():f} USDT"
    )


def _within_margin(pairs: tuple[PairPlan, ...], holdings: Mapping[str, Holding], most: Decimal) -> tuple[PairPlan, ...]:
    """Leave out increases, the last ones first named, that the margin of the account could not carry."""
    notional = sum((abs(each.quantity) * each.price for each in holdings.values()), _ZERO)
    notional -= sum((_notional(order, holdings) for pair in pairs for order in pair.orders if order.reduces), _ZERO)
    kept = []
    for pair in pairs:
        added = sum((_notional(order, holdings) for order in pair.orders if not order.reduces), _ZERO)
        if added and notional + added > most:
            rest = tuple(order for order in pair.orders if order.reduces)
            kept.append(PairPlan(pair.target, pair.held_share, rest, "Not increased: the margin does not suffice."))
            continue
        notional += added
        kept.append(pair)
    return tuple(kept)


def _notional(order: PlannedOrder, holdings: Mapping[str, Holding]) -> Decimal:
    return order.quantity * holdings[order.symbol].price


def _share(notional: Decimal, equity: Decimal) -> float:
    return float(notional / equity) if equity > 0 else 0.0


def _inside_band(weight: float, held: float, band: float) -> str:
    if weight == 0.0 and held == 0.0:
        return "Flat: there is no trend to hold."
    return f"Not traded: held {held:.2%} is within {band:.2%} of the target {weight:.2%}."


def _said(target: Target, held: float, orders: Sequence[PlannedOrder], left_out: str) -> str:
    done = f"from {held:.2%} to the target {target.weight:.2%}; {target.reason}"
    if left_out:
        return f"{'Closed' if orders else 'Not traded'}: {left_out}."
    if not orders:
        return f"Not traded: the difference between {held:.2%} and {target.weight:.2%} is below one step."
    if any(order.closes for order in orders):
        return f"Closed: {done}." if len(orders) == 1 else f"Closed and opened the other way: {done}."
    return f"{'Reduced' if orders[0].reduces else 'Increased' if held else 'Opened'}: {done}."
