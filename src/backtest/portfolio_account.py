"""One account on the venue in process, trading several pairs: orders, disaster stops, bookkeeping."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from src.backtest.portfolio_setup import PortfolioSetup, contracts_of
from src.backtest.portfolio_trades import PairBook
from src.backtest.venue_exchange import VenueExchange, fill_of
from src.domain.clock import ManualClock
from src.domain.market import Instrument
from src.domain.orders import Order, OrderIntent, OrderKind, Purpose, Side, client_id
from src.domain.portfolio import Direction, Position
from src.domain.risk import early_stop_price, stop_price
from src.paper_exchange.events import AccountUpdate, OrderUpdate
from src.paper_exchange.model import VenueTrade
from src.paper_exchange.prices import PriceSource
from src.paper_exchange.venue import Venue
from src.strategy.evidence import EntryRestraint
from src.strategy.order_plan import Holding, PlannedOrder, PortfolioPlan, plan_portfolio
from src.strategy.targets import Target

ACCOUNT = "backtest"
_MINUTE_MS = 60_000


class PortfolioAccount:
    """The account. Whoever drives it says what time it is (``advance``); every call is about that instant."""

    def __init__(self, market: PriceSource, setup: PortfolioSetup, first_ms: int) -> None:
        self._market = market
        self._limits = setup.limits.risk_limits()
        self.clock = ManualClock(first_ms)
        contracts = contracts_of(market.symbols, setup.data)
        self.instruments: dict[str, Instrument] = {symbol: each.rules for symbol, each in contracts.items()}
        self.venue = Venue(
            market, first_ms - _MINUTE_MS, contracts=contracts, balance=setup.balance,
            maker_share=setup.maker_share, taker_share=setup.taker_share,
        )  # fmt: skip
        self.exchange = VenueExchange(self.venue, ACCOUNT, self.clock, {})
        self._margin_type = setup.margin_type
        self._prepared: set[str] = set()
        self.books = {symbol: PairBook(symbol, self._limits.leverage) for symbol in market.symbols}
        self._reasons: dict[str, str] = {}
        self._stops: dict[str, Order] = {}
        self._attempt = 0

    def state(self) -> dict[str, Any]:
        """Return what another account needs to go on from here, as plain JSON values."""
        books = {symbol: [str(book.amount), str(book.cash)] for symbol, book in self.books.items()}
        return {"venue": self.venue.snapshot(), "attempt": self._attempt, "books": books}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned; a round trip under way begins anew at its present amount."""
        self.venue.restore(saved["venue"])
        self._attempt = int(saved["attempt"])
        for symbol, book in self.books.items():
            stops = [each for each in self.exchange.open_orders(symbol) if each.kind is OrderKind.STOP_MARKET]
            self._stops.update((symbol, each) for each in stops)
            amount, cash = saved["books"].get(symbol, ("0", "0"))
            book.amount, book.cash = Decimal(amount), Decimal(cash)

    def advance(self, to_ms: int) -> None:
        """Let it be ``to_ms``, and book what happened on the way."""
        if to_ms > self.clock.now_ms():
            self.clock.advance_to(to_ms)
        self.venue.advance(to_ms)
        self._book()

    def equity(self) -> Decimal:
        """Return what the account is worth at the mark price."""
        return self.exchange.account().equity

    def worth_at(self, prices: Mapping[str, Decimal]) -> Decimal:
        """Return what the account is worth with its positions valued at ``prices``."""
        account = self.exchange.account()
        return account.wallet_balance + sum(
            (each.pnl_at(prices[each.symbol]) for each in account.positions), Decimal(0)
        )

    def rebalance(
        self,
        targets: Sequence[Target],
        prices: Mapping[str, Decimal],
        refused: str,
        restraints: Mapping[str, EntryRestraint],
    ) -> tuple[Decimal, PortfolioPlan]:
        """Bring the account to its targets; return what it was worth before, and what was planned and sent.

        Args:
            targets: those of pairs that have a price.
            prices: closes of the last candles, at which everything is valued.
            refused: why nothing may be opened or increased now, in words; empty when it may.
            restraints: what evidence allows of entries, by pair.
        """
        equity, positions = self.worth_at(prices), self.positions()
        holdings = {
            each.symbol: Holding(
                _signed(positions.get(each.symbol)), prices[each.symbol], self.instruments[each.symbol]
            )
            for each in targets
        }
        plan = plan_portfolio(targets, holdings, equity, self._limits.leverage, refused, restraints=restraints)
        for order in plan.orders:
            self.execute(order)
        return equity, plan

    def positions(self) -> dict[str, Position]:
        """Return the open positions by symbol."""
        return {each.symbol: each for each in self.exchange.account().positions}

    def execute(self, order: PlannedOrder) -> None:
        """Send one planned order, book its fills, and let the stop follow the position."""
        purpose = Purpose.EXIT if order.reduces else Purpose.ENTRY
        reason = "target" if order.reduces else "entry"
        self._send_market(order.symbol, order.side, order.quantity, purpose, reason)

    def close(self, symbol: str, reason: str) -> None:
        """Close the whole position by market."""
        position = self.positions().get(symbol)
        if position is not None:
            side = position.direction.entry_side.opposite
            self._send_market(symbol, side, position.quantity, Purpose.EXIT, reason)

    def early_stop(self, symbol: str) -> Decimal | None:
        """Return the mark price at which the position is closed without waiting for its stop; None when flat."""
        position = self.positions().get(symbol)
        return None if position is None else early_stop_price(position.entry_price, position.direction, self._limits)

    def _send_market(self, symbol: str, side: Side, quantity: Decimal, purpose: Purpose, reason: str) -> None:
        intent = OrderIntent(
            client_id=self._new_id(symbol, purpose),
            symbol=symbol,
            side=side,
            kind=OrderKind.MARKET,
            purpose=purpose,
            quantity=quantity,
            decided_ms=self.clock.now_ms(),
            reduce_only=purpose is Purpose.EXIT,
            reason=reason,
        )
        self._reasons[intent.client_id] = reason
        if symbol not in self._prepared:  # a pair may be listed only after the run began
            self.exchange.prepare(symbol, self._limits.leverage, self._margin_type)
            self._prepared.add(symbol)
        self.exchange.send(intent)
        self._book()
        self.stand_stop(symbol)

    def stand_stop(self, symbol: str) -> None:
        """Let the pair's disaster stop stand where the average entry price wants it, for the whole position."""
        position, standing = self.positions().get(symbol), self._stops.get(symbol)
        if position is None:
            if standing is not None:
                self.exchange.cancel(standing)
                del self._stops[symbol]
            return
        trigger = stop_price(position.entry_price, position.direction, self._limits, self.instruments[symbol])
        if standing is not None and standing.trigger_price == trigger:
            return
        if standing is not None:
            self.exchange.cancel(standing)
        self._stops[symbol] = self.exchange.send(self._stop_intent(symbol, position.direction, trigger))

    def _stop_intent(self, symbol: str, direction: Direction, trigger: Decimal) -> OrderIntent:
        return OrderIntent(
            client_id=self._new_id(symbol, Purpose.STOP),
            symbol=symbol,
            side=direction.entry_side.opposite,
            kind=OrderKind.STOP_MARKET,
            purpose=Purpose.STOP,
            quantity=Decimal(0),
            decided_ms=self.clock.now_ms(),
            trigger_price=trigger,
            close_position=True,
        )

    def _new_id(self, symbol: str, purpose: Purpose) -> str:
        self._attempt += 1
        return client_id(ACCOUNT, symbol, self.clock.now_ms(), purpose, self._attempt)

    def _book(self) -> None:
        """Take in the fills and the funding that the exchange tells of, in their order."""
        for event in self.venue.drain():
            if isinstance(event, OrderUpdate) and event.trade is not None:
                self._take_fill(event.trade)
            elif isinstance(event, AccountUpdate) and event.reason == "FUNDING_FEE":
                self.books[event.symbol].take_funding(event.balances[0].change, event.time_ms)

    def _take_fill(self, trade: VenueTrade) -> None:
        reason = self._reasons.get(trade.client_id, "")
        if not reason:
            reason = "liquidation" if trade.client_id.startswith("autoclose-") else "stop_loss"
            self._stops.pop(trade.symbol, None)
        self.books[trade.symbol].take(fill_of(trade), reason, self._open_at(trade.symbol, trade.time_ms))

    def _open_at(self, symbol: str, time_ms: int) -> float:
        """Return the open of the minute of a fill: what slippage is measured against."""
        candle = self._market.candle(symbol, time_ms - time_ms % _MINUTE_MS)
        return float("nan") if candle is None else candle.open


def _signed(position: Position | None) -> Decimal:
    return Decimal(0) if position is None else position.quantity * position.direction.sign
