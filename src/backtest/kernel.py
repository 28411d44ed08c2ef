"""The trading rules as one compiled loop over a whole series, for thousands of variants.

What it shares with the exact path: the signals, the agent's advice (its lessons do not depend on what is held, so one
pass serves all variants), ``entry_code`` and ``exit_code``, sizes, stops, the watch on whole seconds, funding, the
day's loss. What it leaves out: the circuit breaker, liquidation, gaps in the candles, and orders larger than the
exchange fills at once. Its trades are those of the exact path (tested on real candles).
"""

import math
from typing import Any, NamedTuple

from numpy.typing import NDArray

from src.backtest.mark_prices import last_at, mark_at
from src.paper_exchange.prices import LEAST_UNIT_QUOTE, SPACING_SHARE, UNIT_SHARE
from src.strategy.rules import Thresholds, entry_code, exit_code, size_share

Array = NDArray[Any]
MIDNIGHT, FUNDING = 1, 2
UNPROTECTED = 10
"""The code of a position closed at once because its stop could not stand."""
_MINUTE_MS = 60_000
_HAIR = 1e-9


class KernelSeries(NamedTuple):
    """Columns over candles. ``mark`` and ``date`` (bits MIDNIGHT, FUNDING) are of the turn after each candle.

    ``funding`` is the share settled at that turn. ``action`` (1, 0, -1) and ``confidence`` have a row for each
    position: short, flat, long. ``volatility`` is that of the candle the signal looks at.
    """

    open_ms: Array
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array
    mark: Array
    date: Array
    funding: Array
    side: Array
    strength: Array
    action: Array
    confidence: Array
    volatility: Array


class KernelFigures(NamedTuple):
    """One variant as plain numbers.

    ``slip_share`` is what a market order loses against the last price, or -1 for the paper exchange's own spread and
    depth. ``fixed_quantity`` above 0 takes the place of a share of equity. With ``at_levels`` stop and target fill at
    their own price within the candle, the stop first (other engines' convention); there is no early stop then.
    """

    t: Thresholds
    position_share: float
    leverage: float
    max_daily_loss_share: float
    taker_share: float
    slip_share: float
    balance: float
    tick: float
    step: float
    min_quantity: float
    max_quantity: float
    min_notional: float
    fixed_quantity: float
    at_levels: bool
    calm_volatility_share: float


class KernelPosition(NamedTuple):
    """What is held (``sign`` 0: nothing), its guards, and what it has cost so far.

    When flat, ``quantity`` is what the closing order took of the depth at ``entry_ms`` (signed as its side).
    """

    sign: int
    quantity: float
    entry: float
    entry_ms: int
    stop: float
    target: float
    early: float
    fees: float
    funding: float


class KernelTrade(NamedTuple):
    """One closed trade, all as floats; ``reason`` is a code of ``verdict_code``, or UNPROTECTED."""

    sign: float
    quantity: float
    entry: float
    entry_ms: float
    exit: float
    exit_ms: float
    reason: float
    fees: float
    funding: float
    pnl: float


def simulate(
    series: KernelSeries, f: KernelFigures, first: int, deals: Array, daily: Array
) -> tuple[int, int, float, KernelPosition]:
    """Run one variant from the turn after candle ``first`` on; the last candle is only traded in.

    Args:
        series: the columns.
        f: the variant.
        first: row of the first turn.
        deals: a row of ten figures (``KernelTrade``) for each closed trade goes here; further trades are only counted.
        daily: equity at each UTC midnight, then at the end, is written here.

    Returns:
        The number of trades, the number of daily figures, the equity at the last turn, and what is still held.
        Compiles under numba.
    """
    held = nothing(0.0, 0)
    wallet = day_start = equity = f.balance
    count = days = 0
    halted = False
    for row in range(first, len(series.close) - 1):
        date, strength, mark = series.date[row], series.strength[row], series.mark[row]
        if held.sign == 0 and date == 0 and strength < f.t.min_signal_strength:
            continue
        at_ms = series.open_ms[row] + _MINUTE_MS
        if held.sign != 0 and not calm(series.low, series.high, row, held, f):
            reason, price, exit_ms = guard_exit(series, row, held, f)
            if date & FUNDING and reason == 5 and exit_ms == at_ms:  # funding comes before what the trader does
                held, wallet = funded(held, wallet, mark * series.funding[row])
            if reason != 0:
                wallet = book(held, reason, price, exit_ms, f, wallet, deals, count)
                held, count = nothing(-held.sign * held.quantity, exit_ms), count + 1
        if date & FUNDING and held.sign != 0:
            held, wallet = funded(held, wallet, mark * series.funding[row])
        equity = worth(held, wallet, mark)
        if date & MIDNIGHT:
            day_start, halted = equity, False
        place, lost = held.sign + 1, day_start - equity >= f.max_daily_loss_share * day_start
        action, confidence = series.action[place, row], series.confidence[place, row]
        code = verdict(held, mark, at_ms, series.side[row], strength, action, confidence, lost, halted, f)
        if code != 0:
            halted = halted or code == 3  # a day that was ended by its loss stays so, also when the exit was a good one
            held, wallet, count = act(series, row, code, held, wallet, equity, f, deals, count)
            equity = worth(held, wallet, mark)
        if date & MIDNIGHT and row > first:  # a first turn at midnight closes no day of the run
            daily[days], days = equity, days + 1
    daily[days] = equity
    return count, days + 1, equity, held


def act(
    series: KernelSeries,
    row: int,
    code: int,
    held: KernelPosition,
    wallet: float,
    equity: float,
    f: KernelFigures,
    deals: Array,
    count: int,
) -> tuple[KernelPosition, float, int]:
    """Carry a verdict out at the next open; return position, wallet and number of trades after it. Compiles."""
    at_ms, last = series.open_ms[row] + _MINUTE_MS, series.open[row + 1]
    if code <= 2:
        sign = 1 if code == 1 else -1
        quantity = size(series.mark[row], equity * size_share(f.calm_volatility_share, series.volatility[row]), f)
        if quantity <= 0.0:
            return held, wallet, count
        gone = max(0.0, held.quantity * sign) if held.entry_ms == at_ms else 0.0
        held = opened(fill_price(series, row + 1, last, sign, quantity, gone, f), quantity, sign, at_ms, f)
        wallet -= held.fees
        if f.at_levels or not would_trigger(held, series.mark[row]):
            return held, wallet, count
        code = UNPROTECTED
    price = fill_price(series, row + 1, last, -held.sign, held.quantity, 0.0, f)
    taken = -held.sign * held.quantity
    return nothing(taken, at_ms), book(held, code, price, at_ms, f, wallet, deals, count), count + 1


def nothing(taken: float, at_ms: int) -> KernelPosition:
    """Return the flat position after an order took ``taken`` (signed) of the depth. Compiles under numba."""
    return KernelPosition(0, taken, 0.0, at_ms, 0.0, 0.0, 0.0, 0.0, 0.0)


def funded(held: KernelPosition, wallet: float, paid_by_one: float) -> tuple[KernelPosition, float]:
    """Return position and wallet after funding; ``paid_by_one`` is what a long position of 1 pays. Compiles."""
    h, paid = held, -held.sign * held.quantity * paid_by_one
    after = KernelPosition(h.sign, h.quantity, h.entry, h.entry_ms, h.stop, h.target, h.early, h.fees, h.funding + paid)
    return after, wallet + paid


def verdict(
    held: KernelPosition,
    mark: float,
    at_ms: int,
    side: int,
    strength: int,
    action: int,
    confidence: float,
    lost: bool,
    halted: bool,
    f: KernelFigures,
) -> int:
    """Return the verdict's code at a turn, as ``decide`` would. Compiles under numba."""
    if held.sign == 0:
        return entry_code(side, strength, action, confidence, not (lost or halted), f.t)
    if f.at_levels:
        return 0
    move = (mark / held.entry - 1.0) * held.sign
    return exit_code(held.sign, move, at_ms - held.entry_ms, side, strength, action, confidence, lost, f.t)


def calm(low: Array, high: Array, row: int, held: KernelPosition, f: KernelFigures) -> bool:
    """Return whether no guard can be touched during a candle; the mark price lags by half a minute. Compiles."""
    before = row if f.at_levels or row == 0 else row - 1
    least, most = min(low[row], low[before]), max(high[row], high[before])
    worst = held.stop if f.at_levels else held.early
    floor, ceiling = (worst, held.target) if held.sign > 0 else (held.target, worst)
    inside: bool = least > floor + f.tick and most < ceiling - f.tick
    return inside


def size(mark: float, equity: float, f: KernelFigures) -> float:
    """Return the quantity to enter: a share of equity on the step, 0 below the exchange's least. Compiles."""
    if f.fixed_quantity > 0.0:
        return f.fixed_quantity
    wanted = equity * f.position_share * f.leverage / mark
    quantity = min(step_down(wanted, f.step), f.max_quantity)
    small = quantity < f.min_quantity * (1.0 - _HAIR) or quantity * mark < f.min_notional
    return 0.0 if small else quantity


def opened(entry: float, quantity: float, sign: int, at_ms: int, f: KernelFigures) -> KernelPosition:
    """Return the position that an entry makes, with its guards on the tick. Compiles."""
    stop, target = entry * (1.0 - sign * f.t.stop_loss_share), entry * (1.0 + sign * f.t.take_profit_share)
    if not f.at_levels:
        stop, target = nearer(stop, sign, f.tick), nearer(target, -sign, f.tick)
    early = entry * (1.0 - sign * f.t.early_stop_share)
    return KernelPosition(sign, quantity, entry, at_ms, stop, target, early, quantity * entry * f.taker_share, 0.0)


def nearer(level: float, sign: int, tick: float) -> float:
    """Return ``level`` on the tick, rounded up for ``sign`` 1, down for -1. Compiles."""
    steps = level / tick
    return (math.ceil(steps - _HAIR) if sign > 0 else math.floor(steps + _HAIR)) * tick


def step_down(value: float, step: float) -> float:
    """Return ``value`` rounded down to the step, as its shortest decimal text would be. Compiles."""
    whole = round(1.0 / step) if step < 1.0 else 1
    steps = math.floor(value / step + _HAIR)
    edge = steps / whole if step < 1.0 else steps * step
    if value < edge:
        edge = (steps - 1) / whole if step < 1.0 else (steps - 1) * step
    return edge


def would_trigger(held: KernelPosition, mark: float) -> bool:
    """Return whether the exchange refuses a guard because the mark price is there already. Compiles."""
    return (mark - held.stop) * held.sign <= 0.0 or (mark - held.target) * held.sign >= 0.0


def guard_exit(series: KernelSeries, row: int, held: KernelPosition, f: KernelFigures) -> tuple[int, float, int]:
    """Return how a guard closed the position during candle ``row``: reason (0: not), price, instant. Compiles."""
    if f.at_levels:
        return level_exit(series.open[row], series.low[row], series.high[row], series.open_ms[row], held)
    before, opened_ms = max(row - 1, 0), series.open_ms[row]
    minute = (series.open[row], series.high[row], series.low[row], series.close[row])
    earlier = (series.open[before], series.high[before], series.low[before], series.close[before])
    for second in range(1, 61):
        mark = series.mark[row] if second == 60 else rounded(mark_at(earlier, minute, second * 1_000.0))
        reason = guard_reason(held, mark)
        if reason != 0:
            last = series.open[row + 1] if second == 60 else last_at(minute, second * 1_000.0)
            at = row + 1 if second == 60 else row
            return reason, fill_price(series, at, last, -held.sign, held.quantity, 0.0, f), opened_ms + second * 1_000
    return 0, 0.0, opened_ms + _MINUTE_MS


def guard_reason(held: KernelPosition, mark: float) -> int:
    """Return which guard a mark price touches: 4 stop, 6 target (both at the exchange), 5 our early stop; 0 none."""
    if (mark - held.stop) * held.sign <= 0.0:
        return 4
    if (mark - held.target) * held.sign >= 0.0:
        return 6
    return 5 if (mark - held.early) * held.sign <= 0.0 else 0


def level_exit(opened: float, low: float, high: float, at_ms: int, held: KernelPosition) -> tuple[int, float, int]:
    """Return how stop or target fill at their own price, or at the open beyond it; the stop first. Compiles."""
    worst, best = (low, high) if held.sign > 0 else (high, low)
    if (worst - held.stop) * held.sign <= 0.0:
        beyond = (opened - held.stop) * held.sign < 0.0
        return 4, opened if beyond else held.stop, at_ms
    if (best - held.target) * held.sign >= 0.0:
        beyond = (opened - held.target) * held.sign > 0.0
        return 6, opened if beyond else held.target, at_ms
    return 0, 0.0, at_ms


def fill_price(
    series: KernelSeries, row: int, last: float, side: int, quantity: float, gone: float, f: KernelFigures
) -> float:
    """Return the mean price of a market order (``side`` 1 buys, -1 sells) in the minute ``row``. Compiles.

    ``gone`` is what an order of the same side took of the depth in that minute before.
    """
    if f.slip_share >= 0.0:
        return last * (1.0 + side * f.slip_share)
    start = series.open[row]
    spacing = max(f.tick, step_down(start * SPACING_SHARE, f.tick))
    unit = max(step_down(max(series.volume[row] * UNIT_SHARE, LEAST_UNIT_QUOTE / start), f.step), f.step)
    price = round(last / f.tick) * f.tick + side * f.tick
    left, value, number = quantity, 0.0, 1
    while left > 0.0:
        there = max(0.0, unit * number - gone)
        gone = max(0.0, gone - unit * number)
        part = min(left, there)
        value += part * price
        left -= part
        price += side * spacing * number
        number += 1
    return value / quantity


def book(
    held: KernelPosition,
    reason: int,
    price: float,
    at_ms: int,
    f: KernelFigures,
    wallet: float,
    deals: Array,
    count: int,
) -> float:
    """Record the closed trade if the table has space, and return the wallet after it. Compiles."""
    fee = held.quantity * price * f.taker_share
    gross = (price - held.entry) * held.quantity * held.sign
    if count < len(deals):
        fees = held.fees + fee
        pnl = gross - fees + held.funding
        sign, entry_ms, exit_ms, code = float(held.sign), float(held.entry_ms), float(at_ms), float(reason)
        deal = KernelTrade(sign, held.quantity, held.entry, entry_ms, price, exit_ms, code, fees, held.funding, pnl)
        for place in range(10):
            deals[count, place] = deal[place]
    return wallet + gross - fee


def worth(held: KernelPosition, wallet: float, mark: float) -> float:
    """Return the equity at a mark price. Compiles."""
    return wallet + held.quantity * held.sign * (mark - held.entry) if held.sign != 0 else wallet


def rounded(price: float) -> float:
    """Return a price with eight decimals, as the exchange gives its mark. Compiles."""
    return math.floor(price * 1e8 + 0.5) / 1e8
