"""REST endpoints of an account, its settings, API key and listen key."""

from src.domain.market import Instrument
from src.paper_exchange.contracts import Contract
from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.formats import Json, fixed, trimmed
from src.paper_exchange.formats_account import (
    account_config,
    account_v2,
    account_v3,
    balance_row,
    is_busy,
    margin_change,
    risk_v2,
    risk_v3,
    symbol_config,
)
from src.paper_exchange.limits import ORDERS_1M_LIMIT, ORDERS_10S_LIMIT
from src.paper_exchange.model import VenueError
from src.paper_exchange.rest_call import Call, Endpoint, Security, per_symbol
from src.paper_exchange.signing import mandatory

SUCCESS = {"code": 200, "msg": "success"}
RPI_SHARE = "0.00005"
ORDER_LIMITS = [
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": ORDERS_10S_LIMIT},
    {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": ORDERS_1M_LIMIT},
]


def get_account_v2(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v2/account."""
    return account_v2(exchange.venue.account(call.account), exchange.instruments)


def get_account_v3(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v3/account."""
    return account_v3(exchange.venue.account(call.account), exchange.instruments)


def get_balance(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v2/balance and v3/balance."""
    return [balance_row(balance) for balance in exchange.venue.account(call.account).balances]


def position_risk_v2(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v2/positionRisk: every symbol."""
    rows = exchange.venue.positions(call.account, call.symbol_or_all(exchange.contracts))
    return [risk_v2(row, exchange.instruments[row.symbol]) for row in rows]


def position_risk_v3(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v3/positionRisk: only symbols with a position or open orders."""
    rows = exchange.venue.positions(call.account, call.symbol_or_all(exchange.contracts))
    return [risk_v3(row, exchange.instruments[row.symbol]) for row in rows if is_busy(row)]


def get_account_config(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v1/accountConfig."""
    return account_config(exchange.venue.account(call.account))


def get_symbol_config(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/symbolConfig."""
    configs = exchange.venue.symbol_configs(call.account, call.symbol_or_all(exchange.contracts))
    return [symbol_config(config) for config in configs]


def leverage_brackets(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/leverageBracket."""
    chosen = call.contract_or_none(exchange.contracts)
    contracts = [chosen] if chosen else list(exchange.contracts.values())
    return [{"symbol": contract.symbol, "brackets": _brackets(contract)} for contract in contracts]


def _brackets(contract: Contract) -> list[Json]:
    return [
        {
            "bracket": row.number,
            "initialLeverage": row.max_leverage,
            "notionalCap": int(row.cap),
            "notionalFloor": int(row.floor),
            "maintMarginRatio": float(row.maint_share),
            "cum": float(row.cum),
        }
        for row in contract.brackets
    ]


def commission_rate(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v1/commissionRate."""
    symbol = call.contract(exchange.contracts).symbol
    maker, taker = exchange.venue.commission(call.account, symbol)
    return {
        "symbol": symbol,
        "makerCommissionRate": trimmed(maker),
        "takerCommissionRate": trimmed(taker),
        "rpiCommissionRate": RPI_SHARE,
    }


def position_mode(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v1/positionSide/dual."""
    return {"dualSidePosition": exchange.venue.dual_side(call.account)}


def set_position_mode(exchange: PaperExchange, call: Call) -> Json:
    """POST /fapi/v1/positionSide/dual."""
    exchange.venue.set_position_mode(call.account, _needed_flag(call, "dualSidePosition"))
    return SUCCESS


def multi_assets(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v1/multiAssetsMargin."""
    return {"multiAssetsMargin": exchange.venue.multi_assets(call.account)}


def set_multi_assets(exchange: PaperExchange, call: Call) -> Json:
    """POST /fapi/v1/multiAssetsMargin."""
    exchange.venue.set_multi_assets(call.account, _needed_flag(call, "multiAssetsMargin"))
    return SUCCESS


def fee_burn(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v1/feeBurn."""
    return {"feeBurn": exchange.venue.fee_burn(call.account)}


def set_fee_burn(exchange: PaperExchange, call: Call) -> Json:
    """POST /fapi/v1/feeBurn."""
    exchange.venue.set_fee_burn(call.account, _needed_flag(call, "feeBurn"))
    return SUCCESS


def _needed_flag(call: Call, name: str) -> bool:
    value = call.flag(name)
    if value is None:
        raise mandatory(name)
    return value


def set_leverage(exchange: PaperExchange, call: Call) -> Json:
    """POST /fapi/v1/leverage."""
    symbol = call.contract(exchange.contracts).symbol
    config = exchange.venue.set_leverage(call.account, symbol, call.whole("leverage"))
    return {"leverage": config.leverage, "maxNotionalValue": trimmed(config.max_notional), "symbol": symbol}


def set_margin_type(exchange: PaperExchange, call: Call) -> Json:
    """POST /fapi/v1/marginType."""
    symbol = call.contract(exchange.contracts).symbol
    margin_type = call.text("marginType")
    if margin_type not in ("ISOLATED", "CROSSED"):
        raise VenueError(-1130, "Data sent for parameter 'marginType' is not valid.")
    exchange.venue.set_margin_type(call.account, symbol, margin_type)
    return SUCCESS


def set_position_margin(exchange: PaperExchange, call: Call) -> Json:
    """POST /fapi/v1/positionMargin."""
    symbol = call.contract(exchange.contracts).symbol
    amount, kind = call.decimal("amount"), call.whole("type")
    if amount is None:
        raise mandatory("amount")
    if kind not in (1, 2):
        raise VenueError(-1130, "Data sent for parameter 'type' is not valid.")
    side = call.text("positionSide", "BOTH")
    exchange.venue.change_position_margin(call.account, symbol, amount, kind == 1, side)
    shown = int(amount) if amount == amount.to_integral_value() else float(amount)
    return {"amount": shown, "code": 200, "msg": "Successfully modify position margin.", "type": kind}


def position_margin_history(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/positionMargin/history: newest first."""
    contract = call.contract(exchange.contracts)
    kind, limit = call.whole("type", 0), call.limit(500, 500)
    start_ms, end_ms = call.window()
    rows = [
        row
        for row in reversed(exchange.venue.changes(call.account).margins)
        if row.symbol == contract.symbol
        and kind in (0, row.kind)
        and (start_ms or 0) <= row.time_ms <= (end_ms or call.now_ms)
    ]
    return [margin_change(row, contract.rules.quote_asset) for row in rows[:limit]]


def adl_quantile(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/adlQuantile: of the symbols with a position."""
    account = exchange.venue.account(call.account)
    symbol = call.symbol_or_all(exchange.contracts)
    held = [row for row in account.positions if row.amount and symbol in ("", row.symbol)]
    found: dict[str, Json] = {}
    for row in held:
        ranks = found.setdefault(row.symbol, {"LONG": 0, "SHORT": 0, "HEDGE": 0} if account.dual_side else {})
        ranks[row.position_side] = row.adl
    return [{"symbol": name, "adlQuantile": ranks} for name, ranks in found.items()]


def trading_status(exchange: PaperExchange, call: Call) -> Json:
    """GET /fapi/v1/apiTradingStatus: no account is judged by its ratios here, so no symbol has indicators."""
    call.contract_or_none(exchange.contracts)
    return {"indicators": {}, "updateTime": call.now_ms}


def rate_limit_order(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /fapi/v1/rateLimit/order."""
    return ORDER_LIMITS


def api_restrictions(exchange: PaperExchange, call: Call) -> Json:
    """GET /sapi/v1/account/apiRestrictions: a key that trades futures and can take nothing out."""
    return {
        "ipRestrict": False,
        "createTime": exchange.market_clock.now_ms(),
        "enableReading": True,
        "enableFutures": True,
        "enableWithdrawals": False,
        "enableInternalTransfer": False,
        "permitsUniversalTransfer": False,
        "enableMargin": False,
        "enableSpotAndMarginTrading": False,
        "enableVanillaOptions": False,
        "enablePortfolioMarginTrading": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
    }


def capital_config(exchange: PaperExchange, call: Call) -> list[Json]:
    """GET /sapi/v1/capital/config/getall: the assets there are; none of them can be moved in or out."""
    rules: list[Instrument] = list(exchange.instruments.values())
    names = dict.fromkeys([rules[0].quote_asset, *(rule.base_asset for rule in rules)])
    return [_coin(name) for name in names]


def _coin(name: str) -> Json:
    nothing = fixed(0, 8)
    return {
        "coin": name,
        "name": name,
        "depositAllEnable": False,
        "withdrawAllEnable": False,
        "free": nothing,
        "locked": nothing,
        "freeze": nothing,
        "withdrawing": nothing,
        "ipoing": nothing,
        "ipoable": nothing,
        "storage": nothing,
        "isLegalMoney": False,
        "trading": True,
        "networkList": [],
    }


def create_listen_key(exchange: PaperExchange, call: Call) -> Json:
    """POST /fapi/v1/listenKey: a living one is given again, with a new hour."""
    return {"listenKey": exchange.listen_keys.create(call.account, call.now_ms)}


def keep_listen_key(exchange: PaperExchange, call: Call) -> Json:
    """PUT /fapi/v1/listenKey."""
    return {"listenKey": exchange.listen_keys.keep(call.account, call.now_ms)}


def close_listen_key(exchange: PaperExchange, call: Call) -> Json:
    """DELETE /fapi/v1/listenKey."""
    exchange.listen_keys.close(call.account)
    return {}


_KEY, _USER, _TRADE = Security.KEY, Security.USER, Security.TRADE
ENDPOINTS = (
    Endpoint("GET", "/fapi/v2/account", _USER, 5, get_account_v2),
    Endpoint("GET", "/fapi/v3/account", _USER, 5, get_account_v3),
    Endpoint("GET", "/fapi/v2/balance", _USER, 5, get_balance),
    Endpoint("GET", "/fapi/v3/balance", _USER, 5, get_balance),
    Endpoint("GET", "/fapi/v2/positionRisk", _USER, 5, position_risk_v2),
    Endpoint("GET", "/fapi/v3/positionRisk", _USER, 5, position_risk_v3),
    Endpoint("GET", "/fapi/v1/accountConfig", _USER, 5, get_account_config),
    Endpoint("GET", "/fapi/v1/symbolConfig", _USER, 5, get_symbol_config),
    Endpoint("GET", "/fapi/v1/leverageBracket", _USER, 1, leverage_brackets),
    Endpoint("GET", "/fapi/v1/commissionRate", _USER, 20, commission_rate),
    Endpoint("GET", "/fapi/v1/positionSide/dual", _USER, 30, position_mode),
    Endpoint("POST", "/fapi/v1/positionSide/dual", _TRADE, 1, set_position_mode),
    Endpoint("GET", "/fapi/v1/multiAssetsMargin", _USER, 30, multi_assets),
    Endpoint("POST", "/fapi/v1/multiAssetsMargin", _TRADE, 1, set_multi_assets),
    Endpoint("GET", "/fapi/v1/feeBurn", _USER, 30, fee_burn),
    Endpoint("POST", "/fapi/v1/feeBurn", _TRADE, 1, set_fee_burn),
    Endpoint("POST", "/fapi/v1/leverage", _TRADE, 1, set_leverage),
    Endpoint("POST", "/fapi/v1/marginType", _TRADE, 1, set_margin_type),
    Endpoint("POST", "/fapi/v1/positionMargin", _TRADE, 1, set_position_margin),
    Endpoint("GET", "/fapi/v1/positionMargin/history", _USER, 1, position_margin_history),
    Endpoint("GET", "/fapi/v1/adlQuantile", _USER, 5, adl_quantile),
    Endpoint("GET", "/fapi/v1/apiTradingStatus", _USER, per_symbol(1, 10), trading_status),
    Endpoint("GET", "/fapi/v1/rateLimit/order", _USER, 1, rate_limit_order),
    Endpoint("GET", "/sapi/v1/account/apiRestrictions", _USER, 1, api_restrictions),
    Endpoint("GET", "/sapi/v1/capital/config/getall", _USER, 1, capital_config),
    Endpoint("POST", "/fapi/v1/listenKey", _KEY, 1, create_listen_key),
    Endpoint("PUT", "/fapi/v1/listenKey", _KEY, 1, keep_listen_key),
    Endpoint("DELETE", "/fapi/v1/listenKey", _KEY, 1, close_listen_key),
)
