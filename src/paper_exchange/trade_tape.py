"""Public trades generated from each minute's candle, always the same.

A minute has at most sixty aggregated trades: at its open, its two extremes and its close, and between them at odd
milliseconds. A taker who buys pays the best ask, one who sells gets the best bid, a tick beside the minute's path;
never beyond what the minute has reached by then, so that candles made of trades equal the exchange's own. Quantities
add up to the minute's volume. Ids are functions of the minute, so they grow with time and leave gaps.
"""

from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b, shake_128

from src.domain.market import Instrument, money
from src.paper_exchange.intrabar_path import CLOSE_MS, FIRST_EXTREME_MS, MINUTE_MS, SECOND_EXTREME_MS, range_on
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
    seed = f"{instrument.symbol}|{minute.open_ms}".encode()
    noise = blake2b(seed, digest_size=TICKS).digest()
    sizes = _shared(steps, noise[:count])
    sell_steps = steps - int(money(candle.taker_buy_volume) / instrument.step_size)
    base, first_id = minute.open_ms // MINUTE_MS * TICKS, first_trade_id(minute.open_ms)
    ticks: list[Tick] = []
    seen = sold_steps = 0
    for number, (offset, size) in enumerate(zip(_offsets(count, seed), sizes, strict=True)):
        seen += size
        sold = 2 * (sell_steps * seen // steps - sold_steps) >= size  # keeps the sellers' share as the minute goes on
        sold_steps += size if sold else 0
        ticks.append(
            Tick(
                base + number,
                first_id + number * trades // count,
                first_id + (number + 1) * trades // count - 1,
                _price(minute, offset, sold, instrument),
                size * instrument.step_size,
                minute.open_ms + offset,
                sold,
            )
        )
    return ticks


def _price(minute: Minute, offset: int, sold: bool, instrument: Instrument) -> Decimal:
    """Best bid or ask at that instant, inside what the minute has reached; the path itself at its corners."""
    at = instrument.price_near(money(minute.price(minute.open_ms + offset)))
    if offset in (0, FIRST_EXTREME_MS, SECOND_EXTREME_MS, CLOSE_MS):
        return at
    low, high = (instrument.price_near(money(edge)) for edge in range_on(minute.path, 0, offset))
    return max(low, at - instrument.tick_size) if sold else min(high, at + instrument.tick_size)


def _offsets(count: int, seed: bytes) -> list[int]:
    """Open, both extremes and close as far as there are trades for them, and instants spread between them by chance."""
    needed = [0, CLOSE_MS, FIRST_EXTREME_MS, SECOND_EXTREME_MS][:count]
    others = [second * 1_000 for second in range(1, TICKS - 1) if second * 1_000 not in needed]
    wanted = count - len(needed)
    noise = shake_128(seed).digest(2 * wanted)
    late = (int.from_bytes(noise[2 * place : 2 * place + 2]) % 1_000 for place in range(wanted))
    spread = [others[place * len(others) // wanted] + part for place, part in enumerate(late)]
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
