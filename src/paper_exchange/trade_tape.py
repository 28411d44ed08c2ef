"""Public trades generated from each minute's candle, always the same.

A minute has at most sixty aggregated trades, on whole seconds and at its close. Their prices lie on the minute's
path, their quantities add up to its volume. Ids are functions of the minute, so they grow with time and leave gaps.
"""

from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b

from src.domain.market import Instrument, money
from src.paper_exchange.intrabar_path import CLOSE_MS, FIRST_EXTREME_MS, MINUTE_MS, SECOND_EXTREME_MS
from src.paper_exchange.prices import Minute

TICKS = 60
IDS_A_MINUTE = 100_000


@dataclass(frozen=True, slots=True)
class Tick:
    """One aggregated trade; ``first_id`` and ``last_id`` are those of the single trades in it."""

    tick_id: int
    first_id: int
    last_id: int
    price: Decimal
    quantity: Decimal
    time_ms: int
    buyer_is_maker: bool


def first_trade_id(open_ms: int) -> int:
    """Return the id of the first single trade of the minute that opens at ``open_ms``."""
    return open_ms // MINUTE_MS * IDS_A_MINUTE


def last_trade_id(open_ms: int, trades: int) -> int:
    """Return the id of the last of ``trades`` single trades of the minute; one below the first if there is none."""
    return first_trade_id(open_ms) + min(trades, IDS_A_MINUTE) - 1


def minute_of_tick(tick_id: int) -> int:
    """Return the opening instant of the minute to which an aggregated trade belongs."""
    return tick_id // TICKS * MINUTE_MS


def ticks_of(minute: Minute, instrument: Instrument) -> list[Tick]:
    """Return the minute's aggregated trades, oldest first; none in a gap or where nothing was traded."""
    candle = minute.candle
    steps = int(money(candle.volume) / instrument.step_size)
    trades = min(max(candle.trades, 1), IDS_A_MINUTE)
    count = min(TICKS, trades, steps)
    if not minute.real or count == 0:
        return []
    noise = blake2b(f"{instrument.symbol}|{minute.open_ms}".encode(), digest_size=TICKS).digest()
    sizes = _shared(steps, noise[:count])
    sell_steps = steps - int(money(candle.taker_buy_volume) / instrument.step_size)
    base, first_id = minute.open_ms // MINUTE_MS * TICKS, first_trade_id(minute.open_ms)
    ticks: list[Tick] = []
    seen = sold_steps = 0
    for number, (offset, size) in enumerate(zip(_offsets(count), sizes, strict=True)):
        seen += size
        sold = 2 * (sell_steps * seen // steps - sold_steps) >= size  # keeps the sellers' share as the minute goes on
        sold_steps += size if sold else 0
        ticks.append(
            Tick(
                base + number,
                first_id + number * trades // count,
                first_id + (number + 1) * trades // count - 1,
                instrument.price_near(money(minute.price(minute.open_ms + offset))),
                size * instrument.step_size,
                minute.open_ms + offset,
                sold,
            )
        )
    return ticks


def _offsets(count: int) -> list[int]:
    """Evenly spread whole seconds that include open, both extremes and close as far as there are trades for them."""
    needed = [0, CLOSE_MS, FIRST_EXTREME_MS, SECOND_EXTREME_MS][:count]
    others = [second * 1_000 for second in range(1, TICKS - 1) if second * 1_000 not in needed]
    wanted = count - len(needed)
    spread = [others[place * len(others) // wanted] for place in range(wanted)]
    return sorted(needed + spread)


def _shared(steps: int, noise: bytes) -> list[int]:
    """Split ``steps`` into one part of at least 1 for each byte, larger for larger bytes."""
    weights = [byte + 16 for byte in noise]
    total, spare = sum(weights), steps - len(weights)
    parts, before, seen = [], 0, 0
    for weight in weights:
        seen += weight
        upto = spare * seen // total
        parts.append(1 + upto - before)
        before = upto
    return parts
