"""All prices at any instant: last, mark, book and depth, from closed minutes only.

Last price: the minute's path (``path.py``) with its corners on the tick. Best bid and ask: a tick below and above.
Mark price: at whole seconds, the mean of the last price over the 30 s before, eight decimals; the index is the
very same number, since no second market exists here. Depth: level ``k`` (0, 1, ...) lies ``spacing * k(k+1)/2`` behind
the best price and holds ``k+1`` units; a unit is 2 % of the minute's volume, at least ``LEAST_UNIT_QUOTE`` in quote;
the spacing is 0.2 basis points, at least a tick. So an order of a minute's volume moves the price by 10 bps or so.
A minute without candle keeps the close before it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from src.domain.funding import FundingRecord
from src.domain.market import Candle, Instrument, money
from src.paper_exchange.contracts import Contract
from src.paper_exchange.intrabar_path import MINUTE_MS, Path, area_on, path_of, price_on, range_on, scaled
from src.paper_exchange.model import VenueError

UNIT_SHARE = 0.02
LEAST_UNIT_QUOTE = 2_000.0
SPACING_SHARE = 0.00002
MARK_WINDOW_MS = 30_000
SECOND_MS = 1_000
_LOOK_BACK_MINUTES = 10_080
_REMEMBERED = 64


CalmUntil = Callable[[str, int, int, float, float], int]
"""``calm_until(symbol, open_ms, end_ms, low, high)``: a market with loaded candles may offer to find the
first minute from ``open_ms`` on, at most ``end_ms`` and a minute, that is missing or not strictly inside the band.
"""


class PriceSource(Protocol):
    """What the venue needs of a market."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The contracts that have prices."""

    def candle(self, symbol: str, open_ms: int) -> Candle | None:
        """Return the complete minute that begins at ``open_ms``, or None in a gap."""

    def funding_rate(self, symbol: str, settle_ms: int) -> float:
        """Return the share that is settled at ``settle_ms``.

        A market with recorded settlements also offers ``funding_record(symbol)``: its instants decide.
        """


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute ready for trading; ``unit`` and ``spacing`` shape the depth, ``real`` is False in a gap.

    ``calm`` is the path as it would be without shocks.
    """

    open_ms: int
    path: Path
    calm: Path
    low: float
    high: float
    unit: Decimal
    spacing: Decimal
    candle: Candle
    real: bool

    def price(self, time_ms: int) -> float:
        """Return the last price at an instant of this minute."""
        return price_on(self.path, time_ms - self.open_ms)


class Prices:
    """The prices of all contracts of one market."""

    def __init__(self, market: PriceSource, contracts: Mapping[str, Contract]) -> None:
        self._market = market
        self._rules = {symbol: contract.rules for symbol, contract in contracts.items()}
        self._funding_ms = {symbol: contract.funding_ms for symbol, contract in contracts.items()}
        self._minutes: dict[tuple[str, int], Minute] = {}
        self._marks: dict[tuple[str, int], float] = {}
        self._last_mark: tuple[str, int, Decimal] = ("", -1, Decimal(0))
        self.shocks: dict[str, list[tuple[int, float]]] = {}
        self.candle = market.candle
        self.calm_until: CalmUntil | None = getattr(market, "calm_until", None)
        self._record: Callable[[str], FundingRecord] | None = getattr(market, "funding_record", None)

    def minute(self, symbol: str, open_ms: int) -> Minute:
        """Return the minute that begins at ``open_ms``; -4141 when the market never had a price."""
        known = self._minutes.get((symbol, open_ms))
        if known is not None and (known.real or self.candle(symbol, open_ms) is None):
            return known
        if len(self._minutes) > _REMEMBERED:
            self._minutes.clear()
        candle = self.candle(symbol, open_ms)
        whole = candle or self._flat(symbol, open_ms)
        made = _minute(whole, self._rules[symbol], self.shocks.get(symbol, []), candle is not None)
        self._minutes[symbol, open_ms] = made
        return made

    def minute_at(self, symbol: str, time_ms: int) -> Minute:
        """Return the minute in which ``time_ms`` lies."""
        return self.minute(symbol, time_ms - time_ms % MINUTE_MS)

    def last(self, symbol: str, time_ms: int) -> float:
        """Return the last price as the path has it (between corners it is not on the tick)."""
        return self.minute_at(symbol, time_ms).price(time_ms)

    def last_price(self, symbol: str, time_ms: int) -> Decimal:
        """Return the last price on the tick."""
        return self._rules[symbol].price_near(money(self.last(symbol, time_ms)))

    def mark(self, symbol: str, time_ms: int) -> float:
        """Return the mark price of the whole second at or before ``time_ms``, eight decimals."""
        second = time_ms - time_ms % SECOND_MS
        known = self._marks.get((symbol, second))
        if known is None:
            if len(self._marks) > _REMEMBERED:
                self._marks.clear()
            known = self._marks[symbol, second] = round(self._mean(symbol, second), 8)
        return known

    def mark_price(self, symbol: str, time_ms: int) -> Decimal:
        """Return the mark price as money, eight decimals."""
        second = time_ms - time_ms % SECOND_MS
        known_symbol, known_second, known = self._last_mark  # the price of one instant is requested many times in a row
        if second == known_second and symbol == known_symbol:
            return known
        price = Decimal(f"{self.mark(symbol, second):.8f}")
        self._last_mark = (symbol, second, price)
        return price

    def settle_every(self, symbol: str, funding_ms: int) -> None:
        """Settle funding in another interval from now on."""
        self._funding_ms[symbol] = funding_ms

    def next_funding_ms(self, symbol: str, time_ms: int) -> int:
        """Return the first settlement after ``time_ms``."""
        every_ms = self._funding_ms[symbol]
        if self._record is not None:
            return self._record(symbol).next_after(time_ms, every_ms)
        return (time_ms // every_ms + 1) * every_ms

    def is_settlement(self, symbol: str, time_ms: int) -> bool:
        """Return whether funding is settled at this very instant."""
        return self.next_funding_ms(symbol, time_ms - 1) == time_ms

    def settlements(self, symbol: str, from_ms: int, to_ms: int) -> Iterator[int]:
        """Yield the settlements in ``from_ms <= instant < to_ms``, in order."""
        instant = self.next_funding_ms(symbol, from_ms - 1)
        while instant < to_ms:
            yield instant
            instant = self.next_funding_ms(symbol, instant)

    def funding_rate(self, symbol: str, settle_ms: int) -> Decimal:
        """Return the rate settled at ``settle_ms`` as a share, eight decimals."""
        return Decimal(f"{self._market.funding_rate(symbol, settle_ms):.8f}")

    def levels(self, symbol: str, side: str, time_ms: int) -> Iterator[tuple[Decimal, Decimal]]:
        """Yield (price, quantity) that an order of ``side`` meets, best first, while prices are above 0."""
        minute = self.minute_at(symbol, time_ms)
        away = 1 if side == "BUY" else -1
        price = self.best_price(symbol, side, time_ms)
        number = 0
        while price > 0:
            number += 1
            yield price, minute.unit * number
            price += away * minute.spacing * number

    def best_price(self, symbol: str, side: str, time_ms: int) -> Decimal:
        """Return the best ask for a BUY, the best bid for a SELL."""
        tick = self._rules[symbol].tick_size
        return self.last_price(symbol, time_ms) + (tick if side == "BUY" else -tick)

    def running_candle(self, symbol: str, time_ms: int) -> Candle:
        """Return the present minute as far as it has gone; volumes grow evenly with time."""
        minute = self.minute_at(symbol, time_ms)
        offset = time_ms - minute.open_ms
        low, high = range_on(minute.path, 0, offset)
        share = offset / (MINUTE_MS - 1)
        whole = minute.candle
        rules = self._rules[symbol]
        return Candle(
            minute.open_ms,
            minute.path[0][1],
            _on_tick(high, rules),
            _on_tick(low, rules),
            _on_tick(minute.price(time_ms), rules),
            float(rules.quantity_down(money(whole.volume * share))),
            int(whole.trades * share),
            float(rules.quantity_down(money(whole.taker_buy_volume * share))),
            whole.quote_volume * share,
        )

    def shock(self, symbol: str, from_ms: int, factor: float) -> None:
        """Multiply all prices of the symbol from ``from_ms`` on; the mark price follows at once, past and all."""
        self.shocks.setdefault(symbol, []).append((from_ms, factor))
        self._forget()

    def state(self) -> dict[str, Any]:
        """Return what a restart must know, as JSON values."""
        return {symbol: [list(shock) for shock in shocks] for symbol, shocks in self.shocks.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.shocks = {symbol: [(int(ms), float(by)) for ms, by in rows] for symbol, rows in state.items()}
        self._forget()

    def _forget(self) -> None:
        self._minutes.clear()
        self._marks.clear()
        self._last_mark = ("", -1, Decimal(0))

    def _mean(self, symbol: str, second: int) -> float:
        minute = self.minute_at(symbol, second)
        offset = second - minute.open_ms
        area = area_on(minute.calm, max(0, offset - MARK_WINDOW_MS), offset)
        if offset < MARK_WINDOW_MS:
            before = self.minute(symbol, minute.open_ms - MINUTE_MS)
            area += area_on(before.calm, MINUTE_MS + offset - MARK_WINDOW_MS, MINUTE_MS)
        for from_ms, factor in self.shocks.get(symbol, ()):
            area *= factor if from_ms <= second else 1.0
        return area / MARK_WINDOW_MS

    def _flat(self, symbol: str, open_ms: int) -> Candle:
        """The close before a gap; at the very beginning of a market the open after it."""
        for back in range(1, _LOOK_BACK_MINUTES):
            before = self.candle(symbol, open_ms - back * MINUTE_MS)
            if before is not None:
                return Candle(open_ms, before.close, before.close, before.close, before.close, 0.0)
        after = self.candle(symbol, open_ms + MINUTE_MS)
        if after is None:
            raise VenueError(-4141, "Symbol is closed")
        return Candle(open_ms, after.open, after.open, after.open, after.open, 0.0)


def depth_before(minute: Minute, consumed: Decimal) -> Decimal:
    """Return how far behind the best price the first level lies that ``consumed`` has not emptied."""
    number, held, offset = 1, minute.unit, Decimal(0)
    while held <= consumed:
        offset += minute.spacing * number
        number += 1
        held += minute.unit * number
    return offset


def _minute(candle: Candle, rules: Instrument, shocks: list[tuple[int, float]], real: bool) -> Minute:
    calm = _ticked(path_of(candle), rules)
    path = calm
    for from_ms, factor in shocks:
        if from_ms < candle.open_ms + MINUTE_MS:
            path = _ticked(scaled(path, from_ms - candle.open_ms, factor), rules)
    prices = [price for _, price in path]
    start = prices[0]
    unit = rules.quantity_down(money(max(candle.volume * UNIT_SHARE, LEAST_UNIT_QUOTE / start)))
    spacing = max(rules.tick_size, rules.price_down(money(start * SPACING_SHARE)))
    return Minute(
        open_ms=candle.open_ms,
        path=path,
        calm=calm,
        low=min(prices),
        high=max(prices),
        unit=max(unit, rules.step_size),
        spacing=spacing,
        candle=candle,
        real=real,
    )


def _ticked(path: Path, rules: Instrument) -> Path:
    return tuple((offset, _on_tick(price, rules)) for offset, price in path)


def _on_tick(price: float, rules: Instrument) -> float:
    return float(rules.price_near(money(price)))
