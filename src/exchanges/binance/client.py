"""The Binance client built from the settings, with its self-check.

``python3 src/binance_client.py`` checks everything that a first trade needs and exits non-zero if something is missing.
"""

import itertools
import logging
import re
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from src.domain.clock import ExchangeClock, utc_text
from src.domain.errors import CredentialsRefused, ExchangeError, OrderRefused, OutcomeUnknown, SettingsError
from src.domain.market import Candle, Instrument
from src.domain.orders import Order, OrderIntent, OrderKind, OrderStatus, Purpose, Side, client_id
from src.domain.portfolio import Position
from src.domain.risk import RiskLimits, position_quantity
from src.exchanges.binance.exchange import BinanceExchange, WorkingType
from src.exchanges.binance.mapping import candle_of_row
from src.exchanges.binance.rate_limiter import SharedRateLimiter
from src.exchanges.binance.transport import LIVE, TESTNET, Addresses, BinanceTransport, Credentials

if TYPE_CHECKING:
    from src.runtime.settings import Settings

log = logging.getLogger(__name__)

_UNREACHABLE, _NO_PERMISSION, _BAD_SETTINGS = 69, 77, 78  # sysexits.h
_SETTLE_S = (0.05, 0.1, 0.2, 0.4, 0.8)


@dataclass(frozen=True, slots=True)
class ProtectiveOrders:
    """The two conditional orders around a position; each closes all of it."""

    stop: Order
    target: Order


class BinanceClient(BinanceExchange):
    """The port ``Exchange``, with the specified convenience calls on top of it.

    ``BinanceClient()`` takes everything from the project's settings.

    Args:
        wire: makes the calls; by the settings when None.
        bot_id: owner of the orders placed by the calls below; part of their client ids.
        quote_asset: the asset of balances.
        working_type: the price that triggers conditional orders.
    """

    def __init__(
        self,
        wire: BinanceTransport | None = None,
        bot_id: str = "client",
        quote_asset: str = "USDT",
        working_type: WorkingType = "MARK_PRICE",
    ) -> None:
        if wire is None:
            wire, quote_asset = _configured()
        super().__init__(wire, quote_asset, working_type)
        self._bot_id = bot_id
        self._numbers = itertools.count()

    @classmethod
    def from_settings(cls, settings: "Settings", clock: ExchangeClock | None = None) -> "BinanceClient":
        """Return the client of the configured mode; the exchange is not contacted yet."""
        return cls(transport_of(settings, clock), settings.bot_id, settings.quote_asset)

    def get_account_balance(self) -> Decimal:
        """Return the wallet balance in the quote asset (USDT), without unrealised profit."""
        return self.account().wallet_balance

    def get_symbol_info(self, symbol: str) -> Instrument:
        """Return the contract's trading rules: ticks, steps, smallest and largest sizes."""
        return self.instrument(symbol)

    def set_leverage(self, symbol: str, leverage: int) -> int:
        """Set the leverage (1 to 125, the contract's own maximum may be lower) and return the leverage now in force."""
        if not 1 <= leverage <= 125:
            raise OrderRefused(0, f"leverage must lie in 1..125, not {leverage}")
        self._change(lambda client: client.futures_change_leverage(symbol=symbol, leverage=leverage))
        self._terms[symbol] = (leverage, self.terms(symbol)[1])
        return leverage

    def set_margin_type(self, symbol: str, margin_type: str) -> None:
        """Set CROSSED or ISOLATED; refused (-4047, -4048) while orders or a position are open."""
        self._change(lambda client: client.futures_change_margin_type(symbol=symbol, marginType=margin_type))
        self._terms[symbol] = (self.terms(symbol)[0], margin_type)

    def get_current_price(self, symbol: str) -> Decimal:
        """Return the price of the last trade."""
        return self._read(
            lambda client: client.futures_symbol_ticker(symbol=symbol), 1, lambda answer: Decimal(answer["price"])
        )

    def get_klines(self, symbol: str, interval: str = "1m", limit: int = 500) -> list[Candle]:
        """Return the last ``limit`` candles (at most 1,500) as sent by the exchange: the newest is still open.

        ``candles`` returns only closed ones.
        """
        weight = 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1_000 else 10
        return self._read(
            lambda client: client.futures_klines(symbol=symbol, interval=interval, limit=limit),
            weight,
            lambda rows: [candle_of_row(row) for row in rows],
        )

    def calculate_quantity(
        self,
        symbol: str,
        position_share: Decimal | float,
        leverage: int,
        equity: Decimal | None = None,
        price: Decimal | None = None,
    ) -> Decimal:
        """Return the base quantity that a share of equity buys with leverage, in whole steps.

        Args:
            symbol: the contract.
            position_share: the part of equity put up as margin (0.05 is 5 %).
            leverage: notional per margin.
            equity: in quote currency; the account's own by default.
            price: quote per base; the last price by default.

        Returns:
            0 when the exchange's minimum is not reached.
        """
        share = Decimal(str(position_share))
        limits = RiskLimits(leverage=leverage, position_share=share, max_total_share=max(share, Decimal("0.2")))
        equity = self.account().equity if equity is None else equity
        price = self.get_current_price(symbol) if price is None else price
        return position_quantity(equity, price, limits, self.instrument(symbol))

    def place_market_order(self, symbol: str, side: Side | str, quantity: Decimal, reduce_only: bool = False) -> Order:
        """Send a market order once and return it with what was filled, at which average price.

        An unknown outcome is looked up by client id, never sent again.

        Raises:
            OrderRefused: certainly not accepted.
            OutcomeUnknown: the outcome cannot be queried either.
        """
        purpose = Purpose.EXIT if reduce_only else Purpose.ENTRY
        return self._settled(self._placed(symbol, Side(side), OrderKind.MARKET, purpose, quantity, reduce_only))

    def get_open_positions(self, symbol: str | None = None) -> list[Position]:
        """Return the open positions, of all contracts or of one."""
        return [each for each in self.account().positions if symbol in (None, each.symbol)]

    def close_position(self, symbol: str) -> Order | None:
        """Close the position at market, then cancel the symbol's orders; None if there was no position.

        The stop stays until the position is closed, so that it is always protected.
        """
        closed = None
        for position in self.get_open_positions(symbol):
            side = position.direction.entry_side.opposite
            closed = self.place_market_order(symbol, side, position.quantity, reduce_only=True)
            if closed.status is not OrderStatus.FILLED:
                return closed
        for order in self.open_orders(symbol):
            self.cancel(order)
        return closed

    def set_stop_loss_take_profit(
        self, symbol: str, stop_price: Decimal, target_price: Decimal, side: Side | str | None = None
    ) -> ProtectiveOrders:
        """Place stop and target, each closing the whole position when the mark price touches it; the stop first.

        Args:
            symbol: the contract.
            stop_price: trigger of the stop, rounded to the tick here.
            target_price: trigger of the target, rounded likewise.
            side: of the closing orders; by default the opposite of the open position.

        Raises:
            OrderRefused: no position, or a price on the wrong side of the market (-2021).
        """
        if side is None:
            held = self.get_open_positions(symbol)
            if not held:
                raise OrderRefused(0, f"{symbol} has no position to protect")
            side = held[0].direction.entry_side.opposite
        rules = self.instrument(symbol)
        levels = (
            (OrderKind.STOP_MARKET, Purpose.STOP, rules.price_near(stop_price)),
            (OrderKind.TAKE_PROFIT_MARKET, Purpose.TARGET, rules.price_near(target_price)),
        )
        stop, target = (
            self._placed(symbol, Side(side), kind, purpose, Decimal(0), trigger_price=level)
            for kind, purpose, level in levels
        )
        return ProtectiveOrders(stop, target)

    def _placed(
        self,
        symbol: str,
        side: Side,
        kind: OrderKind,
        purpose: Purpose,
        quantity: Decimal,
        reduce_only: bool = False,
        trigger_price: Decimal | None = None,
    ) -> Order:
        now_ms = self.clock.now_ms()
        intent = OrderIntent(
            client_id=client_id(self._bot_id, symbol, now_ms, purpose, next(self._numbers) % 36),
            symbol=symbol,
            side=side,
            kind=kind,
            purpose=purpose,
            quantity=quantity,
            decided_ms=now_ms,
            reduce_only=reduce_only,
            trigger_price=trigger_price,
            close_position=kind.conditional,
        )
        try:
            return self.send(intent)
        except OutcomeUnknown:
            found = self.find_order(intent)
            if found is None:
                raise
            return found

    def _settled(self, order: Order) -> Order:
        """Return the order once it is finished and its average price is known, or its state after two seconds."""
        for wait_s in _SETTLE_S:
            order = self.refreshed(order)
            if order.status.final and (order.average_price > 0 or order.executed_quantity == 0):
                break
            self._wire.pause(wait_s)
        return order


def transport_of(settings: "Settings", clock: ExchangeClock | None = None) -> BinanceTransport:
    """Return the transport of the mode that is set."""
    addresses = addresses_of(settings)
    clock = clock or ExchangeClock(settings.paper_speed if settings.mode == "paper" else 1.0)
    credentials = Credentials(settings.exchange_key.get_secret_value(), settings.exchange_secret.get_secret_value())
    budget = SharedRateLimiter(budget_file(settings.state_dir, addresses), clock, clock.speed)
    return BinanceTransport(addresses, credentials, clock, budget)


def _configured() -> tuple[BinanceTransport, str]:
    """The transport and the quote asset of the project's settings."""
    from src.runtime.settings import Settings

    settings = Settings.load()
    return transport_of(settings), settings.quote_asset


def addresses_of(settings: "Settings") -> Addresses:
    """Return the exchange's addresses in the present mode; ``BINANCE_BASE_URL`` overrides them."""
    if settings.binance_base_url:
        return Addresses.of_base(settings.mode, settings.binance_base_url)
    if settings.mode == "paper":
        return Addresses.of_base("paper", settings.paper_url)
    return TESTNET if settings.mode == "testnet" else LIVE


def budget_file(folder: Path, addresses: Addresses) -> Path:
    """Return the file in which all processes count their requests to one exchange."""
    return folder / ("rate_budget_" + re.sub(r"[^a-z0-9]+", "_", addresses.rest.split("//", 1)[1].lower()))


def key_cautions(mode: str, client: BinanceClient) -> tuple[str, ...]:
    """Return warnings about the key of a live account; none in the other modes.

    Raises:
        CredentialsRefused: the key may withdraw or transfer.
    """
    if mode != "live":
        return ()
    allowed = client.api_restrictions()
    if allowed.withdraw or allowed.transfer:
        raise CredentialsRefused(
            "the Binance key may withdraw or transfer money: make one that can trade futures and nothing else"
        )
    if allowed.address_bound:
        return ()
    caution = "the Binance key works from any address: bind it to this machine's, so that a stolen one trades nothing"
    log.warning("%s", caution)
    return (caution,)


def check_report(client: BinanceClient, symbol: str) -> list[str]:
    """Return the connection report, one line per item.

    Raises:
        ExchangeError: the exchange, the key or the symbol cannot be used.
    """
    client.sync_clock()
    rules, wire = client.instrument(symbol), client.wire
    price, account, orders = client.get_current_price(symbol), client.account(), client.open_orders(symbol)
    used = wire.budget.used()
    lines = [
        f"exchange       {wire.addresses.rest}  mode {wire.addresses.mode}  speed {client.clock.speed:g}",
        f"time           {utc_text(client.clock.now_ms())}  ahead of this machine by {client.clock.offset_ms()} ms",
        f"latency        {wire.round_trip_s * 1000:.1f} ms",
        f"{symbol:<14} last {price}  tick {rules.tick_size}  step {rules.step_size}  "
        f"smallest {rules.min_quantity} and {rules.min_notional} {rules.quote_asset}",
        f"balance        {account.wallet_balance} {rules.quote_asset}  available {account.available_balance}  "
        f"unrealised {account.unrealized_pnl}",
        f"positions      {len(account.positions)}",
        *(
            f"  {each.symbol} {each.direction} {each.quantity} at {each.entry_price}  leverage {each.leverage}  "
            f"liquidation {each.liquidation_price or 'none'}  unrealised {each.unrealized_pnl}"
            for each in account.positions
        ),
        f"open orders    {len(orders)} of {symbol}",
        *(f"  {each.kind} {each.side} {each.trigger_price or each.quantity}  {each.client_id}" for each in orders),
        f"weight used    {used.weight} of {wire.budget.limits.weight_1m} this minute",
    ]
    if wire.addresses.mode == "live":
        allowed = client.api_restrictions()
        lines.append(f"key            may withdraw {allowed.withdraw}  transfer {allowed.transfer}")
    return lines


def main() -> int:
    """Check the exchange of the project's settings; return the exit code (0, 69, 77 or 78)."""
    from src.runtime.settings import Settings

    try:
        settings = Settings.load()
        client = BinanceClient.from_settings(settings)
        sys.stdout.write("\n".join(check_report(client, settings.pairs[0])) + "\n")
    except SettingsError as error:
        sys.stderr.write("\n".join(error.problems) + "\n")
        return _BAD_SETTINGS
    except CredentialsRefused as error:
        sys.stderr.write(f"{error}: check the key and the secret of this mode in .env.\n")
        return _NO_PERMISSION
    except OrderRefused as error:
        sys.stderr.write(f"{error}: check TRADING_PAIR and TRADING_PAIRS in .env.\n")
        return _BAD_SETTINGS
    except ExchangeError as error:
        hint = ": start it with ./scripts/start_paper_exchange.sh" if settings.mode == "paper" else ""
        sys.stderr.write(f"{error} ({addresses_of(settings).rest}){hint}.\n")
        return _UNREACHABLE
    return 0
