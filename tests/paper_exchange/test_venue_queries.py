"""What an account can read of its past, and for how long."""

import pytest

from src.paper_exchange.model import VenueError
from src.paper_exchange.queries import DAY_MS
from src.paper_exchange.venue import Venue
from tests.paper_exchange.table_market import KEY, MINUTE_MS, START_MS, D, TableMarket, flat, limit, market, stop


@pytest.fixture
def venue() -> Venue:
    """Two contracts that stand still for four months."""
    still = TableMarket({"BTCUSDT": flat(60_000, 1), "ETHUSDT": flat(3_000, 1)}, rate=0.0)
    still.candle = lambda symbol, open_ms: TableMarket.candle(still, symbol, START_MS)._replace(open_ms=open_ms)  # type: ignore[method-assign, union-attr]
    made = Venue(still, START_MS)
    made.open_account(KEY)
    return made


def test_unfilled_orders_are_forgotten_after_three_days_and_all_after_ninety(venue: Venue) -> None:
    dead = limit(venue, "BUY", "0.1", "59000")
    venue.cancel_order(KEY, "BTCUSDT", dead.order_id)
    done = market(venue, "BUY", "0.1")
    waiting = limit(venue, "BUY", "0.1", "58000")
    algo = stop(venue, "SELL", "58000")
    venue.cancel_algo(KEY, algo.algo_id)
    venue.advance(START_MS + 3 * DAY_MS)
    assert len(venue.all_orders(KEY)) == 3
    venue.advance(START_MS + 3 * DAY_MS + 1)
    for ask in (lambda: venue.order(KEY, "BTCUSDT", dead.order_id), lambda: venue.algo_order(KEY, algo.algo_id)):
        with pytest.raises(VenueError) as caught:
            ask()
        assert caught.value.code == -2013
    assert [row.order_id for row in venue.all_orders(KEY)] == [done.order_id, waiting.order_id]
    venue.advance(START_MS + 91 * DAY_MS)
    assert [row.order_id for row in venue.all_orders(KEY)] == [waiting.order_id]
    assert venue.trades(KEY, from_id=0) == []
    saved = venue.snapshot()["ledgers"][0]
    assert [len(saved[name]) for name in ("orders", "algos", "trades", "income")] == [1, 0, 0, 0]


def test_trades_come_oldest_first_from_a_window_and_newest_without_one(venue: Venue) -> None:
    for day in range(10):
        venue.advance(START_MS + day * DAY_MS)
        market(venue, "BUY", "0.01", symbol=("BTCUSDT", "ETHUSDT")[day % 2])
    every = venue.trades(KEY, from_id=0)
    assert len(every) == 10
    assert venue.trades(KEY, limit=2) == every[-2:]
    assert len(venue.trades(KEY)) == 8  # days 2 to 9: seven days back from now
    assert venue.trades(KEY, start_ms=START_MS, limit=2) == every[:2]
    assert venue.trades(KEY, end_ms=START_MS + 8 * DAY_MS, limit=2) == every[1:3]
    assert venue.trades(KEY, "ETHUSDT", from_id=every[4].trade_id) == every[5::2]
    assert venue.trades(KEY, order_id=every[3].order_id) == [every[3]]
    with pytest.raises(VenueError) as caught:
        venue.trades(KEY, start_ms=START_MS, end_ms=START_MS + 8 * DAY_MS)
    assert caught.value.code == -1127


def test_income_is_filtered_by_symbol_kind_and_window(venue: Venue) -> None:
    market(venue, "BUY", "0.1")
    market(venue, "SELL", "0.1")
    market(venue, "BUY", "0.1", symbol="ETHUSDT")
    assert [row.kind for row in venue.income(KEY)] == ["COMMISSION", "REALIZED_PNL", "COMMISSION", "COMMISSION"]
    assert len(venue.income(KEY, symbol="BTCUSDT")) == 3
    assert [row.amount for row in venue.income(KEY, kind="REALIZED_PNL")] == [D("-0.02")]
    assert len(venue.income(KEY, limit=1)) == 1
    venue.advance(START_MS + 8 * DAY_MS)
    assert venue.income(KEY) == []
    assert len(venue.income(KEY, start_ms=START_MS)) == 4


def test_all_orders_gives_the_newest_and_respects_id_and_window(venue: Venue) -> None:
    made = []
    for minute in range(5):
        venue.advance(START_MS + minute * MINUTE_MS)
        made.append(limit(venue, "BUY", "0.01", "59000"))
    numbers = [order.order_id for order in made]
    assert [row.order_id for row in venue.all_orders(KEY, "BTCUSDT", limit=2)] == numbers[-2:]
    assert [row.order_id for row in venue.all_orders(KEY, order_id=numbers[1])] == numbers[1:]
    window = venue.all_orders(KEY, start_ms=START_MS + MINUTE_MS, end_ms=START_MS + 2 * MINUTE_MS)
    assert [row.order_id for row in window] == numbers[1:3]
    assert [row.order_id for row in venue.open_orders(KEY, "BTCUSDT")] == numbers
    assert venue.open_orders(KEY, "ETHUSDT") == []


def test_conditional_orders_come_newest_first(venue: Venue) -> None:
    first = stop(venue, "SELL", "58000", client_id="x")
    venue.cancel_algo(KEY, first.algo_id)
    second = stop(venue, "SELL", "58000", client_id="x")
    assert [row.algo_id for row in venue.all_algo_orders(KEY, "BTCUSDT")] == [second.algo_id, first.algo_id]
    assert venue.algo_order(KEY, client_id="x") == second
    assert venue.open_algo_orders(KEY, "BTCUSDT", second.algo_id) == [second]


def test_accounts_know_nothing_of_each_other(venue: Venue) -> None:
    venue.open_account("other")
    order = limit(venue, "BUY", "0.1", "59000")
    assert venue.open_orders("other") == []
    with pytest.raises(VenueError):
        venue.order("other", "BTCUSDT", order.order_id)
    assert venue.accounts() == (KEY, "other")
    assert {event.account for event in venue.drain()} == {KEY}


def test_numbers_are_as_large_as_real_ones_and_never_repeat(venue: Venue) -> None:
    orders = [market(venue, "BUY", "0.01").order_id for _ in range(3)]
    assert orders == sorted(set(orders))
    assert orders[0] > 2**33
    assert stop(venue, "SELL", "58000").algo_id > 4 * 10**15
    assert all(row.tran_id > 2**32 for row in venue.income(KEY))


def test_the_running_candle_grows_inside_the_whole_one(venue: Venue) -> None:
    venue.advance(START_MS + 30_000)
    candle = venue.running_candle("BTCUSDT")
    assert (candle.open_ms, candle.open, candle.high, candle.low, candle.close) == (START_MS, *[60_000.0] * 4)
    assert 490 < candle.volume < 510


def test_a_state_of_another_version_is_refused(venue: Venue) -> None:
    with pytest.raises(ValueError, match="version"):
        venue.restore({**venue.snapshot(), "version": 0})
