"""Account settings and transfers: leverage, margin type, position mode, multi-assets, margin changes."""

from decimal import Decimal

from src.paper_exchange import margin
from src.paper_exchange.accounts import AccountLedger, Accounts
from src.paper_exchange.events import ConfigUpdate
from src.paper_exchange.ledger import book, tell_account
from src.paper_exchange.model import ZERO, MarginChange, SymbolConfig, VenueError, money8


def set_leverage(accounts: Accounts, ledger: AccountLedger, symbol: str, leverage: int) -> SymbolConfig:
    """Set the leverage, where bracket, margin and an isolated position allow it, and return what holds now."""
    contract = accounts.contract(symbol)
    before = ledger.leverage_of(symbol)
    if not 1 <= leverage <= contract.max_leverage:
        raise VenueError(-4028, f"Leverage {leverage} is not valid")
    if leverage < before and symbol in ledger.isolated and any(True for _ in ledger.live(symbol)):
        raise VenueError(-4161, "Leverage reduction is not supported in Isolated Margin Mode with open positions")
    if margin.worst_notional(accounts, ledger, symbol) > contract.max_notional(leverage):
        raise VenueError(-2027, "Exceeded the maximum allowable position at current leverage.")
    ledger.leverage[symbol] = leverage
    if leverage < before and margin.free_margin(accounts, ledger) < 0:
        ledger.leverage[symbol] = before
        raise VenueError(-2028, "Leverage is smaller than permitted: insufficient margin balance.")
    if leverage != before:
        accounts.emit(ConfigUpdate(ledger.key, accounts.now_ms, symbol, leverage))
    return margin.config(accounts, ledger, symbol)


def set_margin_type(accounts: Accounts, ledger: AccountLedger, symbol: str, margin_type: str) -> None:
    """Set CROSSED or ISOLATED for a symbol without orders and positions."""
    accounts.contract(symbol)
    if margin_type not in ("CROSSED", "ISOLATED"):
        raise VenueError(-1102, "Mandatory parameter 'marginType' was not sent, was empty/null, or malformed.")
    if (margin_type == "ISOLATED") == (symbol in ledger.isolated):
        raise VenueError(-4046, "No need to change margin type.")
    if margin_type == "ISOLATED" and ledger.multi_assets:
        raise VenueError(-4168, "Unable to adjust to isolated-margin mode under the Multi-Assets mode.")
    if ledger.orders_of(symbol) or ledger.algos_of(symbol):
        raise VenueError(-4047, "Margin type cannot be changed if there exists open orders.")
    if any(True for _ in ledger.live(symbol)):
        raise VenueError(-4048, "Margin type cannot be changed if there exists position.")
    ledger.isolated ^= {symbol}


def set_position_mode(ledger: AccountLedger, dual_side: bool) -> None:
    """Switch between one-way and hedge mode for an account without orders and positions."""
    if dual_side == ledger.dual_side:
        raise VenueError(-4059, "No need to change position side.")
    if ledger.open_orders or ledger.open_algos:
        raise VenueError(-4067, "Position side cannot be changed if there exists open orders.")
    if any(True for _ in ledger.live()):
        raise VenueError(-4068, "Position side cannot be changed if there exists position.")
    ledger.dual_side = dual_side


def set_multi_assets(accounts: Accounts, ledger: AccountLedger, enabled: bool) -> None:
    """Switch multi-assets mode; a flag here, since USDT alone serves as margin."""
    if enabled and ledger.isolated:
        raise VenueError(
            -4167, "Unable to adjust to Multi-Assets mode with symbols of USDⓈ-M Futures under isolated-margin mode."
        )
    if enabled != ledger.multi_assets:
        ledger.multi_assets = enabled
        accounts.emit(ConfigUpdate(ledger.key, accounts.now_ms, multi_assets=enabled))


def change_position_margin(
    accounts: Accounts, ledger: AccountLedger, symbol: str, amount: Decimal, add: bool, position_side: str
) -> None:
    """Move USDT between the cross wallet and an isolated position.

    What is taken out must leave the position's initial margin, with losses counted and profits not.
    """
    accounts.contract(symbol)
    amount = money8(amount)
    if amount <= 0:
        raise VenueError(-4055, "Amount must be positive.")
    held = ledger.position(symbol, position_side)
    if not held.amount or symbol not in ledger.isolated:
        raise VenueError(-4054, "Cannot add position margin: position is 0.")
    if add and amount > margin.available(accounts, ledger):
        raise VenueError(-4050, "Cross balance insufficient.")
    kept = held.isolated_wallet - amount + min(ZERO, margin.unrealized(accounts, held))
    if not add and kept < margin.initial_margin(accounts, ledger, held):
        raise VenueError(-4051, "Isolated balance insufficient.")
    held.isolated_wallet += amount if add else -amount
    held.updated_ms = accounts.now_ms
    ledger.margin_called = False
    ledger.margin_changes.append(MarginChange(symbol, position_side, 1 if add else 2, amount, accounts.now_ms))
    tell_account(accounts, ledger, "MARGIN_TRANSFER", [held])


def transfer(accounts: Accounts, ledger: AccountLedger, asset: str, amount: Decimal) -> int:
    """Move money in (or out, when negative) and return the transaction's id."""
    if asset not in ledger.wallet:
        raise VenueError(-1102, "Mandatory parameter 'asset' was not sent, was empty/null, or malformed.")
    amount = money8(amount)
    there = margin.usdt_view(accounts, ledger).max_withdraw if asset == "USDT" else ledger.wallet[asset]
    if amount < 0 and -amount > there:
        raise VenueError(-2018, "Balance is insufficient.")
    number = book(accounts, ledger, "TRANSFER", amount, asset=asset)
    ledger.transferred += amount if asset == "USDT" else ZERO
    ledger.margin_called = False
    tell_account(accounts, ledger, "DEPOSIT" if amount > 0 else "WITHDRAW", assets=(asset,), change=amount)
    return number
