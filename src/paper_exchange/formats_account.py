"""Balances, positions and account settings in Binance's JSON."""

from src.domain.market import Instrument
from src.paper_exchange.formats import Json, amount, fixed, pointed, trimmed
from src.paper_exchange.model import AccountView, BalanceView, MarginChange, PositionView, SymbolConfig

# What an account may do here. Withdrawal belongs to the web wallet, which a paper exchange does not have.
_RIGHTS = {"canTrade": True, "canDeposit": True, "canWithdraw": True}
ACCOUNT_ALIAS = "SgsR"


def account_v2(view: AccountView, instruments: dict[str, Instrument]) -> Json:
    """Return what GET /fapi/v2/account answers: every symbol has its row."""
    return {
        "feeTier": view.fee_tier,
        "feeBurn": view.fee_burn,
        **_RIGHTS,
        "updateTime": 0,
        "multiAssetsMargin": view.multi_assets,
        "tradeGroupId": -1,
        **_totals(view),
        "assets": [_asset_v2(balance) for balance in view.balances],
        "positions": [_position_v2(row, instruments[row.symbol]) for row in view.positions],
    }


def account_v3(view: AccountView, instruments: dict[str, Instrument]) -> Json:
    """Return what GET /fapi/v3/account answers: only symbols with a position or open orders have a row."""
    return {
        **_totals(view),
        "assets": [_asset(balance) for balance in view.balances],
        "positions": [_position_v3(row, instruments[row.symbol]) for row in view.positions if is_busy(row)],
    }


def is_busy(row: PositionView) -> bool:
    """Return whether a symbol's leg has a position or open orders."""
    return bool(row.amount or row.bid_notional or row.ask_notional)


def _totals(view: AccountView) -> Json:
    total = view.total
    return {
        "totalInitialMargin": fixed(total.initial_margin, 8),
        "totalMaintMargin": fixed(total.maint_margin, 8),
        "totalWalletBalance": fixed(total.wallet_balance, 8),
        "totalUnrealizedProfit": fixed(total.unrealized, 8),
        "totalMarginBalance": fixed(total.margin_balance, 8),
        "totalPositionInitialMargin": fixed(total.position_initial_margin, 8),
        "totalOpenOrderInitialMargin": fixed(total.open_order_initial_margin, 8),
        "totalCrossWalletBalance": fixed(total.cross_wallet, 8),
        "totalCrossUnPnl": fixed(total.cross_unrealized, 8),
        "availableBalance": fixed(total.available, 8),
        "maxWithdrawAmount": fixed(total.max_withdraw, 8),
    }


def _asset(balance: BalanceView) -> Json:
    return {
        "asset": balance.asset,
        "walletBalance": fixed(balance.wallet_balance, 8),
        "unrealizedProfit": fixed(balance.unrealized, 8),
        "marginBalance": fixed(balance.margin_balance, 8),
        "maintMargin": fixed(balance.maint_margin, 8),
        "initialMargin": fixed(balance.initial_margin, 8),
        "positionInitialMargin": fixed(balance.position_initial_margin, 8),
        "openOrderInitialMargin": fixed(balance.open_order_initial_margin, 8),
        "crossWalletBalance": fixed(balance.cross_wallet, 8),
        "crossUnPnl": fixed(balance.cross_unrealized, 8),
        "availableBalance": fixed(balance.available, 8),
        "maxWithdrawAmount": fixed(balance.max_withdraw, 8),
        "updateTime": balance.updated_ms,
    }


def _asset_v2(balance: BalanceView) -> Json:
    row = _asset(balance)
    updated = row.pop("updateTime")
    return {**row, "marginAvailable": True, "updateTime": updated}


def _position_v2(row: PositionView, instrument: Instrument) -> Json:
    return {
        "symbol": row.symbol,
        "initialMargin": amount(row.initial_margin),
        "maintMargin": amount(row.maint_margin),
        "unrealizedProfit": fixed(row.unrealized, 8),
        "positionInitialMargin": amount(row.position_initial_margin),
        "openOrderInitialMargin": amount(row.open_order_initial_margin),
        "leverage": str(row.leverage),
        "isolated": row.margin_type == "ISOLATED",
        "entryPrice": pointed(row.entry_price),
        "breakEvenPrice": pointed(row.break_even_price),
        "maxNotional": trimmed(row.max_notional),
        "positionSide": row.position_side,
        "positionAmt": fixed(row.amount, instrument.quantity_precision),
        "notional": amount(row.notional),
        "isolatedWallet": amount(row.isolated_wallet),
        "updateTime": row.updated_ms,
        "bidNotional": amount(row.bid_notional),
        "askNotional": amount(row.ask_notional),
    }


def _position_v3(row: PositionView, instrument: Instrument) -> Json:
    return {
        "symbol": row.symbol,
        "positionSide": row.position_side,
        "positionAmt": fixed(row.amount, instrument.quantity_precision),
        "unrealizedProfit": fixed(row.unrealized, 8),
        "isolatedMargin": amount(row.isolated_margin),
        "notional": amount(row.notional),
        "isolatedWallet": amount(row.isolated_wallet),
        "initialMargin": amount(row.initial_margin),
        "maintMargin": amount(row.maint_margin),
        "updateTime": row.updated_ms,
    }


def risk_v2(row: PositionView, instrument: Instrument) -> Json:
    """Return one element of GET /fapi/v2/positionRisk; everything but the update time is text."""
    isolated = row.margin_type == "ISOLATED"
    return {
        "symbol": row.symbol,
        "positionAmt": fixed(row.amount, instrument.quantity_precision),
        "entryPrice": pointed(row.entry_price),
        "breakEvenPrice": pointed(row.break_even_price),
        "markPrice": fixed(row.mark_price, 8),
        "unRealizedProfit": fixed(row.unrealized, 8),
        "liquidationPrice": amount(row.liquidation_price),
        "leverage": str(row.leverage),
        "maxNotionalValue": trimmed(row.max_notional),
        "marginType": "isolated" if isolated else "cross",
        "isolatedMargin": fixed(row.isolated_margin, 8),
        "isAutoAddMargin": "false",
        "positionSide": row.position_side,
        "notional": amount(row.notional),
        "isolatedWallet": amount(row.isolated_wallet),
        "updateTime": row.updated_ms,
        "isolated": isolated,
        "adlQuantile": row.adl,
    }


def risk_v3(row: PositionView, instrument: Instrument) -> Json:
    """Return one element of GET /fapi/v3/positionRisk; it has no leverage and margin type."""
    return {
        "symbol": row.symbol,
        "positionSide": row.position_side,
        "positionAmt": fixed(row.amount, instrument.quantity_precision),
        "entryPrice": pointed(row.entry_price),
        "breakEvenPrice": pointed(row.break_even_price),
        "markPrice": fixed(row.mark_price, 8),
        "unRealizedProfit": fixed(row.unrealized, 8),
        "liquidationPrice": amount(row.liquidation_price),
        "isolatedMargin": amount(row.isolated_margin),
        "notional": amount(row.notional),
        "marginAsset": instrument.quote_asset,
        "isolatedWallet": amount(row.isolated_wallet),
        "initialMargin": amount(row.initial_margin),
        "maintMargin": amount(row.maint_margin),
        "positionInitialMargin": amount(row.position_initial_margin),
        "openOrderInitialMargin": amount(row.open_order_initial_margin),
        "adl": row.adl,
        "bidNotional": amount(row.bid_notional),
        "askNotional": amount(row.ask_notional),
        "updateTime": row.updated_ms,
    }


def balance_row(balance: BalanceView) -> Json:
    """Return one element of GET /fapi/v2/balance and v3/balance."""
    return {
        "accountAlias": ACCOUNT_ALIAS,
        "asset": balance.asset,
        "balance": fixed(balance.wallet_balance, 8),
        "crossWalletBalance": fixed(balance.cross_wallet, 8),
        "crossUnPnl": fixed(balance.cross_unrealized, 8),
        "availableBalance": fixed(balance.available, 8),
        "maxWithdrawAmount": fixed(balance.max_withdraw, 8),
        "marginAvailable": True,
        "updateTime": balance.updated_ms,
    }


def margin_change(row: MarginChange, asset: str) -> Json:
    """Return one element of positionMargin/history."""
    return {
        "symbol": row.symbol,
        "type": row.kind,
        "deltaType": "USER_ADJUST",
        "amount": fixed(row.amount, 8),
        "asset": asset,
        "time": row.time_ms,
        "positionSide": row.position_side,
    }


def account_config(view: AccountView) -> Json:
    """Return what GET /fapi/v1/accountConfig answers."""
    return {
        "feeTier": view.fee_tier,
        **_RIGHTS,
        "dualSidePosition": view.dual_side,
        "updateTime": 0,
        "multiAssetsMargin": view.multi_assets,
        "tradeGroupId": -1,
    }


def symbol_config(config: SymbolConfig) -> Json:
    """Return one element of GET /fapi/v1/symbolConfig."""
    return {
        "symbol": config.symbol,
        "marginType": config.margin_type,
        "isAutoAddMargin": False,
        "leverage": config.leverage,
        "maxNotionalValue": trimmed(config.max_notional),
    }
