"""What holds through any sequence of orders, fills, triggers and funding, on any market."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.paper_exchange.contracts import CONTRACTS
from src.paper_exchange.events import AlgoUpdate, Event, OrderUpdate
from src.paper_exchange.model import AlgoRequest, OrderRequest, VenueError
from src.paper_exchange.venue import Venue
from tests.paper_exchange.table_market import KEY, MINUTE_MS, START_MS, D, TableMarket, wallet

MINUTES = 12
BEGIN_MS = START_MS + 8 * 60 * MINUTE_MS - 6 * MINUTE_MS  # six minutes before a funding settlement
Step = tuple[int, Callable[[Venue], object]]


class WildMarket(TableMarket):
    """Twelve minutes around a settlement, as a table; two contracts."""

    def candle(self, symbol: str, open_ms: int) -> Any:
        """Return the table's candle, moved to the wild time."""
        row = super().candle(symbol, open_ms - BEGIN_MS + START_MS)
        return row and row._replace(open_ms=open_ms)


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[float, ...]]:
    """Minutes whose prices, in tenths of a percent of 1,000, wander, gap and crash."""
    rows: list[tuple[float, ...]] = []
    price = 1_000
    for _ in range(MINUTES):
        start = max(600, price + draw(st.sampled_from([0, 0, 0, 1, -1, 9, -14])))
        reach = draw(st.sampled_from([0, 1, 4, 15, 40, 120]))
        low, high = max(500, start - draw(st.integers(0, reach))), start + draw(st.integers(0, reach))
        price = draw(st.integers(low, high))
        rows.append((float(start), float(high), float(low), float(price), draw(st.sampled_from([1.0, 60.0, 5_000.0]))))
    return rows


def scaled(rows: list[tuple[float, ...]], by: float) -> list[tuple[float, ...]]:
    """Return the same minutes at another price level."""
    return [tuple(round(price * by, 4) for price in row[:4]) + row[4:] for row in rows]


def _try(act: Callable[[Venue], object]) -> Callable[[Venue], object]:
    def attempt(venue: Venue) -> object:
        try:
            return act(venue)
        except VenueError as error:
            return error.code

    return attempt


@st.composite
def steps(draw: st.DrawFn, hedge: bool) -> Step:
    """One thing to do after a pause; prices lie around 60,000 (BTC) and 3,000 (ETH)."""
    pause = draw(st.sampled_from([0, 1, 700, 5_000, 30_000, 61_000, 125_000]))
    symbol, unit = draw(st.sampled_from([("BTCUSDT", D(60)), ("ETHUSDT", D(3))]))
    side = draw(st.sampled_from(["BUY", "SELL"]))
    level = draw(st.one_of(st.integers(960, 1_040), st.integers(994, 1_006))) * unit
    quantity = draw(st.sampled_from([D("0.01"), D("0.2"), D("1.5"), D("40")]))
    leg = draw(st.sampled_from(["LONG", "SHORT"])) if hedge else "BOTH"
    reduce_only = None if hedge else draw(st.sampled_from([None, None, None, True]))
    kind = draw(st.integers(0, 11))
    if kind <= 3:
        order = OrderRequest(symbol, side, "MARKET", quantity, position_side=leg, reduce_only=reduce_only)
        return pause, _try(lambda venue: venue.place_order(KEY, order))
    if kind <= 5:
        force = draw(st.sampled_from(["GTC", "GTC", "IOC", "FOK", "GTX"]))
        waiting = OrderRequest(symbol, side, "LIMIT", quantity, level, force, leg, reduce_only)
        return pause, _try(lambda venue: venue.place_order(KEY, waiting))
    if kind <= 7:
        word = draw(st.sampled_from(["STOP_MARKET", "TAKE_PROFIT_MARKET", "STOP", "TAKE_PROFIT"]))
        work = draw(st.sampled_from(["CONTRACT_PRICE", "MARK_PRICE"]))
        whole = word.endswith("MARKET") and draw(st.booleans())
        algo = AlgoRequest(
            symbol,
            side,
            word,
            None if whole else quantity,
            level,
            None if word.endswith("MARKET") else level,
            position_side=leg,
            reduce_only=None if whole else reduce_only,
            close_position=whole,
            working_type=work,
        )
        return pause, _try(lambda venue: venue.place_algo(KEY, algo))
    if kind == 8:
        trail = AlgoRequest(
            symbol,
            side,
            "TRAILING_STOP_MARKET",
            quantity,
            position_side=leg,
            reduce_only=reduce_only,
            callback_rate=draw(st.sampled_from([D("0.1"), D("0.5"), D(2)])),
            activate_price=draw(st.sampled_from([None, level])),
            working_type=draw(st.sampled_from(["CONTRACT_PRICE", "MARK_PRICE"])),
        )
        return pause, _try(lambda venue: venue.place_algo(KEY, trail))
    if kind == 9:
        return pause, _try(lambda venue: venue.set_margin_type(KEY, symbol, "ISOLATED"))
    if kind == 10:
        return pause, _try(lambda venue: venue.set_leverage(KEY, symbol, int(quantity) + 10))
    return pause, _try(lambda venue: venue.countdown_cancel_all(KEY, symbol, 90_000))


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[tuple[float, ...]], bool, list[Step]]:
    """A market, a position mode, and what somebody does there."""
    hedge = draw(st.booleans())
    return draw(tables()), hedge, draw(st.lists(steps(hedge), min_size=1, max_size=14))


def venue_of(rows: list[tuple[float, ...]], hedge: bool) -> Venue:
    """Return the venue of a story before its first step."""
    table = {"BTCUSDT": scaled(rows, 60.0), "ETHUSDT": scaled(rows[::-1], 3.0), "BNBUSDT": scaled(rows, 0.6)}
    venue = Venue(WildMarket(table, rate=0.0004), BEGIN_MS + 1_234)
    venue.open_account(KEY)
    venue.transfer(KEY, "BNB", D("0.01"))
    if hedge:
        venue.set_position_mode(KEY, True)
    venue.drain()
    return venue


END_MS = BEGIN_MS + MINUTES * MINUTE_MS - 1
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
few = settings(max_examples=25, deadline=None, suppress_health_check=QUIET)
many = settings(max_examples=400, deadline=None, suppress_health_check=QUIET)


def play(venue: Venue, story: list[Step], go: Callable[[Venue, int], None]) -> list[Event]:
    """Do everything at its instant, and return all events up to the end of the market."""
    for pause, act in story:
        go(venue, min(venue.now_ms + pause, END_MS))
        act(venue)
    go(venue, END_MS)
    return venue.drain()


def leap(venue: Venue, to_ms: int) -> None:
    """Go there at once."""
    venue.advance(to_ms)


@few
@given(stories())
def test_every_wallet_is_its_deposit_and_its_income_rows_to_the_last_digit(story: Any) -> None:
    rows, hedge, acts = story
    venue = venue_of(rows, hedge)
    play(venue, acts, leap)
    income = venue.income(KEY, start_ms=0, limit=10**6)
    for asset, deposit in (("USDT", D(10_000)), ("BNB", D(0))):
        assert wallet(venue, asset) == deposit + sum((row.amount for row in income if row.asset == asset), D(0))
    assert len({row.tran_id for row in income}) == len(income)
    trades = venue.trades(KEY, from_id=0, limit=10**6)
    assert sum(row.realized_pnl for row in trades) == sum(row.amount for row in income if row.kind == "REALIZED_PNL")
    for asset in ("USDT", "BNB"):
        paid = sum((row.commission for row in trades if row.commission_asset == asset), D(0))
        booked = [row.amount for row in income if row.kind == "COMMISSION" and row.asset == asset]
        assert paid == -sum(booked, D(0))


@few
@given(stories())
def test_positions_equal_the_sum_of_their_trades_and_profit_equals_the_cash(story: Any) -> None:
    rows, hedge, acts = story
    venue = venue_of(rows, hedge)
    play(venue, acts, leap)
    trades = venue.trades(KEY, from_id=0, limit=10**6)
    for row in venue.positions(KEY):
        mine = [each for each in trades if (each.symbol, each.position_side) == (row.symbol, row.position_side)]
        signed = [each.quantity if each.side == "BUY" else -each.quantity for each in mine]
        assert row.amount == sum(signed, D(0))
        cash = sum((-amount * each.price for amount, each in zip(signed, mine, strict=True)), D(0))
        realized = sum((each.realized_pnl for each in mine), D(0))
        slack = D("0.0000001") * (1 + len(mine)) + abs(row.amount) * D("0.00000001")
        assert abs(realized - (cash + row.amount * row.entry_price)) <= slack
        assert row.position_side == "BOTH" or row.amount * (1 if row.position_side == "LONG" else -1) >= 0


@few
@given(stories())
def test_no_order_fills_more_than_it_asked_or_worse_than_its_limit(story: Any) -> None:
    rows, hedge, acts = story
    venue = venue_of(rows, hedge)
    events = play(venue, acts, leap)
    for order in venue.all_orders(KEY, limit=10**6):
        filled = venue.trades(KEY, order_id=order.order_id, limit=10**6)
        assert sum((each.quantity for each in filled), D(0)) == order.executed <= order.quantity
        assert sum((each.quote_quantity for each in filled), D(0)) == order.cum_quote
        assert order.status != "FILLED" or order.executed == order.quantity
        if order.type == "LIMIT":
            sign = 1 if order.side == "BUY" else -1
            assert all(sign * (each.price - order.price) <= 0 for each in filled)
        tick = CONTRACTS[order.symbol].rules.tick_size
        assert all(each.price % tick == 0 for each in filled)
    instants = [event.time_ms for event in events]
    assert instants == sorted(instants)


strides_of_time = st.lists(st.sampled_from([1, 13, 999, 4_000, 27_000, 60_000]), min_size=1, max_size=6)


def check_jump_equals_steps(story: Any, strides: list[int]) -> None:
    """Play the story twice, once in leaps and once in small strides, and hold the two against each other."""
    rows, hedge, acts = story
    at_once, in_steps = venue_of(rows, hedge), venue_of(rows, hedge)
    at = 0

    def walk(venue: Venue, to_ms: int) -> None:
        nonlocal at
        while venue.now_ms < to_ms:
            at += 1
            stride = strides[at % len(strides)]
            venue.advance(min(to_ms, venue.now_ms + (stride if stride > 500 else stride * 97)))

    assert play(in_steps, acts, walk) == play(at_once, acts, leap)
    assert in_steps.snapshot() == at_once.snapshot()


@few
@given(stories(), strides_of_time)
def test_one_long_jump_equals_any_number_of_short_ones(story: Any, strides: list[int]) -> None:
    check_jump_equals_steps(story, strides)


@pytest.mark.long
@many
@given(stories(), strides_of_time)
def test_one_long_jump_equals_any_number_of_short_ones_in_many_stories(story: Any, strides: list[int]) -> None:
    check_jump_equals_steps(story, strides)


def check_quiet_minutes_are_quiet(story: Any) -> None:
    """Play the story twice, once looking closely at every minute, and hold the two against each other."""
    rows, hedge, acts = story
    quick, thorough = venue_of(rows, hedge), venue_of(rows, hedge)
    thorough._timeline._quiet = lambda minute: False  # type: ignore[method-assign]
    thorough._timeline._within = lambda symbol, band, minute: False  # type: ignore[method-assign]
    assert play(quick, acts, leap) == play(thorough, acts, leap)
    assert quick.snapshot() == thorough.snapshot()


@few
@given(stories())
def test_nothing_happens_in_skipped_quiet_spans(story: Any) -> None:
    check_quiet_minutes_are_quiet(story)


@pytest.mark.long
@many
@given(stories())
def test_nothing_happens_in_skipped_quiet_spans_of_random_markets(story: Any) -> None:
    check_quiet_minutes_are_quiet(story)


@few
@given(stories(), st.integers(0, 14))
def test_a_restart_in_the_middle_changes_nothing_of_the_future(story: Any, cut: int) -> None:
    rows, hedge, acts = story
    straight, broken = venue_of(rows, hedge), venue_of(rows, hedge)
    expected = play(straight, acts, leap)
    told: list[Event] = []
    for pause, act in acts[:cut]:
        broken.advance(min(broken.now_ms + pause, END_MS))
        act(broken)
        told += broken.drain()
    saved = json.dumps(broken.snapshot())
    again = venue_of(rows, not hedge)
    again.restore(json.loads(saved))
    assert json.loads(json.dumps(again.snapshot())) == json.loads(saved)
    told += play(again, acts[cut:], leap)
    assert told == expected
    assert again.snapshot() == straight.snapshot()
    assert again.account(KEY) == straight.account(KEY)


@few
@given(stories())
def test_the_account_never_shows_more_free_margin_than_it_has(story: Any) -> None:
    rows, hedge, acts = story
    venue = venue_of(rows, hedge)
    play(venue, acts, leap)
    total = venue.account(KEY).total
    isolated = sum((row.isolated_wallet for row in venue.positions(KEY)), D(0))
    assert total.cross_wallet == total.wallet_balance - isolated
    assert 0 <= total.available <= max(D(0), total.cross_wallet + total.cross_unrealized)
    assert total.max_withdraw <= total.available
    if not any(row.amount for row in venue.positions(KEY) if row.margin_type == "CROSSED"):
        assert total.cross_wallet >= 0
    assert all(row.isolated_wallet == 0 for row in venue.positions(KEY) if not row.amount)


@few
@given(stories())
def test_every_open_order_was_reported_and_every_end_is_reported_once(story: Any) -> None:
    rows, hedge, acts = story
    venue = venue_of(rows, hedge)
    events = play(venue, acts, leap)
    last: dict[int, Any] = {}
    ended: list[int] = []
    for event in events:
        if isinstance(event, OrderUpdate | AlgoUpdate):
            order = event.order
            number = order.order_id if isinstance(event, OrderUpdate) else order.algo_id  # type: ignore[union-attr]
            last[number] = order.status
            if order.status in ("FILLED", "CANCELED", "EXPIRED", "FINISHED", "REJECTED"):
                ended.append(number)
    assert len(ended) == len(set(ended))
    for order in venue.all_orders(KEY, limit=10**6):
        assert last[order.order_id] == order.status
    for symbol in ("BTCUSDT", "ETHUSDT"):
        for waiting in venue.all_algo_orders(KEY, symbol, limit=10**6):
            assert last[waiting.algo_id] == waiting.status
    assert isinstance(wallet(venue), Decimal)
