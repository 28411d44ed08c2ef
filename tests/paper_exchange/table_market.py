"""A market that is a table of candles, and the short words with which the venue's tests speak."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from src.domain.market import Candle
from src.paper_exchange.events import Event
from src.paper_exchange.model import AlgoOrder, AlgoRequest, OrderRequest, VenueOrder
from src.paper_exchange.venue import Venue

START_MS = 1_700_006_400_000  # 2023-11-15 00:00 UTC
MINUTE_MS = 60_000
KEY = "key"
D = Decimal


class TableMarket:
    """Minutes written down as (open, high, low, close[, volume]), from START_MS on; one gap per None."""

    def __init__(
        self, rows: Mapping[str, Sequence[tuple[float, ...] | None]], rate: float = 0.0001, volume: float = 1_000.0
    ) -> None:
        self.symbols = tuple(rows)
        self._rate = rate
        self._candles = {
            symbol: [
                row and Candle(START_MS + number * MINUTE_MS, *row[:4], row[4] if len(row) > 4 else volume)  # type: ignore[call-arg]
                for number, row in enumerate(table)
            ]
            for symbol, table in rows.items()
        }

    def candle(self, symbol: str, open_ms: int) -> Candle | None:
        """Return the candle of that minute, None outside the table."""
        number = (open_ms - START_MS) // MINUTE_MS
        table = self._candles[symbol]
        return table[number] or None if 0 <= number < len(table) else None

    def funding_rate(self, symbol: str, settle_ms: int) -> float:
        """Return the one rate."""
        return self._rate


def flat(price: float, minutes: int) -> list[tuple[float, ...]]:
    """Return minutes in which nothing moves."""
    return [(price, price, price, price)] * minutes


def venue_on(
    rows: Sequence[tuple[float, ...] | None], symbol: str = "BTCUSDT", rate: float = 0.0001, **more: object
) -> Venue:
    """Return a venue with one account on a market of one symbol, after its first millisecond."""
    made = Venue(TableMarket({symbol: rows}, rate), START_MS, **more)  # type: ignore[arg-type]
    made.open_account(KEY)
    return made


def market(venue: Venue, side: str, quantity: str, symbol: str = "BTCUSDT", **more: object) -> VenueOrder:
    """Send a MARKET order."""
    return venue.place_order(KEY, OrderRequest(symbol, side, "MARKET", D(quantity), **more))  # type: ignore[arg-type]


def limit(venue: Venue, side: str, quantity: str, price: str, symbol: str = "BTCUSDT", **more: object) -> VenueOrder:
    """Send a LIMIT order, good till cancelled."""
    more.setdefault("time_in_force", "GTC")
    request = OrderRequest(symbol, side, "LIMIT", D(quantity), D(price), **more)  # type: ignore[arg-type]
    return venue.place_order(KEY, request)


def stop(
    venue: Venue, side: str, trigger: str | None, kind: str = "STOP_MARKET", symbol: str = "BTCUSDT", **more: object
) -> AlgoOrder:
    """Send a conditional order; without a quantity it closes the position."""
    if "quantity" not in more and kind in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
        more["close_position"] = True
    request = AlgoRequest(symbol, side, kind, trigger_price=D(trigger) if trigger else None, **more)  # type: ignore[arg-type]
    return venue.place_algo(KEY, request)


def amount(venue: Venue, symbol: str = "BTCUSDT", leg: str = "BOTH") -> Decimal:
    """Return the signed position of one leg."""
    return next(row.amount for row in venue.positions(KEY, symbol) if row.position_side == leg)


def wallet(venue: Venue, asset: str = "USDT") -> Decimal:
    """Return the wallet balance of an asset."""
    return next(row.wallet_balance for row in venue.account(KEY).balances if row.asset == asset)


def words(events: Sequence[Event]) -> list[str]:
    """Return the events' names, orders with their execution and conditional orders with their status."""
    return [_word(event) for event in events]


def _word(event: Event) -> str:
    name = type(event).__name__
    if name == "OrderUpdate":
        return f"order {event.execution}"  # type: ignore[union-attr]
    if name == "AlgoUpdate":
        return f"algo {event.order.status}"  # type: ignore[union-attr]
    if name == "AccountUpdate":
        return f"account {event.reason}"  # type: ignore[union-attr]
    return name
