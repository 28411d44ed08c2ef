"""The asset in which pairs are quoted is carried through: wallet, profit, margin, the day's loss and the drawdown."""

from contextlib import closing
from decimal import Decimal

import pytest

from src.apps.managed_pairs import managed_pairs
from src.domain.circuit_breaker import BreakerLimits
from src.domain.clock import SystemClock
from src.domain.errors import OrderRefused, Rejection, SettingsError
from src.domain.market import Instrument, quote_asset_of
from src.domain.portfolio import Account
from src.domain.risk import ActiveLimits, RiskLimits
from src.exchanges.binance.account_state import AccountState
from src.exchanges.binance.client import BinanceClient
from src.execution.risk_manager import RiskManager
from src.storage.database import TradingDatabase
from src.storage.journal_repository import JournalRepository
from src.storage.rows import Owner
from tests.binance_stand_in import Answer, StandIn
from tests.exchanges.binance.test_client import TIME, client_of, server_time


def account_answer(usdt: str, usdc: str, held: str = "0") -> dict[str, object]:
    """GET v2/account of a wallet in two assets, with a position in BTCUSDC and one in ETHUSDT."""
    return {
        "multiAssetsMargin": False,
        "assets": [
            {"asset": "USDT", "walletBalance": usdt, "availableBalance": usdt},
            {"asset": "USDC", "walletBalance": usdc, "availableBalance": usdc},
        ],
        "positions": [
            {"symbol": symbol, "positionAmt": held, "leverage": "10", "isolated": False, "positionSide": "BOTH"}
            for symbol in ("BTCUSDC", "ETHUSDT")
        ],
    }


def risk_row(symbol: str, profit: str) -> dict[str, str | int]:
    return {
        "symbol": symbol, "positionSide": "BOTH", "positionAmt": "0.010", "entryPrice": "30000", "markPrice": "30000",
        "unRealizedProfit": profit, "liquidationPrice": "0", "marginAsset": symbol[-4:], "updateTime": 1,
    }  # fmt: skip


@pytest.fixture
def exchange():
    with StandIn() as stand_in:
        stand_in.script("GET", TIME, server_time)
        yield stand_in


@pytest.fixture
def client(exchange, tmp_path):
    plain = client_of(exchange.base_url, tmp_path, [])
    return BinanceClient(plain.wire, quote_asset="USDC")


def wallet(exchange, client, usdc: str, held: str = "0") -> Account:
    exchange.script("GET", "/fapi/v2/account", Answer(account_answer("10.0", usdc, held)))
    exchange.script("GET", "/fapi/v3/positionRisk", Answer([risk_row("BTCUSDC", "-7"), risk_row("ETHUSDT", "-900")]))
    return client.account()


def test_wallet_and_profit_are_those_of_the_quote_asset_alone(exchange, client):
    account = wallet(exchange, client, "5000", "0.010")
    assert (account.wallet_balance, account.available_balance) == (Decimal(5000), Decimal(5000))
    assert account.unrealized_pnl == Decimal(-7)
    assert account.equity == Decimal(4993)
    assert {each.symbol for each in account.positions} == {"BTCUSDC", "ETHUSDT"}


def test_the_streamed_account_counts_the_same_positions(exchange, client):
    state = AccountState(quote_asset="USDC", terms=lambda symbol: (10, "CROSSED"))
    state.set_account(wallet(exchange, client, "5000", "0.010"))
    told = state.account({})
    assert (told.equity, told.unrealized_pnl) == (Decimal(4993), Decimal(-7))
    state.apply(
        {
            "e": "ACCOUNT_UPDATE",
            "E": told.as_of_ms + 1,
            "T": told.as_of_ms + 1,
            "a": {"m": "ORDER", "B": [{"a": "USDC", "wb": "3000", "cw": "3000", "bc": "0"}, {"a": "USDT", "wb": "1"}]},
        }
    )
    assert state.account({}).wallet_balance == Decimal(3000)


def test_a_loss_in_the_quote_asset_reaches_daily_limit_and_drawdown(exchange, client, tmp_path):
    """5,000 to 3,000 USDC, while 10 USDT stand still: 40 % are lost, and both limits say so."""
    with closing(TradingDatabase(f"sqlite:///{tmp_path}/t.db", Owner("usdc", "live", "live"))) as database:
        database.migrate()
        clock = SystemClock()
        risk = RiskManager(
            JournalRepository(database, clock), clock, ActiveLimits(RiskLimits()), BreakerLimits(), 60_000
        )
        before = wallet(exchange, client, "5000")
        assert risk.day_start(before) == Decimal(5000)
        assert not risk.look(before, None, None).tripped
        after = wallet(exchange, client, "3000")
        assert risk.daily_loss_hit(after)
        seen = risk.look(after, None, None)
        assert seen.tripped and "40.0% below its highest" in seen.reason


def rules(symbol: str) -> Instrument:
    step = Decimal("0.001")
    asset = symbol[-4:]
    return Instrument(symbol, symbol[:-4], asset, step, step, step, step, step, step, step, step, 3, 3)


class Listing:
    """An exchange that lists some contracts; asked for nothing else."""

    def __init__(self, *symbols: str) -> None:
        self._symbols = symbols

    def instrument(self, symbol: str) -> Instrument:
        """Return the contract's rules."""
        if symbol not in self._symbols:
            raise OrderRefused(-1121, "Invalid symbol.", Rejection.NOT_LISTED)
        return rules(symbol)


@pytest.fixture
def database(tmp_path):
    with closing(TradingDatabase(f"sqlite:///{tmp_path}/t.db", Owner("main", "paper", "synthetic"))) as made:
        made.migrate()
        yield made


def test_pairs_that_are_not_listed_or_left_the_list_concern_themselves_alone(database):
    found = managed_pairs(["OMGUSDT", "BTCUSDT"], ["DOGEUSDT"], database, "USDT", Listing("BTCUSDT", "DOGEUSDT"))
    assert found.symbols == ("BTCUSDT", "DOGEUSDT")
    assert found.halted["BTCUSDT"] == ""
    assert "left TRADING_PAIRS" in found.halted["DOGEUSDT"]
    assert "take it out of TRADING_PAIRS" in found.unlisted["OMGUSDT"]


def test_a_delisted_pair_with_an_open_trade_says_so(database):
    found = managed_pairs(["BTCUSDT"], ["OMGUSDT"], database, "USDT", Listing("BTCUSDT"))
    assert "the journal holds an open trade of it" in found.unlisted["OMGUSDT"]


def test_nothing_listed_at_all_is_a_wrong_setting(database):
    with pytest.raises(SettingsError, match="OMGUSDT is not listed at the exchange"):
        managed_pairs(["OMGUSDT"], [], database, "USDT", Listing())


def test_another_quote_asset_under_the_same_name_is_refused(database):
    """The day's start and the highest equity of one bot are sums of one asset."""
    journal = JournalRepository(database, SystemClock())
    database.write(lambda connection: journal._days.add(connection, "BTCUSDT", "2026-11-27", {"acted": 1}))
    managed_pairs(["BTCUSDT"], [], database, "USDT", Listing("BTCUSDT"))
    with pytest.raises(SettingsError, match="loss limit and drawdown in USDT: write another BOT_ID"):
        managed_pairs(["BTCUSDC"], [], database, "USDC", Listing("BTCUSDC"))


@pytest.mark.parametrize(
    ("symbol", "asset"), [("BTCUSDT", "USDT"), ("BTCUSDC", "USDC"), ("ETHBTC", ""), ("BTCBUSD", ""), ("USDT", "")]
)
def test_the_assets_that_a_bot_can_reckon_in(symbol, asset):
    assert quote_asset_of(symbol) == asset
