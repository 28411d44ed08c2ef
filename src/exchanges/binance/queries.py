"""Read-only REST calls: filters, prices, candles, account, fills, income."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from src.domain.clock import DAY_MS, ExchangeClock
from src.domain.costs import CostRates
from src.domain.errors import ExchangeUnavailable, OrderRefused, Rejection
from src.domain.funding import FundingRate, settled_ms
from src.domain.market import INTERVAL_MS, Candle, Instrument, MarkPrice
from src.domain.orders import Fill
from src.domain.portfolio import Account, Position
from src.domain.ports import AccountTerms, Income
from src.exchanges.binance.errors import INVALID_INTERVAL_CODE
from src.exchanges.binance.mapping import (
    MALFORMED,
    TRADE_INCOME,
    candle_of_row,
    cost_rates_of_answer,
    decimal,
    fill_of_row,
    income_of_row,
    instrument_of_row,
    mark_price_of_answer,
    open_interest_of_answer,
    position_of_row,
    risk_terms,
    terms_of_answers,
)
from src.exchanges.binance.rate_limiter import RateLimits, Urgency
from src.exchanges.binance.transport import BinanceTransport

Parsed = TypeVar("Parsed")

_PAGE = 1_500
_MONTH_MS = 30 * 86_400_000
_TRADES_PAGE = 1_000
_TRADES_SPAN_MS = 7 * DAY_MS - 1
_TRADES_KEPT_MS = 90 * DAY_MS
_SETTLEMENTS = 100
_EDGE_WALL_MS = 50  # how far our clock may be off: a last candle this fresh may still be open


@dataclass(frozen=True, slots=True)
class KeyPermissions:
    """Permissions of the API key other than trading."""

    withdraw: bool
    transfer: bool
    futures: bool
    address_bound: bool


class BinanceQueries:
    """The read-only methods of the port ``Exchange``; thread-safe.

    Args:
        wire: makes the calls.
        quote_asset: the asset of balances.
    """

    def __init__(self, wire: BinanceTransport, quote_asset: str = "USDT") -> None:
        self._wire, self._quote = wire, quote_asset
        self._instruments: dict[str, Instrument] = {}
        self._instruments_ms = 0
        self._costs: dict[str, tuple[int, CostRates]] = {}
        self._terms: dict[str, tuple[int, str]] = {}

    @property
    def clock(self) -> ExchangeClock:
        """The exchange's clock, kept by this client."""
        return self._wire.clock

    @property
    def wire(self) -> BinanceTransport:
        """The transport to the exchange: addresses, budget, round trip."""
        return self._wire

    @property
    def quote_asset(self) -> str:
        """The asset balances are told in."""
        return self._quote

    def sync_clock(self) -> None:
        """Take over the exchange's time now."""
        self._wire.sync_clock()

    def instrument(self, symbol: str) -> Instrument:
        """Return the contract's rules, read once a day; ``OrderRefused`` (``NOT_LISTED``) for one that is not listed.

        The ``status`` of a listed contract says whether it is trading.
        """
        now_ms = self.clock.now_ms()
        if not self._instruments or abs(now_ms - self._instruments_ms) >= DAY_MS:
            self._instruments = self._read(lambda client: client.futures_exchange_info(), 1, self._instruments_of)
            self._instruments_ms = self.clock.now_ms()
        found = self._instruments.get(symbol)
        if found is None:
            raise OrderRefused(-1121, f"{symbol} is not a contract that the exchange lists", Rejection.NOT_LISTED)
        return found

    def cost_rates(self, symbol: str) -> CostRates:
        """Return the account's own fees for the symbol, read once a day; the BNB discount is not in them."""
        now_ms = self.clock.now_ms()
        known = self._costs.get(symbol)
        if known is not None and abs(now_ms - known[0]) < DAY_MS:
            return known[1]
        rates = self._read(lambda client: client.futures_commission_rate(symbol=symbol), 20, cost_rates_of_answer)
        self._costs[symbol] = (now_ms, rates)
        return rates

    def candles(self, symbol: str, interval: str, limit: int) -> list[Candle]:
        """Return the last ``limit`` closed candles, oldest first, without gaps where the exchange has none."""
        found: dict[int, Candle] = {}
        end_ms: int | None = None
        while len(found) < limit:
            asked = min(_page(interval), limit - len(found) + 2)
            page, closed = self._kline_page(symbol, interval, asked, None, end_ms)
            found |= {candle.open_ms: candle for candle in closed}
            if len(page) < asked or not closed:
                break
            end_ms = page[0].open_ms - 1
        return [found[open_ms] for open_ms in sorted(found)][-limit:]

    def candles_since(self, symbol: str, interval: str, start_ms: int) -> list[Candle]:
        """Return the closed candles that open at ``start_ms`` or later, oldest first."""
        found: list[Candle] = []
        while True:
            most = _page(interval)
            asked = min(most, max((self.clock.now_ms() - start_ms) // INTERVAL_MS[interval] + 2, 2))
            page, closed = self._kline_page(symbol, interval, asked, start_ms, None)
            found += closed
            if len(page) < asked or not closed:
                return found
            start_ms = page[-1].open_ms + INTERVAL_MS[interval]

    def funding_rates(self, symbol: str) -> list[FundingRate]:
        """Return the newest settlements of funding, oldest first, as far as one answer tells them."""
        rows = self._read(lambda client: client.futures_funding_rate(symbol=symbol, limit=_SETTLEMENTS), 1, list)
        found = self._parsed(
            lambda: [FundingRate(settled_ms(int(row["fundingTime"])), float(row["fundingRate"])) for row in rows]
        )
        return sorted(found)

    def mark_price(self, symbol: str) -> MarkPrice:
        """Return the present mark price."""
        return self._read(lambda client: client.futures_mark_price(symbol=symbol), 1, mark_price_of_answer)

    def best_prices(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Return the best bid and the best ask."""
        return self._read(
            lambda client: client.futures_orderbook_ticker(symbol=symbol),
            2,
            lambda row: (Decimal(row["bidPrice"]), Decimal(row["askPrice"])),
        )

    def open_interest(self, symbol: str) -> Decimal:
        """Return how many contracts are open, in base currency."""
        return self._read(lambda client: client.futures_open_interest(symbol=symbol), 1, open_interest_of_answer)

    def account(self) -> Account:
        """Return balances and open positions, asked for now; ``as_of_ms`` is the instant before the question."""
        as_of_ms = self.clock.now_ms()
        answer = self._read(lambda client: client.futures_account(), 5, dict, Urgency.EXIT)
        positions = self._parsed(self._positions_if_any, answer)
        balance = self._parsed(lambda: next(each for each in answer["assets"] if each["asset"] == self._quote))
        return self._parsed(
            lambda: Account(
                decimal(balance["walletBalance"]),
                decimal(balance["availableBalance"]),
                sum((each.unrealized_pnl for each in positions if each.asset == self._quote), start=decimal(0)),
                as_of_ms,
                positions,
            )
        )

    def terms(self, symbol: str) -> tuple[int, str]:
        """Return leverage and margin type of the symbol as last read or set; Binance's defaults before that."""
        return self._terms.get(symbol, (20, "CROSSED"))

    def told_terms(self, symbol: str) -> tuple[int, str] | None:
        """Return leverage and margin type as last reported by a response or event; None before the first."""
        return self._terms.get(symbol)

    def note_leverage(self, symbol: str, leverage: int) -> None:
        """Take note of an event that tells the leverage of a contract."""
        self._terms[symbol] = (leverage, self.terms(symbol)[1])

    def ask_terms(self, symbol: str) -> AccountTerms:
        """Return what is set for the contract, asked for now."""
        account = self._read(lambda client: client.futures_account_config(), 5, dict)
        rows = self._read(lambda client: client.futures_symbol_config(symbol=symbol), 5, list)
        found = self._parsed(lambda: terms_of_answers(next(row for row in rows if row["symbol"] == symbol), account))
        self._terms[symbol] = (found.leverage, found.margin_type)
        return found

    def reread_rules(self) -> None:
        """Let the next ``instrument`` ask the exchange anew."""
        self._instruments = {}

    def fills(self, symbol: str, since_ms: int) -> list[Fill]:
        """Return the account's executions from ``since_ms`` on, oldest first."""
        found: dict[str, Fill] = {}
        start_ms = max(since_ms, self.clock.now_ms() - _TRADES_KEPT_MS)
        while start_ms <= self.clock.now_ms():
            end_ms = start_ms + _TRADES_SPAN_MS
            page = self._trades(symbol=symbol, startTime=start_ms, endTime=end_ms, limit=_TRADES_PAGE)
            found |= {fill.trade_id: fill for fill in page}
            full = len(page) == _TRADES_PAGE and page[-1].time_ms > start_ms
            start_ms = page[-1].time_ms if full else end_ms + 1
        return sorted(found.values(), key=age)

    def income(self, since_ms: int) -> list[Income]:
        """Return funding, transfers and the like from ``since_ms`` on, oldest first."""
        found: dict[tuple[str, str, str], Income] = {}
        start_ms = since_ms
        while True:
            rows = self._income_page(start_ms)
            found |= {(each.kind, each.symbol, each.transaction_id): each for each in rows}
            newest_ms = max((each.time_ms for each in rows), default=start_ms)
            if len(rows) < _TRADES_PAGE or newest_ms == start_ms:
                wanted = (each for each in found.values() if each.kind not in TRADE_INCOME)
                return sorted(wanted, key=lambda each: each.time_ms)
            start_ms = newest_ms

    def api_restrictions(self) -> KeyPermissions:
        """Return the key's permissions other than trading (available on the live exchange only)."""
        return self._read(
            lambda client: client.get_account_api_permissions(),
            1,
            lambda answer: KeyPermissions(
                withdraw=bool(answer["enableWithdrawals"]),
                transfer=bool(answer["enableInternalTransfer"] or answer["permitsUniversalTransfer"]),
                futures=bool(answer["enableFutures"]),
                address_bound=bool(answer["ipRestrict"]),
            ),
        )

    def new_listen_key(self) -> str:
        """Return the listen key of the user stream; a valid one is returned with its validity extended."""
        return self._read(lambda client: client.futures_stream_get_listen_key(), 1, str)

    def keep_listen_key(self, key: str) -> None:
        """Extend the key's validity by an hour; ``OrderRefused`` (-1125) if it has expired."""
        self._wire.read(lambda client: client.futures_stream_keepalive(key), 1)

    def _instruments_of(self, answer: Mapping[str, Any]) -> dict[str, Instrument]:
        self._wire.budget.set_limits(_limits_of(answer.get("rateLimits", [])))
        return {
            row["symbol"]: instrument_of_row(row) for row in answer["symbols"] if row["contractType"] == "PERPETUAL"
        }

    def _positions_if_any(self, answer: Mapping[str, Any]) -> tuple[Position, ...]:
        """Return the open positions; a flat account needs no second request."""
        self._terms |= risk_terms(answer["positions"])
        if not any(decimal(row["positionAmt"]) for row in answer["positions"]):
            return ()
        rows = self._read(lambda client: client.futures_position_information(), 5, list, Urgency.EXIT)
        seen = (position_of_row(row, *self.terms(row["symbol"])) for row in rows)
        return tuple(each for each in seen if each is not None)

    def _kline_page(
        self, symbol: str, interval: str, limit: int, start_ms: int | None, end_ms: int | None
    ) -> tuple[list[Candle], list[Candle]]:
        """Return a page unchanged, and without its open candle.

        A candle is closed if a later one exists; for the last one only the clock can tell.
        """
        weight = 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1_000 else 10
        asked_ms = self.clock.now_ms()
        page = self._read(
            lambda client: client.futures_klines(
                symbol=symbol, interval=interval, limit=limit, startTime=start_ms, endTime=end_ms
            ),
            weight,
            lambda rows: [candle_of_row(row) for row in rows],
        )
        sure_ms = asked_ms - int(_EDGE_WALL_MS * max(self.clock.speed, 1.0))
        still_open = bool(page) and page[-1].open_ms + INTERVAL_MS[interval] > sure_ms
        return page, page[:-1] if still_open else page

    def _trades(self, **asked: object) -> list[Fill]:
        return self._read(
            lambda client: client.futures_account_trades(**asked),
            5,
            lambda rows: [fill_of_row(row) for row in rows],
            Urgency.EXIT,
        )

    def _income_page(self, start_ms: int) -> list[Income]:
        return self._read(
            lambda client: client.futures_income_history(startTime=start_ms, limit=_TRADES_PAGE),
            30,
            lambda rows: [income_of_row(row) for row in rows],
        )

    def _read(
        self,
        ask: Callable[[Any], Any],
        weight: int,
        parse: Callable[[Any], Parsed],
        urgency: Urgency = Urgency.ROUTINE,
    ) -> Parsed:
        return self._parsed(parse, self._wire.read(ask, weight, urgency))

    def _parsed(self, parse: Callable[..., Parsed], *answer: object) -> Parsed:
        try:
            return parse(*answer)
        except (*MALFORMED, StopIteration) as error:
            raise ExchangeUnavailable(
                f"the exchange's answer makes no sense: {type(error).__name__}: {error}"
            ) from error


def _limits_of(rows: list[Mapping[str, Any]]) -> RateLimits:
    stated = {(row["rateLimitType"], row["interval"], int(row["intervalNum"])): int(row["limit"]) for row in rows}
    default = RateLimits()
    return RateLimits(
        stated.get(("REQUEST_WEIGHT", "MINUTE", 1), default.weight_1m),
        stated.get(("ORDERS", "SECOND", 10), default.orders_10s),
        stated.get(("ORDERS", "MINUTE", 1), default.orders_1m),
    )


def age(fill: Fill) -> tuple[int, int]:
    """Return what fills are sorted by: instant, then id."""
    return fill.time_ms, int(fill.trade_id)


def _page(interval: str) -> int:
    """Return how many candles are asked for at once: a market of our own makes long ones of minutes, month by month."""
    if interval not in INTERVAL_MS:
        raise OrderRefused(INVALID_INTERVAL_CODE, f"{interval} is not an interval: use one of {', '.join(INTERVAL_MS)}")
    return min(_PAGE, max(_MONTH_MS // INTERVAL_MS[interval], 60))
