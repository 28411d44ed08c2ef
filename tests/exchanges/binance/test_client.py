"""What the client asks of Binance, and what it makes of every kind of answer and silence."""

import hashlib
import hmac
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

import pytest
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError

from src.domain.clock import ExchangeClock
from src.domain.errors import CredentialsRefused, ExchangeUnavailable, OrderRefused, OutcomeUnknown, RateLimited
from src.domain.orders import Order, OrderKind, OrderStatus, Purpose, Side
from src.domain.ports import AccountTerms
from src.exchanges.binance import transport
from src.exchanges.binance.client import BinanceClient, addresses_of, budget_file, check_report
from src.exchanges.binance.errors import translated
from src.exchanges.binance.rate_limiter import SharedRateLimiter
from src.exchanges.binance.transport import LIVE, TESTNET, Addresses, BinanceTransport, Credentials
from tests.binance_stand_in import DROP, HANG, Answer, Request, StandIn
from tests.exchanges.binance.test_mapping import ALGO_REPLY, KLINE_ROW, POSTED, intent
from tests.paper_exchange.running import API_KEY, API_SECRET, ROOT
from tests.paper_world import paper_server

KEY, SECRET = "k" * 64, "s" * 64
CREDENTIALS = Credentials(KEY, SECRET)
ORDER, ALGO, TIME = "/fapi/v1/order", "/fapi/v1/algoOrder", "/fapi/v1/time"
ABSENT = Answer({"code": -2013, "msg": "Order does not exist."}, 400)
STOP = intent(OrderKind.STOP_MARKET, trigger_price=Decimal("70000"), close_position=True, quantity=Decimal(0))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def server_time(request: Request) -> Answer:
    return Answer({"serverTime": now_ms()})


@pytest.fixture
def exchange():
    with StandIn() as stand_in:
        stand_in.script("GET", TIME, server_time)
        yield stand_in


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def client(exchange: StandIn, pauses: list[float], tmp_path: Path) -> BinanceClient:
    return client_of(exchange.base_url, tmp_path, pauses)


def client_of(base_url: str, folder: Path, pauses: list[float], speed: float = 1.0) -> BinanceClient:
    clock = ExchangeClock(speed)
    addresses = Addresses.of_base("paper", base_url)
    budget = SharedRateLimiter(budget_file(folder, addresses), clock, speed)
    return BinanceClient(BinanceTransport(addresses, CREDENTIALS, clock, budget, pauses.append))


def refusal(code: int, message: str, status: int = 400) -> Answer:
    return Answer({"code": code, "msg": message}, status)


# Signing, time


def test_a_signed_call_carries_the_exchanges_time_and_a_true_signature(exchange, client):
    exchange.script("GET", TIME, lambda request: Answer({"serverTime": now_ms() + 7_000}))
    exchange.script("GET", "/fapi/v1/openOrders", Answer([]))
    exchange.script("GET", "/fapi/v1/openAlgoOrders", Answer([]))
    assert client.open_orders("BTCUSDT") == []
    asked = dict(exchange.asked("GET", "/fapi/v1/openOrders")[0].parameters)
    signature = asked.pop("signature")
    text = urlencode(sorted(asked.items()))
    assert signature == hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
    assert abs(int(asked["timestamp"]) - now_ms() - 7_000) < 1_000
    assert asked["recvWindow"] == "5000"
    assert exchange.requests[-1].headers["X-MBX-APIKEY"] == KEY


def test_a_refused_clock_is_set_once_and_the_order_sent_again(exchange, client):
    exchange.script(
        "POST", ORDER, refusal(-1021, "Timestamp for this request is outside of the recvWindow."), Answer(POSTED)
    )
    assert client.send(intent()).order_id == "33878894217"
    assert len(exchange.asked("POST", ORDER)) == 2
    assert len(exchange.asked("GET", TIME)) == 2


def test_a_clock_refused_twice_is_certainly_no_order(exchange, client):
    exchange.script("POST", ORDER, refusal(-1021, "Timestamp for this request is outside of the recvWindow."))
    with pytest.raises(ExchangeUnavailable):
        client.send(intent())
    assert len(exchange.asked("POST", ORDER)) == 2


def test_the_clock_is_read_once_an_hour_of_exchange_time(exchange, client):
    exchange.script("GET", "/fapi/v2/ticker/price", Answer({"symbol": "BTCUSDT", "price": "5", "time": 1}))
    for _ in range(3):
        client.get_current_price("BTCUSDT")
    assert len(exchange.asked("GET", TIME)) == 1
    client.clock.follow(client.clock.now_ms() + 3_600_001)
    client.get_current_price("BTCUSDT")
    assert len(exchange.asked("GET", TIME)) == 2


# Orders


def test_a_market_order_is_sent_with_our_id_and_its_price_is_not_taken_from_the_reply(exchange, client):
    exchange.script("POST", ORDER, Answer(POSTED | {"avgPrice": "0.00"}))
    order = client.send(intent(reduce_only=True))
    asked = exchange.asked("POST", ORDER)[0].parameters
    assert (asked["newClientOrderId"], asked["reduceOnly"]) == (intent().client_id, "true")
    assert order.average_price == 0


def test_a_stop_goes_to_the_algo_service_under_our_id(exchange, client):
    exchange.script("POST", ALGO, Answer(ALGO_REPLY))
    order = client.send(STOP)
    asked = exchange.asked("POST", ALGO)[0].parameters
    assert (asked["clientAlgoId"], asked["triggerPrice"], asked["closePosition"]) == (STOP.client_id, "70000", "true")
    assert asked["workingType"] == "MARK_PRICE"
    assert order.status is OrderStatus.NEW


UNKNOWN_OUTCOMES = {
    "503 unknown": refusal(-1000, "Unknown error, please check your request or try again later.", 503),
    "503 without code": Answer({"timestamp": 1, "path": ORDER, "msg": "no instance"}, 503),
    "-1006": refusal(-1006, "An unexpected response was received from the message bus. Execution status unknown.", 503),
    "-1007": refusal(-1007, "Timeout waiting for response from backend server. Send status unknown.", 408),
    "502 page": Answer("<html>bad gateway</html>", 502),
    "200 garbage": Answer("<html>", 200),
    "200 without order": Answer({"hello": 1}),
    "error body is a list": Answer([1], 500),
    "connection cut": Answer(DROP),
}


@pytest.mark.parametrize("answer", UNKNOWN_OUTCOMES.values(), ids=UNKNOWN_OUTCOMES)
@pytest.mark.parametrize("what", [intent(), STOP], ids=["market", "stop"])
def test_an_order_with_unknown_outcome_is_never_sent_again(exchange, client, what, answer):
    path = ALGO if what.kind.conditional else ORDER
    exchange.script("POST", path, answer)
    with pytest.raises(OutcomeUnknown) as unknown:
        client.send(what)
    assert unknown.value.client_id == what.client_id
    assert len(exchange.asked("POST", path)) == 1


CERTAIN_FAILURES = {
    "-1001": (
        refusal(-1001, "Internal error; unable to process your request. Please try again.", 503),
        ExchangeUnavailable,
    ),
    "-1008": (refusal(-1008, "Request throttled by system-level protection.", 503), ExchangeUnavailable),
    "service unavailable": (refusal(-1, "Service Unavailable.", 503), ExchangeUnavailable),
    "firewall": (Answer("<html>403</html>", 403), ExchangeUnavailable),
    "margin": (refusal(-2019, "Margin is insufficient."), OrderRefused),
    "would trigger": (refusal(-2021, "Order would immediately trigger."), OrderRefused),
    "key format": (refusal(-2014, "API-key format invalid.", 401), CredentialsRefused),
    "key": (refusal(-2015, "Invalid API-key, IP, or permissions for action.", 401), CredentialsRefused),
    "signature": (refusal(-1022, "Signature for this request is not valid."), CredentialsRefused),
    "429": (refusal(-1003, "Too many requests; current limit is 2400 requests per minute.", 429), RateLimited),
    "order rate": (refusal(-1015, "Too many new orders; current limit is 300 orders per 10 SECONDS."), RateLimited),
}


@pytest.mark.parametrize(("answer", "error"), CERTAIN_FAILURES.values(), ids=CERTAIN_FAILURES)
def test_a_certain_failure_says_so_and_an_order_is_not_repeated(exchange, client, answer, error):
    exchange.script("POST", ORDER, answer)
    with pytest.raises(error) as raised:
        client.send(intent())
    assert type(raised.value) is error
    assert len(exchange.asked("POST", ORDER)) == 1


def test_refused_orders_name_binances_code(exchange, client):
    exchange.script("POST", ORDER, refusal(-2019, "Margin is insufficient."))
    with pytest.raises(OrderRefused, match="Margin is insufficient") as raised:
        client.send(intent())
    assert raised.value.code == -2019


def test_an_exchange_that_is_not_there_got_no_order(tmp_path):
    nobody = client_of("http://127.0.0.1:9", tmp_path, [])
    with pytest.raises(ExchangeUnavailable, match="cannot be reached"):
        nobody.send(intent())


def test_a_connection_never_made_is_distinguished_from_a_broken_one():
    refused = requests.exceptions.ConnectionError(MaxRetryError(None, "/", NewConnectionError(None, "refused")))  # type: ignore[arg-type]
    assert isinstance(translated(refused, "id"), ExchangeUnavailable)
    assert isinstance(translated(requests.exceptions.ConnectTimeout("slow"), "id"), ExchangeUnavailable)
    for broken in (requests.exceptions.ReadTimeout("slow"), requests.exceptions.ConnectionError("reset")):
        assert isinstance(translated(broken, "id"), OutcomeUnknown)
        assert isinstance(translated(broken, None), ExchangeUnavailable)


def test_an_id_that_is_at_work_already_is_the_order_that_was_sent(exchange, client):
    exchange.script("POST", ORDER, refusal(-4116, "clientOrderId is duplicated"))
    exchange.script("GET", ORDER, Answer(POSTED | {"avgPrice": "1.13", "status": "NEW"}))
    assert client.send(intent()).order_id == "33878894217"


def test_an_order_not_visible_yet_is_queried_again(exchange, client, pauses):
    exchange.script("GET", ORDER, ABSENT, ABSENT, Answer(POSTED | {"avgPrice": "1.1359"}))
    order = client.find_order(intent())
    assert order is not None
    assert order.average_price == Decimal("1.1359")
    assert exchange.asked("GET", ORDER)[0].parameters["origClientOrderId"] == intent().client_id
    assert len(pauses) == 2


def test_an_order_that_stays_away_does_not_exist(exchange, client, pauses):
    exchange.script("GET", ALGO, ABSENT)
    assert client.find_order(STOP) is None
    assert exchange.asked("GET", ALGO)[0].parameters["clientAlgoId"] == STOP.client_id
    assert sum(pauses) <= 3.0


def test_after_an_outage_orders_that_never_arrived_are_not_waited_for_one_after_the_other(
    exchange, client, pauses, monkeypatch
):
    exchange.script("POST", ORDER, Answer("<html>500</html>", 500))
    exchange.script("GET", ORDER, ABSENT)
    with pytest.raises(OutcomeUnknown):
        client.send(intent())
    assert client.find_order(intent()) is None
    service_state = len(pauses)
    later_s = time.monotonic() + 5.0
    monkeypatch.setattr("src.exchanges.binance.exchange.monotonic_s", lambda: later_s)
    assert client.find_order(intent()) is None
    assert (service_state, len(pauses)) == (4, 4)


@pytest.mark.parametrize("code", [-2011, -2013])
def test_cancelling_what_is_gone_counts_as_cancelled(exchange, client, code):
    exchange.script("DELETE", ORDER, refusal(code, "Unknown order sent."))
    client.cancel(order_of(OrderKind.MARKET))
    exchange.script("DELETE", ALGO, refusal(code, "Unknown order sent."))
    client.cancel(order_of(OrderKind.STOP_MARKET))
    assert exchange.asked("DELETE", ALGO)[0].parameters["algoId"] == "77"


def order_of(kind: OrderKind) -> Order:
    return Order("id", "77", "BTCUSDT", Side.SELL, kind, OrderStatus.NEW, Decimal(1), Decimal(0), Decimal(0), 1)


CONFIGURED = {
    "feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True, "dualSidePosition": False,
    "updateTime": 0, "multiAssetsMargin": False, "tradeGroupId": -1,
}  # fmt: skip
SYMBOL_ROW = {
    "symbol": "BTCUSDT", "marginType": "CROSSED", "isAutoAddMargin": False, "leverage": 7, "maxNotionalValue": "1000000"
}  # fmt: skip
SETTERS = ("/fapi/v1/positionSide/dual", "/fapi/v1/marginType", "/fapi/v1/leverage")


def test_settings_that_already_match_are_not_set(exchange, client):
    """Binance may refuse to set what is so already (-4067 with an order open): that must not stop a bot."""
    exchange.script("GET", "/fapi/v1/accountConfig", Answer(CONFIGURED))
    exchange.script("GET", "/fapi/v1/symbolConfig", Answer([SYMBOL_ROW]))
    for setter in SETTERS:
        exchange.script("POST", setter, refusal(-4067, "Position side cannot be changed if there exists open orders."))
    client.prepare("BTCUSDT", 7, "CROSSED")
    assert client.terms("BTCUSDT") == (7, "CROSSED")
    assert [len(exchange.asked("POST", setter)) for setter in SETTERS] == [0, 0, 0]
    assert client.ask_terms("BTCUSDT") == AccountTerms(7, "CROSSED", one_way=True, single_asset=True)


def test_only_what_differs_is_set(exchange, client):
    exchange.script("GET", "/fapi/v1/accountConfig", Answer({**CONFIGURED, "dualSidePosition": True}))
    exchange.script("GET", "/fapi/v1/symbolConfig", Answer([{**SYMBOL_ROW, "leverage": 20}]))
    exchange.script("POST", SETTERS[0], Answer({"code": 200, "msg": "success"}))
    exchange.script("POST", SETTERS[2], Answer({"leverage": 7, "maxNotionalValue": "1", "symbol": "BTCUSDT"}))
    client.prepare("BTCUSDT", 7, "CROSSED")
    assert exchange.asked("POST", SETTERS[0])[0].parameters["dualSidePosition"] == "false"
    assert exchange.asked("POST", SETTERS[2])[0].parameters["leverage"] == "7"
    assert exchange.asked("POST", SETTERS[1]) == []


# Reading


def test_a_question_is_asked_again_a_bounded_number_of_times(exchange, client, pauses):
    price = "/fapi/v2/ticker/price"
    exchange.script(
        "GET", price, refusal(-1001, "Internal error", 503), Answer("<html>", 502), Answer({"price": "5.5"})
    )
    assert client.get_current_price("BTCUSDT") == Decimal("5.5")
    exchange.script("GET", price, refusal(-1001, "Internal error", 503))
    before = len(exchange.asked("GET", price))
    with pytest.raises(ExchangeUnavailable):
        client.get_current_price("BTCUSDT")
    assert len(exchange.asked("GET", price)) - before == 3
    assert all(wait_s <= 1.0 for wait_s in pauses)


def test_a_refused_question_is_not_asked_again(exchange, client):
    exchange.script("GET", "/fapi/v2/ticker/price", refusal(-1121, "Invalid symbol."))
    with pytest.raises(OrderRefused):
        client.get_current_price("NOPE")
    assert len(exchange.asked("GET", "/fapi/v2/ticker/price")) == 1


def test_an_answer_that_makes_no_sense_is_trouble_of_the_exchange(exchange, client):
    exchange.script("GET", "/fapi/v2/ticker/price", Answer({"price": "many"}))
    with pytest.raises(ExchangeUnavailable, match="makes no sense"):
        client.get_current_price("BTCUSDT")


def test_a_ban_is_honoured_by_all_processes_of_the_address(exchange, client, tmp_path):
    until = now_ms() + 100_000
    banned = refusal(-1003, f"Way too many requests; IP banned until {until}. Please use the websocket.", 418)
    exchange.script("GET", "/fapi/v2/ticker/price", banned)
    with pytest.raises(RateLimited) as raised:
        client.get_current_price("BTCUSDT")
    assert raised.value.retry_after_s == pytest.approx(100, abs=2)
    asked = len(exchange.requests)
    other = client_of(exchange.base_url, tmp_path, [])
    for each in (client, other):
        with pytest.raises(RateLimited):
            each.get_current_price("BTCUSDT")
    with pytest.raises(RateLimited):
        client.send(intent(reduce_only=True))
    assert len(exchange.requests) == asked


def test_reads_stop_before_the_exchange_refuses_and_exits_still_pass(exchange, client):
    headers = {"X-MBX-USED-WEIGHT-1M": "2300"}
    exchange.script("GET", TIME, lambda request: Answer({"serverTime": 1_790_000_040_000}))
    exchange.script("GET", "/fapi/v2/ticker/price", Answer({"price": "5"}, headers=headers))
    exchange.script("POST", ORDER, Answer(POSTED))
    client.get_current_price("BTCUSDT")
    with pytest.raises(RateLimited):
        client.get_current_price("BTCUSDT")
    client.send(intent(reduce_only=True))


def kline(open_ms: int) -> list[object]:
    return [open_ms, *KLINE_ROW[1:6], open_ms + 59_999, *KLINE_ROW[7:]]


def test_candles_are_closed_ones_and_klines_as_the_exchange_gives_them(exchange, client):
    minute = now_ms() // 60_000 * 60_000
    exchange.script("GET", "/fapi/v1/klines", Answer([kline(minute - 60_000 * back) for back in (3, 2, 1, 0)]))
    assert [each.open_ms for each in client.candles("BTCUSDT", "1m", 2)] == [minute - 120_000, minute - 60_000]
    assert client.get_klines("BTCUSDT", "1m", 4)[-1].open_ms == minute


def test_long_histories_are_read_in_pages_without_hole_or_double(exchange, client):
    minute = now_ms() // 60_000 * 60_000

    def page(request: Request) -> Answer:
        end = int(request.parameters.get("endTime", minute)) // 60_000 * 60_000
        limit = int(request.parameters["limit"])
        return Answer([kline(end - 60_000 * back) for back in reversed(range(limit))])

    exchange.script("GET", "/fapi/v1/klines", page)
    found = client.candles("BTCUSDT", "1m", 4_000)
    assert [each.open_ms for each in found] == [minute - 60_000 * back for back in range(4_000, 0, -1)]
    assert all(int(each.parameters["limit"]) <= 1_500 for each in exchange.asked("GET", "/fapi/v1/klines"))


def test_the_candles_since_an_instant_are_all_closed_ones_from_it_on(exchange, client):
    minute = now_ms() // 60_000 * 60_000

    def page(request: Request) -> Answer:
        start, limit = int(request.parameters["startTime"]), int(request.parameters["limit"])
        return Answer([kline(start + 60_000 * step) for step in range(limit) if start + 60_000 * step <= minute])

    exchange.script("GET", "/fapi/v1/klines", page)
    found = client.candles_since("BTCUSDT", "1m", minute - 60_000 * 1_600)
    assert [each.open_ms for each in found] == [minute - 60_000 * back for back in range(1_600, 0, -1)]


def test_a_flat_account_costs_one_question(exchange, client):
    exchange.script("GET", "/fapi/v2/account", Answer(account_answer("0.000")))
    account = client.account()
    assert (account.wallet_balance, account.available_balance, account.positions) == (Decimal("100.5"), 90, ())
    assert client.terms("BTCUSDT") == (11, "ISOLATED")
    assert not exchange.asked("GET", "/fapi/v3/positionRisk")


def position_row(amount: str, unrealized: str, liquidation: str) -> dict[str, object]:
    prices = {"entryPrice": "50000", "markPrice": "51000", "liquidationPrice": liquidation}
    told = {"symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": amount, "updateTime": 5}
    return told | prices | {"unRealizedProfit": unrealized}


def account_answer(amount: str) -> dict[str, object]:
    asset = {"asset": "USDT", "walletBalance": "100.5", "availableBalance": "90"}
    position = {"symbol": "BTCUSDT", "positionAmt": amount, "leverage": "11", "isolated": True}
    return {"assets": [{"asset": "BNB"}, asset], "positions": [position]}


def test_positions_get_leverage_and_margin_type_from_the_account_response(exchange, client):
    exchange.script("GET", "/fapi/v2/account", Answer(account_answer("-0.002")))
    exchange.script("GET", "/fapi/v3/positionRisk", Answer([position_row("-0.002", "-2", "60000.1")]))
    account = client.account()
    position = account.position("BTCUSDT")
    assert position is not None
    assert (position.leverage, position.margin_type, position.liquidation_price) == (11, "ISOLATED", Decimal("60000.1"))
    assert account.equity == Decimal("98.5")


def test_closing_leaves_the_stop_until_the_position_is_gone(exchange, client):
    exchange.script("GET", "/fapi/v2/account", Answer(account_answer("0.002")))
    exchange.script("GET", "/fapi/v3/positionRisk", Answer([position_row("0.002", "2", "0")]))
    exchange.script("POST", ORDER, Answer(POSTED))
    exchange.script("GET", ORDER, Answer(POSTED | {"avgPrice": "51000"}))
    exchange.script("GET", "/fapi/v1/openAlgoOrders", Answer([ALGO_REPLY]))
    exchange.script("GET", "/fapi/v1/openOrders", Answer([POSTED | {"status": "NEW", "type": "LIMIT"}]))
    exchange.script("DELETE", ALGO, Answer({"algoId": 1, "code": "200", "msg": "success"}))
    exchange.script("DELETE", ORDER, Answer(POSTED | {"status": "CANCELED"}))
    closed = client.close_position("BTCUSDT")
    assert closed is not None
    assert closed.average_price == 51000
    asked = [(each.method, each.path) for each in exchange.requests]
    assert asked.index(("POST", ORDER)) < asked.index(("DELETE", ALGO)) < asked.index(("DELETE", ORDER))
    sent = exchange.asked("POST", ORDER)[0].parameters
    assert (sent["side"], sent["quantity"], sent["reduceOnly"]) == ("SELL", "0.002", "true")


def test_a_market_order_whose_answer_was_lost_is_looked_up_and_returned(exchange, client):
    exchange.script("POST", ORDER, Answer(DROP))
    exchange.script("GET", ORDER, Answer(POSTED | {"avgPrice": "1.1359"}))
    order = client.place_market_order("DOTUSDT", "BUY", Decimal("4.9"))
    assert order.average_price == Decimal("1.1359")
    assert len(exchange.asked("POST", ORDER)) == 1


def _ask_in_vain(client: BinanceClient) -> None:
    with suppress(ExchangeUnavailable):
        client.mark_price("BTCUSDT")


def test_two_hanging_threads_do_not_hold_up_a_third(exchange, tmp_path):
    client = client_of(exchange.base_url, tmp_path, [])
    client.sync_clock()
    exchange.script("GET", "/fapi/v1/premiumIndex", Answer(HANG))
    exchange.script("POST", ORDER, Answer(POSTED))
    began = time.monotonic()
    for _ in range(2):
        threading.Thread(target=_ask_in_vain, args=(client,), daemon=True).start()
    while len(exchange.asked("GET", "/fapi/v1/premiumIndex")) < 2:
        assert time.monotonic() - began < 5
    client.send(intent(reduce_only=True))
    assert time.monotonic() - began < 2


@pytest.mark.long
def test_a_process_that_ends_waits_for_no_answer_and_asks_nothing_afterwards(exchange, client):
    client.sync_clock()
    exchange.script("GET", "/fapi/v2/ticker/price", Answer(HANG))
    client.wire.leave_within(0.3)
    began = time.monotonic()
    with pytest.raises(ExchangeUnavailable):
        client.get_current_price("BTCUSDT")
    with pytest.raises(ExchangeUnavailable, match="this process ends"):
        client.place_market_order("BTCUSDT", "BUY", Decimal("0.01"))
    assert time.monotonic() - began < 3.0
    assert exchange.asked("POST", "/fapi/v1/order") == []


def test_a_hanging_order_ends_as_unknown_within_its_time(exchange, client, monkeypatch):
    assert transport._READ_S == 5.0
    monkeypatch.setattr(transport, "_READ_S", 0.5)
    exchange.script("POST", ORDER, Answer(HANG))
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        client.send(intent())
    assert 0.4 < time.monotonic() - began < 4.5
    assert len(exchange.asked("POST", ORDER)) == 1


# Addresses, permissions, self-check


class _Settings:
    def __init__(self, mode: str, base: str = "") -> None:
        self.mode, self.binance_base_url, self.paper_url = mode, base, "http://127.0.0.1:3100"


@pytest.mark.parametrize(
    ("settings", "rest"),
    [
        (_Settings("paper"), "http://127.0.0.1:3100"),
        (_Settings("testnet"), TESTNET.rest),
        (_Settings("live"), LIVE.rest),
        (_Settings("live", "https://mirror.example/"), "https://mirror.example"),
    ],
)
def test_only_addresses_differ_between_the_modes(settings, rest):
    assert addresses_of(settings).rest == rest  # type: ignore[arg-type]


def test_a_base_address_serves_rest_wallet_and_streams():
    addresses = Addresses.of_base("paper", "https://host:1/")
    assert (addresses.rest, addresses.wallet, addresses.streams) == ("https://host:1", "https://host:1", "wss://host:1")


def test_credentials_are_not_shown():
    assert KEY not in repr(CREDENTIALS)
    assert SECRET not in repr(CREDENTIALS)


def test_the_keys_permissions_are_read_from_the_wallet(exchange, client):
    answer = {"ipRestrict": True, "enableWithdrawals": False, "enableInternalTransfer": False,
              "permitsUniversalTransfer": True, "enableFutures": True}  # fmt: skip
    exchange.script("GET", "/sapi/v1/account/apiRestrictions", Answer(answer))
    allowed = client.api_restrictions()
    assert (allowed.withdraw, allowed.transfer, allowed.futures, allowed.address_bound) == (False, True, True, True)


def test_the_self_check_names_a_symbol_that_is_not_traded(exchange, client):
    exchange.script("GET", "/fapi/v1/exchangeInfo", Answer({"symbols": [], "rateLimits": []}))
    with pytest.raises(OrderRefused, match="BTCUSDT is not a contract"):
        check_report(client, "BTCUSDT")


def test_purposes_of_the_clients_own_orders_stand_in_their_ids(exchange, client):
    exchange.script("POST", ORDER, Answer(POSTED))
    exchange.script("GET", ORDER, Answer(POSTED | {"avgPrice": "1"}))
    for _ in range(2):
        client.place_market_order("DOTUSDT", Side.BUY, Decimal("4.9"))
    ids = [each.parameters["newClientOrderId"] for each in exchange.asked("POST", ORDER)]
    assert len(set(ids)) == 2
    assert all(f"-{Purpose.ENTRY.value[0]}" in each and len(each) <= 36 for each in ids)


@pytest.mark.long
def test_the_self_check_prints_its_report_and_returns_the_right_exit_code(tmp_path):
    with paper_server(tmp_path) as server:
        base = server.exchange.address
        good = {"BINANCE_BASE_URL": base, "PAPER_API_KEY": API_KEY, "PAPER_API_SECRET": API_SECRET}
        cases: list[tuple[dict[str, str], int, str]] = [
            ({}, 0, "balance        10000"),
            ({"PAPER_API_SECRET": "x" * 64}, 77, "check the key and the secret"),
            ({"TRADING_PAIR": "NOPEUSDT"}, 78, "NOPEUSDT is not a contract"),
            ({"BINANCE_BASE_URL": "http://127.0.0.1:9"}, 69, "cannot be reached"),
        ]
        for changes, code, text in cases:
            done = self_check({**good, **changes}, tmp_path)
            assert (done.returncode, text in done.stdout + done.stderr) == (code, True), done
            assert len(done.stderr.splitlines()) == (0 if code == 0 else 1)
            assert API_SECRET not in done.stdout + done.stderr


def self_check(settings: dict[str, str], folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "TRADING_MODE": "paper", "TRADING_PAIRS": "", "TRADING_PAIR": "BTCUSDT", **settings}
    command = [sys.executable, str(ROOT / "src" / "binance_client.py")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
