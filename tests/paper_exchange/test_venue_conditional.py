"""Conditional orders: when they trigger, what they then do, and how their life is told."""

import pytest

from src.paper_exchange.events import AlgoUpdate, OrderUpdate
from src.paper_exchange.model import AlgoRequest, VenueError
from src.paper_exchange.venue import Venue
from tests.paper_exchange.table_market import (
    KEY,
    MINUTE_MS,
    START_MS,
    D,
    amount,
    flat,
    limit,
    market,
    stop,
    venue_on,
    words,
)

FALL = (60_000, 60_000, 59_000, 59_500)  # last: 60,000 until 30 s, 59,000 at 45 s, 59,500 at the close
RISE = (60_000, 61_000, 60_000, 60_500)
LIFE = [
    "algo NEW",
    "algo TRIGGERING",
    "algo TRIGGERED",
    "TradeLite",
    "order NEW",
    "account ORDER",
    "order TRADE",
    "algo FINISHED",
]


def falling(*more: tuple[float, ...], **how: object) -> Venue:
    """Return a venue whose first minute is quiet and whose second falls."""
    return venue_on([*flat(60_000, 1), FALL, *(more or flat(59_500, 3))], **how)  # type: ignore[arg-type]


def refused(venue: Venue, request: AlgoRequest) -> int:
    """Return the code of the refusal that the request must meet."""
    with pytest.raises(VenueError) as caught:
        venue.place_algo(KEY, request)
    return caught.value.code


def test_a_stop_triggers_at_the_analytic_instant_and_fills_one_tick_behind_its_level() -> None:
    venue = falling()
    market(venue, "BUY", "0.1")
    venue.drain()
    order = stop(venue, "SELL", "59400", client_id="guard")
    venue.advance(START_MS + 2 * MINUTE_MS)
    events = venue.drain()
    assert words(events) == LIFE
    instant = START_MS + MINUTE_MS + 30_000 + 9_000  # 600 of 1,000 in 15 s
    assert {event.time_ms for event in events[1:]} == {instant}
    done = venue.algo_order(KEY, order.algo_id)
    assert (done.status, done.triggered_ms, done.actual_price) == ("FINISHED", instant, D("59399.9"))
    made = venue.order(KEY, "BTCUSDT", client_id="guard")
    assert (made.order_id, made.type, made.orig_type) == (done.actual_order_id, "MARKET", "STOP_MARKET")
    assert amount(venue) == 0
    assert venue.open_algo_orders(KEY) == []


def test_an_open_below_the_stop_fills_at_that_open_not_at_the_level() -> None:
    venue = venue_on([*flat(60_000, 1), *flat(58_000, 2)])
    market(venue, "BUY", "0.1")
    order = stop(venue, "SELL", "59400")
    venue.advance(START_MS + MINUTE_MS)
    done = venue.algo_order(KEY, order.algo_id)
    assert (done.triggered_ms, done.actual_price) == (START_MS + MINUTE_MS, D("57999.9"))


@pytest.mark.parametrize(
    ("side", "kind", "trigger", "minute"),
    [
        ("SELL", "STOP_MARKET", "59500", FALL),
        ("BUY", "STOP_MARKET", "60500", RISE),
        ("SELL", "TAKE_PROFIT_MARKET", "60500", RISE),
        ("BUY", "TAKE_PROFIT_MARKET", "59500", FALL),
    ],
)
def test_the_four_directions(side: str, kind: str, trigger: str, minute: tuple[float, ...]) -> None:
    for row, fires in ((minute, True), (FALL if minute is RISE else RISE, False)):
        venue = venue_on([*flat(60_000, 1), row, *flat(row[3], 1)])
        market(venue, "SELL" if side == "BUY" else "BUY", "0.1")
        order = stop(venue, side, trigger, kind=kind)
        venue.advance(START_MS + 2 * MINUTE_MS)
        assert (venue.algo_order(KEY, order.algo_id).status == "FINISHED") is fires


def test_a_trigger_already_reached_is_refused_at_placement() -> None:
    venue = falling()
    for side, kind, trigger in (
        ("SELL", "STOP_MARKET", "60000"),
        ("BUY", "STOP_MARKET", "59000"),
        ("SELL", "TAKE_PROFIT_MARKET", "59999"),
        ("BUY", "TAKE_PROFIT_MARKET", "60001"),
    ):
        request = AlgoRequest("BTCUSDT", side, kind, trigger_price=D(trigger), close_position=True)
        assert refused(venue, request) == -2021


def test_a_mark_price_stop_is_checked_against_the_mark_on_whole_seconds() -> None:
    venue = falling(*flat(59_000, 2))
    market(venue, "BUY", "0.1")
    by_mark = stop(venue, "SELL", "59400", working_type="MARK_PRICE", client_id="mark")
    by_last = stop(venue, "SELL", "59400", client_id="last", quantity=D("0.05"), reduce_only=True)
    venue.advance(START_MS + 4 * MINUTE_MS)
    last, mark = (venue.algo_order(KEY, order.algo_id) for order in (by_last, by_mark))
    assert last.triggered_ms < mark.triggered_ms
    assert mark.triggered_ms % 1000 == 0
    assert (
        venue.quotes.mark("BTCUSDT", mark.triggered_ms)
        <= 59_400
        < venue.quotes.mark("BTCUSDT", mark.triggered_ms - 1000)
    )


def test_the_mark_price_is_the_mean_of_the_last_thirty_seconds() -> None:
    venue = falling()
    venue.advance(START_MS + MINUTE_MS + 45_000)
    # 15 s at 60,000 and 15 s down to 59,000
    assert venue.premium("BTCUSDT").mark == D("59750")
    venue.advance(START_MS + MINUTE_MS + 45_999)
    assert venue.premium("BTCUSDT").time_ms == START_MS + MINUTE_MS + 45_000
    assert venue.premium("BTCUSDT").mark == D("59750")


def test_a_close_position_order_takes_all_there_is_and_expires_when_there_is_nothing() -> None:
    venue = falling((59_500, 59_500, 58_000, 58_000), *flat(58_000, 2))
    market(venue, "BUY", "0.1")
    first = stop(venue, "SELL", "59400")
    market(venue, "BUY", "0.2")
    while venue.algo_order(KEY, first.algo_id).status == "NEW":
        venue.advance(venue.now_ms + 100)
    second = stop(venue, "SELL", "58500")  # beside the first one it would be refused
    venue.advance(START_MS + 4 * MINUTE_MS)
    assert venue.algo_order(KEY, first.algo_id).actual_quantity == D("0.3")
    gone = venue.algo_order(KEY, second.algo_id)
    assert (gone.status, gone.actual_order_id) == ("EXPIRED", 0)
    assert amount(venue) == 0


def test_a_reduce_only_order_without_position_is_rejected_at_its_trigger() -> None:
    venue = falling()
    order = stop(venue, "SELL", "59400", quantity=D("0.1"), reduce_only=True)
    venue.advance(START_MS + 2 * MINUTE_MS)
    gone = venue.algo_order(KEY, order.algo_id)
    assert (gone.status, gone.reject_reason) == ("REJECTED", "Reduce Only reject")
    assert words(venue.drain()) == ["algo NEW", "algo TRIGGERING", "algo REJECTED"]


def test_a_reduce_only_order_never_turns_the_position() -> None:
    venue = falling()
    market(venue, "BUY", "0.1")
    stop(venue, "SELL", "59400", quantity=D("5"), reduce_only=True)
    venue.advance(START_MS + 2 * MINUTE_MS)
    assert amount(venue) == 0


def test_margin_is_checked_only_when_the_order_triggers() -> None:
    venue = falling()
    order = stop(venue, "SELL", "59400", quantity=D("50"))
    venue.advance(START_MS + 2 * MINUTE_MS)
    gone = venue.algo_order(KEY, order.algo_id)
    assert (gone.status, gone.reject_reason) == ("REJECTED", "Margin is insufficient.")


def test_a_stop_limit_places_a_limit_order_and_is_finished_with_it() -> None:
    venue = falling((59_500, 59_700, 59_500, 59_700), *flat(59_700, 2))
    market(venue, "BUY", "0.1")
    order = stop(venue, "SELL", "59400", kind="STOP", price=D("59600"), quantity=D("0.1"), client_id="x")
    venue.advance(START_MS + MINUTE_MS + 50_000)
    waiting = venue.open_order(KEY, "BTCUSDT", client_id="x")
    assert (waiting.type, waiting.orig_type, waiting.price) == ("LIMIT", "STOP", D(59600))
    assert venue.algo_order(KEY, order.algo_id).status == "TRIGGERED"
    venue.advance(START_MS + 3 * MINUTE_MS)
    done = venue.algo_order(KEY, order.algo_id)
    assert (done.status, done.actual_price, done.actual_type) == ("FINISHED", D(59600), "LIMIT")


def test_price_protect_refuses_when_last_and_mark_are_too_far_apart() -> None:
    crash = (60_000, 60_000, 50_000, 50_000)
    venue = venue_on([*flat(60_000, 1), crash, *flat(50_000, 2)])
    market(venue, "BUY", "0.01")
    order = stop(venue, "SELL", "51000", price_protect=True)
    venue.advance(START_MS + 3 * MINUTE_MS)
    assert venue.algo_order(KEY, order.algo_id).status == "EXPIRED"
    assert amount(venue) == D("0.01")


def test_a_trailing_stop_follows_the_best_price_and_fires_on_the_way_back() -> None:
    venue = venue_on([*flat(60_000, 1), RISE, (60_500, 60_500, 59_000, 59_000), *flat(59_000, 2)])
    market(venue, "BUY", "0.1")
    order = stop(
        venue, "SELL", None, kind="TRAILING_STOP_MARKET", quantity=D("0.1"), reduce_only=True, callback_rate=D(2)
    )
    assert order.activated
    venue.advance(START_MS + 2 * MINUTE_MS)
    assert venue.algo_order(KEY, order.algo_id).peak == 61_000.0
    venue.advance(START_MS + 4 * MINUTE_MS)
    done = venue.algo_order(KEY, order.algo_id)
    level = 61_000 * 0.98
    # from 60,500 at 30 s to 59,000 at 45 s
    assert done.triggered_ms == START_MS + 2 * MINUTE_MS + 30_000 + round((60_500 - level) / 1_500 * 15_000)
    assert abs(done.actual_price - D(59_780)) <= D("0.2")


def test_a_trailing_stop_waits_for_its_activation_and_reports_it() -> None:
    venue = venue_on([*flat(60_000, 1), FALL, (59_500, 61_000, 59_500, 59_500), *flat(59_500, 2)])
    order = stop(
        venue,
        "SELL",
        None,
        kind="TRAILING_STOP_MARKET",
        quantity=D("0.1"),
        callback_rate=D("0.5"),
        activate_price=D(60_500),
    )
    assert not order.activated
    venue.advance(START_MS + 3 * MINUTE_MS)
    updates = [event.order for event in venue.drain() if isinstance(event, AlgoUpdate)]
    assert [(row.status, row.activated) for row in updates] == [
        ("NEW", False),
        ("NEW", True),
        ("TRIGGERING", True),
        ("TRIGGERED", True),
        ("FINISHED", True),
    ]
    wrong = AlgoRequest(
        "BTCUSDT", "SELL", "TRAILING_STOP_MARKET", D("0.1"), callback_rate=D(1), activate_price=D(59_000)
    )
    assert refused(venue, wrong) == -2021


GOOD = {"trigger_price": D(59_000), "quantity": D("0.1")}


@pytest.mark.parametrize(
    ("kind", "changes", "code"),
    [
        ("STOP_MARKET", {"trigger_price": None}, -1102),
        ("STOP_MARKET", {"quantity": None}, -1102),
        ("STOP", {}, -1102),
        ("STOP_MARKET", {"price": D(59_000)}, -1106),
        ("LIMIT", {}, -1116),
        ("STOP_MARKET", {"symbol": "X"}, -1121),
        ("STOP_MARKET", {"side": "HOLD"}, -1117),
        ("STOP_MARKET", {"time_in_force": "GTD"}, -1115),
        ("STOP_MARKET", {"client_id": "a b"}, -4015),
        ("STOP_MARKET", {"trigger_price": D("59000.123")}, -1111),
        ("STOP_MARKET", {"trigger_price": D("59000.05")}, -4014),
        ("STOP_MARKET", {"quantity": D(121)}, -4005),
        ("STOP_MARKET", {"position_side": "LONG"}, -4061),
        ("STOP_MARKET", {"quantity": D("0.001"), "trigger_price": D(40_000)}, -4164),
        ("STOP_MARKET", {"close_position": True}, -4137),
        ("STOP_MARKET", {"close_position": True, "quantity": None, "reduce_only": True}, -1106),
        ("STOP", {"close_position": True, "quantity": None, "price": D(59_000)}, -4136),
        ("TRAILING_STOP_MARKET", {"trigger_price": None}, -1102),
        ("TRAILING_STOP_MARKET", {"callback_rate": D(1)}, -1106),
        ("TRAILING_STOP_MARKET", {"trigger_price": None, "callback_rate": D("20.1")}, -2007),
        ("TRAILING_STOP_MARKET", {"trigger_price": None, "callback_rate": D("0.05")}, -2007),
    ],
)
def test_what_is_wrong_is_refused_with_the_exchanges_code(kind: str, changes: dict[str, object], code: int) -> None:
    venue = falling()
    given = {"symbol": "BTCUSDT", "side": "SELL", "type": kind, **GOOD, **changes}
    assert refused(venue, AlgoRequest(**given)) == code  # type: ignore[arg-type]


def test_at_most_two_hundred_conditional_orders_wait_on_the_account() -> None:
    venue = falling()
    for number in range(200):
        stop(venue, "SELL", "58000", quantity=D("0.01"), client_id=f"n{number}")
    request = AlgoRequest("BTCUSDT", "SELL", "STOP_MARKET", D("0.01"), D(58_000), client_id="n7")
    assert refused(venue, request) == -4116
    assert refused(venue, AlgoRequest("BTCUSDT", "SELL", "STOP_MARKET", D("0.01"), D(58_000))) == -4045
    assert venue.cancel_all_algo(KEY, "BTCUSDT") == 200
    assert venue.place_algo(KEY, request).status == "NEW"


def test_only_open_orders_can_be_cancelled_and_the_two_order_kinds_are_separate() -> None:
    venue = falling()
    order = stop(venue, "SELL", "59400", quantity=D("0.1"), client_id="s")
    limit(venue, "BUY", "0.1", "58000")
    assert venue.cancel_all(KEY, "BTCUSDT") == 1
    assert [row.algo_id for row in venue.open_algo_orders(KEY)] == [order.algo_id]
    assert [row.status for row in venue.all_orders(KEY)] == ["CANCELED"]
    assert venue.cancel_algo(KEY, client_id="s").status == "CANCELED"
    for refused_call, code in ((venue.cancel_algo, -2011), (venue.algo_order, -2013)):
        with pytest.raises(VenueError) as caught:
            refused_call(KEY, order.algo_id + (code == -2013))
        assert caught.value.code == code


def test_a_held_trigger_stays_triggering_and_cannot_be_cancelled() -> None:
    venue = falling()
    market(venue, "BUY", "0.1")
    order = stop(venue, "SELL", "59400")
    venue.hold_triggers(1)
    venue.advance(START_MS + 3 * MINUTE_MS)
    assert venue.algo_order(KEY, order.algo_id).status == "TRIGGERING"
    assert amount(venue) == D("0.1")
    with pytest.raises(VenueError) as caught:
        venue.cancel_algo(KEY, order.algo_id)
    assert caught.value.code == -2011


def test_a_shock_triggers_at_its_own_instant_and_fills_beyond_the_level() -> None:
    venue = venue_on(flat(60_000, 5))
    market(venue, "BUY", "0.1")
    order = stop(venue, "SELL", "59400")
    venue.advance(START_MS + 20_000)
    venue.shock("BTCUSDT", 0.9)
    venue.advance(START_MS + 30_000)
    done = venue.algo_order(KEY, order.algo_id)
    assert (done.triggered_ms, done.actual_price) == (START_MS + 21_000, D("53999.9"))
    assert venue.premium("BTCUSDT").mark == 54_000
    venue.advance(START_MS + 3 * MINUTE_MS)
    assert venue.last_price("BTCUSDT") == 54_000


def test_the_triggered_order_names_its_conditional_order() -> None:
    venue = falling()
    market(venue, "BUY", "0.1")
    order = stop(venue, "SELL", "59400")
    venue.advance(START_MS + 3 * MINUTE_MS)
    told = [event.order for event in venue.drain() if isinstance(event, OrderUpdate)][-1]
    assert (told.algo_id, told.stop_price, told.close_position) == (order.algo_id, D(59_400), True)
    assert told.client_id == order.client_id


def test_the_mark_price_may_reach_below_the_low_of_its_own_minute() -> None:
    venue = venue_on(
        [*flat(60_000, 1), (60_000, 60_000, 59_000, 59_050), (59_050, 60_000, 59_050, 60_000), *flat(60_000, 1)]
    )
    market(venue, "BUY", "0.1")
    venue.advance(START_MS + 2 * MINUTE_MS)
    order = stop(venue, "SELL", "59041", working_type="MARK_PRICE")  # the minute's low is 59,050
    venue.advance(START_MS + 3 * MINUTE_MS)
    assert venue.algo_order(KEY, order.algo_id).status == "FINISHED"


def test_one_stop_and_one_target_that_close_the_position_may_stand_on_a_side() -> None:
    venue = falling()
    market(venue, "BUY", "0.1")
    first = stop(venue, "SELL", "58000")
    stop(venue, "SELL", "62000", "TAKE_PROFIT_MARKET")
    again = AlgoRequest("BTCUSDT", "SELL", "STOP_MARKET", trigger_price=D("58500"), close_position=True)
    assert refused(venue, again) == -4130
    stop(venue, "BUY", "61000")  # the other side
    stop(venue, "SELL", "58500", quantity=D("0.1"), reduce_only=True)  # one with a quantity
    venue.cancel_algo(KEY, first.algo_id)
    assert venue.place_algo(KEY, again).status == "NEW"
