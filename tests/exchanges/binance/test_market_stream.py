"""The stream against the real paper exchange: nothing missed, nothing told twice, whatever happens to its sockets."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from src.domain.errors import OutcomeUnknown, RateLimited
from src.domain.market import Candle, MarkPrice
from src.domain.orders import Fill, Order, OrderIntent, OrderKind, OrderStatus, Purpose, Side, client_id
from src.domain.portfolio import KnownTransfers
from src.domain.ports import Income
from src.exchanges.binance.market_stream import Callbacks, MarketStream
from src.exchanges.binance.transfers import TransferTracker
from tests.paper_world import PaperServer, paper_server

pytestmark = pytest.mark.long
SYMBOL = "BTCUSDT"
SIZE = Decimal("0.01")
MINUTE_MS = 60_000


class Told:
    """Everything the stream told, in order."""

    def __init__(self) -> None:
        self.marks: list[MarkPrice] = []
        self.candles: list[Candle] = []
        self.fills: list[Fill] = []
        self.orders: list[Order] = []

    def callbacks(self) -> Callbacks:
        return Callbacks(
            self.marks.append, lambda symbol, candle: self.candles.append(candle), self.fills.append, self.orders.append
        )


@contextmanager
def running_stream(server: PaperServer, told: Told | None = None, reconcile_s: float = 600.0) -> Iterator[MarketStream]:
    stream = MarketStream(
        exchange=server.client(), symbols=[SYMBOL], reconcile_s=reconcile_s, callbacks=(told or Told()).callbacks()
    )
    stream.start()
    try:
        assert stream.wait_until_ready(15), stream.health()
        yield stream
    finally:
        began = time.monotonic()
        stream.stop()
        assert time.monotonic() - began < 2.5


def until(fact: Callable[[], object], within_s: float = 20.0) -> None:
    """Wait for a fact, a bounded time."""
    deadline = time.monotonic() + within_s
    while not fact():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PaperServer]:
    with paper_server(tmp_path) as running:
        yield running


@pytest.fixture
def fast_server(tmp_path: Path) -> Iterator[PaperServer]:
    with paper_server(tmp_path, speed=300.0) as running:
        yield running


@pytest.fixture
def told() -> Told:
    return Told()


def contiguous(candles: list[Candle]) -> bool:
    return all(later.open_ms - earlier.open_ms == MINUTE_MS for earlier, later in pairwise(candles))


def test_every_closed_candle_is_sent_once_and_equals_that_of_rest(fast_server, told):
    with running_stream(fast_server, told) as stream:
        history = stream.candles(SYMBOL)
        assert len(history) >= 1_000
        until(lambda: len(told.candles) >= 20)
        known = list(stream.candles(SYMBOL))
        rest = {each.open_ms: each for each in fast_server.client().candles(SYMBOL, "1m", 60)}
    assert contiguous(known)
    assert contiguous(told.candles)
    compared = [each for each in told.candles[:20] if each.open_ms in rest]
    assert len(compared) == 20
    assert all(rest[each.open_ms] == each for each in compared)
    assert stream.health().malformed == 0


def test_a_candle_can_be_waited_for(fast_server):
    with running_stream(fast_server) as stream:
        next_ms = stream.candles(SYMBOL)[-1].open_ms + 3 * MINUTE_MS
        found = stream.wait_for_candle(SYMBOL, next_ms, 5.0)
        assert found is not None
        assert found.open_ms == next_ms
        assert stream.wait_for_candle(SYMBOL, next_ms + 10**9, 0.1) is None


def test_mark_prices_come_in_order_each_once(fast_server, told):
    with running_stream(fast_server, told):
        until(lambda: len(told.marks) > 50)
    times = [each.time_ms for each in told.marks]
    assert times == sorted(set(times))


def test_a_stale_market_socket_is_replaced_and_rest_is_used_meanwhile(fast_server, told):
    with running_stream(fast_server, told) as stream:
        fast_server.control("POST", "faults", kind="silence", paths=["market"], for_s=8)
        before = stream.health().market
        marks = len(told.marks)
        until(lambda: "no data" in stream.health().market.last_error, 10)
        until(lambda: stream.health().market.connects > before.connects, 10)
        assert contiguous(list(stream.candles(SYMBOL)))
        until(lambda: len(told.marks) > marks, 10)
        until(lambda: stream.health().market.last_frame_ms > before.last_frame_ms, 20)
        caught_up = len(told.candles)
        until(lambda: len(told.candles) > caught_up + 5, 10)
        assert contiguous(told.candles)
        assert contiguous(list(stream.candles(SYMBOL)))


def test_a_cut_market_socket_leaves_no_hole(fast_server, told):
    with running_stream(fast_server, told) as stream:
        for times in range(3):
            fast_server.control("POST", "sockets", how="drop", route="market")
            until(lambda seen=times: stream.health().market.connects > seen + 1)
            caught_up = len(told.candles)
            until(lambda seen=caught_up: len(told.candles) > seen + 5)
        assert contiguous(told.candles)
        assert contiguous(list(stream.candles(SYMBOL)))


def test_sockets_refused_for_a_while_cost_candles_only_time(fast_server, told):
    with running_stream(fast_server, told) as stream:
        fast_server.control("POST", "faults", kind="refuse_sockets", paths=["market"], for_s=3)
        fast_server.control("POST", "sockets", how="close", route="market")
        caught_up = len(told.candles)
        until(lambda: len(told.candles) > caught_up + 10)
        assert contiguous(told.candles)
        until(lambda: stream.health().market.connected and stream.health().market.connects > 1)


def test_the_account_follows_orders_within_a_second(server, told):
    with running_stream(server, told) as stream:
        client = server.client()
        order = client.place_market_order(SYMBOL, "BUY", SIZE)
        until(lambda: told.fills and stream.account().position(SYMBOL) is not None, 1.0)
        assert stream.account().position(SYMBOL).quantity == SIZE
        until(lambda: stream.account().position(SYMBOL).leverage == client.account().positions[0].leverage, 2.0)
        stop = stream.account().position(SYMBOL).entry_price
        client.set_stop_loss_take_profit(SYMBOL, stop * Decimal("0.98"), stop * Decimal("1.05"))
        until(
            lambda: (
                {each.kind for each in stream.open_orders()} == {OrderKind.STOP_MARKET, OrderKind.TAKE_PROFIT_MARKET}
            ),
            1.0,
        )
        client.close_position(SYMBOL)
        until(lambda: stream.account().positions == () and not stream.open_orders(), 1.0)
        rest = client.account()
        assert stream.account().wallet_balance == rest.wallet_balance
        assert stream.account().equity == rest.equity
    assert told.fills[0].client_id == order.client_id
    assert sum(fill.quantity for fill in told.fills) == 2 * SIZE


def test_a_triggered_stop_is_reported_step_by_step(server, told):
    with running_stream(server, told) as stream:
        client = server.client()
        client.place_market_order(SYMBOL, "BUY", SIZE)
        entry = client.get_open_positions(SYMBOL)[0].entry_price
        client.set_stop_loss_take_profit(SYMBOL, entry * Decimal("0.98"), entry * Decimal("1.05"))
        server.control("POST", "shock", symbol=SYMBOL, percent=-4)
        server.control("POST", "clock", advance_ms=2 * MINUTE_MS)
        until(lambda: stream.account().positions == (), 5)
    stops = [order for order in told.orders if order.kind is OrderKind.STOP_MARKET]
    assert [stops[0].status, stops[-1].status] == [OrderStatus.NEW, OrderStatus.FILLED]
    assert stops[-1].spawned_id == told.fills[-1].order_id
    assert told.fills[-1].client_id == stops[-1].client_id


def test_events_missed_during_a_lost_user_socket_are_caught_up_once(server, told):
    with running_stream(server, told) as stream:
        client = server.client()
        client.place_market_order(SYMBOL, "BUY", SIZE)
        until(lambda: told.fills)
        server.control("POST", "faults", kind="refuse_sockets", paths=["private"], for_s=2)
        server.control("POST", "sockets", how="drop", route="private")
        until(lambda: not stream.health().user.connected)
        client.close_position(SYMBOL)
        assert stream.account().position(SYMBOL) is not None
        until(lambda: stream.account().positions == () and len(told.fills) >= 2, 15)
        trade_ids = [fill.trade_id for fill in told.fills]
        assert len(trade_ids) == len(set(trade_ids))
        assert sum(fill.realized_pnl - fill.fee for fill in told.fills) == stream.account().wallet_balance - 10_000


def test_a_user_stream_without_events_is_detected_by_rest_and_replaced(server, told):
    with running_stream(server, told, reconcile_s=3.0) as stream:
        server.control("POST", "faults", kind="silence", paths=["private"], for_s=60)
        server.client().place_market_order(SYMBOL, "BUY", SIZE)
        until(lambda: stream.account().position(SYMBOL) is not None, 8)
        server.control("DELETE", "faults")
        until(lambda: stream.health().user.connects > 1, 10)
        until(lambda: len(told.fills) == 1, 10)


def test_an_expired_listen_key_is_replaced(server, told):
    with running_stream(server, told) as stream:
        server.control("POST", "expire_listen_keys")
        until(lambda: stream.health().user.connects > 1 and stream.health().user.connected, 10)
        server.client().place_market_order(SYMBOL, "BUY", SIZE)
        until(lambda: told.fills, 3)


def test_events_that_come_twice_or_late_change_nothing(server, told):
    with running_stream(server, told) as stream:
        server.control("POST", "faults", kind="duplicate", paths=["private"])
        server.control("POST", "faults", kind="late", paths=["private"], delay_ms=200)
        client = server.client()
        for _ in range(3):
            client.place_market_order(SYMBOL, "BUY", SIZE)
            client.close_position(SYMBOL)
        until(lambda: len(told.fills) >= 6 and stream.account().positions == (), 10)
        time.sleep(0.5)  # whatever is still late
        assert stream.account().wallet_balance == client.account().wallet_balance
    assert max(Counter(fill.trade_id for fill in told.fills).values()) == 1
    finals = Counter(order.order_id for order in told.orders if order.status.final)
    assert set(finals.values()) == {1}


def test_a_hanging_rest_does_not_hold_up_prices_or_the_end(server, told):
    with running_stream(server, told, reconcile_s=1.0):
        server.control("POST", "faults", kind="hang", for_s=30)
        time.sleep(2.0)  # both hands are held by now
        marks = len(told.marks)
        until(lambda: len(told.marks) >= marks + 3, 5)


def test_an_hour_without_faults_costs_few_rest_calls_and_keeps_the_listen_key(fast_server):
    with running_stream(fast_server) as stream:
        start_ms = fast_server.now_ms()
        first_hour_ms = (start_ms // 3_600_000 + 1) * 3_600_000
        until(lambda: fast_server.now_ms() > first_hour_ms + 2 * 3_600_000 + MINUTE_MS, 60)
        assert stream.health().rest_errors == ()
        assert stream.health().user.connects == 1  # the listen key was kept alive
        hours = sorted(fast_server.requests_by_hour().items())
    for hour, calls in hours[1:3]:
        print(f"REST calls in the market hour from {hour}: {sum(calls.values())} {calls}")
        assert sum(calls.values()) < 60


# The client under the exchange's faults: exactly one order


LOST = {
    "lost after placing": {"kind": "lost", "placed": True},
    "lost before placing": {"kind": "lost", "placed": False},
    "unknown, placed": {"kind": "unknown_error", "placed": True},
    "unknown, not placed": {"kind": "unknown_error", "placed": False},
    "-1007, placed": {"kind": "backend_timeout", "placed": True},
    "-1006, placed": {"kind": "message_bus", "placed": True},
    "500, placed": {"kind": "server_error", "placed": True},
    "502, not placed": {"kind": "bad_gateway", "placed": False},
    "hanging": {"kind": "hang"},
}


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_an_answer_that_is_lost_leaves_at_most_one_order_and_we_know_which(server, fault):
    client = server.client()
    now_ms = server.now_ms()
    intent = OrderIntent(
        client_id=client_id("faults", SYMBOL, now_ms, Purpose.ENTRY),
        symbol=SYMBOL,
        side=Side.BUY,
        kind=OrderKind.MARKET,
        purpose=Purpose.ENTRY,
        quantity=SIZE,
        decided_ms=now_ms,
    )
    client.sync_clock()
    server.control("POST", "faults", paths=["POST /fapi/v1/order"], **fault)
    with pytest.raises(OutcomeUnknown):
        client.send(intent)
    server.control("POST", "faults", kind="order_missing", paths=["GET /fapi/v1/order"], times=2)
    found = client.find_order(intent)
    counts = server.order_counts()
    assert counts.get(intent.client_id, 0) == (0 if found is None else 1)
    assert (found is not None) == bool(fault.get("placed", False))
    held = client.get_open_positions(SYMBOL)
    assert [each.quantity for each in held] == ([SIZE] if found else [])


def test_a_wrong_clock_is_corrected_and_the_order_exists_once(server):
    client = server.client()
    client.sync_clock()
    server.control("POST", "skew", skew_ms=90_000)
    order = client.place_market_order(SYMBOL, "BUY", SIZE)
    assert order.status is OrderStatus.FILLED
    assert server.order_counts()[order.client_id] == 1


def test_after_429_nothing_is_sent_until_the_minute_is_over(fast_server):
    client = fast_server.client()
    client.get_current_price(SYMBOL)
    fast_server.control("POST", "faults", kind="too_many", paths=["GET"])
    with pytest.raises(RateLimited) as refusal:
        client.get_current_price(SYMBOL)
    assert refusal.value.retry_after_s <= 0.2  # a market minute at this speed
    time.sleep(refusal.value.retry_after_s)
    assert client.get_current_price(SYMBOL) > 0


def test_a_ban_is_waited_out_without_a_single_request(server):
    client = server.client()
    client.get_current_price(SYMBOL)
    server.control("POST", "ban", for_s=3)
    with pytest.raises(RateLimited):
        client.get_current_price(SYMBOL)
    before = sum(sum(each.values()) for each in server.requests_by_hour().values())
    for _ in range(5):
        with pytest.raises(RateLimited):
            client.account()
    assert sum(sum(each.values()) for each in server.requests_by_hour().values()) == before
    time.sleep(3.0)
    assert client.get_current_price(SYMBOL) > 0


def test_our_requests_never_reach_the_exchanges_limit(server):
    client = server.client()
    client.instrument(SYMBOL)
    refused = 0
    for _ in range(200):
        try:
            client.cost_rates(SYMBOL)
            client._costs.clear()
        except RateLimited:
            refused += 1
    assert refused
    order = client.place_market_order(SYMBOL, "BUY", SIZE)  # exits and their checks still pass
    assert order.status is OrderStatus.FILLED


@pytest.mark.parametrize("deaf", [False, True])
def test_money_paid_in_or_out_is_never_seen_as_earned_or_lost(server, deaf):
    """Told by the stream, or found by a look while the stream is deaf: wallet and payments change as one."""
    earned: set[Decimal] = set()

    def known(stream: MarketStream, total: int) -> bool:
        account = stream.account()
        assert account is not None
        earned.add(account.earned)
        return account.transferred == total

    with running_stream(server, reconcile_s=1.0) as stream:
        if deaf:
            server.control("POST", "faults", kind="silence", paths=["private"], for_s=60)
        for amount, total in ((-2_000, -2_000), (500, -1_500), (500, -1_000)):
            server.control("POST", "transfer", asset="USDT", amount=str(amount))
            until(lambda total=total: known(stream, total), 20)
        assert stream.account().wallet_balance == Decimal(9_000)
    assert earned == {Decimal(10_000)}


def test_each_payment_is_booked_once_under_the_exchange_s_id_over_two_starts(server):
    booked: dict[tuple[str, str], Decimal] = {}
    looked_ms = server.now_ms()

    def keep(income: Income, _told_ms: int | None, counted: bool) -> None:
        assert counted and (income.kind, income.transaction_id) not in booked
        booked[income.kind, income.transaction_id] = income.amount

    for start in range(3):
        known = KnownTransfers(frozenset(booked), sum(booked.values(), Decimal(0)), looked_ms)
        stream = MarketStream(
            exchange=server.client(), symbols=[SYMBOL], transfers=TransferTracker("USDT", known, keep)
        )
        stream.start()
        assert stream.wait_until_ready(15)
        assert len(booked) == 2 * start
        server.control("POST", "transfer", asset="USDT", amount="100")
        until(lambda start=start: len(booked) == 2 * start + 1)
        assert stream.account().transferred == sum(booked.values())
        stream.stop()
        server.control("POST", "transfer", asset="USDT", amount="-30")  # nobody is there
    assert sorted(booked.values()) == [-30, -30, 100, 100, 100]
