"""The paper exchange's venue as an ``Exchange`` and a ``MarketFeed``, in process and without waiting."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import groupby

from src.domain.clock import MINUTE_MS, ManualClock
from src.domain.costs import CostRates
from src.domain.errors import OrderRefused, Rejection
from src.domain.market import INTERVAL_MS, Candle, Instrument, MarkPrice
from src.domain.orders import Fill, Order, OrderIntent, OrderKind, OrderStatus, Side, finished_status
from src.domain.portfolio import Account, Direction, Position
from src.domain.ports import AccountTerms, Income, IncomeKind
from src.paper_exchange.model import AlgoOrder, AlgoRequest, OrderRequest, VenueError, VenueOrder, VenueTrade
from src.paper_exchange.venue import Venue
from src.strategy.timeframes import joined

_ALGO_STATUS = {
    "NEW": OrderStatus.NEW,
    "TRIGGERING": OrderStatus.TRIGGERING,
    "TRIGGERED": OrderStatus.TRIGGERING,
    "CANCELED": OrderStatus.CANCELED,
    "EXPIRED": OrderStatus.EXPIRED,
    "REJECTED": OrderStatus.REJECTED,
}


class VenueExchange:
    """One account of a venue. Time is the clock's: every call lets the venue catch up with it first.

    ``history`` maps each symbol to its closed candles so far; the driver of the time appends to it.
    """

    def __init__(self, venue: Venue, account: str, clock: ManualClock, history: dict[str, list[Candle]]) -> None:
        self._venue = venue
        self._account_name = account
        self._clock = clock
        self._history = history
        self._last_account: tuple[tuple[int, ...], Account] | None = None
        venue.open_account(account)

    def instrument(self, symbol: str) -> Instrument:
        """Return the contract's rules."""
        contract = self._venue.contracts.get(symbol)
        if contract is None:
            raise OrderRefused(-1121, "Invalid symbol.", Rejection.NOT_LISTED)
        return contract.rules

    def cost_rates(self, symbol: str) -> CostRates:
        """Return the account's fees."""
        maker, taker = self._venue.commission(self._account_name, symbol)
        return CostRates(taker_share=taker, maker_share=maker)

    def reread_rules(self) -> None:
        """Nothing to forget: the venue is asked each time."""

    def told_terms(self, symbol: str) -> tuple[int, str] | None:
        """Return None: a venue in process tells nothing by itself, it is asked before each entry."""
        return None

    def ask_terms(self, symbol: str) -> AccountTerms:
        """Return what is set for the contract now."""
        (row,) = self._venue.symbol_configs(self._account_name, symbol)
        hedge = self._venue.dual_side(self._account_name)
        return AccountTerms(row.leverage, row.margin_type, not hedge, not self._venue.multi_assets(self._account_name))

    def prepare(self, symbol: str, leverage: int, margin_type: str) -> None:
        """Set one-way mode, margin type and leverage where they are others."""
        held = self.ask_terms(symbol)
        try:
            if not held.one_way:
                self._venue.set_position_mode(self._account_name, False)
            if held.margin_type != margin_type:
                self._venue.set_margin_type(self._account_name, symbol, margin_type)
            if held.leverage != leverage:
                self._venue.set_leverage(self._account_name, symbol, leverage)
        except VenueError as error:
            raise _refusal(error) from error

    def candles(self, symbol: str, interval: str = "1m", limit: int = 1_500) -> list[Candle]:
        """Return the last closed candles, longer ones made of whole minutes."""
        if interval not in INTERVAL_MS:
            raise OrderRefused(-1120, "Invalid interval.")
        minutes, step_ms = self._history[symbol], INTERVAL_MS[interval]
        return minutes[-limit:] if step_ms == MINUTE_MS else _longer(minutes, step_ms)[-limit:]

    def mark_price(self, symbol: str) -> MarkPrice:
        """Return the venue's mark price now."""
        self._catch_up()
        seen = self._venue.premium(symbol)
        return MarkPrice(symbol, seen.mark, seen.index, seen.funding_rate, seen.next_funding_ms, self._clock.now_ms())

    def best_prices(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Return the venue's best bid and ask now."""
        self._catch_up()
        now_ms = self._clock.now_ms()
        bid, ask = (self._venue.quotes.best_price(symbol, side, now_ms) for side in ("SELL", "BUY"))
        return bid, ask

    def account(self) -> Account:
        """Return balances and open positions."""
        self._catch_up()
        version = self._venue.version(self._account_name)
        if self._last_account is None or self._last_account[0] != version:
            self._last_account = version, self._account_now()
        return self._last_account[1]

    def _account_now(self) -> Account:
        wallet, available, unrealized = self._venue.purse(self._account_name)
        return Account(
            wallet_balance=wallet,
            available_balance=available,
            unrealized_pnl=unrealized,
            as_of_ms=self._clock.now_ms(),
            positions=tuple(
                Position(
                    symbol=row.symbol,
                    direction=Direction.LONG if row.amount > 0 else Direction.SHORT,
                    quantity=abs(row.amount),
                    entry_price=row.entry_price,
                    mark_price=row.mark_price,
                    unrealized_pnl=row.unrealized,
                    leverage=row.leverage,
                    liquidation_price=row.liquidation_price or None,
                    updated_ms=row.updated_ms,
                    margin_type=row.margin_type,
                    position_side=row.position_side,
                )
                for row in self._venue.held(self._account_name)
            ),
        )

    def open_orders(self, symbol: str) -> list[Order]:
        """Return open regular and conditional orders."""
        self._catch_up()
        regular = [_order(each) for each in self._venue.open_orders(self._account_name, symbol)]
        return regular + [_algo(each) for each in self._venue.open_algo_orders(self._account_name, symbol)]

    def conditional_orders(self, symbol: str) -> list[Order]:
        """Return open conditional orders."""
        self._catch_up()
        return [_algo(each) for each in self._venue.open_algo_orders(self._account_name, symbol)]

    def order_history(self, symbol: str, since_ms: int) -> list[Order]:
        """Return regular orders made from ``since_ms`` on."""
        self._catch_up()
        found = self._venue.all_orders(self._account_name, symbol, start_ms=since_ms, limit=1_000_000)
        return [_order(each) for each in found]

    def send(self, intent: OrderIntent) -> Order:
        """Place the order."""
        self._catch_up()
        try:
            if intent.kind.conditional:
                return _algo(self._venue.place_algo(self._account_name, _algo_request(intent)))
            return _order(self._venue.place_order(self._account_name, _request(intent)))
        except VenueError as error:
            raise _refusal(error) from error

    def find_order(self, intent: OrderIntent) -> Order | None:
        """Return the order of that client id, or None."""
        self._catch_up()
        try:
            if intent.kind.conditional:
                return _algo(self._venue.algo_order(self._account_name, client_id=intent.client_id))
            return _order(self._venue.order(self._account_name, intent.symbol, client_id=intent.client_id))
        except VenueError as error:
            if error.code == -2013:
                return None
            raise _refusal(error) from error

    def cancel(self, order: Order) -> None:
        """Cancel; what is gone counts as cancelled."""
        self._catch_up()
        try:
            if order.kind.conditional:
                self._venue.cancel_algo(self._account_name, client_id=order.client_id)
            else:
                self._venue.cancel_order(self._account_name, order.symbol, client_id=order.client_id)
        except VenueError as error:
            if error.code != -2011:
                raise _refusal(error) from error

    def fills(self, symbol: str, since_ms: int) -> list[Fill]:
        """Return executions from ``since_ms`` on."""
        self._catch_up()
        trades = self._venue.trades(self._account_name, symbol, start_ms=since_ms, limit=1_000)
        return [fill_of(each) for each in trades]

    def order_fills(self, order: Order) -> list[Fill]:
        """Return the executions of one order, or of the order its trigger made."""
        order_id = order.spawned_id if order.kind.conditional else order.order_id
        if not order_id:
            return []
        trades = self._venue.trades(self._account_name, order.symbol, order_id=int(order_id), limit=1_000)
        return [fill_of(each) for each in trades if each.order_id == int(order_id)]

    def income(self, since_ms: int) -> list[Income]:
        """Return funding, transfers and the like."""
        self._catch_up()
        rows = self._venue.income(self._account_name, start_ms=since_ms, limit=1_000)
        return [
            Income(
                r.kind, r.symbol, r.amount, r.asset, r.time_ms, str(r.tran_id), _PURPOSES.get(r.kind, IncomeKind.OTHER)
            )
            for r in rows
        ]

    def _catch_up(self) -> None:
        self._venue.advance(self._clock.now_ms())


class VenueFeed:
    """What flows in from a venue in process: always as fresh as the clock."""

    def __init__(self, exchange: VenueExchange, history: dict[str, list[Candle]]) -> None:
        self._exchange = exchange
        self._history = history

    def candles(self, symbol: str) -> Sequence[Candle]:
        """Return all closed candles so far."""
        return self._history[symbol]

    def mark_price(self, symbol: str) -> MarkPrice | None:
        """Return the mark price now."""
        return self._exchange.mark_price(symbol)

    def account(self) -> Account | None:
        """Return the account now."""
        return self._exchange.account()


def _longer(minutes: Sequence[Candle], step_ms: int) -> list[Candle]:
    """Return the whole candles of ``step_ms`` that are made of ``minutes``; those cut short are left out."""
    if not minutes:
        return []
    begins_ms, ends_ms = minutes[0].open_ms, minutes[-1].open_ms + MINUTE_MS
    groups = groupby(minutes, key=lambda each: each.open_ms // step_ms * step_ms)
    return [joined(at, list(rows)) for at, rows in groups if begins_ms <= at and at + step_ms <= ends_ms]


_REJECTIONS = {
    -5022: Rejection.WOULD_TAKE,
    -2021: Rejection.WOULD_TRIGGER,
    -4116: Rejection.DUPLICATE_ID,
    -4130: Rejection.ANOTHER_STANDS,
    -2022: Rejection.NOTHING_TO_REDUCE,
    -4509: Rejection.NOTHING_TO_REDUCE,
    -2011: Rejection.NO_SUCH_ORDER,
    -2013: Rejection.NO_SUCH_ORDER,
    -1121: Rejection.NOT_LISTED,
    **dict.fromkeys(
        (-1111, -4001, -4002, -4003, -4004, -4005, -4013, -4014, -4023, -4140, -4141, -4164), Rejection.CONTRACT_RULES
    ),
    **dict.fromkeys((-2027, -2028, -4028, -4047, -4048, -4061, -4067, -4068, -4161, -4168), Rejection.ACCOUNT_TERMS),
}
_PURPOSES = {"FUNDING_FEE": IncomeKind.FUNDING, "INSURANCE_CLEAR": IncomeKind.INSURANCE}


def _refusal(error: VenueError) -> OrderRefused:
    return OrderRefused(error.code, error.msg, _REJECTIONS.get(error.code, Rejection.OTHER))


def _request(intent: OrderIntent) -> OrderRequest:
    return OrderRequest(
        symbol=intent.symbol,
        side=intent.side.value,
        type="LIMIT" if intent.kind is OrderKind.POST_ONLY else intent.kind.value,
        price=intent.price,
        time_in_force="GTX" if intent.kind is OrderKind.POST_ONLY else "",
        quantity=intent.quantity,
        reduce_only=intent.reduce_only,
        client_id=intent.client_id,
    )


def _algo_request(intent: OrderIntent) -> AlgoRequest:
    return AlgoRequest(
        symbol=intent.symbol,
        side=intent.side.value,
        type=intent.kind.value,
        quantity=None if intent.close_position else intent.quantity,
        trigger_price=intent.trigger_price,
        reduce_only=intent.reduce_only or None,
        close_position=intent.close_position,
        working_type="MARK_PRICE",
        client_id=intent.client_id,
    )


def _regular_kind(order: VenueOrder) -> OrderKind:
    if order.type == "LIMIT" and order.time_in_force == "GTX":
        return OrderKind.POST_ONLY
    return OrderKind.MARKET if order.type == "MARKET" else OrderKind.FOREIGN


def _order(order: VenueOrder) -> Order:
    return Order(
        client_id=order.client_id,
        order_id=str(order.order_id),
        symbol=order.symbol,
        side=Side(order.side),
        kind=_regular_kind(order),
        status=OrderStatus(order.status),
        quantity=order.quantity,
        executed_quantity=order.executed,
        average_price=order.average_price,
        updated_ms=order.updated_ms,
        reduce_only=order.reduce_only,
        close_position=order.close_position,
        price=order.price or None,
    )


def _algo(order: AlgoOrder) -> Order:
    known = order.type in (OrderKind.STOP_MARKET, OrderKind.TAKE_PROFIT_MARKET)
    return Order(
        client_id=order.client_id,
        order_id=str(order.algo_id),
        symbol=order.symbol,
        side=Side(order.side),
        kind=OrderKind(order.type) if known else OrderKind.FOREIGN_CONDITIONAL,
        status=_algo_status(order),
        quantity=order.quantity,
        executed_quantity=order.actual_quantity,
        average_price=order.actual_price,
        updated_ms=order.updated_ms,
        reduce_only=order.reduce_only,
        close_position=order.close_position,
        trigger_price=order.trigger_price or None,
        spawned_id=str(order.actual_order_id) if order.actual_order_id else "",
    )


def _algo_status(order: AlgoOrder) -> OrderStatus:
    if order.status == "FINISHED":
        return finished_status(order.quantity, order.actual_quantity)
    return _ALGO_STATUS[order.status]


def fill_of(trade: VenueTrade) -> Fill:
    """Return a trade of the venue as a fill."""
    return Fill(
        trade_id=str(trade.trade_id),
        order_id=str(trade.order_id),
        symbol=trade.symbol,
        side=Side(trade.side),
        price=trade.price,
        quantity=trade.quantity,
        fee=trade.commission,
        fee_asset=trade.commission_asset,
        realized_pnl=trade.realized_pnl,
        time_ms=trade.time_ms,
        maker=trade.maker,
        client_id=trade.client_id,
    )
