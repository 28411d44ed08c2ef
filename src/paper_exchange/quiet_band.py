"""The price range in which no order or margin level triggers, so that quiet minutes cost almost nothing.

All in floats: the bands only decide where to check closely; ``timeline.py`` decides what happens.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from src.paper_exchange import conditional, margin
from src.paper_exchange.accounts import AccountLedger, Accounts, VenuePosition
from src.paper_exchange.model import AlgoOrder, VenueOrder


class QuietBand(NamedTuple):
    """While last and mark price stay strictly inside, no order, trigger or margin limit is touched."""

    low: float
    high: float


OPEN_BAND = QuietBand(-math.inf, math.inf)
SHUT_BAND = QuietBand(math.inf, -math.inf)


def meet(first: QuietBand, second: QuietBand) -> QuietBand:
    """Return what two bands have in common."""
    return QuietBand(max(first.low, second.low), min(first.high, second.high))


def bands_of(accounts: Accounts) -> dict[str, QuietBand]:
    """Return the band of every symbol that anybody has something at, a tick narrower to allow for rounding."""
    bands: dict[str, QuietBand] = {}
    for ledger in accounts.ledgers.values():
        for order in ledger.open_orders.values():
            _narrow(bands, order.symbol, order_band(accounts, order))
        for waiting in ledger.open_algos.values():
            if waiting.status == "NEW":
                _narrow(bands, waiting.symbol, algo_band(waiting))
        for symbol, band in margin_bands(accounts, ledger).items():
            _narrow(bands, symbol, band)
    return {symbol: _inside(accounts, symbol, band) for symbol, band in bands.items()}


def _narrow(bands: dict[str, QuietBand], symbol: str, band: QuietBand) -> None:
    bands[symbol] = meet(bands.get(symbol, OPEN_BAND), band)


def _inside(accounts: Accounts, symbol: str, band: QuietBand) -> QuietBand:
    tick = float(accounts.contracts[symbol].rules.tick_size)
    return QuietBand(band.low + tick, band.high - tick)


def order_band(accounts: Accounts, order: VenueOrder) -> QuietBand:
    """Return where a waiting LIMIT order cannot be filled: its side of the book has not come to it."""
    tick = accounts.contracts[order.symbol].rules.tick_size
    if order.side == "BUY":
        return QuietBand(float(order.price - tick), math.inf)
    return QuietBand(-math.inf, float(order.price + tick))


def algo_band(order: AlgoOrder) -> QuietBand:
    """Return where nothing happens to a conditional order; an active trailing stop also minds its best price."""
    edge = conditional.level(order)
    band = QuietBand(-math.inf, edge) if conditional.rising(order) else QuietBand(edge, math.inf)
    if order.type == conditional.TRAILING and order.activated:
        peak = QuietBand(order.peak, math.inf) if order.side == "BUY" else QuietBand(-math.inf, order.peak)
        return meet(band, peak)
    return band


def margin_bands(accounts: Accounts, ledger: AccountLedger) -> dict[str, QuietBand]:
    """Return per symbol where the account is neither warned nor liquidated."""
    bands: dict[str, QuietBand] = {}
    cross = list(margin.cross_positions(ledger))
    if cross:
        _spread(accounts, ledger, cross, margin.cross_health(accounts, ledger), bands)
    for held in ledger.live():
        if held.symbol in ledger.isolated:
            _spread(accounts, ledger, [held], margin.isolated_health(accounts, held), bands)
    return bands


def _spread(
    accounts: Accounts,
    ledger: AccountLedger,
    positions: Iterable[VenuePosition],
    health: margin.MarginHealth,
    bands: dict[str, QuietBand],
) -> None:
    """Give each position an equal part of the loss that the group can still bear."""
    held_ones = list(positions)
    weight = 1.0 if ledger.margin_called else float(margin.MARGIN_CALL_SHARE)
    slack = (float(health.balance) * weight - float(health.maint)) / len(held_ones)
    for held in held_ones:
        _narrow(bands, held.symbol, _loss_band(accounts, held, slack, weight) if slack > 0 else SHUT_BAND)


def _loss_band(accounts: Accounts, held: VenuePosition, slack: float, weight: float) -> QuietBand:
    """Where one position loses less than ``slack``, and its maintenance rate does not rise."""
    mark = float(accounts.mark(held.symbol))
    size = abs(float(held.amount))
    bracket = accounts.contracts[held.symbol].bracket_of(abs(held.amount) * accounts.mark(held.symbol))
    ceiling = float(bracket.cap) / size
    if held.amount > 0:
        return QuietBand(mark - slack / (weight * size), ceiling)
    return QuietBand(-math.inf, min(ceiling, mark + slack / ((weight + float(bracket.maint_share)) * size)))
