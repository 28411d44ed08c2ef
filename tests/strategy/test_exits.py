"""Stop levels, partial targets and the best price: worked examples, mirror images, and what the backtest relies on."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.exit_rules import ExitRules
from src.domain.market import Candle
from src.domain.orders import Purpose, client_id, purpose_of, variant_of
from src.domain.portfolio import Direction
from src.domain.risk import RiskLimits
from src.strategy.exits import (
    StopKind,
    StopLevel,
    best_price,
    early_level,
    entry_minute,
    is_time_over,
    next_move_price,
    partial_targets,
    parts_done,
    stop_kind_of,
    stop_level,
)
from tests.world import World, path

RULES = World(path(*[30_000.0] * 3)).settings.instrument
ENTRY = Decimal("30000")
D = Decimal


def limits(**exits: object) -> RiskLimits:
    return RiskLimits(exits=ExitRules(**exits))  # type: ignore[arg-type]


def level(best: str, direction: Direction = Direction.LONG, **exits: object) -> StopLevel:
    return stop_level(ENTRY, direction, D(best), limits(**exits), RULES)


@pytest.mark.parametrize(
    ("best", "price", "kind"),
    [
        ("30000", "29400.0", StopKind.LOSS),
        ("30290", "29400.0", StopKind.LOSS),  # less than 1 %: nothing yet
        ("30300", "30000.0", StopKind.BREAK_EVEN),
        ("30590", "30000.0", StopKind.BREAK_EVEN),  # the trailing stop begins at 2 %
        ("30600", "30294.0", StopKind.TRAILING),  # 1 % behind the best
        ("30629", "30294.0", StopKind.TRAILING),  # less than a tenth of the distance further: no move
        ("30630", "30323.7", StopKind.TRAILING),
    ],
)
def test_the_stop_lies_where_it_protects_most(best, price, kind):
    found = level(best, trailing_stop_share=D("0.01"), trailing_after_share=D("0.02"), break_even_after_share=D("0.01"))
    assert (found.price, found.kind) == (D(price), kind)


def test_a_short_position_is_the_mirror_image():
    found = level("29400", Direction.SHORT, trailing_stop_share=D("0.01"), trailing_after_share=D("0.02"))
    assert (found.price, found.kind) == (D("29694.0"), StopKind.TRAILING)
    assert level("29650", Direction.SHORT, break_even_after_share=D("0.01")).kind is StopKind.BREAK_EVEN
    assert level("29710", Direction.SHORT, break_even_after_share=D("0.01")).kind is StopKind.LOSS


def test_a_trailing_stop_without_a_threshold_is_the_stop_from_the_entry_on():
    assert level("30000", trailing_stop_share=D("0.01")) == StopLevel(D("29700.0"), StopKind.TRAILING)
    assert level("30000", trailing_stop_share=D("0.05")).kind is StopKind.LOSS  # the fixed stop lies nearer


gains = st.decimals(min_value=0, max_value=D("0.2"), places=5)
shares = st.decimals(min_value=D("0.001"), max_value=D("0.1"), places=4)


@given(gains, gains, shares, shares, shares, st.sampled_from(list(Direction)))
def test_the_stop_never_recedes_and_stands_still_until_the_next_move(first, second, trail, after, even, direction):
    """The backtest passes over minutes whose prices stay below ``next_move_price``: nothing may move there."""
    given_limits = limits(trailing_stop_share=trail, trailing_after_share=after, break_even_after_share=even)
    low, high = sorted((first, second))
    best, better = (ENTRY * (1 + direction.sign * gain) for gain in (low, high))
    before = stop_level(ENTRY, direction, best, given_limits, RULES)
    later = stop_level(ENTRY, direction, better, given_limits, RULES)
    assert not before.better_than(later, direction)
    edge = next_move_price(ENTRY, direction, best, given_limits)
    assert edge is not None and (edge - best) * direction.sign > 0
    if (edge - better) * direction.sign > 0:
        assert later == before


def test_without_exits_nothing_moves_the_stop():
    assert next_move_price(ENTRY, Direction.LONG, ENTRY, RiskLimits()) is None
    assert level("33000") == StopLevel(D("29400.0"))
    assert next_move_price(ENTRY, Direction.LONG, D("30500"), limits(break_even_after_share=D("0.01"))) is None


def test_parts_are_whole_steps_on_the_tick_nearer_to_the_entry():
    taken = limits(take_partial=((D("0.0300005"), D("0.5")), (D("0.06"), D("0.25"))))
    first, second = partial_targets(ENTRY, Direction.LONG, D("0.011"), taken, RULES)
    assert (first.number, first.price, first.quantity) == (1, D("30900.0"), D("0.005"))
    assert (second.number, second.price, second.quantity) == (2, D("31800.0"), D("0.002"))
    assert first.reached(D("30900"), Direction.LONG) and not first.reached(D("30899.9"), Direction.LONG)
    [short] = partial_targets(ENTRY, Direction.SHORT, D("0.010"), limits(take_partial=((D("0.03"), D("0.5")),)), RULES)
    assert short.price == D("29100.0") and short.reached(D("29100"), Direction.SHORT)


def test_a_part_below_the_least_quantity_is_left_out():
    taken = limits(take_partial=((D("0.03"), D("0.5")),))
    assert partial_targets(ENTRY, Direction.LONG, D("0.001"), taken, RULES) == ()


def test_the_best_price_begins_after_the_minute_of_the_entry():
    minutes = [Candle(at * 60_000, 10.0, 10.0 + at, 10.0 - at, 10.0, 1.0) for at in range(1, 5)]
    entry_ms = 2 * 60_000 + 31_000
    after = entry_minute(entry_ms)
    assert after == 120_000
    assert best_price(minutes, Direction.LONG, after, D("10")) == D("14.0")
    assert best_price(minutes[:2], Direction.LONG, after, D("10")) == D("10")
    assert best_price(minutes, Direction.SHORT, after, D("10")) == D("6.0")
    assert best_price(minutes, Direction.LONG, after, D("99")) == D("99")


def test_the_early_stop_lies_before_the_fixed_stop_and_behind_a_moved_one():
    plain = RiskLimits()
    assert early_level(ENTRY, Direction.LONG, StopLevel(D("29400")), plain) == D("29520.00000")
    moved = StopLevel(D("30294"), StopKind.TRAILING)
    assert early_level(ENTRY, Direction.LONG, moved, plain) == D("30174.00000")
    short = StopLevel(D("29706"), StopKind.BREAK_EVEN)
    assert early_level(ENTRY, Direction.SHORT, short, plain) == D("29826.00000")
    near = StopLevel(D("29450"), StopKind.TRAILING)  # hardly better than the fixed stop: the early stop comes first
    assert early_level(ENTRY, Direction.LONG, near, plain) == D("29520.00000")


def test_why_a_stop_lies_where_it_does_stands_in_its_client_id():
    for kind in StopKind:
        for attempt in (0, 1, 12, 35):
            name = client_id("bot", "1000000MOGUSDT", 1_790_000_000_000, Purpose.STOP, attempt, variant=kind)
            assert len(name) <= 36
            assert (stop_kind_of(name), purpose_of(name), variant_of(name)) == (kind, Purpose.STOP, int(kind))
    target = client_id("bot", "BTCUSDT", 5, Purpose.TARGET, 3, variant=2)
    assert stop_kind_of(target) is None and stop_kind_of("by-hand") is None
    closed = client_id("bot", "BTCUSDT", 5, Purpose.EXIT, 0, variant=1)
    plain = client_id("bot", "BTCUSDT", 5, Purpose.EXIT, 2)
    assert parts_done([target, closed, plain, "", "by-hand"]) == {1, 2}


def test_the_time_of_a_position_is_over_at_its_very_instant():
    hour = limits(max_holding_ms=3_600_000)
    assert not is_time_over(1_000, 3_600_999, hour)
    assert is_time_over(1_000, 3_601_000, hour)
    assert not is_time_over(1_000, 10**12, RiskLimits())
    assert replace(hour, leverage=5).exits.any
