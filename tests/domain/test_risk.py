"""Where a position is given up and how large it is: to the tick, on the right side, inside the exchange's bounds."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.market import Instrument
from src.domain.portfolio import Direction
from src.domain.risk import RiskLimits, early_stop_price, loss_share, position_quantity, stop_price, target_price
from src.paper_exchange.contracts import CONTRACTS

RULES: Instrument = replace(CONTRACTS["BTCUSDT"].rules, tick_size=Decimal("0.5"))
LIMITS = RiskLimits()


@pytest.mark.parametrize(
    ("direction", "stop", "target"),
    [(Direction.LONG, "30380.5", "32550.0"), (Direction.SHORT, "31620.0", "29450.5")],
)
def test_levels_that_lie_between_two_ticks_take_the_tick_nearer_to_the_entry(direction, stop, target):
    """31,000.3 with a stop of 2 % and a target of 5 %: 30,380.294 and 32,550.315 long, mirrored short."""
    entry = Decimal("31000.3")
    assert stop_price(entry, direction, LIMITS, RULES) == Decimal(stop)
    assert target_price(entry, direction, LIMITS, RULES) == Decimal(
        target if direction is Direction.LONG else "29450.5"
    )


@pytest.mark.parametrize("direction", list(Direction))
def test_levels_on_the_tick_are_left_where_they_are(direction):
    entry, sign = Decimal(30_000), direction.sign
    assert stop_price(entry, direction, LIMITS, RULES) == 30_000 - sign * 600
    assert target_price(entry, direction, LIMITS, RULES) == 30_000 + sign * 1_500
    assert early_stop_price(entry, direction, LIMITS) == 30_000 - sign * 480


@given(
    st.decimals("1000", "200000", places=2),
    st.sampled_from(list(Direction)),
    st.decimals("0.001", "0.3", places=3),
    st.decimals("0.001", "0.3", places=3),
)
def test_no_level_is_farther_from_the_entry_than_the_limit_allows_nor_by_a_whole_tick_nearer(
    entry, direction, stop_share, target_share
):
    limits = replace(LIMITS, stop_loss_share=stop_share, take_profit_share=target_share)
    for level, share in (
        (stop_price(entry, direction, limits, RULES), stop_share),
        (target_price(entry, direction, limits, RULES), target_share),
    ):
        assert level % RULES.tick_size == 0
        assert entry * share - RULES.tick_size < abs(level - entry) <= entry * share


def test_the_early_stop_is_its_part_of_the_stops_distance():
    limits = replace(LIMITS, stop_loss_share=Decimal("0.03"), early_stop_share=Decimal("0.5"))
    assert early_stop_price(Decimal(1_000), Direction.LONG, limits) == Decimal("985")
    assert early_stop_price(Decimal(1_000), Direction.SHORT, limits) == Decimal("1015")


def test_a_position_is_its_share_of_equity_times_leverage_down_to_the_step():
    assert position_quantity(Decimal(10_000), Decimal(30_000), LIMITS, RULES) == Decimal("0.166")
    half = replace(LIMITS, leverage=5)
    assert position_quantity(Decimal(10_000), Decimal(30_000), half, RULES) == Decimal("0.083")


@pytest.mark.parametrize(
    ("changes", "quantity"),
    [
        ({}, "0.166"),
        ({"min_quantity": Decimal("0.166")}, "0.166"),
        ({"min_quantity": Decimal("0.167")}, "0"),
        ({"min_notional": Decimal(4_980)}, "0.166"),
        ({"min_notional": Decimal("4980.01")}, "0"),
        ({"max_market_quantity": Decimal("0.166")}, "0.166"),
        ({"max_market_quantity": Decimal("0.165")}, "0.165"),
    ],
)
def test_the_exchanges_bounds_hold_exactly_at_their_edge(changes, quantity):
    rules = replace(RULES, **changes)
    assert position_quantity(Decimal(10_000), Decimal(30_000), LIMITS, rules) == Decimal(quantity)


def test_a_loss_is_a_share_of_the_start_a_gain_is_negative_and_without_a_start_there_is_none():
    assert loss_share(Decimal(200), Decimal(190)) == Decimal("0.05")
    assert loss_share(Decimal(200), Decimal(210)) == Decimal("-0.05")
    assert loss_share(Decimal(0), Decimal(5)) == loss_share(Decimal(-1), Decimal(5)) == 0


@pytest.mark.parametrize(
    "allowed",
    [
        {"leverage": 1},
        {"leverage": 125},
        {"position_share": Decimal("0.20")},
        {"max_total_share": Decimal(1)},
        {"early_stop_share": Decimal(1)},
        {"stop_loss_share": Decimal("0.999"), "take_profit_share": Decimal("0.999")},
        {"max_daily_loss_share": Decimal("0.999")},
    ],
)
def test_limits_at_the_edge_are_taken(allowed):
    assert replace(LIMITS, **allowed)


@pytest.mark.parametrize(
    "refused",
    [
        {"leverage": 0},
        {"leverage": 126},
        {"position_share": Decimal(0)},
        {"position_share": Decimal("0.21")},
        {"max_total_share": Decimal("1.01")},
        {"stop_loss_share": Decimal(0)},
        {"stop_loss_share": Decimal(1)},
        {"take_profit_share": Decimal(0)},
        {"take_profit_share": Decimal(1)},
        {"early_stop_share": Decimal(0)},
        {"early_stop_share": Decimal("1.01")},
        {"max_daily_loss_share": Decimal(0)},
        {"max_daily_loss_share": Decimal(1)},
    ],
)
def test_limits_beyond_the_edge_are_refused(refused):
    with pytest.raises(ValueError):
        replace(LIMITS, **refused)


def test_the_figures_that_hold_where_nothing_is_set():
    assert RiskLimits() == RiskLimits(
        10, Decimal("0.05"), Decimal("0.20"), Decimal("0.02"), Decimal("0.05"), Decimal("0.80"), Decimal("0.05")
    )
