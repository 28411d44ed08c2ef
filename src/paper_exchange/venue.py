"""The venue: the whole exchange without I/O, as its callers see it."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any

from src.domain.market import Candle
from src.paper_exchange import account_settings, conditional, listing, margin, matching, queries, state
from src.paper_exchange.accounts import AccountLedger, Accounts
from src.paper_exchange.contracts import CONTRACTS, Contract
from src.paper_exchange.events import Event
from src.paper_exchange.model import (
    ZERO,
    AccountView,
    AlgoOrder,
    AlgoRequest,
    Book,
    Changes,
    IncomeRow,
    OrderRequest,
    PositionView,
    Premium,
    Refusal,
    SymbolConfig,
    VenueOrder,
    VenueTrade,
)
from src.paper_exchange.prices import Prices, PriceSource
from src.paper_exchange.quiet_band import OPEN_BAND, bands_of
from src.paper_exchange.timeline import Timeline


class Venue:
    """One exchange with any number of accounts, one per API key. Call ``advance`` before you ask or order."""

    def __init__(
        self,
        market: PriceSource,
        start_ms: int,
        *,
        contracts: Mapping[str, Contract] = CONTRACTS,
        balance: Decimal = Decimal(10_000),
        maker_share: Decimal = Decimal("0.0002"),
        taker_share: Decimal = Decimal("0.0005"),
    ) -> None:
        listed = {symbol: contracts[symbol] for symbol in market.symbols if symbol in contracts}
        self.quotes = Prices(market, listed)
        self._accounts = Accounts(self.quotes, listed, start_ms, balance, maker_share, taker_share)
        self._timeline = Timeline(self._accounts)

    @property
    def now_ms(self) -> int:
        """The instant up to which everything has happened."""
        return self._accounts.now_ms

    @property
    def contracts(self) -> Mapping[str, Contract]:
        """The contracts listed: those of which the market has prices."""
        return self._accounts.contracts

    # time and state
    def advance(self, to_ms: int) -> None:
        """Let everything until and including ``to_ms`` happen, in order; earlier instants are ignored."""
        if to_ms > self._accounts.now_ms:
            self._timeline.run(to_ms)

    def calm_band(self, symbol: str) -> tuple[float, float]:
        """Return between which prices (last and mark) nothing can happen to anybody's orders and positions now."""
        band = bands_of(self._accounts).get(symbol, OPEN_BAND)
        return band.low, band.high

    def drain(self) -> list[Event]:
        """Return the events since the last call, in the real order, and forget them."""
        events, self._accounts.events = self._accounts.events, []
        return events

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state as plain JSON values."""
        return state.snapshot(self._accounts)

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a state that ``snapshot`` returned."""
        state.restore(self._accounts, saved)

    # market
    def last_price(self, symbol: str) -> Decimal:
        """Return the last price, on the tick."""
        return self._accounts.last_price(self._listed(symbol))

    def premium(self, symbol: str) -> Premium:
        """Return mark, index and funding."""
        accounts, now = self._accounts, self._accounts.now_ms
        mark = accounts.mark(self._listed(symbol))
        settle_ms = accounts.quotes.next_funding_ms(symbol, now)
        return Premium(symbol, mark, mark, accounts.quotes.funding_rate(symbol, settle_ms), settle_ms, now - now % 1000)

    def book(self, symbol: str, limit: int = 20) -> Book:
        """Return the best ``limit`` levels of each side."""
        accounts = self._accounts
        self._listed(symbol)
        infinite = Decimal("Infinity")
        bids = islice(accounts.depth(symbol, "SELL", ZERO), limit)
        asks = islice(accounts.depth(symbol, "BUY", infinite), limit)
        return Book(symbol, tuple(bids), tuple(asks), accounts.now_ms, accounts.now_ms)

    def running_candle(self, symbol: str) -> Candle:
        """Return the present minute as far as it has gone."""
        return self._accounts.quotes.running_candle(self._listed(symbol), self._accounts.now_ms)

    def shock(self, symbol: str, factor: float) -> None:
        """Multiply all prices of ``symbol`` by ``factor`` from the next whole second on (a fault for tests)."""
        self._accounts.quotes.shock(self._listed(symbol), (self._accounts.now_ms // 1000 + 1) * 1000, factor)
        self._accounts.changed = True

    def change_contract(self, symbol: str, contract: Contract | None) -> None:
        """Put other rules in force, or take the contract off the list after its positions were settled (None)."""
        listing.put(self._accounts, self._listed(symbol), contract)

    def hold_triggers(self, count: int) -> None:
        """Let the next ``count`` triggered conditional orders stay in TRIGGERING (a fault for tests)."""
        self._accounts.held_triggers = count

    # accounts
    def open_account(self, account: str) -> None:
        """Open the account with the starting balance; nothing happens when it exists."""
        if account not in self._accounts.ledgers:
            wallet = {"USDT": self._accounts.balance, "BNB": ZERO}
            self._accounts.ledgers[account] = AccountLedger(account, wallet, updated_ms=self._accounts.now_ms)

    def accounts(self) -> tuple[str, ...]:
        """Return the accounts' keys in the order of opening."""
        return tuple(self._accounts.ledgers)

    def transfer(self, account: str, asset: str, amount: Decimal) -> int:
        """Move ``amount`` of USDT or BNB in (or out, negative) and return the transaction's id; -4050 if short."""
        return account_settings.transfer(self._accounts, self._ledger(account), asset, amount)

    def transferred(self, account: str) -> Decimal:
        """Return the USDT moved in, less what was moved out, since the account was opened."""
        return self._ledger(account).transferred

    def account(self, account: str) -> AccountView:
        """Return balances, totals and all positions."""
        ledger = self._ledger(account)
        total = margin.usdt_view(self._accounts, ledger)
        return AccountView(
            total=total,
            balances=(total, margin.plain_view(ledger, "BNB")),
            positions=self.positions(account),
            dual_side=ledger.dual_side,
            multi_assets=ledger.multi_assets,
            fee_burn=ledger.fee_burn,
        )

    def purse(self, account: str) -> tuple[Decimal, Decimal, Decimal]:
        """Return wallet balance, what new orders may bind, and unrealised profit, in USDT: ``account`` in short."""
        ledger = self._ledger(account)
        profit = sum((margin.unrealized(self._accounts, held) for held in ledger.live()), ZERO)
        return ledger.wallet["USDT"], margin.available(self._accounts, ledger), profit

    def held(self, account: str) -> tuple[PositionView, ...]:
        """Return the rows of ``positions`` that are not flat."""
        ledger = self._ledger(account)
        places = {symbol: place for place, symbol in enumerate(self._accounts.contracts)}
        legs = sorted((places[held.symbol], held.leg, held.symbol) for held in ledger.live())
        return tuple(margin.position_view(self._accounts, ledger, symbol, leg) for _, leg, symbol in legs)

    def version(self, account: str) -> tuple[int, ...]:
        """Return numbers that are others as soon as ``account`` could answer otherwise: time, and all that was done."""
        accounts, ledger = self._accounts, self._ledger(account)
        done = (accounts.order_id, accounts.trade_id, accounts.tran_id, ledger.updated_ms)
        return accounts.now_ms, *done, len(ledger.open_orders), sum(ledger.leverage.values()), len(ledger.isolated)

    def positions(self, account: str, symbol: str = "") -> tuple[PositionView, ...]:
        """Return one row per symbol (three in hedge mode), flat ones included."""
        ledger = self._ledger(account)
        legs = ("BOTH", "LONG", "SHORT") if ledger.dual_side else ("BOTH",)
        return tuple(
            margin.position_view(self._accounts, ledger, each, leg) for each in self._symbols(symbol) for leg in legs
        )

    def symbol_configs(self, account: str, symbol: str = "") -> tuple[SymbolConfig, ...]:
        """Return leverage and margin type per symbol."""
        ledger = self._ledger(account)
        return tuple(margin.config(self._accounts, ledger, each) for each in self._symbols(symbol))

    def commission(self, account: str, symbol: str) -> tuple[Decimal, Decimal]:
        """Return maker and taker fee as shares."""
        self._ledger(account)
        self._listed(symbol)
        return self._accounts.maker_share, self._accounts.taker_share

    def dual_side(self, account: str) -> bool:
        """Return whether the account is in hedge mode."""
        return self._ledger(account).dual_side

    def multi_assets(self, account: str) -> bool:
        """Return the multi-assets switch."""
        return self._ledger(account).multi_assets

    def fee_burn(self, account: str) -> bool:
        """Return whether fees are paid in BNB while there is any."""
        return self._ledger(account).fee_burn

    def set_leverage(self, account: str, symbol: str, leverage: int) -> SymbolConfig:
        """Set the leverage and return what holds now."""
        return account_settings.set_leverage(self._accounts, self._ledger(account), symbol, leverage)

    def set_margin_type(self, account: str, symbol: str, margin_type: str) -> None:
        """Set CROSSED or ISOLATED; -4046 when it is so already."""
        account_settings.set_margin_type(self._accounts, self._ledger(account), symbol, margin_type)

    def set_position_mode(self, account: str, dual_side: bool) -> None:
        """Switch hedge mode; -4059 when it is so already."""
        account_settings.set_position_mode(self._ledger(account), dual_side)

    def change_position_margin(
        self, account: str, symbol: str, amount: Decimal, add: bool, position_side: str = "BOTH"
    ) -> None:
        """Add to or take from an isolated position's margin."""
        account_settings.change_position_margin(
            self._accounts, self._ledger(account), symbol, amount, add, position_side
        )

    def set_multi_assets(self, account: str, enabled: bool) -> None:
        """Switch multi-assets mode (a flag only: USDT is the one collateral)."""
        account_settings.set_multi_assets(self._accounts, self._ledger(account), enabled)

    def set_fee_burn(self, account: str, enabled: bool) -> None:
        """Switch the payment of fees in BNB."""
        self._ledger(account).fee_burn = enabled

    def countdown_cancel_all(self, account: str, symbol: str, countdown_ms: int) -> None:
        """Cancel the symbol's regular orders ``countdown_ms`` from now unless called again; 0 stops it."""
        ledger = self._ledger(account)
        ledger.countdowns.pop(self._listed(symbol), None)
        if countdown_ms > 0:
            ledger.countdowns[symbol] = self._accounts.now_ms + countdown_ms
        self._accounts.changed = True

    # regular orders
    def place_order(self, account: str, request: OrderRequest) -> VenueOrder:
        """Place the order, match it, and return its state after that (the RESULT view)."""
        return matching.place(self._accounts, self._ledger(account), request)

    def test_order(self, account: str, request: OrderRequest) -> VenueOrder:
        """Check the order as if it were placed, and leave no trace."""
        number = self._accounts.order_id
        try:
            return matching.checked(self._accounts, self._ledger(account), request)
        finally:
            self._accounts.order_id = number

    def place_batch(self, account: str, requests: Sequence[OrderRequest]) -> list[VenueOrder | Refusal]:
        """Place each and return an order or a refusal for each."""
        return [matching.attempted(partial(self.place_order, account, each)) for each in requests]

    def amend_order(
        self,
        account: str,
        symbol: str,
        side: str,
        quantity: Decimal,
        price: Decimal,
        order_id: int = 0,
        client_id: str = "",
    ) -> VenueOrder:
        """Change quantity and price of an open LIMIT order and return it."""
        ledger = self._ledger(account)
        found = queries.order(self._accounts, ledger, symbol, order_id, client_id, only_open=True)
        return matching.amend(self._accounts, ledger, found, side, quantity, price)

    def cancel_order(self, account: str, symbol: str, order_id: int = 0, client_id: str = "") -> VenueOrder:
        """Cancel an open order and return it; -2011 when there is none."""
        ledger = self._ledger(account)
        found = queries.to_cancel(self._accounts, ledger, symbol, order_id, client_id)
        return matching.cancel(self._accounts, ledger, found)

    def cancel_batch(
        self, account: str, symbol: str, order_ids: Sequence[int] = (), client_ids: Sequence[str] = ()
    ) -> list[VenueOrder | Refusal]:
        """Cancel each and return an order or a refusal for each."""
        wanted = (*((number, "") for number in order_ids), *((0, name) for name in client_ids))
        return [matching.attempted(partial(self.cancel_order, account, symbol, *each)) for each in wanted]

    def cancel_all(self, account: str, symbol: str) -> int:
        """Cancel the symbol's open regular orders and return how many."""
        return matching.cancel_symbol(self._accounts, self._ledger(account), self._listed(symbol))

    def order(self, account: str, symbol: str, order_id: int = 0, client_id: str = "") -> VenueOrder:
        """Return the order, by client id the newest one; -2013 when there is none."""
        return queries.order(self._accounts, self._ledger(account), symbol, order_id, client_id, only_open=False)

    def open_order(self, account: str, symbol: str, order_id: int = 0, client_id: str = "") -> VenueOrder:
        """Return the open order; -2013 when there is none."""
        return queries.order(self._accounts, self._ledger(account), symbol, order_id, client_id, only_open=True)

    def open_orders(self, account: str, symbol: str = "") -> list[VenueOrder]:
        """Return the open regular orders, oldest first."""
        return self._ledger(account).orders_of(symbol and self._listed(symbol))

    def all_orders(
        self,
        account: str,
        symbol: str = "",
        order_id: int = 0,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 500,
    ) -> list[VenueOrder]:
        """Return the newest ``limit`` orders (from ``order_id`` on), oldest first."""
        ledger = self._ledger(account)
        return queries.all_orders(self._accounts, ledger, symbol, order_id, start_ms, end_ms, limit)

    def trades(
        self,
        account: str,
        symbol: str = "",
        order_id: int = 0,
        from_id: int | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 500,
    ) -> list[VenueTrade]:
        """Return executions, oldest first: the oldest ``limit`` of a window or from an id, else the newest."""
        ledger = self._ledger(account)
        return queries.trades(self._accounts, ledger, symbol, order_id, from_id, start_ms, end_ms, limit)

    def income(
        self,
        account: str,
        symbol: str = "",
        kind: str = "",
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 100,
    ) -> list[IncomeRow]:
        """Return income rows, oldest first; without a window those of the last seven days."""
        return queries.income(self._accounts, self._ledger(account), symbol, kind, start_ms, end_ms, limit)

    def force_orders(self, account: str, symbol: str = "", limit: int = 50) -> list[VenueOrder]:
        """Return the liquidation orders, newest first."""
        return queries.force_orders(self._ledger(account), symbol, limit)

    def changes(self, account: str) -> Changes:
        """Return the owner's changes of orders and of isolated margins."""
        ledger = self._ledger(account)
        return Changes(tuple(ledger.amendments), tuple(ledger.margin_changes))

    # conditional orders
    def place_algo(self, account: str, request: AlgoRequest) -> AlgoOrder:
        """Place a conditional order; no margin is checked before its trigger."""
        return conditional.place(self._accounts, self._ledger(account), request)

    def cancel_algo(self, account: str, algo_id: int = 0, client_id: str = "") -> AlgoOrder:
        """Cancel a waiting conditional order; -2011 when there is none."""
        ledger = self._ledger(account)
        return conditional.cancel(self._accounts, ledger, queries.algo_to_cancel(ledger, algo_id, client_id))

    def cancel_all_algo(self, account: str, symbol: str) -> int:
        """Cancel the symbol's waiting conditional orders and return how many."""
        ledger = self._ledger(account)
        waiting = [order for order in ledger.algos_of(self._listed(symbol)) if order.status == "NEW"]
        for order in waiting:
            conditional.cancel(self._accounts, ledger, order)
        return len(waiting)

    def algo_order(self, account: str, algo_id: int = 0, client_id: str = "") -> AlgoOrder:
        """Return the conditional order, by client id the newest one; -2013 when there is none."""
        return queries.algo_order(self._accounts, self._ledger(account), algo_id, client_id)

    def open_algo_orders(self, account: str, symbol: str = "", algo_id: int = 0) -> list[AlgoOrder]:
        """Return the waiting conditional orders, oldest first."""
        rows = self._ledger(account).algos_of(symbol and self._listed(symbol))
        return [order for order in rows if algo_id in (0, order.algo_id)]

    def all_algo_orders(
        self,
        account: str,
        symbol: str,
        algo_id: int = 0,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 500,
    ) -> list[AlgoOrder]:
        """Return conditional orders of every status, newest first."""
        return queries.all_algo_orders(self._accounts, self._ledger(account), symbol, algo_id, start_ms, end_ms, limit)

    def _ledger(self, account: str) -> AccountLedger:
        return self._accounts.ledger(account)

    def _listed(self, symbol: str) -> str:
        return self._accounts.contract(symbol).symbol

    def _symbols(self, symbol: str) -> tuple[str, ...]:
        return (self._listed(symbol),) if symbol else tuple(self._accounts.contracts)
