"""The market data streams: what each sends, and on which route.

A feed is polled about every 20 ms of wall time and returns what is due by market time; what came too fast in between
is left out, but never a closed candle.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

from src.domain.market import Candle, Instrument
from src.paper_exchange.contracts import Contract
from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.formats import Json, decimals_of, fixed
from src.paper_exchange.formats_market import agg_trade_row, book_levels, kline_body, mean_price, price_text
from src.paper_exchange.intrabar_path import MINUTE_MS
from src.paper_exchange.markets.klines import INTERVALS, bar_end_ms, bar_open_ms
from src.paper_exchange.trade_tape import Tick, first_trade_id

KLINE_EVERY_MS = 250
TAPE_EVERY_MS = 100
TICKER_EVERY_MS = 1_000
# An unchanged book is sent again this often: clients take silence for a broken connection.
REPEAT_EVERY_MS = 1_000
DIFF_LEVELS = 100
_DEPTH = re.compile(r"depth(?P<levels>5|10|20)?@((?P<every>0|100|250|500)ms)?")
_PUBLIC = re.compile(r"(bookTicker|trade|rpiDepth|depth\d*)(@|$)")

Frame = Json | list[Json]


class StreamFeed(Protocol):
    """One stream's source of frames."""

    def frames(self, now_ms: int) -> list[Frame]:
        """Return the frames that are due at this market instant, oldest first; an array stream has one list."""


class Cadence:
    """Says once in every ``every_ms`` of market time that it is time."""

    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self._last = -1

    def due(self, now_ms: int) -> bool:
        """Return whether a new span has begun since the last time this returned True."""
        span = now_ms // self._every_ms
        if span == self._last:
            return False
        self._last = span
        return True


class KlineFeed:
    """Candles of one interval: each closed one exactly once, the running one at most four times a second."""

    def __init__(self, exchange: PaperExchange, contract: Contract, interval: str, continuous: bool) -> None:
        self._exchange = exchange
        self._rules = contract.rules
        self._interval = interval
        self._continuous = continuous
        self._open_ms = bar_open_ms(interval, exchange.venue.now_ms)
        self._cadence = Cadence(KLINE_EVERY_MS)
        self._last: Candle | None = None

    def frames(self, now_ms: int) -> list[Frame]:
        """Return closed candles first, then the running one if it moved."""
        found: list[Frame] = []
        while (end_ms := bar_end_ms(self._interval, self._open_ms)) <= now_ms:
            closed = self._exchange.charts.bar(self._rules.symbol, self._interval, self._open_ms)
            if closed:
                found.append(self._frame(closed, end_ms, True, now_ms))
            self._open_ms = end_ms
        if self._cadence.due(now_ms):
            running = self._exchange.charts.bar(self._rules.symbol, self._interval, self._open_ms)
            if running and running != self._last:
                self._last = running
                found.append(self._frame(running, end_ms, False, now_ms))
        return found

    def _frame(self, bar: Candle, end_ms: int, closed: bool, now_ms: int) -> Json:
        last_minute_ms = min(end_ms - 1, now_ms) // MINUTE_MS * MINUTE_MS
        body = kline_body(bar, end_ms, self._interval, closed, last_minute_ms, self._rules)
        if not self._continuous:
            return {"e": "kline", "E": now_ms, "s": self._rules.symbol, "k": body}
        del body["s"]
        return {"e": "continuous_kline", "E": now_ms, "ps": self._rules.symbol, "ct": "PERPETUAL", "k": body}


class MarkFeed:
    """Mark prices every second or every three."""

    def __init__(self, exchange: PaperExchange, contracts: list[Contract], every_ms: int, array: bool) -> None:
        self._exchange = exchange
        self._contracts = contracts
        self._cadence = Cadence(every_ms)
        self._array = array

    def frames(self, now_ms: int) -> list[Frame]:
        """Return the newest mark price when a new span has begun."""
        if not self._cadence.due(now_ms):
            return []
        rows = [self._frame(contract) for contract in _listed(self._exchange, self._contracts)]
        return [rows] if self._array else [*rows]

    def _frame(self, contract: Contract) -> Json:
        premium = self._exchange.venue.premium(contract.symbol)
        return {
            "e": "markPriceUpdate",
            "E": premium.time_ms,
            "s": contract.symbol,
            "p": fixed(premium.mark, 8),
            "ap": fixed(premium.mark, 8),
            "P": fixed(premium.index, 8),
            "i": fixed(premium.index, 8),
            "r": fixed(premium.funding_rate, 8),
            "T": premium.next_funding_ms,
            "st": 1,
        }


class TapeFeed:
    """Aggregated or single trades, all of them."""

    def __init__(self, exchange: PaperExchange, contract: Contract, aggregated: bool) -> None:
        self._exchange = exchange
        self._rules = contract.rules
        self._aggregated = aggregated
        self._cadence = Cadence(TAPE_EVERY_MS)
        self._told_ms = exchange.venue.now_ms

    def frames(self, now_ms: int) -> list[Frame]:
        """Return the trades since the last call."""
        if not self._cadence.due(now_ms):
            return []
        since_ms, self._told_ms = self._told_ms, now_ms
        minutes = range(since_ms // MINUTE_MS * MINUTE_MS, now_ms + 1, MINUTE_MS)
        ticks = [tick for open_ms in minutes for tick in self._exchange.ticks(self._rules.symbol, open_ms)]
        make = self._aggregate if self._aggregated else self._single
        return [make(tick, now_ms) for tick in ticks if since_ms < tick.time_ms <= now_ms]

    def _aggregate(self, tick: Tick, now_ms: int) -> Json:
        return {"e": "aggTrade", "E": now_ms, "s": self._rules.symbol, **agg_trade_row(tick, self._rules), "st": 1}

    def _single(self, tick: Tick, now_ms: int) -> Json:
        return {
            "e": "trade",
            "E": now_ms,
            "T": tick.time_ms,
            "s": self._rules.symbol,
            "t": tick.first_id,
            "p": price_text(tick.price, self._rules),
            "q": fixed(tick.quantity, decimals_of(self._rules.step_size)),
            "X": "MARKET",
            "m": tick.buyer_is_maker,
            "st": 1,
        }


def _listed(exchange: PaperExchange, contracts: list[Contract]) -> list[Contract]:
    """Return the contracts that are still listed: a delisted one sends no more frames, the stream stays."""
    return [each for each in contracts if each.symbol in exchange.contracts]


class BookTickerFeed:
    """Best bid and ask whenever they move, and once a second while they do not, of one contract or of all."""

    def __init__(self, exchange: PaperExchange, contracts: list[Contract]) -> None:
        self._exchange = exchange
        self._contracts = contracts
        self._last: dict[str, tuple[object, int]] = {}

    def frames(self, now_ms: int) -> list[Frame]:
        """Return one frame for each contract whose best prices changed, or were sent a second ago."""
        frames = (self._frame(contract.rules) for contract in _listed(self._exchange, self._contracts))
        return [frame for frame in frames if frame]

    def _frame(self, rules: Instrument) -> Json | None:
        book = self._exchange.venue.book(rules.symbol, 5)
        best = (book.bids[0], book.asks[0])
        before, told_ms = self._last.get(rules.symbol, (None, 0))
        if before == best and book.time_ms < told_ms + REPEAT_EVERY_MS:
            return None
        self._last[rules.symbol] = (best, book.time_ms)
        bids, asks = book_levels(book, rules)
        return {
            "e": "bookTicker",
            "u": book.update_id,
            "E": book.time_ms,
            "T": book.time_ms,
            "s": rules.symbol,
            "b": bids[0][0],
            "B": bids[0][1],
            "a": asks[0][0],
            "A": asks[0][1],
            "st": 1,
            "ps": rules.symbol,
        }


class DepthFeed:
    """The book: the whole of a few levels, or what changed in ``DIFF_LEVELS`` of them.

    Differences also correct what GET depth has shown meanwhile: deeper levels, and those of an instant between frames.
    While nothing changes, the best level of each side is sent again once a second.
    """

    def __init__(self, exchange: PaperExchange, contract: Contract, levels: int, every_ms: int) -> None:
        self._exchange = exchange
        self._rules = contract.rules
        self._levels = levels
        self._cadence = Cadence(every_ms)
        self._update_id = 0
        self._told_ms = 0
        self._shown = 0
        self._sides: tuple[dict[str, str], dict[str, str]] = ({}, {})

    def frames(self, now_ms: int) -> list[Frame]:
        """Return an update when it is due and something changed, or was sent a second ago."""
        if not self._cadence.due(now_ms):
            return []
        book = self._exchange.venue.book(self._rules.symbol, self._levels or DIFF_LEVELS)
        bids, asks = book_levels(book, self._rules)
        fresh = ({row[0]: row[1] for row in bids}, {row[0]: row[1] for row in asks})
        if not self._levels:
            self._distrust(fresh)
        still = fresh == self._sides
        if still and book.time_ms < self._told_ms + REPEAT_EVERY_MS:
            return []
        if not self._levels and still:
            bids, asks = bids[:1], asks[:1]
        elif not self._levels:
            bids, asks = (_changes(old, new) for old, new in zip(self._sides, fresh, strict=True))
        before, self._update_id, self._sides = self._update_id, book.update_id, fresh
        self._told_ms = book.time_ms
        return [
            {
                "e": "depthUpdate",
                "E": book.time_ms,
                "T": book.time_ms,
                "s": self._rules.symbol,
                "U": before + 1 if before else book.update_id,
                "u": book.update_id,
                "pu": before or book.update_id - 1,
                "b": bids,
                "a": asks,
                "ps": self._rules.symbol,
                "st": 1,
            }
        ]

    def _distrust(self, fresh: tuple[dict[str, str], dict[str, str]]) -> None:
        """Let levels that were shown otherwise than they are now count as changed."""
        for shown in self._exchange.shown.since(self._shown, self._rules.symbol):
            for side, rows, now in zip(self._sides, shown, fresh, strict=True):
                side.update({price: "" for price, size in rows if now.get(price) != size})
        self._shown = self._exchange.shown.count


def _changes(old: dict[str, str], new: dict[str, str]) -> list[list[str]]:
    gone = [[price, fixed(0, 3)] for price in old if price not in new]
    return [[price, size] for price, size in new.items() if old.get(price) != size] + gone


class DayFeed:
    """The last 24 hours, in full or in short."""

    def __init__(self, exchange: PaperExchange, contracts: list[Contract], full: bool, array: bool) -> None:
        self._exchange = exchange
        self._contracts = contracts
        self._full = full
        self._array = array
        self._cadence = Cadence(TICKER_EVERY_MS)

    def frames(self, now_ms: int) -> list[Frame]:
        """Return the figures once a second."""
        if not self._cadence.due(now_ms):
            return []
        made = (self._frame(contract.rules, now_ms) for contract in _listed(self._exchange, self._contracts))
        rows = [row for row in made if row]
        return [rows] if self._array and rows else [*rows]

    def _frame(self, rules: Instrument, now_ms: int) -> Json | None:
        day = self._exchange.charts.last_day(rules.symbol)
        if day is None:
            return None
        prices = {
            "c": price_text(day.close, rules),
            "o": price_text(day.open, rules),
            "h": price_text(day.high, rules),
            "l": price_text(day.low, rules),
            "v": fixed(day.volume, decimals_of(rules.step_size)),
            "q": fixed(day.quote_volume, 2),
        }
        if not self._full:
            return {"e": "24hrMiniTicker", "E": now_ms, "s": rules.symbol, **prices}
        change = Decimal(str(day.close)) - Decimal(str(day.open))
        ticks = self._exchange.ticks(rules.symbol, now_ms // MINUTE_MS * MINUTE_MS)
        return {
            "e": "24hrTicker",
            "E": now_ms,
            "s": rules.symbol,
            "p": price_text(change, rules),
            "P": fixed(change / Decimal(str(day.open)) * 100, 3),
            "w": price_text(mean_price(day), rules),
            "Q": fixed(ticks[-1].quantity if ticks else 0, decimals_of(rules.step_size)),
            **prices,
            "O": day.open_ms,
            "C": now_ms,
            "F": first_trade_id(day.open_ms),
            "L": first_trade_id(now_ms // MINUTE_MS * MINUTE_MS),
            "n": day.trades,
            "st": 1,
        }


def route_of(stream: str) -> str:
    """Return ``public`` or ``market``: the one route on which this stream flows."""
    name = stream[1:] if stream.startswith("!") else stream.partition("@")[2]
    return "public" if _PUBLIC.match(name) else "market"


def open_feed(exchange: PaperExchange, stream: str) -> StreamFeed | None:
    """Return the source of a stream, None for one without data."""
    if stream.startswith("!"):
        return _feed_of_all(exchange, *_kind(stream[1:]))
    name, _, rest = stream.partition("@")
    pair = name.removesuffix("_perpetual")
    contract = exchange.contracts.get(pair.upper()) if name.islower() else None
    if contract is None:
        return None
    kind, option = _kind(rest)
    if kind.startswith(("kline_", "continuousKline_")):
        word, _, interval = kind.partition("_")
        fits = interval in INTERVALS and (name != pair) == (word != "kline")
        return KlineFeed(exchange, contract, interval, word != "kline") if fits else None
    return _feed_of_one(exchange, contract, kind, option) if name == pair else None


def _kind(text: str) -> tuple[str, str]:
    kind, _, option = text.partition("@")
    return kind, option


def _feed_of_all(exchange: PaperExchange, kind: str, option: str) -> StreamFeed | None:
    contracts = list(exchange.contracts.values())
    if kind == "bookTicker":
        return BookTickerFeed(exchange, contracts)
    if kind == "markPrice" and option in ("arr", "arr@1s"):
        return MarkFeed(exchange, contracts, 1_000 if option == "arr@1s" else 3_000, array=True)
    if kind in ("ticker", "miniTicker") and option == "arr":
        return DayFeed(exchange, contracts, kind == "ticker", array=True)
    return None


def _feed_of_one(exchange: PaperExchange, contract: Contract, kind: str, option: str) -> StreamFeed | None:
    depth = _DEPTH.fullmatch(f"{kind}@{option}")
    if depth:
        return DepthFeed(exchange, contract, int(depth["levels"] or 0), max(1, int(depth["every"] or 250)))
    if kind == "markPrice" and option in ("", "1s"):
        return MarkFeed(exchange, [contract], 1_000 if option else 3_000, array=False)
    makers: dict[str, Callable[[], StreamFeed]] = {
        "aggTrade": lambda: TapeFeed(exchange, contract, aggregated=True),
        "trade": lambda: TapeFeed(exchange, contract, aggregated=False),
        "bookTicker": lambda: BookTickerFeed(exchange, [contract]),
        "ticker": lambda: DayFeed(exchange, [contract], full=True, array=False),
        "miniTicker": lambda: DayFeed(exchange, [contract], full=False, array=False),
    }
    return makers[kind]() if kind in makers and not option else None
