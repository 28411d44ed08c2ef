"""Prices that jump past stop and target: both adapters say the same of the orders, and the trader closes at once."""

from dataclasses import replace
from decimal import Decimal

import pytest

from src.backtest.config import BreakerPolicy, Setup
from src.backtest.engine import run_backtest
from src.backtest.venue_exchange import _algo, _order
from src.domain.clock import MINUTE_MS
from src.domain.orders import OrderStatus
from src.domain.portfolio import Direction
from src.exchanges.binance.mapping import conditional_of_answer, order_of_answer
from src.market_data.columns import Candles
from src.paper_exchange.formats import algo_row, order_row
from tests.backtest.crashes import GAPS, every_gap, with_gaps, without_minutes
from tests.backtest.past import busy, explorer, facts, largest_gap
from tests.candles import random_candles
from tests.exchange_contract import TraderControl
from tests.world import START_MS, SYMBOL, World, path

HELD, GAP = 5, 6


class GapWorld:
    """A quiet market that jumps by ``share`` at minute ``GAP`` of the contract's world."""

    symbol = SYMBOL

    def __init__(self, share: float) -> None:
        flat, after = [30_000.0] * GAP, round(30_000.0 * (1 + share), 1)
        candles = [*path(*flat), *(replace_minute(GAP + number, after) for number in range(30))]
        self.inner = World(candles)
        self.inner.at(HELD)
        self.exchange = self.inner.inner

    def now_ms(self) -> int:
        return self.inner.clock.now_ms()

    def pass_time(self, duration_ms: int) -> None:
        elapsed_ms = self.now_ms() + duration_ms - START_MS
        self.inner.at(elapsed_ms // MINUTE_MS, elapsed_ms % MINUTE_MS / 1000)

    def move_price(self, percent: float) -> None:
        raise NotImplementedError("this market moves by its candles alone")


def replace_minute(number: int, price: float):
    """Return one flat minute of that price."""
    return path(price)[0]._replace(open_ms=START_MS + number * MINUTE_MS, volume=500.0)


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("share", [0.06, 0.10, 0.20])
def test_a_stop_that_is_jumped_past_ends_without_a_fill_and_is_never_called_filled(share, direction):
    world = GapWorld(-share * direction.sign)
    hand = TraderControl(world)
    entry = hand.enter(direction)
    stop, _target = hand.protect()
    world.pass_time(2 * MINUTE_MS)
    order = hand.exchange.find_order(stop)
    fills, held = hand.exchange.order_fills(order), hand.held()
    filled = sum((fill.quantity for fill in fills), Decimal(0))
    assert (order.status is OrderStatus.FILLED) == (filled == entry.executed_quantity)
    assert order.executed_quantity == filled
    assert (held is None) == (filled == entry.executed_quantity)
    if share >= 0.10:
        assert (order.status, filled) == (OrderStatus.EXPIRED, 0)


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("share", [-0.20, -0.10, -0.06, 0.06, 0.10, 0.20])
def test_the_backtest_reads_every_order_as_the_client_reads_it_from_the_wire(share, direction):
    """Each state an order takes on the way through a jump, as the venue's object and as the exchange's answer."""
    world = GapWorld(share)
    hand, venue = TraderControl(world), world.inner.venue
    rules, seen = hand.rules, set()
    hand.enter(direction)
    guards = hand.protect()
    for second in range(0, 120, 2):
        world.pass_time(2_000)
        for intent in guards:
            kept = venue.algo_order("bot", client_id=intent.client_id)
            told, known = conditional_of_answer(algo_row(kept, rules)), _algo(kept)
            assert replace(known, trigger_price=told.trigger_price) == told, f"after {second} s"
            assert known.trigger_price == told.trigger_price
            seen.add(known.status)
            if kept.actual_order_id:
                made = venue.order("bot", SYMBOL, order_id=kept.actual_order_id)
                assert _order(made) == order_of_answer(order_row(made, rules))
    assert OrderStatus.NEW in seen or len(seen) == 1
    assert seen & {OrderStatus.FILLED, OrderStatus.EXPIRED}


def crash_market(count: int = 3_000) -> Candles:
    """Return random candles that jump every 83 minutes; the record has two holes behind jumps."""
    jumps = every_gap(1_100, count, 83)
    rows = list(jumps)
    candles = with_gaps(Candles.of(random_candles(count, seed=4)), jumps)
    return without_minutes(candles, range(rows[3] + 1, rows[3] + 6), range(rows[8] + 2, rows[8] + 32))


def crash_setup(policy: BreakerPolicy = BreakerPolicy.OFF) -> Setup:
    """Stop and target as delivered, so that positions live long enough to meet a jump, and no limit for the day."""
    far = {"leverage": 2, "position_share": Decimal("0.05"), "stop_loss_share": Decimal("0.02")}
    setup = busy(**far, take_profit_share=Decimal("0.05"), max_daily_loss_share=Decimal("0.9"))
    return replace(setup, breaker_policy=policy)


def test_a_run_through_crashes_never_waits_for_fills_that_will_not_come():
    """No exchange error in a run without a network, an exit within two minutes of each jump, and trades go on."""
    candles = crash_market()
    outcome = run_backtest(candles, crash_setup(), explorer(0.6, True))
    jumps = [int(candles.open_ms[candles.place(at)]) for at in jumped_at(candles)]
    held = {at: [trade for trade in outcome.trades if trade.entry_ms < at < trade.exit_ms] for at in jumps}
    ended = [trade.exit_ms - at for at, trades in held.items() for trade in trades]
    assert len(ended) >= 10
    assert max(ended) <= 2 * MINUTE_MS
    assert outcome.trades[-1].entry_ms > jumps[-1] or outcome.open_trade is not None
    worst = min(trade.gross_pnl / (trade.entry_price * trade.quantity) for trade in outcome.trades)
    assert worst < Decimal("-0.09"), "a jump of ten per cent was met in a position"
    guarded = run_backtest(candles, crash_setup(BreakerPolicy.NEXT_DAY), explorer(0.6, True))
    assert "exchange_errors" not in {event.trigger for event in guarded.breaker_events}


def jumped_at(candles: Candles) -> list[int]:
    """Return the opens that lie 5 % or more from the close before."""
    change = candles.open[1:] / candles.close[:-1] - 1.0
    return [int(at) for at in candles.open_ms[1:][abs(change) > 0.05]]


@pytest.mark.parametrize("short", [False, True])
def test_passing_over_quiet_minutes_changes_nothing_in_a_crash(short):
    candles = crash_market(2_200)
    fast = run_backtest(candles, crash_setup(), explorer(0.5, short))
    slow = run_backtest(candles, crash_setup(), explorer(0.5, short), every_turn=True)
    assert facts(fast) == facts(slow)
    assert largest_gap(fast, slow) <= 0.1 * max(float(trade.quantity) for trade in fast.trades)


def test_the_gaps_are_those_that_are_promised():
    assert {abs(share) for share in GAPS} == {0.06, 0.10, 0.20}
