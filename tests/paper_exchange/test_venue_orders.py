"""Regular orders: what fills, at which price, in which order it is told, and what is refused with which code."""

from dataclasses import replace

import pytest

from src.paper_exchange.contracts import CONTRACTS
from src.paper_exchange.events import AccountUpdate, OrderUpdate
from src.paper_exchange.model import OrderRequest, Refusal, VenueError
from src.paper_exchange.venue import Venue
from tests.paper_exchange.table_market import (
    KEY,
    MINUTE_MS,
    START_MS,
    D,
    TableMarket,
    amount,
    flat,
    limit,
    market,
    venue_on,
    wallet,
    words,
)


@pytest.fixture
def venue() -> Venue:
    """A quiet minute at 60,000, one down to 59,900 and back, one down to 59,000, then quiet."""
    falls = [(60_000, 60_000, 59_900, 60_000), (60_000, 60_000, 59_000, 59_500)]
    return venue_on(flat(60_000, 1) + falls + flat(59_500, 60), balance=D(10**6))


def refused(venue: Venue, request: OrderRequest) -> tuple[int, str, int]:
    """Return code, message and HTTP status of the refusal that the request must meet."""
    with pytest.raises(VenueError) as caught:
        venue.place_order(KEY, request)
    return caught.value.code, caught.value.msg, caught.value.http_status


def test_a_market_order_takes_the_ask_and_its_events_have_the_exchanges_order(venue: Venue) -> None:
    order = market(venue, "BUY", "0.1", client_id="mine")
    events = venue.drain()
    assert (order.status, order.executed, order.average_price) == ("FILLED", D("0.1"), D("60000.1"))
    assert words(events) == ["TradeLite", "order NEW", "account ORDER", "order TRADE"]
    assert {event.time_ms for event in events} == {START_MS}
    account = events[2]
    assert isinstance(account, AccountUpdate)
    assert [(row.asset, row.change) for row in account.balances] == [("USDT", 0)]
    assert [(row.symbol, row.amount, row.break_even_price) for row in account.positions] == [
        ("BTCUSDT", D("0.1"), D("60030.10005"))
    ]
    new = events[1]
    assert isinstance(new, OrderUpdate)
    assert (new.order.status, new.order.executed) == ("NEW", 0)


def test_a_larger_order_walks_the_depth_and_what_it_took_is_gone_for_that_minute(venue: Venue) -> None:
    first = market(venue, "BUY", "25")  # a unit is 2 % of 1,000: 20 at the best price, 40 at the next
    assert [(trade.price, trade.quantity) for trade in venue.trades(KEY)] == [(D("60000.1"), 20), (D("60001.3"), 5)]
    second = market(venue, "BUY", "1")
    assert second.average_price == D("60001.3")
    venue.advance(START_MS + MINUTE_MS)
    assert market(venue, "BUY", "1").average_price == D("60000.1")
    assert first.average_price == (20 * D("60000.1") + 5 * D("60001.3")) / 25


def test_slippage_grows_with_size_against_volume() -> None:
    prices = []
    for volume in (10_000.0, 1_000.0, 100.0):
        venue = Venue(TableMarket({"BTCUSDT": flat(60_000, 5)}, volume=volume), START_MS, balance=D(10**7))
        venue.open_account(KEY)
        prices.append(market(venue, "BUY", "100").average_price)
    assert prices[0] < prices[1] < prices[2]
    assert prices[0] == D("60000.1")
    assert 20 < prices[2] - 60_000 < 60  # one minute's volume: some 5 basis points on average


def test_a_market_order_takes_nothing_beyond_the_bound_and_its_rest_expires() -> None:
    venue = Venue(TableMarket({"BTCUSDT": flat(60_000, 5)}, volume=1.0), START_MS, balance=D(10**8))
    venue.open_account(KEY)
    order = market(venue, "BUY", "120")
    assert order.status == "EXPIRED"
    assert 0 < order.executed < 120
    assert max(trade.price for trade in venue.trades(KEY)) <= 63_000
    assert words(venue.drain())[-1] == "order EXPIRED"


def test_a_resting_buy_fills_as_maker_when_the_ask_comes_down_to_it(venue: Venue) -> None:
    order = limit(venue, "BUY", "0.5", "59950")
    assert words(venue.drain()) == ["order NEW"]
    venue.advance(START_MS + 2 * MINUTE_MS)
    filled = venue.order(KEY, "BTCUSDT", order.order_id)
    assert (filled.status, filled.average_price) == ("FILLED", D(59950))
    assert venue.trades(KEY)[0].maker
    assert venue.trades(KEY)[0].commission == D("5.995")  # 0.02 %
    # last must reach 59,949.9, one tick below: 50.1 of 100 on the way from 15 s to 30 s
    assert filled.updated_ms == START_MS + MINUTE_MS + 15_000 + 7_515


def test_a_limit_that_crosses_takes_up_to_its_price_and_rests_with_the_rest(venue: Venue) -> None:
    order = limit(venue, "BUY", "25", "60000.1")
    assert (order.status, order.executed) == ("PARTIALLY_FILLED", 20)
    venue.advance(START_MS + MINUTE_MS - 1)
    assert venue.order(KEY, "BTCUSDT", order.order_id).executed == 20
    venue.advance(START_MS + MINUTE_MS)  # the depth is put back: the rest is filled, now as maker
    assert venue.order(KEY, "BTCUSDT", order.order_id).status == "FILLED"
    assert [trade.maker for trade in venue.trades(KEY)] == [False, True]


def test_times_in_force(venue: Venue) -> None:
    assert limit(venue, "BUY", "25", "60000.1", time_in_force="IOC").status == "EXPIRED"
    assert amount(venue) == 20
    assert refused(venue, OrderRequest("BTCUSDT", "BUY", "LIMIT", D(50), D("60001.3"), "FOK"))[0] == -5021
    assert limit(venue, "BUY", "40", "60001.3", time_in_force="FOK").status == "FILLED"
    assert refused(venue, OrderRequest("BTCUSDT", "SELL", "LIMIT", D(1), D("59999.9"), "GTX"))[0] == -5022
    resting = limit(venue, "SELL", "1", "60000", time_in_force="GTX")
    assert resting.status == "NEW"
    with pytest.raises(VenueError) as caught:
        venue.order(KEY, "BTCUSDT", resting.order_id - 1)  # refused orders leave no record
    assert caught.value.code == -2013


def test_a_good_till_date_order_expires_at_its_date(venue: Venue) -> None:
    date = START_MS + 900_000
    order = limit(venue, "BUY", "0.1", "58000", time_in_force="GTD", good_till_ms=date)
    venue.advance(date + 5)
    gone = venue.order(KEY, "BTCUSDT", order.order_id)
    assert (gone.status, gone.updated_ms) == ("EXPIRED", date)
    short = OrderRequest("BTCUSDT", "BUY", "LIMIT", D("0.1"), D(58000), "GTD", good_till_ms=date + 5)
    assert refused(venue, short)[0] == -5040


def test_a_larger_opposite_order_flips_the_position_in_one_trade(venue: Venue) -> None:
    market(venue, "BUY", "1")
    venue.advance(START_MS + 4 * MINUTE_MS)
    market(venue, "SELL", "3")
    row = venue.positions(KEY, "BTCUSDT")[0]
    assert (row.amount, row.entry_price) == (-2, D("59499.9"))
    last = venue.trades(KEY)[-1]
    assert (last.quantity, last.realized_pnl) == (3, D("59499.9") - D("60000.1"))


def test_reducing_keeps_the_entry_and_adding_averages_it(venue: Venue) -> None:
    market(venue, "BUY", "2")
    venue.advance(START_MS + 4 * MINUTE_MS)
    market(venue, "SELL", "0.5")
    assert venue.positions(KEY)[0].entry_price == D("60000.1")
    market(venue, "BUY", "1.5")
    assert venue.positions(KEY)[0].entry_price == (D("60000.1") + D("59500.1")) / 2


def test_reduce_only_is_cut_to_the_position_and_refused_without_one(venue: Venue) -> None:
    order = OrderRequest("BTCUSDT", "SELL", "MARKET", D(1), reduce_only=True)
    assert refused(venue, order)[:2] == (-2022, "ReduceOnly Order is rejected.")
    market(venue, "BUY", "0.4")
    assert refused(venue, replace(order, side="BUY"))[0] == -2022
    assert venue.place_order(KEY, order).status == "FILLED"
    assert amount(venue) == 0


def test_a_resting_reduce_only_order_expires_with_the_position_it_was_to_close(venue: Venue) -> None:
    market(venue, "BUY", "0.4")
    resting = limit(venue, "SELL", "0.4", "61000", reduce_only=True)
    market(venue, "SELL", "0.1")
    assert venue.order(KEY, "BTCUSDT", resting.order_id).is_open
    market(venue, "SELL", "0.3")
    assert venue.order(KEY, "BTCUSDT", resting.order_id).status == "EXPIRED"


def test_a_client_id_is_unique_among_open_orders_only(venue: Venue) -> None:
    first = market(venue, "BUY", "0.1", client_id="again")
    second = market(venue, "BUY", "0.1", client_id="again")  # filled orders do not block: a blind resend doubles
    assert second.order_id > first.order_id
    assert venue.order(KEY, "BTCUSDT", client_id="again").order_id == second.order_id
    limit(venue, "BUY", "0.1", "58000", client_id="again")
    request = OrderRequest("BTCUSDT", "BUY", "LIMIT", D("0.1"), D(58000), "GTC", client_id="again")
    assert refused(venue, request) == (-4116, "clientOrderId is duplicated", 400)
    venue.cancel_order(KEY, "BTCUSDT", client_id="again")
    assert venue.place_order(KEY, request).status == "NEW"


GOOD = OrderRequest("BTCUSDT", "BUY", "LIMIT", D("0.1"), D("59000"), "GTC", client_id="a")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"price": None}, -1102),
        ({"time_in_force": ""}, -1102),
        ({"quantity": None}, -1102),
        ({"type": "MARKET", "time_in_force": ""}, -1106),  # with a price
        ({"side": "HOLD"}, -1117),
        ({"type": "OCO"}, -1116),
        ({"time_in_force": "DAY"}, -1115),
        ({"client_id": "no spaces"}, -4015),
        ({"client_id": "x" * 37}, -4015),
        ({"symbol": "NOPEUSDT"}, -1121),
        ({"type": "STOP_MARKET", "price": None}, -4120),
        ({"price": D("59000.123")}, -1111),
        ({"quantity": D("0.0001")}, -1111),
        ({"price": D("-1")}, -4001),
        ({"price": D("5000000")}, -4002),
        ({"price": D("1")}, -4013),
        ({"price": D("59000.05")}, -4014),
        ({"quantity": D(0)}, -4003),
        ({"quantity": D(1001)}, -4005),
        ({"type": "MARKET", "price": None, "time_in_force": "", "quantity": D(121)}, -4005),
        ({"position_side": "LONG"}, -4061),
        ({"reduce_only": True}, -2022),
        ({"quantity": D("0.001"), "price": D("40000")}, -4164),
        ({"price": D("63000.1")}, -4016),
        ({"side": "SELL", "price": D("56999.9")}, -4024),
        ({"quantity": D(500)}, -2019),
    ],
)
def test_what_is_wrong_is_refused_with_the_exchanges_code(venue: Venue, changes: dict[str, object], code: int) -> None:
    assert refused(venue, replace(GOOD, **changes))[0] == code  # type: ignore[arg-type]
    assert venue.drain() == []
    assert venue.open_orders(KEY) == []


def test_the_checks_come_in_the_exchanges_order(venue: Venue) -> None:
    limit(venue, "BUY", "0.1", "59000", client_id="a")
    steps = [  # each request mends the fault before it and keeps all those behind it
        ({"side": "HOLD", "symbol": "X", "price": D("1.123"), "position_side": "LONG"}, -1117),
        ({"side": "BUY"}, -1121),
        ({"symbol": "BTCUSDT"}, -1111),
        ({"price": D("1.1")}, -4013),
        ({"price": D("70000"), "quantity": D("1000")}, -4061),
        ({"position_side": "BOTH"}, -4016),
        ({"price": D("60500")}, -4116),
        ({"client_id": "b"}, -2019),
        ({"quantity": D("0.1")}, 0),
    ]
    request = GOOD
    for changes, code in steps:
        request = replace(request, **changes)  # type: ignore[arg-type]
        if code:
            assert refused(venue, request)[0] == code
    assert venue.place_order(KEY, request).is_open is False


def test_the_leverage_bracket_is_another_refusal_than_the_margin() -> None:
    venue = venue_on(flat(60_000, 5))
    venue.set_leverage(KEY, "BTCUSDT", 125)  # at most 300,000 of notional
    assert refused(venue, OrderRequest("BTCUSDT", "BUY", "MARKET", D("5.1")))[:2] == (
        -2027,
        "Exceeded the maximum allowable position at current leverage.",
    )
    limit(venue, "BUY", "2.5", "59000")
    assert refused(venue, OrderRequest("BTCUSDT", "BUY", "MARKET", D("2.6")))[0] == -2027  # open orders count
    venue.set_leverage(KEY, "BTCUSDT", 20)
    assert refused(venue, OrderRequest("BTCUSDT", "BUY", "MARKET", D("2.6")))[:2] == (-2019, "Margin is insufficient.")


def test_at_most_two_hundred_orders_of_a_symbol_wait(venue: Venue) -> None:
    for _ in range(200):
        limit(venue, "BUY", "0.001", "58000")
    request = OrderRequest("BTCUSDT", "BUY", "LIMIT", D("0.001"), D("58000"), "GTC")
    assert refused(venue, request)[:2] == (-2025, "Reach max open order limit.")
    assert venue.cancel_all(KEY, "BTCUSDT") == 200
    assert venue.open_orders(KEY) == []


def test_the_minimum_notional_is_reported_and_does_not_apply_to_reducing_orders(venue: Venue) -> None:
    request = OrderRequest("BTCUSDT", "BUY", "LIMIT", D("0.001"), D("49000"), "GTC")
    assert refused(venue, request)[1] == "Order's notional must be no smaller than 50 (unless you choose reduce only)."
    market(venue, "BUY", "0.001")
    with pytest.raises(VenueError):
        limit(venue, "SELL", "0.0001", "61000")
    assert market(venue, "SELL", "0.001", reduce_only=True).status == "FILLED"


def test_cancel_and_amend(venue: Venue) -> None:
    order = limit(venue, "BUY", "0.1", "59000")
    amended = venue.amend_order(KEY, "BTCUSDT", "BUY", D("0.2"), D("59100"), order.order_id)
    assert (amended.order_id, amended.quantity, amended.price, amended.status) == (
        order.order_id,
        D("0.2"),
        D("59100"),
        "NEW",
    )
    with pytest.raises(VenueError) as same:
        venue.amend_order(KEY, "BTCUSDT", "BUY", D("0.2"), D("59100"), order.order_id)
    assert same.value.code == -5027
    taken = venue.amend_order(KEY, "BTCUSDT", "BUY", D("0.2"), D("60010"), order.order_id)
    assert taken.status == "FILLED"
    assert words(venue.drain())[:3] == ["order NEW", "order AMENDMENT", "order AMENDMENT"]
    with pytest.raises(VenueError) as gone:
        venue.cancel_order(KEY, "BTCUSDT", order.order_id)
    assert (gone.value.code, gone.value.msg) == (-2011, "Unknown order sent.")


def test_a_batch_answers_each_of_its_orders(venue: Venue) -> None:
    good, bad = venue.place_batch(KEY, [GOOD, replace(GOOD, symbol="X")])
    assert bad == Refusal(-1121, "Invalid symbol.")
    assert not isinstance(good, Refusal)
    done = venue.cancel_batch(KEY, "BTCUSDT", [good.order_id, 5])
    assert [row.code if isinstance(row, Refusal) else row.status for row in done] == ["CANCELED", -2011]


def test_a_test_order_is_checked_and_leaves_no_trace(venue: Venue) -> None:
    before = venue.snapshot()
    assert venue.test_order(KEY, GOOD).status == "NEW"
    with pytest.raises(VenueError):
        venue.test_order(KEY, replace(GOOD, quantity=D(500)))
    assert venue.snapshot() == before
    assert venue.drain() == []


def test_price_match_takes_the_level_of_the_book(venue: Venue) -> None:
    beside = OrderRequest("BTCUSDT", "BUY", "LIMIT", D("0.1"), None, "GTC", price_match="QUEUE")
    queue = venue.place_order(KEY, beside)
    assert (queue.price, queue.status) == (D("59999.9"), "NEW")
    opponent = OrderRequest("BTCUSDT", "BUY", "LIMIT", D("0.1"), None, "GTC", price_match="OPPONENT")
    assert venue.place_order(KEY, opponent).status == "FILLED"
    assert refused(venue, replace(opponent, price=D(60_000)))[0] == -1106


def test_the_countdown_cancels_unless_it_is_renewed(venue: Venue) -> None:
    limit(venue, "BUY", "0.1", "58000")
    venue.countdown_cancel_all(KEY, "BTCUSDT", 30_000)
    venue.advance(START_MS + 20_000)
    venue.countdown_cancel_all(KEY, "BTCUSDT", 30_000)
    venue.advance(START_MS + 49_999)
    assert len(venue.open_orders(KEY)) == 1
    venue.advance(START_MS + 50_000)
    assert venue.open_orders(KEY) == []
    limit(venue, "BUY", "0.1", "58000")
    venue.countdown_cancel_all(KEY, "BTCUSDT", 30_000)
    venue.countdown_cancel_all(KEY, "BTCUSDT", 0)
    venue.advance(START_MS + 20 * MINUTE_MS)
    assert len(venue.open_orders(KEY)) == 1


def test_the_fee_is_taken_in_bnb_at_a_tenth_less_while_there_is_any() -> None:
    rows = {"BTCUSDT": flat(60_000, 3), "BNBUSDT": flat(600, 3)}
    venue = Venue(TableMarket(rows), START_MS)
    venue.open_account(KEY)
    venue.transfer(KEY, "BNB", D("0.05"))
    before = wallet(venue)
    venue.drain()
    market(venue, "BUY", "0.1")
    trade = venue.trades(KEY)[0]
    assert (trade.commission, trade.commission_asset) == (D("0.00450001"), "BNB")
    assert (wallet(venue), wallet(venue, "BNB")) == (before, D("0.05") - D("0.00450001"))
    update = venue.drain()[2]
    assert isinstance(update, AccountUpdate)
    assert [row.asset for row in update.balances] == ["USDT", "BNB"]
    market(venue, "BUY", "2")
    assert venue.trades(KEY)[-1].commission_asset == "USDT"  # not enough BNB left for it
    venue.set_fee_burn(KEY, False)
    market(venue, "SELL", "0.1")
    assert venue.trades(KEY)[-1].commission_asset == "USDT"


def test_a_gap_in_the_candles_keeps_the_last_close() -> None:
    venue = venue_on([(60_000, 60_010, 59_990, 60_005), None, None, (60_100, 60_100, 60_100, 60_100)])
    venue.advance(START_MS + 2 * MINUTE_MS + 30_000)
    assert venue.last_price("BTCUSDT") == 60_005
    venue.advance(START_MS + 3 * MINUTE_MS)
    assert venue.last_price("BTCUSDT") == 60_100


def test_only_contracts_with_prices_are_listed() -> None:
    venue = venue_on(flat(60_000, 2))
    assert set(venue.contracts) == {"BTCUSDT"}
    assert "ETHUSDT" in CONTRACTS
    with pytest.raises(VenueError) as caught:
        venue.last_price("ETHUSDT")
    assert caught.value.code == -1121


@pytest.mark.parametrize(("price", "fills"), [("59900.1", True), ("59900.0", False)])
def test_a_resting_order_needs_the_low_one_tick_beyond_it(venue: Venue, price: str, fills: bool) -> None:
    order = limit(venue, "BUY", "0.1", price)
    venue.advance(START_MS + 2 * MINUTE_MS - 1)  # the minute's low is 59,900.0
    assert (venue.order(KEY, "BTCUSDT", order.order_id).status == "FILLED") is fills


def test_a_restart_does_not_put_the_consumed_depth_back(venue: Venue) -> None:
    market(venue, "BUY", "20")
    again = venue_on(flat(60_000, 60))
    again.restore(venue.snapshot())
    assert market(again, "BUY", "1").average_price == D("60001.3")
