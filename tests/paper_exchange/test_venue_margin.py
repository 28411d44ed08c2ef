"""Margins, funding, liquidation: the published worked examples, to the last digit."""

from dataclasses import replace
from decimal import Decimal

import pytest

from src.paper_exchange.contracts import CONTRACTS
from src.paper_exchange.events import AccountUpdate, ConfigUpdate, MarginCall, OrderUpdate
from src.paper_exchange.model import OrderRequest, PositionView, VenueError
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
    stop,
    venue_on,
    wallet,
    words,
)

HOUR_MS = 3_600_000


def row_of(venue: Venue, symbol: str = "BTCUSDT", leg: str = "BOTH") -> PositionView:
    """Return the position's row."""
    return next(row for row in venue.positions(KEY, symbol) if row.position_side == leg)


def code_of(act: object, *given: object, **named: object) -> int:
    """Return the code with which the venue refuses the call."""
    with pytest.raises(VenueError) as caught:
        act(*given, **named)  # type: ignore[operator]
    return caught.value.code


def test_the_exchanges_own_sample_row_comes_out_digit_for_digit() -> None:
    btc = CONTRACTS["XRPUSDT"]
    fine = replace(
        btc.rules, symbol="ADAUSDT", tick_size=D("0.0000001"), price_precision=7, min_price=D("0.01"), step_size=D(1)
    )
    brackets = tuple(replace(row, maint_share=D("0.0065")) for row in btc.brackets[:1])
    contract = replace(btc, rules=fine, brackets=brackets)
    later = flat(0.4104759, 3)
    venue = Venue(
        TableMarket({"ADAUSDT": [(0.386, 0.386, 0.384, 0.4104759), *later]}), START_MS, contracts={"ADAUSDT": contract}
    )
    venue.open_account(KEY)
    limit(venue, "BUY", "30", "0.385", symbol="ADAUSDT")
    venue.advance(START_MS + 2 * MINUTE_MS)
    row = row_of(venue, "ADAUSDT")
    assert (row.amount, row.entry_price, row.break_even_price) == (30, D("0.385"), D("0.385077"))
    assert (row.mark_price, row.unrealized, row.notional) == (D("0.4104759"), D("0.764277"), D("12.314277"))
    assert (row.initial_margin, row.maint_margin) == (D("0.61571385"), D("0.0800428"))


def isolated_venue(rows: list[tuple[float, ...]], **more: object) -> Venue:
    """Return a venue on BTCUSDT with isolated margin and leverage 10."""
    venue = venue_on(rows, **more)  # type: ignore[arg-type]
    venue.set_margin_type(KEY, "BTCUSDT", "ISOLATED")
    venue.set_leverage(KEY, "BTCUSDT", 10)
    return venue


def test_the_worked_liquidation_price_of_an_isolated_long() -> None:
    venue = isolated_venue([(60_000.1, 60_000.1, 59_999.9, 60_000.1), *flat(60_000, 3)])
    limit(venue, "BUY", "0.1", "60000")
    venue.advance(START_MS + MINUTE_MS)
    row = row_of(venue)
    assert (row.entry_price, row.isolated_wallet) == (60_000, 600)
    assert row.liquidation_price.quantize(D("0.001")) == D("54216.867")
    total = venue.account(KEY).total
    assert total.cross_wallet == total.wallet_balance - 600
    assert total.available == total.cross_wallet


def test_a_short_is_liquidated_above_and_cross_counts_the_whole_wallet() -> None:
    venue = venue_on(flat(60_000, 3))
    market(venue, "SELL", "1")
    row = row_of(venue)
    balance, maint = wallet(venue), D("0.004")
    expected = (balance + row.entry_price) / (1 + maint)
    assert abs(row.liquidation_price - expected) < D("0.000001")


def test_other_cross_positions_move_the_liquidation_price() -> None:
    rows = {"BTCUSDT": flat(60_000, 2), "ETHUSDT": [(3_000, 3_000, 3_000, 3_000), (2_900, 2_900, 2_900, 2_900)]}
    venue = Venue(TableMarket(rows), START_MS)
    venue.open_account(KEY)
    market(venue, "BUY", "0.5")
    alone = row_of(venue).liquidation_price
    market(venue, "BUY", "5", symbol="ETHUSDT")
    together = row_of(venue).liquidation_price
    assert together > alone
    venue.advance(START_MS + 2 * MINUTE_MS - 1)
    assert row_of(venue).liquidation_price > together


def test_the_account_binds_margin_for_the_worse_side_of_its_orders() -> None:
    venue = venue_on(flat(60_000, 3))
    market(venue, "BUY", "0.1")
    limit(venue, "BUY", "0.1", "59000")
    total = venue.account(KEY).total
    assert total.position_initial_margin == 300
    assert total.open_order_initial_margin == D("295")
    limit(venue, "SELL", "0.1", "61000")  # closes at worst: binds nothing
    assert venue.account(KEY).total.open_order_initial_margin == D("295")
    limit(venue, "SELL", "0.3", "61000")  # at worst short 18,400 against long 11,900
    assert venue.account(KEY).total.open_order_initial_margin == (D(24_400) - 6_000 - 6_000) / 20
    row = row_of(venue)
    assert (row.bid_notional, row.ask_notional) == (5_900, 24_400)
    assert venue.account(KEY).total.available == wallet(venue) + row.unrealized - 300 - 620


def test_funding_is_paid_by_positions_open_at_the_settlement() -> None:
    minutes = 60 * 17
    venue = venue_on(flat(60_000, minutes), rate=0.0001)
    market(venue, "BUY", "0.1")
    venue.drain()
    before = wallet(venue)
    venue.advance(START_MS + 8 * HOUR_MS - 1)
    assert wallet(venue) == before
    venue.advance(START_MS + 8 * HOUR_MS)
    assert wallet(venue) == before - D("0.6")
    event = venue.drain()[0]
    assert isinstance(event, AccountUpdate)
    assert (event.reason, event.symbol, event.positions) == ("FUNDING_FEE", "BTCUSDT", ())
    assert event.balances[0].change == D("-0.6")
    market(venue, "SELL", "0.2")
    venue.advance(START_MS + 16 * HOUR_MS)
    paid = [row.amount for row in venue.income(KEY, kind="FUNDING_FEE")]
    assert paid == [D("-0.6"), D("0.6")]


def test_funding_of_an_isolated_position_comes_out_of_its_own_margin() -> None:
    venue = isolated_venue(flat(60_000, 500))
    market(venue, "BUY", "0.1")
    before = row_of(venue).isolated_wallet
    cross = venue.account(KEY).total.cross_wallet
    venue.advance(START_MS + 8 * HOUR_MS)
    assert row_of(venue).isolated_wallet == before - D("0.6")
    assert venue.account(KEY).total.cross_wallet == cross


CRASH = [(60_000, 60_000, 60_000, 60_000), (60_000, 60_000, 53_000, 53_000), *flat(53_000, 5)]


def test_an_isolated_position_is_liquidated_by_mark_and_costs_no_more_than_its_margin() -> None:
    venue = isolated_venue(CRASH)
    market(venue, "BUY", "0.1")
    margin_before, outside = row_of(venue).isolated_wallet, venue.account(KEY).total.cross_wallet
    price = float(row_of(venue).liquidation_price)
    stop(venue, "SELL", "52000")
    resting = limit(venue, "BUY", "0.01", "50000")
    venue.drain()
    venue.advance(START_MS + 4 * MINUTE_MS)
    assert amount(venue) == 0
    events = venue.drain()
    closing = next(event for event in events if isinstance(event, OrderUpdate) and event.execution == "CALCULATED")
    assert closing.order.client_id.startswith("autoclose-")
    assert (closing.order.type, closing.order.time_in_force, closing.order.reduce_only) == ("LIMIT", "IOC", True)
    at = closing.time_ms
    assert at % 1000 == 0
    assert venue.quotes.mark("BTCUSDT", at) <= price < venue.quotes.mark("BTCUSDT", at - 1000)
    assert venue.order(KEY, "BTCUSDT", resting.order_id).status == "EXPIRED"
    assert venue.open_algo_orders(KEY) == []
    assert wallet(venue) == outside  # last was below mark: the margin was not enough, the fund stood for the rest
    kinds = [row.kind for row in venue.income(KEY)]
    assert kinds == ["COMMISSION", "REALIZED_PNL", "COMMISSION", "INSURANCE_CLEAR"]
    assert sum(row.amount for row in venue.income(KEY)[1:]) == -margin_before
    assert [order.order_id for order in venue.force_orders(KEY)] == [closing.order.order_id]


def test_the_liquidation_fee_goes_to_the_fund_where_something_is_left() -> None:
    slow = [(60_000 - 100 * step,) * 4 for step in range(80)]
    venue = isolated_venue(slow)
    market(venue, "BUY", "0.1")
    before = row_of(venue).isolated_wallet
    venue.advance(START_MS + 80 * MINUTE_MS - 1)
    rows = venue.income(KEY)[1:]
    fee = rows[-1]
    assert fee.kind == "INSURANCE_CLEAR"
    assert fee.amount < 0
    notional = venue.trades(KEY)[-1].quote_quantity
    left = before + rows[0].amount + rows[1].amount
    assert -fee.amount == min(left, notional * D("0.0125"))


def test_a_cross_account_is_liquidated_as_a_whole_and_never_below_nothing() -> None:
    rows = {"BTCUSDT": CRASH, "ETHUSDT": [(3_000, 3_000, 3_000, 3_000), (3_000, 3_000, 2_500, 2_500), *flat(2_500, 5)]}
    venue = Venue(TableMarket(rows), START_MS)
    venue.open_account(KEY)
    market(venue, "BUY", "1")
    market(venue, "BUY", "30", symbol="ETHUSDT")
    limit(venue, "BUY", "0.01", "55000")
    venue.advance(START_MS + 5 * MINUTE_MS)
    assert [row.amount for row in venue.positions(KEY)] == [0, 0]
    assert venue.open_orders(KEY) == []
    assert wallet(venue) == 0
    assert code_of(venue.place_order, KEY, OrderRequest("BTCUSDT", "BUY", "MARKET", D("0.01"))) == -2019


def test_a_margin_call_comes_once_before_liquidation() -> None:
    rows = [(60_000, 60_000, 60_000, 60_000), *[(60_000 - 50 * step,) * 4 for step in range(120)]]
    venue = isolated_venue(rows)
    market(venue, "BUY", "0.1")
    venue.drain()
    venue.advance(START_MS + 119 * MINUTE_MS)
    told = venue.drain()
    calls = [event for event in told if isinstance(event, MarginCall)]
    assert len(calls) == 1
    assert words(told).index("MarginCall") < words(told).index("order CALCULATED")
    assert (calls[0].cross_wallet, calls[0].positions[0].margin_type) == (None, "ISOLATED")
    equity = calls[0].positions[0].isolated_wallet + calls[0].positions[0].unrealized
    assert calls[0].positions[0].maint_margin >= equity * D("0.8")


def test_a_liquidation_without_depth_is_taken_over_by_the_insurance_fund() -> None:
    thin = [(60_000, 60_000, 60_000, 60_000, 1_000.0), *[(53_000, 53_000, 53_000, 53_000, 0.0001)] * 3]
    venue = venue_on(thin, balance=D(350_000))
    market(venue, "BUY", "100")
    venue.advance(START_MS + 2 * MINUTE_MS)
    assert amount(venue) == 0
    told = [event.execution for event in venue.drain() if isinstance(event, OrderUpdate)]
    assert set(told[told.index("CALCULATED") :]) == {"CALCULATED"}
    assert wallet(venue) == 0


def test_isolated_margin_goes_with_the_position_and_returns_with_it() -> None:
    venue = isolated_venue(flat(60_000, 3))
    market(venue, "BUY", "0.1")
    bound = row_of(venue).isolated_wallet
    assert bound == D("600.001")
    venue.change_position_margin(KEY, "BTCUSDT", D(100), add=True)
    assert row_of(venue).isolated_wallet == bound + 100
    assert code_of(venue.change_position_margin, KEY, "BTCUSDT", D(200), add=False) == -4051
    assert code_of(venue.change_position_margin, KEY, "BTCUSDT", D(20_000), add=True) == -4050
    market(venue, "SELL", "0.05")
    assert row_of(venue).isolated_wallet == (bound + 100) / 2
    market(venue, "SELL", "0.05")
    assert row_of(venue).isolated_wallet == 0
    total = venue.account(KEY).total
    assert total.cross_wallet == total.wallet_balance


def test_leverage_and_margin_type_have_their_refusals() -> None:
    venue = venue_on(flat(60_000, 3))
    settings = venue.set_leverage(KEY, "BTCUSDT", 21)
    assert (settings.leverage, settings.max_notional, settings.margin_type) == (21, 70_000_000, "CROSSED")
    assert venue.drain() == [ConfigUpdate(KEY, START_MS, "BTCUSDT", 21)]
    for wrong in (0, 151):
        assert code_of(venue.set_leverage, KEY, "BTCUSDT", wrong) == -4028
    assert code_of(venue.set_margin_type, KEY, "BTCUSDT", "CROSSED") == -4046
    order = limit(venue, "BUY", "0.1", "58000")
    assert code_of(venue.set_margin_type, KEY, "BTCUSDT", "ISOLATED") == -4047
    venue.cancel_order(KEY, "BTCUSDT", order.order_id)
    market(venue, "BUY", "2")
    assert code_of(venue.set_margin_type, KEY, "BTCUSDT", "ISOLATED") == -4048
    assert code_of(venue.set_leverage, KEY, "BTCUSDT", 5) == -2028
    rich = venue_on(flat(60_000, 3), balance=D(10**5))
    market(rich, "BUY", "6")
    assert code_of(rich.set_leverage, KEY, "BTCUSDT", 150) == -2027  # at most 300,000


def test_an_isolated_position_forbids_less_leverage() -> None:
    venue = isolated_venue(flat(60_000, 3))
    market(venue, "BUY", "0.1")
    assert code_of(venue.set_leverage, KEY, "BTCUSDT", 5) == -4161
    assert venue.set_leverage(KEY, "BTCUSDT", 20).leverage == 20


def test_hedge_mode_keeps_two_legs() -> None:
    venue = venue_on(flat(60_000, 3))
    assert code_of(venue.set_position_mode, KEY, False) == -4059
    venue.set_position_mode(KEY, True)
    market(venue, "BUY", "0.2", position_side="LONG")
    market(venue, "SELL", "0.1", position_side="SHORT")
    assert (amount(venue, leg="LONG"), amount(venue, leg="SHORT")) == (D("0.2"), D("-0.1"))
    assert [row.position_side for row in venue.positions(KEY)] == ["BOTH", "LONG", "SHORT"]
    for request, code in (
        (OrderRequest("BTCUSDT", "BUY", "MARKET", D("0.1")), -4061),
        (OrderRequest("BTCUSDT", "BUY", "MARKET", D("0.1"), position_side="LONG", reduce_only=False), -1106),
        (OrderRequest("BTCUSDT", "SELL", "MARKET", D("0.3"), position_side="LONG"), -2022),
    ):
        assert code_of(venue.place_order, KEY, request) == code
    assert code_of(venue.set_position_mode, KEY, False) == -4068
    market(venue, "SELL", "0.2", position_side="LONG")
    market(venue, "BUY", "0.1", position_side="SHORT")
    venue.set_position_mode(KEY, False)


def test_the_switches_know_each_other() -> None:
    venue = venue_on(flat(60_000, 3))
    venue.set_margin_type(KEY, "BTCUSDT", "ISOLATED")
    assert code_of(venue.set_multi_assets, KEY, True) == -4167
    venue.set_margin_type(KEY, "BTCUSDT", "CROSSED")
    venue.set_multi_assets(KEY, True)
    assert code_of(venue.set_margin_type, KEY, "BTCUSDT", "ISOLATED") == -4168
    assert venue.multi_assets(KEY)
    assert code_of(venue.account, "stranger") == -2015


def test_a_withdrawal_leaves_what_positions_need() -> None:
    venue = venue_on(flat(60_000, 3))
    market(venue, "BUY", "1")
    free = venue.account(KEY).total.max_withdraw
    assert code_of(venue.transfer, KEY, "USDT", -free - 1) == -2018
    venue.transfer(KEY, "USDT", -free)
    assert venue.account(KEY).total.available == Decimal(0)
    assert venue.income(KEY)[-1].kind == "TRANSFER"


def test_a_fill_beyond_the_last_money_is_made_whole_by_the_fund() -> None:
    venue = venue_on([*flat(60_000, 1), *flat(57_600, 3)])
    venue.set_leverage(KEY, "BTCUSDT", 50)
    market(venue, "BUY", "5")
    stop(venue, "SELL", "59000")  # the next open is 2,400 lower: a loss of 12,000 before the mark has moved
    venue.advance(START_MS + MINUTE_MS)
    assert amount(venue) == 0
    assert wallet(venue) == 0
    assert venue.income(KEY)[-1].kind == "INSURANCE_CLEAR"
    assert sum(row.amount for row in venue.income(KEY)) == -10_000


def test_a_market_order_finds_nothing_when_the_gap_is_wider_than_the_take_bound() -> None:
    venue = venue_on([*flat(60_000, 1), *flat(56_900, 3)])
    market(venue, "BUY", "0.1")
    order = stop(venue, "SELL", "59000")
    venue.advance(START_MS + MINUTE_MS)
    fired = venue.algo_order(KEY, order.algo_id)
    assert (fired.status, fired.actual_quantity) == ("FINISHED", 0)
    assert venue.order(KEY, "BTCUSDT", fired.actual_order_id).status == "EXPIRED"
    assert code_of(venue.place_order, KEY, OrderRequest("BTCUSDT", "SELL", "MARKET", D("0.1"))) == -4131
    venue.advance(START_MS + MINUTE_MS + 2_000)  # the mark comes down by 103 a second
    assert market(venue, "SELL", "0.1").status == "FILLED"
